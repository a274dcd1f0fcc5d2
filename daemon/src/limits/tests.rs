//! Bytes in any second of a clock that is set by hand: for slow and fast rates, small and large steps, one thread and
//! many, and over changes of the rate.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicUsize;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use proptest::prelude::*;

use super::*;
use crate::clock::ManualClock;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * MIB;
const SECOND: Duration = Duration::from_secs(1);

/// A step that passed: when, and how many bytes.
type Passed = Vec<(Duration, u64)>;

/// Limits under a clock that is set by hand.
struct Scene {
    clock: Arc<ManualClock>,
    limits: Arc<Limits>,
    started: Duration,
}

impl Scene {
    fn new() -> Self {
        let clock = Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH, TimeZone::UTC));
        let limits = Arc::new(Limits::new(Arc::clone(&clock) as Arc<dyn Clock>));
        let started = clock.now().boot;
        Self { clock, limits, started }
    }

    fn limit(&self, scope: LimitScope, rate: u64) {
        self.limits.apply(&Rates::from([((Direction::Upload, scope), rate)]));
    }

    fn time(&self) -> Duration {
        self.clock.now().boot - self.started
    }

    /// Lets some threads of one pace send as fast as they may until a time, with steps of so many bytes or the largest.
    fn send(&self, paces: &[Arc<dyn Pace>], step: Option<usize>, until: Duration, passed: &mut Passed) {
        let mut due: BTreeMap<(Duration, usize), ()> = (0..paces.len()).map(|at| ((self.time(), at), ())).collect();
        while let Some(((time, thread), ())) = due.pop_first() {
            if time >= until {
                break;
            }
            self.clock.advance(time.saturating_sub(self.time()));
            let pace = &paces[thread];
            let bytes = step.unwrap_or_else(|| pace.step(Way::Up).unwrap());
            match pace.take(Way::Up, bytes) {
                Ok(()) => {
                    passed.push((time, bytes as u64));
                    due.insert((time, thread), ());
                }
                Err(wait) => {
                    due.insert((time + wait, thread), ());
                }
            }
        }
        self.clock.advance(until.saturating_sub(self.time()));
    }
}

/// Returns the most bytes of any second, with the time of its first step.
fn busiest(passed: &Passed) -> (u64, Duration) {
    let (mut first, mut sum, mut most) = (0, 0, (0, Duration::ZERO));
    for (time, bytes) in passed {
        sum += bytes;
        while passed[first].0 + SECOND <= *time {
            sum -= passed[first].1;
            first += 1;
        }
        most = most.max((sum, passed[first].0));
    }
    most
}

fn allowed(rate: u64) -> u64 {
    rate + rate / 10 + 64 * KIB
}

fn total(passed: &Passed) -> u64 {
    passed.iter().map(|(_, bytes)| bytes).sum()
}

#[test]
fn no_second_has_a_burst_and_none_is_wasted_at_any_rate_with_any_step_and_any_number_of_threads() {
    for rate in [64 * KIB, 100 * KIB + 1, MIB, 8 * MIB + 7, 50 * MIB, 200 * MIB, 999 * MIB, GIB] {
        for threads in [1, 2, 16] {
            for step in [Some(1_000), Some(16 * 1024), None] {
                if rate > 100 * MIB && step == Some(1_000) {
                    continue;
                }
                let scene = Scene::new();
                scene.limit(LimitScope::Everything, rate);
                let paces: Vec<_> = (0..threads).map(|_| scene.limits.pace("nas", None)).collect();
                let mut passed = Passed::new();
                scene.send(&paces, step, 3 * SECOND, &mut passed);
                let (most, at) = busiest(&passed);
                let case = format!("{rate} B/s, {threads} threads, steps of {step:?}");
                assert!(most <= allowed(rate), "{case}: {most} bytes in the second from {at:?} on");
                assert!(total(&passed) >= rate * 3 * 97 / 100, "{case}: only {} bytes in 3 s", total(&passed));
            }
        }
    }
}

#[test]
fn threads_that_run_at_once_share_one_limit() {
    let (rate, threads, ticks) = (MIB, 16, 2_000);
    let scene = Scene::new();
    scene.limit(LimitScope::Everything, rate);
    let refused: Vec<AtomicUsize> = (0..threads).map(|_| AtomicUsize::new(0)).collect();
    let (tick, sent) = (AtomicUsize::new(1), AtomicU64::new(0));
    let mut passed = Passed::new();
    std::thread::scope(|scope| {
        for refused in &refused {
            let (scene, tick, sent) = (&scene, &tick, &sent);
            scope.spawn(move || {
                let pace = scene.limits.pace("nas", None);
                loop {
                    let now = tick.load(Ordering::SeqCst);
                    if now > ticks {
                        break;
                    }
                    if now == refused.load(Ordering::SeqCst) {
                        std::thread::yield_now();
                    } else if pace.take(Way::Up, 16 * 1024).is_ok() {
                        sent.fetch_add(16 * 1024, Ordering::SeqCst);
                    } else {
                        refused.store(now, Ordering::SeqCst);
                    }
                }
            });
        }
        for now in 1..=ticks {
            while refused.iter().any(|refused| refused.load(Ordering::SeqCst) < now) {
                std::thread::yield_now();
            }
            passed.push((scene.time(), sent.swap(0, Ordering::SeqCst)));
            scene.clock.advance(Duration::from_millis(1));
            tick.store(now + 1, Ordering::SeqCst);
        }
    });
    assert!(busiest(&passed).0 <= allowed(rate), "{:?}", busiest(&passed));
    assert!(total(&passed) >= rate * 2 * 97 / 100, "{}", total(&passed));
    assert_eq!(scene.limits.passed(Direction::Upload), total(&passed));
}

