//! How a job goes on when its worker has ended.

use backup_proto::job::{JobError, JobId, JobState, JobSummary, SUMMARY_FAILED_MAX};
use jiff::{SignedDuration, Timestamp};

use super::{State, Step, note_room, plans};
use crate::clock::Now;
use crate::job::{Ended, How, Job, Totals};

/// Attempts in a row that may fail with something that may go away by itself.
const FAILURES_MAX: u32 = 8;

/// The wait after the first failure that may go away; each further one doubles it.
const BACKOFF_FIRST: SignedDuration = SignedDuration::from_secs(15);

/// The longest wait between two attempts.
const BACKOFF_MAX: SignedDuration = SignedDuration::from_hours(1);

/// Bytes of failed items in a summary at most, so that it fits into one line of the protocol with room to spare.
const SUMMARY_BYTES_MAX: usize = 256 * 1024;

/// Takes in that a job's worker has ended.
pub(super) fn finish(state: &mut State, step: &mut Step, id: &JobId, ended: Ended, now: Now) {
    state.live.remove(id);
    if let How::NoRoom(shortage) = &ended.how {
        note_room(state, step, Some(shortage.clone()));
    }
    state.change_job(step, id, |job| settle(job, ended, now.wall));
    plans::note_success(state, step, id, now.wall);
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
        How::Failed(error) => {
            job.failures += 1;
            if error.data.retryable && job.failures < FAILURES_MAX {
                job.not_before = now.checked_add(backoff(job)).ok();
                wait_again(job, Some(error), now);
            } else {
                end(job, JobState::Failed, Some(totals), Some(error), now);
            }
        }
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
    job.not_before = None;
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
    }
}

/// How long to wait before the next attempt: doubled each time, and up to a quarter longer by the job's name, so
/// that jobs which failed together are not tried together.
fn backoff(job: &Job) -> SignedDuration {
    let doublings = job.failures.saturating_sub(1).min(16);
    let wait = BACKOFF_FIRST.checked_mul(1 << doublings).unwrap_or(BACKOFF_MAX).min(BACKOFF_MAX);
    let spread = crc32fast::hash(format!("{}{}", job.id, job.failures).as_bytes()) % 256;
    wait + wait * i32::try_from(spread).unwrap_or(0) / 1024
}
