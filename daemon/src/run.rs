//! The loop: takes what is in the inbox, asks `step`, stores what has changed, then does what follows.

mod configuring;
mod log;
mod machine;
mod storing;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use backup_engine::Gate;
use backup_proto::error::RpcError;
use backup_proto::event::{Cursor, EventBody, TargetEvent};
use backup_proto::job::JobId;
use tokio::sync::{mpsc, watch};

use crate::clock::Now;
use crate::context::Context;
use crate::desk::Desk;
use crate::error::Result;
use crate::hub::Hub;
use crate::inbox::{Event, Inbox};
use crate::store::{Change, Shortage, Store};
use crate::supervisor::{self, Action, State, Step};
use crate::{conditions, service, worker};

/// Events that are taken in together and synced once.
const BATCH_MAX: usize = 256;

/// How often the locks of running jobs are refreshed, in time that includes sleep.
const LOCKS_EVERY: Duration = Duration::from_secs(backup_engine::limits::LOCK_REFRESH_SECONDS);

/// How often to look whether locks are to be refreshed while a job runs; soon enough after the machine has slept.
const LOCKS_LOOK: Duration = Duration::from_secs(30);

/// What sessions see of the loop: always whole, never waited for.
#[derive(Clone, Debug)]
pub struct Published {
    /// The state after the latest step.
    pub state: Arc<State>,
    /// Events after this one are not in it.
    pub cursor: Cursor,
}

/// The loop with everything it needs to do what a step says.
pub struct Run {
    /// What workers share.
    pub context: Arc<Context>,
    /// Where changes are stored.
    pub store: Store,
    /// Where watchers hear of it.
    pub hub: Arc<Hub>,
    /// Where clients wait for answers.
    pub desk: Arc<Desk>,
    /// What workers send their news to.
    pub inbox: Inbox,
    /// What sessions answer from.
    pub published: watch::Sender<Published>,
}

/// The loop under way, with what changes meanwhile.
pub struct Running {
    run: Run,
    gates: BTreeMap<JobId, Gate>,
    /// Events whose changes could not be stored yet, oldest first.
    parked: VecDeque<Event>,
    /// What a start changed, until it is stored.
    unstored: Vec<Change>,
    /// What was wrong with the room on the disk when it was looked at last, or when it refused.
    shortage: Option<Shortage>,
    room_looked: Option<Duration>,
    machine: machine::Looks,
    config_looked: Duration,
    wake: Option<Duration>,
    locks_refreshed: Duration,
    has_ended: bool,
}

impl Run {
    /// Decides for the first time what is to be done. Before that nothing is known of the machine, of targets that are left
    /// alone and of why jobs wait, so that nobody is to be answered.
    ///
    /// # Errors
    /// When nothing can be stored any more.
    pub async fn begin(self, first: Step) -> Result<Running> {
        let now = self.context.clock.now();
        let mut running = Running {
            run: self,
            gates: BTreeMap::new(),
            parked: VecDeque::new(),
            unstored: first.changes,
            shortage: None,
            room_looked: None,
            machine: machine::Looks::default(),
            config_looked: now.boot,
            wake: None,
            locks_refreshed: now.boot,
            has_ended: false,
        };
        running.take_in(vec![Event::Tick]).await?;
        Ok(running)
    }
}

impl Running {
    /// Runs until the daemon was told to stop and no job runs any more.
    ///
    /// # Errors
    /// When nothing can be stored any more.
    pub async fn run(mut self, mut events: mpsc::Receiver<Event>) -> Result<()> {
        while !self.has_ended {
            let batch = self.next_batch(&mut events).await;
            self.take_in(batch).await?;
        }
        Ok(())
    }

    /// Waits for events, and takes all that are there; a tick when none came in time.
    async fn next_batch(&mut self, events: &mut mpsc::Receiver<Event>) -> Vec<Event> {
        let mut batch = Vec::new();
        let received = match self.patience() {
            Some(patience) => tokio::time::timeout(patience, events.recv_many(&mut batch, BATCH_MAX)).await.is_ok(),
            None => {
                events.recv_many(&mut batch, BATCH_MAX).await;
                true
            }
        };
        if !received || !self.parked.is_empty() {
            // What waited goes first: a worker's words must not overtake each other.
            batch = self.parked.drain(..).chain(batch).collect();
            batch.push(Event::Tick);
        }
        batch
    }

    /// How long to wait for events.
    fn patience(&self) -> Option<Duration> {
        let is_short = self.shortage.is_some() || self.run.published.borrow().state.shortage.is_some();
        let has_waiting = is_short || !self.parked.is_empty() || !self.unstored.is_empty();
        let again = has_waiting.then_some(conditions::LOOK_AGAIN);
        let running = (!self.gates.is_empty()).then_some(LOCKS_LOOK.min(configuring::LOOK_WHILE_RUNNING));
        let machine = machine::matters(&self.run.published.borrow().state).then_some(conditions::MACHINE_EVERY);
        [self.wake, again, running, machine, service::watchdog_interval()].into_iter().flatten().min()
    }

    /// Takes in events; when they cannot be stored together, each by itself, so that each client learns its own fate.
    async fn take_in(&mut self, mut batch: Vec<Event>) -> Result<()> {
        service::watchdog();
        let now = self.run.context.clock.now();
        self.refresh_locks(now);
        self.look_at_config(now, &mut batch);
        self.look_at_machine(now, &mut batch).await;
        self.look_at_room(now, &mut batch).await;
        let Some(refusal) = self.try_batch(batch.clone(), now).await? else { return Ok(()) };
        let is_single = batch.len() == 1;
        for event in batch {
            let refused = match self.parked.is_empty() && !is_single {
                true => self.try_batch(vec![event.clone()], now).await?,
                false => Some(refusal.clone()),
            };
            if let Some(refusal) = refused {
                self.put_off(event, &refusal);
            }
        }
        Ok(())
    }

