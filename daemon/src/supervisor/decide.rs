//! After every event: which jobs go on, which stop, and what each of the others waits for.

use std::time::Duration;

use backup_proto::event::{EventBody, StateEvent};
use backup_proto::job::{JobId, JobKind, JobState, Verdict, VerdictKind};
use jiff::Timestamp;

use super::{Action, Live, State, Step, Wish, act, breakers, held, hints, limits, plans, requests, stale, verdict};
use crate::clock::Now;
use crate::conditions::Kind;
use crate::job::Job;
use crate::queue::{Rank, Slots, can_give_way, rank};
use crate::{conditions, schedule};

/// A job that has been paused for so long writes an index, gives up its lock and goes on with a new attempt later.
const SUSPEND_AFTER: Duration = Duration::from_secs(10 * 60);

/// How often requests that are too old are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(24 * 3600);

/// The longest time without a look at the clocks while something waits for one: somebody may set the wall clock, and
/// the timer does not count the time the machine sleeps.
const LOOK_MAX: Duration = Duration::from_secs(60);

/// Brings every job in line with what the deciders say now.
pub(super) fn decide(state: &mut State, step: &mut Step, now: Now) {
    end_pauses(state, step, now.wall);
    sweep(state, step, now);
    let next = plans::queue_due(state, step, now.wall);
    state.decided = now.wall;
    make_way(state, step, now.wall);
    let mut turns = Turns { slots: Slots::default(), next };
    // What is ending cannot be paused any more; it gives its target free in a moment.
    turns.hold(state, |live, _| matches!(live.wish, Wish::Suspend | Wish::Cancel));
    let has_worker = |job: &Job| state.live.contains_key(&job.id);
    let mut order: Vec<Rank> = state.active.values().map(|job| rank(job, has_worker(job), now.wall)).collect();
    order.sort_unstable();
    let (restores, others) = order.split_at(order.partition_point(Rank::is_restore));
    for (ranks, kind_fits) in [(restores, true), (others, false)] {
        turns.hold(state, |live, job| live.wish == Wish::Run && (job.spec.kind() == JobKind::Restore) == kind_fits);
        for rank in ranks {
            turns.take(state, step, &rank.id, now);
        }
    }
    if state.is_stopping && state.live.is_empty() {
        step.actions.push(Action::End);
    }
    let limits_change = limits::update(state, step, now.wall);
    let gets_stale = stale::look(state, step, now.wall);
    step.wake = wake(state, [turns.next, limits_change, gets_stale].into_iter().flatten().min(), now);
}

/// Lets a job that can go on where it was end its attempt when a backup or a restore that goes before it could run on its target. A
/// pause would not do: a prune or a repair may hold an exclusive lock, beside which neither can work, and who paused longer than the
/// others wait would keep a lock for nothing.
fn make_way(state: &mut State, step: &mut Step, now: Timestamp) {
    let is_ready = |job: &Job| {
        let wants = matches!(job.spec.kind(), JobKind::Backup | JobKind::Restore);
        wants && !state.live.contains_key(&job.id) && verdict_of(state, &Slots::default(), &job.id, now).is_none()
    };
    let is_wanted = |running: &Job| {
        // What it waited made it urgent; that it runs for long does not.
        let began = running.attempts.last().map_or(now, |attempt| attempt.started);
        let own = rank(running, false, began);
        let mut others = state.active.values().filter(|job| job.target == running.target);
        others.any(|job| rank(job, false, now) < own && is_ready(job))
    };
    let yields = |job: &&std::sync::Arc<Job>| {
        let works = state.live.get(&job.id).is_some_and(|live| matches!(live.wish, Wish::Run | Wish::Pause(_)));
        works && can_give_way(&job.spec) && is_wanted(job)
    };
    let yielding: Vec<JobId> = state.active.values().filter(yields).map(|job| job.id.clone()).collect();
    for id in yielding {
        if let Some(live) = state.live.get_mut(&id) {
            live.wish = Wish::Suspend;
            step.actions.push(Action::Suspend(id));
        }
    }
}

/// The jobs have their turns, one after another.
struct Turns {
    slots: Slots,
    /// When something has to be looked at again.
    next: Option<Timestamp>,
}

