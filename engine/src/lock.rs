//! Locks, by restic's protocol: a file that says who works on the repository, refreshed while they do.
//!
//! A shared lock excludes exclusive ones, an exclusive lock all others. A lock is written first and the others are
//! looked at once more after that, so that of two who start at the same time at most one goes on.
//!
//! What a run looked up is only good while its lock was held without a gap, see [`Lock::confirm`].

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::id::LockId;
use crate::limits::{LOCK_STALE_SECONDS, LOCK_TRUST_SECONDS};
use crate::now::{Now, NowFn};
use crate::repository::Repository;
use crate::storage::{FileKind, FileName};

/// How long to wait between writing a lock and looking for others where these are not seen at once: restic's.
const WAIT_BEFORE_CHECK: Duration = Duration::from_millis(200);

/// The contents of a lock file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockFile {
    /// When it was written or refreshed.
    pub time: Timestamp,
    /// Whether it excludes all others.
    pub exclusive: bool,
    /// The machine.
    #[serde(default)]
    pub hostname: String,
    /// Who holds it.
    #[serde(default)]
    pub username: String,
    /// The process that holds it.
    #[serde(default)]
    pub pid: i32,
    /// Its user.
    #[serde(default)]
    pub uid: u32,
    /// Its group.
    #[serde(default)]
    pub gid: u32,
}

/// What happens to lock files of ours, for a record that outlives the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockEvent {
    /// A lock file of this id is about to be written.
    Writing(LockId),
    /// The lock file of this id is gone.
    Removed(LockId),
}

/// Keeps a durable record of our lock files.
pub type LockRecord = Arc<dyn Fn(LockEvent) -> Result<()> + Send + Sync>;

/// What a lock is to say and how it is kept.
#[derive(Clone)]
pub struct LockOptions {
    /// Whether it excludes all others.
    pub exclusive: bool,
    /// The machine. Not its plain name if restic on the same machine is to judge the lock by its age alone.
    pub hostname: String,
    /// Who holds it.
    pub username: String,
    /// The process that holds it.
    pub pid: i32,
    /// Its user.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// The machine's plain name, by which locks of processes on this machine are known.
    pub this_host: String,
    /// The time.
    pub now: NowFn,
    /// Called before a lock file is written and after one is removed.
    pub record: LockRecord,
}

/// A lock that is held. Dropping it removes its file.
pub struct Lock {
    repository: Arc<Repository>,
    options: LockOptions,
    state: Mutex<State>,
}

struct State {
    id: LockId,
    /// Time since start-up at the last refresh.
    refreshed: Duration,
    lost: Option<String>,
}

impl Lock {
    /// Takes a lock. Locks that were left behind are removed if they are in the way.
    ///
    /// # Errors
    /// [`Error::Locked`] names who holds one that is in the way, [`Error::UnreadableLock`] a lock file that says nothing.
    pub fn acquire(repository: &Arc<Repository>, options: LockOptions) -> Result<Self> {
        check_others(repository, &options, None)?;
        let refreshed = (options.now)().boot;
        let id = write_lock(repository, &options)?;
        let state = Mutex::new(State { id, refreshed, lost: None });
        let lock = Self { repository: repository.clone(), options, state };
        // Of two that write and then look, one at least sees the other, if what is written is seen at once.
        if !repository.storage().shows_at_once() {
            std::thread::sleep(WAIT_BEFORE_CHECK);
        }
        // On an error the lock is dropped, which removes its file.
        check_others(repository, &lock.options, Some(id))?;
        Ok(lock)
    }

    /// Writes the lock anew with the present time. To be called every
    /// [`LOCK_REFRESH_SECONDS`](crate::limits::LOCK_REFRESH_SECONDS) while it is held, also during a pause.
    ///
    /// # Errors
    /// [`Error::LockLost`] if it was removed or is too old; it is then never valid again.
    pub fn refresh(&self) -> Result<()> {
        let mut state = self.state();
        self.confirm_state(&mut state)?;
        let refreshed = (self.options.now)().boot;
        let old = std::mem::replace(&mut state.id, write_lock(&self.repository, &self.options)?);
        state.refreshed = refreshed;
        remove_lock(&self.repository, &old)?;
        (self.options.record)(LockEvent::Removed(old))
    }

    /// Confirms that the lock was held without a gap since it was taken: it is young enough and still there.
    ///
    /// # Errors
    /// [`Error::LockLost`]; the run must begin anew with another lock.
    pub fn confirm(&self) -> Result<()> {
        self.confirm_state(&mut self.state())
    }

