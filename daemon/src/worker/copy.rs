//! A copy: which snapshots of one target are meant, and locks on both.

use backup_engine::copy::{CopyOptions, copy};
use backup_engine::id::SnapshotId;
use backup_engine::monitor::PackRecord;
use backup_engine::snapshot::Snapshot;
use backup_engine::{Gate, Monitor, Repository};
use backup_proto::error::{ErrorKind, RpcError};
use backup_proto::job::CopyReport;
use backup_proto::spec::{CopySpec, SnapshotQuery};

use super::attempt::Failure;
use super::find::is_part;
use super::forget::filter;
use super::reporter::Reporter;
use super::restore::shared_lock;
use crate::config::DEFAULT_TARGET;
use crate::context::Context;
use crate::job::{Job, Totals};
use crate::targets::TargetError;

/// Runs one attempt of a copy.
pub(super) fn run(
    job: &Job,
    spec: &CopySpec,
    adopt: Vec<PackRecord>,
    context: &Context,
    gate: &Gate,
    reporter: &Reporter,
) -> Result<Totals, Failure> {
    let name = job.target.as_deref().unwrap_or(DEFAULT_TARGET);
    let (from_place, from) = context.targets.open_existing(&spec.from)?;
    let (place, to) = context.targets.open_existing(name)?;
    let paced = |repository: &Repository, target: &str| context.targets.for_job(repository, target, job, gate);
    let (from, to) = (paced(&from, &spec.from), paced(&to, name));
    // What the source has must not go while it is read.
    let _lock = shared_lock(&from_place, &from, context, reporter)?;
    let snapshots = choose(job, spec, &from, reporter)?;
    let lock = context.targets.lock(&to, &place.folder, false).map_err(TargetError::engine(name))?;
    let summary = copy(&from, &lock, &CopyOptions { snapshots, adopt }, gate, reporter)?;
    Ok(Totals {
        files: summary.copied + summary.there,
        bytes: summary.bytes,
        bytes_stored: summary.bytes_stored,
        copy: Some(CopyReport { snapshots: summary.copied, there: summary.there }),
        ..Totals::default()
    })
}

/// Returns the snapshots that are meant. What `latest` means is settled by the first attempt.
fn choose(job: &Job, spec: &CopySpec, from: &Repository, reporter: &Reporter) -> Result<Vec<SnapshotId>, Failure> {
    if !job.chosen.is_empty() {
        return Ok(job.chosen.iter().filter_map(|chosen| chosen.snapshot.parse().ok()).collect());
    }
    let filter = filter(spec.plan.as_deref(), &spec.hosts, &spec.paths, &spec.tags);
    let found = from.snapshots()?;
    for (id, error) in &found.damaged {
        reporter.notice(&format!("Snapshot {} cannot be read and is not copied: {error}.", id.short()));
    }
    let mut fitting = found.list;
    fitting.retain(|(_, snapshot)| filter.fits(snapshot));
    if spec.snapshots.is_empty() {
        return Ok(fitting.into_iter().map(|(id, _)| id).collect());
    }
    let chosen: Result<Vec<SnapshotId>, RpcError> =
        spec.snapshots.iter().map(|wanted| named(wanted, &fitting, &spec.from)).collect();
    let chosen = chosen?;
    let query = |id: &SnapshotId| SnapshotQuery {
        snapshot: id.to_string(),
        target: Some(spec.from.clone()),
        plan: None,
        host: None,
        path: None,
    };
    reporter.choose(chosen.iter().map(query).collect())?;
    Ok(chosen)
}

/// Finds the one snapshot whose id begins so, or the newest.
fn named(wanted: &str, fitting: &[(SnapshotId, Snapshot)], from: &str) -> Result<SnapshotId, RpcError> {
    let none = |what: String| {
        let message = format!("there is no snapshot {what} in {from}");
        RpcError::new(ErrorKind::SnapshotNotFound, message, "`backupctl snapshots` lists those there are.")
    };
    if wanted.eq_ignore_ascii_case("latest") {
        let newest = fitting.iter().max_by_key(|(_, snapshot)| (!is_part(snapshot), snapshot.time));
        return newest.map(|(id, _)| *id).ok_or_else(|| none("that fits".to_owned()));
    }
    let wanted = wanted.to_ascii_lowercase();
    let mut found = fitting.iter().filter(|(id, _)| id.to_string().starts_with(&wanted));
    match (found.next(), found.next()) {
        (Some((id, _)), None) => Ok(*id),
        (None, _) => Err(none(format!("`{wanted}`"))),
        (Some(_), Some(_)) => {
            let message = format!("`{wanted}` is the beginning of several snapshots' ids");
            Err(RpcError::new(ErrorKind::AmbiguousId, message, "Type more of the id."))
        }
    }
}
