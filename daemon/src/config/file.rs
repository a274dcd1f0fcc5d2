//! The config's file: read when the daemon starts, and again whenever somebody has changed it.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::place::Surroundings;
use super::problem::ConfigError;
use super::{Config, EditError, NewPlan, NewTarget};

/// The largest config that is read, in bytes: a thousand plans fit, and a device or a wrong file does not.
const SIZE_MAX: u64 = 1024 * 1024;

/// Reads and checks a config file. This is what `backupd --check-config` and `backupctl config check` are.
///
/// A missing file is an empty config, unless it is the very thing that is to be checked (`must_exist`).
///
/// # Errors
/// Every mistake that was found, with its line.
pub fn check(path: &Path, must_exist: bool, surroundings: &Surroundings) -> Result<Config, ConfigError> {
    match read_text(path)? {
        Some(text) => Config::parse(&text, path, surroundings),
        None if must_exist => {
            let message = "There is no such file.";
            Err(ConfigError::whole(path.to_path_buf(), message, "Correct the path, or create the file."))
        }
        None => Ok(Config::default()),
    }
}

/// Reads the text of a config; none when there is no such file.
///
/// # Errors
/// It cannot be read, is too large or is not UTF-8.
pub fn read_text(path: &Path) -> Result<Option<String>, ConfigError> {
    let whole = |message: String, advice: &str| ConfigError::whole(path.to_path_buf(), message, advice);
    let refused = |error: &io::Error| {
        let reason = backup_engine::error::plain(error);
        whole(format!("It cannot be read: {reason}."), "Make it a file that the daemon's user may read.")
    };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(refused(&error)),
    };
    let mut bytes = Vec::new();
    file.take(SIZE_MAX + 1).read_to_end(&mut bytes).map_err(|error| refused(&error))?;
    if bytes.len() as u64 > SIZE_MAX {
        return Err(whole("It is larger than 1 MiB.".to_owned(), "Check that this is the right file."));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        whole(format!("Line {line} is not UTF-8."), "Save the file as UTF-8.")
    })?;
    Ok(Some(text))
}

/// What tells one state of a file from another without reading it.
type Stamp = Option<(u64, u64, u64, i64, i64, i64, i64)>;

fn stamp(path: &Path) -> Stamp {
    let meta = std::fs::metadata(path).ok()?;
    Some((meta.dev(), meta.ino(), meta.size(), meta.mtime(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec()))
}

/// The config in use. Clones of the [`Arc`]s it hands out stay what they are while it moves on.
#[derive(Debug)]
pub struct ConfigFile {
    path: PathBuf,
    surroundings: Surroundings,
    state: Mutex<Loaded>,
}

#[derive(Debug)]
struct Loaded {
    stamp: Stamp,
    good: Arc<Config>,
    /// What is wrong with the file as it is now, if anything.
    error: Option<ConfigError>,
}

impl ConfigFile {
    /// Reads the config for the first time. It need not be there: `target add` and `plan add` make it.
    ///
    /// # Errors
    /// Every mistake that was found, with its line.
    pub fn open(path: &Path, home: Option<PathBuf>) -> Result<Self, ConfigError> {
        let folder = path.parent().unwrap_or(Path::new("/")).to_path_buf();
        let surroundings = Surroundings { folder, home };
        let stamp = stamp(path);
        let good = Arc::new(check(path, false, &surroundings)?);
        Ok(Self { path: path.to_path_buf(), surroundings, state: Mutex::new(Loaded { stamp, good, error: None }) })
    }

    /// Returns the config's path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns what paths in it are relative to.
    #[must_use]
    pub fn surroundings(&self) -> &Surroundings {
        &self.surroundings
    }

    /// Returns the config as the file is now.
    ///
    /// # Errors
    /// Every mistake in the file, if it was changed since the daemon started and is wrong now.
    pub fn current(&self) -> Result<Arc<Config>, ConfigError> {
        let state = self.refreshed();
        match &state.error {
            Some(error) => Err(error.clone()),
            None => Ok(Arc::clone(&state.good)),
        }
    }

    /// Returns the newest config that had no mistakes: what accepted jobs go on with while somebody edits.
    #[must_use]
    pub fn last_good(&self) -> Arc<Config> {
        Arc::clone(&self.refreshed().good)
    }

    /// Adds a target to the file.
    ///
    /// # Errors
    /// Why the file was left as it was.
    pub fn add_target(&self, new: &NewTarget) -> Result<(), EditError> {
        // The lock keeps two editors apart; the next reader sees the new stamp.
        let _state = self.lock();
        super::add_target(&self.path, &self.surroundings, new)
    }

    /// Adds a plan to the file.
    ///
    /// # Errors
    /// Why the file was left as it was.
    pub fn add_plan(&self, new: &NewPlan) -> Result<(), EditError> {
        let _state = self.lock();
        super::add_plan(&self.path, &self.surroundings, new)
    }

    fn refreshed(&self) -> MutexGuard<'_, Loaded> {
        let mut state = self.lock();
        // The stamp is taken before the file is read: a change in between is seen at the next look.
        let now = stamp(&self.path);
        if now != state.stamp {
            state.stamp = now;
            match check(&self.path, false, &self.surroundings) {
                Ok(config) => {
                    state.good = Arc::new(config);
                    state.error = None;
                }
                Err(error) => state.error = Some(error),
            }
        }
        state
    }

    fn lock(&self) -> MutexGuard<'_, Loaded> {
        // Each field is replaced whole: a panic elsewhere leaves nothing half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
