//! A folder while its entries are being stored.
//!
//! The walk gives each entry a slot in the order of names; threads fill the slots in any order. Whoever fills the last
//! one stores the folder's tree, which fills a slot of the folder above.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::{Error, Result};
use crate::id::BlobId;
use crate::tree::{Node, join_nodes};

/// A folder that is being stored.
pub(crate) struct Building {
    /// The place of this folder in the one above; `None` for the top.
    above: Option<Above>,
    slots: Mutex<Slots>,
}

struct Above {
    building: Arc<Building>,
    slot: usize,
    /// This folder's own entry, which lacks only the tree.
    node: Node,
    /// The tree that the parent snapshot had here.
    before: Option<BlobId>,
}

struct Slots {
    /// Entries as JSON; `None` while not stored and for those that could not be.
    nodes: Vec<Option<Box<[u8]>>>,
    /// The folders that will fill a slot: what is in them so far can be asked for.
    open: BTreeMap<usize, Arc<Building>>,
    /// Slots that are not filled yet, and one more while the walk adds slots.
    missing: usize,
}

/// What is stored of a folder so far.
pub(crate) struct Part {
    /// The folder's own entry, which lacks only the tree; `None` for the top.
    pub(crate) node: Option<Node>,
    /// Its entries, in the order of names.
    pub(crate) entries: Vec<PartEntry>,
}

/// An entry of a folder that is being stored.
pub(crate) enum PartEntry {
    /// It is stored; its JSON.
    Stored(Box<[u8]>),
    /// It is a folder that is being stored itself, and has this number in the list.
    Open(usize),
}

/// A place for an entry in a folder that is being stored.
pub(crate) struct Slot {
    building: Arc<Building>,
    number: usize,
}

/// What became of a folder whose tree was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FolderChange {
    /// It was not in the parent snapshot.
    New,
    /// It differs from the parent snapshot.
    Changed,
    /// It is as in the parent snapshot.
    Unmodified,
}

/// Stores trees for [`Slot::fill`] and [`Building::close`].
pub(crate) trait SaveTree {
    /// Stores a tree blob and returns its id.
    fn save_tree(&mut self, tree: &[u8]) -> Result<BlobId>;
    /// Counts a folder that was stored.
    fn folder_done(&mut self, change: FolderChange);
    /// Takes the id of the top's tree.
    fn top_done(&mut self, tree: BlobId);
}

impl Building {
    /// Begins the top of a snapshot's tree.
    pub(crate) fn top() -> Arc<Self> {
        Arc::new(Self { above: None, slots: Mutex::new(Slots::new()) })
    }

    /// Begins a folder that will fill a slot of the folder above.
    pub(crate) fn below(slot: Slot, node: Node, before: Option<BlobId>) -> Arc<Self> {
        let (number, parent) = (slot.number, slot.building.clone());
        let above = Above { building: slot.building, slot: number, node, before };
        let building = Arc::new(Self { above: Some(above), slots: Mutex::new(Slots::new()) });
        parent.lock().open.insert(number, building.clone());
        building
    }

    /// Returns what is stored so far of this folder and of those in it that are being stored; each comes after the one
    /// that it is in.
    pub(crate) fn parts(self: &Arc<Self>) -> Vec<Part> {
        let mut found = vec![self.clone()];
        let mut parts: Vec<Part> = Vec::new();
        while let Some(building) = found.get(parts.len()).cloned() {
            let node = building.above.as_ref().map(|above| above.node.clone());
            let slots = building.lock();
            let mut entries = Vec::new();
            for (number, stored) in slots.nodes.iter().enumerate() {
                if let Some(json) = stored {
                    entries.push(PartEntry::Stored(json.clone()));
                } else if let Some(child) = slots.open.get(&number) {
                    entries.push(PartEntry::Open(found.len()));
                    found.push(child.clone());
                }
            }
            parts.push(Part { node, entries });
        }
        parts
    }

    /// Takes the folders apart that were being stored when the backup ended: those above and below hold each other.
    pub(crate) fn take_apart(self: &Arc<Self>) {
        let mut folders = vec![self.clone()];
        let mut next = 0;
        while let Some(folder) = folders.get(next).cloned() {
            folders.extend(std::mem::take(&mut folder.lock().open).into_values());
            next += 1;
        }
    }

    /// Adds a slot; to be called in the order of names.
    pub(crate) fn add_slot(self: &Arc<Self>) -> Slot {
        let mut slots = self.lock();
        slots.nodes.push(None);
        slots.missing += 1;
        Slot { building: self.clone(), number: slots.nodes.len() - 1 }
    }

    /// Says that no slot will be added, and stores the tree if all are filled.
    pub(crate) fn close(self: Arc<Self>, saver: &mut dyn SaveTree) -> Result<()> {
        self.lock().missing -= 1;
        finish(self, saver)
    }

