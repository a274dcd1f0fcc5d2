//! The contents of one file in a snapshot, or a part of them.

use super::{Located, locate};
use crate::blob::Opener;
use crate::error::{Error, Result};
use crate::id::{BlobHandle, BlobKind, SnapshotId};
use crate::repository::Repository;
use crate::tree::NodeKind;

/// Which bytes of a file are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ByteRange {
    /// How many bytes are left out at the beginning; at or past the end of the file there is nothing to give.
    pub offset: u64,
    /// How many bytes are wanted at most; absent: all to the end.
    pub length: Option<u64>,
}

/// Gives a part of the contents of a file in pieces, each verified. Only the blobs that hold some of it are read: how
/// long those before it are is known from the index.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Misuse`] if it is no file, [`Error::Damaged`], or what `out` returns.
pub fn cat(
    repository: &Repository,
    snapshot: &SnapshotId,
    path: &[u8],
    range: ByteRange,
    out: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let mut opener = Opener::new(repository.blob_limits())?;
    let node = match locate(repository, &mut opener, snapshot, path)? {
        Located::Entry(_, node) if node.kind == NodeKind::File => node,
        _ => return Err(Error::misuse(format!("{} in the snapshot is not a file", String::from_utf8_lossy(path)))),
    };
    let end = range.length.map_or(u64::MAX, |length| range.offset.saturating_add(length));
    let mut at = 0;
    for id in node.content.iter().flatten() {
        if at >= end || range.length == Some(0) {
            break;
        }
        let handle = BlobHandle { kind: BlobKind::Data, id: *id };
        let length = repository.contents_length(&handle)?;
        let behind = length.saturating_add(at);
        if behind > range.offset {
            let is_cut = at < range.offset || behind > end;
            let contents = repository.kept_piece(&mut opener, &handle, is_cut)?;
            check_length(&contents, length, &handle)?;
            out(&contents[within(&contents, range.offset.saturating_sub(at))..within(&contents, end - at)])?;
        }
        at = behind;
    }
    Ok(())
}

/// Checks that a blob is as long as the index says: what comes behind it would be in a wrong place otherwise.
fn check_length(contents: &[u8], length: u64, handle: &BlobHandle) -> Result<()> {
    if contents.len() as u64 == length {
        return Ok(());
    }
    let problem = format!("it has {} bytes where the index lists {length}", contents.len());
    Err(Error::damaged(format!("data blob {}", handle.id), problem))
}

fn within(contents: &[u8], position: u64) -> usize {
    usize::try_from(position).unwrap_or(usize::MAX).min(contents.len())
}
