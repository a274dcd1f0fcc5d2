//! The typed client: one connection over any stream, and the way to a daemon on this machine.
//!
//! [`Connection`] speaks the protocol and knows nothing of sockets. [`crate::local`] finds the daemon, checks who it
//! is and brings a lost connection back.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::path::PathBuf;

use serde_json::Value;

use crate::bulk::{BulkError, BulkReader};
use crate::error::{Exit, RpcError};
use crate::event::{EVENT_METHOD, Event};
use crate::line::{Id, LineSplitter, Message, decode, encode};
use crate::message::Call;
use crate::params::{BulkOpen, Hello, SnapshotCat};
use crate::version::{SUPPORTED, Welcome};

/// Bytes read from the stream at once.
const READ_BYTES: usize = 64 * 1024;

/// Events kept while a call waits for its answer; a server that sends more in between is cut off.
const EVENTS_MAX: usize = 10_000;

/// What can go wrong between a client and a daemon.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No daemon listens where one was looked for.
    #[error("no daemon answers at {}", list_sockets(tried))]
    NoDaemon {
        /// Each socket that was tried, with what happened.
        tried: Vec<(PathBuf, io::Error)>,
    },
    /// Somebody listens who is neither root, nor this user, nor the service's user.
    #[error("the program behind {} runs as user {uid}, who is not to be trusted with backups; nothing was sent", socket.display())]
    Untrusted {
        /// The socket.
        socket: PathBuf,
        /// The user it runs as.
        uid: u32,
    },
    /// The connection broke.
    #[error("the connection to the daemon broke: {0}")]
    Lost(#[from] io::Error),
    /// The daemon sent nothing for longer than it is waited for.
    #[error("the daemon does not answer")]
    Silent,
    /// The other side does not speak the protocol.
    #[error("the daemon's answer makes no sense: {0}")]
    Malformed(String),
    /// The daemon refused, or could not do it.
    #[error("{0}")]
    Remote(#[from] RpcError),
    /// Bulk bytes did not come whole.
    #[error("{0}")]
    Bulk(#[from] BulkError),
}

fn list_sockets(tried: &[(PathBuf, io::Error)]) -> String {
    let one = |(socket, error): &(PathBuf, io::Error)| {
        let reason = error.to_string();
        let reason = reason.split(" (os error").next().unwrap_or_default().to_lowercase();
        format!("{} ({reason})", socket.display())
    };
    tried.iter().map(one).collect::<Vec<_>>().join(" or ")
}

impl ClientError {
    /// Returns the exit code the command gives for it.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::NoDaemon { tried } if tried.iter().any(|(_, e)| e.kind() == io::ErrorKind::PermissionDenied) => {
                Exit::NotAllowed
            }
            Self::NoDaemon { .. } | Self::Lost(_) | Self::Silent => Exit::Unreachable,
            Self::Untrusted { .. } => Exit::NotAllowed,
            Self::Malformed(_) | Self::Bulk(BulkError::Io(_) | BulkError::Malformed(_)) => Exit::Failed,
            Self::Remote(error) | Self::Bulk(BulkError::Remote(error)) => error.exit(),
        }
    }

    /// Tells whether the same call may be made again on a new connection.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        matches!(self, Self::Lost(_))
    }
}

/// A connection on which `hello` was said.
#[derive(Debug)]
pub struct Connection<S> {
    wire: Wire<S>,
    welcome: Welcome,
    events: VecDeque<Event>,
}

impl<S: Read + Write> Connection<S> {
    /// Says `hello` on a fresh stream; `client` is the program's name and version.
    ///
    /// # Errors
    /// When the stream breaks, or the two sides have no version in common.
    pub fn open(stream: S, client: &str) -> Result<Self, ClientError> {
        let mut wire = Wire { stream, splitter: LineSplitter::default(), last_id: 0, is_cut: false };
        let mut events = VecDeque::new();
        let hello = Hello { client: client.to_owned(), protocol: SUPPORTED };
        let answer = wire.call(Hello::METHOD, to_value(&hello)?, &mut events)?;
        let welcome: Welcome = read(Hello::METHOD, answer)?;
        if !(SUPPORTED.min..=SUPPORTED.max).contains(&welcome.protocol) {
            return Err(ClientError::Malformed(format!(
                "it chose protocol {}, which was not offered",
                welcome.protocol
            )));
        }
        Ok(Self { wire, welcome, events })
    }

    /// Returns what the server said about itself.
    pub fn welcome(&self) -> &Welcome {
        &self.welcome
    }

    /// Returns the stream.
    pub fn stream(&self) -> &S {
        &self.wire.stream
    }

    /// Makes a call and waits for its answer. Events that come in between are kept for [`Self::next_event`].
    ///
    /// # Errors
    /// The server's error, or what broke.
    pub fn call<C: Call>(&mut self, params: &C) -> Result<C::Result, ClientError> {
        read(C::METHOD, self.call_raw(C::METHOD, to_value(params)?)?)
    }

    /// Makes a call of any method with any parameters.
    ///
    /// # Errors
    /// The server's error, or what broke.
    pub fn call_raw(&mut self, method: &str, params: Value) -> Result<Value, ClientError> {
        self.wire.call(method, params, &mut self.events)
    }