    fn put(&self, slot: usize, node: Option<&Node>) -> Result<()> {
        let json = node.map(serde_json::to_vec).transpose();
        let json = json.map_err(|error| Error::misuse(format!("an entry cannot be written as JSON: {error}")))?;
        let mut slots = self.lock();
        slots.nodes[slot] = json.map(Vec::into_boxed_slice);
        slots.open.remove(&slot);
        slots.missing -= 1;
        Ok(())
    }

    /// Returns the tree if every slot is filled; at most once.
    fn take_tree(&self) -> Option<Vec<u8>> {
        let mut slots = self.lock();
        if slots.missing > 0 {
            return None;
        }
        slots.missing = usize::MAX;
        let slots = &*slots;
        // They stay until the tree is in the folder above: who asks meanwhile for what is stored finds them here.
        let nodes = || slots.nodes.iter().flatten();
        let length = nodes().map(|node| node.len() + 1).sum();
        Some(join_nodes(nodes().map(AsRef::as_ref), length))
    }

    fn lock(&self) -> MutexGuard<'_, Slots> {
        // A panic while it is held ends the backup before a tree is made of it.
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slots {
    fn new() -> Self {
        Self { nodes: Vec::new(), open: BTreeMap::new(), missing: 1 }
    }
}

impl Slot {
    /// Fills the slot with an entry, or with nothing if it could not be stored.
    pub(crate) fn fill(self, node: Option<&Node>, saver: &mut dyn SaveTree) -> Result<()> {
        self.building.put(self.number, node)?;
        finish(self.building, saver)
    }
}

/// Stores the tree of a folder that is complete, and of those above that become complete by it.
fn finish(mut building: Arc<Building>, saver: &mut dyn SaveTree) -> Result<()> {
    while let Some(tree) = building.take_tree() {
        let id = saver.save_tree(&tree)?;
        let Some(above) = &building.above else {
            saver.top_done(id);
            return Ok(());
        };
        saver.folder_done(match above.before {
            None => FolderChange::New,
            Some(before) if before == id => FolderChange::Unmodified,
            Some(_) => FolderChange::Changed,
        });
        let node = Node { subtree: Some(id), ..above.node.clone() };
        above.building.put(above.slot, Some(&node))?;
        let next = above.building.clone();
        building = next;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Tree;

    #[derive(Default)]
    struct Kept {
        trees: Vec<Vec<u8>>,
        top: Option<BlobId>,
    }

    impl SaveTree for Kept {
        fn save_tree(&mut self, tree: &[u8]) -> Result<BlobId> {
            self.trees.push(tree.to_vec());
            Ok(BlobId::of(tree))
        }
        fn folder_done(&mut self, _: FolderChange) {}
        fn top_done(&mut self, tree: BlobId) {
            self.top = Some(tree);
        }
    }

    fn node(name: &str) -> Node {
        serde_json::from_str(&format!(r#"{{"name":"{name}","type":"file"}}"#)).unwrap()
    }

    fn names(tree: &[u8]) -> Vec<Vec<u8>> {
        Tree::decode(tree).unwrap().nodes.into_iter().map(|node| node.name).collect()
    }

    #[test]
    fn the_last_slot_stores_every_folder_above() {
        let mut kept = Kept::default();
        let top = Building::top();
        let folder = Building::below(top.add_slot(), node("f"), None);
        let (first, second, third) = (folder.add_slot(), folder.add_slot(), folder.add_slot());
        top.close(&mut kept).unwrap();
        third.fill(Some(&node("c")), &mut kept).unwrap();
        folder.close(&mut kept).unwrap();
        second.fill(None, &mut kept).unwrap();
        assert!(kept.trees.is_empty());
        first.fill(Some(&node("a")), &mut kept).unwrap();
        assert_eq!(names(&kept.trees[0]), [b"a", b"c"]);
        assert_eq!(names(&kept.trees[1]), [b"f"]);
        assert_eq!(kept.top, Some(BlobId::of(&kept.trees[1])));
    }

    #[test]
    fn what_is_stored_so_far_can_be_asked_for_at_any_time() {
        let mut kept = Kept::default();
        let top = Building::top();
        let folder = Building::below(top.add_slot(), node("f"), None);
        let (first, second) = (folder.add_slot(), folder.add_slot());
        let inner = Building::below(second, node("g"), None);
        inner.add_slot().fill(Some(&node("x")), &mut kept).unwrap();
        let shape = |top: &Arc<Building>| {
            let entry = |entry: &PartEntry| match entry {
                PartEntry::Stored(_) => "stored".to_owned(),
                PartEntry::Open(number) => number.to_string(),
            };
            top.parts().iter().map(|part| part.entries.iter().map(entry).collect::<Vec<_>>()).collect::<Vec<_>>()
        };
        assert_eq!(shape(&top), [vec!["1"], vec!["2"], vec!["stored"]]);
        first.fill(Some(&node("a")), &mut kept).unwrap();
        inner.close(&mut kept).unwrap();
        assert_eq!(shape(&top), [vec!["1"], vec!["stored", "stored"]]);
        top.take_apart();
        assert_eq!((shape(&top), Arc::strong_count(&folder)), (vec![vec![]], 1));
    }
}
