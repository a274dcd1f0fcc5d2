//! Pruning: making room by giving up what no snapshot needs any more.
//!
//! It has two halves, which share nothing but what is in the repository and the record of what was [`Seen`] unused:
//!
//! ```text
//! repack  shared lock     what is used? ─► which packs are worth it? ─► new packs ─► new index
//! sweep   exclusive lock  what is used now? ─► new index ─► old index files go ─► packs go
//! ```
//!
//! Repacking only adds, so it runs beside backups. Whatever it moved is in the old pack as well until a sweep finds
//! that nothing needs that one. Each half can be stopped after any call and begun anew.
//!
//! restic's locks keep restic out while something is removed. rustic takes none: a backup of its own may be under way that
//! found a blob in the index, and will name it in a snapshot that is not there yet. So a pack loses its place in the index only
//! when it was [seen](Seen) unused for [`PRUNE_GRACE_SECONDS`], and its file goes when it was seen in no index for as
//! long. If a snapshot needs something of it meanwhile, it stays, or is listed again.

mod choose;
mod repack;
mod seen;
mod survey;
mod sweep;
mod used;

pub use choose::MaxUnused;
pub use repack::{preview, repack};
pub use seen::Seen;
pub use sweep::sweep;
pub use used::Used;

use jiff::{SignedDuration, Timestamp};

use crate::error::{Error, Result};
use crate::limits::PRUNE_GRACE_SECONDS;
use crate::monitor::PackRecord;
use crate::repository::Repository;

/// What a prune is asked to do.
#[derive(Clone, Debug)]
pub struct PruneOptions {
    /// How much may stay unused in packs of which something is used.
    pub max_unused: MaxUnused,
    /// Packs of so many bytes in all are repacked at most.
    pub max_repack: Option<u64>,
    /// How long something must have been seen unused before it goes.
    pub grace: SignedDuration,
    /// The time.
    pub now: Timestamp,
    /// Packs that an earlier attempt has stored and that no index file lists.
    pub adopt: Vec<PackRecord>,
}

impl PruneOptions {
    /// Makes the usual options: restic's 5 %, no limit, a day of grace.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        let grace = SignedDuration::from_secs(PRUNE_GRACE_SECONDS);
        Self { max_unused: MaxUnused::default(), max_repack: None, grace, now, adopt: Vec::new() }
    }
}

/// What a prune has done, or in a preview would do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PruneSummary {
    /// Packs of which everything that is used was moved to new ones.
    pub packs_repacked: u64,
    /// What was moved, in bytes.
    pub bytes_repacked: u64,
    /// Packs that were removed.
    pub packs_removed: u64,
    /// By how much the repository became smaller, in bytes.
    pub bytes_freed: u64,
    /// Packs that nothing needs and that have to be seen so for longer.
    pub packs_waiting: u64,
    /// Their bytes.
    pub bytes_waiting: u64,
    /// When the first of them may take its next step.
    pub next: Option<Timestamp>,
    /// Bytes that stay unused in packs of which something is used.
    pub bytes_unused: u64,
    /// Packs that are in the index at the end.
    pub packs_kept: u64,
    /// Packs in no index that a snapshot turned out to need, and that were listed again.
    pub packs_listed_again: u64,
    /// Index files that were removed.
    pub index_files_removed: u64,
    /// Files that killed writers had left half-written.
    pub temporary_removed: u64,
}

impl PruneSummary {
    /// Counts a pack that has to wait until a time.
    fn wait(&mut self, length: u64, until: Timestamp) {
        self.packs_waiting += 1;
        self.bytes_waiting += length;
        self.next = Some(self.next.map_or(until, |next| next.min(until)));
    }
}

/// Refuses a repository from which nothing may be removed.
pub(crate) fn check_removable(repository: &Repository) -> Result<()> {
    if repository.config().append_only == Some(true) {
        return Err(Error::misuse(format!(
            "the repository at {} is append-only, by a setting of rustic's: nothing is removed from it",
            repository.location()
        )));
    }
    Ok(())
}
