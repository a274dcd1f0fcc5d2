//! The way to a daemon on this machine: find its socket, check who listens, and come back when it restarts.

mod events;

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

use interprocess::local_socket::traits::{Stream as _, StreamCommon as _};
use interprocess::local_socket::{GenericFilePath, Stream, ToFsName};
use serde_json::Value;

use crate::bulk::BulkReader;
use crate::client::{ClientError, Connection};
use crate::endpoint::{Candidate, Owner};
use crate::error::ErrorKind;
use crate::event::{Cursor, Topic};
use crate::message::Call;
use crate::params::SnapshotCat;

pub use events::{Events, Update};

/// How long a daemon may take to answer `hello`.
const HELLO_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a daemon that went away is waited for.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A connection to a daemon on this machine.
pub type LocalConnection = Connection<Stream>;

/// A client of the daemon on this machine that survives the daemon's restarts.
#[derive(Debug)]
pub struct Client {
    name: String,
    used: Candidate,
    others: Vec<PathBuf>,
    connection: LocalConnection,
    patience: Duration,
    silence: Option<Duration>,
}

impl Client {
    /// Connects to the first socket where a daemon listens; `name` is the program's name and version.
    ///
    /// # Errors
    /// When none listens, or the one that does is not to be trusted.
    pub fn connect(candidates: &[Candidate], name: &str) -> Result<Self, ClientError> {
        let mut tried = Vec::new();
        for candidate in candidates {
            match open(candidate, name, None) {
                Ok(connection) => {
                    let others = candidates.iter().filter(|other| *other != candidate && other.socket.exists());
                    return Ok(Self {
                        name: name.to_owned(),
                        used: candidate.clone(),
                        others: others.map(|other| other.socket.clone()).collect(),
                        connection,
                        patience: PATIENCE,
                        silence: None,
                    });
                }
                Err(ClientError::NoDaemon { tried: here }) => tried.extend(here),
                Err(error) => return Err(error),
            }
        }
        Err(ClientError::NoDaemon { tried })
    }

    /// Sets how long a daemon that went away is waited for, in place of [`PATIENCE`].
    pub fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// Sets how long a daemon that owes something may send nothing at all before the question fails with
    /// [`ClientError::Silent`], from the next connection on; without it, it is waited for as long as it takes.
    pub fn set_silence(&mut self, silence: Duration) {
        self.silence = Some(silence);
    }

    /// Connects to the same daemon once more; waits for it as [`Self::call`] does.
    ///
    /// # Errors
    /// What broke, or that nobody listens any more.
    pub fn another(&self) -> Result<Self, ClientError> {
        let (name, used) = (self.name.clone(), self.used.clone());
        Ok(Self { name, used, others: Vec::new(), connection: self.reopen()?, ..*self })
    }

    fn reopen(&self) -> Result<LocalConnection, ClientError> {
        reopen(&self.used, &self.name, self.patience, self.silence)
    }

    /// Returns the socket that is used, and whose it is.
    #[must_use]
    pub fn used(&self) -> &Candidate {
        &self.used
    }

    /// Returns the other sockets that exist, so that a person can be told which one is used.
    #[must_use]
    pub fn others(&self) -> &[PathBuf] {
        &self.others
    }

    /// Returns the connection.
    #[must_use]
    pub fn connection(&self) -> &LocalConnection {
        &self.connection
    }

    /// Makes a call. If the connection breaks, waits for the daemon to come back and makes it again, which is safe:
    /// what changes something carries a `request_id`.
    ///
    /// # Errors
    /// The daemon's error, or that it did not come back within [`PATIENCE`] or the time that was set.
    pub fn call<C: Call>(&mut self, params: &C) -> Result<C::Result, ClientError> {
        self.again_if_lost(|connection| connection.call(params))
    }

    /// Fetches bytes of a file in a snapshot over this connection, once more if it breaks.
    ///
    /// # Errors
    /// As [`Connection::fetch`].
    pub fn fetch(&mut self, file: &SnapshotCat) -> Result<Vec<u8>, ClientError> {
        self.again_if_lost(|connection| connection.fetch(file))
    }

