//! A repair: everything is read under a shared lock, and mended under an exclusive one.

use backup_engine::repair::{RepairOptions, RepairSummary, examine, mend, preview};
use backup_engine::{Gate, Repository};
use backup_proto::job::RepairReport;
use backup_proto::spec::RepairSpec;
use std::sync::Arc;

use super::attempt::Failure;
use super::find::INCOMPLETE_TAG;
use super::reporter::Reporter;
use crate::config::DEFAULT_TARGET;
use crate::context::Context;
use crate::job::{Job, Totals};
use crate::targets::{Place, TargetError};

/// Runs one attempt of a repair. What is lost is in the ledger, item by item.
pub(super) fn run(
    job: &Job,
    spec: &RepairSpec,
    context: &Context,
    gate: &Gate,
    reporter: &Reporter,
) -> Result<Totals, Failure> {
    let name = job.target.as_deref().unwrap_or(DEFAULT_TARGET);
    let (place, repository) = context.targets.open_existing(name)?;
    let repository = context.targets.for_job(&repository, name, job, gate);
    let (locks, summary) =
        repair(spec, &place, &repository, context, gate, reporter).map_err(TargetError::engine(name))?;
    let repair = Some(Box::new(report(&summary, locks, spec.dry_run)));
    Ok(Totals { files: summary.snapshots_repaired, bytes: summary.bytes_saved, repair, ..Totals::default() })
}

fn repair(
    spec: &RepairSpec,
    place: &Place,
    repository: &Arc<Repository>,
    context: &Context,
    gate: &Gate,
    reporter: &Reporter,
) -> backup_engine::Result<(u64, RepairSummary)> {
    let options = RepairOptions { forget: spec.forget, incomplete_tag: Some(INCOMPLETE_TAG.to_owned()) };
    // Whoever takes an exclusive lock removes these.
    let locks = context.targets.locks_left_behind(repository, &place.folder)?;
    let lock = context.targets.lock(repository, &place.folder, false)?;
    let examined = examine(&lock, 0, gate, reporter)?;
    if spec.dry_run {
        return Ok((locks, preview(&lock, &examined, &options, gate, reporter)?));
    }
    drop(lock);
    let lock = context.targets.lock(repository, &place.folder, true)?;
    Ok((locks, mend(&lock, &examined, &options, gate, reporter)?))
}

fn report(summary: &RepairSummary, locks_removed: u64, dry_run: bool) -> RepairReport {
    RepairReport {
        dry_run,
        locks_removed,
        index_files_damaged: summary.index_files_damaged,
        index_files_replaced: summary.index_files_replaced,
        packs_listed_again: summary.packs_listed_again,
        packs_missing: summary.packs_missing,
        packs_damaged: summary.packs_damaged,
        packs_left: summary.packs_left,
        blobs_saved: summary.blobs_saved,
        bytes_saved: summary.bytes_saved,
        blobs_lost: summary.blobs_lost,
        snapshots_repaired: summary.snapshots_repaired,
        snapshots_lost: summary.snapshots_lost,
        snapshots_removed: summary.snapshots_removed,
        snapshots_left: summary.snapshots_left,
        items_lost: summary.items_lost,
    }
}
