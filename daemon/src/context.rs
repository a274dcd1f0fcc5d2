//! What workers and queries share: the clock, the targets, the ledger and the configuration in force.

use std::sync::Arc;

use backup_engine::Gate;
use backup_engine::memory::Budget;

use crate::clock::Clock;
use crate::commands::Commands;
use crate::conditions::Probe;
use crate::config::{Config, ConfigFile};
use crate::ledger::Ledger;
use crate::query::Looks;
use crate::targets::Targets;

/// What everything outside the loop may use. It holds no job: those belong to the loop.
pub struct Context {
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The targets, and the config that says which there are.
    pub targets: Targets,
    /// The lists of failed and planned items.
    pub ledger: Ledger,
    /// What plans have run around their backups.
    pub commands: Commands,
    /// What was looked into last.
    pub looks: Looks,
    /// The memory that all jobs share.
    memory: Arc<Budget>,
    /// What reads how the machine is.
    pub probe: Arc<dyn Probe>,
}

impl Context {
    /// Puts it together.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, targets: Targets, ledger: Ledger, probe: Arc<dyn Probe>) -> Self {
        let looks = Looks::new(Arc::clone(&clock));
        let memory = Budget::new(targets.config().last_good().jobs.memory);
        let commands = Commands::new(targets.state());
        Self { clock, targets, ledger, commands, looks, memory, probe }
    }

    /// Makes the gate of a job that begins, with its part in the memory for all jobs.
    #[must_use]
    pub fn gate(&self) -> Gate {
        Gate::of_job(self.memory.job())
    }

    /// Makes the memory for all jobs as large as the configuration has it now. Reads the file if it has changed.
    pub fn size_memory(&self) {
        self.memory.set(self.config().jobs.memory);
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
