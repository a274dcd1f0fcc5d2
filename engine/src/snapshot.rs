//! Snapshots: who backed up what and when, and the root of its tree.

use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::id::{BlobId, SnapshotId};
use crate::repository::Repository;
use crate::storage::{FileKind, FileName};

/// A snapshot file, as restic's JSON has it. Fields that are not known are kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// When the backup began.
    pub time: Timestamp,
    /// The snapshot whose files were compared with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<SnapshotId>,
    /// The root's tree.
    pub tree: BlobId,
    /// The folders and files that were asked for.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub paths: Vec<String>,
    /// The machine.
    #[serde(default)]
    pub hostname: String,
    /// Who ran the backup.
    #[serde(default)]
    pub username: String,
    /// Their number.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub uid: u32,
    /// Their group's number.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub gid: u32,
    /// The patterns of what was left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_empty")]
    pub excludes: Vec<String>,
    /// Tags.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_empty")]
    pub tags: Vec<String>,
    /// The snapshot that this one was rewritten from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub original: Option<SnapshotId>,
    /// The program and its version.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub program_version: String,
    /// What the backup did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<Summary>,
    /// Whatever else there is.
    #[serde(flatten)]
    pub others: Map<String, Value>,
}

/// What a backup did, as newer versions of restic record it. Fields that are not known are kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// When it began.
    pub backup_start: Timestamp,
    /// When it ended.
    pub backup_end: Timestamp,
    /// Files that were not in the parent.
    #[serde(default)]
    pub files_new: u64,
    /// Files that differ from the parent's.
    #[serde(default)]
    pub files_changed: u64,
    /// Files that are as in the parent.
    #[serde(default)]
    pub files_unmodified: u64,
    /// Folders that were not in the parent.
    #[serde(default)]
    pub dirs_new: u64,
    /// Folders that differ from the parent's.
    #[serde(default)]
    pub dirs_changed: u64,
    /// Folders that are as in the parent.
    #[serde(default)]
    pub dirs_unmodified: u64,
    /// New data blobs.
    #[serde(default)]
    pub data_blobs: u64,
    /// New tree blobs.
    #[serde(default)]
    pub tree_blobs: u64,
    /// Bytes of new blobs.
    #[serde(default)]
    pub data_added: u64,
    /// Bytes of new blobs as they are stored.
    #[serde(default)]
    pub data_added_packed: u64,
    /// Files in all.
    #[serde(default)]
    pub total_files_processed: u64,
    /// Bytes in all.
    #[serde(default)]
    pub total_bytes_processed: u64,
    /// Whatever else there is.
    #[serde(flatten)]
    pub others: Map<String, Value>,
}

impl Snapshot {
    /// Decodes a snapshot file; total over all bytes.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(bytes).map_err(|error| error.to_string())
    }

    /// Returns the id that stays the same when another program rewrites the snapshot.
    #[must_use]
    pub fn lineage(&self, id: SnapshotId) -> SnapshotId {
        self.original.unwrap_or(id)
    }
}

/// Which snapshot is meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SnapshotQuery {
    /// `latest`, or the beginning of an id.
    pub text: String,
    /// Only snapshots of this machine.
    pub host: Option<String>,
    /// Only snapshots with this among their paths.
    pub path: Option<PathBuf>,
    /// Only snapshots with this tag.
    pub tag: Option<String>,
    /// `latest` is one with any of these tags only if there is no other.
    pub rather_not: Vec<String>,
}

impl SnapshotQuery {
    /// Returns whether a snapshot fits the filters.
    #[must_use]
    pub fn fits(&self, snapshot: &Snapshot) -> bool {
        self.host.as_ref().is_none_or(|host| snapshot.hostname == *host)
            && self.tag.as_ref().is_none_or(|tag| snapshot.tags.contains(tag))
            && self
                .path
                .as_ref()
                .is_none_or(|path| snapshot.paths.iter().any(|other| path.as_os_str() == other.as_str()))
    }
}

/// What a listing of the snapshots found.
#[derive(Debug, Default)]
pub struct SnapshotList {
    /// The snapshots, oldest first.
    pub list: Vec<(SnapshotId, Snapshot)>,
    /// Those that could not be read, and why.
    pub damaged: Vec<(SnapshotId, Error)>,
}

impl Repository {
    /// Returns all snapshots, and which could not be read.
    ///
    /// # Errors
    /// The storage's own, when listing.
    pub fn snapshots(&self) -> Result<SnapshotList> {
        let mut found = SnapshotList::default();
        for (name, _) in self.storage().list(FileKind::Snapshot)? {
            let id = SnapshotId(name.id);
            match self.read_json(&name) {
                Ok(snapshot) => found.list.push((id, snapshot)),
                // Another program has just removed it.
                Err(Error::NotFound { .. }) => {}
                Err(error) => found.damaged.push((id, error)),
            }
        }
        found.list.sort_by_key(|(id, snapshot)| (snapshot.time, *id));
        Ok(found)
    }

    /// Returns the snapshot that is meant.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Misuse`] if more than one is meant; [`Error::Damaged`] if it cannot be read.
    pub fn find_snapshot(&self, query: &SnapshotQuery) -> Result<(SnapshotId, Snapshot)> {
        let wanted = query.text.to_ascii_lowercase();
        let latest = wanted == "latest";
        // Who knows the whole id looks many times; the other snapshots need not be read for it.
        if let Ok(id) = wanted.parse::<SnapshotId>() {
            return match self.read_json(&FileName::new(FileKind::Snapshot, id.0)) {
                Err(Error::NotFound { .. }) => Err(Error::NotFound { what: format!("snapshot `{}`", query.text) }),
                read => Ok((id, read?)),
            };
        }
        let found = self.snapshots()?;
        let fits = |id: &SnapshotId| latest || (!wanted.is_empty() && id.to_string().starts_with(&wanted));
        let mut fitting: Vec<_> =
            found.list.into_iter().filter(|(id, snapshot)| fits(id) && (!latest || query.fits(snapshot))).collect();
        if let Some((_, error)) = found.damaged.into_iter().find(|(id, _)| !latest && fits(id)) {
            return Err(error);
        }
        if fitting.len() > 1 && !latest {
            return Err(Error::misuse(format!(
                "`{}` is the beginning of {} snapshots' ids",
                query.text,
                fitting.len()
            )));
        }
        let is_first_choice = |snapshot: &Snapshot| !query.rather_not.iter().any(|tag| snapshot.tags.contains(tag));
        if latest && let Some(at) = fitting.iter().rposition(|(_, snapshot)| is_first_choice(snapshot)) {
            return Ok(fitting.swap_remove(at));
        }
        fitting.pop().ok_or_else(|| Error::NotFound { what: format!("snapshot `{}`", query.text) })
    }
}

fn is_zero(value: &u32) -> bool {
    *value == 0
}

fn null_is_empty<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
