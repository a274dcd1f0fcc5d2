//! A long listing, page by page: goes on behind a path without walking all that comes before it.

use std::ops::ControlFlow;

use backup_engine::browse::{EachEntry, list};
use backup_engine::id::SnapshotId;
use backup_engine::tree::{Node, NodeKind};
use backup_engine::{Repository, Result};

/// Gives the entries of a folder, or of all below it, that come behind the path `after`.
///
/// A page begins in the folder where the one before it ended: what is behind its last entry there, then what is behind
/// that folder in the one above, and so on. Only the folders on the way are read again.
pub(super) fn walk_after(
    repository: &Repository,
    snapshot: &SnapshotId,
    folder: &[u8],
    recursive: bool,
    after: Option<&[u8]>,
    each: &mut EachEntry<'_>,
) -> Result<()> {
    let Some(after) = after else { return list(repository, snapshot, folder, recursive, each) };
    let folder = trimmed(folder);
    let mut walk = Walk { repository, snapshot, is_over: false };
    if recursive {
        walk.below(after, each)?;
    }
    let mut at = after;
    while !walk.is_over && at.len() > folder.len() {
        let above = parent(at);
        walk.behind(above, at, recursive, each)?;
        at = above;
    }
    Ok(())
}

struct Walk<'a> {
    repository: &'a Repository,
    snapshot: &'a SnapshotId,
    is_over: bool,
}

impl Walk<'_> {
    /// Gives everything below a path, if it is a folder.
    fn below(&mut self, path: &[u8], each: &mut EachEntry<'_>) -> Result<()> {
        let is_over = &mut self.is_over;
        let mut inner = |entry: &[u8], node: &Node| {
            // A path that is no folder is listed as itself.
            let flow = if entry == path { ControlFlow::Continue(()) } else { each(entry, node)? };
            *is_over |= flow.is_break();
            Ok(flow)
        };
        list(self.repository, self.snapshot, path, true, &mut inner)
    }

    /// Gives the entries of a folder that come behind one of them.
    fn behind(&mut self, folder: &[u8], at: &[u8], recursive: bool, each: &mut EachEntry<'_>) -> Result<()> {
        let (mut is_behind, mut is_over, mut rest) = (false, false, Vec::new());
        let mut collect = |path: &[u8], node: &Node| {
            if is_behind && !recursive {
                let flow = each(path, node)?;
                is_over |= flow.is_break();
                return Ok(flow);
            }
            if is_behind {
                rest.push((path.to_vec(), node.clone()));
            }
            is_behind |= path == at;
            Ok(ControlFlow::Continue(()))
        };
        list(self.repository, self.snapshot, if folder.is_empty() { b"/" } else { folder }, false, &mut collect)?;
        self.is_over |= is_over;
        for (path, node) in rest {
            self.is_over |= each(&path, &node)?.is_break();
            if recursive && !self.is_over && node.kind == NodeKind::Dir {
                self.below(&path, each)?;
            }
            if self.is_over {
                break;
            }
        }
        Ok(())
    }
}

/// Returns the folder of a path, without a slash at its end: empty for the top.
fn parent(path: &[u8]) -> &[u8] {
    let slash = path.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
    &path[..slash]
}

fn trimmed(path: &[u8]) -> &[u8] {
    let end = path.iter().rposition(|byte| *byte != b'/').map_or(0, |last| last + 1);
    &path[..end]
}
