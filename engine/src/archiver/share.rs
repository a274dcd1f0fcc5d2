//! How much of a source has changed since the snapshot before.

use super::options::BackupSummary;
use crate::limits::CHANGE_MAJOR_PERCENT;
use crate::snapshot::Snapshot;

/// Returns whether so much has changed that it is worth telling apart from everyday work: a share of the files (new,
/// changed or gone), or of the bytes (not stored before). All of a first snapshot is new.
pub(super) fn is_major(summary: &BackupSummary, data_added: u64, parent: Option<&Snapshot>) -> bool {
    let Some(before) = parent.and_then(|parent| parent.summary.as_ref()) else { return true };
    let stayed = summary.files_unmodified + summary.files_changed;
    let gone = before.total_files_processed.saturating_sub(stayed);
    let files = summary.files_new + summary.files_changed + gone;
    is_share(files, summary.files.max(before.total_files_processed)) || is_share(data_added, summary.bytes)
}

fn is_share(part: u64, whole: u64) -> bool {
    whole > 0 && u128::from(part) * 100 >= u128::from(whole) * u128::from(CHANGE_MAJOR_PERCENT)
}
