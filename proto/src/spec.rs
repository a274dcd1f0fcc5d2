//! What a job is to do: one specification for each kind, as submitted.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::job::JobKind;
use crate::path::WirePath;
pub use crate::repair::RepairSpec;
use crate::target::Keep;
pub use crate::verify::{ReadPart, VerifySpec};

/// What a job is to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum JobSpec {
    /// Save sources.
    Backup(BackupSpec),
    /// Bring files back.
    Restore(RestoreSpec),
    /// Check a target.
    Verify(VerifySpec),
    /// Remove snapshots.
    Forget(ForgetSpec),
    /// Make room in a target.
    Prune(PruneSpec),
    /// Save what can be saved of a damaged target.
    Repair(RepairSpec),
    /// Copy snapshots to another target.
    Copy(CopySpec),
    /// A kind this program does not know; a daemon refuses it.
    #[serde(other)]
    Unknown,
}

impl JobSpec {
    /// Returns whether it is a backup that stores something: a dry run counts as none.
    #[must_use]
    pub fn stores_a_snapshot(&self) -> bool {
        matches!(self, Self::Backup(spec) if !spec.dry_run)
    }

    /// Returns the kind of the job.
    #[must_use]
    pub fn kind(&self) -> JobKind {
        match self {
            Self::Backup(_) => JobKind::Backup,
            Self::Restore(_) => JobKind::Restore,
            Self::Verify(_) => JobKind::Verify,
            Self::Forget(_) => JobKind::Forget,
            Self::Prune(_) => JobKind::Prune,
            Self::Repair(_) => JobKind::Repair,
            Self::Copy(_) => JobKind::Copy,
            Self::Unknown => JobKind::Unknown,
        }
    }
}

/// A backup of a plan, or of the given sources. Exactly one of `plan` and `sources` is given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct BackupSpec {
    /// The plan to run.
    pub plan: Option<String>,
    /// Absolute paths to save when there is no plan.
    pub sources: Vec<WirePath>,
    /// The target; absent: the plan's targets (one job each), or `local`.
    pub target: Option<String>,
    /// Tags for the snapshot, beside the daemon's own.
    pub tags: Vec<String>,
    /// Patterns of what to leave out, in restic's syntax; added to the plan's. One that is not UTF-8 is written as such a
    /// path is.
    pub exclude: Vec<WirePath>,
    /// Leave out folders that hold a `CACHEDIR.TAG`.
    pub exclude_caches: bool,
    /// Do not enter other file systems.
    pub one_file_system: bool,
    /// The host name in the snapshot; absent: this machine's.
    pub host: Option<String>,
    /// Only what is at or below these absolute paths has changed since the job before it was submitted, says the caller:
    /// nothing else is looked at, except now and then. Absent: everything is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changed: Option<Vec<WirePath>>,
    /// Store nothing; the summary's `estimate` says what would be stored and whether there is room. A daemon without the
    /// ability [`BACKUP_DRY_RUN`](crate::version::BACKUP_DRY_RUN) does not know this field and makes a backup.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
}

/// A restore of one or more parts of snapshots.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RestoreSpec {
    /// What to restore, in this order.
    pub items: Vec<RestoreItem>,
    /// Where to.
    pub destination: Destination,
    /// Restore only what one of these patterns names; empty: everything.
    #[serde(default)]
    pub include: Vec<String>,
    /// Leave out what one of these patterns names.
    #[serde(default)]
    pub exclude: Vec<String>,
    /// What to do with an entry that is there and differs.
    #[serde(default)]
    pub overwrite: Overwrite,
    /// Keep a replaced file beside the new one.
    #[serde(default)]
    pub keep_replaced: bool,
    /// Delete what is in the destination but not in the snapshot.
    #[serde(default)]
    pub delete: bool,
    /// Change nothing; only say what would happen (`job.planned`).
    #[serde(default)]
    pub dry_run: bool,
    /// Bounds to use in place of the daemon's own, by somebody who trusts the repository.
    #[serde(default, skip_serializing_if = "RestoreLimits::is_default")]
    pub limits: RestoreLimits,
}

/// Bounds that keep a hostile repository from filling the machine. One that is absent is the daemon's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RestoreLimits {
    /// The most files, folders and other entries in all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entries: Option<u64>,
    /// The most bytes of files in all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_bytes: Option<u64>,
    /// The deepest nesting of folders.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub depth: Option<u64>,
    /// The most entries of one folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub folder_entries: Option<u64>,
    /// The most bytes of one piece of a file or of one folder's list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blob_bytes: Option<u64>,
}

