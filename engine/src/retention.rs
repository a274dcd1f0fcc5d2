//! Which snapshots stay and which go: a pure function of the snapshots, the rules and the time.
//!
//! ```text
//! snapshots ─► groups ─► places: last, hourly … yearly, within, tags ─► what must not go all the same ─► verdicts
//! ```
//! The places are restic's, to the snapshot: a group is walked from its newest to its oldest, and each rule gives its
//! places to the first of each hour, day and so on, in the zone that the snapshot's own time is written in.
//!
//! What is added takes nothing away from that: held snapshots stay; those from the future stay and have no place; an
//! incomplete one has a place only where no complete one could have it; and the newest of a group and its newest
//! complete one stay whatever the policy says. Where a source has shrunk by more than half, nothing goes.

mod age;
mod hold;
mod keep;
mod shrink;

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::fmt::temporal::Pieces;
use jiff::tz::Offset;
use serde::Deserialize;

pub use age::Age;
pub use shrink::Shrunk;

use crate::error::{Error, Result};
use crate::id::SnapshotId;
use crate::snapshot::Snapshot;

/// A snapshot that is judged.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// Its id.
    pub id: SnapshotId,
    /// The zone its time is written in: its days begin at midnight there.
    pub offset: Offset,
    /// The snapshot.
    pub snapshot: Snapshot,
}

impl Candidate {
    /// Decodes a snapshot file; total over all bytes.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn decode(id: SnapshotId, bytes: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Written {
            time: String,
        }
        let snapshot = Snapshot::decode(bytes)?;
        let written: Written = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        let pieces = Pieces::parse(&written.time).map_err(|error| error.to_string())?;
        Ok(Self { id, offset: pieces.to_numeric_offset().unwrap_or(Offset::UTC), snapshot })
    }

    /// Returns its time as the clock on the wall showed it.
    fn local(&self) -> DateTime {
        self.offset.to_datetime(self.snapshot.time)
    }

    fn has_tags(&self, tags: &[String]) -> bool {
        has_tags(&self.snapshot, tags)
    }

    fn sorted_paths(&self) -> Vec<String> {
        let mut paths = self.snapshot.paths.clone();
        paths.sort_unstable();
        paths
    }
}

/// How many snapshots have a place, and for how long: restic's `--keep-…`. One that is `None` or zero has no place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// The newest so many.
    pub last: Option<u32>,
    /// The newest of each of the last so many hours that have one.
    pub hourly: Option<u32>,
    /// The newest of each of the last so many days that have one.
    pub daily: Option<u32>,
    /// The newest of each of the last so many weeks, from Monday on, that have one.
    pub weekly: Option<u32>,
    /// The newest of each of the last so many months that have one.
    pub monthly: Option<u32>,
    /// The newest of each of the last so many years that have one.
    pub yearly: Option<u32>,
    /// All that are younger than this, seen from the newest.
    pub within: Option<Age>,
    /// The newest of each hour among those that are younger than this.
    pub within_hourly: Option<Age>,
    /// The newest of each day among those that are younger than this.
    pub within_daily: Option<Age>,
    /// The newest of each week among those that are younger than this.
    pub within_weekly: Option<Age>,
    /// The newest of each month among those that are younger than this.
    pub within_monthly: Option<Age>,
    /// The newest of each year among those that are younger than this.
    pub within_yearly: Option<Age>,
    /// All that have every tag of one of these lists.
    pub tags: Vec<Vec<String>>,
}

impl Policy {
    /// Returns whether no rule gives a place to anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let counts = [self.last, self.hourly, self.daily, self.weekly, self.monthly, self.yearly];
        let [hourly, daily] = [self.within_hourly, self.within_daily];
        let ages = [self.within, hourly, daily, self.within_weekly, self.within_monthly, self.within_yearly];
        counts.iter().all(|count| count.unwrap_or(0) == 0)
            && ages.iter().all(|age| age.is_none_or(|age| age.is_zero()))
            && self.tags.is_empty()
    }
}

/// What the snapshots of one group have in common; the policy is applied to each group by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupBy {
    /// The machine.
    pub host: bool,
    /// The sources.
    pub paths: bool,
    /// The tags.
    pub tags: bool,
}

impl Default for GroupBy {
    /// restic's default.
    fn default() -> Self {
        Self { host: true, paths: true, tags: false }
    }
}

/// Which snapshots are looked at; the others are left alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only those of one of these machines; empty: all.
    pub hosts: Vec<String>,
    /// Only those that have all of these among their sources.
    pub paths: Vec<PathBuf>,
    /// Only those that have every tag of one of these lists; empty: all.
    pub tags: Vec<Vec<String>>,
}

