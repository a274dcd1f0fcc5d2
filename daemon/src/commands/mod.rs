//! What a plan has run around each of its backups, and what a killed daemon still owes of it.
//!
//! Before the first command of a backup is run, its `after` is written down in the state folder, and that is removed
//! when `after` has been run. What is found there at a start was begun by a daemon that was killed: it is run first.
//! Of one plan only one backup at a time is between its two commands.

pub(crate) mod run;

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use backup_engine::Gate;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::clock::Clock;
use crate::error::{Error, Result};
use crate::store::files::{read_own, set_aside, sync_folder, write_whole};
use crate::store::mend::{decode_checked, encode_checked};
use run::{End, Order, Ran};

/// How long to wait until it is asked again whether another backup of a plan is over.
const ASK_AGAIN: Duration = Duration::from_millis(200);

/// The longest error that is handed to a command, in letters.
const ERROR_MAX: usize = 1000;

/// An `after` that is to be run, as it was when its backup began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Owed {
    /// The plan.
    pub(crate) plan: String,
    /// The job.
    pub(crate) job: String,
    /// Which attempt of it.
    pub(crate) attempt: u32,
    /// Where it saves to.
    pub(crate) target: String,
    /// The program and its arguments.
    pub(crate) words: Vec<String>,
    /// How long it may take.
    pub(crate) limit_seconds: u64,
}

/// What an `after` is told of the backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// One word.
    pub(crate) word: &'static str,
    /// The snapshot, if there is one.
    pub(crate) snapshot: Option<String>,
    /// What went wrong, if anything.
    pub(crate) error: Option<String>,
}

impl Outcome {
    /// Makes one that is a word and no more.
    pub(crate) fn of(word: &'static str) -> Self {
        Self { word, snapshot: None, error: None }
    }
}

/// Which plans are between their commands, and what is written down of it.
#[derive(Clone)]
pub struct Commands {
    folder: PathBuf,
    busy: Arc<Mutex<BTreeSet<String>>>,
}

impl Commands {
    /// Keeps it in this state folder.
    #[must_use]
    pub fn new(state: &Path) -> Self {
        Self { folder: state.join("commands"), busy: Arc::default() }
    }

    /// Waits until no other backup of a plan is between its commands, and is that backup then.
    ///
    /// # Errors
    /// The gate says that the job is to end.
    pub(crate) fn enter(
        &self,
        plan: &str,
        gate: &Gate,
        mut waits: impl FnMut(),
    ) -> std::result::Result<Turn, backup_engine::Error> {
        let mut has_said = false;
        loop {
            gate.check()?;
            if let Some(turn) = self.try_enter(plan) {
                return Ok(turn);
            }
            if !has_said {
                waits();
                has_said = true;
            }
            gate.rest(gate.state(), ASK_AGAIN);
        }
    }

    fn try_enter(&self, plan: &str) -> Option<Turn> {
        self.busy().insert(plan.to_owned()).then(|| Turn { commands: self.clone(), plan: plan.to_owned() })
    }

    /// Writes down that an `after` is to be run.
    ///
    /// # Errors
    /// The state folder cannot be written.
    pub(crate) fn owe(&self, owed: &Owed) -> Result<()> {
        let path = self.path(owed);
        if !self.folder.is_dir() {
            let create = DirBuilder::new().recursive(true).mode(0o700).create(&self.folder);
            create.map_err(Error::io("create", &self.folder))?;
            sync_folder(self.folder.parent().unwrap_or(Path::new("/")))?;
        }
        let value = serde_json::to_value(owed).map_err(|error| Error::io("write", &path)(error.into()))?;
        write_whole(&path, &encode_checked(&value))
    }

    /// Runs an `after`, and forgets it.
    pub(crate) fn settle(&self, owed: &Owed, outcome: &Outcome, clock: &dyn Clock) -> Ran {
        let mut environment = environment("after", owed);
        let error: String = outcome.error.iter().flat_map(|error| error.chars()).take(ERROR_MAX).collect();
        environment.push(("BACKUPD_OUTCOME", outcome.word.to_owned()));
        environment.push(("BACKUPD_SNAPSHOT", outcome.snapshot.clone().unwrap_or_default()));
        environment.push(("BACKUPD_ERROR", error.replace('\0', " ")));
        let limit = Duration::from_secs(owed.limit_seconds);
        // Nothing stops it but its time: it undoes what `before` has done.
        let ran = run::run(&Order { words: &owed.words, environment: &environment, limit }, clock, &Gate::new());
        if let Err(error) = fs::remove_file(self.path(owed)).and_then(|()| fs::File::open(&self.folder)?.sync_all()) {
            tracing::warn!(%error, job = owed.job, "the `after` command of a plan may be run again at the next start");
        }
        ran
    }

