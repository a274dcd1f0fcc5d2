//! What a restore is asked to do, and what it did.

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::blob::BlobLimits;
use crate::id::SnapshotId;
use crate::repository::Repository;

/// What happens to an entry that is there already and differs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overwrite {
    /// It is kept and listed.
    #[default]
    Never,
    /// It is replaced if it was changed before the one in the snapshot was.
    Older,
    /// It is replaced.
    Always,
}

/// Bounds that keep a hostile repository from filling the machine; each can be raised by whoever trusts the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct RestoreLimits {
    /// Most entries; `None`: what the repository's own size makes plausible.
    pub entries: Option<u64>,
    /// Most bytes of files; `None`: what the repository's own size makes plausible.
    pub bytes: Option<u64>,
    /// Deepest nesting of folders; `None`: [`DEPTH_MAX`](crate::limits::DEPTH_MAX).
    pub depth: Option<usize>,
    /// Most entries of one folder; `None`: [`FOLDER_ENTRIES_MAX`](crate::limits::FOLDER_ENTRIES_MAX).
    pub folder_entries: Option<usize>,
    /// Most bytes of a blob; `None`: [`DATA_BLOB_MAX`](crate::limits::DATA_BLOB_MAX) or what the repository's config
    /// says for files, [`BLOB_MAX`](crate::limits::BLOB_MAX) for folders.
    pub blob_bytes: Option<u64>,
}

impl RestoreLimits {
    pub(super) fn blobs(&self, repository: &Repository) -> BlobLimits {
        let built_in = repository.blob_limits();
        BlobLimits {
            data: self.blob_bytes.unwrap_or(built_in.data),
            tree: self.blob_bytes.unwrap_or(built_in.tree),
            folder_entries: self.folder_entries.unwrap_or(built_in.folder_entries),
        }
    }
}

/// What a restore is asked to do.
#[derive(Clone, Debug)]
pub struct RestoreOptions {
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// A folder in the snapshot, whose contents go into the destination, or a file; `None`: all of it.
    pub path: Option<Vec<u8>>,
    /// One entry and all that is in it, at its own place below the destination; patterns choose among that. `None`: all.
    pub only: Option<Vec<u8>>,
    /// Where to; made if it is not there.
    pub destination: PathBuf,
    /// Only what matches one of these patterns; none: everything.
    pub include: Vec<String>,
    /// What matches one of these patterns is left out.
    pub exclude: Vec<String>,
    /// Only these places in the destination, with all that is in them; none: all.
    pub again: BTreeSet<PathBuf>,
    /// What happens to entries that are there already.
    pub overwrite: Overwrite,
    /// Keep a replaced file beside the new one.
    pub keep_replaced: bool,
    /// Remove entries that are not in the snapshot.
    pub delete: bool,
    /// Change nothing, say what would be done.
    pub dry_run: bool,
    /// This is a further attempt of the same restore: folders that are there may be its own.
    pub resumed: bool,
    /// How many threads open and write; 0: as many as the machine runs at once.
    pub threads: usize,
    /// Bounds.
    pub limits: RestoreLimits,
}

impl RestoreOptions {
    /// Asks for all of a snapshot.
    #[must_use]
    pub fn new(snapshot: SnapshotId, destination: PathBuf) -> Self {
        Self {
            snapshot,
            path: None,
            only: None,
            destination,
            include: Vec::new(),
            exclude: Vec::new(),
            again: BTreeSet::new(),
            overwrite: Overwrite::Never,
            keep_replaced: false,
            delete: false,
            dry_run: false,
            resumed: false,
            threads: 0,
            limits: RestoreLimits::default(),
        }
    }

    pub(super) fn thread_count(&self) -> usize {
        match self.threads {
            0 => std::thread::available_parallelism().map_or(2, usize::from),
            threads => threads,
        }
    }
}

/// What a restore did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RestoreSummary {
    /// Files that are now right in the destination.
    pub files: u64,
    /// Folders that are there.
    pub folders: u64,
    /// Links, pipes and devices that are there.
    pub others: u64,
    /// Bytes of files that are now right in the destination.
    pub bytes: u64,
    /// The part of `bytes` that was there already.
    pub bytes_unchanged: u64,
    /// Items that could not be restored, and entries that were kept.
    pub failed: u64,
    /// Entries that were there, differ, and were kept.
    pub kept: u64,
    /// Entries that were removed.
    pub deleted: u64,
}
