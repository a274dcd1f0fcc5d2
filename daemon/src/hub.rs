//! The hub: hands events to watchers, and keeps the latest for those who come back.
//!
//! Every event of a commit belongs to the commit's sequence. Only the last of them carries that number as its cursor
//! and the others the one before, so that a watcher who was cut off among them gets all of them again rather than
//! too few. What is not stored (progress, reasons for waiting) carries the latest number; progress is not kept.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use backup_proto::event::{Cursor, EVENT_METHOD, Event, EventBody, Topic};
use backup_proto::line::{Message, encode};
use jiff::Timestamp;
use tokio::sync::broadcast;

/// Events that are kept for watchers who come back.
const RING_MAX: usize = 4096;

/// Bytes of events that are kept.
const RING_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Bytes a watcher may be behind before it is cut off.
pub const BEHIND_MAX: u64 = 1024 * 1024;

/// Events that may wait for the slowest watcher: more than fit into [`BEHIND_MAX`], of which the shortest has some 150
/// bytes, so that the bytes alone decide who is cut off.
const WAITING_MAX: usize = 8192;

/// One event, ready to be written to any number of watchers.
#[derive(Clone, Debug)]
pub struct Line {
    /// What it is about.
    pub topic: Topic,
    /// The whole line, with its newline.
    pub bytes: Arc<[u8]>,
    /// How many bytes of events there had been with this one.
    pub position: u64,
    /// The sequence of the commit it belongs to.
    commit: u64,
}

/// Hands out events.
#[derive(Debug)]
pub struct Hub {
    inner: Mutex<Inner>,
    sender: broadcast::Sender<Line>,
}

#[derive(Debug)]
struct Inner {
    ring: VecDeque<Line>,
    ring_bytes: usize,
    /// Events of commits after this one are all in the ring.
    floor: u64,
    /// The latest commit.
    latest: u64,
    /// Bytes of all events so far.
    position: u64,
}

/// What a new watcher gets.
#[derive(Debug)]
pub struct Subscription {
    /// Where the events that follow begin.
    pub cursor: Cursor,
    /// Whether what happened since the asked-for cursor could not be replayed.
    pub gap: bool,
    /// What happened since then.
    pub replay: Vec<Line>,
    /// What happens from now on.
    pub events: broadcast::Receiver<Line>,
}

impl Hub {
    /// Makes a hub whose history begins after this commit.
    #[must_use]
    pub fn new(sequence: u64) -> Self {
        let inner = Inner { ring: VecDeque::new(), ring_bytes: 0, floor: sequence, latest: sequence, position: 0 };
        Self { inner: Mutex::new(inner), sender: broadcast::channel(WAITING_MAX).0 }
    }

    /// Hands out the events of a step; `commit` is the sequence of its changes, if it had any.
    pub fn publish(&self, commit: Option<u64>, bodies: Vec<EventBody>, time: Timestamp) {
        let mut inner = self.lock();
        let before = inner.latest;
        inner.latest = commit.unwrap_or(before);
        let count = bodies.len();
        for (number, body) in bodies.into_iter().enumerate() {
            let is_last = number + 1 == count;
            let cursor =
                Cursor(if is_last { inner.latest } else { inner.latest.saturating_sub(u64::from(commit.is_some())) });
            let topic = body.topic();
            let Some(bytes) = write(&Event { cursor, time, body }) else { continue };
            inner.position += bytes.len() as u64;
            let line = Line { topic, bytes, position: inner.position, commit: inner.latest };
            if topic != Topic::Progress {
                inner.keep(line.clone());
            }
            // Nobody listening is fine.
            let _ = self.sender.send(line);
        }
    }

    /// Begins to watch, after a cursor that the watcher knows or from now.
    #[must_use]
    pub fn subscribe(&self, since: Option<Cursor>) -> Subscription {
        let inner = self.lock();
        let known = since.filter(|since| (inner.floor..=inner.latest).contains(&since.0));
        let replay = match known {
            Some(since) => inner.ring.iter().filter(|line| line.commit > since.0).cloned().collect(),
            None => Vec::new(),
        };
        Subscription {
            cursor: Cursor(inner.latest),
            gap: since.is_some() && known.is_none(),
            replay,
            events: self.sender.subscribe(),
        }
    }

