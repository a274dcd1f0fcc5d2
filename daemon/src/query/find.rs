//! `snapshot.find`: where names match a pattern, and what a blob, a tree or a pack is for.

use std::ops::ControlFlow;

use backup_engine::browse::Finder;
use backup_engine::id::{BlobHandle, BlobKind as EngineKind, SnapshotId};
use backup_engine::snapshot::SnapshotQuery as Filter;
use backup_engine::tree::Node;
use backup_engine::uses::{EachUse, Object, Uses};
use backup_engine::{Error as EngineError, Result};
use backup_proto::error::{ErrorKind, RpcError};
use backup_proto::page::{Page, PageBuilder, PageRequest};
use backup_proto::params::SnapshotFind;
use backup_proto::path::WirePath;
use backup_proto::snapshot::{Blob, BlobKind, Entry, EntryKind, Found};
use backup_proto::spec::SnapshotQuery;
use jiff::Timestamp;

use super::browse::{entry, go_on, inside, no_position};
use super::snapshot::snapshots_of;
use crate::context::Context;
use crate::wire::rpc_error;
use crate::worker::find::find_snapshot;

pub(super) fn find(params: &SnapshotFind, context: &Context) -> Result<Page<Found>, RpcError> {
    let wanted = Wanted::of(params)?;
    let after = Position::of(&params.page)?;
    let mut builder = PageBuilder::new(&params.page);
    let mut search: Option<Search> = None;
    let mut is_before = after.is_some();
    for (target, id, time) in searched(params, context)? {
        let mut skip = 0;
        if let Some(after) = after.as_ref().filter(|_| is_before) {
            if after.target != target || after.snapshot != id.to_string() {
                continue;
            }
            (is_before, skip) = (false, after.count);
        }
        let search = match search.take().filter(|search| search.target == target) {
            Some(same) => search.insert(same),
            None => search.insert(Search::new(&target, wanted, context)?),
        };
        let (mut count, mut is_full) = (0_u64, false);
        let mut each = |blob: Option<&BlobHandle>, path: &[u8], node: Option<&Node>| {
            count += 1;
            if count <= skip {
                return Ok(ControlFlow::Continue(()));
            }
            let entry = node.map_or_else(|| top(path), |node| entry(path, node));
            let hit = Found { snapshot: id.to_string(), target: target.clone(), time, blob: blob.map(view), entry };
            is_full = !builder.push(format!("{target}/{id}/{count}"), hit);
            go_on(!is_full)
        };
        match search.in_snapshot(&id, &mut each) {
            // Somebody has forgotten it meanwhile.
            Err(EngineError::NotFound { .. }) => {}
            other => other.map_err(|error| inside(&error))?,
        }
        if is_full {
            break;
        }
    }
    Ok(builder.finish())
}

