//! One connection from hello to goodbye: every line gets an answer, whatever is in it.

use std::sync::Arc;
use std::time::Duration;

use backup_proto::error::{ErrorKind, RpcError};
use backup_proto::event::Subscribed;
use backup_proto::line::{Id, LineSplitter, Message, decode, encode};
use backup_proto::message::Request;
use backup_proto::params::{BulkOpen, BulkOpened, EventsSubscribe, Hello};
use backup_proto::version::{SUPPORTED, Welcome};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::sync::{Semaphore, mpsc};

use super::writer::{Out, Watch, write};
use super::{Server, bulk, dispatch, rights};
use crate::inbox::Caller;

/// Calls of one connection that are worked on at a time; who sends more is not read until some are answered.
const IN_FLIGHT_MAX: usize = 16;

/// Answers that may wait for a slow reader before its calls are not read any more.
const ANSWERS_MAX: usize = 16;

/// How long a peer may take to say hello.
const HELLO_PATIENCE: Duration = Duration::from_secs(30);

/// Bytes that are read at once.
const READ_BYTES: usize = 16 * 1024;

/// Serves one connection until it is closed.
pub async fn serve<S: AsyncRead + AsyncWrite + Send + 'static>(stream: S, caller: Caller, server: Arc<Server>) {
    let (mut input, output) = tokio::io::split(stream);
    let (answers, waiting) = mpsc::channel(ANSWERS_MAX);
    let writing = tokio::spawn(write(output, waiting, Arc::clone(&server.hub)));
    let mut session = Session {
        caller,
        server: Arc::clone(&server),
        answers,
        in_flight: Arc::new(Semaphore::new(IN_FLIGHT_MAX)),
        has_said_hello: false,
        bulk: None,
    };
    session.read(&mut input).await;
    let bulk = session.bulk.take();
    // The writer ends when the last answer is given: those on their way hold the channel open.
    drop(session);
    if let (Ok(Some(output)), Some(what)) = (writing.await, bulk) {
        bulk::send(output, Arc::clone(&server.context), what).await;
    }
}

struct Session {
    caller: Caller,
    server: Arc<Server>,
    answers: mpsc::Sender<Out>,
    in_flight: Arc<Semaphore>,
    has_said_hello: bool,
    /// Set when the connection is to carry bytes from now on.
    bulk: Option<backup_proto::params::SnapshotCat>,
}

impl Session {
    /// Reads lines and answers them, until the peer stops sending or the connection becomes a bulk one.
    async fn read<R: AsyncRead + Unpin>(&mut self, input: &mut R) {
        let mut lines = LineSplitter::default();
        let mut buffer = vec![0; READ_BYTES];
        loop {
            let read = match self.has_said_hello {
                // A writer that has given up on the peer ends the session too.
                true => tokio::select! {
                    read = input.read(&mut buffer) => read,
                    () = self.answers.closed() => return,
                },
                false => match tokio::time::timeout(HELLO_PATIENCE, input.read(&mut buffer)).await {
                    Ok(read) => read,
                    Err(_) => return,
                },
            };
            let Ok(length @ 1..) = read else { return };
            lines.push(&buffer[..length]);
            while let Some(line) = lines.next_line() {
                let message = line.and_then(decode);
                let is_open = match message {
                    Ok(message) => self.take(message).await,
                    Err(undecodable) => self.say(undecodable.into_answer()).await,
                };
                if !is_open || self.bulk.is_some() {
                    return;
                }
            }
        }
    }

    /// Takes one message; false when the connection is of no more use.
    async fn take(&mut self, message: Message) -> bool {
        match message {
            Message::Call { id, method, params } => self.call(id, &method, params).await,
            // A notification asks for nothing, and a server has asked nothing that could be answered.
            Message::Notification { .. } | Message::Answer { .. } => true,
        }
    }

    async fn call(&mut self, id: Id, method: &str, params: Value) -> bool {
        let request = match Request::decode(method, params) {
            Ok(request) if self.has_said_hello || matches!(request, Request::Hello(_)) => request,
            Ok(_) => return self.refuse(id, hello_required(method)).await,
            Err(_) if !self.has_said_hello => return self.refuse(id, hello_required(method)).await,
            Err(error) => return self.refuse(id, error).await,
        };
        match request {
            Request::Hello(hello) => self.hello(id, &hello).await,
            Request::EventsSubscribe(params) => self.subscribe(id, params).await,
            Request::BulkOpen(params) => self.open_bulk(id, &params).await,
            request if dispatch::is_quick(&request) => {
                let outcome = dispatch::answer(&self.server, self.caller, request).await;
                self.say(Message::Answer { id, outcome }).await
            }
            request => self.answer_later(id, request).await,
        }
    }

