//! Pruning: nothing that is needed goes, and what is not needed goes in time, wherever it is stopped.

#![allow(clippy::unwrap_used, reason = "a failed step of a test's preparation is a failed test")]

mod common;

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use backup_engine::lock::Lock;
use backup_engine::prune::{Seen, Used, preview, repack, sweep};
use backup_engine::storage::{FileKind, LocalStorage, MemoryStorage, Storage};
use backup_engine::{Class, Error, Gate};
use backup_testkit::faults::FaultyStorage;
use common::damaged::{Damage, damage, names, put, verify_all};
use common::pruning::{at, exclusive, hours, is_whole, prepared, prune, restic_is_content, stored, without_grace};
use common::rustic::Rustic;
use common::{Acts, Place, Remembers, lock_options, now, open};
use rustic_core::ConfigOptions;

/// More changing calls than a prune of the small repository makes.
const STEPS_MAX: u64 = 300;

#[test]
fn what_nothing_needs_leaves_the_index_after_a_day_and_the_storage_after_another() {
    for version in [1, 2] {
        let (place, _) = prepared(version);
        let (repository, mut seen) = (place.open(), Seen::default());
        let before = names(repository.storage(), FileKind::Pack);
        let would = preview(&repository, &without_grace(), &seen, &Gate::new()).unwrap();
        let summary = prune(&repository, &at(0), &mut seen).unwrap();
        assert!(summary.packs_repacked > 0 && summary.bytes_repacked > 400_000, "{summary:?}");
        assert_eq!((summary.packs_removed, summary.packs_waiting > 0), (0, true), "{summary:?}");
        let early = prune(&repository, &at(23), &mut seen).unwrap();
        assert_eq!((early.packs_repacked, early.index_files_removed, early.packs_removed), (0, 0, 0), "{early:?}");
        place.restic().check();
        let unlisted = prune(&repository, &at(25), &mut seen).unwrap();
        assert!(unlisted.index_files_removed > 0 && unlisted.packs_removed == 0, "{unlisted:?}");
        assert!(before.iter().all(|pack| names(repository.storage(), FileKind::Pack).contains(pack)));
        restic_is_whole_but_for_what_waits(&place);
        assert_eq!(prune(&repository, &at(48), &mut seen).unwrap().packs_removed, 0);
        let size = stored(repository.storage());
        let last = prune(&repository, &at(50), &mut seen).unwrap();
        assert_eq!(last.packs_removed, summary.packs_waiting, "{last:?}");
        assert_eq!(last.bytes_freed, size - stored(repository.storage()));
        assert_eq!((last.packs_waiting, last.next, seen), (0, None, Seen::default()));
        assert!(would.bytes_freed.abs_diff(last.bytes_freed - summary.bytes_repacked) < 10_000, "{would:?} {last:?}");
        assert!(would.bytes_freed > 1_000_000, "two changed files and one that went: {would:?}");
        restic_is_content(&place);
        is_whole(&repository, "at the end");
    }
}

fn restic_is_whole_but_for_what_waits(place: &Place) {
    place.restic().check();
    is_whole(&place.open(), "packs wait");
}

#[test]
fn a_record_that_was_lost_begins_anew() {
    let (place, _) = prepared(2);
    let repository = place.open();
    prune(&repository, &at(0), &mut Seen::default()).unwrap();
    let summary = prune(&repository, &at(25), &mut Seen::default()).unwrap();
    assert_eq!((summary.index_files_removed, summary.packs_removed), (0, 0), "{summary:?}");
    let since = summary.next.unwrap().duration_since(now().wall);
    assert!(since > hours(48) && since < hours(50), "{since}");
}

fn copy(from: &dyn Storage, to: &dyn Storage) {
    for name in FileKind::ALL.into_iter().flat_map(|kind| names(from, kind)) {
        put(to, &name, &from.read(&name).unwrap());
    }
}

