//! A supervisor with a disk that can be cut off and workers that do what they are told, for tests.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use backup_proto::error::{Class, ErrorData, ErrorKind, RpcError};
use backup_proto::event::{EventBody, PlanEvent};
use backup_proto::job::{JobError, JobId, JobState};
use backup_proto::message::Request;
use backup_proto::params::{JobSubmit, RequestId};
use backup_proto::spec::JobSpec;
use backup_proto::target::BreakerState;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::Value;

use super::{Action, State, Wish, load, step};
use crate::clock::Now;
use crate::config::Config;
use crate::inbox::{Caller, Event, News, Ticket};
use crate::job::{Ended, How, Totals};
use crate::limits::Rates;
use crate::store::Contents;

mod given;
pub(super) use given::{backup, copy, prune, read_data, repair, restore, verify, with_plan, with_target};

/// The user that asks.
pub(super) const CALLER: Caller = Caller { uid: 1000, pid: None };

/// What a worker was told last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    Run,
    Pause,
    Suspend,
    Cancel,
}

/// A supervisor under test.
pub(super) struct Bench {
    pub(super) state: State,
    pub(super) disk: Contents,
    pub(super) now: Now,
    /// Workers by job, with their attempt.
    pub(super) workers: BTreeMap<JobId, (u32, Told)>,
    /// What the latest worker of each job was given to do.
    pub(super) given: BTreeMap<JobId, JobSpec>,
    pub(super) rates: Arc<Rates>,
    /// Targets that are being asked whether they are back.
    pub(super) asked: BTreeSet<String>,
    /// Sentences that watchers were told.
    pub(super) notices: Vec<String>,
    /// What watchers were told of plans without success.
    pub(super) stale: Vec<PlanEvent>,
    pub(super) wake: Option<Duration>,
    pub(super) has_ended: bool,
    requests: u64,
}

impl Bench {
    pub(super) fn new(config: Config) -> Self {
        let now = Now { wall: "2024-05-01T12:00:00Z".parse().unwrap(), boot: Duration::from_secs(1_000) };
        let disk = Contents::new();
        let (state, _) = load(&disk, Arc::new(config), TimeZone::UTC, 0, now.wall);
        let (workers, given, rates) = (BTreeMap::new(), BTreeMap::new(), Arc::default());
        let mut bench = Self {
            state,
            disk,
            now,
            workers,
            given,
            rates,
            asked: BTreeSet::new(),
            notices: Vec::new(),
            stale: Vec::new(),
            wake: None,
            has_ended: false,
            requests: 0,
        };
        bench.restart();
        bench
    }

    /// Starts again from what is on the disk, as after a kill.
    pub(super) fn restart(&mut self) {
        let config = Arc::clone(&self.state.config);
        let (mut state, first) = load(&self.disk, config, TimeZone::UTC, 0, self.now.wall);
        // The loop looks at the machine before it decides anything.
        state.seen = Arc::clone(&self.state.seen);
        self.state = state;
        self.workers.clear();
        self.asked.clear();
        self.rates = Arc::default();
        self.has_ended = false;
        self.store(first.changes);
        self.tick();
    }

    pub(super) fn tick(&mut self) {
        self.event(Event::Tick);
    }

    /// Lets time pass.
    pub(super) fn pass(&mut self, time: Duration) {
        self.now.wall = self.now.wall.checked_add(time).unwrap();
        self.now.boot += time;
        self.tick();
    }

    /// Takes in an event: stores what changed, then does what follows. Returns the answer, if there was one.
    pub(super) fn event(&mut self, event: Event) -> Option<Result<Value, RpcError>> {
        let (state, step) = step(&self.state, event, self.now);
        self.state = state;
        self.wake = step.wake;
        self.store(step.changes);
        let mut answer = None;
        for action in step.actions {
            match action {
                Action::Start(job) => {
                    let before = self.workers.insert(job.id.clone(), (job.attempt_count(), Told::Run));
                    assert!(before.is_none(), "{} has two workers", job.id);
                    self.given.insert(job.id, job.spec);
                }
                Action::Pause(id) => self.tell(&id, Told::Pause),
                Action::Resume(id) => self.tell(&id, Told::Run),
                Action::Suspend(id) => self.tell(&id, Told::Suspend),
                Action::Cancel(id) => self.tell(&id, Told::Cancel),
                Action::Reply(_, outcome) => answer = Some(*outcome),
                Action::End => self.has_ended = true,
                Action::Confirm(stored) => stored.send(()).expect("the worker waits"),
                Action::Limit(rates) => self.rates = rates,
                Action::Ask(target) => drop(self.asked.insert(target)),
                Action::Publish(body) => match *body {
                    EventBody::Notice(notice) => self.notices.push(notice.sentence),
                    EventBody::Plan(event) => self.stale.push(event),
                    _ => {}
                },
                Action::TellTarget(_) | Action::Forget(_) => {}
            }
        }
        answer
    }

