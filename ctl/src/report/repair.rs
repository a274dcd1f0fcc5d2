//! What a repair has done, or would do, in plain words and in order.

use backup_proto::job::RepairReport;

use crate::text::{count, size};

/// Says the steps in their order, and how much is lost.
pub(super) fn steps(report: &RepairReport) -> Vec<String> {
    let wanted: Vec<String> =
        all_steps(report).into_iter().filter(|(number, _)| *number > 0).map(|(_, step)| step).collect();
    let mut lines = vec![match (wanted.is_empty(), report.dry_run) {
        (true, _) => "There is nothing to repair.".to_owned(),
        (false, true) => "A repair would do this, in this order; nothing was changed yet:".to_owned(),
        (false, false) => "Done, in this order:".to_owned(),
    }];
    lines.extend(wanted.iter().zip(1..).map(|(step, number)| format!("  {number}. {step}")));
    if report.packs_left > 0 {
        let packs = count(report.packs_left, "pack", "packs");
        lines.push(format!("Left alone, because what is in them cannot be read: {packs}."));
    }
    if report.blobs_lost > 0 || report.items_lost > 0 {
        let (blobs, items) = (count(report.blobs_lost, "blob", "blobs"), count(report.items_lost, "item", "items"));
        lines.push(format!("Lost for good: {blobs}, and with them {items} of snapshots."));
    }
    lines
}

/// Returns every step there is, with how much it has to do.
fn all_steps(report: &RepairReport) -> [(u64, String); 7] {
    let packs = |number| count(number, "pack", "packs");
    let locks = count(report.locks_removed, "lock", "locks");
    let files = count(report.index_files_replaced, "index file", "index files");
    let new = count(report.snapshots_repaired, "new snapshot", "new snapshots");
    let old = count(report.snapshots_removed, "damaged snapshot", "damaged snapshots");
    let (blobs, bytes) = (count(report.blobs_saved, "blob", "blobs"), size(report.bytes_saved));
    let (again, missing) = (packs(report.packs_listed_again), packs(report.packs_missing));
    let (damaged, unreadable) = (packs(report.packs_damaged), report.index_files_damaged);
    [
        (report.locks_removed, format!("Remove {locks} that programs have left behind.")),
        (report.index_files_replaced, format!("Replace {files}, of which {unreadable} cannot be read.")),
        (report.packs_listed_again, format!("List {again} of which the index says nothing or something wrong.")),
        (report.packs_missing, format!("Take {missing} out of the index that are not there.")),
        (
            report.packs_damaged,
            format!("Save what is good in {damaged} with wrong bytes ({blobs}, {bytes}), then remove them."),
        ),
        (report.snapshots_repaired, format!("Write {new} with what is left of damaged ones.")),
        (report.snapshots_removed, format!("Remove {old}.")),
    ]
}

/// Says what to do next.
pub(super) fn next(report: &RepairReport) -> Vec<String> {
    let mut steps = Vec::new();
    if report.items_lost > 0 && report.dry_run {
        steps.push("Back up first if the files are still in their places: that stores again what is lost.".to_owned());
    }
    if report.dry_run && *report != (RepairReport { dry_run: true, ..RepairReport::default() }) {
        steps.push("To do it: `backupctl repair --yes`, with the same `--target`.".to_owned());
    }
    if report.snapshots_left > 0 {
        let left = count(report.snapshots_left, "damaged snapshot", "damaged snapshots");
        let verb = if report.dry_run { "would stay" } else { "stay" };
        steps.push(format!("{left} {verb}, and until they are gone a prune refuses; `--forget` removes them."));
    }
    if !report.dry_run && report.snapshots_removed + report.packs_damaged > 0 {
        steps.push(
            "Check the drive and its connection; damage seldom comes alone. Then `backupctl verify --read-data`."
                .to_owned(),
        );
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_steps_are_said_in_their_order_and_a_dry_run_says_how_to_do_it() {
        let nothing = RepairReport { dry_run: true, ..RepairReport::default() };
        assert_eq!((steps(&nothing).len(), next(&nothing).len()), (1, 0));
        let report = RepairReport { locks_removed: 1, packs_damaged: 2, blobs_lost: 1, items_lost: 1, ..nothing };
        let lines = steps(&report);
        assert!(lines[0].contains("would do this") && lines[1].starts_with("  1. Remove 1 lock "), "{lines:?}");
        assert!(lines[2].starts_with("  2. Save") && lines[3].starts_with("Lost for good: 1 blob"), "{lines:?}");
        assert!(next(&report).iter().any(|line| line.contains("repair --yes")));
        let done = RepairReport { dry_run: false, snapshots_left: 1, ..report };
        assert!(next(&done).iter().any(|line| line.contains("--forget")));
    }
}
