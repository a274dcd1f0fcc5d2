//! The inbox: everything that can change a job comes through here, one event after another.

use std::sync::Arc;
use std::sync::mpsc::Sender;

use backup_proto::job::{FailedItem, JobError, JobId, Progress};
use backup_proto::message::Request;
use backup_proto::spec::SnapshotQuery;
use serde_json::Value;
use tokio::sync::mpsc;

use crate::conditions::Readings;
use crate::config::Config;
use crate::job::Ended;
use crate::store::Shortage;

/// Events that may wait; who sends more waits too.
pub const INBOX_MAX: usize = 1024;

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// A client asks for a change of jobs or of the daemon.
    Request {
        /// Where the answer goes.
        ticket: Ticket,
        /// Who asks.
        caller: Caller,
        /// What is asked.
        request: Box<Request>,
    },
    /// A handler outside the loop has made a change; its answer is to be remembered under the request's id.
    Answered {
        /// Where the answer goes.
        ticket: Ticket,
        /// Who asked.
        caller: Caller,
        /// What was asked.
        request: Box<Request>,
        /// What to answer.
        answer: Value,
    },
    /// A worker has something to say.
    Worker {
        /// The job it works on.
        job: JobId,
        /// The attempt; what comes from an earlier one is ignored.
        attempt: u32,
        /// What it says.
        news: News,
    },
    /// A target was asked whether it is back.
    Asked {
        /// The target.
        target: String,
        /// Why it cannot be used; none when it can.
        error: Option<Box<JobError>>,
    },
    /// The configuration was read again.
    Configured(Arc<Config>),
    /// The machine is not as it was.
    Readings(Box<Readings>),
    /// The disk that holds the state has too little room, or has enough again.
    Room(Option<Shortage>),
    /// A deadline has passed, or the daemon has just started.
    Tick,
    /// The daemon is to end: running jobs stop at a checkpoint.
    Stop,
}

/// What a worker says.
#[derive(Clone, Debug)]
pub enum News {
    /// How far it is; a few times a second at most.
    Progress(Box<Progress>),
    /// An item could not be done; it is in the ledger already.
    ItemFailed(Box<FailedItem>),
    /// A sentence worth knowing.
    Notice(String),
    /// Which snapshots a restore works on, from now on in every attempt.
    Chosen {
        /// They, in the order of the job's items.
        snapshots: Vec<SnapshotQuery>,
        /// Is told when that is stored; the worker waits for it.
        stored: Sender<()>,
    },
    /// It is over. Always the last that is said, and always said.
    Finished(Box<Ended>),
}

/// Names the place where an answer is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// Who asks, as the operating system says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The user.
    pub uid: u32,
    /// The process, where the system tells; for logs only.
    pub pid: Option<u32>,
}

/// The sending end of the inbox; clones send to the same one.
#[derive(Clone, Debug)]
pub struct Inbox {
    sender: mpsc::Sender<Event>,
}

impl Inbox {
    /// Makes an inbox with its receiving end.
    #[must_use]
    pub fn new() -> (Self, mpsc::Receiver<Event>) {
        let (sender, receiver) = mpsc::channel(INBOX_MAX);
        (Self { sender }, receiver)
    }

    /// Sends an event from a plain thread; waits while the inbox is full. After the loop has ended nothing happens.
    pub fn send(&self, event: Event) {
        let _ = self.sender.blocking_send(event);
    }

    /// Sends an event from a task; waits while the inbox is full. False when the loop has ended.
    pub async fn post(&self, event: Event) -> bool {
        self.sender.send(event).await.is_ok()
    }
}
