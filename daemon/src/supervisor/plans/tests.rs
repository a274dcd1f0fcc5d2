//! When plans put jobs into the queue: over sleep, restarts, corrected clocks, and with jitter.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::next_run;
use crate::job::How;
use crate::supervisor::bench::{Bench, with_plan};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// Ends what runs; returns how many there were.
fn end_all(bench: &mut Bench) -> usize {
    let ids: Vec<_> = bench.workers.keys().cloned().collect();
    ids.iter().for_each(|id| bench.end(id, How::Done, 0));
    ids.len()
}

fn next(bench: &Bench) -> Timestamp {
    next_run(&bench.state, &bench.state.config, "docs", bench.now.wall).expect("it runs by time")
}

#[test]
fn times_that_were_missed_are_one_run_whether_the_machine_slept_or_was_off() {
    for schedule in ["0 * * * *", "daily 13:00", "every 1h", "weekly wed 13:00"] {
        for restarts in [false, true] {
            let mut bench = Bench::new(with_plan(schedule));
            end_all(&mut bench);
            match restarts {
                false => bench.pass(HOUR * 24 * 20),
                true => {
                    bench.now.wall = bench.now.wall.checked_add(HOUR * 24 * 20).unwrap();
                    bench.restart();
                }
            }
            assert_eq!(end_all(&mut bench), 1, "{schedule}, restart: {restarts}");
            let waits = bench.state.active.values().any(|job| job.spec.stores_a_snapshot());
            assert!(!waits && next(&bench) > bench.now.wall, "{schedule}");
        }
    }
}

#[test]
fn nothing_runs_twice_when_the_clock_is_corrected_by_seconds_just_then() {
    for schedule in ["0 * * * *", "daily 13:00", "weekly wed 13:00"] {
        let mut bench = Bench::new(with_plan(schedule));
        bench.pass(HOUR);
        assert_eq!(end_all(&mut bench), 1, "{schedule}: it is 13:00 on a Wednesday");
        for restarts in [false, true] {
            bench.now.wall = bench.now.wall.checked_sub(SignedDuration::from_secs(20)).unwrap();
            if restarts {
                bench.restart();
            }
            for _ in 0..4 {
                bench.pass(Duration::from_secs(10));
                assert_eq!(bench.workers.len(), 0, "{schedule}, restart: {restarts}");
            }
        }
        // By an hour it is another thing: the time comes once more by the clock as it is now.
        bench.now.wall = bench.now.wall.checked_sub(HOUR).unwrap();
        bench.tick();
        bench.pass(HOUR);
        assert_eq!(end_all(&mut bench), 1, "{schedule}");
    }
}

#[test]
fn with_jitter_a_plan_begins_later_and_when_is_known_before_and_after_a_restart() {
    let mut config = with_plan("daily 13:00");
    config.plans.get_mut("docs").unwrap().jitter = HOUR;
    let mut bench = Bench::new(config);
    let due = next(&bench);
    let at_one: Timestamp = "2024-05-01T13:00:00Z".parse().unwrap();
    assert!(due >= at_one && due < at_one.checked_add(HOUR).unwrap(), "{due}");
    bench.restart();
    assert_eq!(next(&bench), due);
    while bench.now.wall < due {
        assert_eq!(bench.workers.len(), 0, "{}", bench.now.wall);
        let wake = bench.wake.expect("its time is waited for");
        bench.pass(wake.min(MINUTE));
    }
    assert_eq!((end_all(&mut bench), bench.now.wall), (1, due));
    let second = next(&bench).duration_since(at_one.checked_add(HOUR * 24).unwrap());
    assert!((0..3600).contains(&second.as_secs()), "on the next day: {second}");
    assert_ne!(second, due.duration_since(at_one), "at another minute");
    let other = {
        let mut state = bench.state.clone();
        state.machine = "another".to_owned();
        next_run(&state, &state.config, "docs", bench.now.wall)
    };
    assert_ne!(other, Some(next(&bench)), "another machine at another minute");
}

#[test]
fn a_plan_that_still_runs_is_not_queued_a_second_time() {
    let mut bench = Bench::new(with_plan("*/10 * * * *"));
    for _ in 0..30 {
        bench.pass(MINUTE * 10);
        assert_eq!(bench.state.active.len(), 1);
    }
    assert_eq!(end_all(&mut bench), 1);
    assert!(bench.state.active.is_empty(), "what was passed over is not made up for");
}