impl Turns {
    /// Leaves their targets to workers that are at work. One that waits at its gate leaves its target to others.
    fn hold(&mut self, state: &State, holds: impl Fn(&Live, &Job) -> bool) {
        for job in state.active.values() {
            if state.live.get(&job.id).is_some_and(|live| holds(live, job)) {
                self.slots.take(job);
            }
        }
    }

    /// Lets one job go on or stop, as the deciders say.
    fn take(&mut self, state: &mut State, step: &mut Step, id: &JobId, now: Now) {
        let mut verdict = verdict_of(state, &self.slots, id, now.wall);
        // The last decider: all others have said yes.
        let by_breaker = verdict.as_ref().is_some_and(|verdict| verdict.kind == VerdictKind::Breaker);
        if by_breaker && breakers::begin_question(state, step, id, now.wall) {
            verdict = verdict_of(state, &self.slots, id, now.wall);
        }
        match verdict {
            None => {
                self.next = earlier(self.next, held::window_closes(state, id, now.wall));
                go(state, step, &mut self.slots, id, now.wall);
            }
            Some(no) => {
                self.next = earlier(self.next, no.next_look);
                stop(state, step, id, &no, now);
                note(state, id, no, now.wall);
            }
        }
    }
}

/// Asks the deciders in their order.
fn verdict_of(state: &State, slots: &Slots, id: &JobId, now: Timestamp) -> Option<Verdict> {
    let job = state.active.get(id)?;
    if state.is_stopping {
        let sentence = "The daemon is stopping; it goes on at the next start.".to_owned();
        return Some(verdict(VerdictKind::Stopping, sentence, None));
    }
    match state.live.get(id).map(|live| live.wish) {
        Some(Wish::Suspend) => {
            let sentence = "It ends its attempt at a checkpoint and goes on after that.".to_owned();
            return Some(verdict(VerdictKind::Paused, sentence, None));
        }
        Some(Wish::Cancel) => return Some(verdict(VerdictKind::Paused, "It is being cancelled.".to_owned(), None)),
        Some(Wish::Run | Wish::Pause(_)) | None => {}
    }
    schedule::decide(job, now)
        .or_else(|| slots.decide(job, state.live.contains_key(id), now))
        .or_else(|| conditions::decide(state.paused.as_ref(), state.shortage.as_ref(), now))
        .or_else(|| held::decide(state, job, now))
        .or_else(|| breakers::decide(state, job, now))
}

/// Lets a job run that may.
fn go(state: &mut State, step: &mut Step, slots: &mut Slots, id: &JobId, now: Timestamp) {
    if let Some(job) = state.active.get(id) {
        slots.take(job);
    }
    state.verdicts.remove(id);
    limits::slow(state, id, held::slowdown(state, id, now));
    match state.live.get_mut(id) {
        None => start(state, step, id, now),
        Some(live) if live.wish != Wish::Run => {
            live.wish = Wish::Run;
            step.actions.push(Action::Resume(id.clone()));
            state.change_job(step, id, |job| job.set_state(JobState::Running));
        }
        Some(_) => {}
    }
}

fn start(state: &mut State, step: &mut Step, id: &JobId, now: Timestamp) {
    state.change_job(step, id, |job| {
        job.set_state(JobState::Running);
        job.begin_attempt(now);
    });
    if let Some(job) = state.active.get(id) {
        let live = Live { attempt: job.attempt_count(), wish: Wish::Run, progress: None };
        let mut given = Job::clone(job);
        hints::date_or_drop(state, &mut given);
        step.actions.push(Action::Start(Box::new(given)));
        state.live.insert(id.clone(), live);
    }
}