    /// Waits for the next event after `events.subscribe`.
    ///
    /// # Errors
    /// When the connection breaks.
    pub fn next_event(&mut self) -> Result<Event, ClientError> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(event);
            }
            if let Message::Notification { method, params } = self.wire.receive()? {
                keep_event(&method, params, &mut self.events)?;
            }
        }
    }

    /// Turns this connection into the carrier of the bytes a token stands for.
    ///
    /// # Errors
    /// When the token is refused or the connection breaks.
    pub fn into_bulk(mut self, token: &str) -> Result<BulkReader<impl Read + use<S>>, ClientError> {
        self.call(&BulkOpen { token: Some(token.to_owned()), cat: None, keep: false })?;
        Ok(BulkReader::new(self.wire))
    }

    /// Fetches bytes of a file over this connection, which then takes further calls: for whoever reads many of them.
    /// The server must have said that it can, by [`BULK_KEEP`](crate::version::BULK_KEEP).
    ///
    /// # Errors
    /// The server's error, or what broke.
    pub fn fetch(&mut self, file: &SnapshotCat) -> Result<Vec<u8>, ClientError> {
        self.call(&BulkOpen { token: None, cat: Some(file.clone()), keep: true })?;
        // Whoever sends more than was asked for does not get more memory for it.
        let most = file.length.and_then(|length| usize::try_from(length).ok()).unwrap_or(usize::MAX);
        let (mut bytes, mut reader) = (Vec::new(), BulkReader::new(&mut self.wire));
        let outcome = loop {
            match reader.next_data() {
                Ok(Some(piece)) => bytes.extend_from_slice(&piece[..piece.len().min(most - bytes.len())]),
                Ok(None) => break Ok(bytes),
                Err(error) => break Err(error),
            }
        };
        // The server tells its own errors in an end frame; behind anything else it is not known where a line begins.
        self.wire.is_cut = !matches!(outcome, Ok(_) | Err(BulkError::Remote(_)));
        outcome.map_err(|error| if let BulkError::Io(error) = error { broken(error) } else { error.into() })
    }
}

/// The stream with its half-read line.
#[derive(Debug)]
struct Wire<S> {
    stream: S,
    splitter: LineSplitter,
    last_id: u64,
    /// Whether it broke off among frames or before an answer that was owed, and is of no more use.
    is_cut: bool,
}

/// Reads what comes behind the lines that were read.
impl<S: Read> Read for Wire<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.splitter.begun_bytes() == 0 {
            if buffer.len() >= READ_BYTES {
                return self.stream.read(buffer);
            }
            let mut chunk = [0; READ_BYTES];
            let length = self.stream.read(&mut chunk)?;
            self.splitter.push(&chunk[..length]);
        }
        Ok(self.splitter.take_rest(buffer))
    }
}

impl<S: Read + Write> Wire<S> {
    fn call(&mut self, method: &str, params: Value, events: &mut VecDeque<Event>) -> Result<Value, ClientError> {
        if self.is_cut {
            return Err(io::Error::from(io::ErrorKind::NotConnected).into());
        }
        self.last_id += 1;
        let wanted = Id::from(self.last_id);
        let line = encode(&Message::Call { id: wanted.clone(), method: method.to_owned(), params })?;
        if let Err(error) = self.stream.write_all(&line).and_then(|()| self.stream.flush()) {
            return Err(self.last_words(error));
        }
        loop {
            match self.receive()? {
                Message::Answer { id, outcome } if id == wanted => return Ok(outcome?),
                // The server could not read the call, and so not its id; nothing else is under way.
                Message::Answer { id: Id::Null, outcome: Err(error) } => return Err(error.into()),
                Message::Notification { method, params } => keep_event(&method, params, events)?,
                Message::Answer { .. } | Message::Call { .. } => {}
            }
        }
    }

    /// Returns why a server hung up: one that turns a caller away says so before it closes.
    fn last_words(&mut self, broken: io::Error) -> ClientError {
        let is_closed = matches!(broken.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset);
        while let Some(message) = is_closed.then(|| self.receive().ok()).flatten() {
            if let Message::Answer { id: Id::Null, outcome: Err(error) } = message {
                return error.into();
            }
        }
        broken.into()
    }

    fn receive(&mut self) -> Result<Message, ClientError> {
        let mut chunk = [0; READ_BYTES];
        loop {
            if let Some(line) = self.splitter.next_line() {
                let line = line.map_err(|error| ClientError::Malformed(error.to_string()))?;
                return decode(line).map_err(|error| ClientError::Malformed(error.to_string()));
            }
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                Ok(length) => self.splitter.push(&chunk[..length]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.is_cut = true;
                    return Err(broken(error));
                }
            }
        }
    }
}

/// Says what it means that nothing could be read.
fn broken(error: io::Error) -> ClientError {
    // What a system says when a stream's time to receive is over.
    let is_silent = matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut);
    if is_silent { ClientError::Silent } else { error.into() }
}

/// Keeps an event for later; notifications of other names are for newer clients.
fn keep_event(method: &str, params: Value, events: &mut VecDeque<Event>) -> Result<(), ClientError> {
    if method != EVENT_METHOD {
        return Ok(());
    }
    if events.len() >= EVENTS_MAX {
        return Err(ClientError::Malformed(format!("more than {EVENTS_MAX} events came before an answer")));
    }
    events.push_back(read(EVENT_METHOD, params)?);
    Ok(())
}

fn to_value(params: &impl serde::Serialize) -> Result<Value, ClientError> {
    serde_json::to_value(params).map_err(|error| ClientError::Malformed(error.to_string()))
}

fn read<T: serde::de::DeserializeOwned>(what: &str, value: Value) -> Result<T, ClientError> {
    serde_json::from_value(value).map_err(|error| ClientError::Malformed(format!("`{what}`: {error}")))
}

#[cfg(test)]
mod tests;
