//! The state at a start: what was stored, and what became of jobs that ran when the daemon ended.

use std::collections::BTreeMap;
use std::sync::Arc;

use backup_proto::job::{JobId, JobState};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::de::DeserializeOwned;

use super::state::{
    Answers, BREAKER, DAEMON, DaemonRecord, JOB, LIMITS, PLAN, REQUEST, Remembered, SUCCESS, State, UPKEEP, WATCH,
};
use super::{Lived, Step, finish};
use crate::breaker::Breaker;
use crate::conditions::Seen;
use crate::config::Config;
use crate::job::Job;
use crate::store::Contents;

/// Makes the state from what was stored. The changes of the step have to be stored before the first event.
#[must_use]
pub fn load(contents: &Contents, config: Arc<Config>, zone: TimeZone, uid: u32, now: Timestamp) -> (State, Step) {
    let mut step = Step::default();
    let mut state = State {
        config,
        zone,
        machine: String::new(),
        uid,
        active: BTreeMap::new(),
        ended: Arc::default(),
        live: BTreeMap::new(),
        verdicts: BTreeMap::new(),
        paused: None,
        hand_limits: Vec::new(),
        slowed: BTreeMap::new(),
        in_force: Arc::default(),
        seen: Arc::new(Seen::nothing(now)),
        breakers: Arc::default(),
        last_number: 0,
        plans: BTreeMap::new(),
        successes: BTreeMap::new(),
        watched: BTreeMap::new(),
        upkeep: BTreeMap::new(),
        requests: Answers::default(),
        lived: Lived::default(),
        swept: None,
        shortage: None,
        is_stopping: false,
        decided: now,
        notices: Vec::new(),
    };
    for (key, value) in contents {
        take(&mut state, key, value);
    }
    recover(&mut state, &mut step, now);
    (state, step)
}

fn take(state: &mut State, key: &str, value: &[u8]) {
    if key == DAEMON {
        if let Some(record) = read::<DaemonRecord>(state, key, value) {
            state.paused = record.paused;
            state.last_number = record.last_number;
            state.lived = Lived::new(record.lived_seconds.max(state.lived.seconds()));
        }
    } else if key == LIMITS {
        state.hand_limits = read(state, key, value).unwrap_or_default();
    } else if key.starts_with(JOB) {
        if let Some(job) = read::<Job>(state, key, value) {
            let job = Arc::new(job);
            match job.state.is_final() {
                true => Arc::make_mut(&mut state.ended).insert(job.id.clone(), job),
                false => state.active.insert(job.id.clone(), job),
            };
        }
    } else if let Some(target) = key.strip_prefix(BREAKER) {
        if let Some(mut breaker) = read::<Breaker>(state, key, value) {
            breaker.restarted(state.decided);
            Arc::make_mut(&mut state.breakers).insert(target.to_owned(), breaker);
        }
    } else if let Some(id) = key.strip_prefix(REQUEST) {
        if let Some(remembered) = read::<Remembered>(state, key, value) {
            state.lived = Lived::new(remembered.lived_seconds.max(state.lived.seconds()));
            state.requests.insert(id.to_owned(), remembered);
        }
    } else {
        take_of_plans(state, key, value);
    }
}

/// Takes what is kept of plans, and of targets because of them.
fn take_of_plans(state: &mut State, key: &str, value: &[u8]) {
    if let Some(plan) = key.strip_prefix(PLAN) {
        let last = read(state, key, value);
        state.plans.extend(last.map(|last| (plan.to_owned(), last)));
    } else if let Some(plan) = key.strip_prefix(SUCCESS) {
        let last = read(state, key, value);
        state.successes.extend(last.map(|last| (plan.to_owned(), last)));
    } else if let Some(name) = key.strip_prefix(WATCH) {
        let watch = read(state, key, value);
        state.watched.extend(watch.map(|watch| (name.to_owned(), watch)));
    } else if let Some(target) = key.strip_prefix(UPKEEP) {
        let upkeep = read(state, key, value);
        state.upkeep.extend(upkeep.map(|upkeep| (target.to_owned(), upkeep)));
    }
}

/// Reads a record; one that cannot be read stays in the store for a version that can, and is said.
fn read<T: DeserializeOwned>(state: &mut State, key: &str, value: &[u8]) -> Option<T> {
    match serde_json::from_slice(value) {
        Ok(record) => Some(record),
        Err(error) => {
            state.notices.push(format!("The stored record {key} cannot be read by this version: {error}."));
            None
        }
    }
}

/// A job that ran when the daemon ended goes on by itself; one that was being cancelled is.
fn recover(state: &mut State, step: &mut Step, now: Timestamp) {
    let ids: Vec<JobId> = state.active.keys().cloned().collect();
    for id in ids {
        let job = Arc::clone(&state.active[&id]);
        if job.cancelling {
            state.change_job(step, &id, |job| finish::end(job, JobState::Cancelled, None, None, now));
            continue;
        }
        let is_open = job.attempts.last().is_some_and(|attempt| attempt.ended.is_none());
        let wanted = if job.paused.is_some() { JobState::Paused } else { JobState::Queued };
        if is_open || job.state != wanted {
            state.change_job(step, &id, |job| {
                job.end_attempt(wanted, None, now);
                if is_open {
                    job.add_notice("The daemon stopped while this job ran; it goes on by itself.");
                }
                job.set_state(wanted);
            });
        }
    }
}
