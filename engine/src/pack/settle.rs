//! The thread that writes packs, and making durable what was handed in so far while other threads go on handing in more.

use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};

use super::open::OpenPack;
use super::writer::{BlobSaver, guard};
use crate::error::Result;

/// How long to wait for a pack before what is in the open ones is written anyway: a thread that seals a blob takes
/// some milliseconds.
const PATIENCE: Duration = Duration::from_millis(10);

/// How long the thread that writes packs waits for one before it looks whether there is something else to do.
const NOW_AND_THEN: Duration = Duration::from_secs(2);

/// What became of the blobs that were handed in before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Settled {
    /// An index file lists every one.
    All,
    /// Some will never be stored: a thread that was to store them has failed.
    Part,
    /// The sign to end came meanwhile, and no pack comes after it.
    Closed,
}

impl BlobSaver<'_> {
    /// Writes packs as they become full, until [`close`](Self::close) is called; one thread runs this.
    ///
    /// After each one, and now and then while there is none, `written` is called, which may end the writing by [`Settled::Closed`]. The channel's end goes away
    /// with this call: when it fails, those who hand in blobs fail too instead of waiting.
    pub(crate) fn write_packs(
        &self,
        to_write: Receiver<OpenPack>,
        written: impl Fn(&Receiver<OpenPack>) -> Result<Settled>,
    ) -> Result<()> {
        loop {
            match to_write.recv_timeout(NOW_AND_THEN) {
                Ok(pack) if pack.blobs.is_empty() => return Ok(()),
                Ok(pack) => self.write_pack(pack)?,
                // What is read may be known already for hours.
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
            if written(&to_write)? == Settled::Closed {
                return Ok(());
            }
        }
    }

    /// Writes and lists every blob that was handed in before the call, also those that a thread is about to put into a
    /// pack. Called by the thread that writes packs, with its end of the channel, or without when there is none.
    pub(crate) fn settle(&self, to_write: Option<&Receiver<OpenPack>>) -> Result<Settled> {
        let mut wanted = guard(&self.pending).clone();
        loop {
            self.flush()?;
            {
                let pending = guard(&self.pending);
                wanted.retain(|blob| pending.contains(blob));
            }
            if wanted.is_empty() {
                return Ok(Settled::All);
            }
            let Some(to_write) = to_write else { return Ok(Settled::Part) };
            match to_write.recv_timeout(PATIENCE) {
                Ok(pack) if pack.blobs.is_empty() => return Ok(Settled::Closed),
                Ok(pack) => self.write_pack(pack)?,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(Settled::Closed),
            }
        }
    }
}
