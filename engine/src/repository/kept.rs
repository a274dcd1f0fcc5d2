//! What was read last and may be needed again soon, for looks that come one after another into the same few folders.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::id::{BlobId, SnapshotId};
use crate::limits::{KEPT_PIECE_BYTES, KEPT_TOPS, KEPT_TREE_ENTRIES};
use crate::tree::Tree;

/// All that is kept of a repository.
pub(super) struct AllKept {
    pub(super) trees: Kept<BlobId, Tree>,
    /// The top trees of snapshots.
    pub(super) tops: Kept<SnapshotId, BlobId>,
    /// The pieces of files of which only a part was wanted.
    pub(super) pieces: Kept<BlobId, Vec<u8>>,
}

impl AllKept {
    /// Keeps nothing.
    pub(super) fn none() -> Self {
        Self::with_rooms(0, 0, 0)
    }

    /// Keeps what many looks need.
    pub(super) fn for_looks() -> Self {
        Self::with_rooms(KEPT_TREE_ENTRIES, KEPT_TOPS, KEPT_PIECE_BYTES)
    }

    fn with_rooms(entries: usize, tops: usize, bytes: usize) -> Self {
        Self {
            trees: Kept::new(entries, weight),
            tops: Kept::new(tops, |_| 1),
            pieces: Kept::new(bytes, |piece| piece.len()),
        }
    }
}

/// How much of the room a tree takes: a little also for an empty one, and more for files of many pieces.
fn weight(tree: &Tree) -> usize {
    let pieces: usize = tree.nodes.iter().filter_map(|node| node.content.as_ref()).map(Vec::len).sum();
    1 + tree.nodes.len() + pieces / 8
}

/// Things of one kind that were read, as many as there is room for together.
pub(super) struct Kept<K, V> {
    room: usize,
    weigh: fn(&V) -> usize,
    /// The one that was used last is the last one.
    items: Mutex<VecDeque<(K, Arc<V>)>>,
}

impl<K: PartialEq, V> Kept<K, V> {
    fn new(room: usize, weigh: fn(&V) -> usize) -> Self {
        Self { room, weigh, items: Mutex::default() }
    }

    pub(super) fn get(&self, key: &K) -> Option<Arc<V>> {
        if self.room == 0 {
            return None;
        }
        let mut items = self.lock();
        let at = items.iter().rposition(|(other, _)| other == key)?;
        let found = items.remove(at)?;
        let value = Arc::clone(&found.1);
        items.push_back(found);
        Some(value)
    }

    /// Keeps something, unless it alone takes more than half of the room: it would push out those on the way to it.
    pub(super) fn put(&self, key: K, value: &Arc<V>) {
        if (self.weigh)(value) > self.room / 2 {
            return;
        }
        let mut items = self.lock();
        items.retain(|(other, _)| *other != key);
        items.push_back((key, Arc::clone(value)));
        let mut sum: usize = items.iter().map(|(_, value)| (self.weigh)(value)).sum();
        while sum > self.room {
            let Some((_, oldest)) = items.pop_front() else { break };
            sum -= (self.weigh)(&oldest);
        }
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<(K, Arc<V>)>> {
        // Entries are moved whole: a panic elsewhere loses one at most, and that is read again.
        self.items.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
        let kept = Kept::new(10, weight);
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
        let kept = AllKept::none();
        kept.trees.put(BlobId([1; 32]), &tree(0));
        assert!(kept.trees.get(&BlobId([1; 32])).is_none());
        kept.pieces.put(BlobId([1; 32]), &Arc::default());
        assert!(kept.pieces.get(&BlobId([1; 32])).is_none());
    }
}
