//! Plans whose time has come put jobs into the queue.

use std::sync::Arc;

use backup_proto::job::{JobId, JobState, Priority};
use backup_proto::spec::{BackupSpec, JobSpec};
use jiff::{SignedDuration, Timestamp};

use super::state::{PLAN, SUCCESS, State, json};
use super::{Step, held, submit};
use crate::config::{Config, PlanConfig, Schedule};
use crate::job::Job;
use crate::schedule;
use crate::store::Change;

/// A plan that was last due in the future by more than this was due under a clock that has been set back since.
pub(super) const CLOCK_SET: SignedDuration = SignedDuration::from_secs(60);

/// Queues the plans that are due; returns when the next one will be.
pub(super) fn queue_due(state: &mut State, step: &mut Step, now: Timestamp) -> Option<Timestamp> {
    // A plan that comes due while there is no room is due when there is.
    if state.is_stopping || state.shortage.is_some() {
        return None;
    }
    let config = Arc::clone(&state.config);
    let mut next: Option<Timestamp> = None;
    for (name, plan) in &config.plans {
        let Some(mut due) = due(state, step, name, plan, now) else { continue };
        if due <= now {
            for target in &plan.targets {
                queue_one(state, step, name, target, now);
            }
            set_last(state, step, name, now);
            let Some(later) = after(state, name, plan, now) else { continue };
            due = later;
        }
        next = Some(next.map_or(due, |next| next.min(due)));
    }
    next
}

/// Notes when a job of a plan has left a usable snapshot.
pub(super) fn note_success(state: &mut State, step: &mut Step, id: &JobId, now: Timestamp) {
    let is_success =
        |job: &&Arc<Job>| job.spec.stores_a_snapshot() && matches!(job.state, JobState::Succeeded | JobState::Partial);
    let Some(job) = state.job(id).filter(is_success) else { return };
    let Some(plan) = job.plan.clone() else { return };
    let on_target = job.target.as_ref().map(|target| format!("{plan}/{target}"));
    for name in std::iter::once(plan).chain(on_target) {
        step.changes.push(Change::set(format!("{SUCCESS}{name}"), json(&now)));
        state.successes.insert(name, now);
    }
}

/// Returns when a plan will be due next and its window open, if time makes it so; the past means as soon as the daemon
/// looks again.
#[must_use]
pub fn next_run(state: &State, config: &Config, name: &str, now: Timestamp) -> Option<Timestamp> {
    let plan = config.plans.get(name)?;
    let due = match state.plans.get(name) {
        None if matches!(plan.schedule, Some(Schedule::Every(_))) => Some(now),
        last => after(state, name, plan, last.copied().unwrap_or(now)),
    };
    due.map(|due| held::may_begin(state, config, name, due))
}

/// Returns when a plan begins next after it was last due.
fn after(state: &State, name: &str, plan: &PlanConfig, last: Timestamp) -> Option<Timestamp> {
    let due = schedule::next_due(plan.schedule.as_ref()?, last, &state.zone)?;
    due.checked_add(schedule::jitter(&state.machine, name, due, plan.jitter)).ok()
}

/// When a plan is due. One that is seen for the first time is due now if it runs at a distance, and at its next time
/// if it runs at a time of day.
fn due(state: &mut State, step: &mut Step, name: &str, plan: &PlanConfig, now: Timestamp) -> Option<Timestamp> {
    let is_at_a_distance = matches!(plan.schedule.as_ref()?, Schedule::Every(_));
    let last = match state.plans.get(name) {
        // A clock that is corrected by seconds must not let the same minute come twice.
        Some(last) if last.duration_since(now) < CLOCK_SET => *last,
        // It was written under a clock that has been set back since; the plan starts to count anew.
        Some(_) => {
            set_last(state, step, name, now);
            now
        }
        None if is_at_a_distance => return Some(now),
        None => {
            set_last(state, step, name, now);
            now
        }
    };
    after(state, name, plan, last)
}

fn set_last(state: &mut State, step: &mut Step, name: &str, now: Timestamp) {
    state.plans.insert(name.to_owned(), now);
    step.changes.push(Change::set(format!("{PLAN}{name}"), json(&now)));
}

/// Queues a plan for one target, unless it is in the queue already; one that is parked there is tried again.
fn queue_one(state: &mut State, step: &mut Step, plan: &str, target: &str, now: Timestamp) {
    let is_there = |job: &Job| {
        job.spec.stores_a_snapshot() && job.plan.as_deref() == Some(plan) && job.target.as_deref() == Some(target)
    };
    if let Some(there) = state.active.values().find(|job| is_there(job)).cloned() {
        if there.parked {
            state.change_job(step, &there.id, |job| job.parked = false);
        }
        return;
    }
    let spec = BackupSpec { plan: Some(plan.to_owned()), target: Some(target.to_owned()), ..BackupSpec::default() };
    let job = submit::new_job(state, JobSpec::Backup(spec), Some(target.to_owned()), Priority::Normal, now);
    state.add_job(step, job);
}

#[cfg(test)]
mod tests;
