//! The thread that writes: takes every commit that waits, syncs once for all of them, then answers.

use std::path::PathBuf;
use std::sync::mpsc::Receiver;

use tokio::sync::oneshot;

use super::checkpoint::{self, Contents};
use super::files;
use super::frame::{self, Change, Record};
use super::journal::{AppendError, JournalWriter};
use super::queue::Queue;
use crate::error::{Error, Result};

/// Commits that are synced together at most.
const GROUP_MAX: usize = 256;

/// A checkpoint is written after this many commits; a start reads at most twice as many.
const CHECKPOINT_COMMITS: u64 = 10_000;

/// A checkpoint is written after this many bytes of journal, so that its files stay small.
const CHECKPOINT_BYTES: u64 = 32 * 1024 * 1024;

/// What the store's thread is asked.
pub(super) enum Request {
    /// Make these changes durable, all or none.
    Commit {
        /// What changes.
        changes: Vec<Change>,
        /// Gets the sequence.
        reply: oneshot::Sender<Result<u64>>,
    },
    /// Write a checkpoint and stop.
    Close {
        /// Is told when that is done.
        reply: oneshot::Sender<Result<()>>,
    },
}

/// A commit that was encoded and waits for the sync.
struct Pending {
    record: Record,
    reply: oneshot::Sender<Result<u64>>,
}

/// The one writer of the store's files.
pub(super) struct Writer {
    pub(super) folder: PathBuf,
    pub(super) journal: JournalWriter,
    pub(super) queue: Queue,
    pub(super) contents: Contents,
    pub(super) sequence: u64,
    /// Sequence of the newest checkpoint.
    pub(super) checkpointed: u64,
    /// Bytes written to the journal since then.
    pub(super) bytes: u64,
    /// Why nothing may be written any more, if so.
    pub(super) fence: Option<String>,
}

impl Writer {
    /// Serves requests until it is told to close or nobody is left to ask.
    pub(super) fn serve(mut self, inbox: &Receiver<Request>) {
        while let Ok(request) = inbox.recv() {
            let mut group = vec![request];
            group.extend(inbox.try_iter().take(GROUP_MAX - 1));
            let mut commits = Vec::new();
            let mut closing = None;
            for request in group {
                match request {
                    Request::Commit { changes, reply } => commits.push((changes, reply)),
                    Request::Close { reply } => closing = Some(reply),
                }
            }
            self.commit(commits);
            if let Some(reply) = closing {
                let _ = reply.send(self.close());
                return;
            }
            if self.sequence - self.checkpointed >= CHECKPOINT_COMMITS || self.bytes >= CHECKPOINT_BYTES {
                self.checkpoint_or_go_on();
            }
        }
    }

    fn commit(&mut self, commits: Vec<(Vec<Change>, oneshot::Sender<Result<u64>>)>) {
        let mut frames = Vec::new();
        let mut pending: Vec<Pending> = Vec::new();
        for (changes, reply) in commits {
            let record = Record { sequence: self.sequence + 1 + pending.len() as u64, changes };
            match frame::encode(&record) {
                Some(frame) => {
                    frames.extend_from_slice(&frame);
                    pending.push(Pending { record, reply });
                }
                None => {
                    let problem = std::io::Error::from(std::io::ErrorKind::FileTooLarge);
                    let _ = reply.send(Err(Error::io("add a record to", &self.folder)(problem)));
                }
            }
        }
        if pending.is_empty() {
            return;
        }
        match self.append(&frames) {
            Ok(()) => self.acknowledge(pending),
            Err(refuse) => {
                for waiting in pending {
                    let _ = waiting.reply.send(Err(refuse()));
                }
            }
        }
    }

    /// Makes frames durable, or returns how to say why not to each that waits.
    fn append(&mut self, frames: &[u8]) -> Result<(), Box<dyn Fn() -> Error>> {
        if let Some(problem) = self.fence.clone() {
            return Err(Box::new(move || Error::Fenced { problem: problem.clone() }));
        }
        match self.journal.append(frames) {
            Ok(()) => {
                self.bytes += frames.len() as u64;
                Ok(())
            }
            Err(AppendError::Refused(error)) => Err(Box::new(move || copy_of(&error))),
            Err(AppendError::Final(error)) => {
                let problem = error.to_string();
                tracing::error!(%problem, "the journal cannot be trusted any more");
                self.fence = Some(problem.clone());
                Err(Box::new(move || Error::Fenced { problem: problem.clone() }))
            }
        }
    }

    fn acknowledge(&mut self, pending: Vec<Pending>) {
        for Pending { record, reply } in pending {
            apply(&mut self.contents, &record.changes);
            self.sequence = record.sequence;
            // Somebody who does not wait any more will see the change all the same.
            let _ = reply.send(Ok(record.sequence));
            self.queue.apply(record);
        }
    }

    fn close(&mut self) -> Result<()> {
        if self.fence.is_none() && self.sequence > self.checkpointed {
            self.checkpoint()?;
        }
        self.queue.close();
        Ok(())
    }

    /// Writes a checkpoint; when that fails the journal just grows on.
    fn checkpoint_or_go_on(&mut self) {
        if self.fence.is_some() {
            return;
        }
        if let Err(error) = self.checkpoint() {
            tracing::warn!(%error, "no checkpoint could be written; the journal goes on");
            self.checkpointed = self.sequence;
            self.bytes = 0;
        }
    }

    /// Writes a checkpoint, starts a new journal file, and removes what two checkpoints cover.
    pub(super) fn checkpoint(&mut self) -> Result<()> {
        checkpoint::write(&self.folder, self.sequence, &self.contents)?;
        self.journal = JournalWriter::create(&self.folder, self.sequence + 1)?;
        self.checkpointed = self.sequence;
        self.bytes = 0;
        remove_covered(&self.folder)
    }
}

/// Removes all but the two newest checkpoints, and the journal files that the older of the two covers.
fn remove_covered(folder: &std::path::Path) -> Result<()> {
    let checkpoints = files::numbered(folder, "checkpoint-", ".dat")?;
    let [.., older, _] = checkpoints[..] else { return Ok(()) };
    for sequence in checkpoints.iter().filter(|sequence| **sequence < older) {
        files::remove(&files::checkpoint_path(folder, *sequence))?;
    }
    let journals = files::numbered(folder, "journal-", ".log")?;
    // A file ends where the next one begins; the last one is being written.
    for pair in journals.windows(2).filter(|pair| pair[1] <= older + 1) {
        files::remove(&files::journal_path(folder, pair[0]))?;
    }
    Ok(())
}

/// Applies changes to what a store holds.
pub(super) fn apply(contents: &mut Contents, changes: &[Change]) {
    for change in changes {
        match &change.value {
            Some(value) => contents.insert(change.key.clone(), value.clone()),
            None => contents.remove(&change.key),
        };
    }
}

/// A second error with the same words, for each of those who waited for one sync.
fn copy_of(error: &Error) -> Error {
    match error {
        Error::Io { action, path, source } => Error::io(action, path)(
            source.raw_os_error().map_or_else(|| source.kind().into(), std::io::Error::from_raw_os_error),
        ),
        other => Error::Fenced { problem: other.to_string() },
    }
}
