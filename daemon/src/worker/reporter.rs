//! What an attempt says while it runs: the engine's monitor, turned into news for the loop and lines in the ledger.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};

use backup_engine::id::SnapshotId;
use backup_engine::monitor::{self, ItemFailure, PackRecord, Progress};
use backup_engine::retention::Judged;
use backup_engine::{Gate, Monitor};
use backup_proto::job::{FailedItem, JobId, PlannedItem, SUMMARY_FAILED_MAX};
use backup_proto::size::size;
use backup_proto::spec::SnapshotQuery;

use super::packs::PackJournal;
use crate::clock::Clock;
use crate::config::DEFAULT_TARGET;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::inbox::{Event, Inbox, News};
use crate::job::{Job, Totals};
use crate::ledger::LedgerWriter;
use crate::progress::Tracker;
use crate::store::Shortage;
use crate::wire;

/// Listens to the engine for one attempt of a job.
pub struct Reporter {
    job: JobId,
    attempt: u32,
    target: String,
    inbox: Inbox,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    packs: Mutex<PackJournal>,
    /// The daemon's state folder, and what stops this attempt when there is no room in it.
    folder: PathBuf,
    gate: Gate,
}

struct State {
    tracker: Tracker,
    failures: LedgerWriter<FailedItem>,
    planned: LedgerWriter<PlannedItem>,
    failed_count: u64,
    failed: Vec<FailedItem>,
    /// Why the ledger is not whole, if it is not.
    ledger_problem: Option<String>,
    /// Whether an entry of a list was not written for lack of room.
    lacks_entries: bool,
    /// Why this attempt was stopped, if it was for lack of room.
    shortage: Option<Shortage>,
}

impl Reporter {
    /// Starts the lists of an attempt, and returns the packs that an earlier one left in no index.
    ///
    /// # Errors
    /// The state folder cannot be written.
    pub fn open(job: &Job, context: &Context, inbox: Inbox, gate: &Gate) -> Result<(Self, Vec<PackRecord>)> {
        let folder = context.targets.state().to_path_buf();
        let (packs, adopt) = PackJournal::open(&folder, &job.id)?;
        let (clock, attempt) = (Arc::clone(&context.clock), job.attempt_count());
        let state = State {
            tracker: Tracker::new(clock.now().boot),
            failures: context.ledger.writer(&job.id, attempt),
            planned: context.ledger.writer(&job.id, attempt),
            failed_count: 0,
            failed: Vec::new(),
            ledger_problem: None,
            lacks_entries: false,
            shortage: None,
        };
        let (state, packs) = (Mutex::new(state), Mutex::new(packs));
        let target = job.target.clone().unwrap_or_else(|| DEFAULT_TARGET.to_owned());
        let reporter =
            Self { job: job.id.clone(), attempt, target, inbox, clock, state, packs, folder, gate: gate.clone() };
        Ok((reporter, adopt))
    }

    /// Tells whether the lists have every entry, as far as there was room for them.
    pub fn has_all(&self) -> bool {
        !self.state().lacks_entries
    }

    /// Tells whether any item could not be done.
    pub fn has_failures(&self) -> bool {
        self.state().failed_count > 0
    }

    /// Returns why this attempt was stopped, if it was for lack of room.
    pub fn shortage(&self) -> Option<Shortage> {
        self.state().shortage.clone()
    }

    /// Lets the attempt end at a checkpoint, because there is no room for what it has to write down.
    fn stop_for(&self, shortage: Shortage) {
        self.state().shortage.get_or_insert(shortage);
        self.gate.suspend();
    }

    /// Notes whether an entry of a list was written. On a full disk the attempt ends: it would lose entries.
    fn note_ledger(&self, result: Result<()>) {
        match result {
            Ok(()) => {}
            Err(error) if error.is_full() => {
                self.state().lacks_entries = true;
                self.stop_for(Shortage::refused(&self.folder));
            }
            Err(error) => {
                self.state().ledger_problem.get_or_insert_with(|| error.to_string());
            }
        }
    }

    /// Lets the job remember which snapshots it works on; returns when that is stored.
    ///
    /// # Errors
    /// The daemon ends before it is.
    pub fn choose(&self, snapshots: Vec<SnapshotQuery>) -> backup_engine::Result<()> {
        let (stored, wait) = mpsc::channel();
        self.say(News::Chosen { snapshots, stored });
        wait.recv().map_err(|_| backup_engine::Error::Suspended)
    }

