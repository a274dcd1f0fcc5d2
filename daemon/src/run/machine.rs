//! How the loop learns how the machine is: it looks before it decides, but not more often than every few seconds.
//!
//! Nobody looks while nothing is to be decided. What the loop waits for is in `patience`.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::{JoinHandle, spawn_blocking};

use super::Running;
use crate::clock::Now;
use crate::conditions::{Kind, MACHINE_EVERY, Readings, policy};
use crate::inbox::Event;
use crate::supervisor::{State, Wish};

/// Says whether something goes on, or waits, that depends on how the machine is.
pub(super) fn matters(state: &State) -> bool {
    // What waits for its window waits for the clock, for hours.
    let by_machine = |condition: &String| condition != Kind::Window.as_str();
    state.live.values().any(|live| live.wish == Wish::Run)
        || state.verdicts.values().any(|verdict| verdict.condition.as_ref().is_some_and(by_machine))
}

/// How long the loop waits for a look at the machine. One that takes longer goes on by itself, and what it finds counts
/// when it has ended.
const LOOK_MAX: Duration = Duration::from_secs(1);

/// When the machine was looked at.
#[derive(Debug, Default)]
pub(super) struct Looks {
    /// The last time, in boot time.
    last: Option<Duration>,
    /// A look that takes long.
    pending: Option<JoinHandle<Readings>>,
}

impl Running {
    /// Looks at the machine, on a thread that may wait for it. What is new goes ahead of the other events, which are
    /// judged by it.
    pub(super) async fn look_at_machine(&mut self, now: Now, batch: &mut Vec<Event>) {
        let is_at_it = self.machine.pending.as_ref().is_some_and(|look| !look.is_finished());
        if is_at_it || self.machine.last.is_some_and(|last| now.boot.saturating_sub(last) < MACHINE_EVERY) {
            return;
        }
        self.machine.last = Some(now.boot);
        let probe = Arc::clone(&self.run.context.probe);
        let mut look = self.machine.pending.take().unwrap_or_else(|| spawn_blocking(move || probe.read(now.wall)));
        let Ok(found) = tokio::time::timeout(LOOK_MAX, &mut look).await else {
            tracing::warn!("a look at the machine takes long; what was known of it stays until then");
            self.machine.pending = Some(look);
            return;
        };
        let Ok(readings) = found else {
            tracing::error!("a look at the machine has failed; what was known of it stays");
            return;
        };
        let state = Arc::clone(&self.run.published.borrow().state);
        if state.seen.is_news(&readings, policy::uses_load(&state.config)) {
            batch.insert(0, Event::Readings(Box::new(readings)));
        }
    }
}
