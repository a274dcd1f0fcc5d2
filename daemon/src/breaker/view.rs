//! A breaker as clients see it.

use backup_proto::target::{Breaker as View, BreakerState};

use super::{Breaker, Forced, Phase};

impl Breaker {
    /// Returns it as clients see it.
    #[must_use]
    pub fn view(&self) -> View {
        let (state, since, next_try, reason) = match (self.forced, &self.phase) {
            (Some(Forced::Open), _) => (BreakerState::Open, None, None, None),
            (Some(Forced::Closed), _) | (None, Phase::Closed) => (BreakerState::Closed, None, None, None),
            (None, Phase::Open { since, until, reason }) => {
                (BreakerState::Open, Some(*since), Some(*until), Some(reason.clone()))
            }
            (None, Phase::HalfOpen { since, reason }) => {
                (BreakerState::HalfOpen, Some(*since), None, Some(reason.clone()))
            }
        };
        let failures = self.recent.iter().filter(|outcome| outcome.failed).count() as u64;
        let (by_hand, degraded, history) = (self.forced.is_some(), self.strain.is_some(), self.history.clone());
        View { state, next_try, reason, since, by_hand, degraded, failures, history }
    }
}
