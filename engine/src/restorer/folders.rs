//! The restore's walk: folders are made on the way down, files gathered into batches, and folders get their metadata
//! when everything in them is there.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::os::fd::AsFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use rustix::process::{Resource, getrlimit};

use super::batch::FileJob;
use super::pipe::Batch;
use super::session::Session;
use super::special::restore_special;
use super::target::Target;
use super::walk::{Selection, Start, Visit, join};
use crate::error::{Error, Result};
use crate::source::handle::Place;
use crate::tree::{Node, NodeKind};

/// A batch is restored when it holds this many files: enough to read packs in order, few enough to keep in memory.
const BATCH_FILES: usize = 16 * 1024;

/// The same for chunks.
const BATCH_CHUNKS: usize = 64 * 1024;

/// The same for folders, and for files of several chunks, which are held open: an eighth of what the process may open,
/// since two batches of both are on their way at once, and within these bounds.
const BATCH_OPEN: std::ops::RangeInclusive<usize> = 32..=2048;

/// Returns how many folders or files of several chunks a batch holds.
fn batch_open() -> usize {
    let limit =
        getrlimit(Resource::Nofile).current.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    (limit / 8).clamp(*BATCH_OPEN.start(), *BATCH_OPEN.end())
}

/// Restores what a walk meets.
pub(super) struct Restorer<'s, 'a> {
    session: &'s Session<'a>,
    selection: &'s Selection,
    start: &'s Start,
    root: Arc<Target>,
    /// The folders that lead to where the walk is.
    levels: Vec<Level>,
    batch: Batch,
    chunks: usize,
    open: usize,
    open_max: usize,
    /// Where batches go to be restored.
    batches: SyncSender<Batch>,
    /// Names at the top of the destination that are in the snapshot.
    top_names: HashSet<OsString>,
}

struct Level {
    node: Node,
    target: Option<Arc<Target>>,
    path: Vec<u8>,
    names: HashSet<OsString>,
}

impl<'s, 'a> Restorer<'s, 'a> {
    pub(super) fn new(
        session: &'s Session<'a>,
        selection: &'s Selection,
        start: &'s Start,
        root: Arc<Target>,
        batches: SyncSender<Batch>,
    ) -> Self {
        Self {
            session,
            selection,
            start,
            root,
            levels: Vec::new(),
            batch: Batch::default(),
            chunks: 0,
            open: 0,
            open_max: batch_open(),
            batches,
            top_names: HashSet::new(),
        }
    }

    /// Passes on what is left, waits with `restored` for all of it, and makes it durable. After an error, what was begun
    /// is left for a later attempt.
    pub(super) fn finish(mut self, walked: Result<()>, restored: impl FnOnce() -> Result<()>) -> Result<()> {
        let sent = walked.and_then(|()| self.flush());
        // Without a sender, those who restore come to an end.
        self.batches = std::sync::mpsc::sync_channel(0).0;
        // They know best why a batch was not taken.
        restored().and(sent)?;
        if self.session.options.delete {
            let (root, names) = (self.root.clone(), std::mem::take(&mut self.top_names));
            self.delete_others(&root, &self.start.path.clone(), &names);
        }
        // A destination that was made for a folder's contents stands for that folder; one that was there is the user's.
        if let Some(node) = self.start.node.as_ref().filter(|_| self.root.is_made()) {
            self.session.apply(node, Place::Open(self.root.as_fd()), self.root.path());
        }
        if self.root.is_gone() {
            return Err(Error::io("restore to", self.root.path())(std::io::ErrorKind::NotFound.into()));
        }
        self.root.sync().map_err(Error::io("sync", self.root.path()))
    }

    /// Keeps in mind which names the snapshot's folder has, if others are to be removed.
    fn keep(&mut self, node: &Node) {
        if self.session.options.delete {
            let names = self.levels.last_mut().map_or(&mut self.top_names, |level| &mut level.names);
            names.insert(OsString::from_vec(node.name.clone()));
        }
    }

    /// Returns the folder that the walk is in, which is made if it was not yet.
    fn target(&mut self) -> Result<Arc<Target>, (PathBuf, Error)> {
        let made = self.levels.iter().rposition(|level| level.target.is_some());
        let mut target = made.and_then(|at| self.levels[at].target.clone()).unwrap_or_else(|| self.root.clone());
        for level in &mut self.levels[made.map_or(0, |at| at + 1)..] {
            let path = target.path().join(OsStr::from_bytes(&level.node.name));
            let child = open_folder(self.session, &target, &level.node);
            target = Arc::new(child.map_err(|error| (path.clone(), Error::io("create", path)(error)))?);
            level.target = Some(target.clone());
            self.session.count(|summary| summary.folders += 1);
        }
        Ok(target)
    }