    /// Returns how many bytes of events there have been.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.lock().position
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Whatever a panic left half done here is one event too many or too few for watchers, never for the queue.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn keep(&mut self, line: Line) {
        self.ring_bytes += line.bytes.len();
        self.ring.push_back(line);
        while self.ring.len() > RING_MAX || self.ring_bytes > RING_BYTES_MAX {
            let Some(oldest) = self.ring.pop_front() else { return };
            self.ring_bytes -= oldest.bytes.len();
            self.floor = self.floor.max(oldest.commit);
        }
    }
}

/// Writes an event as a line. Summaries are cut to fit when they are made, so a longer one is a mistake.
fn write(event: &Event) -> Option<Arc<[u8]>> {
    let params = serde_json::to_value(event).ok()?;
    encode(&Message::Notification { method: EVENT_METHOD.to_owned(), params })
        .inspect_err(|error| tracing::error!(%error, "an event is not sent"))
        .ok()
        .map(Into::into)
}

#[cfg(test)]
mod tests {
    use backup_proto::event::{NoticeEvent, ProgressEvent};
    use backup_proto::job::{JobId, Progress};

    use super::*;

    fn notice(sentence: &str) -> EventBody {
        EventBody::Notice(NoticeEvent { job: None, sentence: sentence.into() })
    }

    fn texts(lines: &[Line]) -> Vec<String> {
        lines
            .iter()
            .map(|line| {
                let value: serde_json::Value = serde_json::from_slice(&line.bytes).unwrap();
                format!("{} {}", value["params"]["sentence"].as_str().unwrap(), value["params"]["cursor"])
            })
            .collect()
    }

    #[test]
    fn who_comes_back_gets_what_happened_since_and_after_a_cut_inside_a_commit_all_of_it() {
        let hub = Hub::new(10);
        hub.publish(Some(11), vec![notice("a"), notice("b")], Timestamp::UNIX_EPOCH);
        hub.publish(Some(12), vec![notice("c")], Timestamp::UNIX_EPOCH);
        let since = |cursor| texts(&hub.subscribe(Some(Cursor(cursor))).replay);
        assert_eq!(since(10), ["a 10", "b 11", "c 12"]);
        assert_eq!(since(11), ["c 12"]);
        assert_eq!(since(12), Vec::<String>::new());
    }

    #[test]
    fn a_cursor_of_another_history_is_a_gap() {
        let hub = Hub::new(10);
        assert!(hub.subscribe(Some(Cursor(9))).gap);
        assert!(hub.subscribe(Some(Cursor(11))).gap);
        assert!(!hub.subscribe(Some(Cursor(10))).gap);
        assert!(!hub.subscribe(None).gap);
    }

    #[test]
    fn the_ring_forgets_the_oldest_and_says_so() {
        let hub = Hub::new(0);
        for number in 1..=u64::try_from(RING_MAX).unwrap() + 5 {
            hub.publish(Some(number), vec![notice("x")], Timestamp::UNIX_EPOCH);
        }
        assert!(hub.subscribe(Some(Cursor(4))).gap);
        assert_eq!(hub.subscribe(Some(Cursor(5))).replay.len(), RING_MAX);
    }

    #[test]
    fn progress_is_handed_out_but_not_kept() {
        let hub = Hub::new(0);
        let mut watcher = hub.subscribe(None);
        let progress = ProgressEvent { job: JobId::from("j"), progress: Progress::default() };
        hub.publish(None, vec![EventBody::Progress(progress)], Timestamp::UNIX_EPOCH);
        assert_eq!(watcher.events.try_recv().unwrap().topic, Topic::Progress);
        assert_eq!(hub.subscribe(Some(Cursor(0))).replay.len(), 0);
    }
}
