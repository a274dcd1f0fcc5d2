//! Bulk connections: bytes of files in frames, for a one-use token from another connection or for the request itself.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use backup_proto::bulk::{BulkWriter, FRAME_BYTES_MAX, FRAME_HEADER_BYTES};
use backup_proto::error::{ErrorKind, RpcError};
use backup_proto::params::{BulkOpen, BulkToken, SnapshotCat};
use tokio::io::AsyncWrite;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::Server;
use super::limits::{BULK_PATIENCE, FRAMES_MAX, TOKEN_BYTES_MAX, TOKEN_LIFE, TOKENS_MAX};
use super::writer::put;
use crate::clock::Now;
use crate::context::Context;
use crate::inbox::Caller;
use crate::query;

/// The tokens that were given out and not used.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    waiting: Mutex<BTreeMap<String, Grant>>,
}

#[derive(Debug)]
struct Grant {
    uid: u32,
    expires: Duration,
    what: SnapshotCat,
    /// What the request takes while it waits.
    bytes: usize,
}

/// What a bulk connection is to carry, and the thread that it has for it.
#[derive(Debug)]
pub(super) struct Delivery {
    what: SnapshotCat,
    /// Whether the connection takes calls again behind it.
    pub(super) keeps: bool,
    thread: OwnedSemaphorePermit,
}

impl Tokens {
    /// Gives out a token for the contents of a file.
    ///
    /// # Errors
    /// When there are too many already, or the system has no randomness.
    pub(super) fn give(&self, caller: Caller, what: SnapshotCat, now: Now) -> Result<BulkToken, RpcError> {
        let mut bytes = [0_u8; 16];
        getrandom::fill(&mut bytes).map_err(|error| {
            RpcError::new(ErrorKind::Internal, format!("the system gives no random numbers: {error}"), "Try again.")
        })?;
        let token = hex::encode(bytes);
        let bytes = serde_json::to_vec(&what).map_or(TOKEN_BYTES_MAX, |json| json.len());
        let mut waiting = self.lock();
        waiting.retain(|_, grant| grant.expires > now.boot);
        let all_bytes: usize = waiting.values().map(|grant| grant.bytes).sum();
        if waiting.len() >= TOKENS_MAX || all_bytes + bytes > TOKEN_BYTES_MAX {
            let message = "too many tokens wait to be used";
            return Err(RpcError::new(ErrorKind::Busy, message, "Use or wait for some of them."));
        }
        waiting.insert(token.clone(), Grant { uid: caller.uid, expires: now.boot + TOKEN_LIFE, what, bytes });
        let expires = now.wall.checked_add(TOKEN_LIFE).unwrap_or(now.wall);
        Ok(BulkToken { token, expires, size_bytes: None })
    }

    /// Takes a token back; it does not work a second time.
    fn redeem(&self, caller: Caller, token: &str, now: Now) -> Result<SnapshotCat, RpcError> {
        let grant = self.lock().remove(token).filter(|grant| grant.uid == caller.uid && grant.expires > now.boot);
        grant.map(|grant| grant.what).ok_or_else(|| {
            let message = "the token is unknown, used or too old";
            RpcError::new(ErrorKind::TokenInvalid, message, "Ask for a new one with `snapshot.cat`.")
        })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Grant>> {
        // Each change of the map is whole: a panic elsewhere cannot leave it half done.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Finds what a connection is to carry, and a thread for it.
pub(super) fn begin(server: &Server, caller: Caller, params: &BulkOpen) -> Result<Delivery, RpcError> {
    // The thread first: a token that could not be used now is good for another try.
    let thread = Arc::clone(&server.shared.bulk).try_acquire_owned().map_err(|_| {
        let message = "too many bulk connections are open";
        RpcError::new(ErrorKind::Busy, message, "End some of them, then try again with the same token.")
    })?;
    let what = match (&params.token, &params.cat) {
        (Some(token), None) => server.shared.tokens.redeem(caller, token, server.context.clock.now())?,
        (None, Some(cat)) => cat.clone(),
        _ => {
            let message = "`bulk.open` takes exactly one of `token` and `cat`";
            return Err(RpcError::new(ErrorKind::InvalidParams, message, "Give one of them."));
        }
    };
    Ok(Delivery { what, keeps: params.keep, thread })
}

/// Writes the frames of a delivery; false when the reader is gone.
pub(super) async fn send<W: AsyncWrite + Unpin>(output: &mut W, context: Arc<Context>, delivery: Delivery) -> bool {
    let Delivery { what, thread, .. } = delivery;
    let (frames, mut waiting) = mpsc::channel(FRAMES_MAX);
    let reading = tokio::task::spawn_blocking(move || {
        // It counts as taken until it has ended, however long the drive takes after the reader has gone.
        let _thread = thread;
        produce(&context, &what, frames)
    });
    let mut is_written = true;
    while is_written && let Some(bytes) = waiting.recv().await {
        is_written = put(output, &bytes, BULK_PATIENCE, || false).await;
    }
    // If the reader is gone, this ends the other side at its next frame.
    drop(waiting);
    is_written && matches!(reading.await, Ok(true))
}

/// Reads what was asked for and makes frames of it; false when nobody takes them.
fn produce(context: &Arc<Context>, what: &SnapshotCat, frames: mpsc::Sender<Vec<u8>>) -> bool {
    let mut writer = BulkWriter::new(FrameSender { frames, joined: Vec::new() });
    let outcome = query::cat(context, what, &mut |bytes| writer.write(bytes));
    // A reader that is gone does not want the status either.
    writer.finish(outcome.err()).is_ok()
}

/// Bytes that are written at a time at most: a whole frame and what is in front of it.
const WRITE_BYTES_MAX: usize = FRAME_BYTES_MAX + FRAME_HEADER_BYTES;

/// Hands what is written to the session's task: small frames together, so that a small file takes one write.
struct FrameSender {
    frames: mpsc::Sender<Vec<u8>>,
    joined: Vec<u8>,
}

impl io::Write for FrameSender {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.joined.len() + bytes.len() > WRITE_BYTES_MAX {
            self.flush()?;
        }
        self.joined.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let joined = std::mem::take(&mut self.joined);
        if joined.is_empty() {
            return Ok(());
        }
        self.frames.blocking_send(joined).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))
    }
}
