//! `snapshot.ls`, `snapshot.diff` and `snapshot.cat`: looking into snapshots.

use std::io;
use std::ops::ControlFlow;

use backup_engine::browse::{self, ByteRange, ChangeKind as EngineChange};
use backup_engine::source::meta::permissions;
use backup_engine::tree::{Node, NodeKind};
use backup_engine::{Error as EngineError, Repository};
use backup_proto::error::{ErrorKind, RpcError};
use backup_proto::page::{Page, PageBuilder, PageRequest};
use backup_proto::params::{SnapshotCat, SnapshotDiff, SnapshotLs};
use backup_proto::path::WirePath;
use backup_proto::snapshot::{ATTRIBUTES_BYTES_MAX, Attribute, Change, ChangeKind, Entry, EntryKind};
use backup_proto::spec::SnapshotQuery;

use super::walk::walk_after;
use crate::context::Context;
use crate::wire::rpc_error;
use crate::worker::find::{FoundSnapshot, find_snapshot};

pub(super) fn ls(params: &SnapshotLs, context: &Context) -> Result<Page<Entry>, RpcError> {
    let found = open(&params.query, context)?;
    let folder = params.folder.as_ref().map_or(&b"/"[..], WirePath::as_bytes);
    let after =
        params.page.after.as_deref().map(|after| hex::decode(after).map_err(|_| no_position(after))).transpose()?;
    let mut builder = PageBuilder::new(&params.page);
    let mut each = |path: &[u8], node: &Node| {
        let attributes = if params.attributes { attributes(node) } else { Vec::new() };
        go_on(builder.push(hex::encode(path), Entry { attributes, ..entry(path, node) }))
    };
    let FoundSnapshot { repository, id, .. } = &found;
    walk_after(repository, id, folder, params.recursive, after.as_deref(), &mut each)
        .map_err(|error| inside(&error))?;
    Ok(builder.finish())
}

pub(super) fn diff(params: &SnapshotDiff, context: &Context) -> Result<Page<Change>, RpcError> {
    let (first, second) = (open(&params.a, context)?, open(&params.b, context)?);
    if first.repository.id() != second.repository.id() {
        let message = "the two snapshots are in different targets";
        return Err(RpcError::new(ErrorKind::InvalidParams, message, "Name two snapshots of one target."));
    }
    let skip = count_position(&params.page)?;
    let (mut builder, mut count) = (PageBuilder::new(&params.page), 0_u64);
    let mut each = |change: browse::Change| {
        if change.kind == EngineChange::Metadata && !params.metadata {
            return Ok(ControlFlow::Continue(()));
        }
        count += 1;
        let path = WirePath::from_bytes(change.path);
        go_on(count <= skip || builder.push(count.to_string(), Change { change: change_kind(change.kind), path }))
    };
    browse::diff(&first.repository, &first.id, &second.id, &mut each).map_err(|error| inside(&error))?;
    Ok(builder.finish())
}

pub(super) fn cat(
    params: &SnapshotCat,
    context: &Context,
    out: &mut dyn FnMut(&[u8]) -> io::Result<()>,
) -> Result<(), RpcError> {
    let found = open(&params.query, context)?;
    // Whoever asked has gone away: there is nothing to say and nobody to say it to.
    let mut piece = |bytes: &[u8]| out(bytes).map_err(|_| EngineError::Cancelled);
    let range = ByteRange { offset: params.offset.unwrap_or(0), length: params.length };
    browse::cat(&found.repository, &found.id, params.file.as_bytes(), range, &mut piece).map_err(|error| inside(&error))
}

/// Finds a snapshot and loads what is needed to look into it.
fn open(query: &SnapshotQuery, context: &Context) -> Result<FoundSnapshot, RpcError> {
    let mut found = find_snapshot(query, context)?;
    found.repository = context.looks.of(&found.repository);
    load_index(&found.repository)?;
    Ok(found)
}

fn load_index(repository: &Repository) -> Result<(), RpcError> {
    // What a damaged index file lists is missed where it is needed, by name.
    repository.load_index().map(|_| ()).map_err(|error| rpc_error(&error))
}

/// Says what went wrong inside a snapshot: what is not there is a path.
pub(super) fn inside(error: &EngineError) -> RpcError {
    match error {
        EngineError::NotFound { .. } => {
            RpcError::new(ErrorKind::PathNotFound, error.to_string(), "`backupctl ls` lists what is there.")
        }
        error => rpc_error(error),
    }
}

pub(super) fn go_on(more: bool) -> Result<ControlFlow<()>, EngineError> {
    Ok(if more { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
}

pub(super) fn no_position(after: &str) -> RpcError {
    let message = format!("`{after}` is no position in this list");
    RpcError::new(ErrorKind::InvalidParams, message, "Pass `next` as it was given.")
}

fn count_position(page: &PageRequest) -> Result<u64, RpcError> {
    page.after.as_deref().map_or(Ok(0), |after| after.parse().map_err(|_| no_position(after)))
}

pub(super) fn entry(path: &[u8], node: &Node) -> Entry {
    let link_target = node.linktarget_raw.clone().unwrap_or_else(|| node.linktarget.clone().into_bytes());
    Entry {
        path: WirePath::from_bytes(path),
        kind: match node.kind {
            NodeKind::File => EntryKind::File,
            NodeKind::Dir => EntryKind::Folder,
            NodeKind::Symlink => EntryKind::Symlink,
            NodeKind::Dev => EntryKind::BlockDevice,
            NodeKind::Chardev => EntryKind::CharacterDevice,
            NodeKind::Fifo => EntryKind::Fifo,
            NodeKind::Socket => EntryKind::Socket,
            NodeKind::Unknown => EntryKind::Unknown,
        },
        mode: number(permissions(node.mode).bits()),
        uid: node.uid,
        gid: node.gid,
        user: Some(node.user.clone()).filter(|name| !name.is_empty()),
        group: Some(node.group.clone()).filter(|name| !name.is_empty()),
        size_bytes: node.size,
        modified: node.mtime,
        link_target: (node.kind == NodeKind::Symlink).then(|| WirePath::from_bytes(link_target)),
        links: (node.links > 0).then_some(node.links),
        attributes: Vec::new(),
    }
}

fn attributes(node: &Node) -> Vec<Attribute> {
    let all = || node.extended_attributes.iter();
    if all().map(|one| one.name.len() + one.value.len()).sum::<usize>() > ATTRIBUTES_BYTES_MAX {
        return Vec::new();
    }
    all().map(|one| Attribute { name: one.name.clone(), value: one.value.clone() }).collect()
}

/// Makes a mode, whose width differs among systems, a number of the wire.
fn number(bits: impl Into<u32>) -> u32 {
    bits.into()
}

fn change_kind(kind: EngineChange) -> ChangeKind {
    match kind {
        EngineChange::Added => ChangeKind::Added,
        EngineChange::Removed => ChangeKind::Removed,
        EngineChange::Modified => ChangeKind::Modified,
        EngineChange::Metadata => ChangeKind::Metadata,
        EngineChange::Type => ChangeKind::Type,
    }
}
