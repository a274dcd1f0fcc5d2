//! Who gets memory, who waits for it, and that nobody does for ever.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::*;

const MIB: usize = 1024 * 1024;

/// Returns when so many threads wait for memory.
fn wait_until_waiting(budget: &Budget, count: usize) {
    while budget.lock().waiting < count {
        thread::yield_now();
    }
}

#[test]
fn a_thread_waits_while_another_of_its_job_holds_what_it_needs_and_holds_nothing_meanwhile() {
    let budget = Budget::new(100 * MIB);
    let job = budget.job();
    let mut first = job.hold(90 * MIB);
    thread::scope(|scope| {
        let second = scope.spawn(|| {
            let mut held = job.hold(10 * MIB);
            let mut forgot = 0;
            held.need(60 * MIB, || forgot += 1);
            (held.bytes(), forgot)
        });
        wait_until_waiting(&budget, 1);
        assert_eq!(budget.taken(), 90 * MIB, "what it had it gave back");
        first.need(40 * MIB, || {});
        assert_eq!(first.bytes(), 90 * MIB, "what is held stays");
        drop(first);
        assert_eq!(second.join().unwrap(), (60 * MIB, 1));
    });
    assert_eq!(budget.taken(), 0);
}

#[test]
fn every_job_gets_its_share_and_one_piece_whatever_others_hold() {
    let budget = Budget::new(100 * MIB);
    let (paused, other, third) = (budget.job(), budget.job(), budget.job());
    let backup = paused.take_rest(64 * MIB, usize::MAX);
    assert_eq!(backup.bytes(), 76 * MIB, "the share of another job is left");
    let shares: Vec<Held> = (0..3).map(|_| other.hold(8 * MIB)).collect();
    assert_eq!(budget.taken(), 100 * MIB);
    assert!(!shares[0].memory.held().try_need(1), "there is no more than the share");
    // The budget is spent, and each of these is all that its job holds.
    drop(third.hold(300 * MIB));
    assert_eq!(budget.job().take_rest(64 * MIB, usize::MAX).bytes(), 64 * MIB);
    drop((shares, backup));
    assert_eq!(budget.taken(), 0);
    assert_eq!(paused.take_rest(64 * MIB, 10 * MIB).bytes(), 64 * MIB);
}

#[test]
fn who_has_more_than_a_share_gives_back_when_others_came() {
    let budget = Budget::new(100 * MIB);
    let (reads, comes) = (budget.job(), budget.job());
    let (mut one, mut two) = (reads.hold(50 * MIB), reads.hold(50 * MIB));
    let backup = comes.take_rest(64 * MIB, usize::MAX);
    assert_eq!(budget.taken(), 164 * MIB);
    thread::scope(|scope| {
        // It may have its piece when the other has given its own back, and not before.
        let waits = scope.spawn(|| {
            one.need(50 * MIB, || {});
            one.bytes()
        });
        wait_until_waiting(&budget, 1);
        assert_eq!(budget.taken(), 114 * MIB);
        two.need(20 * MIB, || {});
        drop(two);
        assert_eq!(waits.join().unwrap(), 50 * MIB);
    });
    drop(backup);
}

#[test]
fn many_threads_of_many_jobs_all_end_and_never_hold_more_than_is_said() {
    let (budget, peak) = (Budget::new(64 * MIB), AtomicUsize::new(0));
    thread::scope(|scope| {
        for number in 0..4 {
            let job = budget.job();
            for _ in 0..4 {
                let (job, budget, peak) = (job.clone(), &budget, &peak);
                scope.spawn(move || {
                    let mut held = job.held();
                    for step in 0..500 {
                        held.need((1 + (step * 7 + number) % 20) * MIB, || {});
                        peak.fetch_max(budget.taken(), Ordering::Relaxed);
                    }
                });
            }
        }
    });
    assert_eq!(budget.taken(), 0);
    assert!(peak.into_inner() <= 64 * MIB + 3 * JOB_MEMORY);
}

#[test]
fn a_budget_that_grows_lets_those_go_on_who_wait() {
    let budget = Budget::new(10 * MIB);
    let job = budget.job();
    let _held = job.hold(40 * MIB);
    thread::scope(|scope| {
        let waits = scope.spawn(|| job.hold(40 * MIB).bytes());
        wait_until_waiting(&budget, 1);
        budget.set(80 * MIB);
        assert_eq!(waits.join().unwrap(), 40 * MIB);
    });
}
