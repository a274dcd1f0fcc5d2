//! The damage matrix: a file of the repository is lost, cut, bent or swapped. It is noticed and named, and all that
//! does not need it is still restored, byte for byte.

#![allow(clippy::unwrap_used, reason = "a failed step of a test's preparation is a failed test")]

mod common;

use std::collections::{BTreeSet, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use backup_engine::id::{BlobHandle, PackId, SnapshotId};
use backup_engine::lock::Lock;
use backup_engine::storage::{FileKind, FileName, LocalStorage, MemoryStorage, Storage};
use backup_engine::{Class, Error, Repository};
use common::damaged::{DAMAGES, Damage, Lost, Whole, damage, names, put};
use common::{PASSWORD, back_up, lock_options, open, options};

/// What a damaged repository is expected to have lost, and is then held to it.
struct Case<'w> {
    whole: &'w Whole,
    repository: Arc<Repository>,
    what: String,
}

impl Whole {
    fn case(&self, name: FileName, how: Damage, other: FileName) -> Case<'_> {
        let storage = self.storage.snapshot();
        damage(&storage, &name, how, &other);
        let what = format!("{how:?} of {name}");
        let repository = open(Arc::new(storage)).unwrap_or_else(|error| panic!("{what}: {error}"));
        Case { whole: self, repository, what }
    }
}

impl Case<'_> {
    /// Restores every snapshot, and compares what is missing with what must be.
    fn restores_all_but(&self, bad: &HashSet<BlobHandle>) {
        for state in &self.whole.states {
            let lost = self.whole.lost(&state.snapshot, bad);
            self.whole.restores(&self.repository, state, &lost, &self.what);
        }
    }

    /// Backs up again, and demands that the new snapshot has everything.
    fn next_backup_is_whole(&self) {
        let (summary, monitor) = back_up(&self.repository, &options(&self.whole.source));
        assert_eq!(monitor.failed(), [], "{}", self.what);
        let snapshot = summary.snapshot.expect("a backup makes a snapshot");
        let state = self.whole.state_of_now(snapshot);
        self.whole.restores(&self.repository, &state, &Lost::nothing(), &self.what);
    }

    /// Verifies; returns the names of files that are wrong and the paths in snapshots that are affected.
    fn verify(&self, read_data: bool) -> (BTreeSet<String>, BTreeSet<PathBuf>) {
        let (files, affected) = common::damaged::verify_all(&self.repository, read_data);
        assert!(!files.is_empty() || !affected.is_empty(), "{}: nothing was noticed", self.what);
        (files, affected)
    }
}

fn next<T: Copy + PartialEq>(all: &[T], one: T) -> T {
    let position = all.iter().position(|other| *other == one).expect("it is one of them");
    all[(position + 1) % all.len()]
}

#[test]
fn a_damaged_pack_is_named_and_costs_no_more_than_what_was_in_it() {
    let whole = Whole::build();
    let packs = names(&whole.storage, FileKind::Pack);
    assert!(packs.len() >= 6, "each backup makes a pack of data and one of trees");
    for pack in &packs {
        let other = next(&packs, *pack);
        for how in DAMAGES {
            let case = whole.case(*pack, how, other);
            let mut bad = whole.blobs_hit(PackId(pack.id), how);
            if how == Damage::Swap {
                bad.extend(whole.blobs_hit(PackId(other.id), how));
            }
            let (files, affected) = case.verify(true);
            assert!(files.contains(&pack.to_string()), "{}: not named but {files:?}", case.what);
            assert_eq!(affected, whole.lost_paths(&bad), "{}", case.what);
            case.restores_all_but(&bad);
            if matches!(how, Damage::Delete | Damage::Empty | Damage::Halve | Damage::Clip) {
                let (files, _) = case.verify(false);
                assert!(files.contains(&pack.to_string()), "{}: a look at its size does not show it", case.what);
                case.next_backup_is_whole();
            }
        }
    }
}

