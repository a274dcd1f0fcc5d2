//! Forgetting on a real repository: what is left is whole by restic's word, refused where it must be, interrupted anywhere.

mod common;

use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use backup_engine::forget::{ForgetOptions, ForgetSummary, forget};
use backup_engine::id::SnapshotId;
use backup_engine::lock::{Lock, LockOptions};
use backup_engine::monitor::Monitor;
use backup_engine::retention::{Judged, Policy, Rules};
use backup_engine::storage::FileKind;
use backup_engine::{Error, Gate, Repository, Result};
use common::forge::Forge;
use common::history::History;
use common::{Place, Remembers, lock_options, now, options};
use jiff::SignedDuration;
use jiff::tz::Offset;
use serde_json::json;

fn exclusive(repository: &Arc<Repository>) -> Result<Arc<Lock>> {
    Lock::acquire(repository, LockOptions { exclusive: true, ..lock_options() }).map(Arc::new)
}

fn forget_by(repository: &Arc<Repository>, options: &ForgetOptions, monitor: &dyn Monitor) -> Result<ForgetSummary> {
    forget(repository, &|| exclusive(repository), options, &Gate::new(), monitor)
}

fn keep_last(count: u32) -> ForgetOptions {
    let policy = Policy { last: Some(count), ..Policy::default() };
    ForgetOptions { rules: Rules { policy, now: now().wall, ..Rules::default() }, ..ForgetOptions::default() }
}

/// Makes a repository of a small tree with so many snapshots, a day apart.
fn back_up_daily(place: &Place, count: i64) -> Arc<Repository> {
    let source = place.path("source");
    std::fs::create_dir(&source).expect("a folder can be made");
    let repository = place.create(2);
    let lock = common::lock(&repository);
    for day in 0..count {
        std::fs::write(source.join("file"), day.to_string()).expect("a file can be written");
        let time = now().wall - SignedDuration::from_hours(24 * (count - day));
        let options = backup_engine::archiver::BackupOptions { time, ..options(&source) };
        backup_engine::archiver::backup(&lock, &options, &Gate::new(), &Remembers::default()).expect("it succeeds");
    }
    drop(lock);
    repository
}

fn count(repository: &Repository) -> usize {
    repository.snapshots().expect("they can be listed").list.len()
}

/// S0.62: what is forgotten is gone, what stays is whole, by restic's word.
#[test]
fn removes_the_snapshots_and_leaves_a_repository_that_restic_finds_whole() {
    let place = Place::new();
    let repository = back_up_daily(&place, 5);
    let dry = ForgetOptions { dry_run: true, ..keep_last(2) };
    let said = Listener::default();
    let summary = forget_by(&repository, &dry, &said).expect("it succeeds");
    assert_eq!((summary.removed, summary.kept, count(&repository)), (3, 2, 5), "a dry run changes nothing");
    assert_eq!(said.judged().len(), 5);
    let said = Listener::default();
    let summary = forget_by(&repository, &keep_last(2), &said).expect("it succeeds");
    assert_eq!((summary.removed, summary.kept, count(&repository)), (3, 2, 2));
    assert_eq!(said.judged().len(), 3, "each that was removed is said");
    place.restic().check();
    assert_eq!(repository.storage().list(FileKind::Lock).expect("it can be listed"), []);
    let first = place.restic().snapshots()[0]["id"].as_str().expect("it has an id").to_owned();
    let named = ForgetOptions { named: vec![first[..9].to_owned()], ..ForgetOptions::default() };
    assert_eq!(forget_by(&repository, &named, &Listener::default()).expect("it succeeds").removed, 1);
    let wrong = ForgetOptions { named: vec!["abcdefabcdef".to_owned()], ..ForgetOptions::default() };
    assert!(matches!(forget_by(&repository, &wrong, &Listener::default()), Err(Error::NotFound { .. })));
    place.restic().check();
}

