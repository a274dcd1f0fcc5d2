//! A target as a dry run uses it: nothing is made, and nothing but a lock is written.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use backup_engine::lock::{Lock, LockOptions};
use backup_engine::storage::{DryLocks, MemoryStorage};
use backup_engine::{Class, Gate, Repository};

use super::open::nearest_existing;
use super::view::free_bytes;
use super::{Place, TargetError, Targets};
use crate::job::Job;
use crate::store::kept_free;

/// A target that is looked at by a dry run.
pub struct DryTarget {
    /// Where it is.
    pub place: Place,
    /// The lock of its repository, in which nothing is stored.
    pub lock: Arc<Lock>,
    /// Whether the repository is there; if not, it is an empty one in memory.
    pub exists: bool,
    /// What is worth knowing about how it is looked at, as a sentence.
    pub notice: Option<String>,
}

/// The room that a target has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Bytes that are free there for this user; `None` when nobody knows.
    pub free: Option<u64>,
    /// Of these, bytes that the daemon wants to stay free: no job runs when the disk that holds its state has less.
    pub kept: u64,
}

impl Targets {
    /// Opens a target for a dry run, and takes a lock. One that is not made yet is taken for an empty one with the usual
    /// settings, and stays not made.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub fn open_dry(&self, name: &str, job: &Job, gate: &Gate) -> Result<DryTarget, TargetError> {
        match self.open_existing(name) {
            Ok((place, repository)) => self.lock_dry(place, &self.for_job(&repository, name, job, gate)),
            Err(TargetError::NotMade { .. }) => self.imagine(self.place(name)?),
            Err(error) => Err(error),
        }
    }

    /// Returns how much room a target has.
    #[must_use]
    pub fn room(&self, place: &Place) -> Room {
        let device = |path: &Path| std::fs::metadata(path).ok().map(|found| found.dev());
        let is_with_state = device(nearest_existing(&place.folder)) == device(self.state());
        let kept = if is_with_state { kept_free(self.state()) } else { 0 };
        Room { free: free_bytes(&place.folder), kept }
    }

    /// Takes a lock where that can be written. A target that is full is just what a dry run is wanted for.
    fn lock_dry(&self, place: Place, repository: &Repository) -> Result<DryTarget, TargetError> {
        let shown = repository.for_dry_run(DryLocks::Shown);
        let (lock, notice) = match self.lock(&shown, &place.folder, false) {
            Ok(lock) => (lock, None),
            Err(error) if matches!(error.class(), Class::Permission | Class::Full | Class::Quota) => {
                let lock = self.lock_unseen(&place, &repository.for_dry_run(DryLocks::Hidden))?;
                (lock, Some(format!("The repository is read without a lock: {error}.")))
            }
            Err(error) => return Err(TargetError::engine(&place.name)(error)),
        };
        Ok(DryTarget { place, lock, exists: true, notice })
    }

    fn imagine(&self, place: Place) -> Result<DryTarget, TargetError> {
        let storage = Arc::new(MemoryStorage::new());
        // Whoever could guess this password would have to read the daemon's memory.
        let made = Repository::create(storage, b"", &self.create_options(None));
        let repository = made.map_err(TargetError::engine(&place.name))?.for_dry_run(DryLocks::Hidden);
        let lock = self.lock_unseen(&place, &repository)?;
        let (name, folder) = (&place.name, place.folder.display());
        let how = if place.is_default {
            "the first backup makes it".to_owned()
        } else {
            format!("`backupctl target init {name}` makes it")
        };
        let notice =
            format!("The target `{name}` has no repository at {folder} yet; {how}. It was taken for an empty one.");
        Ok(DryTarget { place, lock, exists: false, notice: Some(notice) })
    }

    /// Takes a lock that is in memory only, so that there is nothing to remove after a crash. It is refreshed all the same.
    fn lock_unseen(&self, place: &Place, repository: &Arc<Repository>) -> Result<Arc<Lock>, TargetError> {
        let options = LockOptions { record: Arc::new(|_| Ok(())), ..self.lock_options(&place.folder, false) };
        let lock = Arc::new(Lock::acquire(repository, options).map_err(TargetError::engine(&place.name))?);
        self.locks.hold(&lock);
        Ok(lock)
    }
}
