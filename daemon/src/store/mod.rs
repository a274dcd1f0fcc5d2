//! What survives: keys with values, changed together, durable before anybody is told.
//!
//! ```text
//! commit ─► journal (frame, fdatasync) ─► acknowledged ─► copy in sled
//!                  │
//!                  └─ now and then: checkpoint, new journal file, old ones removed
//! start:  newest good checkpoint + journal = the truth ─► sled compared with it, corrected or built anew
//! ```
//! The rules: a change is acknowledged only after its sync; a failed sync is final, because the kernel forgets what
//! it could not write; what cannot be read is set aside as `*.bad-TIME`, never deleted, and said.

mod checkpoint;
pub(crate) mod files;
mod frame;
mod journal;
mod load;
mod queue;
mod writer;

use std::path::Path;
use std::sync::mpsc;

use tokio::sync::oneshot;

pub use checkpoint::Contents;
pub use frame::Change;

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
}

impl Store {
    /// Opens the store in a folder, which is made if it is not there. `stamp` is part of the names under which
    /// damaged files are set aside.
    ///
    /// # Errors
    /// When the folder cannot be read or written. Damage is no error: what can be read is used.
    pub fn open(folder: &Path, stamp: &str) -> Result<(Self, Loaded)> {
        let (writer, loaded) = load::open(folder, stamp)?;
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
    /// [`Error::Fenced`] when nothing can be written any more; else the changes were refused and may be tried again.
    pub async fn commit(&self, changes: Vec<Change>) -> Result<u64> {
        self.ask(changes).await.unwrap_or_else(|_| Err(gone()))
    }

    /// The same as [`Store::commit`] for tests, which are plain threads.
    #[cfg(test)]
    fn commit_blocking(&self, changes: Vec<Change>) -> Result<u64> {
        self.ask(changes).blocking_recv().unwrap_or_else(|_| Err(gone()))
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
mod tests;
