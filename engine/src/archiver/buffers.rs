//! The memory in which chunks are read and sealed: one budget for all threads.
//!
//! ```text
//! small   one a thread                  what is at most as long as the smallest chunk, nearly every file
//! room    as many as the budget allows  nine chunks in ten
//! wide    a room with a token           a chunk of any length
//! ```
//! A thread that needs a room or a token waits for one, and stores the chunks that others hand out meanwhile. Nobody
//! waits for a room who has one, nor for a token who has one, and who has both needs nothing more: so one of all those
//! who wait always goes on.

use crossbeam_channel::{Receiver, Sender, bounded, select};

use crate::error::Result;
use crate::limits::{CHUNK_MIN, PACK_BUFFERS, PACK_SIZE, READ_STEP};
use crate::memory::{Held, Memory as JobMemory};

/// Room for a chunk to be read and to be sealed, in bytes of the chunk.
const ROOM: usize = 3 * 1024 * 1024;

/// Room for a file that is not cut, and the byte behind its end that tells that it is one.
const SMALL: usize = CHUNK_MIN + 1;

/// What a thread takes beside what is counted here, in bytes: zstd's tables, its stack, what the allocator keeps for it.
const THREAD: usize = 2 * 1024 * 1024;

/// Memory for chunks that is free.
pub(super) struct Buffers {
    rooms: Pool<Memory>,
    tokens: Pool<()>,
    largest: usize,
    /// What was taken of the budget of all jobs. It is taken at once and kept to the end: threads that wait for each other's
    /// rooms and tokens as said above cannot wait for other jobs too.
    _held: Option<Held>,
}

/// Things that are used by one thread after the other.
struct Pool<T> {
    home: Sender<T>,
    free: Receiver<T>,
}

/// What a chunk is read into, and what it is sealed into.
#[derive(Default)]
struct Memory {
    data: Vec<u8>,
    sealed: Vec<u8>,
}

/// Bytes that were read and are not stored yet, and the memory for sealing them. Goes back by being dropped.
#[derive(Default)]
pub(super) struct Buffer {
    memory: Memory,
    /// How much of the data is filled; what lies behind is kept so that it need not be cleared for each read.
    filled: usize,
    home: Option<Sender<Memory>>,
    token: Option<Token>,
}

/// The right to a room of any size.
struct Token(Sender<()>);

impl Drop for Token {
    fn drop(&mut self) {
        let _ = self.0.try_send(());
    }
}

impl<T> Pool<T> {
    fn new(count: usize, make: impl Fn() -> T) -> Self {
        let (home, free) = bounded(count);
        for _ in 0..count {
            let _ = home.try_send(make());
        }
        Self { home, free }
    }
}

impl Buffers {
    /// Takes what the budget of all jobs has left, and no more than `most` if that is not 0, for so many threads.
    pub(super) fn take(memory: &JobMemory, most: usize, threads: usize, chunk_max: usize) -> Self {
        let least = Self::fixed(threads, chunk_max) + 2 * ROOM;
        let held = memory.take_rest(least, if most == 0 { usize::MAX } else { most });
        let budget = if most == 0 { held.bytes() } else { most };
        Self { _held: Some(held), ..Self::new(budget, threads, chunk_max) }
    }

    /// Divides so many bytes among so many threads, for chunks of at most `chunk_max` bytes.
    pub(super) fn new(budget: usize, threads: usize, chunk_max: usize) -> Self {
        let largest = chunk_max + READ_STEP;
        let wider = wider(chunk_max);
        let fixed = Self::fixed(threads, chunk_max);
        let rooms = budget.saturating_sub(fixed) / (2 * ROOM);
        // A thread reads one chunk and may have handed out another.
        let rooms = rooms.clamp(1, 2 * threads);
        let left = budget.saturating_sub(fixed + rooms * 2 * ROOM);
        let tokens = 1 + (left / wider.max(1)).min(threads);
        Self { rooms: Pool::new(rooms, Memory::default), tokens: Pool::new(tokens, || ()), largest, _held: None }
    }

    /// What is needed beside rooms: packs, for each thread a small file, and one chunk of any length.
    fn fixed(threads: usize, chunk_max: usize) -> usize {
        PACK_BUFFERS * PACK_SIZE + threads * (2 * SMALL + THREAD) + wider(chunk_max)
    }

    /// Returns a room if one is free.
    pub(super) fn try_room(&self) -> Option<Buffer> {
        self.rooms.free.try_recv().ok().map(|memory| self.room(memory))
    }

    /// Makes room for so many more bytes. Who has to wait for it calls `help` with what others hand out meanwhile.
    pub(super) fn widen<C>(
        &self,
        buffer: &mut Buffer,
        more: usize,
        handed_out: &Receiver<C>,
        mut help: impl FnMut(C) -> Result<()>,
    ) -> Result<()> {
        let needed = buffer.filled + more;
        while buffer.home.is_none() && needed > SMALL {
            select! {
                recv(self.rooms.free) -> memory => if let Ok(memory) = memory {
                    let mut room = self.room(memory);
                    room.append(buffer.bytes());
                    *buffer = room;
                },
                recv(handed_out) -> chunk => if let Ok(chunk) = chunk { help(chunk)? },
            }
        }
        while buffer.token.is_none() && needed > ROOM {
            select! {
                recv(self.tokens.free) -> token => if token.is_ok() {
                    buffer.token = Some(Token(self.tokens.home.clone()));
                },
                recv(handed_out) -> chunk => if let Ok(chunk) = chunk { help(chunk)? },
            }
        }
        let capacity = match (&buffer.home, &buffer.token) {
            (_, Some(_)) => self.largest.max(needed),
            (Some(_), None) => ROOM,
            (None, None) => SMALL,
        };
        buffer.reserve(capacity);
        Ok(())
    }

