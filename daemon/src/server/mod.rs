//! The server: accepts connections, learns who calls, and gives each a session.

mod bulk;
mod dispatch;
mod listen;
mod rights;
mod session;
mod writer;

use std::sync::Arc;

use backup_proto::error::{ErrorKind, RpcError};
use backup_proto::line::{Id, Message, encode};
use interprocess::local_socket::tokio::Stream;
use interprocess::local_socket::traits::StreamCommon as _;
use interprocess::local_socket::traits::tokio::Listener as _;
use tokio::io::AsyncWriteExt;
use tokio::sync::{Semaphore, watch};

pub use bulk::Tokens;
pub use listen::{Listening, lock_file};
pub use session::serve;

use crate::context::Context;
use crate::desk::Desk;
use crate::hub::Hub;
use crate::inbox::{Caller, Inbox};
use crate::run::Published;
use crate::supervisor::About;

/// Connections at a time.
const CONNECTIONS_MAX: usize = 1024;

/// Questions that are worked on at a time, over all connections; each takes a thread.
const QUERIES_MAX: usize = 16;

/// What every session shares.
pub struct Server {
    /// What workers and queries share.
    pub context: Arc<Context>,
    /// Where events come from.
    pub hub: Arc<Hub>,
    /// Where the loop's answers come from.
    pub desk: Arc<Desk>,
    /// The way to the loop.
    pub inbox: Inbox,
    /// The picture the loop published last.
    pub published: watch::Receiver<Published>,
    /// Who this daemon is.
    pub about: About,
    /// Tokens for bulk connections.
    pub tokens: Tokens,
    /// Threads for questions.
    pub queries: Arc<Semaphore>,
}

impl Server {
    /// Returns the threads that questions may take.
    #[must_use]
    pub fn query_threads() -> Arc<Semaphore> {
        Arc::new(Semaphore::new(QUERIES_MAX))
    }
}

/// Accepts connections for as long as the daemon lives.
pub async fn accept(listening: Listening, server: Arc<Server>) {
    let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let stream = match listening.listener.accept().await {
            Ok(stream) => stream,
            Err(error) => {
                // Out of file handles, as a rule: the sessions that end meanwhile give some back.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                continue;
            }
        };
        match Arc::clone(&connections).try_acquire_owned() {
            Ok(permit) => {
                let server = Arc::clone(&server);
                tokio::spawn(async move {
                    greet(stream, server).await;
                    drop(permit);
                });
            }
            Err(_) => drop(tokio::spawn(turn_away(stream))),
        }
    }
}

/// Learns who calls and serves them.
async fn greet(stream: Stream, server: Arc<Server>) {
    let caller = match stream.peer_creds() {
        Ok(creds) => creds.euid().map(|uid| Caller { uid, pid: creds.pid().and_then(|pid| u32::try_from(pid).ok()) }),
        Err(_) => None,
    };
    let Some(caller) = caller else {
        tracing::warn!("the system does not say who called; the connection is closed");
        return;
    };
    tracing::debug!(uid = caller.uid, pid = caller.pid, "connected");
    session::serve(stream, caller, server).await;
}

/// Tells one caller too many that there are too many.
async fn turn_away(mut stream: Stream) {
    let message = format!("{CONNECTIONS_MAX} connections are open already");
    let error = RpcError::new(ErrorKind::Busy, message, "Close some, then connect again.");
    if let Ok(line) = encode(&Message::Answer { id: Id::Null, outcome: Err(error) }) {
        // One who does not read has been told as well as can be.
        let _ = stream.write_all(&line).await;
    }
}
