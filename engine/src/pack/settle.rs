//! Making durable what was handed in so far, while other threads go on handing in more.

use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError};

use super::open::OpenPack;
use super::writer::{BlobSaver, guard};
use crate::error::Result;

/// How long to wait for a pack before what is in the open ones is written anyway: a thread that seals a blob takes
/// some milliseconds.
const PATIENCE: Duration = Duration::from_millis(10);

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
