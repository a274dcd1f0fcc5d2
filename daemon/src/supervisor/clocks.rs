//! Time, when somebody sets the clock: what was to last a while lasts that long, and what is kept for thirty days is
//! kept by a clock that nobody can set.
//!
//! Two clocks come with every event. They part when the wall clock is set; then the ends of pauses and of waits move
//! with it. Over a restart only one kind of change can be told: a pause that begins in the future was made under a
//! clock that has been set back since, or has died.

use std::time::Duration;

use backup_proto::status::Pause;
use jiff::{SignedDuration, Timestamp};

use super::{State, Step, breakers, limits};
use crate::breaker::Breaker;
use crate::clock::Now;

/// Clocks that part by less than this are being corrected, not set.
const SET_MIN: SignedDuration = SignedDuration::from_secs(60);

/// How long the daemon has lived, over all its starts: the time since its start-up, sleep included, is added to what
/// was stored. It stands still while the daemon is off.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lived {
    total: Duration,
    /// Both clocks at the last look.
    seen: Option<Now>,
}

impl Lived {
    /// Begins with what was stored, in seconds.
    pub(super) fn new(seconds: u64) -> Self {
        Self { total: Duration::from_secs(seconds), seen: None }
    }

    /// Returns how long it has lived, in seconds.
    #[must_use]
    pub fn seconds(&self) -> u64 {
        self.total.as_secs()
    }

    /// Adds the time since the last look; returns by how much the wall clock was set since then, if it was.
    fn look(&mut self, now: Now) -> Option<SignedDuration> {
        let seen = self.seen.replace(now)?;
        let passed = now.boot.saturating_sub(seen.boot);
        self.total += passed;
        let set = now.wall.duration_since(seen.wall) - SignedDuration::try_from(passed).ok()?;
        (set.abs() >= SET_MIN).then_some(set)
    }
}

/// Takes note of the time, and moves what was meant as a length when the clock was set.
pub(super) fn keep_time(state: &mut State, step: &mut Step, now: Now) {
    let is_first = state.lived.seen.is_none();
    if let Some(set) = state.lived.look(now) {
        tracing::info!(seconds = set.as_secs(), "the clock was set");
        move_ends(state, step, |at| at.checked_add(set).unwrap_or(at));
    }
    if is_first {
        bring_back(state, step, now.wall);
    }
}

/// Moves the ends of pauses and waits.
fn move_ends(state: &mut State, step: &mut Step, moved: impl Fn(Timestamp) -> Timestamp) {
    let move_pause = |pause: &Pause| Pause { since: moved(pause.since), until: pause.until.map(&moved) };
    if let Some(pause) = state.paused.as_ref().filter(|pause| pause.until.is_some()).map(move_pause) {
        state.paused = Some(pause);
        state.store_daemon(step);
    }
    if state.hand_limits.iter().any(|limit| limit.until.is_some()) {
        for limit in state.hand_limits.iter_mut().filter(|limit| limit.until.is_some()) {
            (limit.since, limit.until) = (moved(limit.since), limit.until.map(&moved));
        }
        limits::store(state, step);
    }
    breakers::move_times(state, step, &moved);
    for id in state.active.keys().cloned().collect::<Vec<_>>() {
        let job = &state.active[&id];
        let pause = job.paused.as_ref().filter(|pause| pause.until.is_some()).map(move_pause);
        let not_before = job.not_before.map(&moved);
        if pause.is_some() || not_before.is_some() {
            state.change_job(step, &id, |job| {
                job.paused = pause.or(job.paused.take());
                job.not_before = not_before;
            });
        }
    }
}

/// Lets what was begun in the future begin now: the clock has been set back while the daemon was off.
fn bring_back(state: &mut State, step: &mut Step, now: Timestamp) {
    let begun = |pause: &Pause| pause.until.map(|_| pause.since);
    let of_jobs = state.active.values().filter_map(|job| {
        let waited = job.not_before.and(job.attempts.last()).map(|attempt| attempt.ended.unwrap_or(attempt.started));
        job.paused.as_ref().and_then(begun).max(waited)
    });
    let of_limits = state.hand_limits.iter().filter_map(|limit| limit.until.map(|_| limit.since));
    let of_breakers = state.breakers.values().filter_map(Breaker::open_since);
    let latest =
        state.paused.as_ref().and_then(begun).into_iter().chain(of_jobs).chain(of_limits).chain(of_breakers).max();
    if let Some(latest) = latest.filter(|latest| *latest > now) {
        let back = latest.duration_since(now);
        tracing::info!(seconds = back.as_secs(), "the clock was set back while the daemon was off");
        // What was begun before that one ends a little early by the clock as it was, and on time by this one.
        move_ends(state, step, |at| at.checked_sub(back).unwrap_or(at));
    }
}
