//! The targets: which there are, what opens them, which repository each one is, and our locks in them.
//!
//! The rule that everything here serves: a repository that the daemon has known is never made anew. What is not
//! there is absent. Only the default target is made by itself, and only when no trace of an earlier one is on record.

mod dry;
mod error;
mod faults;
mod keys;
mod known;
mod locks;
mod open;
mod password;
mod view;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use backup_engine::config::Config;
use backup_engine::lock::{self, Lock, LockOptions};
use backup_engine::now::{Now, NowFn};
use backup_engine::repository::CreateOptions;
use backup_engine::storage::{AtPause, LocalStorage, StepHook};
use backup_engine::{Error as EngineError, Gate, Repository};
use backup_proto::job::{JobId, JobKind};
use backup_proto::target::TargetState;

pub use dry::{DryTarget, Room};
pub use error::TargetError;

use crate::breaker::Breaker;
use crate::clock::Clock;
use crate::config::{ConfigFile, DEFAULT_TARGET, PasswordSource, did_you_mean};
use crate::error::Result;
use crate::identity::Identity;
use crate::job::Job;
use crate::limits::Limits;
use faults::{Faults, Watched};
use known::KnownTargets;
use locks::Locks;
use open::OpenTarget;

/// What the targets need of the rest of the daemon.
pub struct TargetsOptions {
    /// The daemon's state folder; it is there.
    pub state: PathBuf,
    /// The daemon's socket.
    pub socket: PathBuf,
    /// Where the default target is.
    pub default_folder: PathBuf,
    /// The config.
    pub config: Arc<ConfigFile>,
    /// Who the daemon is.
    pub identity: Identity,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Is asked before each step of a change in a repository; for tests that stop one.
    pub hook: Option<StepHook>,
}

/// The breakers by target; one that never failed is not among them.
pub type Breakers = BTreeMap<String, Breaker>;

/// All targets of the daemon.
pub struct Targets {
    options: TargetsOptions,
    limits: Arc<Limits>,
    faults: Arc<Faults>,
    breakers: Mutex<Arc<Breakers>>,
    known: KnownTargets,
    locks: Arc<Locks>,
    open: Mutex<HashMap<String, OpenTarget>>,
    looks: Mutex<HashMap<String, Look>>,
}

/// Where a target is and what opens it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its name.
    pub name: String,
    /// Where it is, as the user wrote it.
    pub url: String,
    /// The folder.
    pub folder: PathBuf,
    password: PasswordSource,
    /// Whether it is the one that is made by itself.
    is_default: bool,
}

/// How a target was found when it was last used.
#[derive(Clone, Debug)]
struct Look {
    state: TargetState,
    notice: Option<String>,
    free_bytes: Option<u64>,
}

impl Targets {
    /// Reads what is on record, and removes the locks that an earlier process left behind where it can.
    ///
    /// # Errors
    /// The state folder cannot be read or written.
    pub fn open(options: TargetsOptions) -> Result<Self> {
        let known = KnownTargets::open(&options.state)?;
        let locks = Arc::new(Locks::open(&options.state)?);
        match locks.remove_left_behind() {
            // The locks stay on record, and are looked for again when their target is used.
            Err(error) if error.is_full() => tracing::warn!(%error, "locks that were left behind stay on record"),
            done => done?,
        }
        let limits = Arc::new(Limits::new(Arc::clone(&options.clock)));
        let (faults, breakers) = (Arc::default(), Mutex::default());
        Ok(Self { options, limits, faults, breakers, known, locks, open: Mutex::default(), looks: Mutex::default() })
    }

    /// Returns every target there is, the default one first.
    #[must_use]
    pub fn places(&self) -> Vec<Place> {
        let config = self.options.config.last_good();
        let mut places = BTreeMap::new();
        for (name, target) in &config.targets {
            let place = Place {
                name: name.clone(),
                url: target.url.clone(),
                folder: target.folder.clone(),
                password: target.password.clone(),
                is_default: false,
            };
            places.insert(name.as_str(), place);
        }
        let default = places.remove(DEFAULT_TARGET).unwrap_or_else(|| self.default_place());
        std::iter::once(default).chain(places.into_values()).collect()
    }

    /// Finds a target by name.
    ///
    /// # Errors
    /// [`TargetError::Unknown`] with the nearest name.
    pub fn place(&self, name: &str) -> Result<Place, TargetError> {
        let places = self.places();
        let advice = did_you_mean(name, places.iter().map(|place| place.name.as_str()));
        let found = places.into_iter().find(|place| place.name == name);
        found.ok_or_else(|| TargetError::Unknown { name: name.to_owned(), advice })
    }

    fn default_place(&self) -> Place {
        let folder = self.options.default_folder.clone();
        Place {
            name: DEFAULT_TARGET.to_owned(),
            url: folder.to_string_lossy().into_owned(),
            folder,
            password: PasswordSource::File(self.options.state.join("keys").join("local.password")),
            is_default: true,
        }
    }

