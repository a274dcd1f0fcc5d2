//! The thread that writes: takes every commit that waits, syncs once for all of them, then answers.

use std::path::PathBuf;
use std::sync::mpsc::Receiver;

use tokio::sync::oneshot;

use super::checkpoint::{self, Contents};
use super::disk::Disk;
use super::frame::{self, Change, Record};
use super::journal::{AppendError, JournalWriter};
use super::limits::{CHECKPOINT_BYTES, CHECKPOINT_COMMITS, GROUP_MAX};
use super::load::QUEUE_FOLDER;
use super::queue::Queue;
use super::room::{Room, Shortage};
use crate::error::{Error, Result};

/// What the store's thread is asked.
pub(super) enum Request {
    /// Make these changes durable, all or none.
    Commit {
        /// What changes.
        changes: Vec<Change>,
        /// Gets the sequence.
        reply: oneshot::Sender<Result<u64>>,
    },
    /// Say whether there is too little room.
    Look {
        /// Whether there was too little before.
        in_doubt: bool,
        /// Gets the answer.
        reply: oneshot::Sender<Option<Shortage>>,
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
    pub(super) disk: Disk,
    pub(super) folder: PathBuf,
    /// Part of the names under which something is set aside.
    pub(super) stamp: String,
    pub(super) room: Room,
    /// The journal file that is written; none while the disk is too full for one.
    pub(super) journal: Option<JournalWriter>,
    pub(super) queue: Queue,
    pub(super) contents: Contents,
    /// The sequence of the last record that may be on the disk, acknowledged or not.
    pub(super) sequence: u64,
    /// Sequence of the newest checkpoint.
    pub(super) checkpointed: u64,
    /// Bytes written to the journal since then.
    pub(super) bytes: u64,
    /// Whether the copy in sled was given up for lack of room, and comes back when there is some.
    pub(super) gave_up_queue: bool,
    /// Why nothing may be written any more, if so.
    pub(super) fence: Option<String>,
}

impl Writer {
    /// Serves requests until it is told to close or nobody is left to ask.
    pub(super) fn serve(mut self, inbox: &Receiver<Request>) {
        while let Ok(request) = inbox.recv() {
            let mut group = vec![request];
            group.extend(inbox.try_iter().take(GROUP_MAX - 1));
            let (mut commits, mut looks, mut closing) = (Vec::new(), Vec::new(), None);
            for request in group {
                match request {
                    Request::Commit { changes, reply } => commits.push((changes, reply)),
                    Request::Look { in_doubt, reply } => looks.push((in_doubt, reply)),
                    Request::Close { reply } => closing = Some(reply),
                }
            }
            self.commit(commits);
            for (in_doubt, reply) in looks {
                let _ = reply.send(self.look(in_doubt));
            }
            if let Some(reply) = closing {
                let _ = reply.send(self.close());
                return;
            }
            if self.sequence - self.checkpointed >= CHECKPOINT_COMMITS || self.bytes >= CHECKPOINT_BYTES {
                self.checkpoint_or_go_on();
            }
        }
    }

    /// Looks whether there is room. Without it sled's copy is given up while that still works; with it what was given
    /// up comes back.
    fn look(&mut self, in_doubt: bool) -> Option<Shortage> {
        if let Some(shortage) = self.room.look(in_doubt || self.journal.is_none()) {
            self.give_up_queue();
            return Some(shortage);
        }
        if self.fence.is_some() {
            return None;
        }
        if self.journal.is_none() && self.rebuild().is_err() {
            return Some(self.room.shortage());
        }
        if std::mem::take(&mut self.gave_up_queue) {
            self.queue = Queue::reopen(&self.folder.join(QUEUE_FOLDER), &self.stamp);
            self.queue.replace(&self.contents, self.sequence);
        }
        None
    }

