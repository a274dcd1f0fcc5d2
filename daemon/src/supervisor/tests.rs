//! Tests of single rules of the supervisor.

use std::time::Duration;

use backup_proto::error::{Class, ErrorKind, RpcError};
use backup_proto::job::JobState;
use backup_proto::params::{DaemonPause, DaemonResume, JobCancel, JobPause, JobResume, JobRetry, JobSubmit, RequestId};
use backup_proto::spec::{JobSpec, RestoreSpec, SnapshotQuery};

use super::bench::{Bench, CALLER, Told, backup, failure, later, restore, verify, with_plan};
use crate::config::Config;
use crate::inbox::{Caller, Event, News, Ticket};
use crate::job::How;

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn one_job_runs_on_a_target_and_a_restore_goes_ahead_of_an_older_backup() {
    let mut bench = Bench::new(Config::default());
    let first = bench.submit(verify("local"));
    let second = bench.submit(backup());
    assert_eq!(bench.job_state(&first), JobState::Running);
    assert!(bench.why(&second).contains(first.as_str()), "{}", bench.why(&second));
    bench.end(&first, How::Done, 0);
    let urgent = bench.submit(restore());
    bench.restart();
    assert_eq!((bench.job_state(&urgent), bench.job_state(&second)), (JobState::Running, JobState::Queued));
    assert!(bench.why(&second).contains(urgent.as_str()), "{}", bench.why(&second));
    bench.check();
}

#[test]
fn the_same_request_again_gives_the_same_answer_also_after_a_restart() {
    let mut bench = Bench::new(Config::default());
    let request =
        JobSubmit { request_id: RequestId("r".into()), spec: backup(), priority: None, now: false, reason: None };
    let first = bench.ask(request.clone()).unwrap();
    assert_eq!(bench.ask(request.clone()).unwrap(), first);
    bench.restart();
    assert_eq!(bench.ask(request.clone()).unwrap(), first);
    assert_eq!(bench.state.active.len(), 1);
    let other = JobSubmit { spec: verify("local"), ..request.clone() };
    assert_eq!(bench.ask(other).unwrap_err().data.kind, ErrorKind::RequestIdConflict);
    let thief = Caller { uid: CALLER.uid + 1, pid: None };
    let event = Event::Request { ticket: Ticket(2), caller: thief, request: Box::new(request.into()) };
    assert_eq!(bench.event(event).unwrap().unwrap_err().data.kind, ErrorKind::RequestIdConflict);
}

#[test]
fn a_request_is_forgotten_after_thirty_days_and_not_before() {
    let mut bench = Bench::new(Config::default());
    bench.submit(backup());
    bench.pass(MINUTE * 60 * 24 * 29);
    assert!(bench.state.requests.get("request 1").is_some());
    bench.pass(MINUTE * 60 * 24 * 2);
    assert!(bench.state.requests.get("request 1").is_none());
    assert!(bench.disk.keys().all(|key| !key.starts_with("request/")));
}

#[test]
fn a_paused_job_leaves_its_target_to_others_and_gives_up_its_lock_after_ten_minutes() {
    let mut bench = Bench::new(Config::default());
    let first = bench.submit(backup());
    let second = bench.submit(backup());
    let pause = JobPause { request_id: bench.request_id(), job: first.clone(), for_seconds: None };
    let answer = bench.ask(pause).unwrap();
    assert_eq!(answer["state"], "paused");
    assert_eq!(bench.workers[&first].1, Told::Pause);
    assert_eq!(bench.job_state(&second), JobState::Running);
    bench.pass(MINUTE * 9);
    assert_eq!(bench.workers[&first].1, Told::Pause);
    bench.pass(MINUTE);
    assert_eq!(bench.workers[&first].1, Told::Suspend);
    bench.end(&first, How::Suspended, 0);
    assert_eq!(bench.job_state(&first), JobState::Paused);
    bench.end(&second, How::Done, 0);
    let resume = JobResume { request_id: bench.request_id(), job: first.clone(), now: false };
    assert_eq!(bench.ask(resume).unwrap()["state"], "running");
    assert_eq!(bench.workers[&first], (2, Told::Run), "a new attempt");
    bench.check();
}

#[test]
fn a_job_that_is_resumed_while_it_is_being_suspended_goes_on_after_that() {
    let mut bench = Bench::new(Config::default());
    let job = bench.submit(backup());
    let pause = JobPause { request_id: bench.request_id(), job: job.clone(), for_seconds: None };
    bench.ask(pause).unwrap();
    bench.pass(MINUTE * 10);
    let resume = JobResume { request_id: bench.request_id(), job: job.clone(), now: false };
    bench.ask(resume).unwrap();
    bench.check();
    bench.end(&job, How::Suspended, 0);
    assert_eq!((bench.job_state(&job), bench.workers[&job]), (JobState::Running, (2, Told::Run)));
}

