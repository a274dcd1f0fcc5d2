//! What a person reads when a job has ended.

use backup_proto::error::{Class, ErrorData, ErrorKind};
use backup_proto::job::JobError;

use super::*;

fn job(kind: &str) -> Job {
    serde_json::from_value(serde_json::json!({
        "id": "k3v9", "kind": kind, "state": "running", "title": "/home/ada to local", "target": "local",
        "submitted": "2026-01-02T03:04:05Z"
    }))
    .unwrap()
}

fn failed(path: &str, advice: &str) -> FailedItem {
    FailedItem {
        path: path.into(),
        class: Class::Permission,
        message: format!("cannot read {path}: permission denied"),
        advice: advice.to_owned(),
    }
}

fn summary(state: JobState) -> JobSummary {
    JobSummary {
        snapshot: Some("5e1d0b7cffff".to_owned()),
        files: 400,
        bytes: 20 * 1024 * 1024,
        bytes_stored: 1024,
        ..empty_summary(&"k3v9".into(), state)
    }
}

#[test]
fn a_good_backup_takes_two_lines() {
    assert_eq!(
        outcome(&job("backup"), &summary(JobState::Succeeded), &[]),
        ["Backup k3v9 succeeded.", "Safe in local: 400 files, 20.0 MiB in snapshot 5e1d0b7c; 1.0 KiB of it new."]
    );
}

/// A retry would look at everything anew, so that there is nothing else to do than mend and ask again.
#[test]
fn a_dry_run_that_is_partial_or_failed_says_what_was_not_looked_at_and_speaks_of_no_snapshot() {
    let mut summary = JobSummary { snapshot: None, ..summary(JobState::Partial) };
    (summary.failed_count, summary.failed) = (1, vec![failed("/a", "Give access.")]);
    summary.estimate = Some(Box::default());
    let failed = JobSummary { estimate: None, state: JobState::Failed, ..summary.clone() };
    for summary in [summary, failed] {
        let lines = outcome(&job("backup"), &summary, &[]);
        assert!(lines.contains(&"Not looked at, or not wholly:".to_owned()), "{lines:?}");
        assert!(!lines.iter().any(|line| line.contains("snapshot") || line.contains("Safe")), "{lines:?}");
    }
}

/// S0.43: briefly and without jargon. S0.26: what is done and what needs attention.
#[test]
fn a_partial_backup_says_what_is_safe_what_is_missing_and_three_ways_on() {
    let mut summary = summary(JobState::Partial);
    summary.failed_count = 3;
    summary.failed = vec![failed("/a", "Give access."), failed("/b", "Give access."), failed("/c", "Other.")];
    assert_eq!(
        outcome(&job("backup"), &summary, &["our own state was left out".to_owned()]),
        [
            "Backup k3v9 is partial: done, except for 3 items.",
            "Safe in local: 400 files, 20.0 MiB in snapshot 5e1d0b7c; 1.0 KiB of it new.",
            "Not in this snapshot, or not whole:",
            "  cannot read /a: permission denied",
            "  cannot read /b: permission denied",
            "    Give access.",
            "  cannot read /c: permission denied",
            "    Other.",
            "Note: Our own state was left out.",
            "Next, whichever fits:",
            "  1. Mend the cause, then `backupctl retry k3v9`: it looks at these items only.",
            "  2. Leave them out for good: add them to the plan's `exclude`, or back up with `--exclude`.",
            "  3. See what earlier snapshots have of them: `backupctl find 'a'`.",
        ]
    );
}

/// S0.44: recovered, and still needs attention. S0.45: mend it by hand, retry later, or another source.
#[test]
fn a_partial_restore_says_what_is_right_what_is_not_and_offers_by_hand_later_or_another_source() {
    let mut summary = summary(JobState::Partial);
    summary.failed_count = 1;
    summary.failed = vec![failed("/home/ada/it's", "Give access.")];
    assert_eq!(
        outcome(&job("restore"), &summary, &[]),
        [
            "Restore k3v9 is partial: done, except for 1 item.",
            "Right in the destination: 400 files, 20.0 MiB from snapshot 5e1d0b7c.",
            "Not restored, or not wholly:",
            "  cannot read /home/ada/it's: permission denied",
            "    Give access.",
            "Next, whichever fits:",
            "  1. Mend it by hand: move away what is in the way, or restore again with `--overwrite`.",
            "  2. Try these items again, now or later: `backupctl retry k3v9` leaves alone what is right already.",
            "  3. Take them from another snapshot: `backupctl find 'NAME'` shows which have them.",
        ]
    );
}

#[test]
fn many_missing_items_are_cut_and_the_way_to_the_rest_is_named() {
    let mut summary = summary(JobState::Partial);
    summary.failed_count = 250;
    summary.failed = (0..100).map(|n| failed(&format!("/{n}"), "Give access.")).collect();
    let lines = outcome(&job("restore"), &summary, &[]);
    assert!(lines.iter().any(|line| line == "  … and 240 more: `backupctl job k3v9` lists all."), "{lines:#?}");
    assert!(lines.len() < 22);
}

#[test]
fn a_failed_job_says_why_and_promises_no_snapshot() {
    let mut summary = summary(JobState::Failed);
    summary.snapshot = None;
    let data = ErrorData {
        kind: ErrorKind::WrongPassword,
        class: Class::Auth,
        retryable: false,
        advice: "Check the password file.".to_owned(),
        retry_after_seconds: None,
    };
    summary.error = Some(JobError { message: "wrong password for the repository at /r".to_owned(), data });
    assert_eq!(
        outcome(&job("backup"), &summary, &[]),
        [
            "Backup k3v9 failed.",
            "Wrong password for the repository at /r.",
            "Check the password file. Then `backupctl retry k3v9`."
        ]
    );
}

#[test]
fn a_message_without_the_path_gets_it_and_a_name_that_is_not_utf8_is_escaped() {
    let mut item = failed("/x", "");
    item.path = backup_proto::path::WirePath::from_bytes(*b"/x/\xff");
    item.message = "changed while it was read".to_owned();
    assert_eq!(failed_item(&item), "/x/\\xff: changed while it was read");
}