    /// Runs, on a thread of its own, what a daemon that was killed still owed. Jobs of those plans wait for it.
    pub fn settle_old(&self, clock: &Arc<dyn Clock>) {
        let old = self.read_old(clock.now().wall);
        // Taken before any job runs; two of one plan have one turn.
        let turns: Vec<Turn> = old.iter().filter_map(|owed| self.try_enter(&owed.plan)).collect();
        if old.is_empty() {
            return;
        }
        let (commands, clock) = (self.clone(), Arc::clone(clock));
        let body = move || {
            for owed in old {
                let ran = commands.settle(&owed, &Outcome::of("interrupted"), clock.as_ref());
                let said = describe("after", &owed.words, &ran);
                tracing::warn!(plan = owed.plan, job = owed.job, "a backup was cut short by a kill: {said}");
            }
            drop(turns);
        };
        if let Err(error) = std::thread::Builder::new().name("after".to_owned()).spawn(body) {
            tracing::warn!(%error, "`after` commands that are due since before the start wait for the next one");
        }
    }

    fn read_old(&self, now: Timestamp) -> Vec<Owed> {
        let Ok(entries) = fs::read_dir(&self.folder) else { return Vec::new() };
        let is_record = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "json");
        let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(is_record).collect();
        paths.sort();
        paths.iter().filter_map(|path| read_one(path, now)).collect()
    }

    fn path(&self, owed: &Owed) -> PathBuf {
        self.folder.join(format!("{}.json", owed.job))
    }

    fn busy(&self) -> MutexGuard<'_, BTreeSet<String>> {
        // A set of names: a panic elsewhere leaves it whole.
        self.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Being the one backup of a plan that is between its commands, until it is dropped.
pub(crate) struct Turn {
    commands: Commands,
    plan: String,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.commands.busy().remove(&self.plan);
    }
}

/// Returns the variables that both commands are given.
pub(crate) fn environment(event: &'static str, owed: &Owed) -> Vec<(&'static str, String)> {
    vec![
        ("BACKUPD_EVENT", event.to_owned()),
        ("BACKUPD_PLAN", owed.plan.clone()),
        ("BACKUPD_JOB", owed.job.clone()),
        ("BACKUPD_ATTEMPT", owed.attempt.to_string()),
        ("BACKUPD_TARGET", owed.target.clone()),
    ]
}

/// Says how a command ended and what it printed, in a sentence.
pub(crate) fn describe(key: &str, words: &[String], ran: &Ran) -> String {
    let program = words.first().map_or("", String::as_str);
    let how = match &ran.end {
        End::Succeeded => "succeeded".to_owned(),
        End::Failed(status) => format!("failed ({status})"),
        End::NotStarted(why) => format!("could not be run: {why}"),
        End::TookTooLong => "took longer than its `timeout` and was stopped".to_owned(),
        End::Stopped => "was stopped, because the job was".to_owned(),
    };
    match ran.output.line() {
        printed if printed.is_empty() => format!("The plan's `{key}` command `{program}` {how}."),
        printed => format!("The plan's `{key}` command `{program}` {how}. It printed: {printed}"),
    }
}

fn read_one(path: &Path, now: Timestamp) -> Option<Owed> {
    let value = read_own(path).ok().and_then(|bytes| decode_checked(&bytes));
    let owed = value.and_then(|value| serde_json::from_value(value).ok());
    if owed.is_none() {
        let aside = set_aside(path, &now.strftime("%Y%m%dT%H%M%SZ").to_string());
        let aside = aside.unwrap_or_else(|_| path.to_path_buf());
        tracing::warn!("which `after` command is due cannot be read any more: {}; run it by hand", aside.display());
    }
    owed
}

#[cfg(test)]
mod tests;
