//! The engine's words in those of the wire.

use backup_engine::Error;
use backup_engine::id::SnapshotId;
use backup_engine::monitor::{self, ItemFailure};
use backup_engine::retention::{Candidate, Judged};
use backup_engine::snapshot::Snapshot as EngineSnapshot;
use backup_proto::error::{Class, ErrorKind, RpcError};
use backup_proto::job::{FailedItem, JobError, PlannedAction, PlannedItem};
use backup_proto::path::WirePath;
use backup_proto::snapshot::{Note, Snapshot};

use crate::worker::find::{INCOMPLETE_TAG, PLAN_TAG};

/// Returns the wire's word for a class.
#[must_use]
pub fn class_of(class: backup_engine::Class) -> Class {
    use backup_engine::Class as Inner;
    match class {
        Inner::Transient => Class::Transient,
        Inner::Throttled => Class::Throttled,
        Inner::Auth => Class::Auth,
        Inner::Permission => Class::Permission,
        Inner::Quota => Class::Quota,
        Inner::Full => Class::Full,
        Inner::Damaged => Class::Damaged,
        Inner::Misuse => Class::Misuse,
        Inner::Cancelled => Class::Cancelled,
    }
}

/// Returns the stable kind of an error of the engine about a repository.
#[must_use]
pub fn kind_of(error: &Error) -> ErrorKind {
    match error {
        Error::WrongPassword { .. } => ErrorKind::WrongPassword,
        Error::NoRepository { .. } => ErrorKind::RepositoryMissing,
        Error::Unsupported { .. } => ErrorKind::RepositoryUnsupported,
        Error::Locked { .. } | Error::LockLost { .. } => ErrorKind::RepositoryLocked,
        Error::Damaged { .. } | Error::UnreadableLock { .. } => ErrorKind::RepositoryDamaged,
        Error::NotFound { .. } => ErrorKind::SnapshotNotFound,
        Error::Misuse { .. } => ErrorKind::InvalidParams,
        Error::Cancelled | Error::Suspended => ErrorKind::Cancelled,
        Error::Io { .. } | Error::Limit { .. } | Error::Throttled { .. } | Error::Storage { .. } => ErrorKind::Storage,
    }
}

/// Returns an error of the engine as the answer to a call.
#[must_use]
pub fn rpc_error(error: &Error) -> RpcError {
    let mut rpc = RpcError::with_class(kind_of(error), class_of(error.class()), error.to_string(), error.advice());
    rpc.data.retry_after_seconds = error.retry_after().map(|time| time.as_secs().max(1));
    rpc
}

/// Returns why the daemon's own state cannot be written as the answer to a call.
#[must_use]
pub fn state_error(error: &crate::error::Error) -> RpcError {
    RpcError::with_class(ErrorKind::StateUnwritable, class_of(error.class()), error.to_string(), error.advice())
}

/// Returns an error of the engine as the end of a job.
#[must_use]
pub fn job_error(error: &Error) -> JobError {
    let RpcError { message, data, .. } = rpc_error(error);
    JobError { message, data }
}

/// Returns an error of the daemon's own as one of the engine, for what the engine asks the daemon to do.
#[must_use]
pub fn engine_error(error: crate::error::Error) -> Error {
    match error {
        crate::error::Error::Io { action, path, source } => Error::Io { action, path, source },
        other => Error::Storage { message: other.to_string(), class: other.class() },
    }
}

/// Returns an item that could not be done as clients see it.
#[must_use]
pub fn failed_item(failure: ItemFailure) -> FailedItem {
    FailedItem {
        path: WirePath::from(failure.path),
        class: class_of(failure.class),
        message: failure.message,
        advice: failure.advice,
    }
}

/// Returns what a dry run would do with an entry as clients see it.
#[must_use]
pub fn planned_item(item: monitor::PlannedItem) -> PlannedItem {
    let action = match item.action {
        monitor::PlannedAction::Create => PlannedAction::Create,
        monitor::PlannedAction::Replace => PlannedAction::Replace,
        monitor::PlannedAction::Same => PlannedAction::Unchanged,
        monitor::PlannedAction::Keep => PlannedAction::Keep,
        monitor::PlannedAction::Delete => PlannedAction::Delete,
    };
    PlannedItem { path: WirePath::from(item.path), action, bytes: item.bytes, snapshot: None, reasons: Vec::new() }
}

/// Returns how an entry on the disk differs from a snapshot's as clients see it.
#[must_use]
pub fn difference(difference: monitor::Difference) -> PlannedItem {
    let monitor::Difference { path, kind, bytes, how } = difference;
    let action = match kind {
        monitor::DifferenceKind::Changed => PlannedAction::Changed,
        monitor::DifferenceKind::Missing => PlannedAction::Missing,
        monitor::DifferenceKind::Extra => PlannedAction::Extra,
        monitor::DifferenceKind::Rotten => PlannedAction::Rotten,
    };
    PlannedItem { path: WirePath::from(path), action, bytes, snapshot: None, reasons: vec![how] }
}

/// Returns how much of a repository was ever read as clients see it.
#[must_use]
pub fn coverage(coverage: &backup_engine::checker::Coverage) -> backup_proto::target::Coverage {
    let backup_engine::checker::Coverage { packs, packs_never, bytes_never, whole_since } = *coverage;
    backup_proto::target::Coverage { packs, packs_never, bytes_never, whole_since }
}

/// Returns what becomes of a snapshot as clients see it.
#[must_use]
pub fn judged_item(judged: &Judged, target: &str) -> PlannedItem {
    let Candidate { id, snapshot: found, .. } = &judged.candidate;
    PlannedItem {
        path: WirePath::from(format!("snapshots/{id}").as_str()),
        action: if judged.keep { PlannedAction::Keep } else { PlannedAction::Delete },
        bytes: 0,
        snapshot: Some(Box::new(snapshot(target, *id, found))),
        reasons: judged.reasons.clone(),
    }
}

/// Returns a snapshot as clients see it.
#[must_use]
pub fn snapshot(target: &str, id: SnapshotId, snapshot: &EngineSnapshot) -> Snapshot {
    let summary = snapshot.summary.as_ref();
    Snapshot {
        id: id.to_string(),
        target: target.to_owned(),
        time: snapshot.time,
        host: snapshot.hostname.clone(),
        user: snapshot.username.clone(),
        paths: snapshot.paths.iter().map(|path| WirePath::from(path.as_str())).collect(),
        tags: snapshot.tags.clone(),
        plan: snapshot.tags.iter().find_map(|tag| tag.strip_prefix(PLAN_TAG)).map(str::to_owned),
        is_incomplete: snapshot.tags.iter().any(|tag| tag == INCOMPLETE_TAG),
        files: summary.map(|summary| summary.total_files_processed),
        bytes: summary.map(|summary| summary.total_bytes_processed),
        note: snapshot
            .others
            .get("description")
            .and_then(|text| text.as_str())
            .map(|reason| Note { reason: reason.to_owned(), ..Note::default() }),
    }
}
