//! The passwords of a target's repository: listing, adding, removing, and changing the daemon's own.
//!
//! A change writes the new key first, then the daemon's password file, and removes the old key last: whenever it is
//! cut short, what the file holds opens the repository.

use std::path::Path;
use std::sync::Arc;

use backup_engine::id::KeyId;
use backup_engine::keys::{KeyInfo, KeyOwner};
use backup_engine::{Error as EngineError, Repository};
use backup_proto::error::{ErrorKind, RpcError};
use backup_proto::key::{Key, KeyChanged};

use super::{Place, TargetError, Targets, password};
use crate::config::PasswordSource;

impl Targets {
    /// Returns the keys of a target's repository, oldest first.
    ///
    /// # Errors
    /// What the client is to be told.
    pub fn keys(&self, name: &str) -> Result<Vec<Key>, RpcError> {
        let (place, repository) = self.open_existing(name).map_err(|error| error.to_rpc())?;
        let keys = repository.keys().map_err(|error| refused(&place, error))?;
        Ok(keys.into_iter().map(|key| view(&place, &repository, key)).collect())
    }

    /// Lets another password open a target's repository.
    ///
    /// # Errors
    /// What the client is to be told.
    pub fn add_key(&self, name: &str, new: &str) -> Result<Key, RpcError> {
        check(new)?;
        let (place, repository) = self.open_existing(name).map_err(|error| error.to_rpc())?;
        let added = self.lock(&repository, &place.folder, false).and_then(|_lock| self.write_key(&repository, new));
        added.map(|key| view(&place, &repository, key)).map_err(|error| refused(&place, error))
    }

    /// Keeps a password from opening a target's repository any more.
    ///
    /// # Errors
    /// What the client is to be told.
    pub fn remove_key(&self, name: &str, id: &str) -> Result<Key, RpcError> {
        let (place, repository) = self.open_anew(name).map_err(|error| error.to_rpc())?;
        let removed = self.lock(&repository, &place.folder, true).and_then(|_lock| {
            let key = repository.find_key(id)?;
            repository.remove_key(&key.id)?;
            Ok(key)
        });
        removed.map(|key| view(&place, &repository, key)).map_err(|error| refused(&place, error))
    }

    /// Puts another password in the place of the daemon's own. The old key is removed only when the daemon opens the
    /// repository with the new one.
    ///
    /// # Errors
    /// What the client is to be told.
    pub fn change_key(&self, name: &str, new: Option<&str>) -> Result<KeyChanged, RpcError> {
        let (place, repository) = self.open_anew(name).map_err(|error| error.to_rpc())?;
        let own_file = self.own_file(&place);
        let new = match (new, own_file) {
            (Some(new), _) => new.to_owned(),
            (None, Some(path)) => password::random(path).map_err(|error| error.to_rpc())?,
            (None, None) => return Err(not_ours(&place)),
        };
        check(&new)?;
        if password::read(name, &place.password).is_ok_and(|now| now == new.as_bytes()) {
            return Err(misuse("this is the password already", &advice(&place, others(&place, &repository)?)));
        }
        let lock = self.lock(&repository, &place.folder, true).map_err(|error| refused(&place, error))?;
        let key = self.write_key(&repository, &new).map_err(|error| refused(&place, error))?;
        if let Some(path) = own_file {
            password::replace(path, &new).map_err(|error| error.to_rpc())?;
        }
        let (old, now) = (repository.key_id(), self.open_anew(name).map_err(|error| error.to_rpc())?.1);
        let is_replaced = now.key_id() != old;
        if is_replaced {
            now.remove_key(&old).map_err(|error| refused(&place, error))?;
        }
        drop(lock);
        let removed = is_replaced.then(|| old.to_string());
        let mut notice = notice(&place, own_file, (!is_replaced).then_some(old));
        let others = others(&place, &now)?;
        if is_replaced && others > 0 {
            notice = format!("{notice} {}", more_keys(&place, others));
        }
        Ok(KeyChanged { key: view(&place, &now, key), removed, notice })
    }

    /// Opens a target with the password that is there now, also if a command has to be asked for it again.
    fn open_anew(&self, name: &str) -> Result<(Place, Arc<Repository>), TargetError> {
        self.opened().remove(name);
        self.open_existing(name)
    }

