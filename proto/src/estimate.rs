//! What a backup would do and need, as a dry run of it has found.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a backup would do, and whether there is room for it. By how much the repository would grow in all is the
/// summary's `bytes_stored`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct BackupEstimate {
    /// Files that are not in the snapshot before.
    pub files_new: u64,
    /// Files that differ from that one's.
    pub files_changed: u64,
    /// Files that are as in that one.
    pub files_unmodified: u64,
    /// Bytes that have to be read; the others are known to be as they were.
    pub bytes_read: u64,
    /// Bytes that are not in the repository yet, before they are compressed: files and folders.
    pub bytes_added: u64,
    /// New packs, which hold these.
    pub packs: u64,
    /// Their bytes: compressed and sealed.
    pub packs_bytes: u64,
    /// Bytes that should stay free beside what is stored.
    pub margin_bytes: u64,
    /// Bytes that are free at the target; `null`: nobody knows.
    pub free_bytes: Option<u64>,
    /// Whether there is room for what is stored and for the margin; `null`: nobody knows.
    pub fits: Option<bool>,
    /// Whether the target has a repository. If not, the numbers are those of a new one.
    pub target_exists: bool,
}
