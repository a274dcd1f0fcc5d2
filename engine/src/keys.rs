//! The passwords of a repository: each has a key file of its own, which can be listed, added and removed.
//!
//! All key files hold the same master key. Whoever had a password may have kept that key: removing a key file keeps a
//! password from opening the repository from now on, and takes back nothing.

use crate::error::{Error, Result};
use crate::id::{KeyId, sha256};
pub use crate::key::KeyOwner;
use crate::key::{decode_key_file, open_key, write_key};
use crate::repository::Repository;
use crate::storage::{FileKind, FileName};

/// A key file, as far as it can be told without its password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyInfo {
    /// Its id.
    pub id: KeyId,
    /// When it was made, as its file says.
    pub created: Option<String>,
    /// Who made it.
    pub username: Option<String>,
    /// On which machine.
    pub hostname: Option<String>,
    /// What is wrong with it, if it cannot be read.
    pub problem: Option<String>,
}

impl Repository {
    /// Returns the key files, oldest first; damaged ones are among them, with what is wrong.
    ///
    /// # Errors
    /// The storage's own, when listing.
    pub fn keys(&self) -> Result<Vec<KeyInfo>> {
        let names = self.storage().list(FileKind::Key)?;
        let mut keys: Vec<_> = names.into_iter().filter_map(|(name, _)| self.key_info(&name)).collect();
        keys.sort_by(|a, b| (&a.created, a.id).cmp(&(&b.created, b.id)));
        Ok(keys)
    }

    /// Reads what a key file says of itself; `None` if another program has just removed it.
    fn key_info(&self, name: &FileName) -> Option<KeyInfo> {
        let read = self.storage().read(name).and_then(|bytes| {
            if sha256(&bytes) != name.id {
                return Err(self.damaged(name, "its contents do not match its name"));
            }
            decode_key_file(&bytes).map_err(|error| self.damaged(name, error))
        });
        let mut info = KeyInfo { id: KeyId(name.id), created: None, username: None, hostname: None, problem: None };
        match read {
            Ok(file) => (info.created, info.username, info.hostname) = (file.created, file.username, file.hostname),
            Err(Error::NotFound { .. }) => return None,
            Err(error) => info.problem = Some(error.to_string()),
        }
        Some(info)
    }

    /// Returns the key whose id begins with these digits.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Misuse`] if there is more than one.
    pub fn find_key(&self, prefix: &str) -> Result<KeyInfo> {
        let wanted = prefix.to_ascii_lowercase();
        let mut fitting: Vec<_> = self
            .keys()?
            .into_iter()
            .filter(|key| !wanted.is_empty() && key.id.to_string().starts_with(&wanted))
            .collect();
        if fitting.len() > 1 {
            return Err(Error::misuse(format!("`{prefix}` is the beginning of {} keys' ids", fitting.len())));
        }
        fitting.pop().ok_or_else(|| Error::NotFound { what: format!("key `{prefix}`") })
    }

    /// Lets another password open the repository. The new key file is read back and opened before this returns.
    ///
    /// # Errors
    /// The storage's own; [`Error::Damaged`] if what was written does not open.
    pub fn add_key(&self, password: &[u8], owner: &KeyOwner<'_>) -> Result<KeyId> {
        let id = write_key(self.storage(), self.key(), password, owner)?;
        let name = FileName::new(FileKind::Key, id.0);
        // Soon it may be the only way in.
        match open_key(self.storage(), &name, password)? {
            Some(_) => Ok(id),
            None => Err(self.damaged(&name, "it does not open with the password it was made for")),
        }
    }

    /// Returns a key that opens with this password, if there is one.
    ///
    /// # Errors
    /// The storage's own; damaged key files are passed over.
    pub fn key_of(&self, password: &[u8]) -> Result<Option<KeyId>> {
        for (name, _) in self.storage().list(FileKind::Key)? {
            match open_key(self.storage(), &name, password) {
                // What a creation that was cut short has left opens another repository.
                Ok(Some(key)) if key.is_same(self.key()) => return Ok(Some(KeyId(name.id))),
                Ok(_) | Err(Error::NotFound { .. } | Error::Damaged { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Keeps a password from opening the repository any more.
    ///
    /// # Errors
    /// [`Error::Misuse`] if it is the key that opened this repository, or if that one is not there any more: then this
    /// may be the last way in.
    pub fn remove_key(&self, id: &KeyId) -> Result<()> {
        if *id == self.key_id() {
            return Err(Error::misuse(format!("key {} is the one that is used to open the repository", id.short())));
        }
        let own = FileName::new(FileKind::Key, self.key_id().0);
        match self.storage().read(&own) {
            Ok(bytes) if sha256(&bytes) == own.id => self.storage().remove(&FileName::new(FileKind::Key, id.0)),
            Ok(_) | Err(Error::NotFound { .. }) => Err(Error::misuse(format!(
                "key {} may be the last one that opens the repository: {}, which opened it now, is damaged or gone",
                id.short(),
                self.key_id().short()
            ))),
            Err(error) => Err(error),
        }
    }
}