/// What somebody looks for.
#[derive(Clone, Copy)]
enum Wanted<'p> {
    Pattern(&'p str),
    Object(Object<'p>),
}

impl<'p> Wanted<'p> {
    fn of(params: &'p SnapshotFind) -> Result<Self, RpcError> {
        let given = [
            params.pattern.as_deref().map(Wanted::Pattern),
            params.blob.as_deref().map(|id| Wanted::Object(Object::Data(id))),
            params.tree.as_deref().map(|id| Wanted::Object(Object::Tree(id))),
            params.pack.as_deref().map(|id| Wanted::Object(Object::Pack(id))),
        ];
        let mut given = given.into_iter().flatten();
        match (given.next(), given.next()) {
            (Some(wanted), None) => Ok(wanted),
            _ => {
                let message = "a search has exactly one of `pattern`, `blob`, `tree` and `pack`";
                Err(RpcError::new(ErrorKind::InvalidParams, message, "Say one thing to look for."))
            }
        }
    }
}

/// A search in the snapshots of one target.
struct Search {
    target: String,
    how: How,
}

enum How {
    Pattern(Box<Finder>),
    Uses(Uses),
    /// The target has nothing of this id.
    Unknown,
}

/// Is given the blob an entry was found by, its path and itself.
type EachHit<'f> = dyn FnMut(Option<&BlobHandle>, &[u8], Option<&Node>) -> Result<ControlFlow<()>> + 'f;

impl Search {
    fn new(target: &str, wanted: Wanted<'_>, context: &Context) -> Result<Self, RpcError> {
        let (_, repository) = context.targets.open_existing(target).map_err(|error| error.to_rpc())?;
        let repository = context.looks.of(&repository);
        repository.load_index().map_err(|error| rpc_error(&error))?;
        let how = match wanted {
            Wanted::Pattern(pattern) => {
                How::Pattern(Box::new(Finder::new(repository, pattern).map_err(|error| inside(&error))?))
            }
            Wanted::Object(object) => match Uses::of(repository, object) {
                Ok(uses) => How::Uses(uses),
                Err(EngineError::NotFound { .. }) => How::Unknown,
                Err(error) => return Err(rpc_error(&error)),
            },
        };
        Ok(Self { target: target.to_owned(), how })
    }

    fn in_snapshot(&mut self, id: &SnapshotId, each: &mut EachHit<'_>) -> Result<()> {
        match &mut self.how {
            How::Pattern(finder) => finder.in_snapshot(id, &mut |path, node| each(None, path, Some(node))),
            How::Uses(uses) => {
                let using: &mut EachUse<'_> = &mut |blob, path, node| each(Some(blob), path, node);
                uses.in_snapshot(id, using)
            }
            How::Unknown => Ok(()),
        }
    }
}

/// Returns the snapshots to search, with their targets and times.
fn searched(params: &SnapshotFind, context: &Context) -> Result<Vec<(String, SnapshotId, Timestamp)>, RpcError> {
    if let Some(snapshot) = &params.snapshot {
        let query = SnapshotQuery {
            snapshot: snapshot.clone(),
            target: params.target.clone(),
            plan: None,
            host: params.host.clone(),
            path: None,
        };
        let found = find_snapshot(&query, context)?;
        return Ok(vec![(found.place.name, found.id, found.snapshot.time)]);
    }
    let filter = Filter { host: params.host.clone(), ..Filter::default() };
    let mut all = Vec::new();
    for (target, list) in snapshots_of(params.target.as_deref(), context)? {
        let fitting = list.into_iter().filter(|(_, snapshot)| filter.fits(snapshot));
        all.extend(fitting.map(|(id, snapshot)| (target.clone(), id, snapshot.time)));
    }
    Ok(all)
}

/// Where a page ended: behind so many hits in a snapshot.
struct Position {
    target: String,
    snapshot: String,
    count: u64,
}

impl Position {
    fn of(page: &PageRequest) -> Result<Option<Self>, RpcError> {
        page.after.as_deref().map(|after| Self::read(after).ok_or_else(|| no_position(after))).transpose()
    }

    fn read(after: &str) -> Option<Self> {
        let mut parts = after.split('/');
        let (target, snapshot) = (parts.next()?.to_owned(), parts.next()?.to_owned());
        let count = parts.next()?.parse().ok()?;
        parts.next().is_none().then_some(Self { target, snapshot, count })
    }
}

fn view(blob: &BlobHandle) -> Blob {
    let kind = match blob.kind {
        EngineKind::Data => BlobKind::Data,
        EngineKind::Tree => BlobKind::Tree,
    };
    Blob { kind, id: blob.id.to_string() }
}

/// Returns the top of a snapshot, of which a path is all there is.
fn top(path: &[u8]) -> Entry {
    Entry {
        path: WirePath::from_bytes(path),
        kind: EntryKind::Folder,
        mode: 0,
        uid: 0,
        gid: 0,
        user: None,
        group: None,
        size_bytes: 0,
        modified: None,
        link_target: None,
        links: None,
        attributes: Vec::new(),
    }
}
