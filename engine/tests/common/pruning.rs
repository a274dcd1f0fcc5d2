//! Prunes of a small repository, and what is demanded of it afterwards.

#![allow(clippy::unwrap_used, reason = "a failed step of a test's preparation is a failed test")]

use std::sync::Arc;

use backup_engine::lock::{Lock, LockOptions};
use backup_engine::prune::{MaxUnused, PruneOptions, PruneSummary, Seen, repack, sweep};
use backup_engine::storage::{FileKind, FileName, Storage};
use backup_engine::{Gate, Repository, Result};
use backup_testkit::seed::Seed;
use backup_testkit::tree::Tree;
use jiff::SignedDuration;

use super::damaged::verify_all;
use super::{Place, Remembers, back_up, lock_options, now, options};

pub(crate) fn hours(hours: i64) -> SignedDuration {
    SignedDuration::from_hours(hours)
}

/// The options of a prune so many hours from now that leaves nothing unused.
pub(crate) fn at(hour: i64) -> PruneOptions {
    PruneOptions { max_unused: MaxUnused::Percent(0), ..PruneOptions::new(now().wall + hours(hour)) }
}

pub(crate) fn without_grace() -> PruneOptions {
    PruneOptions { grace: SignedDuration::ZERO, ..at(0) }
}

pub(crate) fn exclusive(repository: &Arc<Repository>) -> Result<Lock> {
    Lock::acquire(repository, LockOptions { exclusive: true, ..lock_options() })
}

/// Prunes, and lets something happen between the halves.
pub(crate) fn prune_while(
    repository: &Arc<Repository>,
    options: &PruneOptions,
    seen: &mut Seen,
    between: impl FnOnce(),
) -> Result<PruneSummary> {
    let (gate, monitor) = (Gate::new(), Remembers::default());
    let (first, used) = {
        let lock = Lock::acquire(repository, lock_options())?;
        repack(&lock, options, seen, &gate, &monitor)?
    };
    between();
    let second = sweep(&exclusive(repository)?, options, seen, used, &gate, &monitor)?;
    assert_eq!(monitor.failed(), []);
    Ok(PruneSummary { packs_repacked: first.packs_repacked, bytes_repacked: first.bytes_repacked, ..second })
}

pub(crate) fn prune(repository: &Arc<Repository>, options: &PruneOptions, seen: &mut Seen) -> Result<PruneSummary> {
    prune_while(repository, options, seen, || {})
}

/// Plants a source, backs it up five times with changes in between, and forgets the first two snapshots.
pub(crate) fn prepare(place: &Place, back_up: &mut dyn FnMut(&Tree)) -> Tree {
    let mut tree = Tree::new(place.path("source"), Seed(71));
    tree.random_file("stays", 400_000);
    for number in 0..5 {
        tree.random_file("changes", 300_000);
        tree.random_file(format!("folder {number}/new"), 2000);
        if number == 1 {
            tree.random_file("goes", 500_000);
        }
        back_up(&tree);
        let _ = std::fs::copy(tree.path("goes"), place.path("gone"));
        let _ = std::fs::remove_file(tree.path("goes"));
    }
    forget(&place.open(), 2);
    tree
}

pub(crate) fn prepared(version: u32) -> (Place, Tree) {
    let place = Place::new();
    place.create(version);
    let repository = place.open();
    let tree = prepare(&place, &mut |tree| _ = back_up(&repository, &options(tree.root())));
    (place, tree)
}

pub(crate) fn forget(repository: &Repository, count: usize) {
    for (id, _) in repository.snapshots().unwrap().list.iter().take(count) {
        repository.storage().remove(&FileName::new(FileKind::Snapshot, id.0)).unwrap();
    }
}

pub(crate) fn is_whole(repository: &Arc<Repository>, what: &str) {
    let (files, affected) = verify_all(repository, true);
    assert!(files.is_empty() && affected.is_empty(), "{what}: {files:?} {affected:?}");
}

pub(crate) fn stored(storage: &dyn Storage) -> u64 {
    let kinds = [FileKind::Pack, FileKind::Index];
    kinds.into_iter().flat_map(|kind| storage.list(kind).unwrap()).map(|(_, length)| length).sum()
}

/// Lets restic check everything, and demands that it would not prune a thing.
pub(crate) fn restic_is_content(place: &Place) {
    let restic = place.restic();
    restic.check();
    let text = String::from_utf8(restic.run(["prune", "--dry-run", "--max-unused", "0"])).unwrap();
    let line = |name: &str| text.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned();
    assert!(line("to repack:").contains(" 0 blobs") && line("total prune:").contains(" 0 blobs"), "{text}");
}
