//! Targets and plans as clients see them: where backups go, and what goes there when.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::path::WirePath;
pub use crate::verify::Coverage;

/// The name of the target that exists without any configuration.
pub const DEFAULT_TARGET: &str = "local";

/// A repository somewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Target {
    /// Its name.
    pub name: String,
    /// Where it is, in restic's form, without passwords.
    pub url: String,
    /// How it was found when it was last used.
    pub state: TargetState,
    /// The repository's id, once known.
    #[serde(default)]
    pub repository_id: Option<String>,
    /// Whether it is left alone because it keeps failing.
    #[serde(default)]
    pub breaker: Breaker,
    /// When a job last ended well here.
    #[serde(default)]
    pub last_success: Option<Timestamp>,
    /// How much of its data was ever read, as the last check found; in `target.check`, as it is now.
    #[serde(default)]
    pub verified: Option<Coverage>,
    /// Free bytes at its location, where that can be known.
    #[serde(default)]
    pub free_bytes: Option<u64>,
    /// A sentence a person should read, such as that it is on the same disk as what it protects.
    #[serde(default)]
    pub notice: Option<String>,
}

/// How a target was found when it was last used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TargetState {
    /// It opens.
    Ready,
    /// Known to the configuration; not used yet.
    New,
    /// It is not there: a drive that is not connected, a server that does not answer.
    Absent,
    /// It is there and does not open; the notice says why.
    Failing,
    /// A state this program does not know yet.
    #[serde(other)]
    Unknown,
}

/// The breaker of a target.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Breaker {
    /// Its state.
    pub state: BreakerState,
    /// When it is tried again.
    pub next_try: Option<Timestamp>,
    /// The failure that opened it.
    pub reason: Option<String>,
    /// Since when it is in this state, if it is not closed.
    pub since: Option<Timestamp>,
    /// Whether somebody has told it to be so.
    pub by_hand: bool,
    /// Whether it is there and has failed, and no job has succeeded since: bytes go more slowly, and what is not urgent
    /// waits for some minutes after it answers again.
    pub degraded: bool,
    /// Attempts that the target has failed within the last hour, as far as they count.
    pub failures: u64,
    /// Its latest changes, oldest first.
    pub history: Vec<BreakerChange>,
}

/// A change of a breaker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BreakerChange {
    /// When.
    pub at: Timestamp,
    /// Its state since then.
    pub state: BreakerState,
    /// Why.
    pub reason: String,
}

/// What somebody wants a breaker to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BreakerWish {
    /// As new: closed, with nothing counted.
    Reset,
    /// Open until it is reset: the target is left alone.
    Open,
    /// Closed until it is reset: the target is used however often it fails.
    Closed,
}

/// The state of a breaker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BreakerState {
    /// Left alone until the next try.
    Open,
    /// One job is trying it.
    HalfOpen,
    /// All is well; also what an unknown state is taken for.
    #[default]
    #[serde(other)]
    Closed,
}

/// What a look at a target found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TargetCheck {
    /// The target.
    pub target: Target,
    /// The repository's format version.
    pub format_version: u32,
    /// Snapshots in it.
    pub snapshots: u64,
    /// Sentences about what is not as it should be; empty: all is well.
    #[serde(default)]
    pub findings: Vec<String>,
}

/// Which sources go to which targets, when, and how long they are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Plan {
    /// Its name.
    pub name: String,
    /// What to save; `~` is the home of the daemon's user.
    pub sources: Vec<WirePath>,
    /// What of it to save before the rest: paths at or below the sources.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub critical: Vec<WirePath>,
    /// Patterns of what to leave out.
    pub exclude: Vec<String>,
    /// Names of targets; empty: `local`.
    pub targets: Vec<String>,
    /// When, as in the configuration: `every 1h`, `daily 02:30`, `weekly sunday 03:00`, a cron line; absent: only when asked.
    pub schedule: Option<String>,
    /// How many snapshots to keep; absent: all.
    pub keep: Option<Keep>,
    /// At which times of the week it runs, as in the configuration: `22:00-06:00`; absent: always.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<String>,
    /// When it is due next, and its window open.
    pub next_run: Option<Timestamp>,
    /// When it last ended well.
    pub last_success: Option<Timestamp>,
}

/// How many snapshots to keep of each kind, and for how long; what is absent keeps none of its kind. A snapshot stays if
/// any of these asks for it. An age is a text such as `30d` or `1y6m`, seen from the newest snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Keep {
    /// The newest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<u32>,
    /// The newest of each hour.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hourly: Option<u32>,
    /// The newest of each day.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub daily: Option<u32>,
    /// The newest of each week.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weekly: Option<u32>,
    /// The newest of each month.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub monthly: Option<u32>,
    /// The newest of each year.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub yearly: Option<u32>,
    /// All that are younger than this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub within: Option<String>,
    /// The newest of each hour among those that are younger than this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub within_hourly: Option<String>,
    /// The newest of each day among those that are younger than this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub within_daily: Option<String>,
    /// The newest of each week among those that are younger than this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub within_weekly: Option<String>,
    /// The newest of each month among those that are younger than this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub within_monthly: Option<String>,
    /// The newest of each year among those that are younger than this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub within_yearly: Option<String>,
    /// All that have every tag of one of these lists, each with commas between its tags.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
}
