//! What the engine's tests share: a repository, a clock that is set by hand, a monitor that remembers.

#![allow(dead_code, reason = "each test binary uses a part of it")]

pub(crate) mod damaged;
pub(crate) mod forge;
pub(crate) mod history;
pub(crate) mod moment;
#[cfg(target_os = "linux")]
pub(crate) mod peak;
pub(crate) mod pruning;
pub(crate) mod repairing;
pub(crate) mod rustic;
pub(crate) mod scene;
pub(crate) mod trap;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use backup_engine::archiver::{BackupOptions, BackupSummary, backup};
use backup_engine::lock::{Lock, LockOptions};
use backup_engine::monitor::{ItemFailure, Monitor, PackRecord, PlannedItem, Progress};
use backup_engine::now::Now;
use backup_engine::repository::{CreateOptions, Repository};
use backup_engine::storage::{LocalStorage, Storage};
use backup_engine::{Gate, Result};
use backup_testkit::restic::Restic;
use jiff::Timestamp;

/// The password of every repository in the tests.
pub(crate) const PASSWORD: &str = "a secret that protects nothing";

/// A folder with a repository, its password file and room for sources.
pub(crate) struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        std::fs::write(folder.path().join("password"), PASSWORD).expect("a file can be written there");
        Self { folder }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn repository(&self) -> PathBuf {
        self.path("repository")
    }

    pub(crate) fn restic(&self) -> Restic {
        Restic::new(&self.repository(), &self.path("password"))
    }

    pub(crate) fn create(&self, version: u32) -> Arc<Repository> {
        create(Arc::new(LocalStorage::new(self.repository())), version)
    }

    pub(crate) fn open(&self) -> Arc<Repository> {
        open(Arc::new(LocalStorage::new(self.repository()))).expect("the repository opens")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        backup_testkit::tree::open_up(self.folder.path());
    }
}

pub(crate) fn create_options(version: u32) -> CreateOptions {
    CreateOptions {
        version,
        hostname: "host".to_owned(),
        username: "user".to_owned(),
        now: Timestamp::UNIX_EPOCH,
        cut_like: None,
    }
}

pub(crate) fn create(storage: Arc<dyn Storage>, version: u32) -> Arc<Repository> {
    Repository::create(storage, PASSWORD.as_bytes(), &create_options(version)).expect("a repository can be made")
}

pub(crate) fn open(storage: Arc<dyn Storage>) -> Result<Arc<Repository>> {
    Repository::open(storage, PASSWORD.as_bytes())
}

/// The real time of day, so that files that were just written look like it.
#[expect(clippy::disallowed_methods, reason = "tests play the caller, who has a clock")]
pub(crate) fn now() -> Now {
    Now { wall: Timestamp::now(), boot: Duration::from_secs(1000) }
}

pub(crate) fn lock_options() -> LockOptions {
    LockOptions {
        exclusive: false,
        hostname: "host/backupd".to_owned(),
        username: "user".to_owned(),
        pid: 1,
        uid: 0,
        gid: 0,
        this_host: "host".to_owned(),
        now: Arc::new(now),
        record: Arc::new(|_| Ok(())),
    }
}

pub(crate) fn lock(repository: &Arc<Repository>) -> Lock {
    Lock::acquire(repository, lock_options()).expect("nobody else holds a lock")
}

pub(crate) fn options(source: &Path) -> BackupOptions {
    BackupOptions {
        sources: vec![source.to_path_buf()],
        hostname: "host".to_owned(),
        username: "user".to_owned(),
        time: now().wall,
        program_version: "backupd test".to_owned(),
        ..BackupOptions::default()
    }
}

/// Backs up, and returns what was done and what failed.
pub(crate) fn back_up(repository: &Arc<Repository>, options: &BackupOptions) -> (BackupSummary, Arc<Remembers>) {
    let monitor = Arc::new(Remembers::default());
    let summary = backup(&lock(repository), options, &Gate::new(), &*monitor).expect("the backup succeeds");
    (summary, monitor)
}

