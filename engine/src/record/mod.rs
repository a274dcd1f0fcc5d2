//! The record of the last snapshot's entries: what each looked like, so that an unchanged one costs one look.
//!
//! ```text
//! head  = magic (16) ‖ key (32) ‖ repository (32) ‖ snapshot (32) ‖ mounts (32) ‖ … ‖ block of the sources ‖ CRC-32
//! data  = block ‖ block ‖ …           each after the blocks of the folders in it
//! block = flags ‖ number of entries ‖ entry ‖ entry ‖ …      a folder, by names
//! entry = flags ‖ name ‖ stamp ‖ [block of the folder: offset, length, CRC-32, totals]
//! ```
//! Numbers are LEB128 where nothing else is said; texts have their length before them. A folder whose entries are as
//! in its block is as in the snapshot, and so the record holds neither contents nor trees. It is read folder by folder
//! and never as a whole. What changed is appended to the data; the head, which says what counts, is replaced.
//!
//! Beside it lies the note of what a backup has stored that is not over:
//!
//! ```text
//! begun = magic (16) ‖ key (32) ‖ repository (32) ‖ tree (32) ‖ began ‖ files ‖ bytes ‖ paths that failed ‖ CRC-32
//! ```
//! Nothing is lost with it: whoever doubts it reads the trees of the snapshot.

mod begun;
mod block;
mod code;
mod compact;
mod head;
mod stamp;
mod store;

pub(crate) use begun::Begun;
pub(crate) use block::{Block, BlockBuilder, Child, Entry};
pub(crate) use head::{Head, Known};
pub(crate) use stamp::{stamp_into, starts_with_identity};
pub(crate) use store::{Record, Recorder};

/// Decodes a head, a block or a note, whichever the bytes are; what it accepts comes back when it is written and read
/// again.
///
/// # Errors
/// If they are none of these.
pub(crate) fn check(bytes: &[u8]) -> Result<(), String> {
    if let Some(begun) = Begun::decode(bytes) {
        assert_eq!(Begun::decode(&begun.encode()), Some(begun), "a note has to come back");
        return Ok(());
    }
    match (Head::decode(bytes), Block::decode(bytes.to_vec())) {
        (Some(head), _) => {
            assert_eq!(Head::decode(&head.encode()), Some(head), "a head has to come back");
            Ok(())
        }
        (None, Some(block)) => {
            let written = write(&block);
            assert_eq!(Block::decode(written.clone()).map(|block| write(&block)), Some(written), "a block comes back");
            Ok(())
        }
        (None, None) => Err("it is neither the head nor a block of a record, nor a note beside it".to_owned()),
    }
}

/// Writes a block anew: a number has one shortest form.
fn write(block: &Block) -> Vec<u8> {
    let mut builder = BlockBuilder::default();
    builder.set_cache(block.is_cache());
    block.entries().for_each(|entry| builder.copy(&entry));
    builder.finish().0
}