    fn room(&self, memory: Memory) -> Buffer {
        Buffer { memory, filled: 0, home: Some(self.rooms.home.clone()), token: None }
    }
}

/// By how much a room is wider that takes a chunk of any length.
fn wider(chunk_max: usize) -> usize {
    2 * (chunk_max + READ_STEP).saturating_sub(ROOM)
}

impl Buffer {
    /// What was read and is not stored yet.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.memory.data[..self.filled]
    }

    /// The bytes up to a length, and what they may be sealed into.
    pub(super) fn parts(&mut self, length: usize) -> (&[u8], &mut Vec<u8>) {
        (&self.memory.data[..length], &mut self.memory.sealed)
    }

    /// The next so many bytes, to be read into.
    pub(super) fn space(&mut self, length: usize) -> &mut [u8] {
        let end = self.filled + length;
        if self.memory.data.len() < end {
            self.memory.data.resize(end, 0);
        }
        &mut self.memory.data[self.filled..end]
    }

    /// Says how much of the space was read into.
    pub(super) fn filled(&mut self, length: usize) {
        self.filled += length;
    }

    /// Returns whether others may have it.
    pub(super) fn is_room(&self) -> bool {
        self.home.is_some()
    }

    /// Takes out the first bytes; what follows stays.
    pub(super) fn consume(&mut self, length: usize) {
        if self.token.take().is_some() {
            // Few chunks need that much: it is given back, and the token with it.
            let rest = self.bytes()[length..].to_vec();
            self.memory = Memory { data: rest, sealed: Vec::new() };
        } else {
            self.memory.data.copy_within(length..self.filled, 0);
        }
        self.filled -= length;
    }

    /// Splits off what follows the first bytes, and leaves it in `next`.
    pub(super) fn split(&mut self, length: usize, mut next: Self) -> Self {
        next.append(&self.bytes()[length..]);
        self.filled = length;
        std::mem::replace(self, next)
    }

    fn append(&mut self, bytes: &[u8]) {
        self.reserve(if self.is_room() { ROOM } else { SMALL });
        self.space(bytes.len()).copy_from_slice(bytes);
        self.filled += bytes.len();
    }

    /// Doubling would take twice the largest chunk.
    fn reserve(&mut self, capacity: usize) {
        let data = &mut self.memory.data;
        data.reserve_exact(capacity.saturating_sub(data.len()));
    }

    /// Empties it for the next file.
    pub(super) fn clear(&mut self) {
        self.filled = 0;
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let Some(home) = self.home.take() else { return };
        let memory = if self.token.is_some() { Memory::default() } else { std::mem::take(&mut self.memory) };
        let _ = home.try_send(memory);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{ALL_MEMORY, CHUNK_MAX, JOB_MEMORY};

    /// What a backup takes if there is no other job.
    const ALONE: usize = ALL_MEMORY - JOB_MEMORY;

    const WIDER: usize = 2 * (CHUNK_MAX + READ_STEP - ROOM);

    #[test]
    fn what_all_threads_may_take_together_fits_into_the_budget() {
        for threads in 1..=24 {
            let buffers = Buffers::new(ALONE, threads, CHUNK_MAX);
            let (rooms, tokens) = (buffers.rooms.free.len(), buffers.tokens.free.len());
            let chunks = rooms * 2 * ROOM + tokens * WIDER;
            let all = PACK_BUFFERS * PACK_SIZE + threads * (2 * SMALL + THREAD) + chunks;
            assert!(rooms == 1 || all <= ALONE, "{threads} threads, {rooms} rooms: {all} bytes");
        }
        // However little it is, one chunk at a time can be stored.
        let least = Buffers::new(0, 16, CHUNK_MAX);
        assert_eq!((least.rooms.free.len(), least.tokens.free.len()), (1, 1));
    }

    #[test]
    fn who_waits_for_a_room_stores_what_others_hand_out_and_gets_it() {
        let buffers = Buffers::new(0, 2, CHUNK_MAX);
        let (hand_out, handed_out) = bounded::<Buffer>(1);
        hand_out.send(buffers.try_room().unwrap()).unwrap();
        assert!(buffers.try_room().is_none());
        let (mut buffer, mut helped) = (Buffer::default(), 0);
        buffer.append(&[7; 100]);
        buffers
            .widen(&mut buffer, CHUNK_MAX, &handed_out, |chunk| {
                helped += 1;
                drop(chunk);
                Ok(())
            })
            .unwrap();
        assert_eq!((helped, buffer.is_room(), buffer.bytes()), (1, true, &[7; 100][..]));
        drop(buffer);
        assert_eq!((buffers.rooms.free.len(), buffers.tokens.free.len()), (1, 1));
    }

    #[test]
    fn what_follows_a_chunk_stays_and_the_rest_of_a_wide_room_goes_back() {
        let buffers = Buffers::new(0, 2, CHUNK_MAX);
        let (_keep, nothing) = bounded::<()>(1);
        let mut buffer = Buffer::default();
        for (more, token) in [(10, false), (SMALL, false), (CHUNK_MAX, true)] {
            buffers.widen(&mut buffer, more, &nothing, |()| Ok(())).unwrap();
            buffer.space(10).copy_from_slice(b"0123456789");
            buffer.filled(10);
            assert_eq!(buffer.token.is_some(), token);
            buffer.consume(7);
            assert_eq!((buffer.bytes(), buffer.token.is_some()), (&b"789"[..], false));
            buffer.consume(3);
        }
    }
}
