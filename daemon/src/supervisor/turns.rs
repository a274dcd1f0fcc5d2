//! Tests of who has a turn, when, and after how many failures.

use std::time::Duration;

use backup_proto::error::Class;
use backup_proto::job::{JobId, JobState, Priority, VerdictKind};
use backup_proto::params::{JobPause, JobResume, JobRetry, JobSetPriority, JobSubmit};
use backup_proto::spec::{BackupSpec, JobSpec, SnapshotQuery};

use super::bench::{
    Bench, Told, backup, copy, failure, prune, read_data, repair, restore, verify, with_plan, with_target,
};
use crate::backoff::FAILURES_MAX;
use crate::config::Config;
use crate::inbox::News;
use crate::job::How;

const MINUTE: Duration = Duration::from_secs(60);

fn submit(bench: &mut Bench, spec: JobSpec, priority: Priority) -> JobId {
    let request_id = bench.request_id();
    let submit = JobSubmit { request_id, spec, priority: Some(priority), now: false, reason: None };
    JobId::from(bench.ask(submit).unwrap()["jobs"][0].as_str().unwrap())
}

#[test]
fn a_running_backup_pauses_for_a_restore_and_goes_on_by_itself_after_it() {
    let mut bench = Bench::new(Config::default());
    let running = bench.submit(backup());
    let waiting = submit(&mut bench, backup(), Priority::Critical);
    let restore = bench.submit(restore());
    assert_eq!((bench.job_state(&restore), bench.job_state(&running)), (JobState::Running, JobState::Paused));
    assert_eq!(bench.workers[&running].1, Told::Pause);
    let why = bench.why(&running);
    assert!(why.contains(restore.as_str()) && why.contains("goes on by itself"), "{why}");
    bench.check();
    bench.end(&restore, How::Done, 0);
    assert_eq!(bench.workers[&running], (1, Told::Run), "the same attempt goes on");
    assert_eq!((bench.job_state(&running), bench.job_state(&waiting)), (JobState::Running, JobState::Queued));
    bench.check();
}

#[test]
fn a_long_restore_lets_the_backup_give_up_its_lock_and_begin_another_attempt_after_it() {
    let mut bench = Bench::new(Config::default());
    let running = bench.submit(backup());
    let restore = bench.submit(restore());
    bench.pass(MINUTE * 10);
    assert_eq!(bench.workers[&running].1, Told::Suspend);
    bench.end(&running, How::Suspended, 0);
    bench.check();
    bench.end(&restore, How::Done, 0);
    assert_eq!(bench.workers[&running], (2, Told::Run));
}

#[test]
fn what_can_go_on_where_it_was_ends_its_attempt_for_a_backup_or_a_restore_and_goes_on_after_it() {
    let yielding = |other: JobSpec, jobs: Vec<JobSpec>| jobs.into_iter().map(move |job| (other.clone(), job));
    let to_backup = yielding(backup(), vec![prune(), copy("usb"), read_data()]);
    // With more than one target, a restore that names none looks in all before it wants one of them.
    let JobSpec::Restore(mut from_local) = restore() else { unreachable!("it is one") };
    from_local.items[0].snapshot.target = Some("local".into());
    let to_restore = yielding(JobSpec::Restore(from_local), vec![prune(), repair(), copy("usb"), read_data()]);
    for (other, gives_way) in to_backup.chain(to_restore) {
        let mut bench = Bench::new(with_target("usb"));
        let prune_job = bench.submit(gives_way);
        assert_eq!(bench.job_state(&prune_job), JobState::Running);
        let wanted = bench.submit(other);
        assert_eq!(bench.workers[&prune_job].1, Told::Suspend);
        assert_eq!(bench.job_state(&wanted), JobState::Queued, "the prune may hold a lock that keeps it out");
        bench.check();
        bench.end(&prune_job, How::Suspended, 0);
        assert_eq!((bench.job_state(&wanted), bench.job_state(&prune_job)), (JobState::Running, JobState::Queued));
        bench.check();
        bench.end(&wanted, How::Done, 0);
        assert_eq!(bench.workers[&prune_job], (2, Told::Run));
    }
    for (spec, priority) in
        [(prune(), Priority::High), (copy("usb"), Priority::Normal), (verify("local"), Priority::Low)]
    {
        let mut bench = Bench::new(with_target("usb"));
        let urgent = submit(&mut bench, spec, priority);
        bench.submit(backup());
        assert_eq!(bench.workers[&urgent].1, Told::Run, "somebody wanted it first, or it would begin anew");
    }
}

