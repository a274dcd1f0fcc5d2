//! What an attempt says while it runs: the engine's monitor, turned into news for the loop and lines in the ledger.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};

use backup_engine::Monitor;
use backup_engine::monitor::{ItemFailure, PackRecord, Progress};
use backup_proto::job::{FailedItem, JobId, PlannedItem, SUMMARY_FAILED_MAX};
use backup_proto::spec::SnapshotQuery;

use super::packs::PackJournal;
use crate::clock::Clock;
use crate::context::Context;
use crate::error::Result;
use crate::inbox::{Event, Inbox, News};
use crate::job::{Job, Totals};
use crate::ledger::LedgerWriter;
use crate::progress::Tracker;
use crate::wire;

/// Listens to the engine for one attempt of a job.
pub struct Reporter {
    job: JobId,
    attempt: u32,
    inbox: Inbox,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    packs: Mutex<PackJournal>,
}

struct State {
    tracker: Tracker,
    failures: LedgerWriter<FailedItem>,
    planned: LedgerWriter<PlannedItem>,
    failed_count: u64,
    failed: Vec<FailedItem>,
    /// Why the ledger is not whole, if it is not.
    ledger_problem: Option<String>,
}

impl Reporter {
    /// Starts the lists of an attempt, and returns the packs that an earlier one left in no index.
    ///
    /// # Errors
    /// The state folder cannot be written.
    pub fn open(job: &Job, context: &Context, inbox: Inbox) -> Result<(Self, Vec<PackRecord>)> {
        let (packs, adopt) = PackJournal::open(context.targets.state(), &job.id)?;
        let (clock, attempt) = (Arc::clone(&context.clock), job.attempt_count());
        let state = State {
            tracker: Tracker::new(clock.now().boot),
            failures: context.ledger.writer(&job.id, attempt),
            planned: context.ledger.writer(&job.id, attempt),
            failed_count: 0,
            failed: Vec::new(),
            ledger_problem: None,
        };
        Ok((
            Self { job: job.id.clone(), attempt, inbox, clock, state: Mutex::new(state), packs: Mutex::new(packs) },
            adopt,
        ))
    }

    /// Notes what a dry run would do with one item.
    pub fn plan(&self, item: &PlannedItem) {
        let mut state = self.state();
        let written = state.planned.append(item);
        state.note_ledger(written);
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
        state.note_ledger(synced);
        let done = *state.tracker.done();
        let totals = Totals {
            snapshot: None,
            files: done.files,
            bytes: done.bytes,
            bytes_stored: done.bytes_stored,
            failed_count: state.failed_count,
            failed: state.failed.clone(),
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

impl State {
    fn note_ledger(&mut self, result: Result<()>) {
        if let Err(error) = result {
            self.ledger_problem.get_or_insert_with(|| error.to_string());
        }
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
        state.note_ledger(written);
        state.tracker.count_failure();
        state.failed_count += 1;
        if state.failed.len() < SUMMARY_FAILED_MAX {
            state.failed.push(item.clone());
        }
        drop(state);
        self.say(News::ItemFailed(Box::new(item)));
    }

    fn notice(&self, sentence: &str) {
        self.say(News::Notice(sentence.to_owned()));
    }

    fn storing(&self, pack: &PackRecord) -> backup_engine::Result<()> {
        self.packs().add(pack).map_err(wire::engine_error)
    }

    fn indexed(&self) {
        // Packs that stay written down are found in the index next time, which costs a look and nothing else.
        if let Err(error) = self.packs().clear() {
            tracing::warn!(%error, "the journal of packs cannot be emptied");
        }
    }
}
