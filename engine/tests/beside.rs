//! restic at the same time: beside our backups, in the middle of them, and with locks of either.

#![allow(clippy::unwrap_used, reason = "a failed step of a test's preparation is a failed test")]

mod common;

use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use backup_engine::archiver::{BackupSummary, backup};
use backup_engine::lock::{Lock, LockOptions};
use backup_engine::now::Now;
use backup_engine::storage::{FileKind, LocalStorage, Storage};
use backup_engine::{Error, Gate, Repository, Result};
use backup_testkit::restic::Restic;
use backup_testkit::seed::Seed;
use backup_testkit::tree::Tree;
use common::damaged::verify_all;
use common::moment::Moment;
use common::rustic::Rustic;
use common::{Place, Remembers, back_up, lock_options, now, open, options};
use jiff::SignedDuration;
use rustic_core::ConfigOptions;

/// Packs of data that a backup of the source stores, at least.
const PACKS: u64 = 4;

/// A repository of small packs, so that a backup has several moments, with a first snapshot of half of the source.
fn prepare() -> (Place, PathBuf) {
    let place = Place::new();
    let mut config = ConfigOptions::default();
    config.set_datapack_size = Some("1 MiB".parse().unwrap());
    config.set_datapack_growfactor = Some(0);
    Rustic::new(place.repository()).init(&config);
    let mut tree = Tree::new(place.path("source"), Seed(51));
    for number in 0..PACKS {
        tree.random_file(format!("first {number}"), 700_000);
    }
    back_up(&place.open(), &options(tree.root()));
    for number in 0..PACKS {
        tree.random_file(format!("second {number}"), 1_100_000);
    }
    (place, tree.root().to_path_buf())
}

/// Backs up the source while something is done with restic after the k-th pack; says how it ended.
fn back_up_while(
    place: &Place,
    number: u64,
    lock: LockOptions,
    act: impl FnOnce() + Send + 'static,
) -> (Result<BackupSummary>, Arc<Repository>) {
    let storage = Moment::after_pack(Arc::new(LocalStorage::new(place.repository())), number, act);
    let repository = open(storage.clone()).unwrap();
    let lock = Lock::acquire(&repository, lock).unwrap();
    let result = backup(&lock, &options(&place.path("source")), &Gate::new(), &Remembers::default());
    assert!(storage.came(), "the backup stores fewer than {number} packs");
    (result, repository)
}

fn is_whole(place: &Place) {
    place.restic().check();
    let (files, affected) = verify_all(&place.open(), true);
    assert!(files.is_empty() && affected.is_empty(), "{files:?} {affected:?}");
}

fn refused(restic: &Restic, arguments: &[&str]) {
    let output = restic.try_run(arguments);
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && text.contains("already locked"), "restic {arguments:?}: {text}");
}

#[test]
fn restic_backs_up_beside_us_and_may_not_prune() {
    for number in 1..=PACKS {
        let (place, source) = prepare();
        let restic = place.restic();
        let (result, _) = back_up_while(&place, number, lock_options(), move || {
            restic.backup(&source);
            refused(&restic, &["prune"]);
            refused(&restic, &["forget", "--keep-last", "1", "--prune"]);
            // Ours is neither old nor, as restic sees it, of this machine.
            restic.run(["unlock"]);
        });
        assert!(result.unwrap().snapshot.is_some());
        assert_eq!(place.open().snapshots().unwrap().list.len(), 3);
        is_whole(&place);
    }
}

#[test]
fn a_backup_whose_lock_was_removed_makes_no_snapshot_and_the_next_is_whole() {
    for number in 1..=PACKS {
        let (place, source) = prepare();
        let restic = place.restic();
        let (result, repository) = back_up_while(&place, number, lock_options(), move || {
            restic.run(["unlock", "--remove-all"]);
            // Everything the backup found there, and everything it stored so far, goes.
            restic.run(["forget", "--prune", "--max-unused", "0", restic.snapshots()[0]["id"].as_str().unwrap()]);
        });
        let error = result.unwrap_err();
        assert!(matches!(error, Error::LockLost { .. }), "after pack {number}: {error}");
        assert_eq!(place.open().snapshots().unwrap().list.len(), 0, "after pack {number}");
        // The same repository, as a program keeps it open: what it knew is looked up anew.
        let (summary, monitor) = back_up(&repository, &options(&source));
        assert_eq!(monitor.failed(), [], "after pack {number}");
        // All of the source and its trees, although much of it was stored once already.
        assert!(summary.bytes_added > summary.bytes, "after pack {number}: it relied on what is gone: {summary:?}");
        is_whole(&place);
    }
}