fn on_disk(storage: &dyn Storage) -> Place {
    let place = Place::new();
    let disk = LocalStorage::new(place.repository());
    disk.create().unwrap();
    copy(storage, &disk);
    place
}

#[test]
fn stopped_after_any_call_it_leaves_everything_whole_and_the_next_one_finishes() {
    let (place, _) = prepared(2);
    let memory = MemoryStorage::new();
    let local = LocalStorage::new(place.repository());
    copy(&local, &memory);
    for steps in 0..STEPS_MAX {
        let storage = memory.snapshot();
        let faulty = FaultyStorage::new(Arc::new(storage.clone()), steps, Class::Transient);
        let stopped = prune(&open(Arc::new(faulty.clone())).unwrap(), &without_grace(), &mut Seen::default());
        let what = format!("after call {steps}");
        let left = open(Arc::new(storage.clone())).unwrap();
        is_whole(&left, &what);
        // The locks of the one that was killed: the daemon removes those on its record.
        for lock in names(&storage, FileKind::Lock) {
            storage.remove(&lock).unwrap();
        }
        if steps % 2 == 0 || stopped.is_ok() {
            let place = on_disk(&storage);
            place.restic().check();
            if steps % 4 == 0 || stopped.is_ok() {
                Rustic::new(place.repository()).check_stopped();
            }
        }
        let again = prune(&left, &without_grace(), &mut Seen::default()).unwrap();
        is_whole(&left, &what);
        assert_eq!(left.snapshots().unwrap().list.len(), 3, "{what}");
        let rest = preview(&left, &without_grace(), &Seen::default(), &Gate::new()).unwrap();
        assert_eq!(
            (rest.packs_repacked, rest.packs_removed, rest.bytes_unused),
            (0, 0, 0),
            "{what}: {again:?} {rest:?}"
        );
        if stopped.is_ok() {
            assert!(steps > 10, "a prune writes, lists and removes");
            return;
        }
    }
    panic!("a prune makes more than {STEPS_MAX} changing calls");
}

/// A backup that wants the target ends a prune in the middle of its work.
#[test]
fn suspended_while_it_moves_packs_it_keeps_what_it_has_moved_and_the_next_one_goes_on() {
    let moving = |place: &Place, suspend_after: usize, seen: &mut Seen| {
        let (gate, calls) = (Gate::new(), AtomicUsize::new(0));
        let suspend = |_: &_| {
            if calls.fetch_add(1, Ordering::Relaxed) + 1 == suspend_after {
                gate.suspend();
            }
        };
        let monitor = Acts { progress: Some(Box::new(suspend)), ..Acts::default() };
        let lock = common::lock(&place.open());
        let ended = repack(&lock, &without_grace(), seen, &gate, &monitor).map(|(done, _)| done.bytes_repacked);
        (ended, calls.load(Ordering::Relaxed))
    };
    let (_, reports) = moving(&prepared(2).0, usize::MAX, &mut Seen::default());
    let (place, _) = prepared(2);
    // What another repository has to move says nothing of this one: each cuts files at places of its own.
    let whole = preview(&place.open(), &without_grace(), &Seen::default(), &Gate::new()).unwrap().bytes_repacked;
    let before = names(place.open().storage(), FileKind::Pack);
    let mut seen = Seen::default();
    let (ended, moved) = moving(&place, 4, &mut seen);
    assert!(matches!(ended, Err(Error::Suspended)), "{ended:?}");
    assert!(moved < reports, "it ended after {moved} of {reports} reports");
    is_whole(&place.open(), "suspended");
    place.restic().check();
    assert!(
        names(place.open().storage(), FileKind::Pack).iter().any(|pack| !before.contains(pack)),
        "what was moved is stored"
    );
    let (rest, _) = moving(&place, usize::MAX, &mut seen);
    assert!(rest.unwrap() < whole, "what was moved is not moved again");
    prune(&place.open(), &without_grace(), &mut seen).unwrap();
    is_whole(&place.open(), "gone on");
    restic_is_content(&place);
}