/// Stops a job that may not run: its worker waits, or after a while ends at a checkpoint.
fn stop(state: &mut State, step: &mut Step, id: &JobId, no: &Verdict, now: Now) {
    // Nobody may be able to write down how a worker that waits at its gate goes on.
    let has_no_room = state.is_stopping || state.shortage.is_some();
    // A window stays closed for hours: nothing is kept in memory and no lock is held for as long.
    let must_end = has_no_room || no.condition.as_deref() == Some(Kind::Window.as_str());
    let Some(live) = state.live.get_mut(id) else {
        let wants_pause = |job: &Job| job.paused.is_some() && job.state == JobState::Queued;
        if state.active.get(id).is_some_and(|job| wants_pause(job)) {
            state.change_job(step, id, |job| job.set_state(JobState::Paused));
        }
        return;
    };
    match live.wish {
        Wish::Run | Wish::Pause(_) if must_end => {
            live.wish = Wish::Suspend;
            step.actions.push(Action::Suspend(id.clone()));
        }
        Wish::Run => {
            live.wish = Wish::Pause(now.boot);
            step.actions.push(Action::Pause(id.clone()));
            state.change_job(step, id, |job| job.set_state(JobState::Paused));
        }
        Wish::Pause(since) if now.boot.saturating_sub(since) >= SUSPEND_AFTER => {
            live.wish = Wish::Suspend;
            step.actions.push(Action::Suspend(id.clone()));
        }
        Wish::Pause(_) | Wish::Suspend | Wish::Cancel => {}
    }
}

/// Keeps a verdict; one that gives the same reason as before keeps its age.
fn note(state: &mut State, id: &JobId, mut no: Verdict, now: Timestamp) {
    let is_same = |known: &Verdict| match (&known.condition, &no.condition) {
        (None, None) => known.sentence == no.sentence,
        (known, no) => known == no,
    };
    let known = state.verdicts.get(id).filter(|known| known.kind == no.kind && is_same(known));
    no.since = known.map_or(Some(now), |known| known.since);
    state.verdicts.insert(id.clone(), no);
}

/// Ends pauses whose time is over.
fn end_pauses(state: &mut State, step: &mut Step, now: Timestamp) {
    let is_over = |pause: &backup_proto::status::Pause| pause.until.is_some_and(|until| until <= now);
    if state.paused.as_ref().is_some_and(is_over) {
        act::set_daemon_pause(state, step, None);
    }
    let over: Vec<JobId> = state
        .active
        .values()
        .filter(|job| job.paused.as_ref().is_some_and(is_over))
        .map(|job| job.id.clone())
        .collect();
    for id in over {
        act::unpause(state, step, &id);
    }
}

fn sweep(state: &mut State, step: &mut Step, now: Now) {
    if state.swept.is_none_or(|swept| now.boot.saturating_sub(swept) >= SWEEP_EVERY) {
        state.swept = Some(now.boot);
        requests::sweep(state, step);
    }
}

/// How long nothing has to be looked at.
fn wake(state: &State, next: Option<Timestamp>, now: Now) -> Option<Duration> {
    let wall = next.map(|next| Duration::try_from(next.duration_since(now.wall)).unwrap_or_default());
    let suspend = state.live.values().filter_map(|live| match live.wish {
        Wish::Pause(since) => Some((since + SUSPEND_AFTER).saturating_sub(now.boot)),
        _ => None,
    });
    let sooner = wall.into_iter().chain(suspend).min()?;
    // Never zero: what is due now was done now.
    Some(sooner.clamp(Duration::from_millis(10), LOOK_MAX))
}

fn earlier(a: Option<Timestamp>, b: Option<Timestamp>) -> Option<Timestamp> {
    a.into_iter().chain(b).min()
}

/// Tells the watchers which jobs changed their state, or their reason for waiting.
pub(super) fn publish_changes(before: &State, after: &State, step: &mut Step) {
    let known = |id: &JobId| before.active.get(id).or_else(|| before.ended.get(id));
    let gone = before.active.keys().filter(|id| !after.active.contains_key(*id));
    for id in after.active.keys().chain(gone) {
        let Some(job) = after.job(id) else { continue };
        let verdict = after.shown_verdict(job);
        let is_same_state =
            known(id).is_some_and(|known| known.state == job.state && known.attempts.len() == job.attempts.len());
        if is_same_state && known(id).and_then(|known| before.shown_verdict(known)) == verdict {
            continue;
        }
        step.publish(EventBody::State(StateEvent {
            job: id.clone(),
            kind: job.spec.kind(),
            state: job.state,
            verdict,
            error: job.error().cloned(),
            summary: job.summary.clone().map(Box::new),
        }));
    }
}