    /// Returns what was done so far, and makes the lists durable.
    pub fn finish(&self) -> Totals {
        let mut state = self.state();
        let synced = state.failures.finish().and(state.planned.finish());
        drop(state);
        self.note_ledger(synced);
        state = self.state();
        let done = *state.tracker.done();
        let totals = Totals {
            files: done.files,
            bytes: done.bytes,
            bytes_stored: done.bytes_stored,
            failed_count: state.failed_count,
            failed: state.failed.clone(),
            ..Totals::default()
        };
        let problem = state.ledger_problem.take();
        drop(state);
        if let Some(problem) = problem {
            self.notice(&format!("The list of items is not whole: {problem}."));
        }
        totals
    }

    fn say(&self, news: News) {
        self.inbox.send(Event::Worker { job: self.job.clone(), attempt: self.attempt, news });
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Counts and lists only grow: a panic elsewhere leaves them short of one item at worst.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn packs(&self) -> MutexGuard<'_, PackJournal> {
        // The file is opened anew after a panic in the middle of a write, and reading ends at a broken line.
        self.packs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Monitor for Reporter {
    fn progress(&self, delta: &Progress) {
        let now = self.clock.now().boot;
        let picture = self.state().tracker.step(delta, now);
        if let Some(picture) = picture {
            self.say(News::Progress(Box::new(picture)));
        }
    }

    fn total(&self, files: u64, bytes: u64) {
        self.state().tracker.set_total(files, bytes);
    }

    fn current(&self, path: &Path) {
        self.state().tracker.set_current(path);
    }

    fn item_failed(&self, failure: ItemFailure) {
        let item = wire::failed_item(failure);
        let mut state = self.state();
        let written = state.failures.append(&item);
        state.tracker.count_failure();
        state.failed_count += 1;
        if state.failed.len() < SUMMARY_FAILED_MAX {
            state.failed.push(item.clone());
        }
        drop(state);
        self.note_ledger(written);
        self.say(News::ItemFailed(Box::new(item)));
    }

    fn planned(&self, item: monitor::PlannedItem) {
        let written = self.state().planned.append(&wire::planned_item(item));
        self.note_ledger(written);
    }

    fn outgrows(&self, bytes: u64, free: u64) {
        let (bytes, free, target) = (size(bytes), size(free), &self.target);
        self.notice(&format!(
            "This first backup has found {bytes} to read so far, and the target `{target}` has {free} free. Compression and \
             what is there twice may make it fit: `backupctl backup --dry-run` tells exactly."
        ));
    }

    fn forgetting(&self, snapshots: &[SnapshotId]) -> backup_engine::Result<()> {
        let target = Some(self.target.clone());
        let chosen = |id: &SnapshotId| SnapshotQuery {
            snapshot: id.to_string(),
            target: target.clone(),
            plan: None,
            host: None,
            path: None,
        };
        self.choose(snapshots.iter().map(chosen).collect())
    }

    fn differs(&self, difference: monitor::Difference) {
        let written = self.state().planned.append(&wire::difference(difference));
        self.note_ledger(written);
    }

    fn judged(&self, judged: &Judged) {
        let written = self.state().planned.append(&wire::judged_item(judged, &self.target));
        self.note_ledger(written);
    }

    fn notice(&self, sentence: &str) {
        self.say(News::Notice(sentence.to_owned()));
    }

    fn storing(&self, pack: &PackRecord) -> backup_engine::Result<()> {
        if let Some(shortage) = Shortage::of(&self.folder) {
            // This pack may still be written; the ones behind it wait until there is room.
            self.stop_for(shortage);
        }
        let added = self.packs().add(pack);
        if added.as_ref().is_err_and(Error::is_full) {
            self.stop_for(Shortage::refused(&self.folder));
        }
        added.map_err(wire::engine_error)
    }

    fn indexed(&self) {
        // Packs that stay written down are found in the index next time, which costs a look and nothing else.
        if let Err(error) = self.packs().clear() {
            tracing::warn!(%error, "the journal of packs cannot be emptied");
        }
    }
}
