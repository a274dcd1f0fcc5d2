//! The walk through a snapshot's tree: what is selected, within bounds, and nothing with a name that could lead away.

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::blob::{BlobLimits, Opener};
use crate::control::Gate;
use crate::error::{Error, Result};
use crate::id::BlobId;
use crate::repository::Repository;
use crate::source::exclude::{Excludes, Includes};
use crate::tree::{Node, NodeKind, Tree};

use super::RestoreOptions;
use super::bounds::Bounds;
use super::target::is_part_name;

/// Where a walk begins.
#[derive(Debug)]
pub(super) struct Start {
    /// The path of the folder whose entries are walked, `/` for all; with it begin the paths that patterns see.
    pub(super) path: Vec<u8>,
    /// Its own entry, if it is not the top.
    pub(super) node: Option<Node>,
    /// Its entries.
    pub(super) tree: Tree,
}

/// Which entries are taken.
pub(super) struct Selection {
    /// The names on the way to the one entry that is taken with all that is in it; none: everything.
    only: Vec<Vec<u8>>,
    include: Option<Includes>,
    exclude: Excludes,
    /// The only paths that are taken, with all that is in them; `None`: all.
    again: Option<BTreeSet<Vec<u8>>>,
}

/// Is told what a walk meets, folders before what is in them.
pub(super) trait Visit {
    /// A folder is entered. `selected`: it is taken itself; otherwise something in it may be. Returns whether to go in.
    fn enter(&mut self, path: &[u8], node: &Node, selected: bool) -> Result<bool>;
    /// The folder that was entered last is left.
    fn leave(&mut self) -> Result<()>;
    /// An entry that is no folder.
    fn entry(&mut self, path: &[u8], node: Node) -> Result<()>;
    /// Something in the snapshot cannot be used.
    fn broken(&mut self, path: &[u8], error: Error);
}

impl Selection {
    pub(super) fn new(options: &RestoreOptions) -> Result<Self> {
        let RestoreOptions { include, exclude, only, .. } = options;
        let include = if include.is_empty() { None } else { Some(Includes::new(include)?) };
        let only = names(only.as_deref().unwrap_or_default()).map(<[u8]>::to_vec).collect();
        Ok(Self { only, include, exclude: Excludes::new(exclude)?, again: None })
    }

    /// Takes only what belongs to certain places in the destination, if some were named.
    pub(super) fn take_again(&mut self, options: &RestoreOptions, start: &Start) {
        use std::os::unix::ffi::OsStrExt;
        let inside = |place: &PathBuf| {
            let rest = place.strip_prefix(&options.destination).ok()?;
            Some(if rest.as_os_str().is_empty() {
                start.path.clone()
            } else {
                join(&start.path, rest.as_os_str().as_bytes())
            })
        };
        if !options.again.is_empty() {
            self.again = Some(options.again.iter().filter_map(inside).collect());
        }
    }

    /// Returns whether a path, or a folder that it is in, is among those that are taken.
    fn is_again(&self, path: &[u8]) -> bool {
        self.again.as_ref().is_none_or(|again| {
            let ends = (1..path.len()).filter(|end| path[*end] == b'/').chain([path.len()]);
            again.contains(&b"/"[..]) || ends.into_iter().any(|end| again.contains(&path[..end]))
        })
    }

    /// Returns whether something in a folder is among the paths that are taken.
    fn is_above_again(&self, path: &[u8]) -> bool {
        let folder = join(path, b"");
        self.again
            .as_ref()
            .is_some_and(|again| again.range(folder.clone()..).next().is_some_and(|next| next.starts_with(&folder)))
    }

    pub(super) fn takes(&self, path: &[u8]) -> bool {
        self.is_again(path)
            && names(path).take(self.only.len()).eq(&self.only)
            && !self.exclude.excluded(path)
            && self.include.as_ref().is_none_or(|include| include.included(path))
    }

    /// Says whether a folder is gone into, and if so, whether it is taken itself.
    pub(super) fn goes_into(&self, path: &[u8]) -> Option<bool> {
        let selected = self.takes(path);
        (selected || self.may_take_below(path)).then_some(selected)
    }

    fn may_take_below(&self, path: &[u8]) -> bool {
        (self.is_again(path) || self.is_above_again(path))
            && names(path).zip(&self.only).all(|(name, only)| name == only)
            && !self.exclude.excluded(path)
            && self.include.as_ref().is_none_or(|include| include.may_match_below(path))
    }
}

/// A folder's entries on their way.
pub(super) struct Frame {
    path: Vec<u8>,
    nodes: std::vec::IntoIter<Node>,
    /// The name of the entry before.
    last: Option<Vec<u8>>,
}

impl Frame {
    pub(super) fn new(path: Vec<u8>, mut tree: Tree) -> Self {
        // They are in every tree of an honest program; in any other, entries of one name come together here, and the
        // one that is stored first stays first.
        tree.nodes.sort_by(|a, b| a.name.cmp(&b.name));
        Self { path, nodes: tree.nodes.into_iter(), last: None }
    }

