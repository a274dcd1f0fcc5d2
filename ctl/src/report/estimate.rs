//! What a backup would do and whether there is room for it, in plain words.

use backup_proto::job::{BackupEstimate, Job, JobSummary};

use crate::text::{count, size};

/// Says what a dry run has found, and what to do if it does not fit.
pub(super) fn found(job: &Job, summary: &JobSummary, estimate: &BackupEstimate) -> Vec<String> {
    let BackupEstimate { files_new, files_changed, files_unmodified, .. } = estimate;
    let read = size(estimate.bytes_read);
    vec![
        "That was a dry run: nothing was stored.".to_owned(),
        format!(
            "Looked at: {}, {}: {files_new} new, {files_changed} changed, {files_unmodified} as before.",
            count(summary.files, "file", "files"),
            size(summary.bytes),
        ),
        format!(
            "Would add {} (of {read} read; {} before compression), {} in {} of it.",
            size(summary.bytes_stored),
            size(estimate.bytes_added),
            size(estimate.packs_bytes),
            count(estimate.packs, "pack", "packs"),
        ),
        room(job, summary, estimate),
    ]
}

fn room(job: &Job, summary: &JobSummary, estimate: &BackupEstimate) -> String {
    let target = job.target.as_deref().unwrap_or("the target");
    let margin = size(estimate.margin_bytes);
    let (Some(free), Some(fits)) = (estimate.free_bytes, estimate.fits) else {
        let needed = size(summary.bytes_stored.saturating_add(estimate.margin_bytes));
        return format!(
            "Room: how much {target} has is not known; {needed} should be free there, with a margin of {margin}."
        );
    };
    let has = format!("Room: {target} has {} free", size(free));
    if fits {
        return format!("{has}: it fits, with a margin of {margin}.");
    }
    let how = if summary.bytes_stored > free {
        "it does not fit".to_owned()
    } else {
        format!("it does not fit with the margin of {margin} that should stay free")
    };
    format!(
        "{has}: {how}. Make room there (`backupctl forget`, then `backupctl prune --target {target}`), leave something out \
         (`--exclude`), or save to another target (`--target`)."
    )
}

#[cfg(test)]
mod tests {
    use backup_proto::job::JobState;

    use super::*;
    use crate::report::empty_summary;

    fn said(stored: u64, free: Option<u64>, fits: Option<bool>) -> Vec<String> {
        let job = serde_json::from_value(serde_json::json!({
            "id": "k3v9", "kind": "backup", "state": "succeeded", "title": "t", "target": "nas",
            "submitted": "2026-01-02T03:04:05Z"
        }));
        let estimate = BackupEstimate {
            files_new: 3,
            files_unmodified: 1,
            bytes_read: 41 << 30,
            bytes_added: 20 << 30,
            packs: 1,
            packs_bytes: 12 << 30,
            margin_bytes: 1 << 30,
            free_bytes: free,
            fits,
            ..BackupEstimate::default()
        };
        let empty = empty_summary(&"k3v9".into(), JobState::Succeeded);
        let summary = JobSummary { files: 4, bytes: 42 << 30, bytes_stored: stored, ..empty };
        found(&job.unwrap(), &summary, &estimate)
    }

    #[test]
    fn what_does_not_fit_is_said_with_both_numbers_and_what_to_do() {
        let lines = said(13 << 30, Some(5 << 30), Some(false));
        assert_eq!(
            lines[..3],
            [
                "That was a dry run: nothing was stored.",
                "Looked at: 4 files, 42.0 GiB: 3 new, 0 changed, 1 as before.",
                "Would add 13.0 GiB (of 41.0 GiB read; 20.0 GiB before compression), 12.0 GiB in 1 pack of it.",
            ]
        );
        assert!(lines[3].starts_with("Room: nas has 5.0 GiB free: it does not fit. Make room"), "{lines:?}");
    }

    #[test]
    fn what_fits_barely_or_at_a_target_that_does_not_say_is_told_apart() {
        let last = |free, fits| said(13 << 30, free, fits).remove(3);
        assert_eq!(last(Some(20 << 30), Some(true)), "Room: nas has 20.0 GiB free: it fits, with a margin of 1.0 GiB.");
        assert!(last(Some(13 << 30), Some(false)).contains("with the margin of 1.0 GiB"));
        let unknown = last(None, None);
        assert!(unknown.contains("is not known; 14.0 GiB should be free") && !unknown.contains("fit"), "{unknown}");
    }
}
