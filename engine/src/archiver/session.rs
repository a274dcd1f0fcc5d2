//! What the threads of one backup share.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use crossbeam_channel::{Receiver, Sender, unbounded};
use jiff::{SignedDuration, Timestamp};

use super::BackupOptions;
use super::again::Again;
use super::begun::BegunBefore;
use super::buffers::Buffers;

use super::building::Building;
use super::leftovers::Leftovers;
use super::need::Room;
use super::past::Past;
use super::recorded::Recorded;
use crate::chunker::Chunker;
use crate::control::Gate;
use crate::error::{Class, Error, Result};
use crate::id::BlobId;
use crate::limits::RACY_SECONDS;
use crate::lock::Lock;
use crate::monitor::{ItemFailure, Monitor, PackRecord};
use crate::pack::{BlobSaver, Blobs, OpenPack};
use crate::repository::Repository;
use crate::source::meta::Problem;
use crate::source::owners::Owners;
use crate::source::walk::{Identity, Stat};
use crate::tree::Node;

/// What the threads of one backup share.
pub(super) struct Session<'a> {
    pub(super) repository: &'a Repository,
    pub(super) options: &'a BackupOptions,
    pub(super) gate: &'a Gate,
    pub(super) monitor: &'a dyn Monitor,
    pub(super) saver: BlobSaver<'a>,
    pub(super) chunker: Chunker,
    /// What is left out, whatever its name.
    pub(super) never: HashSet<Identity>,
    pub(super) owners: Owners,
    /// A file that was touched at this time or later may have changed after the parent snapshot looked at it.
    pub(super) settled_before: Timestamp,
    pub(super) to_write: Mutex<Option<Receiver<OpenPack>>>,
    counts: Mutex<Counts>,
    first_failure: Mutex<Option<ItemFailure>>,
    pub(super) buffers: Buffers,
    failed: AtomicBool,
    /// Whether everything is read.
    pub(super) ended: AtomicBool,
    /// The top of what is being stored.
    pub(super) top: OnceLock<Arc<Building>>,
    pub(super) leftovers: Mutex<Leftovers>,
    pub(super) again: Again<'a>,
    pub(super) begun: BegunBefore,
    pub(super) lock: &'a Lock,
    pub(super) room: Option<Room>,
    pub(super) recorded: Recorded,
    /// The top's tree, or the first error of any thread.
    pub(super) end: (Sender<Result<BlobId>>, Receiver<Result<BlobId>>),
}

/// What was done so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) files_new: u64,
    pub(super) files_changed: u64,
    pub(super) files_unmodified: u64,
    pub(super) folders_new: u64,
    pub(super) folders_changed: u64,
    pub(super) folders_unmodified: u64,
    pub(super) bytes: u64,
    /// Of these, bytes of files that were not read.
    pub(super) bytes_unchanged: u64,
    /// Bytes of files that are stored and that the parent snapshot does not have like that.
    pub(super) bytes_other: u64,
    pub(super) failed: u64,
    /// Sources, and entries in them, that were stored or opened.
    pub(super) entries: u64,
    /// Folders that had changed without a hint.
    pub(super) hints_missed: u64,
}

impl Counts {
    /// Adds what a thread has done.
    pub(super) fn add(&mut self, more: &Self) {
        self.files_new += more.files_new;
        self.files_changed += more.files_changed;
        self.files_unmodified += more.files_unmodified;
        self.folders_new += more.folders_new;
        self.folders_changed += more.folders_changed;
        self.folders_unmodified += more.folders_unmodified;
        self.bytes += more.bytes;
        self.bytes_unchanged += more.bytes_unchanged;
        self.bytes_other += more.bytes_other;
        self.failed += more.failed;
        self.entries += more.entries;
        self.hints_missed += more.hints_missed;
    }

    /// Returns how many files are stored.
    pub(super) fn files(&self) -> u64 {
        self.files_new + self.files_changed + self.files_unmodified
    }
}

