//! Repairs of a damaged repository, and what is demanded of it afterwards.

#![allow(clippy::unwrap_used, reason = "a failed step of a test's preparation is a failed test")]

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use backup_engine::id::SnapshotId;
use backup_engine::lock::Lock;
use backup_engine::repair::{REPAIRED_TAG, RepairOptions, RepairSummary, examine, mend, preview};
use backup_engine::restorer::{RestoreOptions, restore};
use backup_engine::snapshot::Snapshot;
use backup_engine::storage::{FileKind, FileName, LocalStorage, Storage};
use backup_engine::{Gate, Repository, Result};
use backup_testkit::compare::{Options, compare};

use super::damaged::{Lost, State, Whole, names, put};
use super::pruning::exclusive;
use super::{Place, Remembers, lock_options};

pub(crate) fn options(forget: bool) -> RepairOptions {
    RepairOptions { forget, incomplete_tag: Some("incomplete".to_owned()) }
}

/// Repairs; returns what was done, and what was said to be lost.
pub(crate) fn repair(
    repository: &Arc<Repository>,
    options: &RepairOptions,
) -> Result<(RepairSummary, BTreeSet<PathBuf>)> {
    let (gate, monitor) = (Gate::new(), Remembers::default());
    let examined = {
        let lock = Lock::acquire(repository, lock_options())?;
        examine(&lock, 0, &gate, &monitor)?
    };
    let summary = mend(&exclusive(repository)?, &examined, options, &gate, &monitor)?;
    Ok((summary, named(&monitor)))
}

/// Says what a repair would do, and demands that nothing is changed.
pub(crate) fn would_repair(
    repository: &Arc<Repository>,
    options: &RepairOptions,
) -> (RepairSummary, BTreeSet<PathBuf>) {
    let (gate, monitor) = (Gate::new(), Remembers::default());
    let before = contents(repository.storage());
    let lock = Lock::acquire(repository, lock_options()).unwrap();
    let examined = examine(&lock, 0, &gate, &monitor).unwrap();
    let summary = preview(&lock, &examined, options, &gate, &monitor).unwrap();
    drop(lock);
    assert_eq!(contents(repository.storage()), before, "it only says what it would do");
    (summary, named(&monitor))
}

/// Returns what is named as lost: `SNAPSHOT:PATH`.
fn named(monitor: &Remembers) -> BTreeSet<PathBuf> {
    let failed = monitor.failed();
    let named: BTreeSet<PathBuf> = failed.iter().map(|(path, _)| path.clone()).collect();
    assert_eq!(named.len(), failed.len(), "each item once");
    named
}

/// Returns the names and lengths of all files.
pub(crate) fn contents(storage: &dyn Storage) -> BTreeSet<(FileName, u64)> {
    FileKind::ALL.into_iter().flat_map(|kind| storage.list(kind).unwrap()).collect()
}

/// Puts a storage's files on a disk, where restic and rustic can look at them.
pub(crate) fn on_disk(storage: &dyn Storage) -> Place {
    let place = Place::new();
    let disk = LocalStorage::new(place.repository());
    disk.create().unwrap();
    for name in FileKind::ALL.into_iter().flat_map(|kind| names(storage, kind)) {
        put(&disk, &name, &storage.read(&name).unwrap());
    }
    place
}

/// Returns the snapshot that has taken the place of another one.
pub(crate) fn repaired(repository: &Repository, original: SnapshotId) -> Option<(SnapshotId, Snapshot)> {
    let is_it = |snapshot: &Snapshot| {
        snapshot.original == Some(original) && snapshot.tags.iter().any(|tag| tag == REPAIRED_TAG)
    };
    let mut found = repository.snapshots().unwrap().list.into_iter().filter(|(_, snapshot)| is_it(snapshot));
    let first = found.next();
    assert!(found.next().is_none(), "one snapshot takes the place of one");
    first
}

impl Whole {
    /// Returns what a repair has to name: `SNAPSHOT:PATH`.
    pub(crate) fn to_be_named(&self, lost: &[Lost]) -> BTreeSet<PathBuf> {
        let named = |(state, lost): (&State, &Lost)| {
            let paths = match lost {
                Lost::All => [PathBuf::from("/")].into(),
                Lost::Entries(paths) => paths.clone(),
            };
            let id = state.snapshot.short().to_string();
            paths.into_iter().map(move |path| PathBuf::from(format!("{id}:{}", path.display())))
        };
        self.states.iter().zip(lost).flat_map(named).collect()
    }

    /// Restores what there is of a state: nothing fails, and all but what is lost is as it was.
    pub(crate) fn restores_rest(
        &self,
        repository: &Arc<Repository>,
        id: SnapshotId,
        state: &State,
        lost: &Lost,
        what: &str,
    ) {
        let Lost::Entries(lost) = lost else { panic!("{what}: all of it is lost") };
        let to = tempfile::tempdir().unwrap();
        let monitor = Remembers::default();
        let options = RestoreOptions::new(id, to.path().to_path_buf());
        restore(repository, &options, &Gate::new(), &monitor).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(monitor.failed(), [], "{what}");
        self.is_rest(to.path(), state, lost, what);
    }

    /// Compares what was restored with what there was, but for what is lost.
    pub(crate) fn is_rest(&self, restored: &std::path::Path, state: &State, lost: &BTreeSet<PathBuf>, what: &str) {
        if lost.iter().any(|path| self.source.starts_with(path)) {
            return;
        }
        let inside = lost.iter().map(|path| state.copy.join(path.strip_prefix(&self.source).unwrap()));
        let options = Options { reported: inside.collect(), ..Options::default() };
        let found = compare(&state.copy, &restored.join(self.source.strip_prefix("/").unwrap()), &options);
        assert_eq!(found.differences, [], "{what}");
    }
}
