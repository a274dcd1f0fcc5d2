//! A check of a target: what is asked for, and what it found.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::spec::SnapshotQuery;

/// A check of a target, or of one snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct VerifySpec {
    /// The target; absent: `local`, or with a snapshot wherever that is.
    pub target: Option<String>,
    /// Read and check all data, not only the structure.
    pub read_data: bool,
    /// Read only a part of the data, with `read_data`; what was read longest ago comes first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_part: Option<ReadPart>,
    /// Check this snapshot alone, and read all that it names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<SnapshotQuery>,
    /// Compare that snapshot with the files it was made of.
    #[serde(skip_serializing_if = "is_false")]
    pub source: bool,
}

/// How much of the data is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReadPart {
    /// So many hundredths of a percent of all bytes.
    PercentHundredths(u32),
    /// So many bytes.
    Bytes(u64),
    /// As much as it takes to have read everything within this time, if checks go on in the rhythm they have.
    WithinSeconds(u64),
    /// One of so many groups that the packs fall into by their ids, as restic's `n/t`.
    Group {
        /// Which group, from 1 on.
        number: u8,
        /// How many groups there are.
        of: u8,
    },
}

/// How much of a target's data was ever read and found to be right, and how long ago.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Coverage {
    /// Packs that there are.
    pub packs: u64,
    /// Those that were never read.
    pub packs_never: u64,
    /// Their bytes.
    pub bytes_never: u64,
    /// When that pack was read which was read longest ago: since then all was read. `null` while there is one that was
    /// never read.
    pub whole_since: Option<Timestamp>,
}

/// What a check looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct VerifyReport {
    /// Snapshots.
    pub snapshots: u64,
    /// Packs that there are, or that the snapshot needs.
    pub packs: u64,
    /// Those of them of which data was read.
    pub packs_read: u64,
    /// How much of them was read.
    pub bytes_read: u64,
    /// How much of the target was ever read; absent for one snapshot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub coverage: Option<Coverage>,
    /// What a comparison with the files found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<SourceReport>,
}

/// How a snapshot compares with the files it was made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct SourceReport {
    /// Files whose contents are the same.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Entries that were changed since.
    pub changed: u64,
    /// Entries that only the snapshot has; a folder counts once with all in it.
    pub missing: u64,
    /// Entries that only the disk has; a folder counts once with all in it.
    pub extra: u64,
    /// Files with other contents although size and time of modification are the same.
    pub rotten: u64,
}

fn is_false(value: &bool) -> bool {
    !*value
}
