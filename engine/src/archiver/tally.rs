//! What one thread has done since it last said so: many small steps become one change of what all threads share.

use super::session::Counts;
use super::worker::Worker;
use crate::error::Result;
use crate::limits::{FILES_A_STEP, READ_STEP};
use crate::monitor::Progress;

/// What one thread has done since it last said so.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) counts: Counts,
    pub(super) progress: Progress,
}

impl Tally {
    /// Returns whether it is time to say it before so many more bytes are read.
    fn is_due(&self, step: usize) -> bool {
        let Progress { bytes, files, folders, .. } = self.progress;
        bytes - self.progress.bytes_unchanged + step as u64 > READ_STEP as u64 || files + folders >= FILES_A_STEP
    }
}

impl Worker<'_, '_> {
    /// Passes the gate before so many bytes are read, and says now and then what was done.
    pub(super) fn step(&mut self, bytes: usize) -> Result<()> {
        if self.tally.is_due(bytes) {
            self.say();
        }
        self.session.check()
    }

    /// Says what this thread has done since the last time.
    pub(super) fn say(&mut self) {
        let Tally { counts, progress } = std::mem::take(&mut self.tally);
        self.session.count(|all| all.add(&counts));
        if progress != Progress::default() {
            self.session.monitor.progress(&progress);
        }
    }
}
