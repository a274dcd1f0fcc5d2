//! Targets that fail under the whole supervisor.

use backup_proto::job::JobState;
use backup_proto::target::BreakerState;

use super::*;
use crate::config::Config;
use crate::supervisor::bench::{Bench, backup, failure as failing_with, restore, verify, with_target};

const MINUTE: Duration = Duration::from_secs(60);

fn state(bench: &Bench, target: &str) -> BreakerState {
    bench.state.breakers.get(target).map_or(BreakerState::Closed, |breaker| breaker.view().state)
}

/// A target that is not there.
fn absent() -> How {
    let How::Failed(mut error) = failing_with(Class::Transient) else { panic!("it is") };
    error.data.kind = ErrorKind::TargetAbsent;
    How::Failed(error)
}

/// A target that is there and fails.
fn transient() -> How {
    failing_with(Class::Transient)
}

/// Returns the job that runs on a target.
fn runs_on(bench: &Bench, target: &str) -> JobId {
    let fits = |id: &&JobId| bench.state.active[*id].target.as_deref() == Some(target);
    bench.workers.keys().find(fits).expect("one runs").clone()
}

/// Lets a target fail whoever runs on it three times.
fn open(bench: &mut Bench, target: &str) {
    while state(bench, target) == BreakerState::Closed {
        let id = runs_on(bench, target);
        bench.fail_at(&id, absent(), target);
        if state(bench, target) == BreakerState::Closed {
            bench.pass(5 * MINUTE);
        }
    }
}

fn wish(bench: &mut Bench, name: &str, wish: BreakerWish) -> Result<serde_json::Value, RpcError> {
    let params = TargetBreaker { request_id: bench.request_id(), name: name.to_owned(), wish };
    bench.ask(params)
}

#[test]
fn a_target_that_keeps_failing_is_left_alone_asked_once_and_used_again() {
    let mut bench = Bench::new(with_target("nas"));
    let (_, other) = (bench.submit(verify("nas")), bench.submit(verify("nas")));
    let elsewhere = bench.submit(backup());
    open(&mut bench, "nas");
    assert_eq!(state(&bench, "nas"), BreakerState::Open);
    bench.pass(MINUTE - Duration::from_secs(1));
    assert!(bench.why(&other).contains("`nas` keeps failing: it broke."), "{}", bench.why(&other));
    assert_eq!(bench.job_state(&elsewhere), JobState::Running, "other targets are used");
    assert!(bench.asked.is_empty() && bench.workers.len() == 1);
    bench.pass(Duration::from_secs(1));
    assert_eq!((state(&bench, "nas"), bench.asked.len()), (BreakerState::HalfOpen, 1));
    bench.pass(MINUTE);
    assert_eq!((bench.asked.len(), bench.workers.len()), (1, 1), "no job runs meanwhile and nobody asks again");
    bench.answer("nas", &absent());
    assert_eq!(state(&bench, "nas"), BreakerState::Open);
    bench.pass(MINUTE);
    assert!(bench.asked.is_empty(), "the second time takes longer");
    bench.pass(MINUTE);
    bench.answer("nas", &How::Done);
    assert_eq!(bench.workers.len(), 2, "one job on it at once");
    let running = runs_on(&bench, "nas");
    bench.fail_at(&running, transient(), "nas");
    assert_eq!(state(&bench, "nas"), BreakerState::Open, "it has answered and not worked");
}

#[test]
fn a_job_does_not_wait_for_its_own_time_when_its_target_is_back() {
    let mut bench = Bench::new(with_target("nas"));
    let both = [bench.submit(verify("nas")), bench.submit(verify("nas"))];
    open(&mut bench, "nas");
    let waits = |bench: &Bench, id: &JobId| bench.state.active[id].not_before.is_some();
    assert!(both.iter().any(|id| waits(&bench, id)));
    bench.pass(5 * MINUTE);
    bench.answer("nas", &How::Done);
    assert!(both.iter().all(|id| !waits(&bench, id)));
}