#[test]
fn without_an_index_the_packs_speak_for_themselves() {
    let whole = Whole::build();
    let indexes = names(&whole.storage, FileKind::Index);
    for index in &indexes {
        for how in DAMAGES {
            let case = whole.case(*index, how, next(&indexes, *index));
            let (files, affected) = case.verify(true);
            let named = files.contains(&index.to_string());
            assert!(named || how == Damage::Delete, "{}: not named but {files:?}", case.what);
            assert_eq!(affected, BTreeSet::new(), "{}: everything can be restored", case.what);
            case.restores_all_but(&HashSet::new());
            case.next_backup_is_whole();
        }
    }
    let storage = whole.storage.snapshot();
    for index in &indexes {
        storage.remove(index).unwrap();
    }
    let case = Case { whole: &whole, repository: open(Arc::new(storage)).unwrap(), what: "no index at all".to_owned() };
    case.restores_all_but(&HashSet::new());
}

#[test]
fn a_damaged_snapshot_is_named_and_the_others_are_whole() {
    let whole = Whole::build();
    let snapshots = names(&whole.storage, FileKind::Snapshot);
    for snapshot in &snapshots {
        let other = next(&snapshots, *snapshot);
        for how in DAMAGES {
            let case = whole.case(*snapshot, how, other);
            let hit = |id: &SnapshotId| id.0 == snapshot.id || how == Damage::Swap && id.0 == other.id;
            if how != Damage::Delete {
                assert!(case.verify(false).0.contains(&snapshot.to_string()), "{}: not named", case.what);
                assert!(case.repository.snapshots().unwrap().damaged.iter().any(|(id, _)| hit(id)), "{}", case.what);
            }
            for state in &whole.states {
                if hit(&state.snapshot) {
                    let wanted = if how == Damage::Delete { Class::Misuse } else { Class::Damaged };
                    assert_eq!(
                        whole.try_restore(&case.repository, state).unwrap_err().class(),
                        wanted,
                        "{}",
                        case.what
                    );
                } else {
                    whole.restores(&case.repository, state, &Lost::nothing(), &case.what);
                }
            }
            case.next_backup_is_whole();
        }
    }
}

#[test]
fn a_damaged_key_does_not_keep_another_from_opening() {
    let whole = Whole::build();
    let keys = names(&whole.storage, FileKind::Key);
    assert_eq!(keys.len(), 2);
    let opened = |storage: &MemoryStorage, password| Repository::open(Arc::new(storage.clone()), password);
    for key in &keys {
        for how in DAMAGES {
            let (storage, what) = (whole.storage.snapshot(), format!("{how:?} of {key}"));
            damage(&storage, key, how, &next(&keys, *key));
            let passwords = [PASSWORD.as_bytes(), Whole::OTHER_PASSWORD.as_bytes()];
            let (good, bad): (Vec<_>, Vec<_>) =
                passwords.map(|password| opened(&storage, password)).into_iter().partition(Result::is_ok);
            for error in bad.iter().filter_map(|result| result.as_ref().err()) {
                let deleted = how == Damage::Delete;
                assert_eq!(error.class(), if deleted { Class::Auth } else { Class::Damaged }, "{what}: {error}");
                assert!(deleted || error.to_string().contains(&key.to_string()), "{what}: not named in: {error}");
            }
            // A key under another's name is as good as ever.
            assert!(good.len() == 2 || good.len() == 1 && how != Damage::Swap, "{what}");
            let repository = good.into_iter().flatten().next().expect("one opened");
            let (files, _) = common::damaged::verify_all(&repository, false);
            assert!(files.contains(&key.to_string()) || how == Damage::Delete, "{what}: {files:?}");
        }
    }
    keys.iter().for_each(|key| whole.storage.remove(key).unwrap());
    let error = opened(&whole.storage, PASSWORD.as_bytes()).err().expect("there is no key");
    assert_eq!(error.class(), Class::Damaged, "{error}");
}

