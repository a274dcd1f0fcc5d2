//! The nouns of a job: its id, kind, state, priority and attempts, and why it waits.

use std::fmt;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use crate::estimate::BackupEstimate;
pub use crate::outcome::{
    CopyReport, FailedItem, HintsReport, JobError, JobSummary, PlannedAction, PlannedItem, Progress, PruneReport,
    SUMMARY_FAILED_MAX,
};
pub use crate::repair::RepairReport;
use crate::spec::JobSpec;
pub use crate::verify::{SourceReport, VerifyReport};

/// The name of a job: short, sortable by age, unique; people type as much of its start as is unique.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct JobId(pub String);

impl JobId {
    /// Tells whether this id starts with what somebody typed.
    #[must_use]
    pub fn matches(&self, prefix: &str) -> bool {
        !prefix.is_empty() && self.0.len() >= prefix.len() && self.0.as_bytes().starts_with(prefix.as_bytes())
    }

    /// Returns the id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl From<&str> for JobId {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

/// What a job does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum JobKind {
    /// Saves sources into a target as a new snapshot.
    Backup,
    /// Brings files of a snapshot back.
    Restore,
    /// Checks a target.
    Verify,
    /// Removes snapshots by a keep rule.
    Forget,
    /// Removes data that no snapshot needs.
    Prune,
    /// Saves what can be saved of a damaged target.
    Repair,
    /// Copies snapshots to another target.
    Copy,
    /// A kind this program does not know yet.
    #[serde(other)]
    Unknown,
}

impl JobKind {
    /// Returns the word used on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Backup => "backup",
            Self::Restore => "restore",
            Self::Verify => "verify",
            Self::Forget => "forget",
            Self::Prune => "prune",
            Self::Repair => "repair",
            Self::Copy => "copy",
            Self::Unknown => "unknown",
        }
    }
}

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Waits for its turn; its verdict says why.
    Queued,
    /// Is being worked on.
    Running,
    /// Was begun and stands still; its verdict says why.
    Paused,
    /// Did all of it.
    Succeeded,
    /// A usable snapshot or restore exists, and named items are missing.
    Partial,
    /// Nothing usable came of it.
    Failed,
    /// Was stopped because somebody asked.
    Cancelled,
    /// A state this program does not know yet.
    #[serde(other)]
    Unknown,
}

impl JobState {
    /// Returns the word used on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Succeeded => "succeeded",
            Self::Partial => "partial",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Unknown => "unknown",
        }
    }

    /// Tells whether the job has ended; only `retry` makes it go on.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Partial | Self::Failed | Self::Cancelled)
    }
}

/// How urgent a job is; of two jobs that may run the more urgent goes first, then the older.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// When nothing else wants to run.
    Low = 0,
    /// Somebody waits for it.
    High = 2,
    /// Before everything else.
    Critical = 3,
    // The fallback has to be declared last; the numbers keep the order.
    /// The usual; also what a priority this program does not know is taken for.
    #[default]
    #[serde(other)]
    Normal = 1,
}

impl Priority {
    /// Returns the word used on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

/// Which decider said no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum VerdictKind {
    /// Nobody: it may run.
    Ready,
    /// It is not due yet.
    Schedule,
    /// Others go first.
    Queue,
    /// Power, network, load or presence do not allow it.
    Conditions,
    /// Its target keeps failing and is left alone for a while.
    Breaker,
    /// It waits before it is tried again after a failure that may go away.
    Retry,
    /// It has failed in a way that somebody has to mend; it is tried again when its plan is due next, or when asked.
    Parked,
    /// Somebody paused it, or the whole daemon.
    Paused,
    /// The daemon is stopping; it goes on at the next start.
    Stopping,
    /// A reason this program does not know yet; the sentence says it.
    #[serde(other)]
    Unknown,
}

/// May the job run? If not: who says so, in words a person understands, and when it is asked again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Verdict {
    /// Which decider spoke.
    pub kind: VerdictKind,
    /// The reason as a sentence.
    pub sentence: String,
    /// Since when this has been the reason.
    #[serde(default)]
    pub since: Option<Timestamp>,
    /// When it is decided again at the latest, where that is known.
    #[serde(default)]
    pub next_look: Option<Timestamp>,
    /// Which condition of the machine it is, as in `conditions.get`; the sentence may change while this is the same.
    #[serde(default)]
    pub condition: Option<String>,
    /// When it runs whatever that condition is like.
    #[serde(default)]
    pub runs_by: Option<Timestamp>,
}

/// One try of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Attempt {
    /// Counts from 1.
    pub number: u32,
    /// When it began.
    pub started: Timestamp,
    /// When it ended; absent while it runs.
    #[serde(default)]
    pub ended: Option<Timestamp>,
    /// How it ended: a final state, or `queued` or `paused` when it will go on.
    #[serde(default)]
    pub outcome: Option<JobState>,
    /// What went wrong.
    #[serde(default)]
    pub error: Option<JobError>,
}

/// A job as lists show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// What it does.
    pub kind: JobKind,
    /// Where it stands.
    pub state: JobState,
    /// How urgent it is.
    #[serde(default)]
    pub priority: Priority,
    /// What it is about, in words: "/home/ada to local".
    pub title: String,
    /// The plan it belongs to.
    #[serde(default)]
    pub plan: Option<String>,
    /// The target it works on.
    #[serde(default)]
    pub target: Option<String>,
    /// Why somebody wanted it, if they said so.
    #[serde(default)]
    pub reason: Option<String>,
    /// When it was accepted.
    pub submitted: Timestamp,
    /// When its first attempt began.
    #[serde(default)]
    pub started: Option<Timestamp>,
    /// When it ended.
    #[serde(default)]
    pub ended: Option<Timestamp>,
    /// Attempts made so far.
    #[serde(default)]
    pub attempts: u32,
    /// Why it waits: always there when it is queued or paused.
    #[serde(default)]
    pub verdict: Option<Verdict>,
    /// How far it is, once it has begun.
    #[serde(default)]
    pub progress: Option<Progress>,
    /// Why its last attempt failed.
    #[serde(default)]
    pub error: Option<JobError>,
}

/// Everything about one job, except the full list of failed items (`job.failures`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JobDetail {
    /// The job as lists show it.
    #[serde(flatten)]
    pub job: Job,
    /// What was asked for.
    pub spec: JobSpec,
    /// Its attempts, oldest first.
    #[serde(default)]
    pub attempts: Vec<Attempt>,
    /// Sentences worth knowing that are no failures, each said once for the job.
    #[serde(default)]
    pub notices: Vec<String>,
    /// How it ended, once it has.
    #[serde(default)]
    pub summary: Option<JobSummary>,
}
