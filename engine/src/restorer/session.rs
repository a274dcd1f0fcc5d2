//! What the threads of one restore share.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::Stat;

use super::options::{Overwrite, RestoreOptions, RestoreSummary};
use super::plan::Read;
use super::target::Target;
use crate::blob::{BlobLimits, Opener};
use crate::control::Gate;
use crate::error::{Class, Error, Result};
use crate::memory::Held;
use crate::monitor::{ItemFailure, Monitor, Progress};
use crate::repository::Repository;
use crate::source::handle::Place;
use crate::source::meta::{Aspect, describe};
use crate::source::owners::Owners;
use crate::tree::{Node, NodeKind};

/// What one thread of a restore keeps, since new memory and zstd's contexts are costly.
pub(super) struct Tools {
    pub(super) opener: Opener,
    /// A range of a pack.
    pub(super) range: Vec<u8>,
    /// What both take.
    pub(super) held: Held,
}

impl Tools {
    fn new(session: &Session<'_>) -> Result<Self> {
        let held = session.gate.memory().held();
        Ok(Self { opener: Opener::new(session.blob_limits)?, range: Vec::new(), held })
    }

    /// Sees to it that there is memory to read a range and to open what is in it.
    pub(super) fn make_room(&mut self, read: &Read) {
        let Self { opener, range, held } = self;
        held.need(read.memory(range.capacity(), opener), || {
            opener.forget();
            *range = Vec::new();
        });
    }
}

/// What the threads of one restore share.
pub(super) struct Session<'a> {
    pub(super) repository: &'a Repository,
    pub(super) options: &'a RestoreOptions,
    pub(super) gate: &'a Gate,
    pub(super) monitor: &'a dyn Monitor,
    pub(super) blob_limits: BlobLimits,
    /// Whether new files can be made without a name.
    pub(super) unnamed: bool,
    summary: Mutex<RestoreSummary>,
    owners: Owners,
    owner_said: AtomicBool,
}

impl<'a> Session<'a> {
    pub(super) fn new(
        repository: &'a Repository,
        options: &'a RestoreOptions,
        gate: &'a Gate,
        monitor: &'a dyn Monitor,
    ) -> Self {
        let summary = Mutex::default();
        Self {
            repository,
            options,
            gate,
            monitor,
            blob_limits: options.limits.blobs(repository),
            unnamed: false,
            summary,
            owners: Owners::default(),
            owner_said: AtomicBool::new(false),
        }
    }

    /// Does a number of tasks on several threads; the first error ends all of them.
    pub(super) fn parallel(&self, tasks: usize, task: impl Fn(&mut Tools, usize) -> Result<()> + Sync) -> Result<()> {
        let next = AtomicUsize::new(0);
        let stop = AtomicBool::new(false);
        let run = || {
            let mut tools = Tools::new(self)?;
            while !stop.load(Ordering::Relaxed) {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= tasks {
                    break;
                }
                task(&mut tools, number).inspect_err(|_| stop.store(true, Ordering::Relaxed))?;
            }
            Ok(())
        };
        let threads = self.options.thread_count().min(tasks);
        if threads <= 1 {
            return run();
        }
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
            let mut result = Ok(());
            for thread in threads {
                let ended = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                result = result.and(ended);
            }
            result
        })
    }

    /// Returns whether an entry that is there and differs may be replaced.
    pub(super) fn may_replace(&self, node: &Node, target: &Target, there: &Stat) -> bool {
        match self.options.overwrite {
            Overwrite::Never => false,
            Overwrite::Always => true,
            Overwrite::Older => {
                let there = describe("".as_ref(), there, &self.owners);
                // A folder's time says nothing about what is in it.
                let hides_nothing =
                    there.kind != NodeKind::Dir || target.is_empty_folder(OsStr::from_bytes(&node.name));
                there.mtime < node.mtime && hides_nothing
            }
        }
    }

    /// Gives an entry that is complete its name. What has it already is replaced, or kept under another if asked for.
    pub(super) fn take_name(&self, target: &Target, name: &OsStr, replaces: bool) -> std::io::Result<()> {
        if replaces { target.finish_replacing(name, self.options.keep_replaced) } else { target.finish_new(name) }
    }

    /// Returns whether the metadata of entries that are there may be changed.
    pub(super) fn may_touch(&self) -> bool {
        self.options.overwrite != Overwrite::Never || self.options.resumed
    }

    /// Gives an entry its metadata, and reports what cannot be given.
    pub(super) fn apply(&self, node: &Node, place: Place<'_>, path: &Path) {
        for problem in crate::source::apply::apply(node, place) {
            if problem.aspect == Aspect::Owner {
                if !self.owner_said.swap(true, Ordering::Relaxed) {
                    let first = path.display();
                    self.monitor.notice(&format!(
                        "Owners could not be restored everywhere, first of {first}: that takes a daemon that runs as root."
                    ));
                }
            } else {
                self.item_error(path, &problem.into_error(path));
            }
        }
    }

    /// Counts a file that is there and right; `unchanged` of its bytes were before.
    pub(super) fn restored_file(&self, length: u64, unchanged: u64) {
        self.count(|summary| {
            summary.files += 1;
            summary.bytes += length;
            summary.bytes_unchanged += unchanged;
        });
        self.progress(&Progress { files: 1, bytes: unchanged, bytes_unchanged: unchanged, ..Progress::default() });
    }

    pub(super) fn progress(&self, delta: &Progress) {
        self.monitor.progress(delta);
    }

    /// Reports an entry that was there, differs and was kept.
    pub(super) fn kept(&self, path: &Path) {
        self.count(|summary| summary.kept += 1);
        let message = format!("{} is there already and differs; it was kept", path.display());
        let mut failure = ItemFailure::with(path, Class::Misuse, message);
        failure.advice =
            "Restore to another folder, or ask to overwrite with `--overwrite older` or `always`.".to_owned();
        self.item_failed(failure);
    }

    pub(super) fn item_error(&self, path: &Path, error: &Error) {
        self.item_failed(ItemFailure::new(path, error));
    }

    fn item_failed(&self, failure: ItemFailure) {
        self.count(|summary| summary.failed += 1);
        self.monitor.item_failed(failure);
    }

    pub(super) fn count(&self, change: impl FnOnce(&mut RestoreSummary)) {
        change(&mut self.guard());
    }

    pub(super) fn take_summary(&self) -> RestoreSummary {
        std::mem::take(&mut *self.guard())
    }

    /// Returns where an entry of the snapshot goes.
    pub(super) fn destination(&self, start: &[u8], path: &[u8]) -> PathBuf {
        let below = path.strip_prefix(start).unwrap_or(path);
        let below = below.strip_prefix(b"/").unwrap_or(below);
        self.options.destination.join(super::walk::to_path(below))
    }

    fn guard(&self) -> MutexGuard<'_, RestoreSummary> {
        // Counters: a panic elsewhere cannot leave them half changed.
        self.summary.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