#[test]
fn what_runs_for_long_does_not_become_more_urgent_by_that_and_what_has_waited_does() {
    let mut bench = Bench::new(with_target("usb"));
    let copying = bench.submit(copy("usb"));
    bench.pass(MINUTE * 60 * 13);
    let due = bench.submit(backup());
    assert_eq!(bench.workers[&copying].1, Told::Suspend, "a copy of many hours does not hold the nightly backup up");
    bench.end(&copying, How::Suspended, 0);
    bench.pass(MINUTE * 60);
    bench.end(&due, How::Done, 0);
    assert_eq!(bench.workers[&copying], (2, Told::Run));
    let due = bench.submit(backup());
    assert_eq!(bench.workers[&copying].1, Told::Suspend, "it has waited for an hour since it ran");
    bench.end(&copying, How::Suspended, 0);
    bench.pass(MINUTE * 60 * 7);
    bench.end(&due, How::Done, 0);
    bench.submit(backup());
    assert_eq!(bench.workers[&copying], (3, Told::Run), "it has had its wait");
}

#[test]
fn a_restore_that_is_paused_holds_no_backup_up() {
    let mut bench = Bench::new(Config::default());
    let running = bench.submit(backup());
    let restore = bench.submit(restore());
    let pause = JobPause { request_id: bench.request_id(), job: restore.clone(), for_seconds: None };
    bench.ask(pause).unwrap();
    assert_eq!((bench.job_state(&restore), bench.job_state(&running)), (JobState::Paused, JobState::Running));
    bench.check();
    let resume = JobResume { request_id: bench.request_id(), job: restore.clone(), now: false };
    bench.ask(resume).unwrap();
    assert_eq!((bench.job_state(&restore), bench.job_state(&running)), (JobState::Running, JobState::Paused));
}

#[test]
fn a_restore_that_finds_its_snapshot_in_another_target_leaves_the_backup_alone() {
    let mut bench = Bench::new(super::bench::with_target("nas"));
    let running = bench.submit(backup());
    let restore = bench.submit(restore());
    assert_eq!(bench.state.active[&restore].target, None, "it looks in every target");
    let chosen = |target: &str| {
        vec![SnapshotQuery {
            snapshot: "ab".repeat(32),
            target: Some(target.into()),
            plan: None,
            host: None,
            path: None,
        }]
    };
    let (stored, _wait) = std::sync::mpsc::channel();
    bench.say(&restore, News::Chosen { snapshots: chosen("nas"), stored });
    assert_eq!((bench.job_state(&restore), bench.job_state(&running)), (JobState::Running, JobState::Running));
    bench.end(&restore, How::Done, 0);
    let again = bench.submit(super::bench::restore());
    let (stored, _wait) = std::sync::mpsc::channel();
    bench.say(&again, News::Chosen { snapshots: chosen("local"), stored });
    assert_eq!((bench.job_state(&again), bench.job_state(&running)), (JobState::Running, JobState::Paused));
    bench.check();
}

#[test]
fn another_priority_changes_the_order_and_survives_a_restart() {
    let mut bench = Bench::new(Config::default());
    let first = bench.submit(backup());
    let (second, third) = (bench.submit(backup()), bench.submit(backup()));
    let request = JobSetPriority { request_id: bench.request_id(), job: third.clone(), priority: Priority::High };
    bench.ask(request).unwrap();
    assert_eq!(bench.job_state(&first), JobState::Running, "what was begun goes first");
    bench.restart();
    assert_eq!(bench.state.active[&third].priority, Priority::High);
    let running = |bench: &Bench| bench.workers.keys().next().unwrap().clone();
    assert_eq!(running(&bench), third);
    bench.end(&third, How::Done, 0);
    assert_eq!(running(&bench), first);
    bench.end(&first, How::Done, 0);
    assert_eq!(running(&bench), second);
}