    /// Steps through events, stores the changes of all with one sync, then does what follows. Returns the answer for
    /// clients when they could not be stored; nothing has happened then.
    async fn try_batch(&mut self, batch: Vec<Event>, now: Now) -> Result<Option<RpcError>> {
        let mut state = State::clone(&self.run.published.borrow().state);
        let mut changes: Vec<Change> = Vec::new();
        let mut actions = Vec::new();
        for event in batch {
            let (after, step) = supervisor::step(&state, event, now);
            state = after;
            changes.extend(step.changes);
            actions.extend(step.actions);
            self.wake = step.wake;
        }
        let commit = match self.store(changes).await? {
            Ok(commit) => commit,
            Err(refusal) => return Ok(Some(refusal)),
        };
        self.publish_state(state, commit);
        self.act(actions, commit, now);
        Ok(None)
    }

    fn publish_state(&mut self, state: State, commit: Option<u64>) {
        self.gates.retain(|id, _| state.live.contains_key(id));
        self.run.context.targets.set_breakers(&state.breakers);
        self.run.published.send_modify(|published| {
            published.state = Arc::new(state);
            if let Some(sequence) = commit {
                published.cursor = Cursor(sequence);
            }
        });
    }

    /// Does what the steps said, in their order; watchers hear of it before clients get their answers.
    fn act(&mut self, actions: Vec<Action>, commit: Option<u64>, now: Now) {
        let (publish, others): (Vec<Action>, Vec<Action>) =
            actions.into_iter().partition(|action| matches!(action, Action::Publish(_) | Action::TellTarget(_)));
        let bodies: Vec<EventBody> = publish
            .into_iter()
            .filter_map(|action| match action {
                Action::Publish(body) => Some(*body),
                Action::TellTarget(name) => {
                    let target = self.run.context.targets.view_of(&name).ok()?;
                    Some(EventBody::Target(TargetEvent { target }))
                }
                _ => None,
            })
            .collect();
        bodies.iter().for_each(log::log);
        self.run.hub.publish(commit, bodies, now.wall);
        for action in others {
            self.do_one(action);
        }
    }

    fn do_one(&mut self, action: Action) {
        match action {
            Action::Start(job) => {
                let gate = self.run.context.gate();
                self.gates.insert(job.id.clone(), gate.clone());
                tracing::info!(job = %job.id, title = job.title(), attempt = job.attempt_count(), "job starts");
                worker::spawn(*job, Arc::clone(&self.run.context), gate, self.run.inbox.clone());
            }
            Action::Pause(id) => self.with_gate(&id, Gate::pause),
            Action::Resume(id) => self.with_gate(&id, Gate::resume),
            Action::Suspend(id) => self.with_gate(&id, Gate::suspend),
            Action::Cancel(id) => self.with_gate(&id, Gate::cancel),
            Action::Limit(rates) => {
                tracing::info!(limits = supervisor::describe_rates(&rates), "limits of speed");
                self.run.context.targets.limits().apply(&rates);
            }
            Action::Reply(ticket, answer) => self.run.desk.answer(ticket, *answer),
            // A worker that has died meanwhile needs no answer.
            Action::Confirm(stored) => drop(stored.send(())),
            Action::Forget(id) => {
                if let Err(error) = self.run.context.ledger.forget(&id) {
                    tracing::warn!(%error, job = %id, "the lists of a forgotten job stay");
                }
            }
            Action::Ask(target) => self.ask(target),
            // Published together with the others of its batch.
            Action::Publish(_) | Action::TellTarget(_) => {}
            Action::End => self.has_ended = true,
        }
    }

    /// Asks a target whether it is back, on a thread of its own: it may not answer for long.
    fn ask(&self, target: String) {
        tracing::info!(target, "target is asked whether it is back");
        let (context, inbox) = (Arc::clone(&self.run.context), self.run.inbox.clone());
        tokio::task::spawn_blocking(move || {
            let error = context.targets.ask(&target).err().map(|error| Box::new(error.to_job_error()));
            inbox.send(Event::Asked { target, error });
        });
    }

    fn with_gate(&self, id: &JobId, tell: impl Fn(&Gate)) {
        if let Some(gate) = self.gates.get(id) {
            tell(gate);
        }
    }

    /// A client is told that its change was refused; what a worker said is kept until it can be stored.
    fn put_off(&mut self, event: Event, refusal: &RpcError) {
        match event {
            Event::Request { ticket, .. } | Event::Answered { ticket, .. } => {
                self.run.desk.answer(ticket, Err(refusal.clone()));
            }
            // They come again by themselves.
            Event::Tick | Event::Room(_) | Event::Readings(_) => {}
            other => self.parked.push_back(other),
        }
    }

    /// Refreshes the locks of running jobs, also of paused ones, on a thread of its own: storage may be slow.
    fn refresh_locks(&mut self, now: Now) {
        if self.gates.is_empty() {
            self.locks_refreshed = now.boot;
        } else if now.boot.saturating_sub(self.locks_refreshed) >= LOCKS_EVERY {
            self.locks_refreshed = now.boot;
            let context = Arc::clone(&self.run.context);
            tokio::task::spawn_blocking(move || {
                for error in context.targets.refresh_locks() {
                    tracing::warn!(%error, "a lock could not be refreshed");
                }
            });
        }
    }
}
