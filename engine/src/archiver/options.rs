//! What a backup is asked to do, and what it did.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Map;

use super::session::Counts;
use crate::id::{BlobId, SnapshotId};
use crate::limits::CHECKPOINT_BYTES;
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
    /// What is to be safe before the rest: files and folders at or below the sources, as absolute paths. As far as they
    /// hold anything new they are backed up first, into a snapshot of their own, which goes when the whole one is there.
    pub critical: Vec<PathBuf>,
    /// Further tags of that snapshot; one at least, so that it is known again.
    pub critical_tags: Vec<String>,
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
    /// Tags of a snapshot of what is stored so far, which a backup without a whole snapshot before it leaves when it is
    /// interrupted, and as it goes on; the first whole one takes its place. None: there is no such snapshot.
    pub interrupted_tags: Vec<String>,
    /// After how many more stored bytes such a snapshot is written while the backup runs; 0: as
    /// [`CHECKPOINT_BYTES`](crate::limits::CHECKPOINT_BYTES) says.
    pub checkpoint_bytes: u64,
    /// When the backup begins.
    pub time: Timestamp,
    /// The program and its version, for the snapshot's record.
    pub program_version: String,
    /// The snapshot to compare files with; `None`, or if it is gone: the newest of the same machine and sources, and a
    /// whole one rather than one that was interrupted.
    pub parent: Option<SnapshotId>,
    /// Only these paths, with all that is in them, are looked at again; what lies elsewhere is taken over from `parent`,
    /// if that has the same sources and all of it is still there. None: everything is looked at.
    pub again: Option<BTreeSet<PathBuf>>,
    /// Where records of what snapshots hold are kept, a folder of the caller's own on a fast disk; with one, what did not
    /// change since costs one look. Nothing is lost with it. None: no record is used or kept.
    pub records: Option<PathBuf>,
    /// What has changed, says the caller: nothing else is looked at. Without a record of that very snapshot that can be
    /// relied on, and now and then, everything is.
    pub changed: Option<Changed>,
    /// Further tags of a snapshot for which only those paths were looked at.
    pub hinted_tags: Vec<String>,
    /// Further tags of a snapshot of a source of which a large part has changed, as
    /// [`CHANGE_MAJOR_PERCENT`](crate::limits::CHANGE_MAJOR_PERCENT) says.
    pub major_tags: Vec<String>,
    /// Further tags of any other.
    pub minor_tags: Vec<String>,
    /// Why the backup is made, in the field in which rustic keeps a description.
    pub description: Option<String>,
    /// Places that are left out wherever they are met, also through links and mounts: the caller's own.
    pub never: Vec<PathBuf>,
    /// How many threads read and seal; 0: as many as the machine runs at once.
    pub threads: usize,
    /// How many bytes of memory all threads together take at most for what they read, seal and write; 0: what the gate's
    /// budget has left, but for the share of another job.
    pub memory: usize,
    /// How long a first backup takes before it is counted how much there is to do: a short one need not know.
    pub count_after: Duration,
    /// How many bytes the target has free, if that is known: when a first backup finds more than that, the monitor is told.
    pub room: Option<u64>,
    /// Packs that an interrupted attempt named before it stored them.
    pub adopt: Vec<PackRecord>,
}

/// The caller's word on what has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// The snapshot since which: that of the last backup of these sources that the caller knows of. One that was made
    /// meanwhile, or before, says nothing about what happened between the two.
    pub since: SnapshotId,
    /// Only what is at or below these paths has changed.
    pub paths: BTreeSet<PathBuf>,
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
            others: self.description.iter().map(|text| ("description".to_owned(), text.as_str().into())).collect(),
        }
    }

    /// Returns whether a snapshot was made by an interrupted backup.
    pub(super) fn is_interrupted(&self, snapshot: &Snapshot) -> bool {
        !self.interrupted_tags.is_empty() && self.interrupted_tags.iter().all(|tag| snapshot.tags.contains(tag))
    }

    /// Returns whether a snapshot was left by an earlier run of this very backup and by nobody else, and nobody has
    /// changed it since: then it may be removed when there is a better one.
    pub(super) fn is_leftover(&self, snapshot: &Snapshot) -> bool {
        self.is_interrupted(snapshot)
            && self.has_made(snapshot, &[&self.interrupted_tags])
            && snapshot.paths == self.paths()
    }

    /// Returns whether a snapshot is one of what is critical in this very backup, left as it was made: it may be removed
    /// when there is a whole one that has all of it.
    pub(super) fn is_of_critical(&self, snapshot: &Snapshot) -> bool {
        let is_below = |path: &String| self.sources.iter().any(|source| Path::new(path).starts_with(source));
        let tags = &self.critical_tags;
        !tags.is_empty()
            && (self.has_made(snapshot, &[tags]) || self.has_made(snapshot, &[tags, &self.incomplete_tags]))
            && snapshot.paths.iter().all(is_below)
    }

    /// Returns whether this very backup made a snapshot with these further tags, and nobody has changed it since.
    fn has_made(&self, snapshot: &Snapshot, further: &[&Vec<String>]) -> bool {
        let program = |version: &str| version.split(' ').next().map(str::to_owned);
        let tags: BTreeSet<&String> = self.tags.iter().chain(further.iter().copied().flatten()).collect();
        snapshot.tags.iter().collect::<BTreeSet<_>>() == tags
            && snapshot.original.is_none()
            && snapshot.hostname == self.hostname
            && (&snapshot.username, snapshot.uid) == (&self.username, self.uid)
            && program(&snapshot.program_version) == program(&self.program_version)
    }

    pub(super) fn checkpoint_bytes(&self) -> u64 {
        if self.checkpoint_bytes == 0 { CHECKPOINT_BYTES } else { self.checkpoint_bytes }
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
    /// Of these, bytes that were read; the other files are known to be as they were.
    pub bytes_read: u64,
    /// By how much the repository grew: packs, index and snapshot.
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
    /// New packs, which hold these compressed and sealed.
    pub packs: u64,
    /// Bytes of new packs.
    pub pack_bytes: u64,
    /// Whether only what the caller named as changed was looked at.
    pub hinted: bool,
    /// Folders that had changed although the caller did not name them, found by looking at everything.
    pub hints_missed: u64,
}

impl BackupSummary {
    pub(super) fn new(counts: Counts, added: Blobs) -> Self {
        Self {
            snapshot: None,
            files: counts.files(),
            folders: counts.folders_new + counts.folders_changed + counts.folders_unmodified,
            bytes: counts.bytes,
            bytes_read: counts.bytes.saturating_sub(counts.bytes_unchanged),
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
            packs: added.packs,
            pack_bytes: added.pack_bytes,
            hinted: false,
            hints_missed: counts.hints_missed,
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