#[test]
fn a_damaged_config_is_said_and_no_new_repository_takes_its_place() {
    let whole = Whole::build();
    let stranger = Whole::build().storage.read(&FileName::CONFIG).unwrap();
    for how in DAMAGES {
        let storage = whole.storage.snapshot();
        if how == Damage::Swap {
            put(&storage, &FileName::CONFIG, &stranger);
        } else {
            damage(&storage, &FileName::CONFIG, how, &FileName::CONFIG);
        }
        let error = open(Arc::new(storage.clone())).err().unwrap_or_else(|| panic!("{how:?}: it opened"));
        assert_eq!(error.class(), Class::Damaged, "{how:?}: {error}");
        assert!(error.to_string().contains("config"), "{how:?}: {error}");
        let create = Repository::create(Arc::new(storage), b"new", &common::create_options(2));
        assert!(matches!(create, Err(Error::Misuse { .. })), "{how:?}");
    }
}

#[test]
fn a_damaged_lock_is_named_and_an_empty_one_is_nobodys() {
    let whole = Whole::build();
    let repository = open(Arc::new(whole.storage.clone())).unwrap();
    // Of programs that were killed: nothing removes their locks.
    for _ in 0..2 {
        std::mem::forget(Lock::acquire(&repository, lock_options()).unwrap());
    }
    let locks = names(&whole.storage, FileKind::Lock);
    for lock in &locks {
        for how in DAMAGES {
            let case = whole.case(*lock, how, next(&locks, *lock));
            let (files, _) = common::damaged::verify_all(&case.repository, false);
            assert!(files.contains(&lock.to_string()) || how == Damage::Delete, "{}: {files:?}", case.what);
            case.restores_all_but(&HashSet::new());
            // Who wrote nothing into a lock holds none; one that cannot be read may be anybody's, so it is respected.
            match Lock::acquire(&case.repository, lock_options()).map(drop) {
                Ok(()) => assert!(matches!(how, Damage::Delete | Damage::Empty), "{}", case.what),
                Err(error) => {
                    assert!(!matches!(how, Damage::Delete | Damage::Empty), "{}: {error}", case.what);
                    assert_eq!(error.class(), Class::Damaged, "{}: {error}", case.what);
                    assert!(error.to_string().contains("lock"), "{}: {error}", case.what);
                }
            }
        }
    }
}

#[test]
fn restic_finds_nothing_wrong_when_lost_data_was_backed_up_again() {
    for kind in [FileKind::Pack, FileKind::Index] {
        let whole = Whole::build();
        let local = LocalStorage::new(whole.place.repository());
        let first = match kind {
            // The source still has what was stored last; older trees and data are nowhere else.
            FileKind::Pack => FileName::new(kind, whole.data_pack_of(&whole.states[2].snapshot).0),
            _ => names(&local, kind)[0],
        };
        local.remove(&first).unwrap();
        let (_, monitor) = back_up(&whole.place.open(), &options(&whole.source));
        assert_eq!(monitor.failed(), []);
        let restic = whole.place.restic();
        restic.run(["rebuild-index"]);
        restic.check();
    }
}

#[test]
fn what_a_restore_found_in_no_index_is_not_relied_on_by_a_backup() {
    let whole = Whole::build();
    let local = LocalStorage::new(whole.place.repository());
    for index in names(&local, FileKind::Index) {
        local.remove(&index).unwrap();
    }
    // One repository serves both, as in a program that keeps it open.
    let repository = whole.place.open();
    for state in &whole.states {
        whole.restores(&repository, state, &Lost::nothing(), "no index");
    }
    let (summary, _) = back_up(&repository, &options(&whole.source));
    let snapshot = summary.snapshot.expect("a backup makes a snapshot").to_string();
    let restic = whole.place.restic();
    restic.restore(&snapshot, &whole.place.path("by restic"));
    whole.compare_now(&whole.place.path("by restic"));
}
