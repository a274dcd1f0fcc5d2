//! The chunks of a file: where they go, where they are, and which of them are there already.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use rustix::fs::FileType;

use super::session::Session;
use super::target::Target;
use crate::error::{Error, Result};
use crate::id::{BlobHandle, BlobId, BlobKind};
use crate::index::Location;
use crate::memory::Held;
use crate::monitor::PlannedAction;
use crate::source::sparse::{write_sparse, write_zeros};
use crate::tree::Node;

/// A chunk of a file: where it goes, and where it is.
pub(super) struct Chunk {
    pub(super) id: BlobId,
    pub(super) offset: u64,
    pub(super) location: Location,
}

/// Returns the chunks of a file and how long it is in bytes.
///
/// # Errors
/// When one of them is not known, or longer than a blob may be.
pub(super) fn chunks(session: &Session<'_>, node: &Node) -> Result<(Vec<Chunk>, u64)> {
    let index = session.repository.index();
    let mut offset = 0_u64;
    let mut chunks = Vec::new();
    for id in node.content.iter().flatten() {
        let handle = BlobHandle { kind: BlobKind::Data, id: *id };
        let location = index.get(&handle).ok_or_else(|| session.repository.unknown_blob(&handle))?;
        session.blob_limits.check(&handle, &location)?;
        chunks.push(Chunk { id: *id, offset, location });
        offset = offset.saturating_add(location.contents_length());
    }
    Ok((chunks, offset))
}

impl Chunk {
    pub(super) fn length(&self) -> u64 {
        self.location.contents_length()
    }

    /// Returns the chunk's place in a file if that has the right bytes there.
    fn read_from(&self, file: &File) -> Option<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(self.length()).ok()?];
        file.read_exact_at(&mut bytes, self.offset).ok()?;
        (BlobId::of(&bytes) == self.id).then_some(bytes)
    }
}

/// Holds the memory for any of these chunks. A thread that compares chunks holds no other.
pub(super) fn hold_one_of(session: &Session<'_>, chunks: &[Chunk]) -> Held {
    let largest = chunks.iter().map(Chunk::length).max().unwrap_or(0);
    session.gate.memory().hold(usize::try_from(largest).unwrap_or(usize::MAX))
}

/// Returns which chunks are in a file already.
pub(super) fn right_chunks(session: &Session<'_>, file: &File, chunks: &[Chunk]) -> Result<Vec<bool>> {
    let length = file.metadata().map_or(0, |metadata| metadata.len());
    let _held = hold_one_of(session, chunks);
    let is_right = |chunk: &Chunk| {
        session.gate.check()?;
        Ok(chunk.offset.saturating_add(chunk.length()) <= length && chunk.read_from(file).is_some())
    };
    chunks.iter().map(is_right).collect()
}

/// Copies a chunk if it is still right.
pub(super) fn copy_chunk(from: &File, to: &File, chunk: &Chunk) -> io::Result<bool> {
    let Some(bytes) = chunk.read_from(from) else { return Ok(false) };
    write_zeros(to, chunk.offset..chunk.offset + bytes.len() as u64)?;
    write_sparse(to, &bytes, chunk.offset)?;
    Ok(true)
}

/// Says what would happen with a file, without changing anything.
pub(super) fn plan_file(
    session: &Session<'_>,
    target: Option<&Target>,
    name: &OsStr,
    node: &Node,
) -> Result<PlannedAction> {
    let Some(target) = target else { return Ok(PlannedAction::Create) };
    let path = target.path().join(name);
    let Some(stat) = target.look(name).map_err(Error::io("look at", &path))? else { return Ok(PlannedAction::Create) };
    let action = if session.may_replace(node, target, &stat) { PlannedAction::Replace } else { PlannedAction::Keep };
    let (chunks, length) = chunks(session, node)?;
    let has_length = u64::try_from(stat.st_size).ok() == Some(length);
    if has_length && FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile {
        let file = match target.open_file(name) {
            // Whoever may replace it need not be able to read it.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied && action == PlannedAction::Replace => {
                return Ok(action);
            }
            other => other.map_err(Error::io("read", &path))?,
        };
        let right = right_chunks(session, &file, &chunks)?;
        if right.iter().all(|right| *right) {
            return Ok(PlannedAction::Same);
        }
    }
    Ok(action)
}
