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
    items: Mutex<Items<K, V>>,
}

struct Items<K, V> {
    /// Each with its weight; the one that was used last is the last one.
    in_order: VecDeque<(K, Arc<V>, usize)>,
    /// What all of them weigh.
    sum: usize,
}

impl<K: PartialEq, V> Items<K, V> {
    fn take(&mut self, key: &K) -> Option<(K, Arc<V>, usize)> {
        let at = self.in_order.iter().rposition(|(other, ..)| other == key)?;
        let taken = self.in_order.remove(at)?;
        self.sum -= taken.2;
        Some(taken)
    }

    fn push(&mut self, item: (K, Arc<V>, usize)) {
        self.sum += item.2;
        self.in_order.push_back(item);
    }
}

impl<K: PartialEq, V> Kept<K, V> {
    fn new(room: usize, weigh: fn(&V) -> usize) -> Self {
        Self { room, weigh, items: Mutex::new(Items { in_order: VecDeque::new(), sum: 0 }) }
    }

    pub(super) fn get(&self, key: &K) -> Option<Arc<V>> {
        if self.room == 0 {
            return None;
        }
        let mut items = self.lock();
        let found = items.take(key)?;
        let value = Arc::clone(&found.1);
        items.push(found);
        Some(value)
    }

    /// Keeps something, unless it alone takes more than half of the room: it would push out those on the way to it.
    pub(super) fn put(&self, key: K, value: &Arc<V>) {
        let weight = (self.weigh)(value);
        if weight > self.room / 2 {
            return;
        }
        let mut items = self.lock();
        items.take(&key);
        items.push((key, Arc::clone(value), weight));
        while items.sum > self.room {
            let Some((.., oldest)) = items.in_order.pop_front() else { break };
            items.sum -= oldest;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Items<K, V>> {
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
