//! What a stored blob is for: the entries of snapshots that use it, as restic's `find --blob`, `--tree` and `--pack`.
//!
//! Unlike restic, every place of a tree is given and not only the first, and the trees in a pack as well as the data.

use std::collections::{BTreeSet, HashSet};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::vec::IntoIter;

use crate::blob::Opener;
use crate::browse::{check_depth, join};
use crate::error::{Error, Result};
use crate::id::{BlobHandle, BlobId, BlobKind, PackId, SnapshotId};
use crate::limits::UNUSING_TREES_MAX;
use crate::repository::Repository;
use crate::snapshot::Snapshot;
use crate::storage::{FileKind, FileName};
use crate::tree::{Node, NodeKind, Tree};

/// What is looked for: an id, or the beginning of one that only one has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Object<'t> {
    /// A piece of files.
    Data(&'t str),
    /// The list of a folder's entries.
    Tree(&'t str),
    /// All blobs that lie in a pack.
    Pack(&'t str),
}

/// Is given a blob, the path of an entry that uses it, and the entry, which the top of a snapshot does not have; says
/// whether to go on.
pub type EachUse<'f> = dyn FnMut(&BlobHandle, &[u8], Option<&Node>) -> Result<ControlFlow<()>> + 'f;

/// A search for what uses some blobs, from snapshot to snapshot.
pub struct Uses {
    repository: Arc<Repository>,
    opener: Opener,
    wanted: HashSet<BlobHandle>,
    /// Trees below which nothing uses them: most snapshots share most of their trees.
    unusing: HashSet<BlobId>,
}

impl Uses {
    /// Begins a search; the index has to be loaded. A whole id of a blob need not be in it: what is lost has users too.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the index has nothing of this id; [`Error::Misuse`] if it is no id, or if several begin
    /// like it.
    pub fn of(repository: Arc<Repository>, object: Object<'_>) -> Result<Self> {
        let wanted = match object {
            Object::Data(text) => [find_blob(&repository, BlobKind::Data, text)?].into(),
            Object::Tree(text) => [find_blob(&repository, BlobKind::Tree, text)?].into(),
            Object::Pack(text) => find_pack(&repository, text)?,
        };
        let opener = Opener::new(repository.blob_limits())?;
        Ok(Self { repository, opener, wanted, unusing: HashSet::new() })
    }

    /// Gives what uses the blobs in one snapshot, each entry once for each blob.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the snapshot is not there, [`Error::Damaged`] for a tree that cannot be read and is not
    /// looked for itself, or what `each` returns.
    pub fn in_snapshot(&mut self, snapshot: &SnapshotId, each: &mut EachUse<'_>) -> Result<()> {
        let snapshot: Snapshot = self.repository.read_json(&FileName::new(FileKind::Snapshot, snapshot.0))?;
        let top = BlobHandle { kind: BlobKind::Tree, id: snapshot.tree };
        let is_wanted = self.wanted.contains(&top);
        if is_wanted && each(&top, b"/", None)?.is_break() {
            return Ok(());
        }
        let mut levels = vec![self.enter(b"/".to_vec(), top.id)?];
        while let Some(level) = levels.last_mut() {
            let Some(node) = level.nodes.next() else {
                self.leave(&mut levels);
                continue;
            };
            let path = join(&level.path, &node.name);
            for handle in self.used_by(&node) {
                level.is_using = true;
                if each(&handle, &path, Some(&node))?.is_break() {
                    return Ok(());
                }
            }
            let subtree = node.subtree.filter(|id| node.kind == NodeKind::Dir && !self.unusing.contains(id));
            if let Some(id) = subtree {
                check_depth(levels.len(), &path)?;
                levels.push(self.enter(path, id)?);
            }
        }
        Ok(())
    }

    /// Returns which of the wanted blobs an entry uses.
    fn used_by(&self, node: &Node) -> BTreeSet<BlobHandle> {
        let data = node.content.iter().flatten().filter(|_| node.kind == NodeKind::File);
        let data = data.map(|id| BlobHandle { kind: BlobKind::Data, id: *id });
        let tree = node.subtree.map(|id| BlobHandle { kind: BlobKind::Tree, id });
        data.chain(tree).filter(|handle| self.wanted.contains(handle)).collect()
    }

    fn enter(&mut self, path: Vec<u8>, id: BlobId) -> Result<Level> {
        let tree = match self.repository.read_tree(&mut self.opener, &id) {
            // It is asked for because it is lost, and what was below it nobody can tell.
            Err(Error::Damaged { .. }) if self.wanted.contains(&BlobHandle { kind: BlobKind::Tree, id }) => {
                Tree::default()
            }
            other => other?,
        };
        Ok(Level { path, id, nodes: tree.nodes.into_iter(), is_using: false })
    }

    fn leave(&mut self, levels: &mut Vec<Level>) {
        let Some(left) = levels.pop() else { return };
        match levels.last_mut() {
            Some(above) if left.is_using => above.is_using = true,
            _ if !left.is_using && self.unusing.len() < UNUSING_TREES_MAX => _ = self.unusing.insert(left.id),
            _ => {}
        }
    }
}

/// A folder that is being looked through.
struct Level {
    path: Vec<u8>,
    id: BlobId,
    nodes: IntoIter<Node>,
    /// Whether something in it or below it uses what is wanted.
    is_using: bool,
}

fn find_blob(repository: &Repository, kind: BlobKind, text: &str) -> Result<BlobHandle> {
    if let Ok(id) = text.parse() {
        return Ok(BlobHandle { kind, id });
    }
    let index = repository.index();
    let ids = index.blobs().map(|(_, handle)| handle).filter(|handle| handle.kind == kind);
    let id = the_only(text, "blob", ids.map(|handle| handle.id.0))?;
    Ok(BlobHandle { kind, id: BlobId(id) })
}

fn find_pack(repository: &Repository, text: &str) -> Result<HashSet<BlobHandle>> {
    let index = repository.index();
    let pack = PackId(the_only(text, "pack", index.packs().map(|id| id.0))?);
    Ok(index.blobs().filter(|(id, _)| *id == pack).map(|(_, handle)| handle).collect())
}

/// Returns the id that begins with these digits.
fn the_only(text: &str, what: &str, ids: impl Iterator<Item = [u8; 32]>) -> Result<[u8; 32]> {
    let digits: Option<Vec<u8>> =
        text.chars().map(|digit| digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
    let Some(digits) = digits.filter(|digits| (1..=64).contains(&digits.len())) else {
        return Err(Error::misuse(format!(
            "`{text}` is not the id of a {what}, which has up to 64 digits of 0-9, a-f"
        )));
    };
    let digit = |id: &[u8; 32], at: usize| if at.is_multiple_of(2) { id[at / 2] >> 4 } else { id[at / 2] & 15 };
    let fits = |id: &[u8; 32]| digits.iter().enumerate().all(|(at, wanted)| digit(id, at) == *wanted);
    // A blob that was stored twice is one blob.
    let mut fitting = ids.filter(fits);
    let first = fitting.next().ok_or_else(|| Error::NotFound { what: format!("{what} `{text}`") })?;
    match fitting.find(|other| *other != first) {
        Some(_) => Err(Error::misuse(format!("`{text}` is the beginning of several {what}s' ids: type more of it"))),
        None => Ok(first),
    }
}
