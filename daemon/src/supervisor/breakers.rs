//! The fourth decider: is the job's target in order? And what opens, asks and closes its breaker.

use std::sync::Arc;
use std::time::Duration;

use backup_proto::error::{Class, ErrorKind, RpcError};
use backup_proto::event::{EventBody, NoticeEvent};
use backup_proto::job::{JobError, JobId, JobKind, Priority, Verdict, VerdictKind};
use backup_proto::params::TargetBreaker;
use backup_proto::target::{Breaker as View, BreakerState, BreakerWish};
use jiff::Timestamp;

use super::state::{BREAKER, State, json};
use super::submit::check_target;
use super::{Action, Step, verdict};
use crate::breaker::{Breaker, Closure, Failure, Forced};
use crate::job::{Ended, How, Job};
use crate::store::Change;

/// Says whether a job's target is in order.
///
/// The sentence holds no times: it is the same for as long as it is true.
pub(super) fn decide(state: &State, job: &Job, now: Timestamp) -> Option<Verdict> {
    let target = job.target.as_deref()?;
    let breaker = state.breakers.get(target)?;
    let Some(closure) = breaker.closure() else { return spared(breaker, target, job, now) };
    let (sentence, next_look) = match closure {
        Closure::Open(until, reason) => (failing(target, reason), Some(until)),
        Closure::Asked(reason) => (failing(target, reason), None),
        Closure::Forced => {
            let sentence = format!(
                "Somebody wants the target `{target}` to be left alone; `backupctl target reset {target}` ends that."
            );
            (sentence, None)
        }
    };
    Some(verdict(VerdictKind::Breaker, sentence, next_look))
}

/// A target that has just come back is left to what is urgent for some minutes.
fn spared(breaker: &Breaker, target: &str, job: &Job, now: Timestamp) -> Option<Verdict> {
    let (until, reason) = breaker.spared().filter(|(until, _)| *until > now)?;
    if job.spec.kind() == JobKind::Restore || job.priority >= Priority::High {
        return None;
    }
    let sentence = format!(
        "The target `{target}` answers again after it kept failing ({reason}): for some minutes only restores and jobs of high priority use it."
    );
    Some(verdict(VerdictKind::Breaker, sentence, Some(until)))
}

fn failing(target: &str, reason: &str) -> String {
    format!(
        "The target `{target}` keeps failing: {reason}. It is left alone for a while and then asked whether it is back; `backupctl target reset {target}` tries it at once."
    )
}

/// Lets the target be asked whether it is back, if it is time for that and a job could use it now. Returns whether it is.
pub(super) fn begin_question(state: &mut State, step: &mut Step, id: &JobId, now: Timestamp) -> bool {
    let Some(target) = state.active.get(id).and_then(|job| job.target.clone()) else { return false };
    let mut begins = false;
    change(state, step, &target, |breaker| begins = breaker.begin_question(now));
    if begins {
        step.actions.push(Action::Ask(target));
    }
    begins
}

/// Takes note of how a job's attempt has ended for the targets it used.
pub(super) fn attempt_ended(state: &mut State, step: &mut Step, id: &JobId, ended: &Ended, now: Timestamp) {
    match (&ended.how, &ended.totals.target_failed) {
        (How::Failed(error), Some(target)) => {
            if let Some(failure) = failure(error) {
                change(state, step, target, |breaker| breaker.failed(&failure, now));
            }
        }
        (How::Done, _) => {
            if let Some(target) = state.active.get(id).and_then(|job| job.target.clone()) {
                change(state, step, &target, |breaker| breaker.succeeded(now));
            }
        }
        _ => {}
    }
}

/// Takes note of what came of the question whether a target is back. One that refuses is back: it does so for a reason
/// that waiting does not change, and the next job says which.
pub(super) fn answered(state: &mut State, step: &mut Step, target: &str, error: Option<&JobError>, now: Timestamp) {
    let failure = error.and_then(failure);
    change(state, step, target, |breaker| breaker.answered(failure.as_ref(), now));
    if failure.is_none() {
        try_at_once(state, step, target, false);
    }
}

