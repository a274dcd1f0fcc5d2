//! The state of the daemon as one picture: what `daemon.status` answers and what a new watcher gets first.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::event::Cursor;
use crate::job::{Job, Verdict};
use crate::limit::Limit;
use crate::path::WirePath;
use crate::target::Target;

/// Running and waiting jobs that a status lists at most; the rest is in `job.list`.
pub const STATUS_JOBS_MAX: usize = 100;

/// Ended jobs that a status lists at most, newest first.
pub const STATUS_RECENT_MAX: usize = 10;

/// Plans that a status lists at most; the rest is in `plan.list`.
pub const STATUS_PLANS_MAX: usize = 100;

/// What the daemon is doing and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Status {
    /// The daemon's version.
    pub version: String,
    /// Changes with each start of the daemon.
    pub instance_id: String,
    /// Its process.
    pub pid: u32,
    /// The user it runs as.
    pub uid: u32,
    /// When it started.
    pub started: Timestamp,
    /// Its socket.
    pub socket: WirePath,
    /// The folder of its queue, caches and keys.
    pub state_dir: WirePath,
    /// Its configuration file; it need not exist.
    pub config: WirePath,
    /// Whether the whole daemon is paused.
    #[serde(default)]
    pub paused: Option<Pause>,
    /// The limits of speed that are in force.
    #[serde(default)]
    pub limits: Vec<Limit>,
    /// How many jobs there are in each state that is not final.
    pub counts: JobCounts,
    /// Running jobs, then waiting ones in the order they will run; at most [`STATUS_JOBS_MAX`].
    pub jobs: Vec<Job>,
    /// The jobs that ended last, newest first; at most [`STATUS_RECENT_MAX`].
    #[serde(default)]
    pub recent: Vec<Job>,
    /// Its targets.
    #[serde(default)]
    pub targets: Vec<Target>,
    /// Its plans, by name; at most [`STATUS_PLANS_MAX`].
    #[serde(default)]
    pub plans: Vec<PlanState>,
    /// Sentences a person should read.
    #[serde(default)]
    pub notices: Vec<String>,
    /// Events after this one are not in this picture.
    pub cursor: Cursor,
}

/// When a plan runs, and how it is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct PlanState {
    /// Its name.
    pub name: String,
    /// When it is due next; absent: only when asked.
    pub next_run: Option<Timestamp>,
    /// When it last left a snapshot on any target.
    pub last_success: Option<Timestamp>,
    /// The targets on which it has left none for longer than its `stale-after`.
    pub stale: Vec<Stale>,
}

/// A target on which a plan has left no snapshot for too long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Stale {
    /// The target.
    pub target: String,
    /// When it last did; absent: never.
    #[serde(default)]
    pub last_success: Option<Timestamp>,
    /// Since when the daemon has known of this plan and this target.
    pub watched_since: Timestamp,
}

/// A pause of the whole daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Pause {
    /// Since when.
    pub since: Timestamp,
    /// Until when; absent: until somebody resumes it.
    #[serde(default)]
    pub until: Option<Timestamp>,
}

/// How many jobs there are in each state that is not final.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct JobCounts {
    /// Waiting for their turn.
    pub queued: u64,
    /// Being worked on.
    pub running: u64,
    /// Begun and standing still.
    pub paused: u64,
}

/// The readings that decide whether jobs may run, and what they lead to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Conditions {
    /// Each reading with its policy.
    pub conditions: Vec<Condition>,
    /// What they mean for the job of a plan on a target that no network is needed for; absent: it may run.
    pub verdict: Option<Verdict>,
}

/// One reading and the policy on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Condition {
    /// Its stable name: `battery`, `battery_critical`, `power_saver`, `offline`, `captive`, `metered`, `networks`,
    /// `vpn`, `load`, `idle`.
    pub name: String,
    /// The reading, in words; `unknown` where this machine cannot tell.
    pub reading: String,
    /// The policy, in words.
    pub policy: String,
    /// Whether it lets jobs run; the ones about networks concern only targets that are reached over one.
    pub allows: bool,
    /// Where the reading comes from.
    #[serde(default)]
    pub source: Option<String>,
    /// When it was made.
    #[serde(default)]
    pub read: Option<Timestamp>,
}

/// The configuration as the daemon sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ConfigText {
    /// The file.
    pub path: WirePath,
    /// Whether it exists.
    pub exists: bool,
    /// Its text; empty when it does not exist.
    pub text: String,
}

/// What is wrong with the configuration file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ConfigCheck {
    /// The file.
    pub path: WirePath,
    /// Whether it exists; one that does not is fine.
    pub exists: bool,
    /// What is wrong; empty: nothing.
    pub problems: Vec<ConfigProblem>,
}

/// One mistake in the configuration file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ConfigProblem {
    /// The line it is in, from 1, where that is known.
    #[serde(default)]
    pub line: Option<u32>,
    /// What is wrong and what would be right.
    pub message: String,
}
