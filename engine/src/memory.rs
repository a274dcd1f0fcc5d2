//! The memory that jobs share: one budget of bytes for all that read, open, seal and write.
//!
//! ```text
//! Budget ◄── Memory, one a job ◄── Held, what one thread's buffers take
//! ```
//! Nobody waits for ever, whatever the jobs and threads are, because of two rules:
//!
//! - Who waits holds nothing. A thread that needs more than it has, and cannot have it at once, gives all of it back first;
//!   and a thread that waits for others of its job holds nothing that they could need, or took it before it began.
//! - A job gets what it asks for if it holds no more than [`JOB_MEMORY`] then, and if it holds nothing, however much that is.
//!   So a thread waits only while another one of its own job is at work, which gives back what it has. A job that stands at
//!   its gate, with all it holds, is in nobody's way.
//!
//! Hence all jobs together hold the budget at most, and [`JOB_MEMORY`] more for each that came when it was spent; or, where one
//! piece needs more than that, this piece, and a backup what it works with at least. Those who hold more than their share
//! give it back when a budget that is spent is asked for more: at their next piece.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::limits::{ALL_MEMORY, JOB_MEMORY};

/// What all jobs together may take, in bytes.
#[derive(Debug)]
pub struct Budget {
    state: Mutex<State>,
    given_back: Condvar,
}

#[derive(Debug)]
struct State {
    bytes: usize,
    /// What all jobs hold.
    taken: usize,
    /// What each job holds that holds anything, by its number.
    jobs: HashMap<u64, usize>,
    last_job: u64,
    /// How many threads wait.
    waiting: usize,
}

/// One job's way to the budget. Clones are the same job's.
#[derive(Clone, Debug)]
pub struct Memory {
    budget: Arc<Budget>,
    job: u64,
}

/// What somebody has taken; it goes back by being dropped.
#[derive(Debug)]
pub(crate) struct Held {
    memory: Memory,
    bytes: usize,
}

impl Budget {
    /// Makes a budget of so many bytes.
    #[must_use]
    pub fn new(bytes: usize) -> Arc<Self> {
        let state = State { bytes, taken: 0, jobs: HashMap::new(), last_job: 0, waiting: 0 };
        Arc::new(Self { state: Mutex::new(state), given_back: Condvar::new() })
    }

    /// Makes it larger or smaller. What jobs hold then, they keep until they give it back.
    pub fn set(&self, bytes: usize) {
        self.lock().bytes = bytes;
        self.given_back.notify_all();
    }

    /// Begins to count what one more job takes.
    #[must_use]
    pub fn job(self: &Arc<Self>) -> Memory {
        let mut state = self.lock();
        state.last_job += 1;
        Memory { budget: Arc::clone(self), job: state.last_job }
    }

    /// Returns what all jobs hold now, in bytes.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.lock().taken
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Numbers that are changed together, without anything between that could panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn own(&self, job: u64) -> usize {
        self.jobs.get(&job).copied().unwrap_or(0)
    }

    fn allows(&self, job: u64, bytes: usize) -> bool {
        let own = self.own(job);
        own == 0 || own.saturating_add(bytes) <= JOB_MEMORY || self.taken.saturating_add(bytes) <= self.bytes
    }

    fn take(&mut self, job: u64, bytes: usize) {
        self.taken += bytes;
        *self.jobs.entry(job).or_default() += bytes;
    }

    fn give_back(&mut self, job: u64, bytes: usize) {
        self.taken -= bytes;
        if let Some(own) = self.jobs.get_mut(&job) {
            *own -= bytes;
            if *own == 0 {
                self.jobs.remove(&job);
            }
        }
    }
}

impl Default for Memory {
    /// A job beside which there is no other.
    fn default() -> Self {
        Budget::new(ALL_MEMORY).job()
    }
}

impl Memory {
    /// Holds nothing yet.
    pub(crate) fn held(&self) -> Held {
        Held { memory: self.clone(), bytes: 0 }
    }

    /// Holds so many bytes; waits for them. The caller's thread must hold nothing.
    pub(crate) fn hold(&self, bytes: usize) -> Held {
        let mut held = self.held();
        held.need(bytes, || {});
        held
    }

    /// Takes once and for all what is left, but for the share of one more job: so much at most, and so much at least, whatever
    /// others hold.
    pub(crate) fn take_rest(&self, least: usize, most: usize) -> Held {
        let mut state = self.budget.lock();
        let left = state.bytes.saturating_sub(state.taken).saturating_sub(JOB_MEMORY);
        let bytes = left.min(most).max(least);
        state.take(self.job, bytes);
        Held { memory: self.clone(), bytes }
    }
}

impl Held {
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Sees to it that so many bytes are held. Whoever has to wait for them gives back first what they have, for which
    /// `forget` empties their buffers; so does, now and then, who has more than a job's share while others have too little.
    pub(crate) fn need(&mut self, bytes: usize, forget: impl FnOnce()) {
        let Memory { budget, job } = &self.memory;
        let mut state = budget.lock();
        let is_too_much = state.taken > state.bytes && state.own(*job) > JOB_MEMORY;
        if !is_too_much && bytes <= self.bytes {
            return;
        }
        let more = bytes.saturating_sub(self.bytes);
        let is_alone = state.own(*job) == self.bytes;
        if is_alone || (!is_too_much && state.allows(*job, more)) {
            state.take(*job, more);
            self.bytes += more;
            return;
        }
        drop(state);
        forget();
        let mut state = budget.lock();
        state.give_back(*job, std::mem::take(&mut self.bytes));
        budget.given_back.notify_all();
        while !state.allows(*job, bytes) {
            state.waiting += 1;
            state = budget.given_back.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.waiting -= 1;
        }
        state.take(*job, bytes);
        self.bytes = bytes;
    }

    /// Sees to it that so many bytes are held, if nobody has to wait for them.
    pub(crate) fn try_need(&mut self, bytes: usize) -> bool {
        let Memory { budget, job } = &self.memory;
        let mut state = budget.lock();
        let more = bytes.saturating_sub(self.bytes);
        let has_room = state.taken + more <= state.bytes || state.own(*job) + more <= JOB_MEMORY;
        if has_room {
            state.take(*job, more);
            self.bytes += more;
        }
        has_room
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.memory.budget.lock().give_back(self.memory.job, self.bytes);
            self.memory.budget.given_back.notify_all();
        }
    }
}

#[cfg(test)]
mod tests;
