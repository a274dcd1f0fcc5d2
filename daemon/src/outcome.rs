//! What a worker hands back: how an attempt ended and what it has done.

use backup_proto::error::Class;
use backup_proto::job::{
    BackupEstimate, CopyReport, FailedItem, HintsReport, JobError, PruneReport, RepairReport, VerifyReport,
};

use crate::store::Shortage;

/// What a worker hands back at the end of an attempt.
#[derive(Clone, Debug, PartialEq)]
pub struct Ended {
    /// How the attempt ended.
    pub how: How,
    /// What was done until then.
    pub totals: Totals,
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq)]
pub enum How {
    /// To its end; the job is `partial` when items failed.
    Done,
    /// Nothing usable came of it.
    Failed(JobError),
    /// Because the gate said `cancel`.
    Cancelled,
    /// Because the gate said `suspend`: it goes on with a new attempt.
    Suspended,
    /// Because the daemon's own state took nothing more: it goes on with a new attempt when there is room.
    NoRoom(Shortage),
}

/// What an attempt has done.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Totals {
    /// The snapshot that was made or restored.
    pub snapshot: Option<String>,
    /// Files done.
    pub files: u64,
    /// Backup: source bytes looked at. Restore: bytes now right in the destination.
    pub bytes: u64,
    /// By how much the repository grew.
    pub bytes_stored: u64,
    /// Items that could not be done; all of them are in the ledger.
    pub failed_count: u64,
    /// The first of them.
    pub failed: Vec<FailedItem>,
    /// What a prune has done.
    pub prune: Option<PruneReport>,
    /// What a repair has done.
    pub repair: Option<Box<RepairReport>>,
    /// What a copy has done.
    pub copy: Option<CopyReport>,
    /// What a backup made of the caller's word on what has changed.
    pub hints: Option<HintsReport>,
    /// What a dry run of a backup has found.
    pub estimate: Option<Box<BackupEstimate>>,
    /// The target whose storage has failed in a way that may go away, if that is what ended the attempt.
    pub target_failed: Option<String>,
    /// What a check looked at.
    pub verify: Option<Box<VerifyReport>>,
}

impl Ended {
    /// Makes the end of an attempt that came to nothing.
    #[must_use]
    pub fn failed(error: JobError) -> Self {
        Self { how: How::Failed(error), totals: Totals::default() }
    }

    /// Returns the class of what failed as a whole.
    #[must_use]
    pub fn class(&self) -> Option<Class> {
        match &self.how {
            How::Failed(error) => Some(error.data.class),
            _ => None,
        }
    }
}