impl RestoreLimits {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// One part of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RestoreItem {
    /// The snapshot.
    #[serde(flatten)]
    pub snapshot: SnapshotQuery,
    /// The path inside the snapshot whose contents go into the destination; absent: the whole snapshot, below the
    /// destination under its absolute paths.
    #[serde(default)]
    pub inside: Option<WirePath>,
}

/// Names one snapshot, as a person would.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SnapshotQuery {
    /// A unique prefix of an id, or `latest`.
    pub snapshot: String,
    /// Where to look; absent: every target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// For `latest`: made by this plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    /// For `latest`: made on this host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// For `latest`: of this source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<WirePath>,
}

/// Where a restore writes. It is never guessed: there is no default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Destination {
    /// Below this absolute path.
    Folder(WirePath),
    /// To the original paths.
    InPlace,
}

/// What a restore does with an existing entry that differs from the snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Overwrite {
    /// Replace it if it is older than the snapshot's.
    Older,
    /// Replace it.
    Always,
    /// Keep it, and list it; also what an unknown rule is taken for, because it destroys nothing.
    #[default]
    #[serde(other)]
    Never,
}

/// A removal of snapshots: of those that a rule gives no place to, or of named ones. Their data stays until a prune.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ForgetSpec {
    /// Only snapshots of this plan; without `keep`, by the plan's own rule.
    pub plan: Option<String>,
    /// The target; absent: the plan's targets (one job each), or `local`.
    pub target: Option<String>,
    /// Unique prefixes of the ids of snapshots that are to go; empty: what the rule gives no place to.
    pub snapshots: Vec<String>,
    /// What is kept.
    pub keep: Option<Box<Keep>>,
    /// What the snapshots of a group have in common, among `host`, `paths` and `tags`; each group is judged by itself.
    /// Absent: host and paths.
    pub group_by: Option<Vec<GroupBy>>,
    /// Only snapshots made on one of these hosts; empty: any.
    pub hosts: Vec<String>,
    /// Only snapshots that have all of these among their sources.
    pub paths: Vec<WirePath>,
    /// Only snapshots that have all tags of one of these lists, each with commas between its tags; empty: any.
    pub tags: Vec<String>,
    /// A source that shrank by more than half is meant to be so small.
    pub confirm_shrunk: bool,
    /// Change nothing; only say what would happen (`job.planned`).
    pub dry_run: bool,
}

/// A copy of snapshots from one target to another. Those that are there already are not copied again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct CopySpec {
    /// The target that has them.
    pub from: String,
    /// The target that gets them; absent: `local`.
    pub target: Option<String>,
    /// Unique prefixes of their ids, or `latest` for the newest of those that fit; empty: all that fit.
    pub snapshots: Vec<String>,
    /// Only snapshots of this plan.
    pub plan: Option<String>,
    /// Only snapshots made on one of these hosts; empty: any.
    pub hosts: Vec<String>,
    /// Only snapshots that have all of these among their sources.
    pub paths: Vec<WirePath>,
    /// Only snapshots that have all tags of one of these lists, each with commas between its tags; empty: any.
    pub tags: Vec<String>,
}

/// Something that the snapshots of a group have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GroupBy {
    /// The machine.
    Host,
    /// The sources.
    Paths,
    /// The tags.
    Tags,
    /// Something this program does not know; a daemon refuses it.
    #[serde(other)]
    Unknown,
}

/// The removal of what no snapshot of a target needs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct PruneSpec {
    /// The target; absent: `local`.
    pub target: Option<String>,
    /// How much may stay unused in packs of which something is used; absent: 5 %.
    pub max_unused: Option<MaxUnused>,
    /// Packs of so many bytes in all are repacked at most.
    pub max_repack_bytes: Option<u64>,
    /// Change nothing; the summary says what would be done.
    pub dry_run: bool,
    /// Remove at once what is unused now, instead of waiting until it was seen so for a day. A program that takes no
    /// locks, such as rustic, must not write to the target meanwhile.
    pub no_grace: bool,
}

/// How much may stay unused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MaxUnused {
    /// A share of the target in percent.
    Percent(u8),
    /// So many bytes.
    Bytes(u64),
    /// Any amount.
    Unlimited,
}
