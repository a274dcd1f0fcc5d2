//! Comparing the sources with the record, by several threads: which folders are no more as they were.
//!
//! Every folder of the record is looked at, and in it every entry once. Where a folder's own times are as they were, and
//! can be relied on, its names are too and are not listed. Nothing is read of the repository. What differs is left to
//! the walk, which then goes only where something does.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use super::again::{concerns, is_at_or_below};
use super::recorded::Recorded;
use super::session::{Session, guard};
use crate::error::Result;
use crate::record::{Block, Child, Entry, Record, stamp_into, starts_with_identity};
use crate::source::is_local;
use crate::source::meta::kind_of;
use crate::source::walk::{Folder, Identity, Stat};
use crate::tree::NodeKind;

/// What a comparison has found; folders are known by where their blocks are.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Folders in which, or below which, something differs.
    pub(super) changed: HashSet<u64>,
    /// Folders that could not be compared, with all that is below them.
    pub(super) blind: HashSet<u64>,
    /// How many folders differ that the hints do not name, and one of them.
    pub(super) missed: u64,
    pub(super) example: Option<PathBuf>,
}

/// A folder that is to be compared.
struct Task {
    /// The folder that it is in; none for a source.
    above: Option<Arc<Folder>>,
    path: PathBuf,
    child: Child,
    /// Whether its own entry is as it was and can be relied on.
    is_same: bool,
    chain: Arc<Chain>,
}

/// A folder and those above it.
struct Chain {
    offset: u64,
    above: Option<Arc<Self>>,
    is_marked: AtomicBool,
}

struct Comparison<'c, 'a> {
    session: &'c Session<'a>,
    record: &'c Record,
    recorded: &'c Recorded,
    found: Mutex<Changes>,
    is_broken: AtomicBool,
    waiting: Mutex<Waiting>,
    woken: Condvar,
    idle: AtomicUsize,
    locals: Mutex<HashMap<u64, bool>>,
}

/// Folders that any thread may take.
struct Waiting {
    tasks: Vec<Task>,
    /// Threads that are at work and may bring more.
    busy: usize,
}

