//! The damage matrix, repaired: what can be saved is saved, what is lost is named exactly, and nothing is made worse
//! wherever it is stopped.

#![allow(clippy::unwrap_used, reason = "a failed step of a test's preparation is a failed test")]

mod common;

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use backup_engine::id::{BlobHandle, PackId};
use backup_engine::lock::Lock;
use backup_engine::repair::{RepairSummary, examine, mend};
use backup_engine::storage::{FileKind, FileName, MemoryStorage, Storage};
use backup_engine::{Class, Error, Gate, Repository};
use backup_testkit::faults::FaultyStorage;
use common::damaged::{DAMAGES, Damage, Lost, Whole, damage, names, verify_all};
use common::pruning::{exclusive, is_whole};
use common::repairing::{contents, on_disk, options, repair, repaired, would_repair};
use common::rustic::Rustic;
use common::{Place, Remembers, lock_options, open};
use rustic_core::ConfigOptions;

/// More changing calls than a repair of the small repository makes.
const STEPS_MAX: u64 = 300;

fn next<T: Copy + PartialEq>(all: &[T], one: T) -> T {
    let position = all.iter().position(|other| *other == one).unwrap();
    all[(position + 1) % all.len()]
}

/// Repairs, and demands that what the preview has said is what is done, and that what is lost is what has to be.
fn repair_all(whole: &Whole, repository: &Arc<Repository>, bad: &HashSet<BlobHandle>, what: &str) -> RepairSummary {
    let lost: Vec<Lost> = whole.states.iter().map(|state| whole.lost(&state.snapshot, bad)).collect();
    let would = would_repair(repository, &options(true));
    let done = repair(repository, &options(true)).unwrap();
    assert_eq!(done, would, "{what}: what was said is not what was done");
    assert_eq!(done.1, whole.to_be_named(&lost), "{what}");
    is_whole(repository, what);
    for (state, lost) in whole.states.iter().zip(&lost) {
        match lost {
            Lost::All => assert!(repaired(repository, state.snapshot).is_none(), "{what}"),
            Lost::Entries(paths) if paths.is_empty() => whole.restores(repository, state, lost, what),
            Lost::Entries(_) => {
                let (id, snapshot) = repaired(repository, state.snapshot).unwrap();
                assert!(snapshot.tags.iter().any(|tag| tag == "incomplete"), "{what}");
                whole.restores_rest(repository, id, state, lost, what);
            }
        }
    }
    let again = repair(repository, &options(true)).unwrap();
    assert_eq!(again, (RepairSummary::default(), BTreeSet::new()), "{what}: nothing is left to be done");
    done.0
}

#[test]
fn a_damaged_pack_costs_no_more_than_the_blobs_with_wrong_bytes() {
    let whole = Whole::build();
    let packs = names(&whole.storage, FileKind::Pack);
    for (number, pack) in packs.iter().enumerate() {
        for (kind, how) in DAMAGES.into_iter().enumerate() {
            let (storage, what) = (whole.storage.snapshot(), format!("{how:?} of {pack}"));
            damage(&storage, pack, how, &next(&packs, *pack));
            // What lies under a wrong name is there.
            let bad = if how == Damage::Swap { HashSet::new() } else { whole.blobs_hit(PackId(pack.id), how) };
            let repository = open(Arc::new(storage.clone())).unwrap();
            let summary = repair_all(&whole, &repository, &bad, &what);
            assert_eq!(summary.blobs_lost, bad.len() as u64, "{what}: {summary:?}");
            if how == Damage::Delete {
                assert_eq!((summary.packs_missing, summary.packs_damaged), (1, 0), "{what}: {summary:?}");
            } else {
                assert!(summary.packs_damaged > 0, "{what}: {summary:?}");
                assert!(!names(&storage, FileKind::Pack).contains(pack), "{what}: it is still there");
            }
            if (number + kind) % 8 == 0 {
                let place = on_disk(&storage);
                place.restic().check();
                Rustic::new(place.repository()).check();
            }
        }
    }
}