#[test]
fn a_pause_with_an_end_ends_by_itself_and_means_the_same_after_a_restart() {
    let mut bench = Bench::new(Config::default());
    let job = bench.submit(backup());
    let pause = JobPause { request_id: bench.request_id(), job: job.clone(), for_seconds: Some(7200) };
    bench.ask(pause).unwrap();
    let until = later(&bench, Duration::from_secs(7200));
    bench.pass(MINUTE * 60);
    bench.restart();
    assert_eq!(bench.job_state(&job), JobState::Paused);
    assert_eq!(bench.state.active[&job].paused.as_ref().unwrap().until, Some(until));
    assert!(bench.wake.unwrap() <= MINUTE * 60);
    bench.pass(MINUTE * 60);
    assert_eq!(bench.job_state(&job), JobState::Running);
}

#[test]
fn a_pause_of_the_daemon_stops_running_jobs_and_survives_a_restart() {
    let mut bench = Bench::new(Config::default());
    let job = bench.submit(backup());
    let pause = DaemonPause { request_id: bench.request_id(), for_seconds: None };
    bench.ask(pause).unwrap();
    assert_eq!((bench.job_state(&job), bench.workers[&job].1), (JobState::Paused, Told::Pause));
    bench.restart();
    assert_eq!(bench.workers.len(), 0);
    assert!(bench.why(&job).contains("whole daemon"), "{}", bench.why(&job));
    bench.check();
    let resume = DaemonResume { request_id: bench.request_id() };
    bench.ask(resume).unwrap();
    assert_eq!(bench.job_state(&job), JobState::Running);
}

#[test]
fn a_job_that_ran_when_the_daemon_died_goes_on_with_a_new_attempt() {
    let mut bench = Bench::new(Config::default());
    let job = bench.submit(backup());
    bench.restart();
    assert_eq!((bench.job_state(&job), bench.workers[&job].0), (JobState::Running, 2));
    let attempts = &bench.state.active[&job].attempts;
    assert_eq!(attempts[0].outcome, Some(JobState::Queued));
}

#[test]
fn a_cancel_that_was_acknowledged_holds_even_if_the_daemon_dies_before_the_worker_ends() {
    let mut bench = Bench::new(Config::default());
    let job = bench.submit(backup());
    let cancel = JobCancel { request_id: bench.request_id(), job: job.clone() };
    bench.ask(cancel).unwrap();
    assert_eq!(bench.workers[&job].1, Told::Cancel);
    bench.restart();
    assert_eq!((bench.job_state(&job), bench.workers.len()), (JobState::Cancelled, 0));
}

#[test]
fn other_failures_end_the_job_and_retry_makes_a_new_attempt_of_it() {
    let mut bench = Bench::new(Config::default());
    let job = bench.submit(backup());
    bench.end(&job, failure(Class::Auth), 0);
    assert_eq!(bench.job_state(&job), JobState::Failed);
    let retry = JobRetry { request_id: bench.request_id(), job: job.clone() };
    assert_eq!(bench.ask(retry).unwrap()["id"], job.as_str());
    assert_eq!(bench.workers[&job].0, 2);
    bench.end(&job, How::Done, 3);
    assert_eq!(bench.job_state(&job), JobState::Partial);
    let retry = JobRetry { request_id: bench.request_id(), job: job.clone() };
    bench.ask(retry).unwrap();
    bench.end(&job, How::Done, 0);
    let retry = JobRetry { request_id: bench.request_id(), job };
    assert_eq!(bench.ask(retry).unwrap_err().data.kind, ErrorKind::WrongState);
}

#[test]
fn stopping_suspends_what_runs_refuses_what_is_new_and_ends_when_nothing_runs() {
    let mut bench = Bench::new(Config::default());
    let job = bench.submit(backup());
    let waiting = bench.submit(backup());
    bench.event(Event::Stop);
    assert_eq!(bench.workers[&job].1, Told::Suspend);
    assert!(!bench.has_ended);
    let late = JobSubmit { request_id: bench.request_id(), spec: backup(), priority: None, now: false, reason: None };
    assert_eq!(bench.ask(late).unwrap_err().data.kind, ErrorKind::Stopping);
    bench.end(&job, How::Suspended, 0);
    assert!(bench.has_ended && bench.workers.is_empty());
    bench.restart();
    assert_eq!((bench.job_state(&job), bench.job_state(&waiting)), (JobState::Running, JobState::Queued));
}