    /// Makes a key for a password. One that is there is taken: a change that was cut short has left it, and of two keys
    /// for one password the second would still open when the first is removed.
    fn write_key(&self, repository: &Repository, new: &str) -> Result<KeyInfo, EngineError> {
        if let Some(id) = repository.key_of(new.as_bytes())? {
            return repository.find_key(&id.to_string());
        }
        let identity = &self.options.identity;
        let (hostname, username) = (identity.hostname.as_str(), identity.username.as_str());
        let owner = KeyOwner { hostname, username, now: self.options.clock.now().wall };
        let id = repository.add_key(new.as_bytes(), &owner)?;
        repository.find_key(&id.to_string())
    }

    /// Returns the target's password file if the daemon made it and no other target uses it, so that it may be written.
    fn own_file<'a>(&self, place: &'a Place) -> Option<&'a Path> {
        let is_shared =
            || self.places().iter().any(|other| other.name != place.name && other.password == place.password);
        match &place.password {
            PasswordSource::File(path) if place.is_default && !is_shared() => Some(path),
            _ => None,
        }
    }
}

fn view(place: &Place, repository: &Repository, key: KeyInfo) -> Key {
    Key {
        id: key.id.to_string(),
        target: place.name.clone(),
        is_current: key.id == repository.key_id(),
        created: key.created.and_then(|time| time.parse().ok()),
        user: key.username,
        host: key.hostname,
        problem: key.problem,
    }
}

/// Says what there is left to do after a change, which may have kept the old key.
fn notice(place: &Place, own_file: Option<&Path>, kept: Option<KeyId>) -> String {
    match (own_file, kept) {
        (_, Some(old)) => format!(
            "The old password still opens the repository, because the daemon uses it. Put the new one where the \
             configuration has the daemon get it, then run `backupctl key remove {} --target {}`.",
            old.short(),
            place.name
        ),
        (Some(path), None) => format!("{} holds the new password; keep a copy of it somewhere else.", path.display()),
        (None, None) => "The old password does not open the repository any more.".to_owned(),
    }
}

/// Returns how many key files there are beside the one that is used.
fn others(place: &Place, repository: &Repository) -> Result<usize, RpcError> {
    let keys = repository.keys().map_err(|error| refused(place, error))?;
    Ok(keys.iter().filter(|key| key.id != repository.key_id()).count())
}

/// Says what to do about a change to the password that is there: it may be a second try after the first was cut short.
fn advice(place: &Place, others: usize) -> String {
    match others {
        0 => "Choose another one.".to_owned(),
        _ => format!("Choose another one, or if a change was cut short: {}", more_keys(place, others)),
    }
}

fn more_keys(place: &Place, others: usize) -> String {
    let (keys, open) = if others == 1 { ("other key", "opens") } else { ("other keys", "open") };
    let name = &place.name;
    format!(
        "{others} {keys} {open} the repository as well; `backupctl key list --target {name}` lists them, and `backupctl \
         key remove ID --target {name}` removes one."
    )
}

fn check(new: &str) -> Result<(), RpcError> {
    password::problem(new).map_or(Ok(()), |problem| Err(misuse(problem, "Choose another password.")))
}

fn misuse(problem: &str, advice: &str) -> RpcError {
    RpcError::new(ErrorKind::InvalidParams, problem, advice)
}

fn not_ours(place: &Place) -> RpcError {
    let problem =
        format!("the daemon may not make up the password of target `{}`: its file is not the daemon's", place.name);
    misuse(&problem, "Say which with `--new-password-file`, or type it.")
}

/// Says why the engine refused; nobody tries a call again by itself.
fn refused(place: &Place, error: EngineError) -> RpcError {
    let list = format!("`backupctl key list --target {}` lists the keys.", place.name);
    let refused = TargetError::engine(&place.name)(error);
    let mut answer = refused.to_rpc();
    if let TargetError::Engine { source, .. } = &refused {
        match source {
            EngineError::NotFound { .. } => return RpcError::new(ErrorKind::KeyNotFound, source.to_string(), list),
            EngineError::Misuse { .. } => answer.data.advice = list,
            EngineError::Locked { .. } => {
                answer.data.advice = "Ask again when that has ended; `backupctl jobs` shows what runs here.".to_owned();
            }
            _ => {}
        }
    }
    answer
}
