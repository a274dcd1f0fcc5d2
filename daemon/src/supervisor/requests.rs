//! What clients ask for: each change is made once, however often the same request comes.

use std::time::Duration;

use backup_proto::error::{ErrorKind, RpcError};
use backup_proto::key::Secret;
use backup_proto::message::Request;
use backup_proto::params::JobsSubmitted;

use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::state::{REQUEST, Remembered, State, json};
use super::{Step, act, breakers, limits, submit};
use crate::clock::Now;
use crate::error::Error;
use crate::inbox::{Caller, Ticket};
use crate::store::Change;
use crate::wire;

/// How long an answered request is remembered.
const KEPT: Duration = Duration::from_secs(30 * 24 * 3600);

/// Answered requests that are remembered at most, whatever a client in a loop does: some 3,000 a day.
const KEPT_MAX: usize = 100_000;

/// Makes the change a client asks for, or gives the answer it got before.
pub(super) fn handle(state: &mut State, step: &mut Step, ticket: Ticket, caller: Caller, request: &Request, now: Now) {
    let answer = match state.remembered(caller, request) {
        Some(answer) => answer,
        None => make(state, step, caller, request, now)
            .inspect(|answer| remember(state, step, caller, request, answer, now)),
    };
    step.reply(ticket, answer);
}

fn make(state: &mut State, step: &mut Step, caller: Caller, request: &Request, now: Now) -> Result<Value, RpcError> {
    if state.is_stopping {
        let advice = "Ask again when it has started again.";
        return Err(RpcError::new(ErrorKind::Stopping, "the daemon is stopping", advice));
    }
    match request {
        Request::JobSubmit(params) => {
            if let Some(shortage) = &state.shortage {
                return Err(wire::state_error(&Error::NoRoom(shortage.clone())));
            }
            let jobs = submit::submit(state, step, caller, params, now.wall)?;
            to_value(&JobsSubmitted { jobs })
        }
        Request::JobPause(params) => to_value(&act::pause(state, step, &params.job, params.for_seconds, now)?),
        Request::JobResume(params) => to_value(&act::resume(state, step, &params.job, params.now, now)?),
        Request::JobCancel(params) => to_value(&act::cancel(state, step, &params.job, now)?),
        Request::JobRetry(params) => to_value(&act::retry(state, step, &params.job, now)?),
        Request::JobSetPriority(params) => {
            to_value(&act::set_priority(state, step, &params.job, params.priority, now)?)
        }
        Request::LimitSet(params) => to_value(&limits::set(state, step, params, now.wall)?),
        Request::TargetBreaker(params) => to_value(&breakers::set(state, step, params, now.wall)?),
        Request::DaemonPause(params) => to_value(&act::pause_daemon(state, step, params.for_seconds, now)?),
        Request::DaemonResume(_) => to_value(&act::resume_daemon(state, step)),
        other => Err(RpcError::new(
            ErrorKind::Internal,
            format!("`{}` is not for the queue", other.method().name),
            "Report this mistake of the daemon.",
        )),
    }
}

/// Stores the answer of a change in the same record as its effect.
pub(super) fn remember(
    state: &mut State,
    step: &mut Step,
    caller: Caller,
    request: &Request,
    answer: &Value,
    now: Now,
) {
    let Some(id) = request.request_id() else { return };
    let remembered = Remembered {
        hash: hash(request),
        uid: caller.uid,
        at: now.wall,
        lived_seconds: state.lived.seconds(),
        answer: answer.clone(),
    };
    step.changes.push(Change::set(format!("{REQUEST}{}", id.0), json(&remembered)));
    make_room(state, step, KEPT_MAX - 1);
    state.requests.insert(id.0.clone(), remembered);
}

/// Forgets the oldest tenth of the requests when there are more than can be remembered.
pub(super) fn make_room(state: &mut State, step: &mut Step, kept_max: usize) {
    if state.requests.count() <= kept_max {
        return;
    }
    let mut ages = state.requests.ages();
    let (_, oldest, _) = ages.select_nth_unstable(kept_max / 10);
    let oldest = *oldest;
    forget(state, step, |remembered| remembered.age() <= oldest);
}

/// Forgets requests that are old enough, by the daemon's own time of life: a wall clock may be set.
pub(super) fn sweep(state: &mut State, step: &mut Step) {
    let lived = state.lived.seconds();
    forget(state, step, |remembered| lived.saturating_sub(remembered.lived_seconds) > KEPT.as_secs());
}

fn forget(state: &mut State, step: &mut Step, is_old: impl Fn(&Remembered) -> bool) {
    for id in state.requests.sweep(is_old) {
        step.changes.push(Change::remove(format!("{REQUEST}{id}")));
    }
}

impl State {
    /// Returns the answer that a request of this name got before, or refuses a name that was used for another one.
    #[must_use]
    pub fn remembered(&self, caller: Caller, request: &Request) -> Option<Result<Value, RpcError>> {
        let remembered = self.requests.get(&request.request_id()?.0)?;
        if remembered.uid == caller.uid && remembered.hash == hash(request) {
            return Some(Ok(remembered.answer.clone()));
        }
        let message = "this `request_id` was used before for something else or by somebody else";
        Some(Err(RpcError::new(ErrorKind::RequestIdConflict, message, "Use a new random one for each change.")))
    }
}

/// The SHA-256 of method and parameters, in hex.
fn hash(request: &Request) -> String {
    let mut params = request.params().unwrap_or(Value::Null);
    // This is stored, and whoever reads it must not find a password by trying.
    if let Some(fields) = params.as_object_mut() {
        fields.remove(Secret::FIELD);
    }
    let mut digest = Sha256::new();
    digest.update(request.method().name);
    digest.update([0]);
    digest.update(params.to_string());
    hex::encode(digest.finalize())
}

fn to_value<T: Serialize>(answer: &T) -> Result<Value, RpcError> {
    serde_json::to_value(answer)
        .map_err(|error| RpcError::new(ErrorKind::Internal, error.to_string(), "Report this mistake of the daemon."))
}
