//! How a job goes on when its worker has ended.

use backup_proto::event::{EventBody, NoticeEvent};
use backup_proto::job::{JobError, JobId, JobState, JobSummary, SUMMARY_FAILED_MAX};
use backup_proto::spec::JobSpec;
use jiff::Timestamp;

use super::{State, Step, breakers, forget, note_room, plans, upkeep};
use crate::clock::Now;
use crate::job::{Ended, How, Job, Totals};
use crate::{backoff, schedule};

/// Bytes of failed items in a summary at most, so that it fits into one line of the protocol with room to spare.
const SUMMARY_BYTES_MAX: usize = 256 * 1024;

/// Takes in that a job's worker has ended.
pub(super) fn finish(state: &mut State, step: &mut Step, id: &JobId, ended: Ended, now: Now) {
    state.live.remove(id);
    if let How::NoRoom(shortage) = &ended.how {
        note_room(state, step, Some(shortage.clone()));
    }
    breakers::attempt_ended(state, step, id, &ended, now.wall);
    state.change_job(step, id, |job| settle(job, ended, now.wall));
    tell_parked(state, step, id);
    plans::note_success(state, step, id, now.wall);
    forget::queue_after(state, step, id, now.wall);
    upkeep::job_ended(state, step, id, now.wall);
}

fn settle(job: &mut Job, ended: Ended, now: Timestamp) {
    let Ended { how, totals } = ended;
    match how {
        How::Done => {
            let state = if totals.failed_count == 0 { JobState::Succeeded } else { JobState::Partial };
            end(job, state, Some(totals), None, now);
        }
        // What was being cancelled is cancelled, whatever its worker stumbled over on the way.
        _ if job.cancelling => end(job, JobState::Cancelled, Some(totals), None, now),
        How::Cancelled => end(job, JobState::Cancelled, Some(totals), None, now),
        How::Suspended | How::NoRoom(_) => wait_again(job, None, now),
        How::Failed(error) if backoff::parks(job, &error) => {
            (job.parked, job.failures) = (true, 0);
            wait_again(job, Some(error), now);
        }
        How::Failed(error) => {
            job.failures += 1;
            let wait = backoff::wait(job, &error).filter(|_| error.data.retryable);
            match wait.and_then(|wait| now.checked_add(wait).ok()) {
                Some(until) => {
                    job.not_before = Some(until);
                    wait_again(job, Some(error), now);
                }
                None => end(job, JobState::Failed, Some(totals), Some(error), now),
            }
        }
    }
}

/// Tells the watchers that a job is parked; of the same cause once, however often it is tried.
fn tell_parked(state: &State, step: &mut Step, id: &JobId) {
    let Some(job) = state.active.get(id).filter(|job| job.parked) else { return };
    let mut causes = job.attempts.iter().rev().map(|attempt| attempt.error.as_ref().map(|error| error.data.class));
    if causes.next() != causes.next() {
        let sentence = format!("Job {id} (backup of {}): {}", job.title(), schedule::parked(job));
        step.publish(EventBody::Notice(NoticeEvent { job: Some(id.clone()), sentence }));
    }
}

/// The attempt is over and the job is not.
fn wait_again(job: &mut Job, error: Option<JobError>, now: Timestamp) {
    let state = if job.state == JobState::Paused && error.is_none() { JobState::Paused } else { JobState::Queued };
    job.end_attempt(state, error, now);
    job.set_state(state);
}

/// Ends a job for good.
pub(super) fn end(job: &mut Job, state: JobState, totals: Option<Totals>, error: Option<JobError>, now: Timestamp) {
    job.end_attempt(state, error.clone(), now);
    job.set_state(state);
    job.cancelling = false;
    job.paused = None;
    (job.not_before, job.parked) = (None, false);
    job.ended = Some(now);
    job.summary = Some(summary(job, totals.unwrap_or_default(), error));
}

fn summary(job: &Job, totals: Totals, error: Option<JobError>) -> JobSummary {
    let mut bytes = 0;
    let mut failed = totals.failed;
    let fitting = failed.iter().take(SUMMARY_FAILED_MAX).take_while(|item| {
        bytes += serde_json::to_vec(item).map_or(SUMMARY_BYTES_MAX, |json| json.len());
        bytes <= SUMMARY_BYTES_MAX
    });
    let fitting = fitting.count();
    failed.truncate(fitting);
    let has_hints = matches!(&job.spec, JobSpec::Backup(spec) if spec.changed.is_some());
    JobSummary {
        job: job.id.clone(),
        state: job.state,
        snapshot: totals.snapshot,
        files: totals.files,
        bytes: totals.bytes,
        bytes_stored: totals.bytes_stored,
        failed_count: totals.failed_count,
        failed_more: totals.failed_count > fitting as u64,
        failed,
        error,
        prune: totals.prune,
        repair: totals.repair,
        copy: totals.copy,
        hints: totals.hints.filter(|_| has_hints),
        verify: totals.verify,
        estimate: totals.estimate,
    }
}
