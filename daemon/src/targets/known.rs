//! What the daemon remembers of its targets: above all which repository each one is.
//!
//! One small file with a copy, both replaced whole. Because of it a repository that is missing is known to be missing, and is not
//! taken for one that was never made.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use backup_proto::target::Coverage;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::store::files::write_whole;
use crate::store::mend;

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
    /// The time of the newest snapshot that a forget has looked at without holding anything back, by the plan whose
    /// snapshots it looked at; without a plan the name is empty.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) forgotten: BTreeMap<String, Timestamp>,
    /// How much of its data was ever read, as the last check found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) verified: Option<Coverage>,
}

/// The record of all targets by name.
#[derive(Debug)]
pub(super) struct KnownTargets {
    path: PathBuf,
    is_lost: bool,
    targets: Mutex<BTreeMap<String, KnownTarget>>,
}

impl KnownTargets {
    /// Reads the record in this state folder.
    ///
    /// # Errors
    /// A record that cannot be read or understood is an error and not an empty record: with an empty one, missing
    /// repositories would be made anew.
    pub(super) fn open(state: &Path) -> Result<Self> {
        let path = state.join(mend::TARGETS);
        let targets = match fs::read(&path) {
            Ok(bytes) => parse(&bytes).ok_or_else(|| {
                Error::io("understand", &path)(std::io::Error::new(ErrorKind::InvalidData, "it is damaged"))
            })?,
            Err(error) if error.kind() == ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(Error::io("read", &path)(error)),
        };
        let is_lost = state.join(mend::TARGETS_LOST).exists();
        Ok(Self { path, is_lost, targets: Mutex::new(targets) })
    }

    /// Returns what is known of a target.
    pub(super) fn get(&self, name: &str) -> Option<KnownTarget> {
        self.lock().get(name).cloned()
    }

    /// Tells whether a record was lost: then a target of which nothing is known may have been known.
    pub(super) fn is_lost(&self) -> bool {
        self.is_lost
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
        let value = serde_json::to_value(&changed)
            .map_err(|error| Error::io("write", &self.path)(std::io::Error::other(error.to_string())))?;
        let text = mend::encode_checked(&value);
        write_whole(&self.path, &text)?;
        write_whole(&self.path.with_file_name(mend::TARGETS_COPY), &text)?;
        *targets = changed;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, KnownTarget>> {
        // The map is replaced whole: a panic elsewhere leaves nothing half changed.
        self.targets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn parse(bytes: &[u8]) -> Option<BTreeMap<String, KnownTarget>> {
    serde_json::from_value(mend::decode_checked(bytes)?).ok()
}
