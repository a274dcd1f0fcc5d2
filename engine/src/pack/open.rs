//! A pack while it is being filled.

use super::encode_header;
use super::places::Place;
use crate::error::{Error, Result};
use crate::id::{BlobHandle, BlobKind};
use crate::monitor::PackedBlob;
use crate::repository::Repository;

/// By how much a pack's buffer grows, in bytes.
const PACK_GROWTH: usize = 4 * 1024 * 1024;

/// A pack that is being filled, or is full and goes to the writer thread.
#[derive(Default)]
pub(crate) struct OpenPack {
    pub(super) bytes: Vec<u8>,
    pub(super) blobs: Vec<PackedBlob>,
    /// Bytes of contents.
    pub(super) contents: u64,
    /// Its place in memory, kept until it is written.
    pub(super) place: Option<Place>,
}

/// Returns how long packs of data and of trees are to be, in bytes.
pub(super) fn pack_sizes(repository: &Repository) -> [usize; 2] {
    let size = |kind| repository.config().pack_size(kind, repository.index().stored(kind));
    [size(BlobKind::Data), size(BlobKind::Tree)]
}

impl OpenPack {
    /// Adds a sealed blob; `contents` is the length of what was sealed.
    pub(super) fn add(
        &mut self,
        handle: BlobHandle,
        sealed: &[u8],
        uncompressed_length: Option<u32>,
        contents: usize,
    ) -> Result<()> {
        let too_long = |_| Error::Limit { what: "a pack".to_owned(), limit: format!("{} bytes", u32::MAX) };
        let offset = u32::try_from(self.bytes.len()).map_err(too_long)?;
        let length = u32::try_from(sealed.len()).map_err(too_long)?;
        if self.bytes.capacity() - self.bytes.len() < sealed.len() {
            // Doubling would take twice the size of a pack.
            self.bytes.reserve_exact(sealed.len().max(PACK_GROWTH));
        }
        self.bytes.extend_from_slice(sealed);
        self.blobs.push(PackedBlob { handle, offset, length, uncompressed_length });
        self.contents += contents as u64;
        Ok(())
    }

    /// Returns how many bytes of blobs are in it.
    pub(super) fn length(&self) -> usize {
        self.bytes.len()
    }

    /// Returns how much memory it takes, with what it grows by next, in bytes.
    pub(super) fn memory(&self) -> usize {
        self.bytes.capacity() + PACK_GROWTH
    }

    /// Returns whether nothing is in it.
    pub(super) fn is_empty(&self) -> bool {
        self.blobs.is_empty()
    }

    /// Adds the header.
    pub(super) fn finish(mut self, repository: &Repository) -> Result<(Vec<u8>, Vec<PackedBlob>)> {
        let blobs_end = self.bytes.len();
        repository.key().seal_into(&encode_header(&self.blobs), &mut self.bytes)?;
        let length =
            u32::try_from(self.bytes.len() - blobs_end).map_err(|_| Error::misuse("a pack's header is too long"))?;
        self.bytes.extend_from_slice(&length.to_le_bytes());
        Ok((self.bytes, self.blobs))
    }
}
