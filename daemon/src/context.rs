//! What workers and queries share: where things are, the clock, the store and the configuration in force.

use std::sync::{Arc, PoisonError, RwLock};

use crate::clock::Clock;
use crate::config::Config;
use crate::store::Store;

/// What everything outside the loop may use. It holds no job: those belong to the loop.
pub struct Context {
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// What survives; for facts of workers and queries, under their own keys.
    pub store: Store,
    config: RwLock<Arc<Config>>,
}

impl Context {
    /// Puts it together.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, store: Store, config: Arc<Config>) -> Self {
        Self { clock, store, config: RwLock::new(config) }
    }

    /// Returns the configuration in force.
    #[must_use]
    pub fn config(&self) -> Arc<Config> {
        // The guarded value is replaced whole: a panic elsewhere cannot leave it half changed.
        Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces the configuration in force.
    pub fn set_config(&self, config: Arc<Config>) {
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = config;
    }
}
