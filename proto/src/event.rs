//! Events: what a watcher is told after it got the first picture, each with a cursor to resume from.

use std::fmt;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::job::{FailedItem, JobError, JobId, JobKind, JobState, JobSummary, Progress, Verdict};
use crate::limit::Limit;
use crate::status::{Pause, Status};
use crate::target::Target;

/// The method name of the notification that carries an event.
pub const EVENT_METHOD: &str = "event";

/// A place in the daemon's history. Those of job events survive a restart of the daemon.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Cursor(pub u64);

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a watcher wants to hear of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Topic {
    /// Changes of jobs' states and verdicts.
    State,
    /// How far running jobs are; may be coalesced.
    Progress,
    /// Items that could not be done.
    ItemError,
    /// Sentences worth knowing.
    Notice,
    /// The daemon as a whole: paused, resumed, stopping, limited.
    Daemon,
    /// Targets: absent, back, breaker open.
    Target,
    /// Plans: no success for too long, and success again.
    Plan,
    /// A topic this program does not know; it is ignored.
    #[serde(other)]
    Unknown,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    /// Pass it as `since` to hear what came after. Progress carries the cursor of the last event that is kept.
    pub cursor: Cursor,
    /// When it happened.
    pub time: Timestamp,
    /// What happened.
    #[serde(flatten)]
    pub body: EventBody,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum EventBody {
    /// A job's state or its reason for waiting changed.
    State(StateEvent),
    /// A running job came further.
    Progress(ProgressEvent),
    /// A job could not do an item.
    ItemError(ItemErrorEvent),
    /// A sentence worth knowing.
    Notice(NoticeEvent),
    /// The daemon as a whole changed.
    Daemon(DaemonEvent),
    /// A target changed.
    Target(TargetEvent),
    /// The limits of speed changed.
    Limits(LimitsEvent),
    /// A plan has had no success for too long, or has again.
    Plan(PlanEvent),
    /// Something this program does not know yet.
    #[serde(other)]
    Unknown,
}

impl EventBody {
    /// Returns the topic it belongs to.
    #[must_use]
    pub fn topic(&self) -> Topic {
        match self {
            Self::State(_) => Topic::State,
            Self::Progress(_) => Topic::Progress,
            Self::ItemError(_) => Topic::ItemError,
            Self::Notice(_) => Topic::Notice,
            Self::Daemon(_) | Self::Limits(_) => Topic::Daemon,
            Self::Target(_) => Topic::Target,
            Self::Plan(_) => Topic::Plan,
            Self::Unknown => Topic::Unknown,
        }
    }

    /// Returns the job it is about.
    #[must_use]
    pub fn job(&self) -> Option<&JobId> {
        match self {
            Self::State(event) => Some(&event.job),
            Self::Progress(event) => Some(&event.job),
            Self::ItemError(event) => Some(&event.job),
            Self::Notice(event) => event.job.as_ref(),
            Self::Daemon(_) | Self::Target(_) | Self::Limits(_) | Self::Plan(_) | Self::Unknown => None,
        }
    }
}

/// A job's state or its reason for waiting changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StateEvent {
    /// The job.
    pub job: JobId,
    /// What it does.
    pub kind: JobKind,
    /// Its state now.
    pub state: JobState,
    /// Why it waits, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// Why its last attempt failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<JobError>,
    /// How it ended, once it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<Box<JobSummary>>,
}

/// A running job came further.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProgressEvent {
    /// The job.
    pub job: JobId,
    /// How far it is.
    #[serde(flatten)]
    pub progress: Progress,
}

/// A job could not do an item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ItemErrorEvent {
    /// The job.
    pub job: JobId,
    /// The item.
    #[serde(flatten)]
    pub item: FailedItem,
}

/// A sentence worth knowing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NoticeEvent {
    /// The job it is about, if it is about one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobId>,
    /// The sentence.
    pub sentence: String,
}

/// The daemon as a whole changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DaemonEvent {
    /// Whether it is paused now.
    #[serde(default)]
    pub paused: Option<Pause>,
    /// Whether it is about to end.
    #[serde(default)]
    pub stopping: bool,
}

/// A target changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TargetEvent {
    /// The target as it is now.
    pub target: Target,
}

/// The limits of speed changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LimitsEvent {
    /// Those that are in force now.
    pub limits: Vec<Limit>,
}

/// A plan has had no success on a target for longer than its `stale-after`, or has had one again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlanEvent {
    /// The plan.
    pub plan: String,
    /// The target.
    pub target: String,
    /// Whether it is too long ago now.
    #[serde(rename = "stale")]
    pub is_stale: bool,
    /// When it last had one; absent: never.
    #[serde(default)]
    pub last_success: Option<Timestamp>,
}

/// The answer to `events.subscribe`; events follow as notifications on the same connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Subscribed {
    /// Where the events that follow begin.
    pub cursor: Cursor,
    /// Whether what happened since the asked-for cursor could not be replayed; then `state` is there.
    pub gap: bool,
    /// The present state: on a first subscription and after a gap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<Box<Status>>,
}
