//! One file: read, cut, and stored chunk by chunk, by one thread or by several.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crossbeam_channel::TrySendError;

use super::building::Slot;
use super::worker::{Tasks, Worker};
use crate::chunker::CutSearch;
use crate::error::{Class, Error, Result};
use crate::id::BlobId;
use crate::limits::{GROWTH_MAX, READ_STEP};
use crate::monitor::ItemFailure;
use crate::source::handle::Place;
use crate::source::meta::{complete, describe};
use crate::source::walk::{Folder, OpenFile};
use crate::tree::Node;

/// A file that is to be stored.
pub(super) struct FileTask {
    pub(super) folder: Arc<Folder>,
    pub(super) name: OsString,
    /// Where it is, for messages.
    pub(super) path: PathBuf,
    pub(super) slot: Slot,
    /// Whether the parent snapshot has a file of this name.
    pub(super) known: bool,
}

/// A chunk that is to be stored.
pub(super) struct ChunkTask {
    data: Vec<u8>,
    number: usize,
    file: Arc<PendingFile>,
}

/// A file whose chunks are being stored.
struct PendingFile {
    state: Mutex<PendingState>,
}

struct PendingState {
    slot: Option<Slot>,
    /// The entry, once the file was read to its end; without it the file failed.
    node: Option<Node>,
    chunks: Vec<Option<BlobId>>,
    /// Chunks that are not stored yet, and one more while the file is read.
    missing: usize,
    known: bool,
}

impl Worker<'_, '_> {
    /// Reads a file and stores it. What goes wrong with the file is reported; errors are those that end the backup.
    pub(super) fn store_file(&mut self, task: FileTask, tasks: &Tasks) -> Result<()> {
        let FileTask { folder, name, path, slot, known } = task;
        self.step(0)?;
        self.session.monitor.current(&path);
        let opened = match folder.open_file(&name) {
            Ok(opened) => opened,
            Err(error) => {
                self.session.item_failed(unreadable(&path, &Error::io("read", &path)(error)));
                return slot.fill(None, self);
            }
        };
        let pending = Arc::new(PendingFile::new(slot, known));
        let size = u64::try_from(opened.stat.st_size).unwrap_or(0);
        let mut reading = Reading { file: &opened.file, path: &path, pending: &pending, tasks, size, length: 0 };
        let node = match self.read(&mut reading) {
            Ok(()) => Some(self.node_of(&name, &opened, reading.length, &path)),
            Err(ReadError::Item(error)) => {
                self.session.item_failed(unreadable(&path, &error));
                None
            }
            Err(ReadError::Fatal(error)) => return Err(error),
        };
        pending.lock().node = node;
        self.chunk_done(&pending)
    }

    /// Stores a chunk that another thread has read.
    pub(super) fn store_chunk(&mut self, task: ChunkTask) -> Result<()> {
        let ChunkTask { data, number, file } = task;
        let id = self.store_data(&data)?;
        self.session.buffers.give(data);
        file.lock().chunks[number] = Some(id);
        self.chunk_done(&file)
    }

    fn read(&mut self, reading: &mut Reading<'_>) -> Result<(), ReadError> {
        let mut search = self.session.chunker.search();
        let mut data = self.session.buffers.take();
        loop {
            let end = self.read_step(reading, &mut data)?;
            data = self.store_cuts(reading, &mut search, data, end)?;
            if end {
                self.session.buffers.give(data);
                return Ok(());
            }
        }
    }

