//! One file: read, cut, and stored chunk by chunk, by one thread or by several.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crossbeam_channel::TrySendError;

use super::buffers::Buffer;
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
    data: Buffer,
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
    pub(super) fn store_chunk(&mut self, mut task: ChunkTask) -> Result<()> {
        let length = task.data.bytes().len();
        self.store_first(&task.file, task.number, &mut task.data, length)
    }

    /// Stores the first bytes of a buffer as a chunk of a file.
    fn store_first(&mut self, file: &PendingFile, number: usize, buffer: &mut Buffer, length: usize) -> Result<()> {
        let is_room = buffer.is_room();
        let (chunk, sealed) = buffer.parts(length);
        // A large chunk brings the memory to seal it in; a thread's own is for small ones.
        if is_room {
            self.sealer.swap_buffer(sealed);
        }
        let stored = self.store_data(chunk);
        if is_room {
            self.sealer.swap_buffer(sealed);
        }
        file.lock().chunks[number] = Some(stored?);
        self.chunk_done(file)
    }

    fn read(&mut self, reading: &mut Reading<'_>) -> Result<(), ReadError> {
        let mut search = self.session.chunker.search();
        let mut buffer = std::mem::take(&mut self.small);
        let done = loop {
            let end = match self.read_step(reading, &mut buffer) {
                Ok(end) => end,
                Err(error) => break Err(error),
            };
            if let Err(error) = self.store_cuts(reading, &mut search, &mut buffer, end) {
                break Err(ReadError::Fatal(error));
            }
            if end {
                break Ok(());
            }
        };
        if !buffer.is_room() {
            buffer.clear();
            self.small = buffer;
        }
        done
    }

    /// Appends what one read gives; returns whether the file is at its end.
    fn read_step(&mut self, reading: &mut Reading<'_>, buffer: &mut Buffer) -> Result<bool, ReadError> {
        let step = match reading.size.checked_sub(reading.length) {
            // One byte more than the file should have left tells its end without another read.
            Some(left) => usize::try_from(left).unwrap_or(READ_STEP).saturating_add(1).min(READ_STEP),
            // It grows, or it is one of the system's, whose length is not known.
            None => READ_STEP,
        };
        let session = self.session;
        let widened = session.buffers.widen(buffer, step, &reading.tasks.chunks, |chunk| self.store_chunk(chunk));
        widened.and_then(|()| self.step(step)).map_err(ReadError::Fatal)?;
        let mut file = reading.file;
        let read = loop {
            match file.read(buffer.space(step)) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                other => break other.map_err(|error| ReadError::Item(Error::io("read", reading.path)(error)))?,
            }
        };
        buffer.filled(read);
        reading.length += read as u64;
        self.tally.counts.bytes += read as u64;
        self.tally.progress.bytes += read as u64;
        let is_whole = read < step && reading.length >= reading.size;
        Ok(read == 0 || is_whole || reading.length > reading.size.saturating_add(GROWTH_MAX))
    }

    /// Stores every chunk that is complete.
    fn store_cuts(
        &mut self,
        reading: &Reading<'_>,
        search: &mut CutSearch,
        buffer: &mut Buffer,
        end: bool,
    ) -> Result<()> {
        while let Some(cut) = search.next_cut(buffer.bytes(), end) {
            let number = reading.pending.add_chunk();
            let is_last = end && cut == buffer.bytes().len();
            if is_last || !self.hand_out(reading, number, buffer, cut)? {
                self.store_first(reading.pending, number, buffer, cut)?;
                buffer.consume(cut);
            }
        }
        Ok(())
    }

    /// Gives a chunk to an idle thread; returns whether there is one, and memory to go on reading.
    fn hand_out(&mut self, reading: &Reading<'_>, number: usize, buffer: &mut Buffer, cut: usize) -> Result<bool> {
        if !buffer.is_room() || reading.tasks.to_others.is_full() {
            return Ok(false);
        }
        let Some(next) = self.session.buffers.try_room() else { return Ok(false) };
        let task = ChunkTask { data: buffer.split(cut, next), number, file: reading.pending.clone() };
        match reading.tasks.to_others.try_send(task) {
            Ok(()) => Ok(true),
            Err(TrySendError::Full(task) | TrySendError::Disconnected(task)) => self.store_chunk(task).map(|()| true),
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
        if let Some(node) = &node {
            let counts = &mut self.tally.counts;
            counts.entries += 1;
            counts.bytes_other += node.size;
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
