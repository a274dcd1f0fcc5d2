//! Limits of speed: how fast bytes may go to targets and come from them, since when, and who says so.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::job::JobId;
use crate::params::{RequestId, params};
use crate::size::{parse_size, size};

/// The slowest limit there is, in bytes per second.
pub const RATE_MIN: u64 = 1024;

/// The fastest one, in bytes per second; beyond it nothing is held back by it.
pub const RATE_MAX: u64 = 1 << 40;

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// To a target.
    Upload,
    /// From a target.
    Download,
}

impl Direction {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Upload, Self::Download];

    /// Returns the word used on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Upload => "upload",
            Self::Download => "download",
        }
    }
}

/// What a limit is for. Where several are in force, the lowest counts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LimitScope {
    /// All targets and jobs together.
    Everything,
    /// Whatever goes to or comes from one target.
    Target(String),
    /// One job.
    Job(JobId),
}

/// Who says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LimitSource {
    /// The configuration.
    Config,
    /// Somebody, with `limit.set`. It counts in the place of what the configuration says for the same scope.
    Hand,
    /// The power, the network or the load; it counts beside the others.
    Conditions,
    /// The target is there and has failed; it counts beside the others until a job succeeds.
    Failures,
    /// A source this program does not know yet.
    #[serde(other)]
    Unknown,
}

/// A limit in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Limit {
    /// What it is for.
    pub scope: LimitScope,
    /// Which way.
    pub direction: Direction,
    /// Bytes per second; absent: somebody has lifted the configured limit.
    #[serde(default)]
    pub bytes_per_second: Option<u64>,
    /// Who says so.
    pub source: LimitSource,
    /// Since when, if somebody has set it.
    #[serde(default)]
    pub since: Option<Timestamp>,
    /// Until when; absent: until it is changed.
    #[serde(default)]
    pub until: Option<Timestamp>,
    /// Why, in a few words, such as `08:00 to 18:00`.
    #[serde(default)]
    pub reason: Option<String>,
}

/// What a limit is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LimitChange {
    /// So many bytes per second: [`RATE_MIN`] to [`RATE_MAX`].
    Rate(u64),
    /// None, whatever the configuration says.
    Off,
    /// What the configuration says.
    Reset,
}

params! {
    /// Limits how fast bytes go, at once and also for what runs, until it is changed or for some time.
    LimitSet {
        /// The name of this change.
        request_id: RequestId,
        /// The limit.
        limit: LimitChange,
        ?
        /// Which way; absent: both.
        direction: Option<Direction>,
        /// What for; absent: all targets and jobs together. Of a job, its id or a unique prefix of it.
        scope: Option<LimitScope>,
        /// For how long; absent: until it is changed, or the job ends.
        for_seconds: Option<u64>,
    }
    /// Asks which limits are in force, and why.
    LimitGet {}
}

/// The limits in force.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct LimitList {
    /// Each of them.
    pub limits: Vec<Limit>,
    /// Bytes that went to targets since the daemon started; in the answer to `limit.get`.
    pub uploaded: Option<u64>,
    /// Bytes that came from targets since the daemon started; in the answer to `limit.get`.
    pub downloaded: Option<u64>,
}

/// Reads a rate such as `5 MiB/s` or `500KiB/s`, in bytes per second.
///
/// # Errors
/// A sentence that says how one is written.
pub fn parse_rate(text: &str) -> Result<u64, String> {
    let refuse = || format!("`{text}` is not a speed; write it like 500 KiB/s or 5MiB/s");
    let bytes = text.trim().strip_suffix("/s").ok_or_else(refuse)?;
    let rate = parse_size(bytes.trim_end()).map_err(|_| refuse())?;
    match rate {
        0..RATE_MIN => Err(format!("`{text}` is too slow: nothing would ever end; write at least 1 KiB/s, or off")),
        RATE_MIN..=RATE_MAX => Ok(rate),
        _ => Err(format!("`{text}` holds nothing back; write off for no limit")),
    }
}

/// Says a rate: `5.0 MiB/s`.
#[must_use]
pub fn rate(bytes_per_second: u64) -> String {
    format!("{}/s", size(bytes_per_second))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_has_a_unit_and_a_bottom() {
        for (text, meant) in [("5MiB/s", 5 << 20), ("5 MiB/s", 5 << 20), (" 1024 B/s ", 1024), ("2048/s", 2048)] {
            assert_eq!(parse_rate(text), Ok(meant), "{text}");
        }
        for text in ["5MiB", "", "/s", "5 Mbit/s", "fast", "-1 MiB/s", "1.5 MiB/s"] {
            assert!(parse_rate(text).is_err_and(|said| said.contains("is not a speed")), "{text}");
        }
        for (text, said) in [("1023 B/s", "too slow"), ("0 MiB/s", "too slow"), ("2 TiB/s", "holds nothing back")] {
            assert!(parse_rate(text).is_err_and(|error| error.contains(said)), "{text}");
        }
    }
}
