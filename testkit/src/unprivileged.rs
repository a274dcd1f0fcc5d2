//! Running a program as a user without rights, also when the tests run as root.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

use crate::must;

/// The user and group that root becomes: Debian's `nobody` and `nogroup`, which own nothing.
pub const NOBODY: u32 = 65_534;

/// Says whether this process has root's rights.
#[must_use]
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Starts a command line that runs a program without root's rights: as `nobody` through `setpriv` where this process
/// is root, else as the user who runs the tests.
///
/// The program must lie where that user can reach it; see [`give`].
#[must_use]
pub fn command(program: impl AsRef<OsStr>) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args([format!("--reuid={NOBODY}"), format!("--regid={NOBODY}")]);
    command.args(["--clear-groups", "--inh-caps=-all", "--"]).arg(program);
    command
}

/// Runs a test's body without root's rights: at once where the tests run without them, else in a second run of this
/// test alone, as the user of [`command`] and with a folder of theirs for temporary files.
///
/// # Panics
/// When the second run fails; what it said is in the message.
pub fn run(test: &str, body: impl FnOnce()) {
    if !is_root() {
        return body();
    }
    let folder = must("make", Path::new("a temporary folder"), tempfile::tempdir());
    let program = must("find", Path::new("this program"), std::env::current_exe());
    let copy = folder.path().join("test");
    must("copy", &program, std::fs::copy(&program, &copy));
    give(folder.path());
    let mut command = command(&copy);
    command.args(["--exact", test, "--nocapture"]).env("TMPDIR", folder.path()).current_dir(folder.path());
    crate::mount::pass(test, &must("run", &copy, command.output()));
}

/// Gives a folder with all that is in it to the user of [`command`].
pub fn give(path: &Path) {
    if is_root() {
        must("give away", path, std::os::unix::fs::lchown(path, Some(NOBODY), Some(NOBODY)));
        let entries = std::fs::symlink_metadata(path).is_ok_and(|found| found.is_dir());
        for entry in entries.then(|| must("list", path, std::fs::read_dir(path))).into_iter().flatten() {
            give(&must("list", path, entry).path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_runs_without_root_and_cannot_read_a_closed_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("closed");
        std::fs::write(&path, b"secret").unwrap();
        give(folder.path());
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o000)).unwrap();
        let output = command("cat").arg(&path).output().expect("cat runs; setpriv is in util-linux");
        assert!(!output.status.success() && output.stdout.is_empty(), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("Permission denied"), "{output:?}");
    }
}
