//! What workers and queries share: the clock, the store, the targets and the configuration in force.

use std::sync::Arc;

use crate::clock::Clock;
use crate::config::{Config, ConfigFile};
use crate::store::Store;
use crate::targets::Targets;

/// What everything outside the loop may use. It holds no job: those belong to the loop.
pub struct Context {
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// What survives; for facts of workers and queries, under their own keys.
    pub store: Store,
    /// The targets, and the config that says which there are.
    pub targets: Targets,
}

impl Context {
    /// Puts it together.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, store: Store, targets: Targets) -> Self {
        Self { clock, store, targets }
    }

    /// Returns the configuration in force: the file as it is now, or, while somebody's edit of it is wrong, as it
    /// last was right.
    #[must_use]
    pub fn config(&self) -> Arc<Config> {
        self.config_file().last_good()
    }

    /// Returns the configuration file.
    #[must_use]
    pub fn config_file(&self) -> &ConfigFile {
        self.targets.config()
    }
}