impl<'a> Session<'a> {
    pub(super) fn new(
        lock: &'a Lock,
        options: &'a BackupOptions,
        gate: &'a Gate,
        monitor: &'a dyn Monitor,
        past: &Past,
        recorded: Recorded,
        begun: BegunBefore,
    ) -> Result<Self> {
        let (saver, to_write) = BlobSaver::new(lock, gate, monitor);
        let identity = |path: &PathBuf| rustix::fs::stat(path).ok().map(|stat| Identity::of(&stat));
        let chunker = lock.repository().config().chunker()?;
        let parent_time = past.snapshot().map_or(Timestamp::MIN, |snapshot| snapshot.time);
        let racy = SignedDuration::from_secs(RACY_SECONDS);
        Ok(Self {
            repository: lock.repository(),
            options,
            gate,
            monitor,
            saver,
            never: options.never.iter().filter_map(identity).collect(),
            settled_before: parent_time.checked_sub(racy).unwrap_or(Timestamp::MIN),
            owners: Owners::default(),
            to_write: Mutex::new(Some(to_write)),
            counts: Mutex::default(),
            first_failure: Mutex::default(),
            buffers: Buffers::take(gate.memory(), options.memory, options.thread_count(), chunker.max()),
            chunker,
            failed: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            top: OnceLock::new(),
            leftovers: Mutex::new(Leftovers::new(lock, options, past, &begun)),
            again: Again::new(options, past),
            begun,
            room: Room::new(options, past, lock.repository().is_dry()),
            lock,
            recorded,
            end: unbounded(),
        })
    }

    /// Lists packs of an interrupted attempt in the next index.
    pub(super) fn adopt(&self, packs: Vec<PackRecord>) {
        for pack in packs {
            self.saver.adopt(pack);
        }
    }

    /// Ends the backup with an error; the first one counts.
    pub(super) fn fail(&self, error: Error) {
        self.failed.store(true, Ordering::Relaxed);
        let _ = self.end.0.send(Err(error));
    }

    /// Ends the walk and the reading with the top's tree.
    pub(super) fn finish(&self, tree: BlobId) {
        let _ = self.end.0.send(Ok(tree));
    }

    /// Passes the gate, unless another thread has failed.
    pub(super) fn check(&self) -> Result<()> {
        if self.failed.load(Ordering::Relaxed) {
            return Err(Error::Cancelled);
        }
        self.gate.check()
    }

    /// Returns whether there is still something to read; waits while the gate is paused.
    pub(super) fn is_running(&self) -> bool {
        self.check().is_ok() && !self.ended.load(Ordering::Relaxed)
    }

    /// Returns whether a file as the parent snapshot has it was left alone for long enough before that looked at it.
    pub(super) fn is_settled(&self, before: &Node) -> bool {
        let settled = |time: Option<Timestamp>| time.is_some_and(|time| time < self.settled_before);
        settled(before.mtime) && settled(before.ctime)
    }

    /// Returns whether an entry that is looked at now was left alone for long enough before this run.
    pub(super) fn will_be_settled(&self, stat: &Stat) -> bool {
        let racy = SignedDuration::from_secs(RACY_SECONDS);
        let settled_before = self.options.time.checked_sub(racy).unwrap_or(Timestamp::MIN).as_second();
        stat.st_mtime < settled_before && stat.st_ctime < settled_before
    }

    /// Reports an item that could not be stored, or not wholly.
    pub(super) fn item_failed(&self, failure: ItemFailure) {
        guard(&self.counts).failed += 1;
        self.recorded.doubt(&failure.path);
        guard(&self.first_failure).get_or_insert_with(|| failure.clone());
        self.monitor.item_failed(failure);
    }

    /// Reports an item that could not be stored because of an error.
    pub(super) fn item_error(&self, path: &Path, error: &Error) {
        self.item_failed(ItemFailure::new(path, error));
    }

    /// Reports what could not be read of an entry's metadata.
    pub(super) fn problems(&self, path: &Path, problems: Vec<Problem>) {
        for problem in problems {
            self.item_error(path, &problem.into_error(path));
        }
    }

    pub(super) fn count(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut guard(&self.counts));
    }

    pub(super) fn counts(&self) -> Counts {
        *guard(&self.counts)
    }

    pub(super) fn added(&self) -> Blobs {
        self.saver.added()
    }

    /// The error of a backup that found none of its sources.
    pub(super) fn nothing_read(&self) -> Error {
        let (message, class) = match &*guard(&self.first_failure) {
            Some(failure) => (failure.message.clone(), failure.class),
            None => ("everything in the sources is excluded".to_owned(), Class::Misuse),
        };
        Error::Storage { message: format!("none of the sources could be read: {message}"), class }
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        if let Some(top) = self.top.get() {
            top.take_apart();
        }
    }
}

pub(super) fn guard<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Counters and single values: a panic elsewhere cannot leave them half changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
