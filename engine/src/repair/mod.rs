//! Repairing: what can be saved of a damaged repository is saved, and what is lost is named.
//!
//! ```text
//! examine  shared lock     read every pack: what is whole, what is as listed, which blobs are good?
//! mend     exclusive lock  good blobs of damaged packs ─► new packs ─► new index ─► new snapshots
//!                          ─► old index files go ─► damaged packs go ─► (if wanted) damaged snapshots go
//! ```
//!
//! All that replaces something is written and synced before anything is removed, so it can be stopped after any call and
//! begun anew. A pack of which it cannot be told what is in it stays, and so does one that the storage fails to read: that
//! may be better tomorrow. [`preview`] says the same as [`mend`] and changes nothing.

mod examine;
mod known;
mod mend;
mod plan;
mod rewrite;
mod snapshots;

pub use examine::{Examined, examine};
pub use mend::{mend, preview};

/// Marks a snapshot that was made from a damaged one.
pub const REPAIRED_TAG: &str = "backupd:repaired";

/// What a repair is asked to do.
#[derive(Clone, Debug, Default)]
pub struct RepairOptions {
    /// Remove damaged snapshots when there are new ones in their place, and those of which nothing is left.
    pub forget: bool,
    /// A further tag for new snapshots that lack something.
    pub incomplete_tag: Option<String>,
}

/// What a repair has done, or in a preview would do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RepairSummary {
    /// Index files that could not be read.
    pub index_files_damaged: u64,
    /// Index files that were replaced, those included.
    pub index_files_replaced: u64,
    /// Packs that are there, of which the index said nothing or something wrong.
    pub packs_listed_again: u64,
    /// Packs that were listed and are not there.
    pub packs_missing: u64,
    /// Packs with wrong bytes, which were removed.
    pub packs_damaged: u64,
    /// Packs that cannot be read and were left alone.
    pub packs_left: u64,
    /// Good blobs of damaged packs, which are in new ones.
    pub blobs_saved: u64,
    /// Their sealed bytes.
    pub bytes_saved: u64,
    /// Blobs that are nowhere any more.
    pub blobs_lost: u64,
    /// Snapshots that were made from damaged ones.
    pub snapshots_repaired: u64,
    /// Damaged snapshots of which nothing is left.
    pub snapshots_lost: u64,
    /// Damaged snapshots that were removed.
    pub snapshots_removed: u64,
    /// Damaged snapshots that are still there.
    pub snapshots_left: u64,
    /// Files and folders that are not whole, in all snapshots together.
    pub items_lost: u64,
}
