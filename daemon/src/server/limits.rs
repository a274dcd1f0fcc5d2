//! Every bound of the server, each with its reason; `docs/protocol.md` tells clients of those they can meet.
//!
//! What a client can make the daemon keep is bounded twice: a little for each connection, and a number of large things
//! for all of them together. A thousand hostile connections then cost what the machine can spare, and a polite one
//! among them is still answered.

use std::time::Duration;

use backup_proto::line::LINE_BYTES_MAX;

/// Connections at a time.
pub(super) const CONNECTIONS_MAX: usize = 1024;

/// Connections at a time of users who may only look; the owner of the daemon must always find room.
pub(super) const GUESTS_MAX: usize = 256;

/// Open files that are left to jobs, repositories and the store when connections are many.
pub(super) const FILES_RESERVED: usize = 192;

/// Callers who are being told that there is no room; beyond that the connection is closed without a word.
pub(super) const TURNED_AWAY_MAX: usize = 64;

/// How long one who is turned away may take to read why.
pub(super) const TURN_AWAY_PATIENCE: Duration = Duration::from_secs(2);

/// Calls of one connection that are under way: read, and the answer not yet taken. Who sends more is not read until
/// some are answered.
pub(super) const IN_FLIGHT_MAX: usize = 8;

/// Bytes that are read at once.
pub(super) const READ_BYTES: usize = 8 * 1024;

/// Bytes of a line that every connection may send; one that is longer takes one of [`LONG_LINES_MAX`].
pub(super) const LINE_BYTES_FREE: usize = 64 * 1024;

/// Long lines at a time over all connections, from their first byte to the answer.
pub(super) const LONG_LINES_MAX: usize = 64;

/// Bytes of an answer that every connection may leave unread; a status fits. A longer one takes one of
/// [`LONG_ANSWERS_MAX`].
pub(super) const ANSWER_BYTES_FREE: usize = 128 * 1024;

/// Long answers at a time over all connections that were made and not yet taken.
pub(super) const LONG_ANSWERS_MAX: usize = 64;

/// Questions that are worked on at a time, over all connections; each takes a thread.
pub(super) const QUERIES_MAX: usize = 16;

/// Bulk connections that carry bytes at a time; each takes a thread.
pub(super) const BULK_MAX: usize = 32;

/// Tokens for bulk connections that wait to be used.
pub(super) const TOKENS_MAX: usize = 1024;

/// Bytes that the requests behind all waiting tokens may have.
pub(super) const TOKEN_BYTES_MAX: usize = 8 * LINE_BYTES_MAX;

/// How long a token may be used.
pub(super) const TOKEN_LIFE: Duration = Duration::from_secs(60);

/// Frames of a bulk connection that wait for a slow reader.
pub(super) const FRAMES_MAX: usize = 8;

/// How long peers are waited for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// Until they have said hello.
    pub(super) hello: Duration,
    /// From the first byte of a line to its end.
    pub(super) line: Duration,
    /// Until they read anything at all of an answer.
    pub(super) read: Duration,
    /// Until one connects, before it is looked whether anybody still can: the one thing that wakes an idle daemon.
    pub(super) knock: Duration,
}

/// The patience of a daemon.
pub(super) const PATIENCE: Patience = Patience {
    hello: Duration::from_secs(30),
    line: Duration::from_secs(60),
    read: Duration::from_secs(30),
    knock: Duration::from_secs(5 * 60),
};

/// How often to look how far behind a watcher is who does not read.
pub(super) const WATCH_LOOK: Duration = Duration::from_secs(1);

/// How long a peer may take to read anything at all of a bulk connection: somebody may be reading page by page.
pub(super) const BULK_PATIENCE: Duration = Duration::from_secs(10 * 60);

const _: () = assert!(GUESTS_MAX < CONNECTIONS_MAX, "guests cannot take all connections");
const _: () = assert!(LINE_BYTES_FREE < LINE_BYTES_MAX, "most of what a line may have is not free");
const _: () = assert!(ANSWER_BYTES_FREE < LINE_BYTES_MAX, "most of what an answer may have is not free");
// What all connections together can leave with the daemon in free lines and answers: less than a gigabyte, and that only
// if each of a thousand does its worst at the same moment.
const _: () = assert!(
    CONNECTIONS_MAX * (LINE_BYTES_FREE + READ_BYTES + ANSWER_BYTES_FREE)
        + (LONG_LINES_MAX + LONG_ANSWERS_MAX) * LINE_BYTES_MAX
        < 512 * 1024 * 1024,
    "a thousand hostile connections must fit into a small machine"
);