    fn again_if_lost<T>(
        &mut self,
        ask: impl Fn(&mut LocalConnection) -> Result<T, ClientError>,
    ) -> Result<T, ClientError> {
        match ask(&mut self.connection) {
            Err(error) if error.is_lost() => {
                self.connection = self.reopen()?;
                ask(&mut self.connection)
            }
            outcome => outcome,
        }
    }

    /// Makes a call of any method with any parameters, once.
    ///
    /// # Errors
    /// The daemon's error, or that the connection broke.
    pub fn call_raw(&mut self, method: &str, params: Value) -> Result<Value, ClientError> {
        self.connection.call_raw(method, params)
    }

    /// Fetches the contents of a file in a snapshot over a connection of its own.
    ///
    /// # Errors
    /// The daemon's error, or what broke.
    pub fn cat(&mut self, params: &SnapshotCat) -> Result<BulkReader<impl io::Read + use<>>, ClientError> {
        let token = self.call(params)?.token;
        open(&self.used, &self.name, None)?.into_bulk(&token)
    }

    /// Subscribes to events on a connection of its own.
    ///
    /// # Errors
    /// The daemon's error, or what broke.
    pub fn events(&self, since: Option<Cursor>, topics: Vec<Topic>) -> Result<Events, ClientError> {
        Events::begin(self.name.clone(), self.used.clone(), since, topics)
    }
}

/// Connects, and tries again for as long as the patience lasts while nobody listens or there is no room.
fn reopen(
    candidate: &Candidate,
    name: &str,
    patience: Duration,
    silence: Option<Duration>,
) -> Result<LocalConnection, ClientError> {
    for wait in waits(patience) {
        match open(candidate, name, silence) {
            Err(error) if may_pass(&error) => std::thread::sleep(wait),
            outcome => return outcome,
        }
    }
    open(candidate, name, silence)
}

fn may_pass(error: &ClientError) -> bool {
    match error {
        ClientError::NoDaemon { .. } | ClientError::Lost(_) => true,
        ClientError::Remote(error) => matches!(error.data.kind, ErrorKind::Busy | ErrorKind::Stopping),
        _ => false,
    }
}

/// Growing waits that add up to the patience.
fn waits(patience: Duration) -> impl Iterator<Item = Duration> {
    let mut left = patience;
    let mut wait = Duration::from_millis(50);
    std::iter::from_fn(move || {
        let now = wait.min(left);
        left -= now;
        wait = (wait * 2).min(Duration::from_secs(2));
        (!now.is_zero()).then_some(now)
    })
}

/// Connects to one socket, checks who listens, and says `hello`; later the daemon may be silent for as long as is said.
fn open(candidate: &Candidate, name: &str, silence: Option<Duration>) -> Result<LocalConnection, ClientError> {
    let socket = &candidate.socket;
    let absent = |error| ClientError::NoDaemon { tried: vec![(socket.clone(), error)] };
    let stream = socket.as_path().to_fs_name::<GenericFilePath>().and_then(Stream::connect).map_err(absent)?;
    let uid = stream
        .peer_creds()?
        .euid()
        .ok_or_else(|| ClientError::Malformed("the system does not say who listens at the socket".to_owned()))?;
    if !trusted_uids(candidate).contains(&uid) {
        return Err(ClientError::Untrusted { socket: socket.clone(), uid });
    }
    stream.set_recv_timeout(Some(silence.map_or(HELLO_TIMEOUT, |silence| silence.min(HELLO_TIMEOUT))))?;
    let connection = Connection::open(stream, name)?;
    connection.stream().set_recv_timeout(silence)?;
    Ok(connection)
}

/// Returns who may run the daemon behind a socket: root, this user, and for the system's socket the owner of its
/// folder, which only root can have made and given to the service's user.
fn trusted_uids(candidate: &Candidate) -> Vec<u32> {
    let mut uids = vec![0, rustix::process::geteuid().as_raw()];
    if candidate.owner == Owner::System
        && let Some(folder) = candidate.socket.parent()
        && let Ok(metadata) = std::fs::symlink_metadata(folder)
    {
        uids.push(metadata.uid());
    }
    uids
}

#[cfg(test)]
mod tests;
