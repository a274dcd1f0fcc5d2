//! How the loop stores what has changed, and how it learns that there is no room for that, and when there is again.

use std::time::Duration;

use backup_proto::error::RpcError;

use super::Running;
use crate::clock::Now;
use crate::error::{Error, Result};
use crate::inbox::Event;
use crate::store::Change;
use crate::wire;

/// How often to look at the disk that holds the state while events come, in time that includes sleep.
const ROOM_EVERY: Duration = Duration::from_secs(1);

impl Running {
    /// Looks whether there is room for the state, at most once a second unless there was too little. What is new goes
    /// ahead of the other events, which are judged by it.
    pub(super) async fn look_at_room(&mut self, now: Now, batch: &mut Vec<Event>) {
        let known = self.run.published.borrow().state.shortage.clone();
        let in_doubt = self.shortage.is_some() || known.is_some();
        if !in_doubt && self.room_looked.is_some_and(|looked| now.boot.saturating_sub(looked) < ROOM_EVERY) {
            return;
        }
        self.room_looked = Some(now.boot);
        self.shortage = self.run.store.look(in_doubt).await;
        if self.shortage != known {
            batch.insert(0, Event::Room(self.shortage.clone()));
        }
    }

    /// Stores changes, behind those of the start; returns their sequence, or what to tell whoever wanted them.
    pub(super) async fn store(&mut self, changes: Vec<Change>) -> Result<Result<Option<u64>, RpcError>> {
        let is_empty = changes.is_empty();
        let changes = self.unstored.iter().cloned().chain(changes).collect::<Vec<_>>();
        if changes.is_empty() {
            return Ok(Ok(None));
        }
        match self.run.store.commit(changes).await {
            Ok(sequence) => {
                self.unstored.clear();
                Ok(Ok(Some(sequence)))
            }
            Err(error @ Error::Fenced { .. }) => Err(error),
            // What the start changed can wait: it would be changed again by the next one.
            Err(_) if is_empty => Ok(Ok(None)),
            Err(error) => {
                tracing::error!(%error, advice = error.advice(), "a change cannot be stored");
                let mut refusal = wire::state_error(&error);
                refusal.message = format!("the change could not be stored, so it was not made: {}", refusal.message);
                if let Error::NoRoom(shortage) = error {
                    self.shortage = Some(shortage);
                }
                Ok(Err(refusal))
            }
        }
    }
}
