//! Rewriting a snapshot's trees without what is lost.
//!
//! A file keeps the pieces that are there and becomes as long as they are; a folder whose tree is lost becomes an empty
//! one. All else is as it was, with the fields that are not known here too.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::known::Known;
use crate::blob::Opener;
use crate::error::{Error, Result};
use crate::id::{BlobHandle, BlobId, BlobKind};
use crate::limits::DEPTH_MAX;
use crate::tree::{Node, NodeKind, Tree, TreeError, join_nodes};

/// Told the path of what is lost, and what of it.
pub(super) type Lose<'a> = &'a mut dyn FnMut(&Path, &str);

/// Stores a new tree.
pub(super) type Save<'a> = &'a mut dyn FnMut(BlobId, &[u8]) -> Result<()>;

/// Rewrites trees, and remembers those that need not be.
pub(super) struct Rewriter<'a> {
    known: &'a Known<'a>,
    opener: Opener,
    look: &'a dyn Fn() -> Result<()>,
    whole: HashSet<BlobId>,
}

/// A folder on the way from the root.
struct Frame {
    path: PathBuf,
    tree: BlobId,
    bytes: Vec<u8>,
    nodes: Vec<Node>,
    next: usize,
    edits: Vec<(usize, Edit)>,
}

/// A change of an entry.
enum Edit {
    Subtree(BlobId),
    Content { content: Vec<BlobId>, size: u64 },
}

impl<'a> Rewriter<'a> {
    pub(super) fn new(known: &'a Known<'a>, look: &'a dyn Fn() -> Result<()>) -> Result<Self> {
        let opener = Opener::new(known.repository.blob_limits())?;
        Ok(Self { known, opener, look, whole: HashSet::new() })
    }

    /// Returns the id of the tree that takes a root's place: its own if nothing is lost, none if it is itself.
    pub(super) fn rewrite(&mut self, root: BlobId, lose: Lose<'_>, save: Save<'_>) -> Result<Option<BlobId>> {
        if self.whole.contains(&root) {
            return Ok(Some(root));
        }
        let Some(frame) = self.open(root, PathBuf::from("/"), lose)? else { return Ok(None) };
        let mut stack = vec![frame];
        loop {
            let depth = stack.len();
            let Some(frame) = stack.last_mut() else { return Ok(None) };
            if frame.next < frame.nodes.len() {
                let inner = self.step(frame, lose, save)?;
                if inner.is_some() && depth > DEPTH_MAX {
                    let what = format!("the folder {}", frame.path.display());
                    return Err(Error::Limit { what, limit: format!("{DEPTH_MAX} levels") });
                }
                stack.extend(inner);
                continue;
            }
            let tree = self.close(frame, save)?;
            let old = frame.tree;
            stack.pop();
            match stack.last_mut() {
                None => return Ok(Some(tree)),
                Some(parent) if tree != old => parent.edits.push((parent.next - 1, Edit::Subtree(tree))),
                Some(_) => {}
            }
        }
    }

    /// Looks at the next entry of a folder; returns the folder that it is, if it has to be looked into.
    fn step(&mut self, frame: &mut Frame, lose: Lose<'_>, save: Save<'_>) -> Result<Option<Frame>> {
        let at = frame.next;
        frame.next += 1;
        let node = &frame.nodes[at];
        let path = || frame.path.join(OsStr::from_bytes(&node.name));
        match (node.kind, node.subtree) {
            (NodeKind::Dir, Some(tree)) if self.whole.contains(&tree) => {}
            (NodeKind::Dir, subtree) => {
                let inner = match subtree {
                    Some(tree) => self.open(tree, path(), lose)?,
                    None => {
                        lose(&path(), "the folder names no list of its entries");
                        None
                    }
                };
                if inner.is_some() {
                    return Ok(inner);
                }
                let empty = join_nodes(std::iter::empty(), 0);
                save(BlobId::of(&empty), &empty)?;
                frame.edits.push((at, Edit::Subtree(BlobId::of(&empty))));
            }
            (NodeKind::File, _) => {
                if let Some(edit) = self.check_file(node, path, lose) {
                    frame.edits.push((at, edit));
                }
            }
            _ => {}
        }
        Ok(None)
    }

    /// Reads a folder; one that is lost is reported.
    fn open(&mut self, tree: BlobId, path: PathBuf, lose: Lose<'_>) -> Result<Option<Frame>> {
        (self.look)()?;
        let handle = BlobHandle { kind: BlobKind::Tree, id: tree };
        let Some(location) = self.known.get(&handle) else {
            lose(&path, "the list of its entries is lost, and with it everything in it");
            return Ok(None);
        };
        let most = self.opener.limits().folder_entries;
        let bytes = self.known.read(&handle, &location, &mut self.opener)?.1.to_vec();
        match Tree::decode_within(&bytes, most) {
            Ok(Tree { nodes }) => Ok(Some(Frame { path, tree, bytes, nodes, next: 0, edits: Vec::new() })),
            Err(TreeError::TooLong) => {
                Err(Error::Limit { what: format!("the folder {}", path.display()), limit: format!("{most} entries") })
            }
            Err(TreeError::Broken(problem)) => {
                lose(&path, &format!("the list of its entries makes no sense ({problem})"));
                Ok(None)
            }
        }
    }

    /// Ends a folder; returns the tree it has now.
    fn close(&mut self, frame: &mut Frame, save: Save<'_>) -> Result<BlobId> {
        if frame.edits.is_empty() {
            self.whole.insert(frame.tree);
            return Ok(frame.tree);
        }
        let broken = |problem: String| Error::damaged(format!("tree blob {}", frame.tree), problem);
        let mut tree: Value = serde_json::from_slice(&frame.bytes).map_err(|error| broken(error.to_string()))?;
        for (at, edit) in frame.edits.drain(..) {
            let node = tree.get_mut("nodes").and_then(|nodes| nodes.get_mut(at)).and_then(Value::as_object_mut);
            let node = node.ok_or_else(|| broken(format!("it has no entry {at}")))?;
            match edit {
                Edit::Subtree(subtree) => _ = node.insert("subtree".to_owned(), subtree.to_string().into()),
                Edit::Content { content, size } => {
                    let content: Vec<Value> = content.iter().map(|id| id.to_string().into()).collect();
                    node.insert("content".to_owned(), content.into());
                    node.insert("size".to_owned(), size.into());
                }
            }
        }
        let mut bytes = serde_json::to_vec(&tree).map_err(|error| broken(error.to_string()))?;
        bytes.push(b'\n');
        let id = BlobId::of(&bytes);
        save(id, &bytes)?;
        Ok(id)
    }

    fn check_file(&self, node: &Node, path: impl Fn() -> PathBuf, lose: Lose<'_>) -> Option<Edit> {
        let wanted = node.content.as_deref().unwrap_or_default();
        let (mut content, mut size) = (Vec::with_capacity(wanted.len()), 0_u64);
        for id in wanted {
            if let Some(location) = self.known.get(&BlobHandle { kind: BlobKind::Data, id: *id }) {
                content.push(*id);
                size = size.saturating_add(location.contents_length());
            }
        }
        let lost = wanted.len() - content.len();
        if lost == 0 && size == node.size {
            return None;
        }
        let problem = match lost {
            0 => format!("it has {size} bytes instead of the {} that are written down", node.size),
            _ => format!("{lost} of its {} pieces are lost: {size} of {} bytes are left", wanted.len(), node.size),
        };
        lose(&path(), &problem);
        Some(Edit::Content { content, size })
    }
}
