//! Finding entries by name in one snapshot after another.

use std::collections::HashSet;
use std::sync::Arc;

use super::{EachEntry, check_depth, join, read_some_tree};
use crate::blob::Opener;
use crate::error::{Error, Result};
use crate::id::{BlobId, SnapshotId, sha256};
use crate::limits::BARREN_FOLDERS_MAX;
use crate::repository::Repository;
use crate::source::pattern::{Pattern, SplitPath};
use crate::tree::{NodeKind, Tree};

/// Finds entries whose path matches a pattern. A folder that an earlier snapshot has as well, and that had no match, is not
/// looked at again, so that many snapshots of the same files take little longer than one.
pub struct Finder {
    repository: Arc<Repository>,
    opener: Opener,
    wanted: Pattern,
    barren: HashSet<[u8; 16]>,
    /// How many entries have matched.
    matched: u64,
    looked: u64,
}

/// A folder on the way to where the search is.
struct Folder {
    path: Vec<u8>,
    tree: Arc<Tree>,
    /// Its next entry.
    next: usize,
    mark: [u8; 16],
    /// How many had matched before.
    matched: u64,
}

impl Finder {
    /// Makes a search for a pattern, as in excludes.
    ///
    /// # Errors
    /// [`Error::Misuse`] for a bad pattern.
    pub fn new(repository: Arc<Repository>, pattern: &str) -> Result<Self> {
        let wanted = Pattern::new(pattern.as_bytes());
        let wanted =
            wanted.map_err(|problem| Error::misuse(format!("the pattern `{pattern}` cannot be used: {problem}")))?;
        let opener = Opener::new(repository.blob_limits())?;
        Ok(Self { repository, opener, wanted, barren: HashSet::new(), matched: 0, looked: 0 })
    }

    /// Gives every entry of a snapshot that matches, until `each` says to stop.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Damaged`], or what `each` returns.
    pub fn in_snapshot(&mut self, snapshot: &SnapshotId, each: &mut EachEntry<'_>) -> Result<()> {
        let tree = self.repository.top_tree(&mut self.opener, snapshot)?;
        let mut stack = vec![self.folder(b"/".to_vec(), tree, [0; 16])];
        while let Some(folder) = stack.last_mut() {
            let Some(node) = folder.tree.nodes.get(folder.next) else {
                if folder.matched == self.matched && self.barren.len() < BARREN_FOLDERS_MAX {
                    self.barren.insert(folder.mark);
                }
                stack.pop();
                continue;
            };
            folder.next += 1;
            let path = join(&folder.path, &node.name);
            if self.wanted.matches(&SplitPath::new(&path)) {
                self.matched += 1;
                if each(&path, node)?.is_break() {
                    return Ok(());
                }
            }
            if node.kind != NodeKind::Dir {
                continue;
            }
            let subtree = node.subtree;
            let mark = mark(subtree, &path);
            if !self.barren.contains(&mark) {
                check_depth(stack.len(), &path)?;
                let tree = read_some_tree(&self.repository, &mut self.opener, subtree)?;
                stack.push(self.folder(path, tree, mark));
            }
        }
        Ok(())
    }

    /// Returns how many folders were looked at.
    #[must_use]
    pub fn looked(&self) -> u64 {
        self.looked
    }

    fn folder(&mut self, path: Vec<u8>, tree: Arc<Tree>, mark: [u8; 16]) -> Folder {
        self.looked += 1;
        Folder { path, tree, next: 0, mark, matched: self.matched }
    }
}

/// Stands for a folder at a path: whether something in it matches depends on both.
fn mark(tree: Option<BlobId>, path: &[u8]) -> [u8; 16] {
    let tree = tree.map_or([0; 32], |tree| tree.0);
    let hash = sha256(&[&tree, path].concat());
    std::array::from_fn(|at| hash[at])
}
