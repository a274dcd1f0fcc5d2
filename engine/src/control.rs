//! The one handle by which a running operation is steered from outside: run, pause, suspend, cancel.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::error::{Error, Result};
use crate::memory::Memory;

/// What a [`Gate`] tells the threads that pass it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GateState {
    /// Go on.
    Run,
    /// Wait at the gate until something else is said.
    Pause,
    /// Write down what was reached, give up the lock and end with [`Error::Suspended`].
    Suspend,
    /// Stop for good with [`Error::Cancelled`].
    Cancel,
}

/// A gate that every thread of an operation passes before each read of at most
/// [`READ_STEP`](crate::limits::READ_STEP) and each step of a transfer. It also says how much memory they may take.
///
/// Clones are the same gate.
#[derive(Clone, Debug, Default)]
pub struct Gate {
    inner: Arc<Inner>,
    memory: Memory,
}

#[derive(Debug, Default)]
struct Inner {
    /// Whether threads have to look at the state: a gate that stands open is passed without the lock.
    closed: AtomicBool,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    state: GateState,
    waiting: usize,
}

impl Default for State {
    fn default() -> Self {
        Self { state: GateState::Run, waiting: 0 }
    }
}

impl Gate {
    /// Makes a gate that stands open, for an operation beside which there is no other.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes a gate that stands open, for one of the jobs that share a budget of memory.
    #[must_use]
    pub fn of_job(memory: Memory) -> Self {
        Self { memory, ..Self::default() }
    }

    /// Returns where the operation's threads take the memory for their large buffers.
    pub(crate) fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Returns what the gate says now.
    #[must_use]
    pub fn state(&self) -> GateState {
        self.lock().state
    }

    /// Lets threads wait at their next step.
    pub fn pause(&self) {
        self.set(GateState::Pause);
    }

    /// Lets waiting threads go on.
    pub fn resume(&self) {
        self.set(GateState::Run);
    }

    /// Ends the operation at its next step so that it can be started again later.
    pub fn suspend(&self) {
        self.set(GateState::Suspend);
    }

    /// Ends the operation at its next step; nothing said later changes that.
    pub fn cancel(&self) {
        self.set(GateState::Cancel);
    }

    /// Passes the gate: returns at once when it is open, waits while it is paused.
    ///
    /// # Errors
    /// [`Error::Cancelled`] or [`Error::Suspended`] when the operation is to end.
    pub fn check(&self) -> Result<()> {
        if !self.inner.closed.load(Ordering::Acquire) {
            return Ok(());
        }
        let mut state = self.lock();
        loop {
            match state.state {
                GateState::Run => return Ok(()),
                GateState::Cancel => return Err(Error::Cancelled),
                GateState::Suspend => return Err(Error::Suspended),
                GateState::Pause => {
                    state.waiting += 1;
                    state = self.inner.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                    state.waiting -= 1;
                }
            }
        }
    }

    /// Passes the gate with an exclusive lock, which keeps everybody out: a pause ends the run instead of holding it.
    ///
    /// # Errors
    /// [`Error::Cancelled`]; [`Error::Suspended`] for whatever else is not to run.
    pub fn check_exclusive(&self) -> Result<()> {
        match self.state() {
            GateState::Run => Ok(()),
            GateState::Cancel => Err(Error::Cancelled),
            GateState::Pause | GateState::Suspend => Err(Error::Suspended),
        }
    }

    /// Waits while the gate is paused, and goes on whatever it says then: for a step that must not be cut short.
    pub fn wait_while_paused(&self) {
        // The reason to end is found by the next caller of `check`.
        let _ = self.check();
    }

    /// Waits for some time, or less: no longer than the gate says what it said when it was `seen`.
    pub fn rest(&self, seen: GateState, time: Duration) {
        let state = self.lock();
        if state.state == seen {
            // Whoever rests has to look at what it waits for anyway, so being woken for nothing does no harm.
            drop(self.inner.changed.wait_timeout(state, time));
        }
    }

    /// Returns how many threads wait at the gate.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.lock().waiting
    }

    fn set(&self, wanted: GateState) {
        let mut state = self.lock();
        // A cancel is final, and an operation that was told to end has begun to: only a cancel overrides that.
        let allowed = match state.state {
            GateState::Run | GateState::Pause => true,
            GateState::Suspend => wanted == GateState::Cancel,
            GateState::Cancel => false,
        };
        if allowed {
            state.state = wanted;
            self.inner.closed.store(wanted != GateState::Run, Ordering::SeqCst);
            self.inner.changed.notify_all();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The guarded value is a plain enum and a counter: a panic elsewhere cannot leave it half changed.
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_gate_lets_pass_and_a_cancelled_one_never_again() {
        let gate = Gate::new();
        assert!(gate.check().is_ok());
        gate.cancel();
        gate.resume();
        assert!(matches!(gate.check(), Err(Error::Cancelled)));
    }

    #[test]
    fn a_paused_thread_goes_on_after_resume() {
        let gate = Gate::new();
        gate.pause();
        let other = gate.clone();
        let thread = std::thread::spawn(move || other.check());
        while gate.waiting() == 0 {
            std::thread::yield_now();
        }
        gate.resume();
        assert!(thread.join().expect("the thread does not panic").is_ok());
    }

    #[test]
    fn suspend_ends_a_paused_thread_and_only_cancel_overrides_it() {
        let gate = Gate::new();
        gate.pause();
        gate.suspend();
        gate.resume();
        assert!(matches!(gate.check(), Err(Error::Suspended)));
        gate.cancel();
        assert!(matches!(gate.check(), Err(Error::Cancelled)));
    }
}
