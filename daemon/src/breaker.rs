//! The breaker of a target: one that keeps failing is left alone for a while, then asked once whether it is back.
//!
//! ```text
//!            failures                      its time is over, a job waits
//!  closed ─────────────► open ───────────────────────────────────────► half-open
//!    ▲ ▲                  │ ▲                                            │   │
//!    │ └── a job succeeds ┘ └───────────── the question fails ───────────┘   │
//!    └──────────────────────────────────── it is answered ───────────────────┘
//! ```
//! Only what may go away by itself is counted here: errors of the classes transient and throttled that came from the
//! target's storage. A target that is there and fails is under strain from then on until a job has succeeded: when it
//! answers again it is spared for a while, and bytes go slowly. Everything here is a function of what was before and of the time it is given.

mod view;

use std::time::Duration;

use backup_proto::target::{BreakerChange, BreakerState};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Failures count together when no more time than this is between the first and the last of them.
const WINDOW: Duration = Duration::from_secs(3600);

/// So many failures open it, if they are half of all that ended meanwhile.
const FAILURES: usize = 3;

/// Ends of attempts that are remembered for that.
const RECENT_MAX: usize = 20;

/// How long it is open for the first time; each time in a row it is twice as long.
const OPEN_FIRST: Duration = Duration::from_secs(60);

/// The longest time it is open, unless the target itself asks for more. As long as the longest wait of a job.
const OPEN_MAX: Duration = Duration::from_secs(3600);

/// The longest time that a target may ask for.
const ASKED_MAX: Duration = Duration::from_secs(24 * 3600);

/// How long a target is spared that answers again after it has failed: only what is urgent uses it.
const SPARED: Duration = Duration::from_secs(5 * 60);

/// Changes that are remembered.
const HISTORY_MAX: usize = 20;

/// The longest reason that is kept, in bytes.
const REASON_MAX: usize = 512;

/// The breaker of one target.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Breaker {
    phase: Phase,
    /// What somebody has told it to be.
    forced: Option<Forced>,
    /// How the latest attempts ended, oldest first.
    recent: Vec<Outcome>,
    /// How often it was opened since a job succeeded.
    times: u32,
    /// It was there and failed, and no job has succeeded since.
    strain: Option<Strain>,
    /// The latest changes, oldest first.
    history: Vec<BreakerChange>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Phase {
    /// Jobs use the target.
    #[default]
    Closed,
    /// Nobody does.
    Open { since: Timestamp, until: Timestamp, reason: String },
    /// One question is on its way.
    HalfOpen { since: Timestamp, reason: String },
}

/// What somebody has told a breaker to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Forced {
    /// Leave the target alone.
    Open,
    /// Use it however often it fails.
    Closed,
}

/// What is known of a target that is there and fails.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Strain {
    /// How often it was left alone for that.
    times: u32,
    /// Until when it is spared, once it has answered.
    spared_until: Option<Timestamp>,
    /// How it failed last.
    reason: String,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Outcome {
    at: Timestamp,
    failed: bool,
}

/// A failure that may go away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What happened, as a sentence without its full stop.
    pub reason: String,
    /// Whether it is not there, as a drive that is not connected: that says nothing about how well it works.
    pub absent: bool,
    /// For how long the target has asked to be left alone.
    pub retry_after: Option<Duration>,
}

