//! One connection from hello to goodbye: every line gets an answer, whatever is in it.

use std::pin::pin;
use std::sync::Arc;

use backup_proto::error::{ErrorKind, RpcError};
use backup_proto::event::Subscribed;
use backup_proto::line::{Id, LineSplitter, Message, decode};
use backup_proto::message::Request;
use backup_proto::params::{BulkOpen, BulkOpened, EventsSubscribe, Hello};
use backup_proto::version::{BACKUP_DRY_RUN, BULK_KEEP, SUPPORTED, Welcome};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::sleep;

use super::bulk::Delivery;
use super::limits::{IN_FLIGHT_MAX, LINE_BYTES_FREE, Patience, READ_BYTES};
use super::outbox::Outbox;
use super::room::{Place, Room};
use super::writer::{Watch, write};
use super::{Server, bulk, dispatch, rights};
use crate::inbox::Caller;

/// Serves one connection until it is closed.
pub async fn serve<S: AsyncRead + AsyncWrite + Send + 'static>(stream: S, caller: Caller, server: Arc<Server>) {
    let (mut input, mut output) = tokio::io::split(stream);
    let mut lines = LineSplitter::default();
    let mut has_said_hello = false;
    loop {
        let (answers, waiting) = mpsc::channel(IN_FLIGHT_MAX);
        let writing = tokio::spawn(write(output, waiting, Arc::clone(&server.hub), server.shared.patience.read));
        let outbox = Outbox { answers, room: Room::new(&server.shared) };
        let server = Arc::clone(&server);
        let mut session = Session { caller, server, outbox, has_said_hello, long_line: None, delivery: None };
        session.read(&mut input, &mut lines).await;
        let (delivery, context) = (session.delivery.take(), Arc::clone(&session.server.context));
        // The writer ends when the last answer is given: those on their way hold the channel open.
        drop(session);
        let (Ok(Some(written)), Some(delivery)) = (writing.await, delivery) else { return };
        output = written;
        let keeps = delivery.keeps;
        if !bulk::send(&mut output, context, delivery).await || !keeps {
            let _ = output.shutdown().await;
            return;
        }
        has_said_hello = true;
    }
}

struct Session {
    caller: Caller,
    server: Arc<Server>,
    outbox: Outbox,
    has_said_hello: bool,
    /// What the line that is being read has taken, if it is a long one.
    long_line: Option<OwnedSemaphorePermit>,
    /// Set when the connection is to carry bytes from now on.
    delivery: Option<Delivery>,
}

impl Session {
    /// Reads lines and answers them, until the peer stops sending, takes too long, or the connection becomes a bulk one.
    async fn read<R: AsyncRead + Unpin>(&mut self, input: &mut R, lines: &mut LineSplitter) {
        let mut buffer = vec![0; READ_BYTES];
        let limits = self.server.shared.patience;
        let mut patience = pin!(sleep(limits.hello));
        let mut is_inside_line = false;
        loop {
            let had_hello = self.has_said_hello;
            // At first, what came while the connection carried bytes.
            let Some(lines_read) = self.take_lines(lines).await else { return };
            // Each line has its own time; the first ones share that of hello, so that none can be dribbled for ever.
            let begins = lines.begun_bytes() > 0 && (!is_inside_line || lines_read > 0);
            if self.has_said_hello && (begins || !had_hello) {
                patience.set(sleep(limits.line));
            }
            is_inside_line = lines.begun_bytes() > 0;
            let read = tokio::select! {
                // What has come is looked at first: the server may have kept the peer waiting itself.
                biased;
                read = input.read(&mut buffer) => read,
                // A writer that has given up on the peer ends the session too.
                () = self.outbox.answers.closed() => return,
                () = &mut patience, if is_inside_line || !self.has_said_hello => {
                    self.refuse(Id::Null, too_slow(self.has_said_hello, limits)).await;
                    return;
                }
            };
            let Ok(length @ 1..) = read else { return };
            lines.push(&buffer[..length]);
        }
    }

    /// Takes every whole line; returns how many there were, or none when the connection is of no more use.
    async fn take_lines(&mut self, lines: &mut LineSplitter) -> Option<usize> {
        let mut count = 0;
        while let Some(line) = lines.next_line() {
            let message = line.and_then(decode);
            count += 1;
            // What a long line took is held until it is answered.
            let place = self.outbox.room.enter(self.long_line.take()).await?;
            let is_open = match message {
                Ok(message) => self.take(message, place).await,
                Err(undecodable) => self.outbox.say(place, undecodable.id, Err(undecodable.error)).await,
            };
            if !is_open || self.delivery.is_some() {
                return None;
            }
        }
        if lines.begun_bytes() > LINE_BYTES_FREE && self.long_line.is_none() {
            self.long_line = Arc::clone(&self.server.shared.long_lines).try_acquire_owned().ok();
            if self.long_line.is_none() {
                lines.skip_line();
                return self.refuse(Id::Null, too_many_long_lines()).await.then_some(count);
            }
        }
        Some(count)
    }