    /// Returns the next entry, and why it cannot be used if that is so.
    pub(super) fn next(&mut self) -> Option<(Node, Option<&'static str>)> {
        let node = self.nodes.next()?;
        let problem = if !node.has_safe_name() {
            Some("its name could lead out of the destination")
        } else if self.last.as_ref() == Some(&node.name) {
            Some("its folder has another entry of the same name")
        } else if is_part_name(&node.name) {
            Some("its name is that of an unfinished file of a restore")
        } else {
            None
        };
        self.last = Some(node.name.clone());
        Some((node, problem))
    }
}

/// Walks depth first, entries in the order of their names.
pub(super) fn walk(
    repository: &Repository,
    start: &Start,
    selection: &Selection,
    mut bounds: Bounds,
    gate: &Gate,
    visit: &mut dyn Visit,
) -> Result<()> {
    let mut opener = Opener::new(bounds.blobs)?;
    let mut stack = vec![Frame::new(start.path.clone(), start.tree.clone())];
    while let Some(frame) = stack.last_mut() {
        let Some((node, problem)) = frame.next() else {
            stack.pop();
            if !stack.is_empty() {
                visit.leave()?;
            }
            continue;
        };
        let path = join(&frame.path, &node.name);
        bounds.take(1, 0)?;
        if let Some(problem) = problem {
            visit.broken(&path, Error::damaged(display(&path), problem));
            continue;
        }
        if node.kind == NodeKind::Dir {
            gate.check()?;
            let too_deep = (stack.len() >= bounds.depth).then_some(bounds.depth);
            if let Some(tree) = enter(repository, &mut opener, selection, too_deep, (&path, &node), visit)? {
                stack.push(Frame::new(path, tree));
            }
        } else if selection.takes(&path) {
            bounds.take(0, contents_length(repository, &node))?;
            visit.entry(&path, node)?;
        }
    }
    Ok(())
}

/// Returns a folder's tree if the walk is to go into it.
fn enter(
    repository: &Repository,
    opener: &mut Opener,
    selection: &Selection,
    too_deep: Option<usize>,
    (path, node): (&[u8], &Node),
    visit: &mut dyn Visit,
) -> Result<Option<Tree>> {
    let Some(selected) = selection.goes_into(path) else { return Ok(None) };
    if let Some(depth) = too_deep {
        let limit = format!("{depth} levels");
        visit.broken(path, Error::Limit { what: format!("the depth of {}", display(path)), limit });
        return Ok(None);
    }
    if !visit.enter(path, node, selected)? {
        return Ok(None);
    }
    Ok(Some(subtree(repository, opener, node).unwrap_or_else(|error| {
        visit.broken(path, error);
        Tree::default()
    })))
}

fn subtree(repository: &Repository, opener: &mut Opener, node: &Node) -> Result<Tree> {
    let id = node.subtree.ok_or_else(|| Error::damaged("a folder", "it names no tree"))?;
    repository.read_tree(opener, &id)
}

/// Finds where a restore of a path begins: in the folder of that path, or above the one file that is meant.
pub(super) fn start(repository: &Repository, blobs: BlobLimits, tree: &BlobId, path: Option<&[u8]>) -> Result<Start> {
    let mut opener = Opener::new(blobs)?;
    let mut start = Start { path: b"/".to_vec(), node: None, tree: repository.read_tree(&mut opener, tree)? };
    let path = path.unwrap_or_default();
    let mut names = names(path).peekable();
    while let Some(name) = names.next() {
        let not_found = || Error::NotFound { what: format!("{} in the snapshot", display(path)) };
        let node = start.tree.get(name).ok_or_else(not_found)?.clone();
        if node.kind == NodeKind::Dir {
            let tree = subtree(repository, &mut opener, &node)?;
            start = Start { path: join(&start.path, name), node: Some(node), tree };
        } else if names.peek().is_none() {
            start.node = None;
            start.tree.nodes = vec![node];
        } else {
            return Err(not_found());
        }
    }
    Ok(start)
}

/// Returns the names a path is made of.
fn names(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/').filter(|name| !matches!(*name, b"" | b"."))
}

/// Returns how many bytes a file's blobs hold, as far as they are known.
pub(super) fn contents_length(repository: &Repository, node: &Node) -> u64 {
    repository.index().data_length(node.content.as_deref().unwrap_or_default())
}

pub(super) fn join(folder: &[u8], name: &[u8]) -> Vec<u8> {
    let mut path = folder.to_vec();
    if path.last() != Some(&b'/') {
        path.push(b'/');
    }
    path.extend_from_slice(name);
    path
}

pub(super) fn display(path: &[u8]) -> String {
    to_path(path).display().to_string()
}

pub(super) fn to_path(path: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    PathBuf::from(std::ffi::OsStr::from_bytes(path))
}