#[test]
fn restic_restores_all_that_was_saved() {
    let whole = Whole::build();
    let storage = whole.storage.snapshot();
    let pack = whole.data_pack_of(&whole.states[1].snapshot);
    damage(&storage, &FileName::new(FileKind::Pack, pack.0), Damage::BendMiddle, &FileName::CONFIG);
    let bad = whole.blobs_hit(pack, Damage::BendMiddle);
    assert_eq!(bad.len(), 1, "a bent byte costs one blob");
    let repository = open(Arc::new(storage.clone())).unwrap();
    let summary = repair(&repository, &options(true)).unwrap().0;
    assert!(summary.blobs_saved > 0 && summary.snapshots_repaired > 0, "{summary:?}");
    let place = on_disk(&storage);
    place.restic().check();
    for (number, state) in whole.states.iter().enumerate() {
        let Lost::Entries(lost) = whole.lost(&state.snapshot, &bad) else { panic!("a data blob is no root") };
        let id = repaired(&repository, state.snapshot).map_or(state.snapshot, |(id, _)| id);
        let to = place.path(&format!("restored {number}"));
        place.restic().restore(&id.to_string(), &to);
        whole.is_rest(&to, state, &lost, "restored by restic");
    }
}

#[test]
fn a_damaged_index_costs_nothing() {
    let whole = Whole::build();
    let indexes = names(&whole.storage, FileKind::Index);
    for (number, index) in indexes.iter().enumerate() {
        for how in DAMAGES {
            let (storage, what) = (whole.storage.snapshot(), format!("{how:?} of {index}"));
            damage(&storage, index, how, &next(&indexes, *index));
            let repository = open(Arc::new(storage.clone())).unwrap();
            let summary = repair_all(&whole, &repository, &HashSet::new(), &what);
            assert!(summary.packs_listed_again > 0, "{what}: {summary:?}");
            assert_eq!(summary.snapshots_repaired, 0, "{what}: {summary:?}");
            if number == 0 && how == Damage::Halve {
                on_disk(&storage).restic().check();
            }
        }
    }
    let storage = whole.storage.snapshot();
    indexes.iter().for_each(|index| storage.remove(index).unwrap());
    repair_all(&whole, &open(Arc::new(storage)).unwrap(), &HashSet::new(), "no index at all");
}

#[test]
fn a_snapshot_that_cannot_be_read_is_named_and_one_with_a_wrong_name_is_saved() {
    let whole = Whole::build();
    let snapshots = names(&whole.storage, FileKind::Snapshot);
    for snapshot in &snapshots {
        for how in DAMAGES {
            let (storage, what) = (whole.storage.snapshot(), format!("{how:?} of {snapshot}"));
            let other = next(&snapshots, *snapshot);
            damage(&storage, snapshot, how, &other);
            let repository = open(Arc::new(storage)).unwrap();
            let (summary, named) = repair(&repository, &options(true)).unwrap();
            is_whole(&repository, &what);
            assert_eq!(summary.snapshots_lost, u64::from(!matches!(how, Damage::Delete | Damage::Swap)), "{what}");
            assert_eq!(named.len() as u64, summary.snapshots_lost, "{what}: {named:?}");
            for state in &whole.states {
                let hit = state.snapshot.0 == snapshot.id || how == Damage::Swap && state.snapshot.0 == other.id;
                match repaired(&repository, state.snapshot) {
                    Some((id, _)) => {
                        assert!(hit && how == Damage::Swap, "{what}");
                        whole.restores_rest(&repository, id, state, &Lost::nothing(), &what);
                    }
                    None if hit => assert_ne!(how, Damage::Swap, "{what}"),
                    None => whole.restores(&repository, state, &Lost::nothing(), &what),
                }
            }
        }
    }
}

/// Damages a pack of data, one of trees and an index file.
fn damaged_thrice(whole: &Whole) -> MemoryStorage {
    let storage = whole.storage.snapshot();
    let data = FileName::new(FileKind::Pack, whole.data_pack_of(&whole.states[0].snapshot).0);
    damage(&storage, &data, Damage::BendMiddle, &data);
    let second = FileName::new(FileKind::Pack, whole.data_pack_of(&whole.states[2].snapshot).0);
    damage(&storage, &second, Damage::BendFirst, &second);
    let index = names(&storage, FileKind::Index)[1];
    damage(&storage, &index, Damage::Halve, &index);
    storage
}

