//! The seam to the machine: who reads how it is.

use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;

use super::readings::Readings;

/// Reads how the machine is.
pub trait Probe: Send + Sync {
    /// Reads everything anew; what cannot be read is unknown. It may take as long as a battery takes to answer.
    fn read(&self, now: Timestamp) -> Readings;
}

/// Says what it was told to say: for tests.
#[derive(Debug)]
pub struct ScriptedProbe(Mutex<Readings>);

impl ScriptedProbe {
    /// Makes one that says this.
    #[must_use]
    pub fn new(readings: Readings) -> Self {
        Self(Mutex::new(readings))
    }

    /// Changes what it says from now on.
    pub fn set(&self, readings: Readings) {
        // Replaced whole: a panic elsewhere leaves nothing half changed.
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = readings;
    }
}

impl Probe for ScriptedProbe {
    fn read(&self, _now: Timestamp) -> Readings {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
