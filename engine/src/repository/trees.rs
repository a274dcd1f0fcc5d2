//! Reading trees and pieces of files; those that were read last may be kept.

use std::sync::Arc;

use super::Repository;
use crate::blob::{BlobLimits, Opener};
use crate::error::{Error, Result};
use crate::id::{BlobHandle, BlobId, BlobKind, SnapshotId};
use crate::memory::{Held, Memory};
use crate::snapshot::Snapshot;
use crate::storage::{FileKind, FileName};
use crate::tree::{Tree, TreeError};

/// How much larger a folder is in memory, and all it takes to read it, than its tree as it is sealed and opened.
pub(crate) const FOLDER_GROWTH: usize = 4;

impl Repository {
    /// Reads the bytes of a folder's tree, if they are there.
    pub(crate) fn read_tree_bytes(&self, id: &BlobId) -> Option<Vec<u8>> {
        let mut opener = Opener::new(self.blob_limits()).ok()?;
        self.read_blob(&mut opener, &BlobHandle { kind: BlobKind::Tree, id: *id }).ok()
    }

    /// Reads a folder's tree.
    ///
    /// # Errors
    /// [`Error::Damaged`] if it is missing or not what was stored; [`Error::Limit`] if it has too many entries.
    pub(crate) fn read_tree(&self, opener: &mut Opener, id: &BlobId) -> Result<Tree> {
        let handle = BlobHandle { kind: BlobKind::Tree, id: *id };
        let bytes = self.read_blob(opener, &handle)?;
        Self::decode_tree(id, &bytes, opener.limits())
    }

    /// Holds the memory that it takes to read a folder's tree and to look through it; waits for it.
    pub(crate) fn hold_tree(&self, memory: &Memory, id: &BlobId) -> Held {
        let location = self.index().get(&BlobHandle { kind: BlobKind::Tree, id: *id });
        let opened = location.map_or(0, |at| at.length as usize + at.uncompressed_length.unwrap_or(0) as usize);
        memory.hold(opened.saturating_mul(FOLDER_GROWTH))
    }

    /// Reads a folder's tree, or returns it as it was read before.
    ///
    /// # Errors
    /// As [`read_tree`](Self::read_tree).
    pub(crate) fn kept_tree(&self, opener: &mut Opener, id: &BlobId) -> Result<Arc<Tree>> {
        if let Some(tree) = self.kept.trees.get(id) {
            return Ok(tree);
        }
        let tree = Arc::new(self.read_tree(opener, id)?);
        self.kept.trees.put(*id, &tree);
        Ok(tree)
    }

    /// Reads the top tree of a snapshot, or returns it as it was read before.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no such snapshot; as [`read_tree`](Self::read_tree).
    pub(crate) fn top_tree(&self, opener: &mut Opener, snapshot: &SnapshotId) -> Result<Arc<Tree>> {
        let top = match self.kept.tops.get(snapshot) {
            Some(top) => top,
            None => {
                let read: Snapshot = self.read_json(&FileName::new(FileKind::Snapshot, snapshot.0))?;
                let top = Arc::new(read.tree);
                self.kept.tops.put(*snapshot, &top);
                top
            }
        };
        self.kept_tree(opener, &top)
    }

    /// Reads a piece of a file, or returns it as it was read before. It is kept if `is_wanted_again`: who has taken a
    /// part of it will come back for the rest.
    ///
    /// # Errors
    /// As [`read_blob`](Self::read_blob).
    pub(crate) fn kept_piece(
        &self,
        opener: &mut Opener,
        handle: &BlobHandle,
        is_wanted_again: bool,
    ) -> Result<Arc<Vec<u8>>> {
        if let Some(piece) = self.kept.pieces.get(&handle.id) {
            return Ok(piece);
        }
        let piece = Arc::new(self.read_blob(opener, handle)?);
        if is_wanted_again {
            self.kept.pieces.put(handle.id, &piece);
        }
        Ok(piece)
    }

    /// Decodes a folder's tree within these limits.
    ///
    /// # Errors
    /// As [`read_tree`](Self::read_tree).
    pub(crate) fn decode_tree(id: &BlobId, bytes: &[u8], limits: &BlobLimits) -> Result<Tree> {
        let most = limits.folder_entries;
        Tree::decode_within(bytes, most).map_err(|error| match error {
            TreeError::TooLong => {
                Error::Limit { what: format!("the folder of tree blob {id}"), limit: format!("{most} entries") }
            }
            TreeError::Broken(problem) => Error::damaged(format!("tree blob {id}"), problem),
        })
    }
}