#[test]
fn stopped_after_any_call_it_has_made_nothing_worse_and_the_next_one_finishes() {
    let whole = Whole::build();
    let damaged = damaged_thrice(&whole);
    let before = verify_all(&open(Arc::new(damaged.snapshot())).unwrap(), true).1;
    assert!(!before.is_empty());
    let end = open(Arc::new(damaged.snapshot())).unwrap();
    repair(&end, &options(true)).unwrap();
    let end = end.snapshots().unwrap().list;
    for steps in 0..STEPS_MAX {
        let storage = damaged.snapshot();
        let faulty = FaultyStorage::new(Arc::new(storage.clone()), steps, Class::Transient);
        let stopped = repair(&open(Arc::new(faulty)).unwrap(), &options(true));
        let what = format!("after call {steps}");
        let left = open(Arc::new(storage.clone())).unwrap();
        let after = verify_all(&left, true).1;
        assert!(after.is_subset(&before), "{what}: {after:?}");
        // The locks of the one that was killed: the daemon removes those on its record.
        names(&storage, FileKind::Lock).iter().for_each(|lock| storage.remove(lock).unwrap());
        let left = open(Arc::new(storage.clone())).unwrap();
        repair(&left, &options(true)).unwrap();
        is_whole(&left, &what);
        let list = left.snapshots().unwrap().list;
        assert!(list.iter().map(|(_, one)| one).eq(end.iter().map(|(_, one)| one)), "{what}: {list:?}");
        if steps % 4 == 0 || stopped.is_ok() {
            let place = on_disk(&storage);
            place.restic().check();
            Rustic::new(place.repository()).check();
        }
        if stopped.is_ok() {
            assert!(steps > 10, "a repair writes and removes");
            return;
        }
    }
    panic!("a repair makes more than {STEPS_MAX} changing calls");
}

#[test]
fn damaged_snapshots_stay_unless_they_are_to_be_forgotten() {
    let whole = Whole::build();
    let storage = damaged_thrice(&whole);
    let repository = open(Arc::new(storage.clone())).unwrap();
    let (first, named) = repair(&repository, &options(false)).unwrap();
    assert!(first.snapshots_repaired > 0 && first.snapshots_removed == 0, "{first:?}");
    assert!(names(&whole.storage, FileKind::Snapshot).iter().all(|name| storage.read(name).is_ok()));
    let before = contents(&storage);
    let (second, again) = repair(&repository, &options(false)).unwrap();
    assert_eq!((second.snapshots_repaired, second.snapshots_left), (0, first.snapshots_left), "{second:?}");
    assert_eq!((contents(&storage), again), (before, named), "there is nothing more to do");
    let third = repair(&repository, &options(true)).unwrap().0;
    assert_eq!(third.snapshots_removed, first.snapshots_left, "{third:?}");
    is_whole(&repository, "without the damaged ones");
}

#[test]
fn a_pack_of_which_nobody_knows_what_is_in_it_is_named_and_stays() {
    let whole = Whole::build();
    let storage = whole.storage.snapshot();
    names(&storage, FileKind::Index).iter().for_each(|index| storage.remove(index).unwrap());
    let pack = FileName::new(FileKind::Pack, whole.data_pack_of(&whole.states[0].snapshot).0);
    damage(&storage, &pack, Damage::BendLast, &pack);
    let repository = open(Arc::new(storage.clone())).unwrap();
    let (summary, named) = repair(&repository, &options(true)).unwrap();
    assert_eq!((summary.packs_left, summary.packs_damaged), (1, 0), "{summary:?}");
    assert!(named.contains(std::path::Path::new(&pack.to_string())), "{named:?}");
    assert!(names(&storage, FileKind::Pack).contains(&pack));
    is_whole(&repository, "but for what is in it");
}

#[test]
fn it_leaves_a_whole_repository_alone_and_stops_when_it_must() {
    let whole = Whole::build();
    let repository = open(Arc::new(whole.storage.snapshot())).unwrap();
    let before = contents(repository.storage());
    assert_eq!(repair(&repository, &options(true)).unwrap(), (RepairSummary::default(), BTreeSet::new()));
    assert_eq!(contents(repository.storage()), before);

    let repository = open(Arc::new(damaged_thrice(&whole))).unwrap();
    let (gate, monitor) = (Gate::new(), Remembers::default());
    let examined = examine(&common::lock(&repository), 0, &gate, &monitor).unwrap();
    gate.pause();
    let before = contents(repository.storage());
    let ended = mend(&exclusive(&repository).unwrap(), &examined, &options(true), &gate, &monitor);
    assert!(matches!(ended, Err(Error::Suspended)), "{ended:?}");
    assert_eq!(contents(repository.storage()), before, "nobody waits for an exclusive lock");
    let other = Lock::acquire(&repository, lock_options()).unwrap();
    assert!(matches!(repair(&repository, &options(true)), Err(Error::Locked { .. })));
    drop(other);

    let place = Place::new();
    let mut config = ConfigOptions::default();
    config.set_append_only = Some(true);
    Rustic::new(place.repository()).init(&config);
    let error = repair(&place.open(), &options(true)).unwrap_err();
    assert!(error.class() == Class::Misuse && error.to_string().contains("append-only"), "{error}");
}
