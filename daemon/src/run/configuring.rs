//! How the loop notices that somebody has edited the configuration while jobs run.

use std::sync::Arc;
use std::time::Duration;

use super::Running;
use crate::clock::Now;
use crate::inbox::Event;

/// How often to look while events come, in time that includes sleep.
const EVERY: Duration = Duration::from_secs(1);

/// How often to look at least while a job runs: a limit that was changed in the file is to count for it.
pub(super) const LOOK_WHILE_RUNNING: Duration = Duration::from_secs(5);

impl Running {
    /// Looks whether the configuration is another one. It goes ahead of the other events, which are judged by it.
    pub(super) fn look_at_config(&mut self, now: Now, batch: &mut Vec<Event>) {
        if now.boot.saturating_sub(self.config_looked) < EVERY {
            return;
        }
        self.config_looked = now.boot;
        let config = self.run.context.config();
        let known = Arc::clone(&self.run.published.borrow().state.config);
        if !Arc::ptr_eq(&config, &known) && config != known {
            batch.insert(0, Event::Configured(config));
        }
    }
}
