//! Which snapshot somebody means: in one target or in all of them.

use std::path::PathBuf;
use std::sync::Arc;

use backup_engine::id::SnapshotId;
use backup_engine::snapshot::{Snapshot, SnapshotQuery as EngineQuery};
use backup_engine::{Error as EngineError, Repository};
use backup_proto::error::{ErrorKind, RpcError};
use backup_proto::spec::SnapshotQuery;

use crate::context::Context;
use crate::targets::{Place, TargetError};

/// How the tag of a plan's snapshots begins; the plan's name follows.
pub const PLAN_TAG: &str = "backupd:plan=";

/// The tag of a snapshot in which named items are missing; other programs keep it when they rewrite the snapshot.
pub const INCOMPLETE_TAG: &str = "backupd:incomplete";

/// The further tag of a snapshot that a first backup left when it was interrupted: the next whole one replaces it, and
/// `latest` is it only if there is no other.
pub const INTERRUPTED_TAG: &str = "backupd:interrupted";

/// The further tag of a snapshot that has only what is critical in its plan: the next whole one that has all of that
/// replaces it, and `latest` is it only if there is no other.
pub const CRITICAL_TAG: &str = "backupd:critical";

/// The tag of a snapshot for which only what the caller named as changed was looked at.
pub const HINTED_TAG: &str = "backupd:hinted";

/// How the tag begins that keeps a snapshot from being forgotten; the date until which it does follows.
pub const HOLD_TAG: &str = "backupd:hold=";

/// The tag of a snapshot for which a large part of its source had changed, and that of any other.
pub const CHANGE_TAGS: [&str; 2] = ["backupd:major", "backupd:minor"];

/// Returns whether a snapshot is one of a part of its sources, which is there until a whole one is.
#[must_use]
pub fn is_part(snapshot: &Snapshot) -> bool {
    snapshot.tags.iter().any(|tag| tag == INTERRUPTED_TAG || tag == CRITICAL_TAG)
}

/// Returns whether a snapshot is what an interrupted backup has left.
#[must_use]
pub fn is_interrupted(snapshot: &Snapshot) -> bool {
    snapshot.tags.iter().any(|tag| tag == INTERRUPTED_TAG)
}

/// Returns the tag by which a plan's snapshots are found again, also after another program has rewritten them.
#[must_use]
pub fn plan_tag(plan: &str) -> String {
    format!("{PLAN_TAG}{plan}")
}

/// A snapshot and where it is.
pub struct FoundSnapshot {
    /// The target.
    pub place: Place,
    /// Its repository.
    pub repository: Arc<Repository>,
    /// The snapshot's id.
    pub id: SnapshotId,
    /// The snapshot.
    pub snapshot: Snapshot,
}

/// Finds the snapshot that is meant. Without a target all are looked through: `latest` is the newest of them, and the
/// beginning of an id must be unique among them.
///
/// # Errors
/// None fits, or more than one; a target that could not be looked at is named then, for it may have been there.
pub fn find_snapshot(query: &SnapshotQuery, context: &Context) -> Result<FoundSnapshot, RpcError> {
    let wanted = EngineQuery {
        text: query.snapshot.clone(),
        host: query.host.clone(),
        path: query.path.clone().map(PathBuf::from),
        tag: query.plan.as_deref().map(plan_tag),
        rather_not: vec![INTERRUPTED_TAG.to_owned(), CRITICAL_TAG.to_owned()],
    };
    if let Some(target) = &query.target {
        return find_in(target, &wanted, context).map_err(|error| said(error, query));
    }
    let (mut found, mut unseen): (Vec<FoundSnapshot>, Vec<TargetError>) = (Vec::new(), Vec::new());
    for place in context.targets.places() {
        match find_in(&place.name, &wanted, context) {
            Ok(snapshot) => found.push(snapshot),
            Err(TargetError::Engine { source: EngineError::NotFound { .. }, .. } | TargetError::NotMade { .. }) => {}
            Err(error @ TargetError::Engine { source: EngineError::Misuse { .. }, .. }) => return Err(error.to_rpc()),
            Err(error) => unseen.push(error),
        }
    }
    let is_latest = query.snapshot.eq_ignore_ascii_case("latest");
    let distinct = found.iter().any(|other| other.id != found[0].id);
    if distinct && !is_latest {
        let message = format!("`{}` is the beginning of several snapshots' ids", query.snapshot);
        return Err(RpcError::new(ErrorKind::AmbiguousId, message, "Type more of the id, or name the target."));
    }
    match found.into_iter().max_by_key(|found| (!is_part(&found.snapshot), found.snapshot.time)) {
        Some(found) => Ok(found),
        None => Err(none_found(query, &unseen)),
    }
}

fn find_in(target: &str, wanted: &EngineQuery, context: &Context) -> Result<FoundSnapshot, TargetError> {
    let (place, repository) = context.targets.open_existing(target)?;
    let (id, snapshot) = repository.find_snapshot(wanted).map_err(TargetError::engine(target))?;
    Ok(FoundSnapshot { place, repository, id, snapshot })
}

fn said(error: TargetError, query: &SnapshotQuery) -> RpcError {
    match error {
        TargetError::Engine { source: EngineError::NotFound { .. }, .. } => none_found(query, &[]),
        error => error.to_rpc(),
    }
}

fn none_found(query: &SnapshotQuery, unseen: &[TargetError]) -> RpcError {
    if let [first, ..] = unseen {
        let error = first.to_rpc();
        let message = format!("no snapshot `{}` was found, and {}", query.snapshot, error.message);
        return RpcError::with_class(error.data.kind, error.data.class, message, error.data.advice);
    }
    let message = match query.snapshot.as_str() {
        "latest" => "there is no snapshot that fits".to_owned(),
        text => format!("there is no snapshot `{text}`"),
    };
    RpcError::new(ErrorKind::SnapshotNotFound, message, "`backupctl snapshots` lists those there are.")
}