/// Why a target is not used now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Closure<'b> {
    /// It is left alone until this time.
    Open(Timestamp, &'b str),
    /// It is being asked whether it is back.
    Asked(&'b str),
    /// Somebody wants it so.
    Forced,
}

impl Breaker {
    /// Says why the target is not to be used, if it is not.
    #[must_use]
    pub fn closure(&self) -> Option<Closure<'_>> {
        match (self.forced, &self.phase) {
            (Some(Forced::Open), _) => Some(Closure::Forced),
            (Some(Forced::Closed), _) | (None, Phase::Closed) => None,
            (None, Phase::Open { until, reason, .. }) => Some(Closure::Open(*until, reason)),
            (None, Phase::HalfOpen { reason, .. }) => Some(Closure::Asked(reason)),
        }
    }

    /// Returns until when only what is urgent is to use the target, and how it has failed.
    #[must_use]
    pub fn spared(&self) -> Option<(Timestamp, &str)> {
        let strain = self.strain.as_ref().filter(|_| self.forced.is_none())?;
        Some((strain.spared_until?, &strain.reason))
    }

    /// Returns how often the rate of the target is to be halved; 0 when it works.
    #[must_use]
    pub fn cuts(&self) -> u32 {
        self.strain.as_ref().map_or(0, |strain| strain.times)
    }

    /// Takes note that a job has used the target and it worked: it is closed, and all that was before is over.
    pub fn succeeded(&mut self, now: Timestamp) {
        (self.times, self.strain) = (0, None);
        self.close(now, "a job succeeded");
        if !self.recent.is_empty() {
            self.note(now, false);
        }
    }

    /// Takes note of an attempt that the target has failed.
    pub fn failed(&mut self, failure: &Failure, now: Timestamp) {
        self.note(now, true);
        // What began before it was opened says nothing new.
        if self.phase == Phase::Closed && (self.fails_too_often() || self.times > 0 || failure.retry_after.is_some()) {
            self.open(failure, now);
        }
    }

    /// Begins the one question, if it is time for that. Whoever gets `true` asks, and says [`answered`](Self::answered).
    pub fn begin_question(&mut self, now: Timestamp) -> bool {
        let Phase::Open { until, reason, .. } = &self.phase else { return false };
        if *until > now || self.forced.is_some() {
            return false;
        }
        let reason = reason.clone();
        self.phase = Phase::HalfOpen { since: now, reason: reason.clone() };
        self.remember(now, BreakerState::HalfOpen, reason);
        true
    }

    /// Takes note of what came of the question: `None` when the target has answered, whatever it said.
    pub fn answered(&mut self, failure: Option<&Failure>, now: Timestamp) {
        if !matches!(self.phase, Phase::HalfOpen { .. }) {
            return;
        }
        match failure {
            Some(failure) => self.open(failure, now),
            // The next failure opens it again at once, and for longer: to answer is less than to work.
            None => {
                self.close(now, "it answered");
                if let Some(strain) = &mut self.strain {
                    strain.spared_until = now.checked_add(SPARED).ok();
                }
            }
        }
    }

    /// Takes note of a restart: a question that was on its way is asked again.
    pub fn restarted(&mut self, now: Timestamp) {
        if let Phase::HalfOpen { since, reason } = &self.phase {
            self.phase = Phase::Open { since: *since, until: now, reason: reason.clone() };
        }
    }

    /// Makes it what somebody wants; `None` makes it new.
    pub fn force(&mut self, forced: Option<Forced>, now: Timestamp) {
        (self.phase, self.times, self.strain) = (Phase::Closed, 0, None);
        self.recent.clear();
        self.forced = forced;
        let (state, word) = match forced {
            Some(Forced::Open) => (BreakerState::Open, "left alone by hand"),
            Some(Forced::Closed) => (BreakerState::Closed, "used by hand, however often it fails"),
            None => (BreakerState::Closed, "reset by hand"),
        };
        self.remember(now, state, word.to_owned());
    }

    /// Moves its times when the clock was set.
    pub fn move_times(&mut self, moved: impl Fn(Timestamp) -> Timestamp) {
        match &mut self.phase {
            Phase::Closed => {}
            Phase::Open { since, until, .. } => (*since, *until) = (moved(*since), moved(*until)),
            Phase::HalfOpen { since, .. } => *since = moved(*since),
        }
        if let Some(strain) = &mut self.strain {
            strain.spared_until = strain.spared_until.map(&moved);
        }
        for outcome in &mut self.recent {
            outcome.at = moved(outcome.at);
        }
    }

    /// Returns when it was opened, if that is to end by itself.
    #[must_use]
    pub fn open_since(&self) -> Option<Timestamp> {
        match self.phase {
            Phase::Open { since, .. } => Some(since),
            _ => None,
        }
    }

    fn fails_too_often(&self) -> bool {
        let failures = self.recent.iter().filter(|outcome| outcome.failed).count();
        failures >= FAILURES && failures * 2 >= self.recent.len()
    }

    fn note(&mut self, now: Timestamp, failed: bool) {
        // What is in the future was noted under another clock.
        let is_recent = |outcome: &Outcome| {
            let age = Duration::try_from(now.duration_since(outcome.at));
            age.is_ok_and(|age| age <= WINDOW)
        };
        self.recent.retain(is_recent);
        self.recent.push(Outcome { at: now, failed });
        if self.recent.len() > RECENT_MAX {
            self.recent.remove(0);
        }
    }

    fn open(&mut self, failure: &Failure, now: Timestamp) {
        let asked = failure.retry_after.unwrap_or_default().min(ASKED_MAX);
        let grown = OPEN_FIRST.saturating_mul(2_u32.saturating_pow(self.times.min(16))).min(OPEN_MAX);
        self.times = self.times.saturating_add(1);
        let reason = cut(&failure.reason);
        if !failure.absent {
            let times = self.cuts().saturating_add(1);
            self.strain = Some(Strain { times, spared_until: None, reason: reason.clone() });
        }
        let until = now.checked_add(grown.max(asked)).unwrap_or(now);
        self.phase = Phase::Open { since: now, until, reason: reason.clone() };
        self.remember(now, BreakerState::Open, reason);
    }

    fn close(&mut self, now: Timestamp, why: &str) {
        if self.phase != Phase::Closed {
            self.phase = Phase::Closed;
            self.recent.clear();
            self.remember(now, BreakerState::Closed, why.to_owned());
        }
    }

    fn remember(&mut self, at: Timestamp, state: BreakerState, reason: String) {
        self.history.push(BreakerChange { at, state, reason });
        if self.history.len() > HISTORY_MAX {
            self.history.remove(0);
        }
    }
}

fn cut(reason: &str) -> String {
    reason[..reason.floor_char_boundary(REASON_MAX)].to_owned()
}

#[cfg(test)]
mod tests;
