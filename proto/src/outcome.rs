//! What comes of a job: how far it is, what it could not do, what it would do, and how it ended.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{Class, ErrorData};
use crate::estimate::BackupEstimate;
use crate::job::{JobId, JobState};
use crate::path::WirePath;
use crate::repair::RepairReport;
use crate::snapshot::Snapshot;
use crate::verify::VerifyReport;

/// Failed items that a summary carries at most; the rest is in the ledger (`job.failures`).
pub const SUMMARY_FAILED_MAX: usize = 100;

/// How far a job has come. All counts are since the start of the job.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Progress {
    /// Files finished.
    pub files: u64,
    /// Folders finished.
    pub folders: u64,
    /// Files there are in all, once known.
    pub files_total: Option<u64>,
    /// Backup: source bytes looked at. Restore: bytes now right in the destination. Verify: stored bytes checked.
    pub bytes: u64,
    /// Bytes there are in all, once known.
    pub bytes_total: Option<u64>,
    /// The part of `bytes` that needed no reading because nothing changed.
    pub bytes_unchanged: u64,
    /// The part of `bytes` that was read and found to be stored already.
    pub bytes_known: u64,
    /// By how much the repository grew.
    pub bytes_stored: u64,
    /// Current speed over all of `bytes`.
    pub bytes_per_second: Option<u64>,
    /// How long it will still take, once that can be said.
    pub eta_seconds: Option<u64>,
    /// The file that is being worked on.
    pub current: Option<WirePath>,
    /// Items that could not be done so far.
    pub failed_count: u64,
}

/// One item that could not be done, or not wholly.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FailedItem {
    /// The file, folder or object.
    pub path: WirePath,
    /// Why, for programs.
    pub class: Class,
    /// Why, for people.
    pub message: String,
    /// What to do about it.
    pub advice: String,
}

/// What a dry run would do with one item; also what a `forget` has done, and what a check found to differ from the disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlannedItem {
    /// The path in the destination; for a snapshot, its file in the repository.
    pub path: WirePath,
    /// What would happen to it.
    pub action: PlannedAction,
    /// Bytes that would be written.
    #[serde(default)]
    pub bytes: u64,
    /// The snapshot that would stay or go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<Box<Snapshot>>,
    /// Why it would stay or go; how it differs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<String>,
}

/// What would be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PlannedAction {
    /// It is not there and would be made.
    Create,
    /// It is there, differs, and would be replaced.
    Replace,
    /// It is there, differs, and would be kept; a snapshot that stays.
    Keep,
    /// It is there and right already.
    Unchanged,
    /// It is not in the snapshot and would be deleted; a snapshot that goes.
    Delete,
    /// Found by a check: it was changed since.
    Changed,
    /// Found by a check: only the snapshot has it.
    Missing,
    /// Found by a check: only the disk has it.
    Extra,
    /// Found by a check: its contents differ although size and time of modification are the same.
    Rotten,
    /// An action this program does not know yet.
    #[serde(other)]
    Unknown,
}

/// How a job ended; the last line of `backup --json` and `restore --json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JobSummary {
    /// The job.
    pub job: JobId,
    /// Its final state.
    pub state: JobState,
    /// The snapshot that was made or restored; a dry run makes none.
    pub snapshot: Option<String>,
    /// Files done; of a `forget`, snapshots removed; of a `copy`, snapshots that are there now.
    pub files: u64,
    /// Backup: source bytes looked at. Restore: bytes now right in the destination.
    pub bytes: u64,
    /// By how much the repository grew, or in a dry run of a backup would grow; 0 for a restore.
    pub bytes_stored: u64,
    /// Items that could not be done.
    pub failed_count: u64,
    /// The first of them, at most [`SUMMARY_FAILED_MAX`], fewer where a line would become too long.
    pub failed: Vec<FailedItem>,
    /// Whether there are more than `failed` lists.
    pub failed_more: bool,
    /// Why the job as a whole failed, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<JobError>,
    /// What a prune has done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prune: Option<PruneReport>,
    /// What a repair has done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repair: Option<Box<RepairReport>>,
    /// What a check looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify: Option<Box<VerifyReport>>,
    /// What a copy has done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copy: Option<CopyReport>,
    /// What became of the caller's word on what has changed, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hints: Option<HintsReport>,
    /// What a dry run of a backup has found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimate: Option<Box<BackupEstimate>>,
}

/// What a copy has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct CopyReport {
    /// Snapshots that were copied.
    pub snapshots: u64,
    /// Snapshots that were there already.
    pub there: u64,
}

/// What a backup made of the caller's word on what has changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct HintsReport {
    /// Whether nothing else was looked at; if not, everything was.
    pub used: bool,
    /// Folders in which something had changed that nobody named; they are found when everything is looked at.
    pub folders_missed: u64,
}

/// What a prune has done, or in a dry run would do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct PruneReport {
    /// Whether it was a dry run.
    pub dry_run: bool,
    /// Packs of which everything that is used was moved to new ones.
    pub packs_repacked: u64,
    /// What was moved.
    pub bytes_repacked: u64,
    /// Packs that were removed.
    pub packs_removed: u64,
    /// By how much the repository became smaller.
    pub bytes_freed: u64,
    /// Packs that nothing needs and that have to be seen so for longer.
    pub packs_waiting: u64,
    /// Their bytes.
    pub bytes_waiting: u64,
    /// When the first of them may take its next step, if a prune runs then.
    pub next: Option<Timestamp>,
    /// Bytes that stay unused in packs of which something is used.
    pub bytes_unused: u64,
    /// Packs that stay.
    pub packs_kept: u64,
    /// Packs in no index that a snapshot turned out to need, and that were listed again.
    pub packs_listed_again: u64,
    /// Half-written files of killed programs that were removed.
    pub temporary_removed: u64,
}

/// Why a job as a whole failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JobError {
    /// What happened, as a sentence.
    pub message: String,
    /// Kind, class, whether it is tried again, and what to do.
    #[serde(flatten)]
    pub data: ErrorData,
}
