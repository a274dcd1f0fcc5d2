//! A job as the daemon keeps it, and its legal state changes as one table.

use backup_proto::job::{
    Attempt, Job as JobView, JobDetail, JobError, JobId, JobState, JobSummary, Priority, Progress, Verdict,
};
use backup_proto::spec::{Destination, JobSpec, SnapshotQuery};
use backup_proto::status::Pause;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use crate::outcome::{Ended, How, Totals};
use crate::title;

/// Attempts that are remembered one by one; older ones are only counted.
const ATTEMPTS_MAX: usize = 50;

/// Notices that are kept for a job.
const NOTICES_MAX: usize = 100;

/// One unit of work in the queue, as it is stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// What it does, as accepted: targets are filled in.
    pub spec: JobSpec,
    /// What the snapshots of a restore turned out to be, in the order of its items: `latest` and the beginning of an
    /// id mean the same in every attempt. Of a forget, what it has decided to remove. Empty until the first attempt has
    /// looked.
    #[serde(default)]
    pub chosen: Vec<SnapshotQuery>,
    /// What a retry takes up; none when everything is done anew.
    #[serde(default)]
    pub again: Option<Again>,
    /// The snapshot since which the caller's word on what has changed counts, for the attempt that is about to begin.
    #[serde(skip)]
    pub changed_since: Option<String>,
    /// The target it works on; none for a restore that has yet to find its snapshot.
    pub target: Option<String>,
    /// The plan it belongs to.
    pub plan: Option<String>,
    /// How urgent it is.
    pub priority: Priority,
    /// Whether it runs even if the conditions say no.
    #[serde(default)]
    pub now: bool,
    /// Whether somebody asked for it: soft conditions do not hold it then.
    #[serde(default)]
    pub by_hand: bool,
    /// Why somebody wanted it.
    pub reason: Option<String>,
    /// The user who asked for it; the daemon's own when a schedule did.
    pub uid: u32,
    /// When it was accepted.
    pub submitted: Timestamp,
    /// Where it stands.
    pub state: JobState,
    /// The pause somebody put on this job.
    pub paused: Option<Pause>,
    /// Somebody cancelled it and its worker has yet to end.
    #[serde(default)]
    pub cancelling: bool,
    /// It has failed in a way that waiting does not mend.
    #[serde(default)]
    pub parked: bool,
    /// It is not tried again before this.
    pub not_before: Option<Timestamp>,
    /// Its latest attempts, oldest first.
    pub attempts: Vec<Attempt>,
    /// Failures in a row that may go away by themselves.
    pub failures: u32,
    /// Sentences worth knowing, each once.
    pub notices: Vec<String>,
    /// How it ended, once it has.
    pub summary: Option<JobSummary>,
    /// When it ended.
    pub ended: Option<Timestamp>,
}

/// What was left undone by a partial job: a retry takes up that, and leaves alone what is safe already.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Again {
    /// The attempt whose failed items are taken up.
    pub attempt: u32,
    /// The snapshot that it made or restored.
    pub snapshot: Option<String>,
    /// Files that it did.
    pub files: u64,
    /// Bytes that it did.
    pub bytes: u64,
}

/// The legal changes: from each state to these.
const CHANGES: [(JobState, &[JobState]); 7] = {
    use JobState::{Cancelled, Failed, Partial, Paused, Queued, Running, Succeeded};
    [
        (Queued, &[Running, Paused, Cancelled]),
        // Back to queued: interrupted, suspended at a stop, or to be tried again.
        (Running, &[Queued, Paused, Succeeded, Partial, Failed, Cancelled]),
        // A pause that comes when the last byte is written finds a job that ends.
        (Paused, &[Queued, Running, Succeeded, Partial, Failed, Cancelled]),
        (Succeeded, &[]),
        // The last three go on by `retry` alone.
        (Partial, &[Queued]),
        (Failed, &[Queued]),
        (Cancelled, &[Queued]),
    ]
};

/// Tells whether a job may go from one state to another.
#[must_use]
pub fn may_become(from: JobState, to: JobState) -> bool {
    CHANGES.iter().any(|(state, next)| *state == from && next.contains(&to))
}

impl Job {
    /// Changes the state.
    ///
    /// # Panics
    /// When the table does not allow it: the caller has to ask [`may_become`] first where it can be wrong.
    pub fn set_state(&mut self, to: JobState) {
        assert!(self.state == to || may_become(self.state, to), "no job goes from {:?} to {to:?}", self.state);
        self.state = to;
    }

    /// Returns what a retry of this job would take up: what a partial one has left undone. A retry that came to nothing
    /// itself is made again as it was.
    #[must_use]
    pub fn left_undone(&self) -> Option<Again> {
        match &self.summary {
            Some(summary) if self.state == JobState::Partial => Some(Again {
                attempt: self.attempt_count(),
                snapshot: summary.snapshot.clone(),
                files: summary.files,
                bytes: summary.bytes,
            }),
            _ => self.again.clone(),
        }
    }

    /// Begins a new attempt.
    pub fn begin_attempt(&mut self, now: Timestamp) {
        let number = self.attempt_count() + 1;
        self.attempts.push(Attempt { number, started: now, ended: None, outcome: None, error: None });
        if self.attempts.len() > ATTEMPTS_MAX {
            self.attempts.remove(0);
        }
        (self.not_before, self.parked) = (None, false);
        self.summary = None;
        self.ended = None;
    }

