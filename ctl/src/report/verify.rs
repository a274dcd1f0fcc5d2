//! What a check looked at and found, in plain words.

use backup_proto::job::{PlannedAction, PlannedItem, SourceReport, VerifyReport};
use backup_proto::target::Coverage;
use jiff::tz::TimeZone;

use crate::text::{count, size, time};

/// Says what a check looked at.
pub(super) fn found(report: &VerifyReport) -> Vec<String> {
    let snapshots = count(report.snapshots, "snapshot", "snapshots");
    let packs = count(report.packs, "pack", "packs");
    let read = size(report.bytes_read);
    let mut lines = vec![match (report.packs_read, &report.coverage) {
        (_, None) => format!("Checked: {snapshots} with all its data, {read} in {packs}."),
        (0, Some(_)) => format!("Checked: the structure of {snapshots} in {packs}; no data was read."),
        (some, Some(_)) if some < report.packs => {
            format!("Checked: {snapshots}; data of {some} of {packs} was read, {read}.")
        }
        (_, Some(_)) => format!("Checked: {snapshots}; all data was read, {read} in {packs}."),
    }];
    lines.extend(report.coverage.as_ref().map(|known| coverage(known, &TimeZone::system())));
    lines.extend(report.source.iter().flat_map(source));
    lines
}

/// Says how much of a target was ever read.
pub(crate) fn coverage(coverage: &Coverage, zone: &TimeZone) -> String {
    match (coverage.packs, coverage.whole_since) {
        (0, _) => "There is no data to read yet.".to_owned(),
        (_, Some(since)) => format!("All data was read at least once since {}.", time(since, zone)),
        (_, None) => {
            let (never, bytes) = (coverage.packs_never, size(coverage.bytes_never));
            format!("Never read until now: {never} of {} ({bytes}).", count(coverage.packs, "pack", "packs"))
        }
    }
}

fn source(report: &SourceReport) -> Vec<String> {
    let mut lines = vec![format!(
        "Beside the files on the disk: {} with the same contents ({}), {} changed since, {} missing, {} extra.",
        count(report.files, "file", "files"),
        size(report.bytes),
        report.changed,
        report.missing,
        report.extra
    )];
    if report.rotten > 0 {
        lines.push(format!(
            "{} other contents although size and time of modification are the same: one of the two copies is damaged.",
            if report.rotten == 1 { "1 file has".to_owned() } else { format!("{} files have", report.rotten) }
        ));
    }
    lines
}

/// Says how an entry on the disk differs, if that is what an item is about.
pub(super) fn difference(item: &PlannedItem) -> Option<String> {
    let word = match item.action {
        PlannedAction::Changed => "changed",
        PlannedAction::Missing => "missing",
        PlannedAction::Extra => "extra  ",
        PlannedAction::Rotten => "DAMAGED",
        _ => return None,
    };
    Some(format!("{word}  {}  ({})", item.path, item.reasons.join(", ")))
}
