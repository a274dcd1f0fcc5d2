//! The second decider: is it next, by priority and age?
//!
//! One job runs on a target at a time. A restore goes ahead of all others, because somebody waits for it: what runs on
//! its target pauses meanwhile. Then comes what was begun, then the more urgent, then the older. Whoever waits long
//! becomes more urgent, so that nothing waits for ever. A job that somebody paused is out of the queue and holds nobody
//! up.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use backup_proto::job::{JobId, JobKind, Priority, Verdict, VerdictKind};
use backup_proto::spec::JobSpec;
use jiff::{SignedDuration, Timestamp};

use crate::job::Job;
use crate::supervisor::verdict;

/// A job becomes one step more urgent each time it has waited for so long. Most plans run daily or every few hours: a
/// job of low priority competes with the usual ones after six hours and with urgent ones after twelve, so that it has
/// its turn within a day, and one that was passed over for an hour or two is not yet called urgent.
const STEP: SignedDuration = SignedDuration::from_hours(6);

/// What a job can become by waiting. What somebody called critical stays ahead of it.
const AGED_MAX: Priority = Priority::High;

/// The place of a job in the queue: the smaller goes first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    after_restores: bool,
    after_begun: bool,
    urgency: Reverse<i64>,
    /// Ids sort by age.
    pub(crate) id: JobId,
}

impl Rank {
    /// Returns whether this is the place of a restore.
    #[must_use]
    pub fn is_restore(&self) -> bool {
        !self.after_restores
    }
}

/// Returns a job's place in the queue.
#[must_use]
pub fn rank(job: &Job, has_worker: bool, now: Timestamp) -> Rank {
    let waits_since = job.attempts.iter().rev().find_map(|attempt| attempt.ended).unwrap_or(job.submitted);
    Rank {
        after_restores: job.spec.kind() != JobKind::Restore,
        after_begun: !has_worker,
        urgency: Reverse(urgency(job.priority, now.duration_since(waits_since))),
        id: job.id.clone(),
    }
}

/// Returns whether a job may end its attempt for one that goes before it: what it has done until then is not done again. A check of
/// the structure or of one snapshot would begin anew.
#[must_use]
pub fn can_give_way(spec: &JobSpec) -> bool {
    match spec {
        JobSpec::Prune(_) | JobSpec::Repair(_) | JobSpec::Copy(_) => true,
        JobSpec::Verify(spec) => spec.read_data,
        _ => false,
    }
}

/// Returns how urgent a job is of which nobody has said that.
#[must_use]
pub fn usual_priority(spec: &JobSpec) -> Priority {
    match spec {
        // Somebody waits in front of a restore.
        JobSpec::Restore(_) => Priority::High,
        // What is damaged may keep backups from being whole.
        JobSpec::Repair(_) => Priority::Normal,
        // Nobody waits for what takes hours and can give way.
        _ if can_give_way(spec) => Priority::Low,
        _ => Priority::Normal,
    }
}

/// Returns how urgent a job is that has waited for some time; the clock may have gone back meanwhile.
#[must_use]
pub fn urgency(priority: Priority, waited: SignedDuration) -> i64 {
    let steps = waited.as_secs().max(0) / STEP.as_secs();
    let own = priority as i64;
    own.saturating_add(steps).min(AGED_MAX as i64).max(own)
}

/// Which job has each target to itself.
#[derive(Clone, Debug, Default)]
pub struct Slots {
    holders: BTreeMap<String, (JobId, String)>,
}

impl Slots {
    /// Gives a job its target, unless another one has it.
    pub fn take(&mut self, job: &Job) {
        if let Some(target) = &job.target {
            self.holders.entry(target.clone()).or_insert_with(|| (job.id.clone(), job.title()));
        }
    }

    /// Says whether a job is next on its target.
    #[must_use]
    pub fn decide(&self, job: &Job, has_worker: bool, now: Timestamp) -> Option<Verdict> {
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
        let mut sentence = format!("Job {holder} ({title}) goes first on the same target.");
        if has_worker {
            sentence.push_str(" This one goes on by itself after that.");
        }
        Some(verdict(VerdictKind::Queue, sentence, None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_makes_a_job_as_urgent_as_high_and_never_critical() {
        let after = |priority, hours| urgency(priority, SignedDuration::from_hours(hours));
        assert_eq!(after(Priority::Low, 5), Priority::Low as i64);
        assert_eq!(after(Priority::Low, 6), Priority::Normal as i64);
        assert_eq!(after(Priority::Low, 12), Priority::High as i64);
        assert_eq!(after(Priority::Low, 24 * 365), Priority::High as i64);
        assert_eq!(after(Priority::Critical, 0), Priority::Critical as i64);
        assert_eq!(
            after(Priority::Normal, -1000),
            Priority::Normal as i64,
            "a clock that went back takes nothing away"
        );
    }
}