/// The same with another monitor, and as it ends.
pub(crate) fn try_back_up(
    repository: &Arc<Repository>,
    options: &BackupOptions,
    monitor: &dyn Monitor,
) -> Result<BackupSummary> {
    backup(&lock(repository), options, &Gate::new(), monitor)
}

/// A monitor that remembers everything.
#[derive(Default)]
pub(crate) struct Remembers {
    pub(crate) progress: Mutex<Progress>,
    pub(crate) failures: Mutex<Vec<ItemFailure>>,
    pub(crate) notices: Mutex<Vec<String>>,
    pub(crate) packs: Mutex<Vec<PackRecord>>,
    pub(crate) planned: Mutex<Vec<PlannedItem>>,
    pub(crate) total: Mutex<Option<(u64, u64)>>,
}

impl Remembers {
    pub(crate) fn failures(&self) -> Vec<ItemFailure> {
        self.failures.lock().expect("no test panics while it holds this").clone()
    }

    pub(crate) fn failed(&self) -> Vec<(PathBuf, String)> {
        self.failures().into_iter().map(|failure| (failure.path, failure.message)).collect()
    }

    pub(crate) fn plan(&self) -> Vec<PlannedItem> {
        self.planned.lock().expect("no test panics while it holds this").clone()
    }
}

impl Monitor for Remembers {
    fn progress(&self, delta: &Progress) {
        self.progress.lock().expect("no test panics while it holds this").add(delta);
    }
    fn item_failed(&self, failure: ItemFailure) {
        self.failures.lock().expect("no test panics while it holds this").push(failure);
    }
    fn planned(&self, item: PlannedItem) {
        self.planned.lock().expect("no test panics while it holds this").push(item);
    }
    fn total(&self, files: u64, bytes: u64) {
        *self.total.lock().expect("no test panics while it holds this") = Some((files, bytes));
    }
    fn notice(&self, sentence: &str) {
        self.notices.lock().expect("no test panics while it holds this").push(sentence.to_owned());
    }
    fn storing(&self, pack: &PackRecord) -> Result<()> {
        self.packs.lock().expect("no test panics while it holds this").push(pack.clone());
        Ok(())
    }
}

/// What a test does when something happens.
type Act<'a, T> = Box<dyn Fn(&T) + Send + Sync + 'a>;

/// Returns the paths below a source in the newest snapshot.
pub(crate) fn stored(repository: &Arc<Repository>, source: &Path) -> Vec<String> {
    use std::os::unix::ffi::OsStrExt;
    let list = repository.snapshots().expect("the snapshots can be listed").list;
    let (snapshot, _) = list.last().expect("there is a snapshot");
    let mut paths = Vec::new();
    let path = source.as_os_str().as_bytes();
    backup_engine::browse::list(repository, snapshot, path, true, &mut |found, _| {
        paths.push(String::from_utf8_lossy(&found[path.len() + 1..]).into_owned());
        Ok(std::ops::ControlFlow::Continue(()))
    })
    .expect("the snapshot can be read");
    paths
}

/// A monitor that remembers everything, and lets a test act at a chosen moment.
#[derive(Default)]
pub(crate) struct Acts<'a> {
    pub(crate) remembers: Remembers,
    /// Called before a file is read or restored.
    pub(crate) current: Option<Act<'a, Path>>,
    /// Called when something was read or written.
    pub(crate) progress: Option<Act<'a, Progress>>,
}

impl Monitor for Acts<'_> {
    fn current(&self, path: &Path) {
        if let Some(act) = &self.current {
            act(path);
        }
    }
    fn progress(&self, delta: &Progress) {
        self.remembers.progress(delta);
        if let Some(act) = &self.progress {
            act(delta);
        }
    }
    fn item_failed(&self, failure: ItemFailure) {
        self.remembers.item_failed(failure);
    }
    fn notice(&self, sentence: &str) {
        self.remembers.notice(sentence);
    }
}