/// A clock that is set by hand.
#[derive(Clone)]
struct Clock(Arc<Mutex<Now>>);

impl Clock {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(now())))
    }

    fn pass(&self, minutes: i64) {
        let mut now = self.0.lock().unwrap();
        now.wall += SignedDuration::from_mins(minutes);
        now.boot += Duration::from_secs(60 * minutes.unsigned_abs());
    }

    fn lock_options(&self) -> LockOptions {
        let clock = self.clone();
        LockOptions { now: Arc::new(move || *clock.0.lock().unwrap()), ..lock_options() }
    }
}

#[test]
fn a_lock_that_was_not_refreshed_for_22_minutes_is_not_relied_on() {
    let (place, _) = prepare();
    let clock = Clock::new();
    let passing = clock.clone();
    let (result, _) = back_up_while(&place, 2, clock.lock_options(), move || passing.pass(23));
    assert!(matches!(result, Err(Error::LockLost { .. })), "{result:?}");
    assert_eq!(place.open().snapshots().unwrap().list.len(), 1);
    is_whole(&place);

    let clock = Clock::new();
    let lock = Lock::acquire(&place.open(), clock.lock_options()).unwrap();
    for _ in 0..5 {
        clock.pass(20);
        lock.refresh().unwrap();
    }
    clock.pass(20);
    lock.confirm().unwrap();
    assert_eq!(LocalStorage::new(place.repository()).list(FileKind::Lock).unwrap().len(), 1);
    clock.pass(3);
    assert!(matches!(lock.refresh(), Err(Error::LockLost { .. })));
}

/// Takes an exclusive lock in another's name, and leaves it behind.
fn leave_lock(place: &Place, hostname: &str, pid: u32, minutes_old: i64) {
    let clock = Clock::new();
    clock.0.lock().unwrap().wall -= SignedDuration::from_mins(minutes_old);
    let owner = ("another user".to_owned(), hostname.to_owned(), i32::try_from(pid).unwrap());
    let (username, hostname, pid) = owner;
    let options = LockOptions { exclusive: true, username, hostname, pid, ..clock.lock_options() };
    std::mem::forget(Lock::acquire(&place.open(), options).unwrap());
}

fn ended_process() -> u32 {
    let mut child = Command::new("true").spawn().unwrap();
    child.wait().unwrap();
    child.id()
}

#[test]
fn a_lock_that_was_left_behind_is_stepped_over_and_a_live_one_is_respected() {
    let place = Place::new();
    place.create(2);
    let ours = std::process::id();
    // The tests call this machine `host`.
    for (hostname, pid, minutes_old) in [("elsewhere", ours, 31), ("host", ended_process(), 0), ("host", ours, 31)] {
        leave_lock(&place, hostname, pid, minutes_old);
        drop(Lock::acquire(&place.open(), lock_options()).unwrap());
        assert_eq!(LocalStorage::new(place.repository()).list(FileKind::Lock).unwrap(), []);
    }
    for (hostname, pid, minutes_old) in [("elsewhere", ended_process(), 29), ("host", ours, 0), ("host", 1, 0)] {
        leave_lock(&place, hostname, pid, minutes_old);
        let error = Lock::acquire(&place.open(), lock_options()).err().unwrap();
        assert!(matches!(error, Error::Locked { .. }), "{error}");
        assert!(error.to_string().contains(&format!("another user on {hostname}")), "{error}");
        place.restic().run(["unlock", "--remove-all"]);
    }
}

#[test]
fn restic_judges_our_lock_by_its_age_alone() {
    let place = Place::new();
    place.create(2);
    let restic = place.restic();
    let locks = || String::from_utf8(restic.run(["list", "locks", "--no-lock"])).unwrap().lines().count();
    let machine = rustix::system::uname();
    let hostname = format!("{}/backupd", machine.nodename().to_str().unwrap());
    // Of this machine and without a process: restic would remove it at once if the name were its own.
    leave_lock(&place, &hostname, ended_process(), 0);
    restic.run(["unlock"]);
    assert_eq!(locks(), 1);
    refused(&restic, &["check"]);
    restic.run(["unlock", "--remove-all"]);
    leave_lock(&place, &hostname, std::process::id(), 31);
    restic.run(["unlock"]);
    assert_eq!(locks(), 0);
}
