//! Looking into snapshots without restoring them: list, find, compare, print.

mod contents;
mod finder;

use std::ops::ControlFlow;
use std::sync::Arc;

use crate::blob::Opener;
use crate::error::{Error, Result};
use crate::id::{BlobId, SnapshotId};
use crate::limits::DEPTH_MAX;
use crate::repository::Repository;
use crate::tree::{Node, NodeKind, Tree};

pub use contents::{ByteRange, cat};
pub use finder::Finder;

/// Is given entries with their paths, which begin with a slash, and says whether to go on.
pub type EachEntry<'f> = dyn FnMut(&[u8], &Node) -> Result<ControlFlow<()>> + 'f;

/// How an entry of one snapshot differs from the other's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// Only the second has it.
    Added,
    /// Only the first has it.
    Removed,
    /// Its contents differ.
    Modified,
    /// Only what is known about it differs.
    Metadata,
    /// It is something else.
    Type,
}

/// A difference between two snapshots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// How the entry differs.
    pub kind: ChangeKind,
    /// Its path, which begins with a slash.
    pub path: Vec<u8>,
}

/// Lists a folder of a snapshot, or one other entry; `recursive`: with all below it.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Damaged`], or what `each` returns.
pub fn list(
    repository: &Repository,
    snapshot: &SnapshotId,
    path: &[u8],
    recursive: bool,
    each: &mut EachEntry<'_>,
) -> Result<()> {
    let mut opener = Opener::new(repository.blob_limits())?;
    match locate(repository, &mut opener, snapshot, path)? {
        Located::Folder(path, tree) => walk(repository, &mut opener, path, tree, recursive, each).map(|_| ()),
        Located::Entry(path, node) => each(&path, &node).map(|_| ()),
    }
}

/// Gives every difference between two snapshots, in the order of paths.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Damaged`], or what `each` returns.
pub fn diff(
    repository: &Repository,
    first: &SnapshotId,
    second: &SnapshotId,
    each: &mut dyn FnMut(Change) -> Result<ControlFlow<()>>,
) -> Result<()> {
    let mut opener = Opener::new(repository.blob_limits())?;
    let (first, second) = (repository.top_tree(&mut opener, first)?, repository.top_tree(&mut opener, second)?);
    let mut stack = vec![Pairs::new(b"/".to_vec(), first, second)];
    while let Some(pairs) = stack.last_mut() {
        let Some((before, after)) = pairs.next() else {
            stack.pop();
            continue;
        };
        let name = before.as_ref().or(after.as_ref()).map(|node| node.name.clone()).unwrap_or_default();
        let path = join(&pairs.path, &name);
        let kind = compare(before.as_ref(), after.as_ref());
        if let Some(kind) = kind
            && each(Change { kind, path: path.clone() })?.is_break()
        {
            return Ok(());
        }
        let subtree = |node: &Option<Node>| node.as_ref().and_then(|node| node.subtree);
        let trees = (subtree(&before), subtree(&after));
        if trees.0 != trees.1 {
            check_depth(stack.len(), &path)?;
            let before = read_some_tree(repository, &mut opener, trees.0)?;
            let after = read_some_tree(repository, &mut opener, trees.1)?;
            stack.push(Pairs::new(path, before, after));
        }
    }
    Ok(())
}

enum Located {
    Folder(Vec<u8>, Arc<Tree>),
    Entry(Vec<u8>, Box<Node>),
}

fn locate(repository: &Repository, opener: &mut Opener, snapshot: &SnapshotId, path: &[u8]) -> Result<Located> {
    let mut tree = repository.top_tree(opener, snapshot)?;
    let mut at = b"/".to_vec();
    let mut names = path.split(|byte| *byte == b'/').filter(|name| !matches!(*name, b"" | b".")).peekable();
    while let Some(name) = names.next() {
        let not_found = || Error::NotFound { what: format!("{} in the snapshot", String::from_utf8_lossy(path)) };
        let node = tree.get(name).ok_or_else(not_found)?;
        at = join(&at, name);
        if node.kind == NodeKind::Dir {
            let subtree = node.subtree;
            tree = read_some_tree(repository, opener, subtree)?;
        } else if names.peek().is_none() {
            return Ok(Located::Entry(at, Box::new(node.clone())));
        } else {
            return Err(not_found());
        }
    }
    Ok(Located::Folder(at, tree))
}

