//! What a backup is asked to do, and what it did.

use std::path::PathBuf;

use jiff::Timestamp;
use serde_json::Map;

use super::session::Counts;
use crate::id::{BlobId, SnapshotId};
use crate::monitor::PackRecord;
use crate::pack::Blobs;
use crate::snapshot::{Snapshot, Summary};
use crate::source::exclude::Excludes;

/// What a backup is asked to do.
#[derive(Clone, Default)]
pub struct BackupOptions {
    /// Folders and files, as absolute paths.
    pub sources: Vec<PathBuf>,
    /// What to leave out.
    pub exclude: Excludes,
    /// The same as the user wrote it, for the snapshot's record.
    pub exclude_patterns: Vec<String>,
    /// Leave out what lies in folders marked as caches by a `CACHEDIR.TAG`.
    pub exclude_caches: bool,
    /// Do not go into other file systems.
    pub one_file_system: bool,
    /// The machine.
    pub hostname: String,
    /// Who asks.
    pub username: String,
    /// Their number.
    pub uid: u32,
    /// Their group's number.
    pub gid: u32,
    /// The snapshot's tags.
    pub tags: Vec<String>,
    /// Further tags of a snapshot in which items are missing or not whole.
    pub incomplete_tags: Vec<String>,
    /// When the backup begins.
    pub time: Timestamp,
    /// The program and its version, for the snapshot's record.
    pub program_version: String,
    /// The snapshot to compare files with; `None`: the newest of the same machine and sources.
    pub parent: Option<SnapshotId>,
    /// Places that are left out wherever they are met, also through links and mounts: the caller's own.
    pub never: Vec<PathBuf>,
    /// How many threads read and seal; 0: as many as the machine runs at once.
    pub threads: usize,
    /// Packs that an interrupted attempt named before it stored them.
    pub adopt: Vec<PackRecord>,
}

impl BackupOptions {
    /// Returns the sources as a snapshot lists them.
    pub(super) fn paths(&self) -> Vec<String> {
        let mut paths: Vec<String> = self.sources.iter().map(|path| path.to_string_lossy().into_owned()).collect();
        paths.sort();
        paths.dedup();
        paths
    }

    /// Makes the snapshot of a tree.
    pub(super) fn snapshot(&self, tree: BlobId, parent: Option<SnapshotId>, summary: Summary) -> Snapshot {
        Snapshot {
            time: self.time,
            parent,
            tree,
            paths: self.paths(),
            hostname: self.hostname.clone(),
            username: self.username.clone(),
            uid: self.uid,
            gid: self.gid,
            excludes: self.exclude_patterns.clone(),
            tags: self.tags.clone(),
            original: None,
            program_version: self.program_version.clone(),
            summary: Some(summary),
            others: Map::new(),
        }
    }

    pub(super) fn thread_count(&self) -> usize {
        match self.threads {
            0 => std::thread::available_parallelism().map_or(2, usize::from),
            threads => threads,
        }
    }
}

/// What a backup did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BackupSummary {
    /// The snapshot that was written.
    pub snapshot: Option<SnapshotId>,
    /// Files in the snapshot.
    pub files: u64,
    /// Folders in the snapshot.
    pub folders: u64,
    /// Bytes of files that were looked at.
    pub bytes: u64,
    /// By how much the repository grew.
    pub bytes_stored: u64,
    /// Items that could not be stored, or not wholly.
    pub failed: u64,
    /// Files that were not in the parent.
    pub files_new: u64,
    /// Files that differ from the parent's.
    pub files_changed: u64,
    /// Files that are as in the parent.
    pub files_unmodified: u64,
    /// Folders that were not in the parent.
    pub folders_new: u64,
    /// Folders that differ from the parent's.
    pub folders_changed: u64,
    /// Folders that are as in the parent.
    pub folders_unmodified: u64,
    /// New data blobs.
    pub data_blobs: u64,
    /// New tree blobs.
    pub tree_blobs: u64,
    /// Bytes of new blobs.
    pub bytes_added: u64,
}

impl BackupSummary {
    pub(super) fn new(counts: Counts, added: Blobs) -> Self {
        Self {
            snapshot: None,
            files: counts.files_new + counts.files_changed + counts.files_unmodified,
            folders: counts.folders_new + counts.folders_changed + counts.folders_unmodified,
            bytes: counts.bytes,
            bytes_stored: added.bytes_stored,
            failed: counts.failed,
            files_new: counts.files_new,
            files_changed: counts.files_changed,
            files_unmodified: counts.files_unmodified,
            folders_new: counts.folders_new,
            folders_changed: counts.folders_changed,
            folders_unmodified: counts.folders_unmodified,
            data_blobs: added.data,
            tree_blobs: added.trees,
            bytes_added: added.bytes,
        }
    }

    /// Returns what a snapshot records of it.
    pub(super) fn to_record(&self, backup_start: Timestamp, backup_end: Timestamp) -> Summary {
        Summary {
            backup_start,
            backup_end,
            files_new: self.files_new,
            files_changed: self.files_changed,
            files_unmodified: self.files_unmodified,
            dirs_new: self.folders_new,
            dirs_changed: self.folders_changed,
            dirs_unmodified: self.folders_unmodified,
            data_blobs: self.data_blobs,
            tree_blobs: self.tree_blobs,
            data_added: self.bytes_added,
            data_added_packed: self.bytes_stored,
            total_files_processed: self.files,
            total_bytes_processed: self.bytes,
            others: Map::new(),
        }
    }
}
