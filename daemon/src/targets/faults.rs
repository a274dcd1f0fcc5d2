//! Which target a job stumbled over: the storages of a job's repositories say so while it runs.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use backup_engine::storage::{Pace, Way};
use backup_engine::{Class, Error};
use backup_proto::job::JobId;

/// The target whose storage has failed last in a way that may go away, for each job.
#[derive(Debug, Default)]
pub(super) struct Faults {
    targets: Mutex<BTreeMap<JobId, String>>,
}

impl Faults {
    /// Returns the target that has failed a job, and forgets it.
    pub(super) fn take(&self, job: &JobId) -> Option<String> {
        self.lock().remove(job)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<JobId, String>> {
        // Entries are inserted and removed whole: a panic elsewhere leaves nothing half changed.
        self.targets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The pace of a job at one target, which also listens for failures.
pub(super) struct Watched {
    pub(super) pace: Arc<dyn Pace>,
    pub(super) faults: Arc<Faults>,
    pub(super) job: JobId,
    pub(super) target: String,
}

impl Pace for Watched {
    fn step(&self, way: Way) -> Option<usize> {
        self.pace.step(way)
    }

    fn take(&self, way: Way, bytes: usize) -> Result<(), Duration> {
        self.pace.take(way, bytes)
    }

    fn charge(&self, way: Way, bytes: usize) {
        self.pace.charge(way, bytes);
    }

    fn failed(&self, error: &Error) {
        if matches!(error.class(), Class::Transient | Class::Throttled) {
            self.faults.lock().insert(self.job.clone(), self.target.clone());
        }
    }
}
