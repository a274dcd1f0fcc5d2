//! Opening, making and taking over a target's repository.

use std::path::Path;
use std::sync::Arc;

use backup_engine::config::Config;
use backup_engine::id::sha256;
use backup_engine::storage::{AtPause, FileKind, FileName, LocalStorage, Storage};
use backup_engine::{Error as EngineError, Gate, Repository};

use super::{Place, TargetError, Targets, password};
use crate::config::PasswordSource;

/// A repository that is open, and what made it so: if any of that changes it is opened anew.
pub(super) struct OpenTarget {
    place: Place,
    password_hash: [u8; 32],
    config_hash: [u8; 32],
    repository: Arc<Repository>,
}

impl Targets {
    /// Opens a target, or returns it open if nothing about it has changed since. The default target is made on first
    /// use. The repository that a target is found to be for the first time is put on record.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub fn open_target(&self, name: &str) -> Result<(Place, Arc<Repository>), TargetError> {
        self.open_or_make(name, true)
    }

    /// Opens a target that has a repository: for looking at it, which makes none.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub fn open_existing(&self, name: &str) -> Result<(Place, Arc<Repository>), TargetError> {
        self.open_or_make(name, false)
    }

    fn open_or_make(&self, name: &str, may_make: bool) -> Result<(Place, Arc<Repository>), TargetError> {
        let place = self.place(name)?;
        let opened = self.open_place(&place, may_make);
        self.note_look(&place, opened.as_ref().err());
        Ok((place, opened?))
    }

    /// Makes the repository of a configured target; `like` names another target, whose rule for cutting files it takes
    /// over.
    ///
    /// # Errors
    /// [`TargetError::Exists`] if one is there, or was; why the other one cannot be used.
    pub fn init(&self, name: &str, like: Option<&str>) -> Result<Arc<Repository>, TargetError> {
        let place = self.place(name)?;
        let cut_like = like.map(|like| self.open_existing(like)).transpose()?;
        let repository = self.make(&place, cut_like.map(|(_, other)| other.config().clone()))?;
        self.note_look(&place, None);
        Ok(repository)
    }

    /// Takes over the repository that is at a target's place now, whichever one was there before.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub fn adopt(&self, name: &str) -> Result<Arc<Repository>, TargetError> {
        let place = self.place(name)?;
        let storage = self.storage(&place);
        let adopted = self.open_storage(&place, storage).and_then(|target| {
            let id = target.repository.id().to_string();
            self.known.update(name, |known| known.repository_id = id)?;
            let repository = Arc::clone(&target.repository);
            self.opened().insert(name.to_owned(), target);
            Ok(repository)
        });
        self.note_look(&place, adopted.as_ref().err());
        adopted
    }

    /// Returns that a target is absent, if its repository was there and is not: what went wrong there meanwhile follows
    /// from that, whatever the system called it.
    #[must_use]
    pub fn absence(&self, name: &str) -> Option<TargetError> {
        let place = self.place(name).ok()?;
        self.known_id(&place)?;
        let is_gone = Repository::exists(&self.storage(&place)).is_ok_and(|exists| !exists);
        is_gone.then_some(TargetError::Absent { name: place.name, folder: place.folder })
    }

    fn open_place(&self, place: &Place, may_make: bool) -> Result<Arc<Repository>, TargetError> {
        let storage = self.storage(place);
        if !Repository::exists(&storage).map_err(TargetError::engine(&place.name))? {
            self.opened().remove(&place.name);
            return self.missing(place, &storage, may_make);
        }
        // A drive that comes back may bring locks of ours along.
        self.locks.remove_left_behind()?;
        if let Some(repository) = self.still_open(place, &storage)? {
            return Ok(repository);
        }
        let target = self.open_storage(place, storage)?;
        self.confirm_id(place, &target.repository)?;
        let repository = Arc::clone(&target.repository);
        self.opened().insert(place.name.clone(), target);
        Ok(repository)
    }

    /// Decides what it means that there is no repository.
    fn missing(&self, place: &Place, storage: &LocalStorage, may_make: bool) -> Result<Arc<Repository>, TargetError> {
        if self.known_id(place).is_some() {
            return Err(TargetError::Absent { name: place.name.clone(), folder: place.folder.clone() });
        }
        if place.is_default && may_make && is_half_made(storage) && !self.known.is_lost() {
            return self.make(place, None);
        }
        // Half of a repository is damage, which the engine tells apart.
        match Repository::open(Arc::new(storage.clone()), b"") {
            Err(error @ EngineError::Damaged { .. }) if !is_half_made(storage) => {
                Err(TargetError::engine(&place.name)(error))
            }
            _ => Err(TargetError::NotMade { name: place.name.clone(), folder: place.folder.clone() }),
        }
    }

    fn make(&self, place: &Place, cut_like: Option<Config>) -> Result<Arc<Repository>, TargetError> {
        let storage = self.storage(place);
        let exists = Repository::exists(&storage).map_err(TargetError::engine(&place.name))?;
        if exists {
            return Err(TargetError::Exists {
                problem: format!("there is a repository at {} already", place.folder.display()),
                advice: format!("Take it over with `backupctl target adopt {}`.", place.name),
            });
        }
        if let Some(id) = self.known_id(place) {
            return Err(TargetError::Exists {
                problem: format!("the target `{}` was repository {} and is missing now", place.name, short(&id)),
                advice: "Connect its drive; for a new repository add a target of another name.".to_owned(),
            });
        }
        if place.is_default
            && let PasswordSource::File(path) = &place.password
        {
            password::generate(path)?;
        }
        let password = password::read(&place.name, &place.password)?;
        remove_half_made(&storage).map_err(TargetError::engine(&place.name))?;
        let repository = Repository::create(Arc::new(storage.clone()), &password, &self.create_options(cut_like))
            .map_err(TargetError::engine(&place.name))?;
        self.confirm_id(place, &repository)?;
        let target = self.opened_target(place, &storage, &password, &repository)?;
        let repository = Arc::clone(&target.repository);
        self.opened().insert(place.name.clone(), target);
        Ok(repository)
    }

    fn open_storage(&self, place: &Place, storage: LocalStorage) -> Result<OpenTarget, TargetError> {
        let password = password::read(&place.name, &place.password)?;
        let repository =
            Repository::open(Arc::new(storage.clone()), &password).map_err(TargetError::engine(&place.name))?;
        self.opened_target(place, &storage, &password, &repository)
    }

    fn opened_target(
        &self,
        place: &Place,
        storage: &LocalStorage,
        password: &[u8],
        repository: &Repository,
    ) -> Result<OpenTarget, TargetError> {
        let config_hash = config_hash(storage).map_err(TargetError::engine(&place.name))?;
        let repository = repository.with_index_cache(&self.options.state.join("cache"));
        // Questions that are answered from it fall under the limits as well; a job has a pace and a gate of its own.
        let pace = self.limits.pace(&place.name, None);
        let repository = repository.paced(pace, &Gate::new(), AtPause::Wait);
        Ok(OpenTarget { place: place.clone(), password_hash: sha256(password), config_hash, repository })
    }

    /// Returns the cached repository if place, password and the repository's config file are what they were.
    fn still_open(&self, place: &Place, storage: &LocalStorage) -> Result<Option<Arc<Repository>>, TargetError> {
        let mut open = self.opened();
        let Some(target) = open.get(&place.name) else { return Ok(None) };
        // A command is not run again and again: it may ask a person.
        let password_is_same = match &place.password {
            PasswordSource::Command(_) => true,
            source => password::read(&place.name, source).is_ok_and(|now| sha256(&now) == target.password_hash),
        };
        let is_same = target.place == *place
            && password_is_same
            && config_hash(storage).map_err(TargetError::engine(&place.name))? == target.config_hash;
        if is_same {
            return Ok(Some(Arc::clone(&target.repository)));
        }
        open.remove(&place.name);
        Ok(None)
    }

    /// Compares a repository's id with the one on record, and puts it there the first time.
    fn confirm_id(&self, place: &Place, repository: &Repository) -> Result<(), TargetError> {
        let found = repository.id().to_string();
        match self.known_id(place) {
            Some(expected) if expected != found => Err(TargetError::Replaced {
                name: place.name.clone(),
                folder: place.folder.clone(),
                expected: short(&expected),
                found: short(&found),
            }),
            Some(_) => Ok(()),
            None => Ok(self.known.update(&place.name, |known| known.repository_id = found)?),
        }
    }

    fn known_id(&self, place: &Place) -> Option<String> {
        self.known.get(&place.name).map(|known| known.repository_id).filter(|id| !id.is_empty())
    }
}

fn config_hash(storage: &LocalStorage) -> Result<[u8; 32], EngineError> {
    Ok(sha256(&storage.read(&FileName::CONFIG)?))
}

fn short(id: &str) -> String {
    id.chars().take(8).collect()
}

/// Tells a creation that was cut short, which wrote a key and no more, from a repository that lost its config.
fn is_half_made(storage: &LocalStorage) -> bool {
    [FileKind::Snapshot, FileKind::Index, FileKind::Pack].into_iter().all(|kind| is_empty(storage, kind))
}

fn is_empty(storage: &LocalStorage, kind: FileKind) -> bool {
    storage.list(kind).is_ok_and(|files| files.is_empty())
}

/// Removes the key files of a creation that was cut short: they open with the same password as the one to come, but
/// hold another master key.
fn remove_half_made(storage: &LocalStorage) -> Result<(), EngineError> {
    if !is_half_made(storage) {
        return Ok(());
    }
    for (name, _) in storage.list(FileKind::Key)? {
        storage.remove(&name)?;
    }
    Ok(())
}

/// Returns the nearest folder above a path that exists, for asking about the device a target is or will be on.
pub(super) fn nearest_existing(path: &Path) -> &Path {
    path.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(Path::new("/"))
}
