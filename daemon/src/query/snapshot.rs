//! `snapshot.list`: which snapshots there are.

use backup_engine::id::SnapshotId;
use backup_engine::snapshot::{Snapshot as EngineSnapshot, SnapshotQuery};
use backup_proto::error::RpcError;
use backup_proto::page::{Page, PageBuilder};
use backup_proto::params::SnapshotList;
use backup_proto::snapshot::Snapshot;

use crate::context::Context;
use crate::notes::Notes;
use crate::targets::TargetError;
use crate::wire;
use crate::worker::find::plan_tag;

pub(super) fn list(params: &SnapshotList, context: &Context) -> Result<Page<Snapshot>, RpcError> {
    let filter = SnapshotQuery {
        text: String::new(),
        host: params.host.clone(),
        path: params.path.clone().map(Into::into),
        tag: params.plan.as_deref().map(plan_tag),
        rather_not: Vec::new(),
    };
    // A position is the target and the snapshot: both are in a fixed order.
    let (mut after_target, after_snapshot) = match params.page.after.as_deref().and_then(|after| after.split_once('/'))
    {
        Some((target, snapshot)) => (Some(target), Some(snapshot)),
        None => (None, None),
    };
    let mut builder = PageBuilder::new(&params.page);
    for (target, list) in snapshots_of(params.target.as_deref(), context)? {
        let notes = context.targets.open_existing(&target).ok();
        let notes = notes.map(|(_, repository)| Notes::read(context.targets.state(), &repository));
        if after_target.is_some_and(|after| after != target) {
            continue;
        }
        let mut skipping = after_target.take().and(after_snapshot);
        for (id, snapshot) in list.iter().filter(|(_, snapshot)| filter.fits(snapshot)) {
            let text = id.to_string();
            if let Some(after) = skipping {
                skipping = Some(after).filter(|after| *after != text);
                continue;
            }
            let mut view = wire::snapshot(&target, *id, snapshot);
            view.note = notes.as_ref().and_then(|notes| notes.get(*id, snapshot)).or(view.note);
            if !builder.push(format!("{target}/{text}"), view) {
                return Ok(builder.finish());
            }
        }
    }
    Ok(builder.finish())
}

type Listed = Vec<(SnapshotId, EngineSnapshot)>;

/// Returns the snapshots of one target, or of all that are there. Drives that are not connected are left out as long
/// as there is another target; `target.list` says which are absent.
pub(super) fn snapshots_of(target: Option<&str>, context: &Context) -> Result<Vec<(String, Listed)>, RpcError> {
    let names = match target {
        Some(name) => vec![name.to_owned()],
        None => context.targets.places().into_iter().map(|place| place.name).collect(),
    };
    let (mut found, mut absent) = (Vec::new(), None);
    for name in names {
        match list_target(&name, context) {
            Ok(list) => found.push((name, list)),
            // A target that nothing was written to yet has no snapshots.
            Err(TargetError::NotMade { .. }) => found.push((name, Vec::new())),
            Err(error @ TargetError::Absent { .. }) if target.is_none() => absent = Some(error),
            Err(error) => return Err(error.to_rpc()),
        }
    }
    match absent {
        Some(error) if found.iter().all(|(_, list)| list.is_empty()) => Err(error.to_rpc()),
        _ => Ok(found),
    }
}

fn list_target(name: &str, context: &Context) -> Result<Listed, TargetError> {
    let (_, repository) = context.targets.open_existing(name)?;
    Ok(repository.snapshots().map_err(TargetError::engine(name))?.list)
}