    /// Returns the time, as whoever took the lock tells it.
    #[must_use]
    pub fn now(&self) -> Now {
        (self.options.now)()
    }

    /// Returns the repository that is locked.
    #[must_use]
    pub fn repository(&self) -> &Arc<Repository> {
        &self.repository
    }

    fn confirm_state(&self, state: &mut State) -> Result<()> {
        if state.lost.is_none() {
            let age = (self.options.now)().boot.saturating_sub(state.refreshed);
            let name = FileName::new(FileKind::Lock, state.id.0);
            if age > Duration::from_secs(LOCK_TRUST_SECONDS) {
                state.lost = Some(format!("it was not refreshed for {} minutes", age.as_secs() / 60));
            } else if let Err(Error::NotFound { .. }) = self.repository.storage().read(&name) {
                state.lost = Some("another program removed it".to_owned());
            }
        }
        match &state.lost {
            Some(problem) => Err(Error::LockLost { problem: problem.clone() }),
            None => Ok(()),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each field is set by one assignment: a panic elsewhere cannot leave the state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let id = self.state().id;
        // A file that cannot be removed now stays on record, and is removed at the next start or found to be stale.
        if remove_lock(&self.repository, &id).is_ok() {
            let _ = (self.options.record)(LockEvent::Removed(id));
        }
    }
}

/// Removes a lock file; an absent one is fine.
///
/// # Errors
/// The storage's own.
pub fn remove_lock(repository: &Repository, id: &LockId) -> Result<()> {
    repository.storage().remove(&FileName::new(FileKind::Lock, id.0))
}

fn write_lock(repository: &Repository, options: &LockOptions) -> Result<LockId> {
    let file = LockFile {
        time: (options.now)().wall,
        exclusive: options.exclusive,
        hostname: options.hostname.clone(),
        username: options.username.clone(),
        pid: options.pid,
        uid: options.uid,
        gid: options.gid,
    };
    let sealed = repository.seal_file(&file)?;
    let id = LockId::of(&sealed);
    (options.record)(LockEvent::Writing(id))?;
    repository.write_file(FileKind::Lock, &sealed)?;
    Ok(id)
}

/// Looks for locks that are in the way of the wanted one, and removes those that were left behind.
fn check_others(repository: &Repository, options: &LockOptions, own: Option<LockId>) -> Result<()> {
    for (name, length) in repository.storage().list(FileKind::Lock)? {
        // An empty file is what a full disk leaves of a lock that was never taken; restic passes it over as well.
        if length == 0 || own.is_some_and(|own| own.0 == name.id) {
            continue;
        }
        let lock: LockFile = match repository.read_json(&name) {
            Ok(lock) => lock,
            // Its holder has just removed it.
            Err(Error::NotFound { .. }) => continue,
            Err(error @ Error::Damaged { .. }) => {
                return Err(Error::UnreadableLock { problem: error.to_string() });
            }
            Err(error) => return Err(error),
        };
        if !lock.exclusive && !options.exclusive {
            continue;
        }
        if is_stale(&lock, options) {
            repository.storage().remove(&name)?;
        } else {
            return Err(Error::Locked { holder: describe(&lock) });
        }
    }
    Ok(())
}

/// Returns the locks that were left behind; whoever takes an exclusive lock removes them.
///
/// # Errors
/// The storage's own, when listing.
pub fn left_behind(repository: &Repository, options: &LockOptions) -> Result<Vec<LockId>> {
    let mut found = Vec::new();
    for (name, _) in repository.storage().list(FileKind::Lock)? {
        // One that cannot be read may be anybody's.
        if repository.read_json(&name).is_ok_and(|lock: LockFile| is_stale(&lock, options)) {
            found.push(LockId(name.id));
        }
    }
    Ok(found)
}

/// A lock was left behind if it is too old, or if its process is on this machine and gone.
fn is_stale(lock: &LockFile, options: &LockOptions) -> bool {
    let age = (options.now)().wall.duration_since(lock.time);
    age.as_secs() > LOCK_STALE_SECONDS || (lock.hostname == options.this_host && !is_alive(lock.pid))
}

/// Asks by signal 0; a process that we may not signal is alive.
fn is_alive(pid: i32) -> bool {
    let Some(pid) = rustix::process::Pid::from_raw(pid) else { return true };
    !matches!(rustix::process::test_kill_process(pid), Err(rustix::io::Errno::SRCH))
}

fn describe(lock: &LockFile) -> String {
    let kind = if lock.exclusive { "exclusively " } else { "" };
    let LockFile { username, hostname, pid, time, .. } = lock;
    format!("{username} on {hostname} (process {pid}), {kind}since {time:.0}")
}
