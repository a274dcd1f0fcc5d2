//! A dry run of a backup: the same engine call in a repository that keeps nothing, and whether there is room for it.

use backup_engine::archiver::{BackupSummary, backup};
use backup_engine::{Gate, Monitor};
use backup_proto::job::BackupEstimate;
use backup_proto::spec::BackupSpec;

use super::attempt::Failure;
use super::backup::{explain, options, totals};
use super::reporter::Reporter;
use crate::config::DEFAULT_TARGET;
use crate::context::Context;
use crate::job::{Job, Totals};
use crate::targets::Room;

/// The share of what is stored that should stay free as well: every file takes whole blocks, what an interrupted run
/// leaves takes room until the next one ends, and the sources grow until the backup runs.
const MARGIN_PART: u64 = 50;

/// What should stay free whatever is stored, in bytes: a prune writes a pack before it can remove another, so that a
/// target that is filled to the last byte could not be made room in.
const MARGIN_BYTES: u64 = 16 * 1024 * 1024;

/// Runs one attempt of a dry run. It begins anew each time: it has left nothing that it could go on from.
pub(super) fn run(
    job: &Job,
    spec: &BackupSpec,
    context: &Context,
    gate: &Gate,
    reporter: &Reporter,
) -> Result<Totals, Failure> {
    let name = job.target.as_deref().unwrap_or(DEFAULT_TARGET);
    let mut options = options(job, spec, context)?;
    let target = context.targets.open_dry(name, job, gate)?;
    if let Some(notice) = &target.notice {
        reporter.notice(notice);
    }
    options.never = context.targets.never();
    options.records = target.exists.then(|| context.targets.state().join("records"));
    let summary = backup(&target.lock, &options, gate, reporter).map_err(|error| explain(error, spec, &options))?;
    // What is free is asked for last: a run may take hours.
    let estimate = estimate(&summary, context.targets.room(&target.place), target.exists);
    Ok(Totals { estimate: Some(Box::new(estimate)), ..totals(&summary) })
}

fn estimate(summary: &BackupSummary, room: Room, target_exists: bool) -> BackupEstimate {
    let margin_bytes = summary.bytes_stored / MARGIN_PART + MARGIN_BYTES + room.kept;
    let needed = summary.bytes_stored.saturating_add(margin_bytes);
    BackupEstimate {
        files_new: summary.files_new,
        files_changed: summary.files_changed,
        files_unmodified: summary.files_unmodified,
        bytes_read: summary.bytes_read,
        bytes_added: summary.bytes_added,
        packs: summary.packs,
        packs_bytes: summary.pack_bytes,
        margin_bytes,
        free_bytes: room.free,
        fits: room.free.map(|free| needed <= free),
        target_exists,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_fits_when_there_is_room_for_the_margin_too_and_what_is_unknown_is_said_to_be() {
        let summary = BackupSummary { bytes_stored: 100 << 20, ..BackupSummary::default() };
        let fits = |free, kept| estimate(&summary, Room { free, kept }, true).fits;
        assert_eq!(fits(Some(118 << 20), 0), Some(true));
        assert_eq!(fits(Some((118 << 20) - 1), 0), Some(false), "an amount and no margin");
        assert_eq!(fits(Some(118 << 20), 1), Some(false), "the daemon would stop before it is full");
        assert_eq!(fits(None, 0), None);
    }
}
