//! How much a restore may take before it is refused: a snapshot of a few bytes can ask for any number of them.

use super::RestoreLimits;
use crate::blob::BlobLimits;
use crate::error::{Error, Result};
use crate::id::BlobKind;
use crate::limits::DEPTH_MAX;
use crate::repository::Repository;

/// Bounds of a walk.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    entries: u64,
    bytes: u64,
    /// How many folders deep a walk goes.
    pub(super) depth: usize,
    pub(super) blobs: BlobLimits,
}

impl Bounds {
    /// Returns the limits that were asked for, and else what the repository's own size makes plausible: an entry takes
    /// a hundred bytes of a tree, and even much repeated folders and files do not repeat more than so often.
    pub(super) fn new(limits: &RestoreLimits, repository: &Repository) -> Self {
        const REPEATS: u64 = 64;
        const ENTRY_BYTES: u64 = 100;
        let index = repository.index();
        let trees = index.contents(BlobKind::Tree) / ENTRY_BYTES;
        Self {
            entries: limits.entries.unwrap_or(1_000_000 + trees.saturating_mul(REPEATS)),
            bytes: limits.bytes.unwrap_or_else(|| {
                (16_u64 << 40).saturating_add(index.contents(BlobKind::Data).saturating_mul(REPEATS))
            }),
            depth: limits.depth.unwrap_or(DEPTH_MAX),
            blobs: limits.blobs(repository),
        }
    }

    /// Counts entries, whether they are wanted or not, since looking takes time as well, and bytes of wanted files.
    pub(super) fn take(&mut self, entries: u64, bytes: u64) -> Result<()> {
        self.entries =
            self.entries.checked_sub(entries).ok_or_else(|| limit("the number of entries in the snapshot"))?;
        self.bytes = self.bytes.checked_sub(bytes).ok_or_else(|| limit("the size of the snapshot's files"))?;
        Ok(())
    }
}

fn limit(what: &str) -> Error {
    Error::Limit { what: what.to_owned(), limit: "the restore".to_owned() }
}
