//! Copies the blocks that count to a new file, when too many do not any more.

use std::fs::File;
use std::io;

use super::block::{Block, BlockBuilder, Child, Totals};
use super::store::{Recorder, read_block};

/// A folder whose blocks are being copied.
struct Frame {
    block: Block,
    /// The folders in it whose blocks are not copied yet.
    children: std::vec::IntoIter<Child>,
    /// Where the blocks of the folders in it went, in their order.
    copied: Vec<Child>,
    totals: Totals,
}

/// Copies everything that the sources lead to, and returns the sources with the new places.
///
/// # Errors
/// The operating system's, and if a block is not what was written.
pub(super) fn compact(data: &File, end: u64, sources: &Block, to: &mut Recorder) -> io::Result<Block> {
    let mut above = Vec::new();
    let mut frame = Frame::new(sources.clone(), Totals::default());
    loop {
        if let Some(child) = frame.children.next() {
            let block = read_block(data, end, &child).ok_or(io::ErrorKind::InvalidData)?;
            above.push(std::mem::replace(&mut frame, Frame::new(block, child.totals)));
            continue;
        }
        let bytes = with_places(&frame);
        let Some(next) = above.pop() else {
            return Block::decode(bytes).ok_or_else(|| io::ErrorKind::InvalidData.into());
        };
        let totals = std::mem::replace(&mut frame, next).totals;
        frame.copied.push(to.add(&bytes, totals)?);
    }
}

impl Frame {
    fn new(block: Block, totals: Totals) -> Self {
        let children: Vec<Child> = block.entries().filter_map(|entry| entry.child).collect();
        Self { block, children: children.into_iter(), copied: Vec::new(), totals }
    }
}

/// Encodes a block with the new places. Their numbers may be shorter, which the totals need not know.
fn with_places(frame: &Frame) -> Vec<u8> {
    let mut builder = BlockBuilder::default();
    builder.set_cache(frame.block.is_cache());
    let mut copied = frame.copied.iter();
    for mut entry in frame.block.entries() {
        entry.child = entry.child.and_then(|_| copied.next().copied());
        builder.copy(&entry);
    }
    builder.finish().0
}