    async fn hello(&mut self, id: Id, hello: &Hello) -> bool {
        let outcome = SUPPORTED.agree(hello.protocol).and_then(|protocol| {
            dispatch::to_value(&Welcome {
                protocol,
                server: format!("backupd {}", self.server.about.version),
                instance_id: self.server.about.instance_id.clone(),
                capabilities: Vec::new(),
            })
        });
        self.has_said_hello |= outcome.is_ok();
        self.say(Message::Answer { id, outcome }).await
    }

    /// Gives the present state, or what happened since, and then events; the first picture and the events overlap
    /// rather than leave a hole between them.
    async fn subscribe(&mut self, id: Id, params: EventsSubscribe) -> bool {
        let method = Request::EventsSubscribe(params.clone()).method();
        if let Err(error) = rights::check(self.caller, self.server.about.uid, method) {
            return self.refuse(id, error).await;
        }
        let subscription = self.server.hub.subscribe(params.since);
        let wants_state = params.since.is_none() || subscription.gap;
        let state = wants_state.then(|| Box::new(dispatch::status(&self.server)));
        let subscribed = Subscribed { cursor: subscription.cursor, gap: subscription.gap, state };
        let outcome = dispatch::to_value(&subscribed);
        match encode(&Message::Answer { id: id.clone(), outcome }) {
            Ok(line) => {
                let watch = Watch { replay: subscription.replay, events: subscription.events, topics: params.topics };
                self.answers.send(Out::Subscribe(line, Box::new(watch))).await.is_ok()
            }
            Err(error) => self.refuse(id, error).await,
        }
    }

    async fn open_bulk(&mut self, id: Id, params: &BulkOpen) -> bool {
        let method = Request::BulkOpen(params.clone()).method();
        let granted = rights::check(self.caller, self.server.about.uid, method)
            .and_then(|()| self.server.tokens.redeem(self.caller, &params.token, self.server.context.clock.now()));
        match granted {
            Ok(what) => {
                self.bulk = Some(what);
                let outcome = dispatch::to_value(&BulkOpened { size_bytes: None });
                self.say(Message::Answer { id, outcome }).await
            }
            Err(error) => self.refuse(id, error).await,
        }
    }

    /// Answers what may take long beside the calls that follow it.
    async fn answer_later(&self, id: Id, request: Request) -> bool {
        let Ok(permit) = Arc::clone(&self.in_flight).acquire_owned().await else { return false };
        let (server, caller, answers) = (Arc::clone(&self.server), self.caller, self.answers.clone());
        tokio::spawn(async move {
            let outcome = dispatch::answer(&server, caller, request).await;
            let _ = answers.send(Out::Line(line(id, outcome))).await;
            drop(permit);
        });
        true
    }

    async fn refuse(&self, id: Id, error: RpcError) -> bool {
        self.say(Message::Answer { id, outcome: Err(error) }).await
    }

    async fn say(&self, message: Message) -> bool {
        let bytes = match message {
            Message::Answer { id, outcome } => line(id, outcome),
            other => encode(&other).unwrap_or_default(),
        };
        self.answers.send(Out::Line(bytes)).await.is_ok()
    }
}

/// Writes an answer; one that is too long becomes the error that says so.
fn line(id: Id, outcome: Result<Value, RpcError>) -> Vec<u8> {
    encode(&Message::Answer { id: id.clone(), outcome })
        .or_else(|error| encode(&Message::Answer { id, outcome: Err(error) }))
        // What is left is an error whose id is the longest line there is.
        .or_else(|error| encode(&Message::Answer { id: Id::Null, outcome: Err(error) }))
        .unwrap_or_default()
}

fn hello_required(method: &str) -> RpcError {
    let method = &method[..method.floor_char_boundary(100)];
    let message = format!("`{method}` was called before `hello`");
    RpcError::new(ErrorKind::HelloRequired, message, "Call `hello` first, with the protocol versions you speak.")
}
