//! The door: who may come in, how many at a time, and what those are told for whom there is no room.

use std::collections::BTreeSet;
use std::sync::Arc;

use backup_proto::error::{ErrorKind, RpcError};
use backup_proto::line::{Id, Message, encode};
use interprocess::local_socket::tokio::Stream;
use interprocess::local_socket::traits::StreamCommon as _;
use interprocess::local_socket::traits::tokio::Listener as _;
use rustix::process::{Resource, getrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::limits::{CONNECTIONS_MAX, FILES_RESERVED, GUESTS_MAX, READ_BYTES, TURN_AWAY_PATIENCE};
use super::rights::Role;
use super::{Listening, Server, session};
use crate::inbox::Caller;

/// Users of whom the log says that they came.
const KNOWN_MAX: usize = 1024;

/// Accepts connections for as long as the daemon lives.
pub async fn accept(mut listening: Listening, server: Arc<Server>) {
    let mut door = Door::new(getrlimit(Resource::Nofile).current);
    loop {
        match tokio::time::timeout(server.shared.patience.knock, listening.listener.accept()).await {
            Ok(Ok(stream)) => door.meet(stream, &server),
            Ok(Err(error)) => {
                // Out of file handles, as a rule: the sessions that end meanwhile give some back.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
            // Nobody came for a while; perhaps nobody can.
            Err(_) => match listening.renew() {
                Ok(false) => {}
                Ok(true) => tracing::warn!("the socket had been removed; it is there again"),
                Err(error) => tracing::warn!("the socket was removed and could not be made anew: {error}"),
            },
        }
    }
}

struct Door {
    connections_max: usize,
    connections: Arc<Semaphore>,
    guests: Arc<Semaphore>,
    /// Users who have come before.
    known: BTreeSet<u32>,
}

impl Door {
    /// Makes a door for a process that may have so many files open; none: any number.
    fn new(files: Option<u64>) -> Self {
        let connections_max = connections_max(files);
        if connections_max < CONNECTIONS_MAX {
            tracing::warn!(connections_max, "the limit of open files leaves room for fewer connections than usual");
        }
        Self {
            connections_max,
            connections: Arc::new(Semaphore::new(connections_max)),
            guests: Arc::new(Semaphore::new(GUESTS_MAX.min(connections_max / 4))),
            known: BTreeSet::new(),
        }
    }

    /// Learns who calls, and serves them if there is room.
    fn meet(&mut self, stream: Stream, server: &Arc<Server>) {
        let Some(caller) = caller(&stream) else {
            tracing::warn!("the system does not say who called; the connection is closed");
            return;
        };
        if self.known.len() < KNOWN_MAX && self.known.insert(caller.uid) {
            tracing::info!(uid = caller.uid, pid = caller.pid, "a user connected for the first time since the start");
        } else {
            tracing::debug!(uid = caller.uid, pid = caller.pid, "connected");
        }
        let server = Arc::clone(server);
        match self.enter(Role::of(caller, &server)) {
            Some(permits) => {
                tokio::spawn(async move {
                    session::serve(stream, caller, server).await;
                    drop(permits);
                });
            }
            None => {
                if let Ok(permit) = Arc::clone(&server.shared.turned_away).try_acquire_owned() {
                    tokio::spawn(turn_away(stream, self.connections_max, permit));
                }
            }
        }
    }

    /// Finds room for one more connection; guests and strangers have a part of it, so that they cannot keep the owner out.
    fn enter(&self, role: Role) -> Option<Permits> {
        let connection = Arc::clone(&self.connections).try_acquire_owned().ok()?;
        let guest = match role {
            Role::Owner => None,
            Role::Guest | Role::Stranger => Some(Arc::clone(&self.guests).try_acquire_owned().ok()?),
        };
        Some(Permits { _connection: connection, _guest: guest })
    }
}

struct Permits {
    _connection: OwnedSemaphorePermit,
    _guest: Option<OwnedSemaphorePermit>,
}

/// Returns how many connections there may be with so many open files.
fn connections_max(files: Option<u64>) -> usize {
    let files = files.map_or(usize::MAX, |files| usize::try_from(files).unwrap_or(usize::MAX));
    CONNECTIONS_MAX.min(files.saturating_sub(FILES_RESERVED)).max(1)
}

fn caller(stream: &Stream) -> Option<Caller> {
    let creds = stream.peer_creds().ok()?;
    Some(Caller { uid: creds.euid()?, pid: creds.pid().and_then(|pid| u32::try_from(pid).ok()) })
}

/// Tells one caller too many that there are too many, and leaves them the time to read it: what they have sent is read
/// as well, because a connection that is closed with unread bytes looks broken from the other end.
async fn turn_away(mut stream: Stream, connections_max: usize, _permit: OwnedSemaphorePermit) {
    let message = format!("no connection is free; there are {connections_max} at most");
    let error = RpcError::new(ErrorKind::Busy, message, "Close some, then connect again.");
    let Ok(line) = encode(&Message::Answer { id: Id::Null, outcome: Err(error) }) else { return };
    if super::writer::put(&mut stream, &line, TURN_AWAY_PATIENCE, || false).await {
        let _ = stream.shutdown().await;
        let mut unread = [0; READ_BYTES];
        let reading = async { while matches!(stream.read(&mut unread).await, Ok(1..)) {} };
        // One who does not hang up has been told as well as can be.
        let _ = tokio::time::timeout(TURN_AWAY_PATIENCE, reading).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_files_for_jobs() {
        assert_eq!(connections_max(None), CONNECTIONS_MAX);
        assert_eq!(connections_max(Some(1 << 20)), CONNECTIONS_MAX);
        assert_eq!(connections_max(Some(256)), 256 - FILES_RESERVED);
        assert_eq!(connections_max(Some(10)), 1);
    }

    #[test]
    fn guests_and_strangers_leave_room_for_the_owner() {
        let door = Door::new(None);
        let guests: Vec<_> = std::iter::from_fn(|| door.enter(Role::Guest)).collect();
        assert_eq!(guests.len(), GUESTS_MAX);
        assert!(door.enter(Role::Stranger).is_none());
        let owners: Vec<_> = std::iter::from_fn(|| door.enter(Role::Owner)).collect();
        assert_eq!(owners.len(), CONNECTIONS_MAX - GUESTS_MAX);
    }
}
