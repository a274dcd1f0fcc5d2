//! Runs the `restic` binary on a repository: the judge of everything we write.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

use crate::must;

/// A repository as restic sees it, with a cache of its own that goes away.
#[derive(Debug)]
pub struct Restic {
    repository: PathBuf,
    password_file: PathBuf,
    cache: TempDir,
}

impl Restic {
    /// Looks at a repository with the password in a file.
    ///
    /// # Panics
    /// When restic is not installed: then nothing is proven, so the test has failed.
    #[must_use]
    pub fn new(repository: &Path, password_file: &Path) -> Self {
        let found = Command::new("restic").arg("version").output();
        assert!(
            found.is_ok_and(|output| output.status.success()),
            "restic is not installed, and these tests need its judgement: `make test` installs it, or see https://restic.net"
        );
        Self {
            repository: repository.to_path_buf(),
            password_file: password_file.to_path_buf(),
            cache: must("create", "a cache folder", tempfile::tempdir()),
        }
    }

    /// Starts a command line with the repository, its password and a cache.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = Command::new("restic");
        command.arg("--repo").arg(&self.repository).arg("--password-file").arg(&self.password_file);
        command.arg("--cache-dir").arg(self.cache.path());
        // Progress lines would go to the tests' output, and a person's own settings must not reach in.
        command.env("RESTIC_PROGRESS_FPS", "0.1").env_remove("RESTIC_REPOSITORY").env_remove("RESTIC_PASSWORD");
        command
    }

    /// Runs restic and returns what it printed, whatever its exit code.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn try_run<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Output {
        must("run", "restic", self.command().args(arguments).output())
    }

    /// Runs restic and returns what it printed.
    ///
    /// # Panics
    /// When it fails.
    #[track_caller]
    pub fn run<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Vec<u8> {
        let output = self.try_run(arguments);
        assert!(
            output.status.success(),
            "restic failed ({}):\n{}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        output.stdout
    }

    /// Makes a repository of this format version.
    ///
    /// # Panics
    /// When restic cannot.
    #[track_caller]
    pub fn init(&self, version: u32) {
        self.run(["init", "--repository-version", &version.to_string()]);
    }

    /// Lets restic read and check everything.
    ///
    /// # Panics
    /// When it finds something.
    #[track_caller]
    pub fn check(&self) {
        let text = self.run(["check", "--read-data"]);
        let text = String::from_utf8_lossy(&text);
        // Unreferenced packs and the like are only mentioned; restic still exits with 0.
        assert!(text.contains("no errors were found"), "{text}");
    }

    /// Restores a snapshot below a folder.
    ///
    /// # Panics
    /// When restic fails.
    #[track_caller]
    pub fn restore(&self, snapshot: &str, to: &Path) {
        self.run([OsStr::new("restore"), OsStr::new(snapshot), OsStr::new("--target"), to.as_os_str()]);
    }

    /// Backs up a folder and returns restic's summary.
    ///
    /// # Panics
    /// When restic fails.
    #[track_caller]
    pub fn backup(&self, source: &Path) -> Value {
        let lines = self.run_lines([OsStr::new("backup"), OsStr::new("--json"), source.as_os_str()]);
        let summary = lines.into_iter().find(|line| line["message_type"] == "summary");
        summary.unwrap_or_else(|| panic!("restic printed no summary"))
    }

    /// Returns the snapshots, oldest first.
    ///
    /// # Panics
    /// When restic fails.
    #[track_caller]
    pub fn snapshots(&self) -> Vec<Value> {
        match self.run_lines(["snapshots", "--json"]).pop() {
            Some(Value::Array(list)) => list,
            other => panic!("restic listed no snapshots but {other:?}"),
        }
    }

    /// Returns the entries of a snapshot.
    ///
    /// # Panics
    /// When restic fails.
    #[track_caller]
    pub fn ls(&self, snapshot: &str) -> Vec<Value> {
        let lines = self.run_lines(["ls", "--json", snapshot]);
        lines.into_iter().filter(|line| line["struct_type"] == "node").collect()
    }

    #[track_caller]
    fn run_lines<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Vec<Value> {
        let text = self.run(arguments);
        let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        // Lines that are no JSON are remarks for people.
        lines.filter_map(|line| serde_json::from_slice(line).ok()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::{Options, compare};
    use crate::seed::Seed;
    use crate::tree::{Tree, open_up};

    #[test]
    fn restic_backs_up_checks_and_restores_the_awkward_tree() {
        let folder = tempfile::tempdir().unwrap();
        let password = folder.path().join("password");
        std::fs::write(&password, "secret\n").unwrap();
        let tree = Tree::awkward(folder.path().join("tree"), Seed(4));
        let restic = Restic::new(&folder.path().join("repository"), &password);
        restic.init(2);
        let summary = restic.backup(tree.root());
        assert!(summary["total_files_processed"].as_u64().unwrap() > 40, "{summary}");
        restic.check();
        assert_eq!(restic.snapshots().len(), 1);
        assert!(restic.ls("latest").iter().any(|node| node["name"] == "empty folder"));
        let to = folder.path().join("restored");
        restic.restore("latest", &to);
        let copy = to.join(tree.root().strip_prefix("/").unwrap());
        // The comparison may find what restic itself does not restore; contents and names must be whole.
        let found = compare(tree.root(), &copy, &Options::default());
        let serious =
            found.differences.iter().filter(|one| one.what.contains("contents") || one.what.contains("missing in"));
        assert_eq!(serious.map(ToString::to_string).collect::<Vec<_>>(), Vec::<String>::new());
        open_up(folder.path());
    }
}
