//! What survives: keys with values, changed together, durable before anybody is told.
//!
//! ```text
//! commit ─► journal (frame, fdatasync) ─► acknowledged ─► copy in sled
//!                  │
//!                  └─ now and then: checkpoint, new journal file, old ones removed
//! full:   the reserve makes room for ends, pauses, cancellations; then sled and journal are given up until there is room
//! start:  newest good checkpoint + journal = the truth ─► sled compared with it, corrected or built anew
//! ```
//! The rules: a change is acknowledged only after its sync; a failed sync is final, because the kernel forgets what
//! it could not write; what cannot be read is set aside as `*.bad-TIME`, never deleted, and said.

mod checkpoint;
mod disk;
pub(crate) mod files;
mod frame;
mod journal;
mod limits;
mod load;
pub(crate) mod mend;
mod queue;
mod record;
mod room;
mod upgrade;
mod version;
mod writer;

use std::path::Path;
use std::sync::mpsc;

use tokio::sync::oneshot;

pub use checkpoint::Contents;
use disk::Disk;
pub use frame::Change;
pub(crate) use frame::check as check_journal;
pub use room::{Shortage, kept_free};
pub use version::CURRENT as STATE_VERSION;

use crate::error::{Error, Result};

/// The handle to the store; clones are the same store.
#[derive(Clone, Debug)]
pub struct Store {
    requests: mpsc::Sender<writer::Request>,
}

/// What a store held when it was opened.
#[derive(Debug)]
pub struct Loaded {
    /// Keys and values.
    pub contents: Contents,
    /// The sequence of the last commit.
    pub sequence: u64,
    /// What was not as it should be, a sentence each.
    pub notices: Vec<String>,
    /// What is wrong with the room on the disk, if anything is.
    pub shortage: Option<Shortage>,
}

impl Store {
    /// Opens the store in a state folder, and makes it if it is not there. One of an older version is upgraded. `stamp`
    /// is part of the names under which damaged files are set aside.
    ///
    /// # Errors
    /// When the folder cannot be read or written, when its version is a later one, or when an upgrade fails; nothing
    /// was changed in the last two cases. Damage is no error: what can be read is used.
    pub fn open(state: &Path, stamp: &str) -> Result<(Self, Loaded)> {
        let disk = Disk::default();
        upgrade::refuse_newer(state)?;
        let mut notices = mend::mend(state, stamp)?;
        notices.extend(upgrade::prepare(&disk, state, stamp)?);
        let (store, mut loaded) = Self::open_on(&disk, &state.join(load::STORE_FOLDER), stamp)?;
        loaded.notices.splice(..0, notices);
        Ok((store, loaded))
    }

    /// Opens the store whose files are right in a folder.
    fn open_on(disk: &Disk, folder: &Path, stamp: &str) -> Result<(Self, Loaded)> {
        let (writer, loaded) = load::open(disk, folder, stamp)?;
        let (requests, inbox) = mpsc::channel();
        std::thread::Builder::new()
            .name("store".into())
            .spawn(move || writer.serve(&inbox))
            .map_err(Error::io("start the thread for", folder))?;
        Ok((Self { requests }, loaded))
    }

    /// Commits changes: all of them or none. Returns their sequence when they are durable.
    ///
    /// # Errors
    /// [`Error::Fenced`] when nothing can be written any more, [`Error::NoRoom`] while the disk is full; were refused then and may be tried again.
    pub async fn commit(&self, changes: Vec<Change>) -> Result<u64> {
        self.ask(changes).await.unwrap_or_else(|_| Err(gone()))
    }

    /// The same as [`Store::look`] for tests, which are plain threads.
    #[cfg(test)]
    fn look_blocking(&self, in_doubt: bool) -> Option<Shortage> {
        tokio::runtime::Builder::new_current_thread().build().ok()?.block_on(self.look(in_doubt))
    }

    /// The same as [`Store::commit`] for tests, which are plain threads.
    #[cfg(test)]
    fn commit_blocking(&self, changes: Vec<Change>) -> Result<u64> {
        self.ask(changes).blocking_recv().unwrap_or_else(|_| Err(gone()))
    }

    /// Says whether there is too little room on the disk. `in_doubt` if there was too little before: then there has to
    /// be more than enough, and what was given up for lack of it is built anew.
    pub async fn look(&self, in_doubt: bool) -> Option<Shortage> {
        let (reply, answer) = oneshot::channel();
        let _ = self.requests.send(writer::Request::Look { in_doubt, reply });
        // A store that is gone says so to the next commit.
        answer.await.unwrap_or(None)
    }

    /// Writes a checkpoint, brings the copy in sled up to date and stops the store.
    ///
    /// # Errors
    /// When the checkpoint cannot be written; the journal still holds everything.
    pub async fn close(self) -> Result<()> {
        let (reply, answer) = oneshot::channel();
        // A store that is gone has nothing left to write; the answer says so.
        let _ = self.requests.send(writer::Request::Close { reply });
        answer.await.unwrap_or_else(|_| Err(gone()))
    }

    fn ask(&self, changes: Vec<Change>) -> oneshot::Receiver<Result<u64>> {
        let (reply, answer) = oneshot::channel();
        // When the thread is gone the reply is dropped with the request, which the receiver sees.
        let _ = self.requests.send(writer::Request::Commit { changes, reply });
        answer
    }
}

fn gone() -> Error {
    Error::Fenced { problem: "the store has stopped".into() }
}

#[cfg(test)]
mod full_tests;
#[cfg(test)]
mod power_tests;
#[cfg(test)]
mod simulated;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod upgrade_tests;