    /// Begins a new journal behind everything that may be on the disk, so that records whose sync failed never count.
    fn rebuild(&mut self) -> Result<()> {
        self.checkpoint()?;
        tracing::info!("there is room again; the journal goes on");
        Ok(())
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
        match self.append(&frames, pending.len() as u64) {
            Ok(()) => self.acknowledge(pending),
            Err(refuse) => {
                for waiting in pending {
                    let _ = waiting.reply.send(Err(refuse()));
                }
            }
        }
    }

    /// Makes the frames of some records durable, or returns how to say why not to each that waits.
    fn append(&mut self, frames: &[u8], records: u64) -> Result<(), Box<dyn Fn() -> Error>> {
        if let Some(problem) = self.fence.clone() {
            return Err(Box::new(move || Error::Fenced { problem: problem.clone() }));
        }
        if self.journal.is_none() && self.rebuild().is_err() {
            return Err(self.no_room());
        }
        match self.try_append(frames) {
            Ok(()) => {
                self.bytes += frames.len() as u64;
                Ok(())
            }
            Err(AppendError::Refused(error)) if error.is_full() => Err(self.no_room()),
            Err(AppendError::Refused(error)) => Err(Box::new(move || copy_of(&error))),
            Err(AppendError::Lost(error)) if error.is_full() => {
                tracing::warn!(%error, "the disk is full; the journal is given up until there is room");
                self.journal = None;
                // They may be on the disk, whole or torn; the checkpoint that comes counts as later than them.
                self.sequence += records;
                Err(self.no_room())
            }
            Err(AppendError::Lost(error)) => {
                let problem = error.to_string();
                tracing::error!(%problem, "the journal cannot be trusted any more");
                self.fence = Some(problem.clone());
                Err(Box::new(move || Error::Fenced { problem: problem.clone() }))
            }
        }
    }

    /// Appends frames; on a full disk the reserve makes room for them.
    fn try_append(&mut self, frames: &[u8]) -> Result<(), AppendError> {
        let Some(journal) = &mut self.journal else {
            return Err(AppendError::Refused(Error::NoRoom(self.room.shortage())));
        };
        match journal.append(frames) {
            Err(AppendError::Refused(error)) if error.is_full() && self.room.release() => {
                tracing::warn!(%error, "the disk is full; the reserve is used");
                journal.append(frames)
            }
            done => done,
        }
    }

    fn give_up_queue(&mut self) {
        self.gave_up_queue |= !self.queue.is_absent();
        self.queue.give_up();
    }

    fn no_room(&mut self) -> Box<dyn Fn() -> Error> {
        self.give_up_queue();
        let shortage = self.room.shortage();
        Box::new(move || Error::NoRoom(shortage.clone()))
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
            match self.checkpoint() {
                // The journal still holds everything.
                Err(error) if error.is_full() => tracing::warn!(%error, "there is no room for a checkpoint"),
                done => done?,
            }
        }
        self.queue.close();
        Ok(())
    }

    /// Writes everything anew in the present form, and removes the files it was in before.
    pub(super) fn write_anew(&mut self) -> Result<()> {
        self.queue.close();
        self.checkpoint()?;
        checkpoint::remove_others(&self.disk, &self.folder, self.sequence)?;
        self.disk.remove_tree(&self.folder.join(QUEUE_FOLDER))?;
        self.disk.sync_folder(&self.folder)
    }

    /// Writes a checkpoint; when that fails the journal just grows on.
    fn checkpoint_or_go_on(&mut self) {
        if self.fence.is_some() || self.journal.is_none() {
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
        checkpoint::write(&self.disk, &self.folder, self.sequence, &self.contents)?;
        self.journal = Some(JournalWriter::create(&self.disk, &self.folder, self.sequence + 1)?);
        self.checkpointed = self.sequence;
        self.bytes = 0;
        checkpoint::remove_covered(&self.disk, &self.folder)
    }
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
        Error::NoRoom(shortage) => Error::NoRoom(shortage.clone()),
        other => Error::Fenced { problem: other.to_string() },
    }
}