impl Changes {
    /// Compares the sources with the record; `None` if the record is not what was written.
    ///
    /// # Errors
    /// When the backup is to end.
    pub(super) fn find(session: &Session<'_>, record: &Record, sources: &[PathBuf]) -> Result<Option<Self>> {
        let threads = session.options.thread_count();
        let waiting = Waiting { tasks: Vec::new(), busy: threads };
        let comparison = Comparison {
            session,
            record,
            recorded: &session.recorded,
            found: Mutex::default(),
            is_broken: AtomicBool::new(false),
            waiting: Mutex::new(waiting),
            woken: Condvar::new(),
            idle: AtomicUsize::new(0),
            locals: Mutex::default(),
        };
        let tasks: Vec<Task> = sources.iter().filter_map(|source| comparison.source(source)).collect();
        guard(&comparison.waiting).tasks = tasks;
        let results: Vec<Result<()>> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..threads).map(|_| scope.spawn(|| comparison.work())).collect();
            // A thread that panics has proved nothing.
            threads.into_iter().map(|thread| thread.join().unwrap_or(Err(crate::Error::Cancelled))).collect()
        });
        results.into_iter().collect::<Result<()>>()?;
        let is_whole = !comparison.is_broken.load(Ordering::Relaxed);
        Ok(is_whole.then(|| comparison.found.into_inner().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl Comparison<'_, '_> {
    fn source(&self, path: &Path) -> Option<Task> {
        let entry = self.record.head.sources.get(path.as_os_str().as_bytes())?;
        let child = entry.child?;
        let stat = rustix::fs::lstat(path).ok();
        let is_same = stat.as_ref().is_some_and(|stat| has_stamp(&entry, stat));
        let chain = Arc::new(Chain { offset: child.offset, above: None, is_marked: AtomicBool::new(false) });
        let task = Task { above: None, path: path.to_owned(), child, is_same: is_same && !entry.is_unsettled, chain };
        if stat.is_some_and(|stat| starts_with_identity(entry.stamp, &stat)) {
            return (!self.is_spared(path, &child)).then_some(task);
        }
        self.give_up(&task);
        None
    }

    fn work(&self) -> Result<()> {
        let mut own: Vec<Task> = Vec::new();
        let ended = loop {
            let Some(task) = own.pop().or_else(|| self.take()) else { break Ok(()) };
            if let Err(error) = self.session.check().map(|()| self.folder(&task, &mut own)) {
                break Err(error);
            }
            if own.len() > 1 && self.idle.load(Ordering::Relaxed) > 0 {
                guard(&self.waiting).tasks.extend(own.drain(..1));
                self.woken.notify_one();
            }
        };
        if ended.is_err() {
            // The others end by the same sign, or here.
            self.is_broken.store(true, Ordering::Relaxed);
            guard(&self.waiting).busy = 0;
            self.woken.notify_all();
        }
        ended
    }

    /// Takes a folder that any thread may take; `None` if there will be none.
    fn take(&self) -> Option<Task> {
        let mut waiting = guard(&self.waiting);
        if let Some(task) = waiting.tasks.pop() {
            return Some(task);
        }
        waiting.busy = waiting.busy.saturating_sub(1);
        self.idle.fetch_add(1, Ordering::Relaxed);
        loop {
            if self.is_broken.load(Ordering::Relaxed) || (waiting.busy == 0 && waiting.tasks.is_empty()) {
                self.woken.notify_all();
                return None;
            }
            if let Some(task) = waiting.tasks.pop() {
                waiting.busy += 1;
                self.idle.fetch_sub(1, Ordering::Relaxed);
                return Some(task);
            }
            waiting = self.woken.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn folder(&self, task: &Task, own: &mut Vec<Task>) {
        let opened = match (&task.above, task.path.file_name()) {
            (Some(above), Some(name)) => above.open_child(name),
            _ => Folder::open_root(&task.path),
        };
        let Ok(folder) = opened else { return self.give_up(task) };
        let Some(block) = self.record.read(&task.child) else {
            return self.is_broken.store(true, Ordering::Relaxed);
        };
        let folder = Arc::new(folder);
        let has_names = (task.is_same && self.is_local(&folder)) || self.has_names(&folder, &block, &task.path);
        let is_doubtful = is_at_or_below(&self.record.head.doubts, &task.path);
        let (mut differs, mut is_unsettled) = (!has_names, is_doubtful);
        let mut stamp = Vec::with_capacity(64);
        for entry in block.entries() {
            // The walk looks at every entry of a folder that differs; here only the folders in it matter then.
            if entry.child.is_none() && (differs || is_unsettled) {
                continue;
            }
            let Ok(stat) = folder.look(OsStr::from_bytes(entry.name)) else {
                differs = true;
                continue;
            };
            stamp.clear();
            stamp_into(&mut stamp, &stat);
            let is_same = stamp == entry.stamp && !self.session.never.contains(&Identity::of(&stat));
            differs |= !is_same;
            match entry.child {
                None => is_unsettled |= entry.is_unsettled,
                Some(child) => own.extend(self.below(task, &folder, &entry, child, &stat, is_same)),
            }
        }
        self.judge(task, differs, is_unsettled);
    }

    /// Makes the task of a folder in a folder, unless it need not or cannot be looked at.
    fn below(
        &self,
        task: &Task,
        folder: &Arc<Folder>,
        entry: &Entry<'_>,
        child: Child,
        stat: &Stat,
        is_same: bool,
    ) -> Option<Task> {
        let path = task.path.join(OsStr::from_bytes(entry.name));
        let chain = Chain { offset: child.offset, above: Some(task.chain.clone()), is_marked: AtomicBool::new(false) };
        let (above, is_same) = (Some(folder.clone()), is_same && !entry.is_unsettled);
        let below = Task { above, path, child, is_same, chain: Arc::new(chain) };
        // Another folder has taken its place, on another file system even.
        if kind_of(stat) != NodeKind::Dir || !starts_with_identity(entry.stamp, stat) {
            self.give_up(&below);
            return None;
        }
        (!self.is_spared(&below.path, &child)).then_some(below)
    }

    /// Returns whether the hints say that nothing in a folder has changed, and may be believed.
    fn is_spared(&self, path: &Path, child: &Child) -> bool {
        self.recorded.hints(self.session.options).is_some_and(|hints| {
            !child.totals.no_hints && !concerns(hints, path) && !is_at_or_below(&self.record.head.doubts, path)
        })
    }

    /// Returns whether a folder has just the names it had, but for those that are left out.
    fn has_names(&self, folder: &Folder, block: &Block, path: &Path) -> bool {
        if block.is_cache() {
            // Its mark is among the entries, and nothing else in it counts.
            return true;
        }
        let Ok(listing) = folder.names() else { return false };
        if listing.error.is_some() {
            return false;
        }
        let mut there = listing
            .names
            .iter()
            .filter(|name| block.get(name.as_bytes()).is_some() || !self.is_left_out(folder, name, path));
        block.entries().all(|entry| there.next().is_some_and(|name| name.as_bytes() == entry.name))
            && there.next().is_none()
    }

    fn is_left_out(&self, folder: &Folder, name: &OsStr, path: &Path) -> bool {
        let options = self.session.options;
        if options.exclude.excluded(path.join(name).as_os_str().as_bytes()) {
            return true;
        }
        folder.look(name).is_ok_and(|stat| {
            let identity = Identity::of(&stat);
            let is_elsewhere = identity.device != folder.identity().device && kind_of(&stat) != NodeKind::Dir;
            self.session.never.contains(&identity) || (options.one_file_system && is_elsewhere)
        })
    }

    fn is_local(&self, folder: &Folder) -> bool {
        *guard(&self.locals).entry(folder.identity().device).or_insert_with(|| is_local(folder.as_fd()))
    }

    fn judge(&self, task: &Task, differs: bool, is_unsettled: bool) {
        if differs || is_unsettled {
            self.mark(&task.chain);
        }
        let Some(hints) = self.recorded.hints_to_judge(self.session.options).filter(|_| differs) else { return };
        if !concerns(hints, &task.path) {
            let mut found = guard(&self.found);
            found.missed += 1;
            found.example.get_or_insert_with(|| task.path.clone());
        }
    }

    /// Says that a folder cannot be compared.
    fn give_up(&self, task: &Task) {
        self.mark(&task.chain);
        guard(&self.found).blind.insert(task.child.offset);
    }

    /// Says that something in a folder differs, and so in all above it.
    fn mark(&self, chain: &Arc<Chain>) {
        let mut next = Some(chain);
        while let Some(chain) = next.filter(|chain| !chain.is_marked.swap(true, Ordering::Relaxed)) {
            guard(&self.found).changed.insert(chain.offset);
            next = chain.above.as_ref();
        }
    }
}

fn has_stamp(entry: &Entry<'_>, stat: &Stat) -> bool {
    let mut stamp = Vec::with_capacity(64);
    stamp_into(&mut stamp, stat);
    stamp == entry.stamp
}
