//! Copying: all that a snapshot names arrives, twice copies nothing twice, and whoever copies next finds it.

#![allow(clippy::unwrap_used, reason = "a failed step of a test's preparation is a failed test")]

mod common;

use std::path::Path;
use std::sync::Arc;

use backup_engine::copy::{CopyOptions, CopySummary, copy};
use backup_engine::id::SnapshotId;
use backup_engine::lock::Lock;
use backup_engine::repository::CreateOptions;
use backup_engine::storage::{FileKind, LocalStorage, MemoryStorage, Storage};
use backup_engine::{Class, Error, Gate, Repository, Result};
use backup_testkit::compare::{Options, compare};
use backup_testkit::faults::FaultyStorage;
use common::damaged::{Damage, damage, names, put};
use common::pruning::{is_whole, prepared};
use common::{Place, Remembers, create_options, lock_options, open};

/// More changing calls than a copy of the small repository makes.
const STEPS_MAX: u64 = 100;

fn all_of(repository: &Repository) -> Vec<SnapshotId> {
    repository.snapshots().unwrap().list.into_iter().map(|(id, _)| id).collect()
}

fn copy_all(from: &Repository, to: &Arc<Repository>, monitor: &Remembers) -> Result<CopySummary> {
    let to = to.with_own_index();
    let lock = Lock::acquire(&to, lock_options())?;
    let options = CopyOptions { snapshots: all_of(from), adopt: Vec::new() };
    copy(from, &lock, &options, &Gate::new(), monitor)
}

fn copied(from: &Repository, to: &Arc<Repository>) -> CopySummary {
    let monitor = Remembers::default();
    let summary = copy_all(from, to, &monitor).unwrap();
    assert_eq!(monitor.failed(), []);
    summary
}

/// Lets restic copy all snapshots of the first to the second; returns what it said.
fn restic_copies(from: &Place, to: &Place) -> String {
    let (repository, password) = (from.repository(), from.path("password"));
    let arguments = ["copy", "--from-repo", text(&repository), "--from-password-file", text(&password)];
    String::from_utf8(to.restic().run(arguments)).unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn what_is_copied_is_whole_and_neither_we_nor_restic_copy_it_again() {
    for version in [1, 2] {
        let (from, tree) = prepared(2);
        let (to, source) = (Place::new(), from.open());
        let target = to.create(version);
        let summary = copied(&source, &target);
        assert_eq!((summary.copied, summary.there), (3, 0), "{summary:?}");
        to.restic().check();
        is_whole(&to.open(), "copied");
        let restored = to.path("restored");
        to.restic().restore("latest", &restored);
        let below = restored.join(tree.root().strip_prefix("/").unwrap());
        compare(tree.root(), &below, &Options::default()).assert_equal();
        let again = copied(&source, &target);
        assert_eq!((again.copied, again.there, again.bytes, again.bytes_stored), (0, 3, 0, 0));
        let said = restic_copies(&from, &to);
        assert_eq!(said.matches("skipping").count(), 3, "{said}");
        assert_eq!(all_of(&to.open()).len(), 3);
    }
}

#[test]
fn what_restic_has_copied_is_there() {
    let (from, _) = prepared(2);
    let to = Place::new();
    let target = to.create(2);
    restic_copies(&from, &to);
    let summary = copied(&from.open(), &target);
    assert_eq!((summary.copied, summary.there, summary.bytes_stored), (0, 3, 0));
}

#[test]
fn a_repository_that_cuts_alike_shares_what_both_back_up() {
    let (from, tree) = prepared(2);
    let to = Place::new();
    let source = from.open();
    let options = CreateOptions { cut_like: Some(source.config().clone()), ..create_options(2) };
    let storage: Arc<dyn Storage> = Arc::new(LocalStorage::new(to.repository()));
    let target = Repository::create(storage, common::PASSWORD.as_bytes(), &options).unwrap();
    copied(&source, &target);
    let (backed_up, _) = common::back_up(&target.with_own_index(), &common::options(tree.root()));
    assert_eq!(backed_up.data_blobs, 0, "all files are as in the last copied snapshot");
}

#[test]
fn stopped_after_any_call_it_leaves_everything_whole_and_the_next_one_finishes() {
    let (from, _) = prepared(2);
    let source = from.open();
    for steps in 0..STEPS_MAX {
        let storage = MemoryStorage::new();
        common::create(Arc::new(storage.clone()), 2);
        let faulty = FaultyStorage::new(Arc::new(storage.clone()), steps, Class::Transient);
        let stopped =
            open(Arc::new(faulty)).and_then(|target| copy_all(&source, &target, &Remembers::default()).map(|_| ()));
        let what = format!("after call {steps}");
        let target = open(Arc::new(storage.clone())).unwrap();
        is_whole(&target, &what);
        let summary = copied(&source, &target);
        assert_eq!(summary.copied + summary.there, 3, "{what}");
        is_whole(&target, &what);
        let place = Place::new();
        if steps % 4 == 0 || stopped.is_ok() {
            let disk = LocalStorage::new(place.repository());
            disk.create().unwrap();
            let kinds = [FileKind::Config, FileKind::Key, FileKind::Index, FileKind::Snapshot, FileKind::Pack];
            for name in kinds.into_iter().flat_map(|kind| names(&storage, kind)) {
                put(&disk, &name, &storage.read(&name).unwrap());
            }
            place.restic().check();
        }
        if stopped.is_ok() {
            assert!(steps > 5, "a copy writes a lock, packs, an index and snapshots");
            return;
        }
    }
    panic!("a copy makes more than {STEPS_MAX} changing calls");
}

#[test]
fn a_snapshot_that_is_damaged_is_named_and_the_others_are_copied() {
    let (from, _) = prepared(2);
    let source = from.open();
    // What only the newest snapshot needs is in the pack that was written last.
    let newest = *all_of(&source).last().unwrap();
    let whole = names(source.storage(), FileKind::Pack);
    let needed_by_others: Vec<_> = {
        let to = common::create(Arc::new(MemoryStorage::new()), 2);
        let options = CopyOptions { snapshots: all_of(&source)[..2].to_vec(), adopt: Vec::new() };
        let lock = Lock::acquire(&to, lock_options()).unwrap();
        copy(&source, &lock, &options, &Gate::new(), &Remembers::default()).unwrap();
        let known = to.index();
        let index = source.index();
        let by_pack = index.by_pack();
        let is_needed =
            |pack: &backup_engine::id::PackId| by_pack[pack].iter().any(|blob| known.contains(&blob.handle));
        by_pack.keys().filter(|pack| is_needed(pack)).copied().collect()
    };
    let pack = whole.into_iter().find(|name| !needed_by_others.iter().any(|pack| pack.0 == name.id)).unwrap();
    damage(source.storage(), &pack, Damage::Delete, &pack);
    let to = Place::new();
    let target = to.create(2);
    let monitor = Remembers::default();
    let summary = copy_all(&from.open(), &target, &monitor).unwrap();
    assert_eq!((summary.copied, summary.there), (2, 0));
    let failed = monitor.failed();
    assert!(failed.len() == 1 && failed[0].0.display().to_string().ends_with(&newest.to_string()), "{failed:?}");
    to.restic().check();
    is_whole(&to.open(), "without the damaged one");
}

#[test]
fn a_repository_is_not_copied_to_itself() {
    let (from, _) = prepared(2);
    let error = copy_all(&from.open(), &from.open(), &Remembers::default()).unwrap_err();
    assert!(matches!(error, Error::Misuse { .. }) && error.to_string().contains("same repository"), "{error}");
}