impl Filter {
    /// Returns whether a snapshot is looked at.
    #[must_use]
    pub fn fits(&self, snapshot: &Snapshot) -> bool {
        let Snapshot { hostname, paths, .. } = snapshot;
        (self.hosts.is_empty() || self.hosts.contains(hostname))
            && self.paths.iter().all(|path| paths.iter().any(|other| path.as_os_str() == other.as_str()))
            && (self.tags.is_empty() || self.tags.iter().any(|tags| has_tags(snapshot, tags)))
    }
}

fn has_tags(snapshot: &Snapshot, tags: &[String]) -> bool {
    tags.iter().all(|tag| match tag.as_str() {
        // restic: the empty tag is what a snapshot without tags has.
        "" => snapshot.tags.is_empty(),
        tag => snapshot.tags.iter().any(|other| other == tag),
    })
}

/// What is judged by.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rules {
    /// Which snapshots have a place.
    pub policy: Policy,
    /// What the snapshots of a group have in common.
    pub group_by: GroupBy,
    /// The time.
    pub now: Timestamp,
    /// The tag of snapshots in which something is missing.
    pub incomplete_tag: Option<String>,
    /// How the tag begins that holds a snapshot; the date until which follows.
    pub hold_tag: Option<String>,
    /// Beginnings of the ids of snapshots that stay.
    pub pinned: Vec<String>,
    /// A source that had shrunk by then is meant to be so small; with the end of time, any is.
    pub accepted_until: Option<Timestamp>,
}

/// What is to become of one snapshot, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// The snapshot.
    pub candidate: Candidate,
    /// Whether it stays.
    pub keep: bool,
    /// Why; those of restic's rules in restic's words.
    pub reasons: Vec<String>,
}

/// What is to become of all.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Judgement {
    /// Each snapshot, group by group, the newest of a group first.
    pub judged: Vec<Judged>,
    /// Sources that shrank, because of which snapshots stay that would go.
    pub shrunk: Vec<Shrunk>,
}

impl Judgement {
    /// Returns the snapshots that go, oldest first.
    #[must_use]
    pub fn removed(&self) -> Vec<&Judged> {
        let mut removed: Vec<&Judged> = self.judged.iter().filter(|judged| !judged.keep).collect();
        removed.sort_by_key(|judged| (judged.candidate.snapshot.time, judged.candidate.id));
        removed
    }
}

/// Judges snapshots by a policy.
///
/// # Errors
/// [`Error::Misuse`] for a policy that keeps nothing: nobody can mean that.
pub fn judge(candidates: Vec<Candidate>, rules: &Rules) -> Result<Judgement> {
    if rules.policy.is_empty() {
        return Err(Error::misuse("no rule says which snapshots are kept"));
    }
    let mut groups: BTreeMap<(String, Vec<String>, Vec<String>), Vec<Candidate>> = BTreeMap::new();
    for candidate in candidates {
        let GroupBy { host, paths, tags } = rules.group_by;
        let hostname = if host { candidate.snapshot.hostname.clone() } else { String::new() };
        let paths = if paths { candidate.sorted_paths() } else { Vec::new() };
        let mut own_tags = if tags { candidate.snapshot.tags.clone() } else { Vec::new() };
        own_tags.sort_unstable();
        groups.entry((hostname, paths, own_tags)).or_default().push(candidate);
    }
    let mut judgement = Judgement::default();
    for (_, group) in groups {
        judgement.judged.extend(keep::judge_group(group, rules));
    }
    for judged in &mut judgement.judged {
        let holds = hold::reasons(&judged.candidate, rules);
        judged.keep |= !holds.is_empty();
        judged.reasons.extend(holds);
    }
    judgement.shrunk = shrink::hold_back(&mut judgement.judged, rules);
    for judged in judgement.judged.iter_mut().filter(|judged| !judged.keep) {
        judged.reasons.push("no rule keeps it".to_owned());
    }
    Ok(judgement)
}

/// Judges snapshots that somebody has named: they go, unless they are held.
#[must_use]
pub fn judge_named(candidates: Vec<Candidate>, rules: &Rules) -> Judgement {
    let judged = candidates.into_iter().map(|candidate| {
        let reasons = hold::reasons(&candidate, rules);
        match reasons.is_empty() {
            true => Judged { candidate, keep: false, reasons: vec!["asked for".to_owned()] },
            false => Judged { candidate, keep: true, reasons },
        }
    });
    Judgement { judged: judged.collect(), shrunk: Vec::new() }
}

#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod tests;
