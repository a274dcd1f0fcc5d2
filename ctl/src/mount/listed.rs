//! Folders that were listed, with what is in them.

use std::sync::Arc;

use super::inodes::{Item, Node};
use super::recent::Recent;
use super::{LISTED_FOLDERS_MIN, LISTED_MAX};

/// Bytes of extended attributes that count as one entry more.
const BYTES_LIKE_AN_ENTRY: usize = 512;

/// What is in a folder, in the order of names.
pub(crate) type Folder = Arc<Vec<Item>>;

/// The folders that were listed last, as many as have no more entries together than are remembered.
#[derive(Debug, Default)]
pub(crate) struct Listed {
    /// Each with its weight.
    folders: Recent<(Folder, usize)>,
    sum: usize,
}

impl Listed {
    pub(crate) fn get(&mut self, folder: u64) -> Option<Folder> {
        self.folders.get(folder).map(|(items, _)| items)
    }

    pub(crate) fn put(&mut self, folder: u64, items: &Folder) {
        if let Some((_, weight)) = self.folders.take(folder) {
            self.sum -= weight;
        }
        let weight = weight(items);
        self.folders.put(folder, (Arc::clone(items), weight));
        self.sum += weight;
        while self.sum > LISTED_MAX && self.folders.len() > LISTED_FOLDERS_MIN {
            let Some((_, (_, oldest))) = self.folders.take_oldest() else { break };
            self.sum -= oldest;
        }
    }
}

/// How many entries a folder counts as: a little also when it is empty, and more with large attributes.
fn weight(items: &Folder) -> usize {
    let bytes = |item: &Item| match &*item.node {
        Node::Entry(_, entry) => entry.attributes.iter().map(|one| one.name.len() + one.value.len()).sum(),
        Node::Names(_) | Node::Top(_) | Node::Link(_) => 0_usize,
    };
    1 + items.iter().map(|item| 1 + bytes(item) / BYTES_LIKE_AN_ENTRY).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(entries: usize) -> Folder {
        let item = Item::new(1, b"a".to_vec(), Node::Link("b".to_owned()));
        Arc::new(vec![item; entries])
    }

    #[test]
    fn as_many_folders_are_remembered_as_there_is_room_for_and_the_last_ones_however_long() {
        let mut listed = Listed::default();
        for number in 0..10 {
            listed.put(number, &folder(LISTED_MAX / 8));
        }
        let known = |listed: &mut Listed| (0..10).filter(|number| listed.get(*number).is_some()).collect::<Vec<_>>();
        assert_eq!(known(&mut listed), [3, 4, 5, 6, 7, 8, 9]);
        for number in 0..10 {
            listed.put(number, &folder(LISTED_MAX));
        }
        assert_eq!(known(&mut listed), [6, 7, 8, 9]);
        for number in 6..10 {
            listed.put(number, &folder(0));
        }
        assert_eq!(listed.sum, 4);
    }
}
