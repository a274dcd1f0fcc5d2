//! What is said of a snapshot beside what it holds: why it was made, how much it holds, until when somebody needs it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::params::{RequestId, params};
use crate::spec::SnapshotQuery;

/// Who wanted a snapshot, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Note {
    /// Why, in their words.
    pub reason: String,
    /// The user who asked for it; absent where only the reason is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The same as a number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// The job that made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
}

params! {
    /// Keeps a snapshot from being forgotten until a day is over, or lets it go again. It gets another id.
    SnapshotHold {
        /// The name of this change.
        request_id: RequestId,
        /// The snapshot.
        query: SnapshotQuery,
        ?
        /// Until when: a day, a time, or `forever`; absent: it is held no more.
        until: Option<String>,
    }
    /// Asks how much snapshots hold and take.
    SnapshotStats {
        ?
        /// Only in this target.
        target: Option<String>,
        /// Only these: beginnings of ids, or `latest`; empty: all.
        snapshots: Vec<String>,
        /// Only those made on this host.
        host: Option<String>,
    }
}

/// How much snapshots hold and take, by target.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Stats {
    /// Each target that has some of them.
    pub targets: Vec<TargetStats>,
}

/// How much snapshots of one target hold and take.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct TargetStats {
    /// The target.
    pub target: String,
    /// Snapshots that were counted.
    pub snapshots: u64,
    /// Files, folders and other entries in all of them.
    pub entries: u64,
    /// Files among them.
    pub files: u64,
    /// Bytes that a restore of all of them would write.
    pub restore_bytes: u64,
    /// Files that differ from each other in their contents.
    pub distinct_files: u64,
    /// Bytes of those.
    pub distinct_bytes: u64,
    /// Blobs that they need.
    pub blobs: u64,
    /// Bytes of those blobs, before compression.
    pub contents_bytes: u64,
    /// Bytes of those blobs as they are stored.
    pub stored_bytes: u64,
    /// How many bytes of contents are in one that is stored.
    pub compression_ratio: f64,
    /// How many bytes of a restore are in one of contents that is kept.
    pub dedup_ratio: f64,
}
