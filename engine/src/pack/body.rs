//! A pack's bytes on their way to the storage.

use crate::control::Gate;
use crate::error::Result;
use crate::storage::{Body, Bytes};

/// A pack's bytes, held back while the gate is paused. A pack that was begun is written to its end: a gate that says
/// to end is obeyed by those who read.
pub(super) struct GatedBody<'a> {
    pub(super) bytes: Bytes<'a>,
    pub(super) gate: &'a Gate,
}

impl Body for GatedBody<'_> {
    fn length(&self) -> u64 {
        self.bytes.length()
    }

    fn next_slice(&mut self) -> Result<Option<&[u8]>> {
        self.gate.wait_while_paused();
        self.bytes.next_slice()
    }
}
