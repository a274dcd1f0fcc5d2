//! `snapshot.ls`, `snapshot.find`, `snapshot.diff` and `snapshot.cat`: looking into snapshots.

use std::io;
use std::ops::ControlFlow;

use backup_engine::browse::{self, ByteRange, ChangeKind as EngineChange};
use backup_engine::id::SnapshotId;
use backup_engine::snapshot::SnapshotQuery as Filter;
use backup_engine::source::meta::permissions;
use backup_engine::tree::{Node, NodeKind};
use backup_engine::{Error as EngineError, Repository};
use backup_proto::error::{ErrorKind, RpcError};
use backup_proto::page::{Page, PageBuilder, PageRequest};
use backup_proto::params::{SnapshotCat, SnapshotDiff, SnapshotFind, SnapshotLs};
use backup_proto::path::WirePath;
use backup_proto::snapshot::{Change, ChangeKind, Entry, EntryKind, Found};
use backup_proto::spec::SnapshotQuery;

use super::snapshot::snapshots_of;
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
    let mut each = |path: &[u8], node: &Node| go_on(builder.push(hex::encode(path), entry(path, node)));
    let FoundSnapshot { repository, id, .. } = &found;
    walk_after(repository, id, folder, params.recursive, after.as_deref(), &mut each)
        .map_err(|error| inside(&error))?;
    Ok(builder.finish())
}

pub(super) fn find(params: &SnapshotFind, context: &Context) -> Result<Page<Found>, RpcError> {
    let after =
        params.page.after.as_deref().map(|after| hit_position(after).ok_or_else(|| no_position(after))).transpose()?;
    let mut builder = PageBuilder::new(&params.page);
    let mut is_before = after.is_some();
    for (target, id) in searched(params, context)? {
        let mut skip = 0;
        if let Some((last_target, last_id, count)) = after.as_ref().filter(|_| is_before) {
            if (last_target, last_id) != (&target, &id.to_string()) {
                continue;
            }
            (is_before, skip) = (false, *count);
        }
        let (_, repository) = context.targets.open_existing(&target).map_err(|error| error.to_rpc())?;
        let repository = context.looks.of(&repository);
        let listed = repository.snapshots().map_err(|error| rpc_error(&error))?.list;
        let Some((_, snapshot)) = listed.into_iter().find(|(other, _)| *other == id) else { continue };
        repository.load_index().map_err(|error| rpc_error(&error))?;
        let (mut count, mut is_full) = (0_u64, false);
        let mut each = |id: &SnapshotId, path: &[u8], node: &Node| {
            count += 1;
            if count <= skip {
                return Ok(ControlFlow::Continue(()));
            }
            let entry = entry(path, node);
            let hit = Found { snapshot: id.to_string(), target: target.clone(), time: snapshot.time, entry };
            is_full = !builder.push(format!("{target}/{id}/{count}"), hit);
            go_on(!is_full)
        };
        browse::find(&repository, &params.pattern, &[id], &mut each).map_err(|error| inside(&error))?;
        if is_full {
            break;
        }
    }
    Ok(builder.finish())
}

/// Returns the snapshots to search, with their targets.
fn searched(params: &SnapshotFind, context: &Context) -> Result<Vec<(String, SnapshotId)>, RpcError> {
    if let Some(snapshot) = &params.snapshot {
        let query = SnapshotQuery {
            snapshot: snapshot.clone(),
            target: params.target.clone(),
            plan: None,
            host: params.host.clone(),
            path: None,
        };
        let found = find_snapshot(&query, context)?;
        return Ok(vec![(found.place.name, found.id)]);
    }
    let filter = Filter { host: params.host.clone(), ..Filter::default() };
    let mut all = Vec::new();
    for (target, list) in snapshots_of(params.target.as_deref(), context)? {
        let fitting = list.into_iter().filter(|(_, snapshot)| filter.fits(snapshot));
        all.extend(fitting.map(|(id, _)| (target.clone(), id)));
    }
    Ok(all)
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
fn inside(error: &EngineError) -> RpcError {
    match error {
        EngineError::NotFound { .. } => {
            RpcError::new(ErrorKind::PathNotFound, error.to_string(), "`backupctl ls` lists what is there.")
        }
        error => rpc_error(error),
    }
}

fn go_on(more: bool) -> Result<ControlFlow<()>, EngineError> {
    Ok(if more { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
}

fn no_position(after: &str) -> RpcError {
    let message = format!("`{after}` is no position in this list");
    RpcError::new(ErrorKind::InvalidParams, message, "Pass `next` as it was given.")
}

fn count_position(page: &PageRequest) -> Result<u64, RpcError> {
    page.after.as_deref().map_or(Ok(0), |after| after.parse().map_err(|_| no_position(after)))
}

fn hit_position(after: &str) -> Option<(String, String, u64)> {
    let mut parts = after.split('/');
    let position = (parts.next()?.to_owned(), parts.next()?.to_owned(), parts.next()?.parse().ok()?);
    parts.next().is_none().then_some(position)
}

fn entry(path: &[u8], node: &Node) -> Entry {
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
    }
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
