//! The numbers of files and folders: each is made of the folder's number and the name, so that it is always the same.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use backup_proto::snapshot::{Entry, Snapshot};

/// The number of the top folder.
pub(crate) const TOP: u64 = 1;

/// What a number stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Node {
    /// A folder of names of snapshots: the names on the way to it.
    Names(Vec<String>),
    /// One of those names that stands for another.
    Link(String),
    /// The top of a snapshot.
    Top(Arc<Snapshot>),
    /// Something in a snapshot.
    Entry(Arc<Snapshot>, Entry),
}

impl Node {
    /// Returns where a name leads: another time it may be somewhere else.
    fn leads_to(&self) -> Option<&str> {
        match self {
            Self::Top(snapshot) | Self::Entry(snapshot, _) => Some(&snapshot.id),
            Self::Link(to) => Some(to),
            Self::Names(_) => None,
        }
    }
}

/// Something in a folder.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) name: Vec<u8>,
    /// Its number, unless that is taken.
    pub(crate) number: u64,
    pub(crate) node: Arc<Node>,
}

impl Item {
    /// Makes an item of the folder with this number.
    pub(crate) fn new(folder: u64, name: Vec<u8>, node: Node) -> Self {
        // The same name may lead elsewhere later, and then the system must not show what it remembers.
        let mut hasher = DefaultHasher::new();
        (folder, node.leads_to(), &name).hash(&mut hasher);
        Self { name, number: hasher.finish().max(TOP + 1), node: Arc::new(node) }
    }
}

/// What the system has asked for and not yet forgotten.
#[derive(Debug)]
pub(crate) struct Inodes {
    known: HashMap<u64, Inode>,
}

#[derive(Debug)]
struct Inode {
    folder: u64,
    name: Vec<u8>,
    node: Arc<Node>,
    lookups: u64,
}

impl Inodes {
    /// Begins with the top folder, which is never forgotten.
    pub(crate) fn new(top: Node) -> Self {
        let inode = Inode { folder: 0, name: Vec::new(), node: Arc::new(top), lookups: 1 };
        Self { known: HashMap::from([(TOP, inode)]) }
    }

    pub(crate) fn get(&self, number: u64) -> Option<Arc<Node>> {
        self.known.get(&number).map(|inode| Arc::clone(&inode.node))
    }

    /// Counts one more look at an item and returns its number.
    pub(crate) fn enter(&mut self, folder: u64, item: &Item) -> u64 {
        let mut number = item.number;
        loop {
            match self.known.get_mut(&number) {
                Some(inode) if inode.is(folder, item) => {
                    inode.lookups += 1;
                    inode.node = Arc::clone(&item.node);
                    return number;
                }
                // Two names with the same number: rare, but then they must not be taken for each other.
                Some(_) => number = number.wrapping_add(1).max(TOP + 1),
                None => break,
            }
        }
        let inode = Inode { folder, name: item.name.clone(), node: Arc::clone(&item.node), lookups: 1 };
        self.known.insert(number, inode);
        number
    }

    /// Takes looks back; what nobody has looked at is forgotten.
    pub(crate) fn forget(&mut self, number: u64, lookups: u64) {
        if number == TOP {
            return;
        }
        if let Some(inode) = self.known.get_mut(&number) {
            inode.lookups = inode.lookups.saturating_sub(lookups);
            if inode.lookups == 0 {
                self.known.remove(&number);
            }
        }
    }
}

impl Inode {
    fn is(&self, folder: u64, item: &Item) -> bool {
        self.folder == folder && self.name == item.name && self.node.leads_to() == item.node.leads_to()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(name: &str) -> Item {
        Item::new(TOP, name.as_bytes().to_vec(), Node::Link(name.to_owned()))
    }

    #[test]
    fn a_number_stays_until_all_looks_are_taken_back_and_comes_again() {
        let mut inodes = Inodes::new(Node::Names(Vec::new()));
        let number = inodes.enter(TOP, &item("a"));
        assert_eq!(inodes.enter(TOP, &item("a")), number);
        assert_ne!(inodes.enter(TOP, &item("b")), number);
        inodes.forget(number, 1);
        assert_eq!(inodes.get(number).as_deref(), Some(&Node::Link("a".to_owned())));
        inodes.forget(number, 1);
        assert_eq!(inodes.get(number), None);
        assert_eq!(inodes.enter(TOP, &item("a")), number);
        inodes.forget(TOP, 100);
        assert!(inodes.get(TOP).is_some());
    }

    #[test]
    fn two_names_with_one_number_are_not_taken_for_each_other() {
        let mut inodes = Inodes::new(Node::Names(Vec::new()));
        let (a, mut b) = (item("a"), item("b"));
        b.number = a.number;
        let (first, second) = (inodes.enter(TOP, &a), inodes.enter(TOP, &b));
        assert_ne!(first, second);
        assert_eq!((inodes.enter(TOP, &a), inodes.enter(TOP, &b)), (first, second));
    }
}