#[test]
fn waits_for_nobody_and_removes_nothing_while_another_program_is_at_work() {
    let place = Place::new();
    let repository = back_up_daily(&place, 3);
    let other = common::lock(&repository);
    let error = forget_by(&repository, &keep_last(1), &Listener::default()).expect_err("somebody is at work");
    assert!(matches!(error, Error::Locked { .. }), "{error}");
    assert_eq!(count(&repository), 3);
    drop(other);
    assert_eq!(forget_by(&repository, &keep_last(1), &Listener::default()).expect("it succeeds").removed, 2);
}

#[test]
fn a_repository_that_is_append_only_is_refused_by_name() {
    let mut forge = Forge::new();
    let config = forge.open().config().clone();
    let text =
        json!({ "version": 2, "id": config.id, "chunker_polynomial": config.chunker_polynomial, "append_only": true });
    forge.replace_config(text.to_string().as_bytes());
    for options in [keep_last(1), ForgetOptions { named: vec!["ab".to_owned()], ..ForgetOptions::default() }] {
        let error = forget_by(&forge.open(), &options, &Listener::default()).expect_err("nothing may go");
        assert!(error.to_string().contains("append-only"), "{error}");
    }
}

/// A monitor that can stop everything after so many removals, as a kill does.
#[derive(Default)]
struct Listener {
    judged: Mutex<Vec<Judged>>,
    decided: Mutex<Vec<SnapshotId>>,
    stop_after: Option<(usize, Gate)>,
}

impl Listener {
    fn judged(&self) -> Vec<Judged> {
        self.judged.lock().expect("no test panics while it holds this").clone()
    }
}

impl Monitor for Listener {
    fn forgetting(&self, snapshots: &[SnapshotId]) -> Result<()> {
        self.decided.lock().expect("no test panics while it holds this").extend(snapshots);
        self.stop_if_due(0);
        Ok(())
    }

    fn judged(&self, judged: &Judged) {
        let mut all = self.judged.lock().expect("no test panics while it holds this");
        all.push(judged.clone());
        self.stop_if_due(all.len());
    }
}

impl Listener {
    fn stop_if_due(&self, removed: usize) {
        if let Some((after, gate)) = &self.stop_after
            && removed >= *after
        {
            gate.suspend();
        }
    }
}

#[test]
fn after_a_stop_at_any_removal_the_job_goes_on_and_removes_no_more_than_it_would_have() {
    for stop in 0..4 {
        let place = Place::new();
        let repository = back_up_daily(&place, 6);
        let gate = Gate::new();
        let said = Listener { stop_after: Some((stop, gate.clone())), ..Listener::default() };
        let ended = forget(&repository, &|| exclusive(&repository), &keep_last(2), &gate, &said);
        assert_eq!(ended.is_err(), stop < 4, "{ended:?}");
        assert_eq!(count(&repository), 6 - stop);
        place.restic().check();
        // Meanwhile the policy became stricter: the job does not remove more for that.
        let decided: BTreeSet<SnapshotId> = said.decided.lock().expect("nobody panicked").iter().copied().collect();
        assert_eq!(decided.len(), 4);
        let again = ForgetOptions { decided: Some(decided), ..keep_last(1) };
        let summary = forget_by(&repository, &again, &Listener::default()).expect("it goes on");
        assert_eq!((summary.removed, count(&repository)), (4 - stop as u64, 2));
        place.restic().check();
    }
}

#[test]
fn gives_up_its_lock_at_a_pause_between_two_steps() {
    let mut history = History::new();
    let start = now().wall - SignedDuration::from_hours(24 * 1000);
    for number in 0..1202 {
        history.add(start + SignedDuration::from_mins(number), Offset::UTC, &json!({}));
    }
    let repository = history.forge.open();
    let locks = Cell::new(0);
    let take = || {
        locks.set(locks.get() + 1);
        exclusive(&repository)
    };
    let said = Listener::default();
    let summary = forget(&repository, &take, &keep_last(2), &Gate::new(), &said).expect("it succeeds");
    assert_eq!((summary.removed, summary.kept, locks.get()), (1200, 2, 3));
    assert_eq!(said.judged().len(), 1200);
}
