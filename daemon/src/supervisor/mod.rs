//! The owner of all jobs: a state, and `step`, which says what to do about an event.
//!
//! ```text
//! event ─► step(state, event, now) ─► changes to store · actions to do · when to look again
//!          pure: no I/O, no clock       in this order: stored and synced first, then done
//! ```
//! After every event each job that has not ended is put to the deciders in a fixed order, and the first that says no
//! is the job's verdict: schedule (is it due?), queue (is it next?), conditions (may we?), breaker (does its target work?).

mod act;
mod breakers;
mod clocks;
mod decide;
mod finish;
mod forget;
mod held;
mod hints;
mod limits;
mod load;
mod plans;
mod requests;
mod size;
mod stale;
mod state;
mod submit;
mod upkeep;
mod verify;
mod view;

use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use backup_proto::error::RpcError;
use backup_proto::event::{DaemonEvent, EventBody, ItemErrorEvent, NoticeEvent, ProgressEvent};
use backup_proto::job::{JobId, Verdict, VerdictKind};
use jiff::Timestamp;
use serde_json::Value;

pub use clocks::Lived;
pub use held::conditions;
pub use limits::{HandLimit, Slowdown, describe as describe_rates, limit_list};
pub use load::load;
pub use plans::next_run;
pub use stale::Watch;
pub use state::{Live, Remembered, State, Wish};
pub use upkeep::Upkeep;
pub use view::{About, find_job, job_detail, job_list, job_reasons, status};

use crate::clock::Now;
use crate::inbox::{Event, News, Ticket};
use crate::job::Job;
use crate::limits::Rates;
use crate::store::{Change, Shortage};

/// Something to do, after the changes of the same step are stored.
#[derive(Clone, Debug)]
pub enum Action {
    /// Start a worker for a job.
    Start(Box<Job>),
    /// Let the job's worker wait at its gate.
    Pause(JobId),
    /// Let it go on.
    Resume(JobId),
    /// Let it end at a checkpoint and give up its lock.
    Suspend(JobId),
    /// Let it end for good.
    Cancel(JobId),
    /// Answer a client.
    Reply(Ticket, Box<Result<Value, RpcError>>),
    /// Tell a worker that what it said is stored.
    Confirm(Sender<()>),
    /// Hold whatever moves bytes to these rates.
    Limit(Arc<Rates>),
    /// Ask a target whether it is back; the answer is an event.
    Ask(String),
    /// Tell the watchers how a target is now.
    TellTarget(String),
    /// Tell the watchers.
    Publish(Box<EventBody>),
    /// Remove what is kept about a job beside the store: it was forgotten.
    Forget(JobId),
    /// End the loop: nothing runs any more.
    End,
}

/// What follows from an event.
#[derive(Clone, Debug, Default)]
pub struct Step {
    /// What has to be stored before anything else is done.
    pub changes: Vec<Change>,
    /// What to do then, in this order.
    pub actions: Vec<Action>,
    /// When to look again if nothing happens before.
    pub wake: Option<Duration>,
}

impl Step {
    fn publish(&mut self, body: EventBody) {
        self.actions.push(Action::Publish(Box::new(body)));
    }

    fn reply(&mut self, ticket: Ticket, answer: Result<Value, RpcError>) {
        self.actions.push(Action::Reply(ticket, Box::new(answer)));
    }
}

/// Returns the state after an event, and what follows from it.
#[must_use]
pub fn step(before: &State, event: Event, now: Now) -> (State, Step) {
    let mut after = before.clone();
    let mut step = Step::default();
    clocks::keep_time(&mut after, &mut step, now);
    take_in(&mut after, &mut step, event, now);
    decide::decide(&mut after, &mut step, now);
    decide::publish_changes(before, &after, &mut step);
    (after, step)
}

fn take_in(state: &mut State, step: &mut Step, event: Event, now: Now) {
    match event {
        Event::Request { ticket, caller, request } => requests::handle(state, step, ticket, caller, &request, now),
        Event::Answered { ticket, caller, request, answer } => {
            requests::remember(state, step, caller, &request, &answer, now);
            step.reply(ticket, Ok(answer));
        }
        Event::Worker { job, attempt, news } => {
            if state.live.get(&job).is_some_and(|live| live.attempt == attempt) {
                hear(state, step, &job, news, now);
            }
        }
        Event::Asked { target, error } => breakers::answered(state, step, &target, error.as_deref(), now.wall),
        Event::Configured(config) => state.config = config,
        Event::Readings(readings) => state.seen = Arc::new(state.seen.after(*readings)),
        Event::Room(shortage) => note_room(state, step, shortage),
        Event::Tick => {}
        Event::Stop => {
            if !state.is_stopping {
                state.is_stopping = true;
                step.publish(EventBody::Daemon(DaemonEvent { paused: state.paused.clone(), stopping: true }));
            }
        }
    }
}

/// Takes in whether there is room for the state. Watchers are told when that begins and when it is over.
fn note_room(state: &mut State, step: &mut Step, shortage: Option<Shortage>) {
    let sentence = match (&state.shortage, &shortage) {
        (None, Some(shortage)) => Some(notice(shortage)),
        (Some(_), None) => Some("There is room for the daemon's state again; what waited goes on.".to_owned()),
        _ => None,
    };
    state.shortage = shortage;
    if let Some(sentence) = sentence {
        step.publish(EventBody::Notice(NoticeEvent { job: None, sentence }));
    }
}

/// Says what a shortage means, for a status.
pub(super) fn notice(shortage: &Shortage) -> String {
    let sentence = shortage.sentence();
    format!(
        "No job runs and none is accepted, because {sentence}. Free some space there; what waits goes on by itself."
    )
}

/// Takes in what a worker says.
fn hear(state: &mut State, step: &mut Step, job: &JobId, news: News, now: Now) {
    match news {
        News::Progress(progress) => {
            if let Some(live) = state.live.get_mut(job) {
                live.progress = Some((*progress).clone());
            }
            step.publish(EventBody::Progress(ProgressEvent { job: job.clone(), progress: *progress }));
        }
        News::ItemFailed(item) => {
            step.publish(EventBody::ItemError(ItemErrorEvent { job: job.clone(), item: *item }));
        }
        News::Notice(sentence) => {
            state.change_job(step, job, |job| job.add_notice(&sentence));
            step.publish(EventBody::Notice(NoticeEvent { job: Some(job.clone()), sentence }));
        }
        News::Chosen { snapshots, stored } => {
            state.change_job(step, job, |job| job.choose(snapshots));
            step.actions.push(Action::Confirm(stored));
        }
        News::Finished(ended) => finish::finish(state, step, job, *ended, now),
    }
}

/// Makes a "no" of a decider.
pub(crate) fn verdict(kind: VerdictKind, sentence: String, next_look: Option<Timestamp>) -> Verdict {
    Verdict { kind, sentence, since: None, next_look, condition: None, runs_by: None }
}

#[cfg(test)]
mod bench;
#[cfg(test)]
mod clock_tests;
#[cfg(test)]
mod parked_tests;
#[cfg(test)]
mod room_tests;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod turns;
