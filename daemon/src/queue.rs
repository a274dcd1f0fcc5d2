//! The second decider: is it next, by priority and age?
//!
//! One job runs on a target at a time. A restore goes ahead of backups, because somebody waits for it; then the more
//! urgent goes first, then the older. A job that somebody paused is out of the queue and holds nobody up.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use backup_proto::job::{JobId, JobKind, Priority, Verdict, VerdictKind};
use jiff::Timestamp;

use crate::job::Job;
use crate::supervisor::verdict;

/// The place of a job in the queue: the smaller goes first.
pub type Rank = (bool, Reverse<Priority>, JobId);

/// Returns a job's place in the queue. Ids sort by age.
#[must_use]
pub fn rank(job: &Job) -> Rank {
    (job.spec.kind() != JobKind::Restore, Reverse(job.priority), job.id.clone())
}

/// Which job has each target to itself.
#[derive(Clone, Debug, Default)]
pub struct Slots {
    holders: BTreeMap<String, (JobId, String)>,
}

impl Slots {
    /// Gives a job its target.
    pub fn take(&mut self, job: &Job) {
        if let Some(target) = &job.target {
            self.holders.entry(target.clone()).or_insert_with(|| (job.id.clone(), job.title()));
        }
    }

    /// Says whether a job is next on its target.
    #[must_use]
    pub fn decide(&self, job: &Job, now: Timestamp) -> Option<Verdict> {
        if let Some(pause) = job.paused.as_ref().filter(|pause| pause.until.is_none_or(|until| until > now)) {
            let sentence = match pause.until {
                Some(until) => format!("It was paused until {until:.0}."),
                None => format!("It was paused; `backupctl resume {}` lets it go on.", job.id),
            };
            return Some(verdict(VerdictKind::Paused, sentence, pause.until));
        }
        let (holder, title) = self.holders.get(job.target.as_deref()?)?;
        if *holder == job.id {
            return None;
        }
        let sentence = format!("Job {holder} ({title}) goes first on the same target.");
        Some(verdict(VerdictKind::Queue, sentence, None))
    }
}
