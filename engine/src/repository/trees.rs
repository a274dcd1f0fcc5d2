//! Reading trees; those that were read last may be kept, for looks that come one after another into the same few folders.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use super::Repository;
use crate::blob::{BlobLimits, Opener};
use crate::error::{Error, Result};
use crate::id::{BlobHandle, BlobId, BlobKind};
use crate::tree::{Tree, TreeError};

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

    /// Reads a folder's tree, or returns it as it was read before.
    ///
    /// # Errors
    /// As [`read_tree`](Self::read_tree).
    pub(crate) fn kept_tree(&self, opener: &mut Opener, id: &BlobId) -> Result<Arc<Tree>> {
        if let Some(tree) = self.kept_trees.get(id) {
            return Ok(tree);
        }
        let tree = Arc::new(self.read_tree(opener, id)?);
        self.kept_trees.put(*id, &tree);
        Ok(tree)
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

/// Trees that were read, as many as have no more entries together than there is room for.
#[derive(Default)]
pub(super) struct KeptTrees {
    room: usize,
    /// The one that was used last is the last one.
    trees: Mutex<VecDeque<(BlobId, Arc<Tree>)>>,
}

impl KeptTrees {
    /// Makes room for trees with so many entries together.
    pub(super) fn new(room: usize) -> Self {
        Self { room, trees: Mutex::default() }
    }

    pub(super) fn get(&self, id: &BlobId) -> Option<Arc<Tree>> {
        if self.room == 0 {
            return None;
        }
        // Entries are moved whole: a panic elsewhere loses a tree at most, and that is read again.
        let mut trees = self.trees.lock().unwrap_or_else(PoisonError::into_inner);
        let at = trees.iter().rposition(|(other, _)| other == id)?;
        let found = trees.remove(at)?;
        let tree = Arc::clone(&found.1);
        trees.push_back(found);
        Some(tree)
    }

    /// Keeps a tree, unless it alone takes more than half of the room: it would push out those on the way to it.
    pub(super) fn put(&self, id: BlobId, tree: &Arc<Tree>) {
        if weight(tree) > self.room / 2 {
            return;
        }
        let mut trees = self.trees.lock().unwrap_or_else(PoisonError::into_inner);
        trees.retain(|(other, _)| *other != id);
        trees.push_back((id, Arc::clone(tree)));
        let mut sum: usize = trees.iter().map(|(_, tree)| weight(tree)).sum();
        while sum > self.room {
            let Some((_, oldest)) = trees.pop_front() else { break };
            sum -= weight(&oldest);
        }
    }
}

/// How much of the room a tree takes: a little also for an empty one, and more for files of many pieces.
fn weight(tree: &Tree) -> usize {
    let pieces: usize = tree.nodes.iter().filter_map(|node| node.content.as_ref()).map(Vec::len).sum();
    1 + tree.nodes.len() + pieces / 8
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Node;

    fn tree(entries: usize) -> Arc<Tree> {
        let node: Node = serde_json::from_str(r#"{"name":"a","type":"file"}"#).unwrap();
        Arc::new(Tree { nodes: vec![node; entries] })
    }

    #[test]
    fn the_trees_used_last_stay_and_one_that_is_too_large_pushes_none_out() {
        let kept = KeptTrees::new(10);
        let id = |number: u8| BlobId([number; 32]);
        kept.put(id(1), &tree(3));
        kept.put(id(2), &tree(3));
        assert!(kept.get(&id(1)).is_some());
        kept.put(id(3), &tree(3));
        assert!(kept.get(&id(2)).is_none(), "it was used before the others");
        kept.put(id(4), &tree(5));
        assert!(kept.get(&id(4)).is_none());
        assert!(kept.get(&id(1)).is_some() && kept.get(&id(3)).is_some());
    }

    #[test]
    fn without_room_nothing_is_kept() {
        let kept = KeptTrees::default();
        kept.put(BlobId([1; 32]), &tree(0));
        assert!(kept.get(&BlobId([1; 32])).is_none());
    }
}
