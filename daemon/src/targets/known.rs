//! What the daemon remembers of its targets: above all which repository each one is.
//!
//! One small file, replaced whole. Because of it a repository that is missing is known to be missing, and is not
//! taken for one that was never made.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::store::files::write_whole;

/// What is remembered of one target.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct KnownTarget {
    /// The id of its repository.
    pub(super) repository_id: String,
    /// When a backup last ended well in it.
    pub(super) last_success: Option<Timestamp>,
    /// Whether the last backup's sources were, at least partly, on the device that the target is on.
    pub(super) same_device: bool,
}

/// The record of all targets by name.
#[derive(Debug)]
pub(super) struct KnownTargets {
    path: PathBuf,
    targets: Mutex<BTreeMap<String, KnownTarget>>,
}

impl KnownTargets {
    /// Reads the record in this state folder.
    ///
    /// # Errors
    /// A record that cannot be read or understood is an error and not an empty record: with an empty one, missing
    /// repositories would be made anew.
    pub(super) fn open(state: &Path) -> Result<Self> {
        let path = state.join("targets.json");
        let targets = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| {
                Error::io("understand", &path)(std::io::Error::new(ErrorKind::InvalidData, error.to_string()))
            })?,
            Err(error) if error.kind() == ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(Error::io("read", &path)(error)),
        };
        Ok(Self { path, targets: Mutex::new(targets) })
    }

    /// Returns what is known of a target.
    pub(super) fn get(&self, name: &str) -> Option<KnownTarget> {
        self.lock().get(name).cloned()
    }

    /// Changes what is known of a target; durable when it returns.
    pub(super) fn update(&self, name: &str, change: impl FnOnce(&mut KnownTarget)) -> Result<()> {
        let mut targets = self.lock();
        let before = targets.get(name).cloned();
        let mut after = before.clone().unwrap_or_default();
        change(&mut after);
        if before.as_ref() == Some(&after) {
            return Ok(());
        }
        let mut changed = targets.clone();
        changed.insert(name.to_owned(), after);
        let json = serde_json::to_vec_pretty(&changed)
            .map_err(|error| Error::io("write", &self.path)(std::io::Error::other(error.to_string())))?;
        write_whole(&self.path, &json)?;
        *targets = changed;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, KnownTarget>> {
        // The map is replaced whole: a panic elsewhere leaves nothing half changed.
        self.targets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