#[test]
fn a_damaged_blob_keeps_its_pack_and_is_named() {
    let (place, _) = prepared(2);
    let repository = place.open();
    let largest = repository.storage().list(FileKind::Pack).unwrap().into_iter().max_by_key(|(_, length)| *length);
    // The first backup's: `stays` is the first blob in it.
    let (pack, _) = largest.unwrap();
    damage(repository.storage(), &pack, Damage::BendMiddle, &pack);
    let before = verify_all(&repository, true);
    let (gate, monitor) = (Gate::new(), Remembers::default());
    let mut seen = Seen::default();
    for _ in 0..2 {
        let used = {
            let lock = Lock::acquire(&repository, lock_options()).unwrap();
            repack(&lock, &without_grace(), &mut seen, &gate, &monitor).unwrap().1
        };
        sweep(&exclusive(&repository).unwrap(), &without_grace(), &mut seen, used, &gate, &monitor).unwrap();
    }
    let named = monitor.failed().iter().any(|(path, _)| path.to_string_lossy() == pack.to_string());
    let is_needed = !before.1.is_empty();
    assert_eq!(named, is_needed, "{:?}", monitor.failed());
    assert_eq!(names(repository.storage(), FileKind::Pack).contains(&pack), is_needed);
    assert_eq!(verify_all(&repository, true).1, before.1, "nothing more is lost");
}

#[test]
fn whatever_makes_it_uncertain_what_is_needed_keeps_everything() {
    for kind in [FileKind::Snapshot, FileKind::Index, FileKind::Pack] {
        let (place, _) = prepared(2);
        let repository = place.open();
        let file = names(repository.storage(), kind)[0];
        damage(repository.storage(), &file, Damage::Empty, &file);
        let before = names(repository.storage(), FileKind::Pack);
        match prune(&repository, &without_grace(), &mut Seen::default()) {
            Err(error) => assert_eq!(error.class(), Class::Damaged, "{error}"),
            // The pack was one of those that nothing needs.
            Ok(_) => assert_eq!(kind, FileKind::Pack),
        }
        let after = names(repository.storage(), FileKind::Pack);
        assert!(kind == FileKind::Pack || before.iter().all(|pack| after.contains(pack)), "{kind:?}");
    }
}

#[test]
fn a_pause_ends_a_sweep_and_an_append_only_repository_is_refused() {
    let (place, _) = prepared(2);
    let repository = place.open();
    let gate = Gate::new();
    gate.pause();
    let swept = sweep(
        &exclusive(&repository).unwrap(),
        &without_grace(),
        &mut Seen::default(),
        Used::default(),
        &gate,
        &Remembers::default(),
    );
    assert!(matches!(swept, Err(Error::Suspended)), "{swept:?}");

    let place = Place::new();
    let mut config = ConfigOptions::default();
    config.set_append_only = Some(true);
    Rustic::new(place.repository()).init(&config);
    let error = prune(&place.open(), &at(0), &mut Seen::default()).unwrap_err();
    assert!(error.class() == Class::Misuse && error.to_string().contains("append-only"), "{error}");
}

#[test]
fn half_written_files_go_when_they_are_a_day_old() {
    let (place, _) = prepared(2);
    let repository = place.open();
    let pack = LocalStorage::new(place.repository()).path(&names(repository.storage(), FileKind::Pack)[0]);
    let path = |number: u64| PathBuf::from(format!("{}-tmp-{number}", pack.display()));
    let written = |path: &PathBuf, age: u64| {
        let file = File::create(path).unwrap();
        let time: SystemTime = now().wall.into();
        file.set_modified(time - std::time::Duration::from_secs(age)).unwrap();
    };
    written(&path(1), 25 * 3600);
    written(&path(2), 23 * 3600);
    let summary = prune(&repository, &at(0), &mut Seen::default()).unwrap();
    assert_eq!((summary.temporary_removed, path(1).exists(), path(2).exists()), (1, false, true));
}