    fn file(&mut self, target: Arc<Target>, node: Node) -> Result<()> {
        let name = OsString::from_vec(node.name.clone());
        let chunks = node.content.as_ref().map_or(0, Vec::len);
        self.chunks += chunks;
        self.open += usize::from(chunks > 1);
        self.batch.files.push(FileJob { target, name, node });
        self.flush_if_full()
    }

    fn flush_if_full(&mut self) -> Result<()> {
        let Batch { files, folders } = &self.batch;
        let open = self.open.max(folders.len());
        let is_full = files.len() >= BATCH_FILES || self.chunks >= BATCH_CHUNKS || open >= self.open_max;
        if is_full { self.flush() } else { Ok(()) }
    }

    /// Passes the batch on, as soon as the one before it is restored.
    fn flush(&mut self) -> Result<()> {
        (self.chunks, self.open) = (0, 0);
        // Nobody takes it after an error, which is found when all have ended.
        self.batches.send(std::mem::take(&mut self.batch)).map_err(|_| Error::Cancelled)
    }

    /// Removes what is in a folder of the destination and not in the snapshot's.
    fn delete_others(&self, target: &Target, path: &[u8], names: &HashSet<OsString>) {
        let listed = match target.names() {
            Ok(listed) => listed,
            Err(error) => return self.session.item_error(target.path(), &Error::io("list", target.path())(error)),
        };
        for name in listed {
            if names.contains(&name) || !self.selection.takes(&join(path, name.as_bytes())) {
                continue;
            }
            match target.remove(&name) {
                Ok(()) => self.session.count(|summary| summary.deleted += 1),
                Err(error) => {
                    let path = target.path().join(&name);
                    self.session.item_error(&path, &Error::io("remove", &path)(error));
                }
            }
        }
    }
}

impl Visit for Restorer<'_, '_> {
    fn enter(&mut self, path: &[u8], node: &Node, selected: bool) -> Result<bool> {
        self.keep(node);
        let level = Level { node: node.clone(), target: None, path: path.to_vec(), names: HashSet::new() };
        self.levels.push(level);
        if !selected {
            return Ok(true);
        }
        match self.target() {
            Ok(_) => Ok(true),
            Err((path, error)) => {
                self.levels.pop();
                match error {
                    Error::Io { source, .. } if source.kind() == std::io::ErrorKind::NotADirectory => {
                        self.session.kept(&path);
                    }
                    error => self.session.item_error(&path, &error),
                }
                Ok(false)
            }
        }
    }

    fn leave(&mut self) -> Result<()> {
        let Some(level) = self.levels.pop() else { return Ok(()) };
        let Some(target) = level.target else { return Ok(()) };
        if self.session.options.delete {
            self.delete_others(&target, &level.path, &level.names);
        }
        self.session.progress(&crate::monitor::Progress { folders: 1, ..Default::default() });
        self.batch.folders.push((target, level.node));
        self.flush_if_full()
    }

    fn entry(&mut self, _: &[u8], node: Node) -> Result<()> {
        self.keep(&node);
        let target = match self.target() {
            Ok(target) => target,
            Err((path, error)) => {
                self.session.item_error(&path, &error);
                return Ok(());
            }
        };
        match node.kind {
            NodeKind::File => self.file(target, node)?,
            _ => restore_special(self.session, &target, &node),
        }
        Ok(())
    }

    fn broken(&mut self, path: &[u8], error: Error) {
        let path = self.session.destination(&self.start.path, path);
        self.session.item_error(&path, &error);
    }
}

/// Opens a folder that is there, or makes it, in the place of something else if that may be replaced.
fn open_folder(session: &Session<'_>, target: &Target, node: &Node) -> std::io::Result<Target> {
    let name = OsStr::from_bytes(&node.name);
    match target.child(name) {
        Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => {
            let there = target.look(name)?;
            if !there.is_some_and(|there| session.may_replace(node, target, &there)) {
                return Err(error);
            }
            target.make_part_folder(name)?;
            session.take_name(target, name, true)?;
            target.made_child(name)
        }
        other => other,
    }
}