/// Keeps a target busy with new jobs, always one more than can run; returns how long the given one has waited.
fn hours_until_it_runs(bench: &mut Bench, id: &JobId, others: Priority) -> u64 {
    for hours in 0..72 {
        submit(bench, backup(), others);
        submit(bench, backup(), others);
        let running = bench.workers.keys().next().expect("something runs").clone();
        if running == *id {
            return hours;
        }
        bench.end(&running, How::Done, 0);
        bench.pass(MINUTE * 60);
        bench.check();
    }
    panic!("it never ran");
}

#[test]
fn a_target_that_is_always_busy_lets_the_least_urgent_job_run_within_a_day() {
    for (others, hours) in [(Priority::Normal, 6..=12), (Priority::High, 12..=24)] {
        let mut bench = Bench::new(Config::default());
        submit(&mut bench, backup(), others);
        let low = submit(&mut bench, verify("local"), Priority::Low);
        let waited = hours_until_it_runs(&mut bench, &low, others);
        assert!(hours.contains(&waited), "{waited} hours behind {others:?}");
    }
}

#[test]
fn a_failure_that_may_go_away_is_tried_again_later_and_later_and_then_given_up() {
    for class in [Class::Transient, Class::Throttled] {
        let mut bench = Bench::new(with_plan("daily 02:30"));
        let job = bench.submit(planned());
        let (mut waits, mut attempts) = (Vec::new(), 0);
        while bench.job_state(&job) != JobState::Failed {
            bench.end(&job, failure(class), 0);
            attempts += 1;
            bench.check();
            if let Some(until) = bench.state.job(&job).unwrap().not_before {
                let verdict = bench.state.verdicts[&job].clone();
                assert_eq!((verdict.kind, verdict.next_look), (VerdictKind::Retry, Some(until)));
                let said = format!("Attempt {attempts} failed: it broke. Attempt {} is", attempts + 1);
                assert!(verdict.sentence.contains(&said) && verdict.sentence.ends_with("wait"), "{}", verdict.sentence);
                let wait = Duration::try_from(until.duration_since(bench.now.wall)).unwrap();
                waits.push(wait);
                bench.restart();
                assert_eq!(bench.state.active[&job].not_before, Some(until), "a restart does not hurry it");
                bench.pass(wait);
            }
        }
        assert_eq!(attempts, FAILURES_MAX, "{class:?}");
        assert!(waits[..8].windows(2).all(|pair| pair[0] < pair[1]), "{waits:?}");
        assert!(waits[0] >= Duration::from_secs(15) && waits.iter().all(|wait| *wait <= MINUTE * 120), "{waits:?}");
        let total: Duration = waits.iter().sum();
        assert!(total > MINUTE * 60 * 24, "a night is not the end: {total:?}");
    }
}

#[test]
fn a_retry_remembers_what_the_partial_attempt_left_undone_until_it_comes_to_something_else() {
    let mut bench = Bench::new(Config::default());
    let job = bench.submit(backup());
    bench.end(&job, How::Done, 2);
    let retry = |bench: &mut Bench| {
        let request_id = bench.request_id();
        bench.ask(JobRetry { request_id, job: job.clone() }).unwrap();
        bench.state.active[&job].again.as_ref().map(|again| again.attempt)
    };
    assert_eq!(retry(&mut bench), Some(1));
    bench.restart();
    assert_eq!(bench.state.active[&job].attempt_count(), 3);
    bench.end(&job, failure(Class::Auth), 0);
    assert_eq!(retry(&mut bench), Some(1), "the third attempt listed nothing");
    bench.end(&job, How::Done, 1);
    assert_eq!(retry(&mut bench), Some(4), "what it left undone itself");
}

fn planned() -> JobSpec {
    JobSpec::Backup(BackupSpec { plan: Some("docs".into()), ..BackupSpec::default() })
}

#[test]
fn a_full_target_is_said_at_once_to_whoever_typed_the_backup() {
    let mut bench = Bench::new(Config::default());
    let job = bench.submit(backup());
    bench.end(&job, failure(Class::Full), 0);
    assert_eq!(bench.job_state(&job), JobState::Failed);
}

#[test]
fn jobs_that_failed_together_are_not_tried_together() {
    let mut bench = Bench::new(Config::default());
    let mut waits = std::collections::BTreeSet::new();
    for _ in 0..8 {
        let job = bench.submit(backup());
        bench.end(&job, failure(Class::Transient), 0);
        waits.insert(bench.state.active[&job].not_before.unwrap());
    }
    assert_eq!(waits.len(), 8, "{waits:?}");
}