#[test]
fn a_plan_at_a_distance_is_due_at_once_and_then_each_time_and_never_twice_in_the_queue() {
    let mut bench = Bench::new(with_plan("every 1h"));
    assert_eq!(bench.state.active.len(), 1);
    bench.pass(MINUTE * 61);
    assert_eq!(bench.state.active.len(), 1, "the first still runs");
    let job = bench.state.active.keys().next().unwrap().clone();
    bench.end(&job, How::Done, 0);
    bench.pass(MINUTE * 59);
    bench.restart();
    assert_eq!(bench.state.active.len(), 0);
    bench.pass(MINUTE);
    assert_eq!(bench.state.active.len(), 1);
}

#[test]
fn a_plan_knows_when_it_runs_next_and_when_it_last_left_a_snapshot_also_after_a_restart() {
    let mut bench = Bench::new(with_plan("every 1h"));
    let began = bench.now.wall;
    let job = bench.state.active.keys().next().unwrap().clone();
    bench.pass(MINUTE);
    assert!(bench.state.successes.is_empty());
    bench.end(&job, How::Done, 1);
    bench.restart();
    assert_eq!(bench.state.successes.get("docs"), Some(&bench.now.wall));
    let next = super::next_run(&bench.state, &bench.state.config, "docs", bench.now.wall);
    assert_eq!(next, began.checked_add(MINUTE * 60).ok());
}

#[test]
fn what_a_restore_works_on_is_stored_before_its_worker_goes_on() {
    let mut bench = Bench::new(Config::default());
    let job = bench.submit(restore());
    let chosen =
        SnapshotQuery { snapshot: "ab".repeat(32), target: Some("local".into()), plan: None, host: None, path: None };
    let (stored, wait) = std::sync::mpsc::channel();
    bench.say(&job, News::Chosen { snapshots: vec![chosen.clone()], stored });
    assert_eq!(wait.try_recv(), Ok(()));
    bench.restart();
    assert_eq!(bench.state.active[&job].chosen, [chosen]);
}

#[test]
fn a_restore_deletes_only_what_a_dry_run_has_shown_to_the_same_user_within_the_hour() {
    let mut bench = Bench::new(Config::default());
    let JobSpec::Restore(spec) = restore() else { panic!("it is a restore") };
    let with = |delete, dry_run| JobSpec::Restore(RestoreSpec { delete, dry_run, ..spec.clone() });
    let ask = |bench: &mut Bench, spec| {
        let request_id = bench.request_id();
        bench.ask(JobSubmit { request_id, spec, priority: None, now: false, reason: None })
    };
    let refused = |answer: Result<_, RpcError>| answer.unwrap_err().data.kind == ErrorKind::DryRunNeeded;
    assert!(refused(ask(&mut bench, with(true, false))));
    let other = bench.submit(with(false, true));
    bench.end(&other, How::Done, 0);
    assert!(refused(ask(&mut bench, with(true, false))), "it showed nothing that is deleted");
    let dry = bench.submit(with(true, true));
    assert!(refused(ask(&mut bench, with(true, false))), "it has not shown anything yet");
    bench.end(&dry, How::Done, 0);
    bench.pass(MINUTE * 59);
    let job = bench.submit(with(true, false));
    bench.end(&job, How::Done, 0);
    bench.pass(MINUTE * 2);
    assert!(refused(ask(&mut bench, with(true, false))));
}

#[test]
fn a_daily_plan_waits_for_its_time_and_is_made_up_for_when_the_daemon_was_off() {
    let mut bench = Bench::new(with_plan("daily 13:00"));
    assert_eq!(bench.state.active.len(), 0);
    bench.now.wall = later(&bench, MINUTE * 60 * 24 * 3);
    bench.restart();
    assert_eq!(bench.state.active.len(), 1);
}

#[test]
fn a_clock_that_goes_back_neither_repeats_an_id_nor_stops_a_plan() {
    let mut bench = Bench::new(with_plan("every 1h"));
    let first = bench.state.active.keys().next().unwrap().clone();
    bench.end(&first, How::Done, 0);
    bench.now.wall = "1970-01-01T00:00:00Z".parse().unwrap();
    let second = bench.submit(backup());
    assert!(second > first);
    bench.end(&second, How::Done, 0);
    bench.pass(MINUTE * 60);
    assert_eq!(bench.state.active.len(), 1, "an hour later by the clock as it is now");
}
