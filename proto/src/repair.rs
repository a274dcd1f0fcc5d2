//! A repair of a target: what is asked for, and what it has done.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A repair of a target.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RepairSpec {
    /// The target; absent: `local`.
    pub target: Option<String>,
    /// Change nothing; the summary says what would be done, and the list of failed items what would be lost.
    pub dry_run: bool,
    /// Remove damaged snapshots: those in whose place there is a new one, and those of which nothing is left.
    pub forget: bool,
}

/// What a repair has done, or in a dry run would do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RepairReport {
    /// Whether it was a dry run.
    pub dry_run: bool,
    /// Locks that programs have left behind, and that were removed.
    pub locks_removed: u64,
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
    /// Packs that could not be read and were left alone.
    pub packs_left: u64,
    /// Good blobs of damaged packs, which are in new packs.
    pub blobs_saved: u64,
    /// Their bytes.
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
    /// Files and folders that are not whole, in all snapshots together; each is in the list of failed items.
    pub items_lost: u64,
}
