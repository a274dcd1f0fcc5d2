//! Files on their way from the walk to the threads that read them, several at a time: waking a thread costs more than
//! reading a small file.

use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::file::FileTask;
use crate::error::{Error, Result};
use crate::limits::READ_STEP;

/// Files that wait for a thread. Each may hold its folder open, so that this also bounds the number of open folders.
const FILES_WAITING: usize = 256;

/// The most files that are handed over at once.
const BATCH_FILES: usize = 32;

/// Batches that wait, beside the one that is gathered and those that threads work on.
const BATCHES_WAITING: usize = 4;

/// Files that one thread stores one after the other.
pub(super) type Batch = Vec<FileTask>;

/// The walk's end of the queue.
pub(super) struct Queue {
    to_threads: Sender<Batch>,
    batch: Batch,
    /// Bytes of the files in the batch.
    bytes: u64,
    most: usize,
}

impl Queue {
    /// Makes a queue for so many threads, and their end of it.
    pub(super) fn new(threads: usize) -> (Self, Receiver<Batch>) {
        let (to_threads, batches) = bounded(BATCHES_WAITING);
        let most = (FILES_WAITING / (threads + BATCHES_WAITING + 1)).clamp(1, BATCH_FILES);
        (Self { to_threads, batch: Vec::new(), bytes: 0, most }, batches)
    }

    /// Puts a file of so many bytes into the queue; waits while that is full.
    pub(super) fn add(&mut self, task: FileTask, bytes: u64) -> Result<()> {
        if self.batch.last().is_some_and(|last| !Arc::ptr_eq(&last.folder, &task.folder)) {
            self.folder_done()?;
        }
        self.batch.push(task);
        self.bytes += bytes;
        if self.batch.len() >= self.most || self.bytes >= READ_STEP as u64 { self.send() } else { Ok(()) }
    }

    /// Hands over what was gathered if a thread may wait for it.
    pub(super) fn folder_done(&mut self) -> Result<()> {
        if self.to_threads.is_empty() { self.send() } else { Ok(()) }
    }

    /// Hands over what was gathered.
    pub(super) fn send(&mut self) -> Result<()> {
        if self.batch.is_empty() {
            return Ok(());
        }
        self.bytes = 0;
        let batch = std::mem::replace(&mut self.batch, Vec::with_capacity(self.most));
        // The workers are gone only if one of them failed, and that error is the one to report.
        self.to_threads.send(batch).map_err(|_| Error::Cancelled)
    }
}