#[test]
fn only_what_may_go_away_and_came_from_the_target_counts() {
    let mut bench = Bench::new(Config::default());
    for class in [Class::Auth, Class::Permission, Class::Quota, Class::Full, Class::Damaged, Class::Misuse] {
        for _ in 0..3 {
            let id = bench.submit(backup());
            bench.fail_at(&id, failing_with(class), "local");
            assert_eq!(bench.job_state(&id), JobState::Failed, "{class:?} ends the job, with advice");
        }
    }
    let id = bench.submit(backup());
    for _ in 0..4 {
        bench.end(&id, transient(), 0);
        bench.pass(30 * MINUTE);
    }
    bench.end(&id, How::Suspended, 0);
    bench.end(&id, How::Cancelled, 0);
    assert!(bench.state.breakers.is_empty(), "a source that fails, and being told to stop, is no fault of the target");
}

#[test]
fn not_now_is_no_failure_and_nobody_asks_while_no_job_could_run() {
    let mut bench = Bench::new(with_target("nas"));
    let id = bench.submit(verify("nas"));
    open(&mut bench, "nas");
    let request_id = bench.request_id();
    bench.ask(backup_proto::params::DaemonPause { request_id, for_seconds: None }).unwrap();
    bench.pass(60 * MINUTE);
    assert_eq!((state(&bench, "nas"), bench.asked.len()), (BreakerState::Open, 0));
    assert!(bench.why(&id).contains("paused"), "{}", bench.why(&id));
    let request_id = bench.request_id();
    bench.ask(backup_proto::params::DaemonResume { request_id }).unwrap();
    assert_eq!(bench.asked.len(), 1);
}

#[test]
fn a_restart_keeps_it_and_asks_anew_and_a_target_that_refuses_is_back() {
    let mut bench = Bench::new(with_target("nas"));
    let id = bench.submit(verify("nas"));
    open(&mut bench, "nas");
    let before = bench.state.breakers["nas"].clone();
    bench.restart();
    assert_eq!(bench.state.breakers["nas"], before);
    bench.pass(5 * MINUTE);
    assert_eq!(bench.asked.len(), 1);
    bench.restart();
    assert_eq!((state(&bench, "nas"), bench.asked.len()), (BreakerState::HalfOpen, 1), "the first answer is lost");
    bench.answer("nas", &failing_with(Class::Auth));
    assert_eq!(bench.job_state(&id), JobState::Running, "the job learns what is wrong");
    bench.fail_at(&id, failing_with(Class::Auth), "nas");
    assert_eq!((bench.job_state(&id), state(&bench, "nas")), (JobState::Failed, BreakerState::Closed));
}

#[test]
fn a_wait_that_the_target_asks_for_holds_for_its_jobs_and_for_all_others() {
    let mut bench = Bench::new(with_target("nas"));
    let (id, other) = (bench.submit(verify("nas")), bench.submit(verify("nas")));
    let How::Failed(mut error) = failing_with(Class::Throttled) else { panic!("it is") };
    error.data.retry_after_seconds = Some(7200);
    bench.fail_at(&id, How::Failed(error), "nas");
    bench.pass(119 * MINUTE);
    assert!(bench.workers.is_empty() && bench.asked.is_empty());
    assert!(!bench.why(&other).is_empty());
    bench.pass(MINUTE);
    bench.answer("nas", &How::Done);
    bench.pass(5 * MINUTE);
    assert_eq!(bench.workers.len(), 1);
}

#[test]
fn somebody_may_reset_it_leave_the_target_alone_or_use_it_all_the_same() {
    let mut bench = Bench::new(with_target("nas"));
    let id = bench.submit(verify("nas"));
    open(&mut bench, "nas");
    let answer = wish(&mut bench, "nas", BreakerWish::Reset).unwrap();
    assert_eq!((&answer["state"], bench.job_state(&id)), (&"closed".into(), JobState::Running), "{answer}");
    wish(&mut bench, "nas", BreakerWish::Open).unwrap();
    assert_eq!(bench.job_state(&id), JobState::Paused, "what runs stops as well");
    bench.restart();
    bench.pass(600 * MINUTE);
    assert!(bench.asked.is_empty() && bench.workers.is_empty());
    assert!(bench.why(&id).contains("`backupctl target reset nas`"), "{}", bench.why(&id));
    wish(&mut bench, "nas", BreakerWish::Closed).unwrap();
    for _ in 0..5 {
        bench.fail_at(&id, transient(), "nas");
        bench.pass(120 * MINUTE);
    }
    assert_eq!(bench.job_state(&id), JobState::Running);
    let unknown = wish(&mut bench, "nowhere", BreakerWish::Open).unwrap_err();
    assert_eq!(unknown.data.kind, backup_proto::error::ErrorKind::TargetNotFound);
}

