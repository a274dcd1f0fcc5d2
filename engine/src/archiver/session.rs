//! What the threads of one backup share, and how they begin and end.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use jiff::{SignedDuration, Timestamp};

use super::BackupOptions;
use super::buffers::Buffers;
use super::building::FolderChange;
use super::estimate::estimate;
use super::file::{ChunkTask, FileTask};
use super::roots::Roots;
use super::sources::SourceCount;
use super::walker::Walker;
use super::worker::{Tasks, Worker};
use crate::chunker::Chunker;
use crate::control::Gate;
use crate::error::{Class, Error, Result};
use crate::id::{BlobId, SnapshotId};
use crate::limits::RACY_SECONDS;
use crate::lock::Lock;
use crate::monitor::{ItemFailure, Monitor, PackRecord, Progress};
use crate::pack::{BlobSaver, Blobs, OpenPack};
use crate::repository::Repository;
use crate::snapshot::Snapshot;
use crate::source::meta::Problem;
use crate::source::owners::Owners;
use crate::source::walk::Identity;

/// Files that wait for a thread. Each holds its folder open, so that this also bounds the number of open folders.
const FILES_WAITING: usize = 256;

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
    to_write: Mutex<Option<Receiver<OpenPack>>>,
    counts: Mutex<Counts>,
    first_failure: Mutex<Option<ItemFailure>>,
    pub(super) buffers: Buffers,
    failed: AtomicBool,
    /// Whether everything is read.
    ended: AtomicBool,
    /// The top's tree, or the first error of any thread.
    end: (Sender<Result<BlobId>>, Receiver<Result<BlobId>>),
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
    pub(super) failed: u64,
    /// Sources, and entries in them, that were stored or opened.
    pub(super) entries: u64,
}

impl<'a> Session<'a> {
    pub(super) fn new(
        lock: &'a Lock,
        options: &'a BackupOptions,
        gate: &'a Gate,
        monitor: &'a dyn Monitor,
        parent: Option<&(SnapshotId, Snapshot)>,
    ) -> Result<Self> {
        let (saver, to_write) = BlobSaver::new(lock, gate, monitor);
        let identity = |path: &PathBuf| rustix::fs::stat(path).ok().map(|stat| Identity::of(&stat));
        let chunker = lock.repository().config().chunker()?;
        let parent_time = parent.map_or(Timestamp::MIN, |(_, snapshot)| snapshot.time);
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
            buffers: Buffers::new(2 * options.thread_count(), chunker.max()),
            chunker,
            failed: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            end: unbounded(),
        })
    }

    /// Lists packs of an interrupted attempt in the next index.
    pub(super) fn adopt(&self, packs: Vec<PackRecord>) {
        for pack in packs {
            self.saver.adopt(pack);
        }
    }

    /// Runs the threads; returns the top's tree and what each source held.
    pub(super) fn run(&self, roots: &Roots, parent: Option<&Snapshot>) -> Result<(BlobId, Vec<SourceCount>)> {
        let (tree, sources) = self.run_threads(roots, parent);
        match tree {
            Ok(tree) => {
                self.saver.flush()?;
                Ok((tree, sources))
            }
            // Nothing more may be written.
            Err(error @ Error::LockLost { .. }) => Err(error),
            Err(error) => {
                // What was stored so far is listed, so that it is known next time; the first error is what counts.
                let _ = self.saver.flush();
                Err(error)
            }
        }
    }

    fn run_threads(&self, roots: &Roots, parent: Option<&Snapshot>) -> (Result<BlobId>, Vec<SourceCount>) {
        let threads = self.options.thread_count();
        let (files, waiting_files) = bounded::<FileTask>(FILES_WAITING);
        let (chunks, waiting_chunks) = bounded::<ChunkTask>(threads.div_ceil(2));
        let (running, stopped) = bounded::<()>(0);
        let tasks = Tasks { files: waiting_files, chunks: waiting_chunks, to_others: chunks, stopped };
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| self.write_packs());
            let counter = scope.spawn(|| estimate(self, &roots.sources, parent));
            let workers: Vec<_> = (0..threads)
                .map(|_| {
                    let tasks = tasks.clone();
                    scope.spawn(move || self.work(&tasks))
                })
                .collect();
            drop(tasks);
            let sources = self.walk(roots, parent, &files);
            let tree = self.end.1.recv().unwrap_or(Err(Error::Cancelled));
            drop((running, files));
            self.ended.store(true, Ordering::Relaxed);
            for worker in workers {
                // A panic was reported as an error by the thread's guard.
                let _ = worker.join();
            }
            self.saver.close();
            let _ = (writer.join(), counter.join());
            // The writer may have failed after the last tree was handed in.
            let tree = match self.end.1.try_recv() {
                Ok(Err(error)) => tree.and(Err(error)),
                _ => tree,
            };
            (tree, sources)
        })
    }

    fn walk(&self, roots: &Roots, parent: Option<&Snapshot>, files: &Sender<FileTask>) -> Vec<SourceCount> {
        let _guard = PanicGuard(self);
        let mut sources = vec![SourceCount::default(); roots.sources.len()];
        let walked = Worker::new(self)
            .and_then(|mut worker| Walker::new(self, &mut worker, files, roots, &mut sources)?.run(parent));
        match walked {
            Ok(()) => {
                let (files, bytes) =
                    (sources.iter().map(|source| source.files), sources.iter().map(|source| source.bytes));
                self.monitor.total(files.sum(), bytes.sum());
            }
            Err(error) => self.fail(error),
        }
        sources
    }

    fn work(&self, tasks: &Tasks) {
        let _guard = PanicGuard(self);
        if let Err(error) = Worker::new(self).and_then(|mut worker| worker.run(tasks)) {
            self.fail(error);
        }
    }

    fn write_packs(&self) {
        let _guard = PanicGuard(self);
        let to_write = guard(&self.to_write).take();
        if let Some(to_write) = to_write
            && let Err(error) = self.saver.write_packs(to_write)
        {
            self.fail(error);
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

    /// Reports an item that could not be stored, or not wholly.
    pub(super) fn item_failed(&self, failure: ItemFailure) {
        guard(&self.counts).failed += 1;
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

    pub(super) fn folder_done(&self, change: FolderChange) {
        self.count(|counts| match change {
            FolderChange::New => counts.folders_new += 1,
            FolderChange::Changed => counts.folders_changed += 1,
            FolderChange::Unmodified => counts.folders_unmodified += 1,
        });
        self.monitor.progress(&Progress { folders: 1, ..Progress::default() });
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

/// Ends the backup when a thread panics, so that the others do not wait for it.
struct PanicGuard<'s, 'a>(&'s Session<'a>);

impl Drop for PanicGuard<'_, '_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let message = "a thread of the backup ended unexpectedly; please report this".to_owned();
            self.0.fail(Error::Storage { message, class: Class::Transient });
        }
    }
}

fn guard<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Counters and single values: a panic elsewhere cannot leave them half changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