    /// Appends what one read gives; returns whether the file is at its end.
    fn read_step(&mut self, reading: &mut Reading<'_>, data: &mut Vec<u8>) -> Result<bool, ReadError> {
        let step = match reading.size.checked_sub(reading.length) {
            // One byte more than the file should have left tells its end without another read.
            Some(left) => usize::try_from(left).unwrap_or(READ_STEP).saturating_add(1).min(READ_STEP),
            // It grows, or it is one of the system's, whose length is not known.
            None => READ_STEP,
        };
        self.step(step).map_err(ReadError::Fatal)?;
        let start = data.len();
        self.session.buffers.grow(data, step);
        data.resize(start + step, 0);
        let mut file = reading.file;
        let read = loop {
            match file.read(&mut data[start..]) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                other => break other.map_err(|error| ReadError::Item(Error::io("read", reading.path)(error)))?,
            }
        };
        data.truncate(start + read);
        reading.length += read as u64;
        self.tally.counts.bytes += read as u64;
        self.tally.progress.bytes += read as u64;
        let is_whole = read < step && reading.length >= reading.size;
        Ok(read == 0 || is_whole || reading.length > reading.size.saturating_add(GROWTH_MAX))
    }

    /// Stores every chunk that is complete, and returns what is left of the data.
    fn store_cuts(
        &mut self,
        reading: &Reading<'_>,
        search: &mut CutSearch,
        mut data: Vec<u8>,
        end: bool,
    ) -> Result<Vec<u8>, ReadError> {
        while let Some(cut) = search.next_cut(&data, end) {
            let mut rest = self.session.buffers.take();
            self.session.buffers.grow(&mut rest, data.len() - cut);
            rest.extend_from_slice(&data[cut..]);
            data.truncate(cut);
            let more = !(end && rest.is_empty());
            self.hand_out(reading, data, more).map_err(ReadError::Fatal)?;
            data = rest;
        }
        Ok(data)
    }

    /// Gives a chunk to an idle thread, or stores it here if there is none or it is the file's last.
    fn hand_out(&mut self, reading: &Reading<'_>, data: Vec<u8>, more: bool) -> Result<()> {
        let number = reading.pending.add_chunk();
        let task = ChunkTask { data, number, file: reading.pending.clone() };
        if !more {
            return self.store_chunk(task);
        }
        match reading.tasks.to_others.try_send(task) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(task) | TrySendError::Disconnected(task)) => self.store_chunk(task),
        }
    }

    /// Makes the file's entry, and reports a file that changed while it was read.
    fn node_of(&self, name: &OsStr, opened: &OpenFile, length: u64, path: &Path) -> Node {
        let mut node = describe(name, &opened.stat, &self.session.owners);
        match complete(&mut node, Place::Open(opened.file.as_fd())) {
            Ok(problems) => self.session.problems(path, problems),
            Err(error) => self.session.item_error(path, &Error::io("read the metadata of", path)(error)),
        }
        let after = rustix::fs::fstat(&opened.file).map(|stat| describe(name, &stat, &self.session.owners));
        let same = after.is_ok_and(|after| after.mtime == node.mtime && after.size == node.size);
        if !same || length != node.size {
            let message = format!("{} changed while it was read", path.display());
            let mut failure = ItemFailure::with(path, Class::Transient, message);
            failure.advice =
                "What was read is stored, but may be a mixture; the next backup reads it again.".to_owned();
            self.session.item_failed(failure);
        }
        Node { size: length, ..node }
    }

    /// Counts off a chunk, or the reading; whoever comes last fills the file's slot.
    fn chunk_done(&mut self, file: &PendingFile) -> Result<()> {
        let (slot, node, known) = {
            let mut state = file.lock();
            state.missing -= 1;
            if state.missing > 0 {
                return Ok(());
            }
            let chunks = std::mem::take(&mut state.chunks);
            let content = chunks.into_iter().collect::<Option<Vec<BlobId>>>();
            let node = state.node.take().map(|node| Node { content, ..node });
            (state.slot.take(), node, state.known)
        };
        if node.is_some() {
            let counts = &mut self.tally.counts;
            counts.entries += 1;
            *if known { &mut counts.files_changed } else { &mut counts.files_new } += 1;
            self.tally.progress.files += 1;
        }
        match slot {
            Some(slot) => slot.fill(node.as_ref(), self),
            None => Ok(()),
        }
    }
}

/// A file while it is read.
struct Reading<'r> {
    file: &'r File,
    path: &'r Path,
    pending: &'r Arc<PendingFile>,
    tasks: &'r Tasks,
    /// Its length when it was opened, in bytes.
    size: u64,
    /// Bytes read so far.
    length: u64,
}

/// Why reading a file ended early.
enum ReadError {
    /// Something is wrong with the file.
    Item(Error),
    /// The backup is to end.
    Fatal(Error),
}

impl PendingFile {
    fn new(slot: Slot, known: bool) -> Self {
        let state = PendingState { slot: Some(slot), node: None, chunks: Vec::new(), missing: 1, known };
        Self { state: Mutex::new(state) }
    }

    fn add_chunk(&self) -> usize {
        let mut state = self.lock();
        state.chunks.push(None);
        state.missing += 1;
        state.chunks.len() - 1
    }

    fn lock(&self) -> MutexGuard<'_, PendingState> {
        // A panic while it is held ends the backup before the file's entry is made.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The report of a file that could not be read; one that is gone is not damaged, and what took its place is stored
/// next time.
pub(super) fn unreadable(path: &Path, error: &Error) -> ItemFailure {
    match error {
        Error::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
            let message = format!("{} vanished during the backup", path.display());
            let mut failure = ItemFailure::with(path, Class::Transient, message);
            failure.advice = "If it was removed on purpose there is nothing to do.".to_owned();
            failure
        }
        Error::Io { source, .. } if source.kind() == std::io::ErrorKind::InvalidInput => {
            let mut failure = ItemFailure::with(path, Class::Transient, error.to_string());
            failure.advice = "The next backup stores what is there then.".to_owned();
            failure
        }
        _ => ItemFailure::new(path, error),
    }
}
