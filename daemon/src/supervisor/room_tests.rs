//! No room for the state: what runs ends at a checkpoint, nothing new is accepted, and all of it goes on by itself.

use std::time::Duration;

use backup_proto::error::{Class, ErrorKind};
use backup_proto::job::{JobState, Priority};
use backup_proto::params::{DaemonPause, DaemonResume, JobCancel, JobPause, JobResume, JobSetPriority, JobSubmit};

use super::bench::{Bench, Told, backup, verify, with_plan};
use super::{job_reasons, notice};
use crate::config::Config;
use crate::inbox::Event;
use crate::job::How;
use crate::store::Shortage;

fn shortage() -> Shortage {
    Shortage { folder: "/state".into(), free: 3 << 20, needed: 96 << 20 }
}

fn submit(bench: &mut Bench) -> JobSubmit {
    JobSubmit { request_id: bench.request_id(), spec: backup(), priority: None, now: false, reason: None }
}

#[test]
fn what_runs_or_waits_at_its_gate_ends_at_a_checkpoint_and_goes_on_when_there_is_room() {
    let mut bench = Bench::new(Config::default());
    let first = bench.submit(backup());
    let second = bench.submit(backup());
    let request_id = bench.request_id();
    bench.ask(JobPause { request_id, job: first.clone(), for_seconds: None }).unwrap();
    assert_eq!((bench.workers[&first].1, bench.workers[&second].1), (Told::Pause, Told::Run));
    bench.event(Event::Room(Some(shortage())));
    assert_eq!((bench.workers[&first].1, bench.workers[&second].1), (Told::Suspend, Told::Suspend));
    bench.end(&first, How::Suspended, 0);
    bench.end(&second, How::Suspended, 0);
    bench.tick();
    bench.check();
    assert!(bench.workers.is_empty(), "nothing is started");
    assert_eq!((bench.job_state(&first), bench.job_state(&second)), (JobState::Paused, JobState::Queued));
    assert!(bench.why(&second).contains("holds the daemon's state in /state is full"), "{}", bench.why(&second));
    let reasons = job_reasons(&bench.state, &second, bench.now.wall).unwrap();
    assert!(reasons.verdicts.iter().any(|verdict| verdict.sentence.contains("every 5 seconds")), "{reasons:?}");
    bench.event(Event::Room(None));
    assert_eq!(bench.workers[&second].1, Told::Run);
    assert_eq!(bench.job_state(&first), JobState::Paused, "whose pause is not over");
}

#[test]
fn new_jobs_are_refused_with_advice_and_what_takes_no_room_is_not() {
    let mut bench = Bench::new(Config::default());
    let job = bench.submit(backup());
    bench.event(Event::Room(Some(shortage())));
    let params = submit(&mut bench);
    let error = bench.ask(params.clone()).unwrap_err();
    assert_eq!((error.data.kind, error.data.class), (ErrorKind::StateUnwritable, Class::Full));
    assert_eq!(error.message, shortage().sentence());
    assert!(error.data.advice.contains("Free some space"), "{}", error.data.advice);
    let request_id = bench.request_id();
    bench.ask(JobPause { request_id, job: job.clone(), for_seconds: Some(60) }).unwrap();
    let request_id = bench.request_id();
    bench.ask(JobSetPriority { request_id, job: job.clone(), priority: Priority::High }).unwrap();
    let request_id = bench.request_id();
    bench.ask(JobResume { request_id, job: job.clone(), now: false }).unwrap();
    let request_id = bench.request_id();
    bench.ask(DaemonPause { request_id, for_seconds: None }).unwrap();
    let request_id = bench.request_id();
    bench.ask(DaemonResume { request_id }).unwrap();
    let request_id = bench.request_id();
    bench.ask(JobCancel { request_id, job: job.clone() }).unwrap();
    bench.end(&job, How::Cancelled, 0);
    assert_eq!(bench.job_state(&job), JobState::Cancelled);
    bench.event(Event::Room(None));
    // The same request again: a refusal is not remembered as its answer.
    bench.ask(params).unwrap();
    assert_eq!(bench.workers.len(), 1);
}

#[test]
fn an_attempt_that_ends_for_lack_of_room_fails_nothing_however_often() {
    let mut bench = Bench::new(Config::default());
    let job = bench.submit(verify("local"));
    for _ in 0..50 {
        bench.end(&job, How::NoRoom(shortage()), 0);
        assert_eq!((bench.job_state(&job), bench.workers.len()), (JobState::Queued, 0), "it waits");
        bench.event(Event::Room(None));
    }
    assert_eq!(bench.state.job(&job).unwrap().failures, 0);
    bench.end(&job, How::Done, 0);
    assert_eq!(bench.job_state(&job), JobState::Succeeded);
}

#[test]
fn a_plan_that_comes_due_without_room_is_due_when_there_is_some() {
    let mut bench = Bench::new(with_plan("every 1h"));
    let first = bench.workers.keys().next().expect("it is due at once").clone();
    bench.end(&first, How::Done, 0);
    bench.event(Event::Room(Some(shortage())));
    bench.pass(Duration::from_secs(5 * 3600));
    assert!(bench.state.active.is_empty(), "nothing is queued");
    bench.event(Event::Room(None));
    assert_eq!((bench.state.active.len(), bench.workers.len()), (1, 1));
}

#[test]
fn the_status_says_it_and_how_much_is_needed() {
    let sentence = notice(&shortage());
    assert!(sentence.contains("3.0 MiB free, 96.0 MiB needed"), "{sentence}");
}