    fn tell(&mut self, id: &JobId, told: Told) {
        self.workers.get_mut(id).expect("only workers are told something").1 = told;
    }

    fn store(&mut self, changes: Vec<crate::store::Change>) {
        for change in changes {
            match change.value {
                Some(value) => self.disk.insert(change.key, value),
                None => self.disk.remove(&change.key),
            };
        }
    }

    /// Asks for something.
    pub(super) fn ask(&mut self, request: impl Into<Request>) -> Result<Value, RpcError> {
        let event = Event::Request { ticket: Ticket(1), caller: CALLER, request: Box::new(request.into()) };
        self.event(event).expect("every request is answered")
    }

    /// Returns a request id that was not used before.
    pub(super) fn request_id(&mut self) -> RequestId {
        self.requests += 1;
        RequestId(format!("request {}", self.requests))
    }

    /// Submits a job and returns its id.
    pub(super) fn submit(&mut self, spec: JobSpec) -> JobId {
        let params = JobSubmit { request_id: self.request_id(), spec, priority: None, now: false, reason: None };
        let answer = self.ask(params).unwrap();
        JobId::from(answer["jobs"][0].as_str().unwrap())
    }

    /// Lets a job's worker end.
    pub(super) fn end(&mut self, id: &JobId, how: How, failed_count: u64) {
        self.end_with(id, how, Totals { failed_count, ..Totals::default() });
    }

    /// Lets a job's worker end, having done this.
    pub(super) fn end_with(&mut self, id: &JobId, how: How, totals: Totals) {
        let (attempt, _) = self.workers.remove(id).expect("it runs");
        let ended = Ended { how, totals };
        self.event(Event::Worker { job: id.clone(), attempt, news: News::Finished(Box::new(ended)) });
    }

    /// Lets a job's worker end because the target has failed.
    pub(super) fn fail_at(&mut self, id: &JobId, how: How, target: &str) {
        self.end_with(id, how, Totals { target_failed: Some(target.to_owned()), ..Totals::default() });
    }

    /// Answers the question whether a target is back.
    pub(super) fn answer(&mut self, target: &str, how: &How) {
        assert!(self.asked.remove(target), "{target} is not being asked");
        let error = if let How::Failed(error) = how { Some(Box::new(error.clone())) } else { None };
        self.event(Event::Asked { target: target.to_owned(), error });
    }

    /// Lets a job's worker say something.
    pub(super) fn say(&mut self, id: &JobId, news: News) {
        let attempt = self.workers[id].0;
        self.event(Event::Worker { job: id.clone(), attempt, news });
    }

    pub(super) fn job_state(&self, id: &JobId) -> JobState {
        self.state.job(id).expect("no job is lost").state
    }

    /// Returns why a job waits.
    pub(super) fn why(&self, id: &JobId) -> String {
        self.state.verdicts.get(id).map(|verdict| verdict.sentence.clone()).unwrap_or_default()
    }

    /// Checks what holds after every step.
    pub(super) fn check(&self) {
        let mut targets = Vec::new();
        for (id, job) in &self.state.active {
            assert!(!job.state.is_final(), "{id} has ended and is among the others");
            match job.state {
                JobState::Running => {
                    assert!(self.workers.contains_key(id), "{id} runs without a worker");
                    targets.extend(job.target.clone());
                    let closed =
                        |target: &String| self.state.breakers.get(target).and_then(|breaker| breaker.closure());
                    // Whoever was told to end finishes what it has begun.
                    let uses = job.target.as_ref().filter(|_| self.state.live[id].wish == Wish::Run);
                    assert_eq!(uses.and_then(closed), None, "{id} uses a target that is left alone");
                }
                _ => assert!(!self.why(id).is_empty(), "{id} is {:?} without a reason", job.state),
            }
        }
        for (target, breaker) in self.state.breakers.iter() {
            let is_asked = breaker.view().state == BreakerState::HalfOpen;
            assert!(!is_asked || self.asked.contains(target), "nobody asks {target}");
        }
        targets.sort_unstable();
        let count = targets.len();
        targets.dedup();
        assert_eq!(targets.len(), count, "two jobs run on one target");
        assert!(self.state.ended.values().all(|job| job.state.is_final() && job.summary.is_some()));
    }
}

pub(super) fn failure(class: Class) -> How {
    let data = ErrorData {
        kind: ErrorKind::Storage,
        class,
        retryable: class.is_retryable(),
        advice: "wait".into(),
        ..ErrorData::default()
    };
    How::Failed(JobError { message: "it broke".into(), data })
}

pub(super) fn later(bench: &Bench, time: Duration) -> Timestamp {
    bench.now.wall.checked_add(time).unwrap()
}
