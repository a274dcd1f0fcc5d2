//! The breaker against a list of what it may do, under any order of events.

use jiff::SignedDuration;
use proptest::prelude::*;

use super::*;

fn start() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

fn after(now: Timestamp, seconds: u64) -> Timestamp {
    now.checked_add(Duration::from_secs(seconds)).unwrap()
}

fn failure() -> Failure {
    Failure { reason: "it does not answer".to_owned(), absent: false, retry_after: None }
}

fn state(breaker: &Breaker) -> BreakerState {
    breaker.view().state
}

fn opened() -> (Breaker, Timestamp) {
    let (mut breaker, now) = (Breaker::default(), start());
    (0..3).for_each(|_| breaker.failed(&failure(), now));
    (breaker, now)
}

fn open_seconds(breaker: &Breaker, now: Timestamp) -> i64 {
    breaker.view().next_try.unwrap().duration_since(now).as_secs()
}

#[test]
fn three_failures_open_it_when_they_are_half_of_what_happened_within_the_window() {
    let (breaker, now) = opened();
    assert_eq!((state(&breaker), open_seconds(&breaker, now)), (BreakerState::Open, 60));
    assert_eq!(breaker.closure(), Some(Closure::Open(after(now, 60), "it does not answer")));

    let mut apart = Breaker::default();
    (0..5).for_each(|hour| apart.failed(&failure(), after(now, hour * 1801)));
    assert_eq!(state(&apart), BreakerState::Closed, "two an hour are no series");

    let mut mixed = Breaker::default();
    mixed.failed(&failure(), now);
    (0..4).for_each(|_| mixed.succeeded(now));
    (0..2).for_each(|_| mixed.failed(&failure(), now));
    assert_eq!((state(&mixed), mixed.view().failures), (BreakerState::Closed, 3), "3 of 7");
    mixed.failed(&failure(), now);
    assert_eq!(state(&mixed), BreakerState::Open, "4 of 8");
}

#[test]
fn the_one_question_decides_and_the_time_between_questions_grows_to_an_hour() {
    let (mut breaker, mut now) = opened();
    let mut times = Vec::new();
    for _ in 0..9 {
        let seconds = u64::try_from(open_seconds(&breaker, now)).unwrap();
        times.push(seconds / 60);
        assert!(!breaker.begin_question(after(now, seconds - 1)), "not before its time");
        now = after(now, seconds);
        assert!(breaker.begin_question(now));
        assert!(!breaker.begin_question(now), "exactly one");
        assert_eq!((state(&breaker), breaker.closure().is_some()), (BreakerState::HalfOpen, true));
        breaker.answered(Some(&failure()), now);
    }
    assert_eq!(times, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
    now = after(now, 3600);
    assert!(breaker.begin_question(now));
    breaker.answered(None, now);
    assert_eq!(breaker.closure(), None);
    breaker.failed(&failure(), now);
    assert_eq!(open_seconds(&breaker, now), 3600, "it has answered and not worked");
    breaker.succeeded(now);
    assert_eq!(breaker.closure(), None);
    breaker.failed(&failure(), now);
    assert_eq!(breaker.closure(), None, "what was before a success is over");
    assert_eq!(breaker.view().history.len(), HISTORY_MAX);
}

#[test]
fn a_target_that_asks_to_wait_is_left_alone_for_so_long_at_once() {
    for (asked, seconds) in [(5, 60), (600, 600), (7200, 7200), (u64::MAX, 24 * 3600)] {
        let mut breaker = Breaker::default();
        let failure = Failure { retry_after: Some(Duration::from_secs(asked)), ..failure() };
        breaker.failed(&failure, start());
        assert_eq!(open_seconds(&breaker, start()), seconds);
    }
}

#[test]
fn a_restart_asks_again_and_what_is_stored_is_the_same() {
    let (mut breaker, now) = opened();
    let stored =
        |breaker: &Breaker| -> Breaker { serde_json::from_slice(&serde_json::to_vec(breaker).unwrap()).unwrap() };
    assert_eq!(stored(&breaker), breaker);
    assert!(breaker.begin_question(after(now, 60)));
    let mut again = stored(&breaker);
    again.restarted(after(now, 65));
    assert_eq!(state(&again), BreakerState::Open);
    assert!(again.begin_question(after(now, 65)));
    again.force(Some(Forced::Open), now);
    assert_eq!(stored(&again), again);
    assert_eq!(serde_json::from_str::<Breaker>("{}").unwrap(), Breaker::default());
}

#[test]
fn what_somebody_wants_holds_until_it_is_reset() {
    let (mut breaker, now) = opened();
    breaker.force(Some(Forced::Closed), now);
    (0..30).for_each(|_| breaker.failed(&failure(), now));
    assert_eq!((breaker.closure(), breaker.view().by_hand), (None, true));
    breaker.force(Some(Forced::Open), now);
    assert!(!breaker.begin_question(after(now, 1 << 20)));
    breaker.succeeded(now);
    assert_eq!(breaker.closure(), Some(Closure::Forced));
    breaker.force(None, now);
    assert_eq!((breaker.closure(), breaker.view().failures), (None, 0));
}

#[test]
fn a_target_that_is_there_and_fails_is_under_strain_until_a_job_succeeds() {
    let (mut breaker, mut now) = opened();
    assert_eq!((breaker.cuts(), breaker.spared(), breaker.view().degraded), (1, None, true));
    for cuts in 2..4 {
        now = breaker.view().next_try.unwrap();
        assert!(breaker.begin_question(now));
        breaker.answered(None, now);
        assert_eq!(breaker.spared(), Some((after(now, 300), "it does not answer")));
        breaker.failed(&failure(), now);
        assert_eq!((breaker.cuts(), breaker.spared()), (cuts, None));
    }
    breaker.succeeded(now);
    assert_eq!((breaker.cuts(), breaker.spared(), breaker.view().degraded), (0, None, false));
    let absent = Failure { absent: true, ..failure() };
    (0..3).for_each(|_| breaker.failed(&absent, now));
    assert_eq!(
        (state(&breaker), breaker.cuts()),
        (BreakerState::Open, 0),
        "a drive that is not there works as well as ever"
    );
    let (mut reset, now) = opened();
    reset.force(None, now);
    assert!(!reset.view().degraded);
}

#[test]
fn a_clock_that_is_set_moves_its_times() {
    let (mut breaker, now) = opened();
    let back = |at: Timestamp| at.checked_sub(SignedDuration::from_hours(50_000)).unwrap();
    breaker.move_times(back);
    assert!(!breaker.begin_question(back(now)));
    assert!(breaker.begin_question(back(after(now, 60))));
}

#[derive(Clone, Debug)]
enum Happening {
    Failed(Option<u64>),
    Succeeded,
    Wait(u64),
    Ask,
    Answered(bool),
    Restart,
    Force(Option<Forced>),
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        4 => prop::option::weighted(0.2, 1_u64..10_000).prop_map(Happening::Failed),
        1 => Just(Happening::Succeeded),
        4 => (0_u64..4000).prop_map(Happening::Wait),
        4 => Just(Happening::Ask),
        2 => any::<bool>().prop_map(Happening::Answered),
        1 => Just(Happening::Restart),
        1 => prop_oneof![Just(None), Just(Some(Forced::Open)), Just(Some(Forced::Closed))].prop_map(Happening::Force),
    ]
}

