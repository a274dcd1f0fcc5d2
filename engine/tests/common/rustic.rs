//! `rustic_core` on a repository: a second, independent reader and writer of the format.

use std::fmt::Display;
use std::path::{Path, PathBuf};

use rustic_backend::BackendOptions;
use rustic_core::repofile::SnapshotFile;
use rustic_core::{
    BackupOptions, CheckOptions, ConfigOptions, Credentials, KeyOptions, LocalDestination, LsOptions, OpenStatus,
    PathList, Repository, RepositoryOptions, RestoreOptions, SnapshotOptions,
};

use super::PASSWORD;

/// A repository as rustic sees it.
pub(crate) struct Rustic {
    path: PathBuf,
    /// The fast half, if it is a pair.
    hot: Option<PathBuf>,
}

impl Rustic {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, hot: None }
    }

    pub(crate) fn pair(path: PathBuf, hot: PathBuf) -> Self {
        Self { path, hot: Some(hot) }
    }

    /// Makes the repository.
    pub(crate) fn init(&self, options: &ConfigOptions) {
        let made = self.closed().init(&Credentials::password(PASSWORD), &KeyOptions::default(), options);
        drop(done("make the repository", made));
    }

    pub(crate) fn open(&self) -> Repository<OpenStatus> {
        done("open the repository", self.closed().open(&Credentials::password(PASSWORD)))
    }

    /// Checks everything, and fails when something is wrong.
    pub(crate) fn check(&self) {
        // Also warnings: what we write has nothing strange in it.
        let found = self.findings();
        assert!(found.is_empty(), "rustic found: {found:?}");
    }

    /// Checks everything after something was stopped, which may leave packs that no index lists.
    pub(crate) fn check_stopped(&self) {
        let found: Vec<_> = self.findings().into_iter().filter(|found| !found.contains("PackNotReferenced")).collect();
        assert!(found.is_empty(), "rustic found: {found:?}");
    }

    fn findings(&self) -> Vec<String> {
        let found = done("check", self.open().check(CheckOptions::default().read_data(true)));
        found.0.iter().map(|found| format!("{found:?}")).collect()
    }

    /// Backs up a folder.
    pub(crate) fn backup(&self, source: &Path, options: &SnapshotOptions) -> SnapshotFile {
        let repository = done("read the index", self.open().to_indexed_ids());
        let source = done("name the source", PathList::from_string(&source.display().to_string()));
        let source = done("name the source", source.sanitize());
        let snapshot = done("make a snapshot", options.to_snapshot());
        done("back up", repository.backup(&BackupOptions::default(), &source, snapshot))
    }

    /// Restores a folder of the newest snapshot.
    pub(crate) fn restore(&self, folder: &Path, to: &Path) {
        let repository = done("read the index", self.open().to_indexed());
        let snapshot = format!("latest:{}", folder.display());
        let node = done("find the folder", repository.node_from_snapshot_path(&snapshot, |_| true));
        let listing = done("list", repository.ls(&node, &LsOptions::default()));
        let options = RestoreOptions::default();
        let to = done("make the destination", LocalDestination::new(&to.display().to_string(), true, false));
        let plan = done("plan the restore", repository.prepare_restore(&options, listing.clone(), &to, false));
        done("restore", repository.restore(plan, &options, listing, &to));
    }

    /// Lists the paths below a folder of the newest snapshot.
    pub(crate) fn list(&self, folder: &Path) -> Vec<PathBuf> {
        let repository = done("read the index", self.open().to_indexed());
        let snapshot = format!("latest:{}", folder.display());
        let node = done("find the folder", repository.node_from_snapshot_path(&snapshot, |_| true));
        let listing = done("list", repository.ls(&node, &LsOptions::default()));
        listing.map(|entry| done("list", entry).0).collect()
    }

    fn closed(&self) -> Repository<()> {
        let mut location = BackendOptions::default().repository(self.path.display().to_string());
        location.repo_hot = self.hot.as_ref().map(|path| path.display().to_string());
        let storage = done("find the repository", location.to_backends());
        done("prepare", Repository::new(&RepositoryOptions::default().no_cache(true), &storage))
    }
}

/// Returns the value, or fails with what rustic says.
#[track_caller]
pub(crate) fn done<T, E: Display>(what: &str, result: Result<T, E>) -> T {
    result.unwrap_or_else(|error| panic!("rustic cannot {what}: {error}"))
}