fn walk(
    repository: &Repository,
    opener: &mut Opener,
    path: Vec<u8>,
    tree: Arc<Tree>,
    recursive: bool,
    each: &mut EachEntry<'_>,
) -> Result<ControlFlow<()>> {
    let mut stack = vec![(path, tree, 0)];
    while let Some((folder, tree, next)) = stack.last_mut() {
        let Some(node) = tree.nodes.get(*next) else {
            stack.pop();
            continue;
        };
        *next += 1;
        let path = join(folder, &node.name);
        if each(&path, node)?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
        if recursive && node.kind == NodeKind::Dir {
            let subtree = node.subtree;
            check_depth(stack.len(), &path)?;
            stack.push((path, read_some_tree(repository, opener, subtree)?, 0));
        }
    }
    Ok(ControlFlow::Continue(()))
}

pub(crate) fn check_depth(depth: usize, path: &[u8]) -> Result<()> {
    if depth < DEPTH_MAX {
        return Ok(());
    }
    let what = format!("the depth of {}", String::from_utf8_lossy(path));
    Err(Error::Limit { what, limit: format!("{DEPTH_MAX} levels") })
}

fn read_some_tree(repository: &Repository, opener: &mut Opener, id: Option<BlobId>) -> Result<Arc<Tree>> {
    id.map_or_else(|| Ok(Arc::default()), |id| repository.kept_tree(opener, &id))
}

pub(crate) fn join(folder: &[u8], name: &[u8]) -> Vec<u8> {
    let mut path = folder.to_vec();
    if path.last() != Some(&b'/') {
        path.push(b'/');
    }
    path.extend_from_slice(name);
    path
}

/// Returns how two entries of one name differ.
fn compare(before: Option<&Node>, after: Option<&Node>) -> Option<ChangeKind> {
    let (before, after) = match (before, after) {
        (None, None) => return None,
        (None, Some(_)) => return Some(ChangeKind::Added),
        (Some(_), None) => return Some(ChangeKind::Removed),
        (Some(before), Some(after)) => (before, after),
    };
    if before.kind != after.kind {
        return Some(ChangeKind::Type);
    }
    let contents = |node: &Node| (node.content.clone(), node.link_target().to_vec(), node.device);
    if contents(before) != contents(after) {
        return Some(ChangeKind::Modified);
    }
    // A folder's tree is compared entry by entry; when something was looked at and where it lies is no property of it.
    let rest = |node: &Node| {
        let own = Node { subtree: None, atime: None, ctime: None, inode: 0, device_id: 0, links: 0, ..node.clone() };
        Node { mtime: own.mtime.filter(|_| own.kind != NodeKind::Dir), ..own }
    };
    (rest(before) != rest(after)).then_some(ChangeKind::Metadata)
}

/// Two folders' entries, side by side in the order of names.
struct Pairs {
    path: Vec<u8>,
    before: std::iter::Peekable<std::vec::IntoIter<Node>>,
    after: std::iter::Peekable<std::vec::IntoIter<Node>>,
}

impl Pairs {
    fn new(path: Vec<u8>, before: Arc<Tree>, after: Arc<Tree>) -> Self {
        let (mut before, mut after) = (Arc::unwrap_or_clone(before), Arc::unwrap_or_clone(after));
        before.nodes.sort_by(|a, b| a.name.cmp(&b.name));
        after.nodes.sort_by(|a, b| a.name.cmp(&b.name));
        Self { path, before: before.nodes.into_iter().peekable(), after: after.nodes.into_iter().peekable() }
    }
}

impl Iterator for Pairs {
    type Item = (Option<Node>, Option<Node>);

    fn next(&mut self) -> Option<Self::Item> {
        let order = match (self.before.peek(), self.after.peek()) {
            (None, None) => return None,
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (Some(before), Some(after)) => before.name.cmp(&after.name),
        };
        let before = if order.is_le() { self.before.next() } else { None };
        let after = if order.is_ge() { self.after.next() } else { None };
        Some((before, after))
    }
}
