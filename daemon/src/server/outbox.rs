//! The way from a session to its writer: every answer has room before it waits to be read.

use backup_proto::error::{ErrorKind, RpcError};
use backup_proto::line::{Id, Message, encode};
use serde_json::Value;
use tokio::sync::mpsc;

use super::room::{Kept, Place, Room};
use super::writer::Watch;

/// What a session gives its writer.
#[derive(Debug)]
pub(super) struct Out {
    /// A whole line.
    pub(super) line: Vec<u8>,
    /// What to watch from then on, if this is the answer to a subscription.
    pub(super) watch: Option<Box<Watch>>,
    /// Given back when the line was written.
    pub(super) _place: Place,
    pub(super) _kept: Kept,
}

/// The sending end of a session's answers.
#[derive(Clone, Debug)]
pub(super) struct Outbox {
    pub(super) answers: mpsc::Sender<Out>,
    pub(super) room: Room,
}

impl Outbox {
    /// Answers a call; false when nobody reads answers any more.
    pub(super) async fn say(&self, place: Place, id: Id, outcome: Result<Value, RpcError>) -> bool {
        let (line, kept) = match self.fit(&id, outcome) {
            Ok(fitting) => fitting,
            Err(error) => self.short(id, error),
        };
        self.answers.send(Out { line, watch: None, _place: place, _kept: kept }).await.is_ok()
    }

    /// Answers a subscription; the events follow.
    pub(super) async fn begin_watch(
        &self,
        place: Place,
        id: Id,
        outcome: Result<Value, RpcError>,
        watch: Watch,
    ) -> bool {
        let (line, kept, watch) = match self.fit(&id, outcome) {
            Ok((line, kept)) => (line, kept, Some(Box::new(watch))),
            Err(error) => {
                let (line, kept) = self.short(id, error);
                (line, kept, None)
            }
        };
        self.answers.send(Out { line, watch, _place: place, _kept: kept }).await.is_ok()
    }

    /// Writes an answer and finds room for it; the error says why it cannot be given.
    fn fit(&self, id: &Id, outcome: Result<Value, RpcError>) -> Result<(Vec<u8>, Kept), RpcError> {
        let line = encode(&Message::Answer { id: id.clone(), outcome })?;
        let kept = self.room.keep(line.len()).ok_or_else(|| {
            let message = "too many long answers wait to be read";
            RpcError::new(ErrorKind::Busy, message, "Read what was answered before, ask for smaller pages, or wait.")
        })?;
        Ok((line, kept))
    }

    /// Writes an error of the server's own, which always fits.
    fn short(&self, id: Id, error: RpcError) -> (Vec<u8>, Kept) {
        let line = encode(&Message::Answer { id, outcome: Err(error) }).unwrap_or_default();
        let kept = self.room.keep_short(line.len());
        (line, kept)
    }
}