/// Does one thing; returns the state that has to follow from it by the rules, where they leave no choice.
fn happen(breaker: &mut Breaker, happening: &Happening, now: &mut Timestamp) -> Option<BreakerState> {
    let before = breaker.view();
    match happening {
        Happening::Wait(seconds) => {
            *now = after(*now, *seconds);
            Some(before.state)
        }
        Happening::Failed(retry_after) => {
            let retry_after = retry_after.map(Duration::from_secs);
            breaker.failed(&Failure { retry_after, ..failure() }, *now);
            let stays = before.by_hand || before.state != BreakerState::Closed;
            if stays { Some(before.state) } else { retry_after.map(|_| BreakerState::Open) }
        }
        Happening::Succeeded => {
            breaker.succeeded(*now);
            Some(if before.by_hand { before.state } else { BreakerState::Closed })
        }
        Happening::Ask => {
            let may = before.next_try.is_some_and(|at| at <= *now);
            assert_eq!(breaker.begin_question(*now), may, "{before:?}");
            Some(if may { BreakerState::HalfOpen } else { before.state })
        }
        Happening::Answered(well) => {
            breaker.answered((!well).then(failure).as_ref(), *now);
            let is_asked = before.state == BreakerState::HalfOpen;
            let answer = if *well { BreakerState::Closed } else { BreakerState::Open };
            Some(if is_asked { answer } else { before.state })
        }
        Happening::Restart => {
            breaker.restarted(*now);
            let was_asked = before.state == BreakerState::HalfOpen;
            Some(if was_asked { BreakerState::Open } else { before.state })
        }
        Happening::Force(forced) => {
            breaker.force(*forced, *now);
            Some(if *forced == Some(Forced::Open) { BreakerState::Open } else { BreakerState::Closed })
        }
    }
}

proptest! {
    #[test]
    fn whatever_happens_every_change_is_a_legal_one(happenings in prop::collection::vec(happening(), 1..60)) {
        let (mut breaker, mut now) = (Breaker::default(), start());
        for happening in &happenings {
            let before = breaker.view();
            let wanted = happen(&mut breaker, happening, &mut now);
            let view = breaker.view();
            if let Some(wanted) = wanted {
                prop_assert_eq!(view.state, wanted, "{:?} in {:?}", happening, before);
            }
            prop_assert_eq!(breaker.closure().is_none(), view.state == BreakerState::Closed);
            prop_assert!(view.history.len() <= HISTORY_MAX && view.failures <= RECENT_MAX as u64);
            if view.state == BreakerState::Open && !view.by_hand {
                let until = view.next_try.expect("it ends by itself");
                prop_assert!(until.duration_since(view.since.unwrap()) <= SignedDuration::from_hours(24));
                prop_assert!(view.reason.is_some());
            }
            if before.state != view.state {
                prop_assert_eq!(view.history.last().map(|change| change.state).filter(|_| !matches!(happening, Happening::Restart)).unwrap_or(view.state), view.state);
            }
        }
    }
}
