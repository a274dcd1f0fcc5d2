//! What snapshots need: every tree and every piece of a file that is reached from one of them.

use std::collections::HashMap;

use crate::blob::Opener;
use crate::error::{Error, Result};
use crate::id::{BlobHandle, BlobId, BlobKind};
use crate::repository::Repository;
use crate::snapshot::SnapshotList;
use crate::tree::Tree;

/// The blobs that snapshots need, and of each whether a pack was found that keeps it.
#[derive(Debug, Default)]
pub struct Used {
    blobs: HashMap<BlobHandle, bool>,
}

impl Used {
    /// Adds what these snapshots need. A tree that is known is not read again: all it leads to is known as well.
    ///
    /// # Errors
    /// A snapshot or a tree that cannot be read: what it needs is not known then, so nothing may be removed.
    pub(crate) fn add(
        &mut self,
        repository: &Repository,
        found: SnapshotList,
        look: &dyn Fn() -> Result<()>,
    ) -> Result<()> {
        if let Some((_, error)) = found.damaged.into_iter().next() {
            return Err(error);
        }
        let mut opener = Opener::new(repository.blob_limits())?;
        for (_, snapshot) in &found.list {
            let mut waiting = vec![snapshot.tree];
            while let Some(id) = waiting.pop() {
                if self.blobs.insert(BlobHandle { kind: BlobKind::Tree, id }, false).is_some() {
                    continue;
                }
                look()?;
                for node in read_tree(repository, &mut opener, id)?.nodes {
                    waiting.extend(node.subtree);
                    let data = node.content.into_iter().flatten();
                    self.blobs.extend(data.map(|id| (BlobHandle { kind: BlobKind::Data, id }, false)));
                }
            }
        }
        Ok(())
    }

    /// Returns whether a blob is needed.
    pub(crate) fn contains(&self, handle: &BlobHandle) -> bool {
        self.blobs.contains_key(handle)
    }

    /// Takes a blob for a pack; returns whether it is needed and no other pack has taken it.
    pub(crate) fn claim(&mut self, handle: &BlobHandle) -> bool {
        self.blobs.get_mut(handle).is_some_and(|claimed| !std::mem::replace(claimed, true))
    }

    /// Gives all blobs free again.
    pub(crate) fn release(&mut self) {
        self.blobs.values_mut().for_each(|claimed| *claimed = false);
    }

    /// Returns a needed blob that no pack has taken, if there is one.
    pub(crate) fn missing(&self) -> Option<BlobHandle> {
        self.blobs.iter().find(|(_, claimed)| !**claimed).map(|(handle, _)| *handle)
    }
}

/// Reads a tree; one that no index file lists is looked for in the packs themselves.
fn read_tree(repository: &Repository, opener: &mut Opener, id: BlobId) -> Result<Tree> {
    let is_known = || repository.index().get(&BlobHandle { kind: BlobKind::Tree, id }).is_some();
    if !is_known() {
        repository.index_unlisted_packs()?;
    }
    if is_known() {
        return repository.read_tree(opener, &id);
    }
    Err(Error::damaged(format!("the repository at {}", repository.location()), format!("tree blob {id} is missing")))
}
