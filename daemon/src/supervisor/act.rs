//! Pause, resume, cancel, retry and urgency: of one job, or of the whole daemon.

use backup_proto::error::{ErrorKind, RpcError};
use backup_proto::event::{DaemonEvent, EventBody};
use backup_proto::job::{Job as JobView, JobId, JobKind, JobState, Priority};
use backup_proto::params::DaemonPaused;
use backup_proto::status::Pause;
use jiff::{SignedDuration, Timestamp};

use super::{Action, State, Step, Wish, decide, find_job, finish};
use crate::clock::Now;
use crate::job::may_become;

/// Pauses one job.
pub(super) fn pause(
    state: &mut State,
    step: &mut Step,
    wanted: &JobId,
    seconds: Option<u64>,
    now: Now,
) -> Result<JobView, RpcError> {
    let id = find_active(state, wanted, "paused")?;
    let pause = new_pause(seconds, now.wall)?;
    state.change_job(step, &id, |job| job.paused = Some(pause));
    decided(state, step, &id, now)
}

/// Lets a paused job go on when its turn comes, `at_once` whatever the machine is like.
pub(super) fn resume(
    state: &mut State,
    step: &mut Step,
    wanted: &JobId,
    at_once: bool,
    now: Now,
) -> Result<JobView, RpcError> {
    let id = find_active(state, wanted, "resumed")?;
    unpause(state, step, &id);
    state.change_job(step, &id, |job| job.parked = false);
    if at_once {
        state.change_job(step, &id, |job| job.now = true);
    }
    decided(state, step, &id, now)
}

/// Takes a job's own pause away; without a worker it waits for its turn again.
pub(super) fn unpause(state: &mut State, step: &mut Step, id: &JobId) {
    let is_live = state.live.contains_key(id);
    state.change_job(step, id, |job| {
        job.paused = None;
        if !is_live && job.state == JobState::Paused {
            job.set_state(JobState::Queued);
        }
    });
}

/// Stops a job for good: at once when nothing runs, else as soon as its worker has ended.
pub(super) fn cancel(state: &mut State, step: &mut Step, wanted: &JobId, now: Now) -> Result<JobView, RpcError> {
    let id = find_active(state, wanted, "cancelled")?;
    match state.live.get_mut(&id) {
        Some(live) => {
            live.wish = Wish::Cancel;
            step.actions.push(Action::Cancel(id.clone()));
            state.change_job(step, &id, |job| job.cancelling = true);
        }
        None => state.change_job(step, &id, |job| finish::end(job, JobState::Cancelled, None, None, now.wall)),
    }
    decided(state, step, &id, now)
}

/// Lets a job that ended without success, or that waits to be tried again, be tried now.
pub(super) fn retry(state: &mut State, step: &mut Step, wanted: &JobId, now: Now) -> Result<JobView, RpcError> {
    let job = find_job(state, wanted)?;
    let (id, was) = (job.id.clone(), job.state);
    if was.is_final() {
        if !may_become(was, JobState::Queued) {
            let message = format!("job {id} has succeeded; there is nothing to retry");
            return Err(RpcError::new(ErrorKind::WrongState, message, "Submit a new job to do it once more."));
        }
        state.revive(&id);
    } else if job.not_before.is_none() && !job.parked {
        let message = format!("job {id} is {}; it goes on by itself", was.as_str());
        return Err(RpcError::new(ErrorKind::WrongState, message, "`backupctl why` says what it waits for."));
    }
    state.change_job(step, &id, |job| {
        job.again = job.left_undone();
        job.by_hand = true;
        if was == JobState::Partial && job.spec.kind() == JobKind::Forget {
            // Somebody has seen what was held back: what goes is decided anew.
            job.chosen.clear();
        }
        job.set_state(JobState::Queued);
        (job.not_before, job.parked) = (None, false);
        job.failures = 0;
        job.ended = None;
    });
    decided(state, step, &id, now)
}

/// Changes how urgent a job is.
pub(super) fn set_priority(
    state: &mut State,
    step: &mut Step,
    wanted: &JobId,
    priority: Priority,
    now: Now,
) -> Result<JobView, RpcError> {
    let id = find_active(state, wanted, "given another priority")?;
    state.change_job(step, &id, |job| job.priority = priority);
    decided(state, step, &id, now)
}

/// Pauses the whole daemon.
pub(super) fn pause_daemon(
    state: &mut State,
    step: &mut Step,
    seconds: Option<u64>,
    now: Now,
) -> Result<DaemonPaused, RpcError> {
    let pause = new_pause(seconds, now.wall)?;
    set_daemon_pause(state, step, Some(pause));
    Ok(DaemonPaused { paused: state.paused.clone() })
}

/// Ends the pause of the whole daemon.
pub(super) fn resume_daemon(state: &mut State, step: &mut Step) -> DaemonPaused {
    set_daemon_pause(state, step, None);
    DaemonPaused { paused: None }
}

/// Sets or ends the pause of the whole daemon, stores and says it.
pub(super) fn set_daemon_pause(state: &mut State, step: &mut Step, pause: Option<Pause>) {
    state.paused = pause;
    state.store_daemon(step);
    step.publish(EventBody::Daemon(DaemonEvent { paused: state.paused.clone(), stopping: state.is_stopping }));
}

/// Makes a pause; how long becomes until when, so that it means the same after a restart.
fn new_pause(seconds: Option<u64>, now: Timestamp) -> Result<Pause, RpcError> {
    let until = |seconds: u64| now.checked_add(SignedDuration::from_secs(i64::try_from(seconds).ok()?)).ok();
    let until = match seconds {
        None => None,
        Some(seconds) => Some(until(seconds).ok_or_else(|| {
            let message = format!("a pause of {seconds} seconds is too long");
            RpcError::new(ErrorKind::InvalidParams, message, "Leave the time out to pause until it is resumed.")
        })?),
    };
    Ok(Pause { since: now, until })
}

/// Finds a job that has not ended.
fn find_active(state: &State, wanted: &JobId, verb: &str) -> Result<JobId, RpcError> {
    let job = find_job(state, wanted)?;
    if job.state.is_final() || job.cancelling {
        let word = if job.cancelling { "being cancelled" } else { job.state.as_str() };
        let message = format!("job {} is {word} and cannot be {verb}", job.id);
        return Err(RpcError::new(ErrorKind::WrongState, message, "`backupctl jobs` shows what has not ended."));
    }
    Ok(job.id.clone())
}

/// Decides anew and returns the job as it is then, so that the answer already shows what the change led to.
fn decided(state: &mut State, step: &mut Step, id: &JobId, now: Now) -> Result<JobView, RpcError> {
    decide::decide(state, step, now);
    find_job(state, id).map(|job| state.view(job))
}
