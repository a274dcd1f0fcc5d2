//! The desk: where clients wait for the loop's answers.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use backup_proto::error::{ErrorKind, RpcError};
use backup_proto::message::Request;
use serde_json::Value;
use tokio::sync::oneshot;

use crate::inbox::{Caller, Event, Inbox, Ticket};

type Answer = Result<Value, RpcError>;

/// Hands out tickets and takes answers.
#[derive(Debug, Default)]
pub struct Desk {
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    last: u64,
    senders: BTreeMap<Ticket, oneshot::Sender<Answer>>,
}

impl Desk {
    /// Asks the loop for a change and waits for the answer, which comes when the change is durable.
    ///
    /// # Errors
    /// What the client is to be told.
    pub async fn ask(&self, inbox: &Inbox, caller: Caller, request: Request) -> Answer {
        let (ticket, answer) = self.ticket();
        self.wait(inbox, Event::Request { ticket, caller, request: Box::new(request) }, answer).await
    }

    /// Lets the loop remember the answer of a change that was made elsewhere; returns it when that is durable.
    ///
    /// # Errors
    /// What the client is to be told.
    pub async fn remember(&self, inbox: &Inbox, caller: Caller, request: Request, answer: Value) -> Answer {
        let (ticket, waiting) = self.ticket();
        self.wait(inbox, Event::Answered { ticket, caller, request: Box::new(request), answer }, waiting).await
    }

    async fn wait(&self, inbox: &Inbox, event: Event, answer: oneshot::Receiver<Answer>) -> Answer {
        if !inbox.post(event).await {
            self.close();
        }
        answer.await.unwrap_or_else(|_| Err(stopped()))
    }

    /// Gives an answer to who waits for it; one who went away misses it.
    pub fn answer(&self, ticket: Ticket, answer: Answer) {
        if let Some(sender) = self.lock().senders.remove(&ticket) {
            let _ = sender.send(answer);
        }
    }

    /// Sends away everybody who waits: the loop has ended.
    pub fn close(&self) {
        self.lock().senders.clear();
    }

    fn ticket(&self) -> (Ticket, oneshot::Receiver<Answer>) {
        let (sender, receiver) = oneshot::channel();
        let mut waiting = self.lock();
        waiting.last += 1;
        let ticket = Ticket(waiting.last);
        waiting.senders.insert(ticket, sender);
        (ticket, receiver)
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Each change of the map is one insertion or removal: a panic cannot leave it half done.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn stopped() -> RpcError {
    RpcError::new(ErrorKind::Stopping, "the daemon has stopped", "Ask again when it has started again.")
}