    fn storage(&self, place: &Place) -> LocalStorage {
        match &self.options.hook {
            Some(hook) => LocalStorage::with_hook(&place.folder, Arc::clone(hook)),
            None => LocalStorage::new(&place.folder),
        }
    }

    /// Takes a lock on an open repository. It is refreshed with the others until it is dropped.
    ///
    /// # Errors
    /// [`EngineError::Locked`] names who holds one that is in the way.
    pub fn lock(&self, repository: &Arc<Repository>, folder: &Path, exclusive: bool) -> Result<Arc<Lock>, EngineError> {
        let lock = Arc::new(Lock::acquire(repository, self.lock_options(folder, exclusive))?);
        self.locks.hold(&lock);
        Ok(lock)
    }

    /// Returns how many locks programs have left behind in an open repository; the next exclusive lock removes them.
    ///
    /// # Errors
    /// The storage's own.
    pub fn locks_left_behind(&self, repository: &Repository, folder: &Path) -> Result<u64, EngineError> {
        lock::left_behind(repository, &self.lock_options(folder, true)).map(|locks| locks.len() as u64)
    }

    fn lock_options(&self, folder: &Path, exclusive: bool) -> LockOptions {
        let Identity { hostname, username, uid, gid, pid } = self.options.identity.clone();
        let (locks, folder) = (Arc::clone(&self.locks), folder.to_path_buf());
        LockOptions {
            exclusive,
            hostname: self.options.identity.lock_hostname(),
            username,
            pid,
            uid,
            gid,
            this_host: hostname,
            now: self.now_fn(),
            record: Arc::new(move |event| locks.record(&folder, event)),
        }
    }

    /// Refreshes every lock that is held; to be called every five minutes, also while jobs are paused. It blocks as
    /// long as the storages do.
    ///
    /// Returns what went wrong, for the log: a run whose lock is lost finds out by itself.
    #[must_use]
    pub fn refresh_locks(&self) -> Vec<EngineError> {
        self.locks.refresh()
    }

    /// Returns the paths of the daemon's own things, which no backup may hold: its state with its keys, its
    /// socket with its lock, and every local target. Not the folder of the socket: that may be anybody's.
    #[must_use]
    pub fn never(&self) -> Vec<PathBuf> {
        let targets = self.places().into_iter().map(|place| place.folder);
        let TargetsOptions { state, socket, .. } = &self.options;
        [state.clone(), socket.clone(), socket.with_added_extension("lock")].into_iter().chain(targets).collect()
    }

    /// Returns the config that says which targets there are.
    #[must_use]
    pub fn config(&self) -> &ConfigFile {
        &self.options.config
    }

    /// Returns how fast bytes may go.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Returns a target's repository for a job: with an index of its own, at the pace that is the job's, and steered by
    /// its gate.
    #[must_use]
    pub fn for_job(&self, repository: &Repository, target: &str, job: &Job, gate: &Gate) -> Arc<Repository> {
        // What holds an exclusive lock ends at a pause, as soon as it looks at the gate.
        let at_pause = match job.spec.kind() {
            JobKind::Forget | JobKind::Prune | JobKind::Repair => AtPause::GoOn,
            _ => AtPause::Wait,
        };
        let (pace, faults) = (self.limits.pace(target, Some(&job.id)), Arc::clone(&self.faults));
        let pace = Watched { pace, faults, job: job.id.clone(), target: target.to_owned() };
        repository.paced(Arc::new(pace), gate, at_pause)
    }

    /// Returns the target that has failed a job in a way that may go away, and forgets it.
    #[must_use]
    pub fn take_fault(&self, job: &JobId) -> Option<String> {
        self.faults.take(job)
    }

    /// Takes note of the breakers as they are now, for whoever looks at targets.
    pub fn set_breakers(&self, breakers: &Arc<Breakers>) {
        // It is replaced whole: a panic elsewhere leaves nothing half changed.
        *self.breakers.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(breakers);
    }

    /// Returns the daemon's state folder.
    #[must_use]
    pub fn state(&self) -> &Path {
        &self.options.state
    }

    /// Returns who the daemon is.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.options.identity
    }

    /// Returns the clock in the engine's form.
    #[must_use]
    pub fn now_fn(&self) -> NowFn {
        let clock = Arc::clone(&self.options.clock);
        Arc::new(move || {
            let now = clock.now();
            Now { wall: now.wall, boot: now.boot }
        })
    }

    fn create_options(&self, cut_like: Option<Config>) -> CreateOptions {
        CreateOptions {
            version: 2,
            hostname: self.options.identity.hostname.clone(),
            username: self.options.identity.username.clone(),
            now: self.options.clock.now().wall,
            cut_like,
        }
    }

    fn opened(&self) -> MutexGuard<'_, HashMap<String, OpenTarget>> {
        // Entries are inserted and removed whole: a panic elsewhere leaves nothing half changed.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
