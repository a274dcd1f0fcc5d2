//! The daemon's locks in repositories: on record before they are written, refreshed while held, removed after a crash.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use backup_engine::id::LockId;
use backup_engine::lock::{Lock, LockEvent};
use backup_engine::storage::{FileKind, FileName, LocalStorage, Storage};
use backup_engine::{Error as EngineError, Repository};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::store::files::write_whole;
use crate::store::mend;
use crate::wire;

/// A lock file of ours, in the repository in this folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    folder: PathBuf,
    lock: LockId,
}

/// The record of our lock files, and the locks that are held.
#[derive(Debug)]
pub(super) struct Locks {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Files that this process has written, or is about to.
    own: Vec<Entry>,
    /// Files left behind: by an earlier process, or on a drive that was not there when they were to be removed.
    left_behind: Vec<Entry>,
    held: Vec<Weak<Lock>>,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("own", &self.own).field("left_behind", &self.left_behind).finish_non_exhaustive()
    }
}

impl Locks {
    /// Reads the record in this state folder. Everything in it was left behind by an earlier process.
    pub(super) fn open(state: &Path) -> Result<Self> {
        let path = state.join(mend::LOCKS);
        let left_behind = match fs::read(&path) {
            // A record that is no JSON is of no use; the locks it named grow stale by themselves.
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(Error::io("read", &path)(error)),
        };
        Ok(Self { path, state: Mutex::new(State { left_behind, ..State::default() }) })
    }

    /// Records what happens to a lock file in a folder; durable when it returns.
    pub(super) fn record(&self, folder: &Path, event: LockEvent) -> backup_engine::Result<()> {
        let mut state = self.lock();
        match event {
            LockEvent::Writing(lock) => state.own.push(Entry { folder: folder.to_path_buf(), lock }),
            LockEvent::Removed(lock) => {
                state.own.retain(|entry| entry.lock != lock);
                // On a drive that was pulled out nothing was removed: the file is back when the drive is.
                if !is_there(folder) {
                    state.left_behind.push(Entry { folder: folder.to_path_buf(), lock });
                }
            }
        }
        self.save(&state).map_err(wire::engine_error)
    }

    /// Removes the lock files that were left behind in repositories that can be reached now. Those in others
    /// stay on record.
    pub(super) fn remove_left_behind(&self) -> Result<()> {
        let mut state = self.lock();
        let before = state.left_behind.len();
        state.left_behind.retain(|entry| {
            let storage = LocalStorage::new(&entry.folder);
            !is_there(&entry.folder) || storage.remove(&FileName::new(FileKind::Lock, entry.lock.0)).is_err()
        });
        if state.left_behind.len() == before { Ok(()) } else { self.save(&state) }
    }

    /// Remembers a lock that is held, to be refreshed until it is dropped.
    pub(super) fn hold(&self, lock: &Arc<Lock>) {
        self.lock().held.push(Arc::downgrade(lock));
    }

    /// Refreshes every lock that is held. One that is lost says so itself to the run that relies on it.
    pub(super) fn refresh(&self) -> Vec<EngineError> {
        let held: Vec<Arc<Lock>> = {
            let mut state = self.lock();
            state.held.retain(|lock| lock.strong_count() > 0);
            state.held.iter().filter_map(Weak::upgrade).collect()
        };
        held.into_iter().filter_map(|lock| lock.refresh().err()).collect()
    }

    fn save(&self, state: &State) -> Result<()> {
        let entries: Vec<&Entry> = state.own.iter().chain(&state.left_behind).collect();
        let json = serde_json::to_vec(&entries)
            .map_err(|error| Error::io("write", &self.path)(std::io::Error::other(error.to_string())))?;
        write_whole(&self.path, &json)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Each change is one push or retain: a panic elsewhere leaves a list that is still true.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Says whether the repository can be reached. A drive that is not connected has no lock file either, and will have
/// it again when it is back.
fn is_there(folder: &Path) -> bool {
    Repository::exists(&LocalStorage::new(folder)).unwrap_or(false)
}
