//! A storage whose bytes pass at a pace that somebody else sets: how long to wait is asked for, waiting is done here.

use std::sync::Arc;
use std::time::Duration;

use super::{Body, FileKind, FileName, Storage};
use crate::control::{Gate, GateState};
use crate::error::{Error, Result};
use crate::limits::FILE_MAX;

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Way {
    /// To the storage.
    Up,
    /// From the storage.
    Down,
}

/// Says when bytes may pass. Any number of threads ask at once.
pub trait Pace: Send + Sync {
    /// Returns how many bytes should be asked for at once, or `None` when nothing is held back now.
    fn step(&self, way: Way) -> Option<usize>;

    /// Lets some bytes pass and counts them.
    ///
    /// # Errors
    /// They may not pass yet: how long to wait before asking again, which may be earlier than they pass.
    fn take(&self, way: Way, bytes: usize) -> std::result::Result<(), Duration>;

    /// Counts bytes that pass whatever is said; those behind them wait for longer.
    fn charge(&self, way: Way, bytes: usize);

    /// Is told of every error of the storage, whatever becomes of it: a file that is not there is none.
    fn failed(&self, _error: &Error) {}
}

/// What a transfer does while its gate is paused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtPause {
    /// It stands still, in the middle of a pack.
    Wait,
    /// It goes on at its pace: it may hold an exclusive lock, and whoever holds that ends at a pause.
    GoOn,
}

/// How long what has to be finished after the sign to end waits for each step at most: a pack is written out within some
/// 4 s, however slow its pace. A backup may have three of them in memory, and whoever stops a daemon does not wait for long.
const FINISH_WAIT: Duration = Duration::from_millis(4);

/// A wrapper of a storage that lets bytes pass at a [`Pace`].
///
/// Lists and removals are not held back, and neither are keys, locks and the config, which are small: a lock that is
/// not refreshed in time is lost.
pub(crate) struct PacedStorage {
    inner: Arc<dyn Storage>,
    pace: Arc<dyn Pace>,
    gate: Gate,
    at_pause: AtPause,
}

impl PacedStorage {
    pub(crate) fn new(inner: Arc<dyn Storage>, pace: Arc<dyn Pace>, gate: Gate, at_pause: AtPause) -> Self {
        Self { inner, pace, gate, at_pause }
    }

    /// Returns whether a file of this kind is held back.
    fn holds(kind: FileKind) -> bool {
        matches!(kind, FileKind::Pack | FileKind::Index | FileKind::Snapshot)
    }

    /// Lets the pace know of an error.
    fn heard<T>(&self, result: Result<T>) -> Result<T> {
        result.inspect_err(|error| self.pace.failed(error))
    }

    /// Returns whether a file of this kind stands still at a pause.
    fn stands(&self, kind: FileKind) -> bool {
        kind == FileKind::Pack && self.at_pause == AtPause::Wait
    }

    /// Waits until some bytes may pass. The sign to end is no error here: what was begun is finished, and soon.
    fn pass(&self, kind: FileKind, way: Way, bytes: usize) {
        loop {
            if self.stands(kind) {
                self.gate.wait_while_paused();
            }
            let Err(wait) = self.pace.take(way, bytes) else { return };
            match self.gate.state() {
                GateState::Pause if self.stands(kind) => {}
                // The gate ends the wait when it says something else.
                seen @ (GateState::Run | GateState::Pause) => self.gate.rest(seen, wait),
                seen @ (GateState::Suspend | GateState::Cancel) => {
                    self.gate.rest(seen, wait.min(FINISH_WAIT));
                    return self.pace.charge(way, bytes);
                }
            }
        }
    }

    /// Reads some bytes step by step; the buffer has them behind what is there already.
    fn read_steps(&self, name: &FileName, offset: u64, length: usize, buffer: &mut Vec<u8>) -> Result<()> {
        let (mut done, mut part) = (0, Vec::new());
        while done < length {
            // The pace may have changed since the last step; without any, the rest comes at once.
            let left = length - done;
            let step = self.pace.step(Way::Down).map_or(left, |step| step.clamp(1, left));
            self.pass(name.kind, Way::Down, step);
            self.heard(self.inner.read_range_into(name, offset + done as u64, step, &mut part))?;
            buffer.extend_from_slice(&part);
            done += step;
        }
        Ok(())
    }
}

impl Storage for PacedStorage {
    fn location(&self) -> String {
        self.inner.location()
    }

    fn shows_at_once(&self) -> bool {
        self.inner.shows_at_once()
    }

    fn create(&self) -> Result<()> {
        self.heard(self.inner.create())
    }

    fn list(&self, kind: FileKind) -> Result<Vec<(FileName, u64)>> {
        self.heard(self.inner.list(kind))
    }

    fn length(&self, name: &FileName) -> Result<u64> {
        self.heard(self.inner.length(name))
    }

    fn read(&self, name: &FileName) -> Result<Vec<u8>> {
        if !Self::holds(name.kind) || self.pace.step(Way::Down).is_none() {
            let bytes = self.heard(self.inner.read(name))?;
            self.pace.charge(Way::Down, bytes.len());
            return Ok(bytes);
        }
        let length = self.length(name)?;
        match usize::try_from(length) {
            Ok(length) if length <= FILE_MAX || name.kind == FileKind::Pack => {
                let mut bytes = Vec::new();
                self.read_steps(name, 0, length, &mut bytes)?;
                Ok(bytes)
            }
            // It says itself that this is too long.
            _ => self.inner.read(name),
        }
    }

    fn read_range(&self, name: &FileName, offset: u64, length: usize) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.read_range_into(name, offset, length, &mut bytes)?;
        Ok(bytes)
    }

    fn read_range_into(&self, name: &FileName, offset: u64, length: usize, buffer: &mut Vec<u8>) -> Result<()> {
        if self.pace.step(Way::Down).is_none() {
            self.pace.charge(Way::Down, length);
            return self.heard(self.inner.read_range_into(name, offset, length, buffer));
        }
        buffer.clear();
        self.read_steps(name, offset, length, buffer)
    }

    fn write(&self, name: &FileName, body: &mut dyn Body) -> Result<()> {
        if Self::holds(name.kind) {
            return self.heard(self.inner.write(name, &mut PacedBody { storage: self, kind: name.kind, body }));
        }
        self.pace.charge(Way::Up, usize::try_from(body.length()).unwrap_or(usize::MAX));
        self.heard(self.inner.write(name, body))
    }

    fn remove(&self, name: &FileName) -> Result<()> {
        self.heard(self.inner.remove(name))
    }

    fn remove_temporary(&self, before: jiff::Timestamp) -> Result<(u64, u64)> {
        self.heard(self.inner.remove_temporary(before))
    }
}

/// The contents of a file on their way up.
struct PacedBody<'a> {
    storage: &'a PacedStorage,
    kind: FileKind,
    body: &'a mut dyn Body,
}

impl Body for PacedBody<'_> {
    fn length(&self) -> u64 {
        self.body.length()
    }

    fn next_slice(&mut self) -> Result<Option<&[u8]>> {
        let slice = self.body.next_slice()?;
        if let Some(slice) = slice {
            self.storage.pass(self.kind, Way::Up, slice.len());
        }
        Ok(slice)
    }
}

#[cfg(test)]
mod tests;
