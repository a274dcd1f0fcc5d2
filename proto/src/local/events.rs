//! Events over a connection that is made anew when it breaks.

use std::time::Duration;

use super::{LocalConnection, PATIENCE, reopen};
use crate::client::ClientError;
use crate::endpoint::Candidate;
use crate::event::{Cursor, Event, Topic};
use crate::params::EventsSubscribe;
use crate::status::Status;

/// What a watcher gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Update {
    /// The present state: first, and whenever events may have been missed.
    State(Box<Status>),
    /// Something that happened.
    Event(Box<Event>),
    /// The daemon went away; it is being waited for.
    Lost,
    /// The daemon came back.
    Back,
}

/// Events as they come. When the connection breaks they go on from the last cursor as soon as the daemon is back.
#[derive(Debug)]
pub struct Events {
    name: String,
    used: Candidate,
    topics: Vec<Topic>,
    since: Option<Cursor>,
    connection: Option<LocalConnection>,
    is_over: bool,
    waiting: Option<Update>,
}

impl Events {
    pub(super) fn begin(
        name: String,
        used: Candidate,
        since: Option<Cursor>,
        topics: Vec<Topic>,
    ) -> Result<Self, ClientError> {
        let mut events = Self { name, used, topics, since, connection: None, is_over: false, waiting: None };
        events.waiting = events.subscribe(Duration::ZERO)?;
        Ok(events)
    }

    fn subscribe(&mut self, patience: Duration) -> Result<Option<Update>, ClientError> {
        let mut connection = reopen(&self.used, &self.name, patience, None)?;
        let params = EventsSubscribe { since: self.since, topics: self.topics.clone() };
        let answer = connection.call(&params)?;
        self.since = Some(answer.cursor);
        self.connection = Some(connection);
        Ok(answer.state.map(Update::State))
    }

    fn advance(&mut self) -> Result<Update, ClientError> {
        if let Some(update) = self.waiting.take() {
            return Ok(update);
        }
        let Some(connection) = &mut self.connection else {
            self.waiting = self.subscribe(PATIENCE)?;
            return Ok(Update::Back);
        };
        match connection.next_event() {
            Ok(event) => {
                self.since = self.since.max(Some(event.cursor));
                Ok(Update::Event(Box::new(event)))
            }
            Err(error) if error.is_lost() => {
                self.connection = None;
                Ok(Update::Lost)
            }
            Err(error) => Err(error),
        }
    }
}

impl Iterator for Events {
    type Item = Result<Update, ClientError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let update = self.advance();
        self.is_over = update.is_err();
        Some(update)
    }
}
