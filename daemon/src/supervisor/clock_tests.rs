//! A clock that goes back, forward or dies: nothing is lost or forgotten for it.

use std::collections::BTreeSet;
use std::time::Duration;

use backup_proto::job::{JobId, JobState};
use backup_proto::params::{DaemonPause, JobPause, JobSubmit};
use jiff::Timestamp;

use super::bench::{Bench, backup, failure, with_plan};
use crate::config::Config;
use crate::job::How;

const HOUR: Duration = Duration::from_secs(3600);

/// What people and machines do to clocks.
const TIMES: [&str; 5] = [
    "1970-01-01T00:00:10Z",
    "2003-06-01T00:00:00Z",
    "2024-05-01T11:00:00Z",
    "2057-12-31T23:59:59Z",
    "2099-01-01T00:00:00Z",
];

fn set_clock(bench: &mut Bench, text: &str) {
    bench.now.wall = text.parse().unwrap();
    bench.tick();
}

#[test]
fn a_request_is_remembered_whatever_the_clock_is_set_to_and_forgotten_after_thirty_days_of_life() {
    for text in TIMES {
        for restarts in [false, true] {
            let mut bench = Bench::new(Config::default());
            let request =
                JobSubmit { request_id: bench.request_id(), spec: backup(), priority: None, now: false, reason: None };
            let answer = bench.ask(request.clone()).unwrap();
            set_clock(&mut bench, text);
            if restarts {
                bench.restart();
            }
            for _ in 0..29 {
                bench.pass(24 * HOUR);
            }
            assert_eq!(bench.ask(request.clone()).unwrap(), answer, "{text}, restart: {restarts}");
            for _ in 0..3 {
                bench.pass(24 * HOUR);
            }
            let known = bench.disk.keys().filter(|key| key.starts_with("request/")).count();
            assert_eq!(known, 0, "{text}, restart: {restarts}: it is forgotten in the end");
        }
    }
}

#[test]
fn a_pause_lasts_as_long_as_was_asked_whatever_the_clock_is_set_to() {
    for text in TIMES {
        for (restarts, whole) in [(false, false), (false, true), (true, false), (true, true)] {
            let mut bench = Bench::new(Config::default());
            let job = bench.submit(backup());
            let request_id = bench.request_id();
            match whole {
                true => drop(bench.ask(DaemonPause { request_id, for_seconds: Some(7200) }).unwrap()),
                false => {
                    let pause = JobPause { request_id, job: job.clone(), for_seconds: Some(7200) };
                    drop(bench.ask(pause).unwrap());
                }
            }
            bench.pass(HOUR);
            let is_back = text.parse::<Timestamp>().unwrap() < bench.now.wall;
            if restarts && !is_back {
                // That the clock went forward while the daemon was off cannot be told from time that has passed.
                continue;
            }
            if restarts {
                bench.now.wall = text.parse().unwrap();
                bench.restart();
            } else {
                set_clock(&mut bench, text);
            }
            bench.pass(HOUR / 2);
            let paused = bench.state.paused.is_some() || bench.state.active[&job].paused.is_some();
            assert!(paused, "{text}, restart: {restarts}: it ended early");
            bench.pass(2 * HOUR);
            let paused = bench.state.paused.is_some() || bench.state.active[&job].paused.is_some();
            assert!(!paused, "{text}, restart: {restarts}: it does not end");
        }
    }
}

#[test]
fn a_wait_after_a_failure_is_no_longer_than_it_was_whatever_the_clock_is_set_to() {
    for text in TIMES {
        for restarts in [false, true] {
            let mut bench = Bench::new(Config::default());
            let job = bench.submit(backup());
            bench.end(&job, failure(backup_proto::error::Class::Transient), 0);
            assert_eq!(bench.job_state(&job), JobState::Queued);
            set_clock(&mut bench, text);
            if restarts {
                bench.restart();
            }
            bench.pass(2 * HOUR);
            assert_eq!(bench.job_state(&job), JobState::Running, "{text}, restart: {restarts}: {}", bench.why(&job));
        }
    }
}

#[test]
fn ids_are_unique_and_sort_by_age_under_any_clock() {
    let mut bench = Bench::new(Config::default());
    let mut ids: Vec<JobId> = Vec::new();
    for round in 0..400 {
        set_clock(&mut bench, TIMES[round % TIMES.len()]);
        for _ in 0..5 {
            ids.push(bench.submit(backup()));
        }
        if round % 50 == 0 {
            bench.restart();
        }
    }
    assert!(ids.is_sorted(), "the order of age is lost");
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len());
    assert!(ids.iter().all(|id| id.as_str().len() == 8), "{:?}", ids.last());
}

#[test]
fn a_plan_goes_on_within_its_distance_whatever_the_clock_is_set_to() {
    for text in TIMES {
        let mut bench = Bench::new(with_plan("every 6h"));
        for set_back in [false, true] {
            let before = bench.now.wall;
            set_clock(&mut bench, text);
            bench.pass(6 * HOUR);
            let job = bench.workers.keys().next().unwrap_or_else(|| panic!("{text}: no job in a distance")).clone();
            bench.end(&job, How::Done, 0);
            if set_back {
                bench.now.wall = before;
                bench.tick();
            }
        }
        bench.pass(6 * HOUR);
        assert_eq!(bench.workers.len(), 1, "{text}");
    }
}
