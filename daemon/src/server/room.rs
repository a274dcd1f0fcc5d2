//! What connections may make the daemon keep: calls under way, long lines, and answers that nobody has taken yet.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use backup_proto::params::RequestId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::bulk::Tokens;
use super::limits::{
    ANSWER_BYTES_FREE, BULK_MAX, IN_FLIGHT_MAX, LONG_ANSWERS_MAX, LONG_LINES_MAX, PATIENCE, Patience, QUERIES_MAX,
    TURNED_AWAY_MAX,
};

/// What all connections share.
#[derive(Debug)]
pub struct Shared {
    /// Whether other users may look.
    pub(super) has_guests: bool,
    /// How long peers are waited for.
    pub(super) patience: Patience,
    /// Tokens for bulk connections.
    pub(super) tokens: Tokens,
    /// Threads for questions.
    pub(super) queries: Semaphore,
    /// Threads for bulk connections.
    pub(super) bulk: Arc<Semaphore>,
    /// Callers who are being told that there is no room.
    pub(super) turned_away: Arc<Semaphore>,
    pub(super) long_lines: Arc<Semaphore>,
    long_answers: Arc<Semaphore>,
    changing: Mutex<BTreeSet<RequestId>>,
}

impl Shared {
    /// Makes it; `has_guests` says whether other users may look.
    #[must_use]
    pub fn new(has_guests: bool) -> Self {
        let shared = |count| Arc::new(Semaphore::new(count));
        Self {
            has_guests,
            patience: PATIENCE,
            tokens: Tokens::default(),
            queries: Semaphore::new(QUERIES_MAX),
            bulk: shared(BULK_MAX),
            turned_away: shared(TURNED_AWAY_MAX),
            long_lines: shared(LONG_LINES_MAX),
            long_answers: shared(LONG_ANSWERS_MAX),
            changing: Mutex::default(),
        }
    }

    /// Begins a change that is made on a thread; none while one of the same name is under way.
    pub(super) fn begin_change(&self, id: &RequestId) -> Option<Changing<'_>> {
        let is_new = self.changing.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone());
        is_new.then(|| Changing { shared: self, id: id.clone() })
    }
}

/// A change that is made on a thread; it is under way for as long as this lives.
#[derive(Debug)]
pub(super) struct Changing<'s> {
    shared: &'s Shared,
    id: RequestId,
}

impl Drop for Changing<'_> {
    fn drop(&mut self) {
        self.shared.changing.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}

/// The room that one connection has.
#[derive(Clone, Debug)]
pub(super) struct Room {
    calls: Arc<Semaphore>,
    /// Bytes of answers that were made and not taken, without the long ones.
    unread: Arc<AtomicUsize>,
    long_answers: Arc<Semaphore>,
}

impl Room {
    pub(super) fn new(shared: &Shared) -> Self {
        Self {
            calls: Arc::new(Semaphore::new(IN_FLIGHT_MAX)),
            unread: Arc::default(),
            long_answers: Arc::clone(&shared.long_answers),
        }
    }

    /// Waits until one more call may be under way; `line` is what its own line took.
    pub(super) async fn enter(&self, line: Option<OwnedSemaphorePermit>) -> Option<Place> {
        let call = Arc::clone(&self.calls).acquire_owned().await.ok()?;
        Some(Place { _call: call, _line: line })
    }

    /// Takes room for an answer; none when it is long and too many long ones wait already.
    pub(super) fn keep(&self, bytes: usize) -> Option<Kept> {
        if self.unread.load(Ordering::Relaxed) + bytes <= ANSWER_BYTES_FREE {
            return Some(self.keep_short(bytes));
        }
        let permit = Arc::clone(&self.long_answers).try_acquire_owned().ok()?;
        Some(Kept::Long { _permit: permit })
    }

    /// Takes room for an answer that is short whatever was asked.
    pub(super) fn keep_short(&self, bytes: usize) -> Kept {
        self.unread.fetch_add(bytes, Ordering::Relaxed);
        Kept::Short { unread: Arc::clone(&self.unread), bytes }
    }
}

/// A call under way, until its answer was taken.
#[derive(Debug)]
pub(super) struct Place {
    _call: OwnedSemaphorePermit,
    _line: Option<OwnedSemaphorePermit>,
}

/// Room for an answer, until it was taken.
#[derive(Debug)]
pub(super) enum Kept {
    /// From what every connection has.
    Short {
        /// The connection's count.
        unread: Arc<AtomicUsize>,
        /// What to take off it.
        bytes: usize,
    },
    /// From what all share.
    Long {
        /// Gives it back.
        _permit: OwnedSemaphorePermit,
    },
}

impl Drop for Kept {
    fn drop(&mut self) {
        if let Self::Short { unread, bytes } = self {
            unread.fetch_sub(*bytes, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_keeps_a_little_and_all_together_a_number_of_long_answers() {
        let shared = Shared::new(false);
        let rooms: Vec<Room> = (0..=LONG_ANSWERS_MAX).map(|_| Room::new(&shared)).collect();
        let free = rooms[0].keep(ANSWER_BYTES_FREE).expect("that much is free");
        let mut long: Vec<Kept> =
            rooms[..LONG_ANSWERS_MAX].iter().filter_map(|room| room.keep(ANSWER_BYTES_FREE + 1)).collect();
        assert_eq!(long.len(), LONG_ANSWERS_MAX);
        assert!(rooms[0].keep(1).is_none(), "its own room is full and so is that of all");
        let last = &rooms[LONG_ANSWERS_MAX];
        assert!(last.keep(ANSWER_BYTES_FREE + 1).is_none());
        assert!(last.keep(100).is_some(), "short answers are for everybody");
        drop(long.pop());
        assert!(last.keep(ANSWER_BYTES_FREE + 1).is_some());
        drop(free);
        assert!(rooms[0].keep(ANSWER_BYTES_FREE).is_some());
    }

    #[test]
    fn a_change_of_one_name_is_under_way_once() {
        let shared = Shared::new(false);
        let id = RequestId("r".to_owned());
        let first = shared.begin_change(&id).expect("it is the first");
        assert!(shared.begin_change(&id).is_none());
        drop(first);
        assert!(shared.begin_change(&id).is_some());
    }
}