#[test]
fn the_lowest_of_all_limits_counts_and_what_one_job_waits_for_costs_another_nothing() {
    let scene = Scene::new();
    let job = JobId::from("j1");
    let rates = [
        (LimitScope::Everything, 4 * MIB),
        (LimitScope::Target("nas".to_owned()), 2 * MIB),
        (LimitScope::Job(job.clone()), 64 * KIB),
    ];
    scene.limits.apply(&rates.into_iter().map(|(scope, rate)| ((Direction::Upload, scope), rate)).collect());
    let slow = scene.limits.pace("nas", Some(&job));
    let mut of_job = Passed::new();
    scene.send(&[Arc::clone(&slow)], Some(16 * 1024), 2 * SECOND, &mut of_job);
    assert!(busiest(&of_job).0 <= allowed(64 * KIB));
    let others = [slow, scene.limits.pace("nas", Some(&JobId::from("j2"))), scene.limits.pace("usb", None)];
    let mut of_all = Passed::new();
    scene.send(&others, Some(16 * 1024), 5 * SECOND, &mut of_all);
    assert!(busiest(&of_all).0 <= allowed(4 * MIB));
    assert!(total(&of_all) >= 4 * MIB * 3 * 97 / 100, "the others have what the slow job leaves: {}", total(&of_all));
}

#[test]
fn without_a_limit_nothing_waits_and_the_other_way_is_free() {
    let scene = Scene::new();
    let pace = scene.limits.pace("nas", None);
    assert_eq!((pace.step(Way::Up), pace.take(Way::Up, 1 << 30)), (None, Ok(())));
    scene.limit(LimitScope::Everything, KIB);
    assert_eq!((pace.step(Way::Down), pace.take(Way::Down, 1 << 30)), (None, Ok(())));
    assert_eq!(pace.take(Way::Up, 1), Ok(()), "what passed before there was a limit is not owed");
    assert_eq!(pace.take(Way::Up, 1 << 20), Err(WAIT_MIN));
    scene.limit(LimitScope::Job(JobId::from("other")), KIB);
    assert_eq!((pace.step(Way::Up), pace.take(Way::Up, 1 << 30)), (None, Ok(())), "another job's limit");
}

#[test]
fn what_passed_by_right_of_way_is_paid_by_those_behind() {
    let scene = Scene::new();
    scene.limit(LimitScope::Everything, MIB);
    let pace = scene.limits.pace("nas", None);
    pace.charge(Way::Up, 2 << 20);
    let mut passed = Passed::new();
    scene.send(&[pace], Some(16 * 1024), 2 * SECOND - Duration::from_millis(1), &mut passed);
    assert_eq!(passed, []);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn changing_the_rate_makes_no_burst(
        changes in prop::collection::vec((64 * KIB..64 * MIB, 1_u64..1_500), 1..8),
        threads in 1_usize..16,
        step in 1_usize..16 * 1024,
    ) {
        let step = step.max(2_000);
        let scene = Scene::new();
        let paces: Vec<_> = (0..threads).map(|_| scene.limits.pace("nas", None)).collect();
        let (mut passed, mut spans) = (Passed::new(), Vec::new());
        for (rate, millis) in changes {
            scene.limit(LimitScope::Everything, rate);
            let (from, until) = (scene.time(), scene.time() + Duration::from_millis(millis));
            scene.send(&paces, Some(step), until, &mut passed);
            spans.push((from, until, rate));
        }
        for start in (0..passed.len()).step_by(7) {
            let (from, to) = (passed[start].0, passed[start].0 + SECOND);
            let sum: u64 = passed[start..].iter().take_while(|(time, _)| *time < to).map(|(_, bytes)| bytes).sum();
            let fits = |(begin, end, _): &&(Duration, Duration, u64)| *begin < to && *end >= from;
            let fastest = spans.iter().filter(fits).map(|(_, _, rate)| *rate).max().unwrap();
            prop_assert!(sum <= allowed(fastest), "{sum} bytes from {from:?} on, {fastest} B/s");
        }
    }
}