/// Resets a breaker, or makes it what somebody wants.
pub(super) fn set(
    state: &mut State,
    step: &mut Step,
    params: &TargetBreaker,
    now: Timestamp,
) -> Result<View, RpcError> {
    check_target(state, &params.name)?;
    let forced = match params.wish {
        BreakerWish::Reset => None,
        BreakerWish::Open => Some(Forced::Open),
        BreakerWish::Closed => Some(Forced::Closed),
    };
    change(state, step, &params.name, |breaker| breaker.force(forced, now));
    if forced != Some(Forced::Open) {
        try_at_once(state, step, &params.name, true);
    }
    Ok(state.breakers.get(&params.name).map(Breaker::view).unwrap_or_default())
}

/// Moves the times of all when the clock was set.
pub(super) fn move_times(state: &mut State, step: &mut Step, moved: impl Fn(Timestamp) -> Timestamp) {
    for target in state.breakers.keys().cloned().collect::<Vec<_>>() {
        change(state, step, &target, |breaker| breaker.move_times(&moved));
    }
}

/// What counts as a failure of a target.
fn failure(error: &JobError) -> Option<Failure> {
    let counts = matches!(error.data.class, Class::Transient | Class::Throttled);
    let retry_after = error.data.retry_after_seconds.map(Duration::from_secs);
    let absent = error.data.kind == ErrorKind::TargetAbsent;
    counts.then(|| Failure { reason: error.message.clone(), absent, retry_after })
}

/// Jobs that wait because of an earlier failure need not wait any more when their target is back; what is parked is
/// tried when somebody says so.
fn try_at_once(state: &mut State, step: &mut Step, target: &str, by_hand: bool) {
    let waits = |job: &&Arc<Job>| {
        let may_go_away = job.error().is_some_and(|error| error.data.class.is_retryable());
        let waits = (job.not_before.is_some() && may_go_away) || (job.parked && by_hand);
        job.target.as_deref() == Some(target) && waits
    };
    for id in state.active.values().filter(waits).map(|job| job.id.clone()).collect::<Vec<_>>() {
        state.change_job(step, &id, |job| (job.not_before, job.parked) = (None, false));
    }
}

/// Changes a breaker; stores it and says so if it is another one then.
fn change(state: &mut State, step: &mut Step, target: &str, change: impl FnOnce(&mut Breaker)) {
    let before = state.breakers.get(target).cloned().unwrap_or_default();
    let mut after = before.clone();
    change(&mut after);
    if after == before {
        return;
    }
    step.changes.push(Change::set(format!("{BREAKER}{target}"), json(&after)));
    let (was, is) = (before.view(), after.view());
    Arc::make_mut(&mut state.breakers).insert(target.to_owned(), after);
    if was.state != is.state {
        step.actions.push(Action::TellTarget(target.to_owned()));
    }
    if let Some(sentence) = news(target, &was, &is) {
        step.publish(EventBody::Notice(NoticeEvent { job: None, sentence }));
    }
}

/// Says when a target is left alone from now on, and when that is over; not each time it was asked in vain, and of one
/// that is there and fails only once until it works.
fn news(target: &str, was: &View, is: &View) -> Option<String> {
    let reason = is.reason.as_deref().unwrap_or_default();
    match (was.state, is.state) {
        _ if is.degraded && !was.degraded => Some(format!(
            "The target `{target}` keeps failing and is left alone for a while: {reason}. Until a job succeeds there, bytes go slowly and what is not urgent waits. Look at its cable, its network and how full it is."
        )),
        _ if was.degraded && !is.degraded => Some(format!("The target `{target}` works again, at full speed.")),
        _ if is.degraded => None,
        (BreakerState::Closed, BreakerState::Open) if is.by_hand => {
            Some(format!("The target `{target}` is left alone until somebody resets it."))
        }
        (BreakerState::Closed, BreakerState::Open) => {
            Some(format!("The target `{target}` keeps failing and is left alone for a while: {reason}."))
        }
        (BreakerState::Open | BreakerState::HalfOpen, BreakerState::Closed) => {
            Some(format!("The target `{target}` is used again."))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
