//! A pack's header: which blobs are in it, in the order in which they lie there.

use crate::error::Result;
use crate::id::{BlobHandle, BlobId, BlobKind, PackId};
use crate::monitor::PackedBlob;
use crate::repository::Repository;
use crate::seal::OVERHEAD;
use crate::storage::{FileKind, FileName};

const COMPRESSED_ENTRY: usize = 1 + 4 + 4 + 32;
const PLAIN_ENTRY: usize = 1 + 4 + 32;

/// The largest header that is read in bytes: two million blobs.
const HEADER_MAX: usize = 80 * 1024 * 1024;

/// Writes the header of these blobs.
#[must_use]
pub fn encode_header(blobs: &[PackedBlob]) -> Vec<u8> {
    let mut header = Vec::with_capacity(blobs.len() * COMPRESSED_ENTRY);
    for blob in blobs {
        let kind = match blob.handle.kind {
            BlobKind::Data => 0,
            BlobKind::Tree => 1,
        };
        header.push(if blob.uncompressed_length.is_some() { kind + 2 } else { kind });
        header.extend_from_slice(&blob.length.to_le_bytes());
        if let Some(length) = blob.uncompressed_length {
            header.extend_from_slice(&length.to_le_bytes());
        }
        header.extend_from_slice(&blob.handle.id.0);
    }
    header
}

/// Returns how long a pack of these blobs is, which do not overlap.
pub(crate) fn pack_length(blobs: &[PackedBlob]) -> u64 {
    let length = |blob: &PackedBlob| packed_length(blob.length, blob.uncompressed_length.is_some());
    pack_overhead() + blobs.iter().map(length).sum::<u64>()
}

/// Returns how much of a pack a sealed blob of this length takes, with its entry in the header.
pub(crate) fn packed_length(length: u32, compressed: bool) -> u64 {
    u64::from(length) + if compressed { COMPRESSED_ENTRY } else { PLAIN_ENTRY } as u64
}

/// Returns how long a pack without any blob is.
pub(crate) fn pack_overhead() -> u64 {
    OVERHEAD as u64 + 4
}

/// Reads a header that was opened; total over all bytes.
///
/// # Errors
/// Says what is wrong with it.
pub fn decode_header(header: &[u8]) -> Result<Vec<PackedBlob>, String> {
    let mut blobs = Vec::with_capacity(header.len() / COMPRESSED_ENTRY);
    let mut offset: u32 = 0;
    let mut rest = header;
    while let Some((&kind, after)) = rest.split_first() {
        rest = after;
        let length = take_u32(&mut rest)?;
        let uncompressed_length = if kind >= 2 { Some(take_u32(&mut rest)?) } else { None };
        let (id, after) = rest.split_first_chunk().ok_or("it ends in the middle of an entry")?;
        rest = after;
        let kind = match kind {
            0 | 2 => BlobKind::Data,
            1 | 3 => BlobKind::Tree,
            other => return Err(format!("it names a blob of the unknown type {other}")),
        };
        let handle = BlobHandle { kind, id: BlobId(*id) };
        blobs.push(PackedBlob { handle, offset, length, uncompressed_length });
        offset = offset.checked_add(length).ok_or("its blobs are longer than a pack can be")?;
    }
    Ok(blobs)
}

fn take_u32(rest: &mut &[u8]) -> Result<u32, String> {
    let (bytes, after) = rest.split_first_chunk().ok_or("it ends in the middle of an entry")?;
    *rest = after;
    Ok(u32::from_le_bytes(*bytes))
}

/// Reads the header of a pack of this length from the storage.
pub(crate) fn read_header(repository: &Repository, id: PackId, length: u64) -> Result<Vec<PackedBlob>> {
    let name = FileName::new(FileKind::Pack, id.0);
    let storage = repository.storage();
    let end = length.checked_sub(4).ok_or_else(|| repository.damaged(&name, "it is too short"))?;
    let bytes = storage.read_range(&name, end, 4)?;
    let (start, sealed_length) = header_place(repository, &name, end, &bytes)?;
    open_header(repository, &name, start, &storage.read_range(&name, start, sealed_length)?)
}

/// Finds and opens the header of a whole pack in memory.
pub(crate) fn header_of(repository: &Repository, id: PackId, pack: &[u8]) -> Result<Vec<PackedBlob>> {
    let name = FileName::new(FileKind::Pack, id.0);
    let (rest, length) = pack.split_at_checked(pack.len().wrapping_sub(4)).unwrap_or_default();
    let (start, _) = header_place(repository, &name, rest.len() as u64, length)?;
    open_header(repository, &name, start, usize::try_from(start).map(|start| &rest[start..]).unwrap_or_default())
}

/// Returns where a sealed header begins and how long it is, from where it ends and its length in the pack's last bytes.
fn header_place(repository: &Repository, name: &FileName, end: u64, length: &[u8]) -> Result<(u64, usize)> {
    let length: [u8; 4] = length.try_into().map_err(|_| repository.damaged(name, "it is too short"))?;
    let length = u32::from_le_bytes(length);
    let start = end.checked_sub(u64::from(length)).filter(|_| length as usize <= HEADER_MAX);
    let start = start.ok_or_else(|| repository.damaged(name, "the length of its header makes no sense"))?;
    Ok((start, length as usize))
}

/// Opens and reads a header that begins at `start`.
fn open_header(repository: &Repository, name: &FileName, start: u64, sealed: &[u8]) -> Result<Vec<PackedBlob>> {
    let damaged = |problem: String| repository.damaged(name, problem);
    let header = repository.key().open(sealed);
    let header = header.ok_or_else(|| damaged("its header cannot be opened".to_owned()))?;
    let blobs = decode_header(&header).map_err(damaged)?;
    let data: u64 = blobs.iter().map(|blob| u64::from(blob.length)).sum();
    if data != start {
        return Err(damaged("its header does not list all that is in it".to_owned()));
    }
    Ok(blobs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_header_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode_header(&bytes);
        }

        #[test]
        fn a_header_comes_back(entries in proptest::collection::vec((0..2, 32_u32..9999, any::<Option<u32>>()), 0..20)) {
            let mut offset = 0;
            let blobs: Vec<PackedBlob> = entries.into_iter().map(|(kind, length, uncompressed_length)| {
                let kind = if kind == 0 { BlobKind::Data } else { BlobKind::Tree };
                let handle = BlobHandle { kind, id: BlobId::of(&length.to_le_bytes()) };
                let blob = PackedBlob { handle, offset, length, uncompressed_length };
                offset += length;
                blob
            }).collect();
            let header = encode_header(&blobs);
            prop_assert_eq!(decode_header(&header).unwrap(), blobs);
        }
    }
}