    /// Ends the attempt that runs, if one does.
    pub fn end_attempt(&mut self, outcome: JobState, error: Option<JobError>, now: Timestamp) {
        if let Some(attempt) = self.attempts.last_mut().filter(|attempt| attempt.ended.is_none()) {
            attempt.ended = Some(now);
            attempt.outcome = Some(outcome);
            attempt.error = error;
        }
    }

    /// Returns the number of the latest attempt; 0 when there was none.
    #[must_use]
    pub fn attempt_count(&self) -> u32 {
        self.attempts.last().map_or(0, |attempt| attempt.number)
    }

    /// Remembers which snapshots a restore works on, and their target if they share one: it is the restore's own then.
    pub fn choose(&mut self, snapshots: Vec<SnapshotQuery>) {
        let mut targets = snapshots.iter().map(|snapshot| snapshot.target.as_ref());
        let first = targets.next().flatten();
        if self.target.is_none() && targets.all(|target| target == first) {
            self.target = first.cloned();
        }
        self.chosen = snapshots;
    }

    /// Adds a sentence worth knowing, unless it was said before.
    pub fn add_notice(&mut self, sentence: &str) {
        if self.notices.len() < NOTICES_MAX && !self.notices.iter().any(|known| known == sentence) {
            self.notices.push(sentence.to_owned());
        }
    }

    /// Returns why the latest attempt failed.
    #[must_use]
    pub fn error(&self) -> Option<&JobError> {
        self.attempts.last().and_then(|attempt| attempt.error.as_ref())
    }

    /// Returns what the job is about, in words.
    #[must_use]
    pub fn title(&self) -> String {
        let target = self.target.as_deref().unwrap_or("its target");
        match &self.spec {
            JobSpec::Backup(spec) => title::backup(spec, target),
            JobSpec::Restore(spec) => {
                let what = joined(spec.items.iter().map(|item| match &item.inside {
                    Some(path) => format!("{}:{path}", item.snapshot.snapshot),
                    None => item.snapshot.snapshot.clone(),
                }));
                match &spec.destination {
                    Destination::Folder(path) => format!("{what} to {path}"),
                    Destination::InPlace => format!("{what} to where it was"),
                }
            }
            JobSpec::Verify(spec) => title::verify(spec, target),
            JobSpec::Forget(spec) => match (&spec.plan, &spec.snapshots[..]) {
                (_, [_, ..]) => format!("{} of {target}", joined(spec.snapshots.iter().cloned())),
                (Some(plan), _) => format!("snapshots of plan {plan} in {target}"),
                (None, _) => format!("snapshots in {target}"),
            },
            JobSpec::Prune(spec) if spec.dry_run => format!("what could be removed from {target}"),
            JobSpec::Prune(_) => format!("what nothing needs in {target}"),
            JobSpec::Repair(spec) if spec.dry_run => format!("what could be repaired in {target}"),
            JobSpec::Repair(_) => format!("what is damaged in {target}"),
            JobSpec::Copy(spec) => title::copy(spec, target),
            JobSpec::Unknown => "something this version does not know".into(),
        }
    }

    /// Returns the job as lists show it.
    #[must_use]
    pub fn view(&self, verdict: Option<Verdict>, progress: Option<Progress>) -> JobView {
        JobView {
            id: self.id.clone(),
            kind: self.spec.kind(),
            state: self.state,
            priority: self.priority,
            title: clip(self.title()),
            plan: self.plan.clone(),
            target: self.target.clone(),
            reason: self.reason.clone(),
            submitted: self.submitted,
            started: self.attempts.first().map(|attempt| attempt.started),
            ended: self.ended,
            attempts: self.attempt_count(),
            verdict,
            progress,
            error: self.error().cloned(),
        }
    }

    /// Returns everything about the job.
    #[must_use]
    pub fn detail(&self, view: JobView) -> JobDetail {
        JobDetail {
            job: view,
            spec: self.spec.clone(),
            attempts: self.attempts.clone(),
            notices: self.notices.clone(),
            summary: self.summary.clone(),
        }
    }
}

/// Cuts a title to what a line of a list can show; a status with a hundred of them must fit into one message.
fn clip(mut title: String) -> String {
    const BYTES_MAX: usize = 512;
    if title.len() > BYTES_MAX {
        title.truncate(title.floor_char_boundary(BYTES_MAX));
        title.push('…');
    }
    title
}

/// Puts the first few of some names into one text.
pub(crate) fn joined(names: impl Iterator<Item = String>) -> String {
    const NAMED: usize = 3;
    let names: Vec<String> = names.collect();
    let text = names[..names.len().min(NAMED)].join(", ");
    if names.len() > NAMED { format!("{text} and {} more", names.len() - NAMED) } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ended_job_goes_on_only_by_being_queued_again_and_a_success_never() {
        for (from, next) in CHANGES {
            assert_eq!(
                next.contains(&JobState::Running),
                matches!(from, JobState::Queued | JobState::Paused),
                "{from:?}"
            );
            if from.is_final() {
                assert!(next.iter().all(|to| *to == JobState::Queued), "{from:?}");
            }
        }
        assert!(!may_become(JobState::Succeeded, JobState::Queued));
    }

    #[test]
    fn a_state_this_program_does_not_know_leads_nowhere() {
        assert!(!may_become(JobState::Unknown, JobState::Queued));
        assert!(!may_become(JobState::Queued, JobState::Unknown));
    }
}
