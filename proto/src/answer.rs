//! Answers that are more than one noun or a page of nouns.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::job::{Job, JobId, Verdict};
use crate::path::WirePath;
use crate::status::Pause;
use crate::target::Plan;

/// The answer to `daemon.pause` and `daemon.resume`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DaemonPaused {
    /// The pause now in force, if any.
    pub paused: Option<Pause>,
}

/// The answer to `job.submit`: the jobs are safe in the queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JobsSubmitted {
    /// Never empty; one for each target of a plan.
    pub jobs: Vec<JobId>,
}

/// The answer to `job.why`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JobReasons {
    /// The job.
    pub job: Job,
    /// What each decider says, in the order they are asked; the first that is not `ready` is why it waits.
    pub verdicts: Vec<Verdict>,
}

/// The answer to `plan.add`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlanAdded {
    /// The plan as it is now.
    pub plan: Plan,
    /// The configuration file that was changed.
    pub config: WirePath,
}

/// The answer to `snapshot.cat`: open a second connection, say `hello`, call `bulk.open` with the token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BulkToken {
    /// Works once, for a short time, for the same user.
    pub token: String,
    /// When it stops working.
    pub expires: Timestamp,
    /// How many bytes will come, where that is known.
    #[serde(default)]
    pub size_bytes: Option<u64>,
}

/// The answer to `bulk.open`; frames follow (see [`crate::bulk`]).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BulkOpened {
    /// How many bytes will come, where that is known.
    #[serde(default)]
    pub size_bytes: Option<u64>,
}
