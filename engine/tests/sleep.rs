//! A machine that slept in the middle of a backup: its lock is old, and restic has cleaned up meanwhile.

#![allow(clippy::unwrap_used, reason = "a failed step of a test's preparation is a failed test")]

mod common;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use backup_engine::archiver::{BackupOptions, backup};
use backup_engine::lock::{Lock, LockOptions};
use backup_engine::now::Now;
use backup_engine::storage::LocalStorage;
use backup_engine::{Error, Gate};
use backup_testkit::compare::{Options, compare};
use backup_testkit::seed::Seed;
use backup_testkit::tree::Tree;
use common::moment::Moment;
use common::rustic::Rustic;
use common::{Place, Remembers, back_up, lock, lock_options, now, open, options};
use jiff::SignedDuration;
use rustic_core::ConfigOptions;

/// Packs of data that the backup stores, at least.
const PACKS: u64 = 4;

/// How long the machine sleeps.
const NIGHT_HOURS: u32 = 10;

/// A repository of small packs with a first snapshot of half of the source. What the backup compares with, and relies
/// on for half of its files, is forgotten in the night.
fn prepare() -> (Place, Tree) {
    let place = Place::new();
    let mut config = ConfigOptions::default();
    config.set_datapack_size = Some("1 MiB".parse().unwrap());
    config.set_datapack_growfactor = Some(0);
    Rustic::new(place.repository()).init(&config);
    let mut tree = Tree::new(place.path("source"), Seed(61));
    for file in 0..PACKS {
        tree.random_file(format!("first {file}"), 700_000);
    }
    back_up(&place.open(), &options(tree.root()));
    for file in 0..PACKS {
        tree.random_file(format!("second {file}"), 1_100_000);
    }
    (place, tree)
}

/// A clock that is set by hand, and how a lock looks at it.
fn clock() -> (Arc<Mutex<Now>>, LockOptions) {
    let clock = Arc::new(Mutex::new(now()));
    let shown = Arc::clone(&clock);
    (clock, LockOptions { now: Arc::new(move || *shown.lock().unwrap()), ..lock_options() })
}

/// Passes a night; the lock was written before it, as restic sees it.
fn sleep(clock: &Mutex<Now>) {
    let mut now = clock.lock().unwrap();
    now.wall += SignedDuration::from_hours(i64::from(NIGHT_HOURS));
    now.boot += Duration::from_secs(3600) * NIGHT_HOURS;
}

#[test]
fn after_a_night_in_which_restic_pruned_the_resumed_backup_is_whole() {
    for number in [1, PACKS] {
        let (place, tree) = prepare();
        let (clock, lock_options) = clock();
        let (restic, other) = (place.restic(), place.path("other"));
        let night = move || {
            sleep(&clock);
            restic.run(["unlock", "--remove-all"]);
            let snapshot = restic.snapshots()[0]["id"].as_str().unwrap().to_owned();
            restic.run(["forget", "--prune", "--max-unused", "0", &snapshot]);
            std::fs::create_dir_all(&other).unwrap();
            std::fs::write(other.join("a"), "somebody else's").unwrap();
            restic.backup(&other);
        };
        let storage = Moment::after_pack(Arc::new(LocalStorage::new(place.repository())), number, night);
        let repository = open(storage.clone()).unwrap();
        let tags = vec!["backupd:incomplete".to_owned(), "backupd:interrupted".to_owned()];
        let asked = BackupOptions { interrupted_tags: tags, checkpoint_bytes: 1, ..options(tree.root()) };
        let monitor = Remembers::default();
        let error = backup(&Lock::acquire(&repository, lock_options).unwrap(), &asked, &Gate::new(), &monitor);
        let error = error.expect_err("its lock is too old");
        assert!(storage.came() && matches!(error, Error::LockLost { .. }), "after pack {number}: {error}");
        assert_eq!(place.open().snapshots().unwrap().list.len(), 1, "only somebody else's is there");

        // The next attempt of the same job knows which packs the first one stored, and some of them are gone.
        let adopt = monitor.packs.lock().unwrap().clone();
        assert!(!adopt.is_empty());
        let resumed = Remembers::default();
        let asked = BackupOptions { adopt, time: now().wall, ..asked };
        let summary = backup(&lock(&repository.with_own_index()), &asked, &Gate::new(), &resumed).unwrap();
        assert_eq!((resumed.failed(), summary.failed), (vec![], 0), "after pack {number}");
        place.restic().check();
        let snapshot = summary.snapshot.unwrap().to_string();
        place.restic().restore(&snapshot, &place.path("restored"));
        let copy = place.path("restored").join(tree.root().strip_prefix("/").unwrap());
        compare(tree.root(), &copy, &Options::default()).assert_equal();
    }
}
