//! Which locks count as left behind: those a repair says it removes, and no others.

#![allow(clippy::unwrap_used, reason = "a failed step of a test's preparation is a failed test")]

mod common;

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::{Arc, Mutex};

use backup_engine::id::LockId;
use backup_engine::limits::LOCK_STALE_SECONDS;
use backup_engine::lock::{Lock, LockEvent, LockOptions, left_behind};
use backup_engine::now::Now;
use backup_engine::storage::{Bytes, FileKind, FileName, MemoryStorage};
use backup_engine::{Error, Repository};
use common::{create, lock_options, now};
use jiff::SignedDuration;

/// What a lock says of its holder.
struct Holder {
    host: &'static str,
    pid: i32,
    /// How old it is, in seconds.
    age: i64,
}

/// Returns the id of a process that has ended and was waited for, so that nobody has it.
fn dead() -> i32 {
    let mut child = Command::new("true").spawn().unwrap();
    child.wait().unwrap();
    i32::try_from(child.id()).unwrap()
}

fn own_pid() -> i32 {
    i32::try_from(std::process::id()).unwrap()
}

/// The same moment in every call, so that an age is exact.
fn options_at(now: Now) -> LockOptions {
    LockOptions { now: Arc::new(move || now), ..lock_options() }
}

/// Writes a shared lock; it is there as long as what is returned.
fn write(repository: &Arc<Repository>, holder: &Holder, at: Now) -> (LockId, Lock) {
    let written = Arc::new(Mutex::new(None));
    let told = Arc::clone(&written);
    let then = Now { wall: at.wall - SignedDuration::from_secs(holder.age), ..at };
    let options = LockOptions {
        hostname: holder.host.to_owned(),
        pid: holder.pid,
        record: Arc::new(move |event| {
            if let LockEvent::Writing(id) = event {
                *told.lock().unwrap() = Some(id);
            }
            Ok(())
        }),
        ..options_at(then)
    };
    let lock = Lock::acquire(repository, options).unwrap();
    let id = written.lock().unwrap().unwrap();
    (id, lock)
}

fn ids(repository: &Repository) -> BTreeSet<LockId> {
    let locks = repository.storage().list(FileKind::Lock).unwrap();
    locks.into_iter().map(|(name, _)| LockId(name.id)).collect()
}

fn found(repository: &Repository, at: Now) -> BTreeSet<LockId> {
    let found = left_behind(repository, &options_at(at)).unwrap();
    let distinct: BTreeSet<LockId> = found.iter().copied().collect();
    assert_eq!(distinct.len(), found.len(), "one comes twice");
    distinct
}

#[test]
fn a_dead_process_of_this_machine_and_an_old_lock_are_left_behind_and_no_others() {
    let repository = create(Arc::new(MemoryStorage::new()), 2);
    let (at, dead) = (now(), dead());
    let stale = [
        Holder { host: "host", pid: dead, age: 0 },
        Holder { host: "elsewhere", pid: dead, age: LOCK_STALE_SECONDS + 1 },
        Holder { host: "host", pid: own_pid(), age: LOCK_STALE_SECONDS + 1 },
    ];
    let good = [
        Holder { host: "elsewhere", pid: dead, age: 0 },
        Holder { host: "elsewhere", pid: dead, age: LOCK_STALE_SECONDS },
        Holder { host: "host", pid: own_pid(), age: 0 },
        // A daemon's lock names no machine: it is judged by its age alone.
        Holder { host: "host/backupd", pid: dead, age: 0 },
        // By a clock that is ahead of ours.
        Holder { host: "elsewhere", pid: dead, age: -60 },
    ];
    let stale: Vec<_> = stale.iter().map(|holder| write(&repository, holder, at)).collect();
    let good: Vec<_> = good.iter().map(|holder| write(&repository, holder, at)).collect();
    let expected: BTreeSet<LockId> = stale.iter().map(|(id, _)| *id).collect();
    assert_eq!(found(&repository, at), expected);
    assert_eq!(ids(&repository).len(), stale.len() + good.len(), "counting removes nothing");

    // As many as the exclusive lock of a repair then removes.
    drop(good);
    let exclusive = LockOptions { exclusive: true, ..options_at(at) };
    let lock = Lock::acquire(&repository, exclusive).unwrap();
    assert!(ids(&repository).is_disjoint(&expected) && ids(&repository).len() == 1);
    assert_eq!(found(&repository, at), BTreeSet::new());
    drop(lock);
}

#[test]
fn a_lock_that_cannot_be_read_may_be_anybodys_and_stays() {
    let repository = create(Arc::new(MemoryStorage::new()), 2);
    let at = now();
    let (stale, _lock) = write(&repository, &Holder { host: "host", pid: dead(), age: 0 }, at);
    let unreadable = FileName::new(FileKind::Lock, [7; 32]);
    for contents in [&b""[..], b"{", &[0; 200]] {
        repository.storage().write(&unreadable, &mut Bytes::new(contents)).unwrap();
        assert_eq!(found(&repository, at), [stale].into(), "{contents:?}");
    }
    let refused = Lock::acquire(&repository, LockOptions { exclusive: true, ..options_at(at) }).err().unwrap();
    assert!(matches!(refused, Error::UnreadableLock { .. }), "{refused}");
    assert!(ids(&repository).contains(&LockId(unreadable.id)));
}
