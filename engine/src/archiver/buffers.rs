//! Buffers for chunks, used again instead of asked of the system for every file.

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::limits::READ_STEP;

/// Size of the buffers that are kept, in bytes: nine chunks in ten are no larger.
const KEPT: usize = 3 * 1024 * 1024;

/// Buffers that are free.
pub(super) struct Buffers {
    free: (Sender<Vec<u8>>, Receiver<Vec<u8>>),
    largest: usize,
}

impl Buffers {
    /// Keeps so many buffers, for chunks of at most so many bytes.
    pub(super) fn new(kept: usize, chunk_max: usize) -> Self {
        Self { free: bounded(kept), largest: chunk_max + READ_STEP }
    }

    /// Returns an empty buffer.
    pub(super) fn take(&self) -> Vec<u8> {
        self.free.1.try_recv().unwrap_or_default()
    }

    /// Makes room for more bytes: to a size that most chunks fit into, then to that of the largest. Doubling would take
    /// twice the largest.
    pub(super) fn grow(&self, buffer: &mut Vec<u8>, more: usize) {
        let needed = buffer.len() + more;
        if needed > buffer.capacity() {
            let capacity = if needed <= KEPT { KEPT } else { self.largest.max(needed) };
            buffer.reserve_exact(capacity - buffer.len());
        }
    }

    /// Takes a buffer back; if it is large or enough are free, its memory is given back.
    pub(super) fn give(&self, mut buffer: Vec<u8>) {
        if buffer.capacity() <= KEPT {
            buffer.clear();
            let _ = self.free.0.try_send(buffer);
        }
    }
}