#[test]
fn a_success_of_any_job_closes_it() {
    let mut bench = Bench::new(Config::default());
    let id = bench.submit(restore());
    for _ in 0..2 {
        bench.fail_at(&id, transient(), "local");
        bench.pass(5 * MINUTE);
    }
    bench.end(&id, How::Done, 0);
    let again = bench.submit(backup());
    bench.fail_at(&again, transient(), "local");
    assert_eq!(state(&bench, "local"), BreakerState::Open, "3 of 4 within the hour");
}

/// Lets a target that is there fail until it is left alone, and then answer.
fn strained() -> (Bench, JobId) {
    let mut bench = Bench::new(with_target("nas"));
    let id = bench.submit(verify("nas"));
    while state(&bench, "nas") == BreakerState::Closed {
        bench.fail_at(&id, transient(), "nas");
        bench.pass(2 * MINUTE);
    }
    assert_eq!(bench.asked.len(), 1);
    bench.answer("nas", &How::Done);
    (bench, id)
}

fn notices(bench: &mut Bench, what: impl FnOnce(&mut Bench)) -> Vec<String> {
    bench.notices.clear();
    what(bench);
    bench.notices.clone()
}

#[test]
fn a_target_that_fails_is_used_with_care_until_a_job_succeeds() {
    let (mut bench, id) = strained();
    assert!(bench.workers.is_empty());
    assert!(bench.why(&id).contains("only restores and jobs of high priority"), "{}", bench.why(&id));
    let nas = |direction| (direction, backup_proto::limit::LimitScope::Target("nas".to_owned()));
    let rate = |bench: &Bench| bench.rates.get(&nas(backup_proto::limit::Direction::Upload)).copied();
    assert_eq!(rate(&bench), Some(4 << 20));
    let request_id = bench.request_id();
    let priority = Priority::High;
    bench.ask(backup_proto::params::JobSetPriority { request_id, job: id.clone(), priority }).unwrap();
    assert_eq!(bench.job_state(&id), JobState::Running, "what is urgent goes first");
    let told = notices(&mut bench, |bench| bench.fail_at(&id, transient(), "nas"));
    assert_eq!((rate(&bench), told.len()), (Some(2 << 20), 0), "it was said before");
    bench.pass(5 * MINUTE);
    bench.answer("nas", &How::Done);
    bench.pass(5 * MINUTE);
    assert_eq!(bench.job_state(&id), JobState::Running);
    let told = notices(&mut bench, |bench| bench.end(&id, How::Done, 0));
    assert_eq!(told, ["The target `nas` works again, at full speed."]);
    assert_eq!((rate(&bench), bench.state.breakers["nas"].cuts()), (None, 0));
}

#[test]
fn what_is_not_urgent_waits_for_some_minutes_and_a_limit_is_halved() {
    let (mut bench, id) = strained();
    bench.pass(4 * MINUTE);
    assert_eq!(bench.job_state(&id), JobState::Queued);
    bench.pass(MINUTE);
    assert_eq!(bench.job_state(&id), JobState::Running, "deferred and not skipped");
    let set = backup_proto::limit::LimitSet {
        request_id: bench.request_id(),
        limit: backup_proto::limit::LimitChange::Rate(100 * 1024),
        direction: None,
        scope: None,
        for_seconds: None,
    };
    bench.ask(set).unwrap();
    let lowest = bench.rates.values().min().copied();
    assert_eq!(lowest, Some(64 * 1024), "half of it would be too slow");
}
