//! `snapshot.hold` and `snapshot.stats`.

use std::collections::BTreeMap;

use backup_engine::id::SnapshotId;
use backup_engine::retag::retag;
use backup_engine::snapshot::SnapshotQuery as Filter;
use backup_engine::stats;
use backup_proto::error::{ErrorKind, RpcError};
use backup_proto::note::{SnapshotHold, SnapshotStats, Stats, TargetStats};
use backup_proto::snapshot::Snapshot;
use backup_proto::spec::SnapshotQuery;
use jiff::Timestamp;
use jiff::civil::Date;

use super::snapshot::snapshots_of;
use crate::context::Context;
use crate::targets::TargetError;
use crate::wire::{self, rpc_error};
use crate::worker::find::{HOLD_TAG, find_snapshot};

pub(super) fn hold(params: &SnapshotHold, context: &Context) -> Result<Snapshot, RpcError> {
    let until = params.until.as_deref().map(|until| check_until(until, context)).transpose()?;
    let found = find_snapshot(&params.query, context)?;
    let name = &found.place.name;
    let engine = |error| TargetError::engine(name)(error).to_rpc();
    let lock = context.targets.lock(&found.repository, &found.place.folder, false).map_err(engine)?;
    let (id, snapshot) = retag(&lock, found.id, |tags| {
        tags.retain(|tag| !tag.starts_with(HOLD_TAG));
        tags.extend(until.map(|until| format!("{HOLD_TAG}{until}")));
    })
    .map_err(engine)?;
    Ok(wire::snapshot(name, id, &snapshot))
}

/// Refuses what is no day to come: a forget would take it for one that never ends, or is over.
fn check_until<'u>(until: &'u str, context: &Context) -> Result<&'u str, RpcError> {
    let today = context.clock.now().wall;
    let refuse =
        |message: String| RpcError::new(ErrorKind::InvalidParams, message, "Write a day as 2027-01-31, or `forever`.");
    let is_over = match (until.parse::<Timestamp>(), until.parse::<Date>()) {
        _ if until == "forever" => false,
        (Ok(time), _) => time < today,
        (_, Ok(day)) if day.to_string() == until => day < today.to_zoned(jiff::tz::TimeZone::UTC).date(),
        _ => return Err(refuse(format!("`{until}` is no day"))),
    };
    if is_over { Err(refuse(format!("{until} is over"))) } else { Ok(until) }
}

pub(super) fn stats(params: &SnapshotStats, context: &Context) -> Result<Stats, RpcError> {
    let mut targets = Vec::new();
    for (target, ids) in chosen(params, context)? {
        let (_, repository) = context.targets.open_existing(&target).map_err(|error| error.to_rpc())?;
        let counted = stats::stats(&repository.with_own_index(), &ids).map_err(|error| rpc_error(&error))?;
        targets.push(view(target, &counted));
    }
    Ok(Stats { targets })
}

/// Returns the snapshots that are to be counted, by target.
fn chosen(params: &SnapshotStats, context: &Context) -> Result<BTreeMap<String, Vec<SnapshotId>>, RpcError> {
    let mut chosen: BTreeMap<String, Vec<SnapshotId>> = BTreeMap::new();
    for snapshot in &params.snapshots {
        let (snapshot, target, host) = (snapshot.clone(), params.target.clone(), params.host.clone());
        let found = find_snapshot(&SnapshotQuery { snapshot, target, plan: None, host, path: None }, context)?;
        let ids = chosen.entry(found.place.name).or_default();
        if !ids.contains(&found.id) {
            ids.push(found.id);
        }
    }
    if params.snapshots.is_empty() {
        let filter = Filter { host: params.host.clone(), ..Filter::default() };
        for (target, list) in snapshots_of(params.target.as_deref(), context)? {
            let fitting = list.into_iter().filter(|(_, snapshot)| filter.fits(snapshot)).map(|(id, _)| id);
            chosen.insert(target, fitting.collect());
        }
        chosen.retain(|_, ids| !ids.is_empty());
    }
    Ok(chosen)
}

fn view(target: String, counted: &stats::Stats) -> TargetStats {
    let ratio = |more: u64, less: u64| if less == 0 { 1.0 } else { more as f64 / less as f64 };
    TargetStats {
        target,
        snapshots: counted.snapshots,
        entries: counted.entries,
        files: counted.files,
        restore_bytes: counted.restore_bytes,
        distinct_files: counted.distinct_files,
        distinct_bytes: counted.distinct_bytes,
        blobs: counted.blobs,
        contents_bytes: counted.contents_bytes,
        stored_bytes: counted.stored_bytes,
        compression_ratio: ratio(counted.contents_bytes, counted.stored_bytes),
        dedup_ratio: ratio(counted.restore_bytes, counted.contents_bytes),
    }
}