    /// Takes one message; false when the connection is of no more use.
    async fn take(&mut self, message: Message, place: Place) -> bool {
        match message {
            Message::Call { id, method, params } => self.call(place, id, &method, params).await,
            // A notification asks for nothing, and a server has asked nothing that could be answered.
            Message::Notification { .. } | Message::Answer { .. } => true,
        }
    }

    async fn call(&mut self, place: Place, id: Id, method: &str, params: Value) -> bool {
        let request = match Request::decode(method, params) {
            Ok(request) if self.has_said_hello || matches!(request, Request::Hello(_)) => request,
            Err(error) if self.has_said_hello || method == "hello" => {
                return self.outbox.say(place, id, Err(error)).await;
            }
            Ok(_) | Err(_) => return self.outbox.say(place, id, Err(hello_required(method))).await,
        };
        match request {
            Request::Hello(hello) => {
                let outcome = self.hello(&hello);
                self.outbox.say(place, id, outcome).await
            }
            Request::EventsSubscribe(params) => self.subscribe(place, id, params).await,
            Request::BulkOpen(params) => {
                let outcome = self.open_bulk(&params);
                self.outbox.say(place, id, outcome).await
            }
            request if dispatch::is_quick(&request) => {
                let outcome = dispatch::answer(&self.server, self.caller, request).await;
                self.outbox.say(place, id, outcome).await
            }
            request => {
                self.answer_later(place, id, request);
                true
            }
        }
    }

    fn hello(&mut self, hello: &Hello) -> Result<Value, RpcError> {
        let protocol = SUPPORTED.agree(hello.protocol)?;
        self.has_said_hello = true;
        dispatch::to_value(&Welcome {
            protocol,
            server: format!("backupd {}", self.server.about.version),
            instance_id: self.server.about.instance_id.clone(),
            capabilities: vec![BACKUP_DRY_RUN.to_owned(), BULK_KEEP.to_owned()],
        })
    }

    /// Gives the present state, or what happened since, and then events; the first picture and the events overlap
    /// rather than leave a hole between them.
    async fn subscribe(&mut self, place: Place, id: Id, params: EventsSubscribe) -> bool {
        let method = Request::EventsSubscribe(params.clone()).method();
        if let Err(error) = rights::check(self.caller, &self.server, method) {
            return self.outbox.say(place, id, Err(error)).await;
        }
        let subscription = self.server.hub.subscribe(params.since);
        let wants_state = params.since.is_none() || subscription.gap;
        let state = wants_state.then(|| Box::new(dispatch::status(&self.server)));
        let subscribed = Subscribed { cursor: subscription.cursor, gap: subscription.gap, state };
        let watch = Watch { replay: subscription.replay, events: subscription.events, topics: params.topics };
        self.outbox.begin_watch(place, id, dispatch::to_value(&subscribed), watch).await
    }

    fn open_bulk(&mut self, params: &BulkOpen) -> Result<Value, RpcError> {
        let method = Request::BulkOpen(params.clone()).method();
        rights::check(self.caller, &self.server, method)?;
        self.delivery = Some(bulk::begin(&self.server, self.caller, params)?);
        dispatch::to_value(&BulkOpened { size_bytes: None })
    }

    /// Answers what may take long beside the calls that follow it.
    fn answer_later(&self, place: Place, id: Id, request: Request) {
        let (server, caller, outbox) = (Arc::clone(&self.server), self.caller, self.outbox.clone());
        tokio::spawn(async move {
            let outcome = dispatch::answer(&server, caller, request).await;
            outbox.say(place, id, outcome).await;
        });
    }

    /// Says what is wrong with no call in particular.
    async fn refuse(&self, id: Id, error: RpcError) -> bool {
        match self.outbox.room.enter(None).await {
            Some(place) => self.outbox.say(place, id, Err(error)).await,
            None => false,
        }
    }
}

fn hello_required(method: &str) -> RpcError {
    let method = &method[..method.floor_char_boundary(100)];
    let message = format!("`{method}` was called before `hello`");
    RpcError::new(ErrorKind::HelloRequired, message, "Call `hello` first, with the protocol versions you speak.")
}

fn too_slow(has_said_hello: bool, limits: Patience) -> RpcError {
    if has_said_hello {
        let message =
            format!("a line was begun and not ended for {} s; the connection is closed", limits.line.as_secs());
        return RpcError::new(ErrorKind::InvalidRequest, message, "End every message with a newline, soon.");
    }
    let message = format!("nobody said `hello` for {} s; the connection is closed", limits.hello.as_secs());
    RpcError::new(ErrorKind::HelloRequired, message, "Connect when there is something to say, and say `hello` first.")
}

fn too_many_long_lines() -> RpcError {
    let message =
        format!("too many lines of more than {LINE_BYTES_FREE} bytes are being read; this one was thrown away");
    RpcError::new(ErrorKind::Busy, message, "Send it again later.")
}
