//! Is everything that an entry names in the repository, so that a new snapshot may name the entry?

use std::collections::HashSet;

use crate::blob::Opener;
use crate::error::Result;
use crate::id::{BlobHandle, BlobId, BlobKind};
use crate::repository::Repository;
use crate::tree::{Node, NodeKind};

/// Looks entries up, with all that is in them.
pub(super) struct Known<'a> {
    repository: &'a Repository,
    opener: Opener,
}

/// What an entry holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) files: u64,
    pub(super) folders: u64,
    pub(super) bytes: u64,
}

impl<'a> Known<'a> {
    pub(super) fn new(repository: &'a Repository) -> Result<Self> {
        Ok(Self { repository, opener: Opener::new(repository.blob_limits())? })
    }

    /// Returns whether everything that an entry names is there; the entry is given as JSON.
    pub(super) fn holds_json(&mut self, json: &[u8]) -> bool {
        serde_json::from_slice(json).is_ok_and(|node| self.look(&node, &|_| true).is_some())
    }

    /// Returns what an entry holds if all of it is there and every file fits.
    pub(super) fn look(&mut self, node: &Node, fits: &dyn Fn(&Node) -> bool) -> Option<Held> {
        let mut held = Held::default();
        let mut waiting = Vec::new();
        let mut seen = HashSet::new();
        self.take(node, fits, &mut held, &mut waiting)?;
        while let Some(id) = waiting.pop() {
            // A hostile repository may name the same tree very often.
            if !seen.insert(id) {
                continue;
            }
            let tree = self.contains(BlobKind::Tree, id).then(|| self.repository.read_tree(&mut self.opener, &id).ok());
            for node in &tree.flatten()?.nodes {
                self.take(node, fits, &mut held, &mut waiting)?;
            }
        }
        Some(held)
    }

    fn take(
        &self,
        node: &Node,
        fits: &dyn Fn(&Node) -> bool,
        held: &mut Held,
        waiting: &mut Vec<BlobId>,
    ) -> Option<()> {
        match node.kind {
            NodeKind::Dir => {
                held.folders += 1;
                waiting.push(node.subtree?);
            }
            NodeKind::File => {
                held.files += 1;
                held.bytes = held.bytes.saturating_add(node.size);
                let is_there = node.content.as_ref()?.iter().all(|id| self.contains(BlobKind::Data, *id));
                return (is_there && fits(node)).then_some(());
            }
            _ => {}
        }
        Some(())
    }

    fn contains(&self, kind: BlobKind, id: BlobId) -> bool {
        self.repository.index().contains(&BlobHandle { kind, id })
    }
}
