//! Blobs between their contents and their sealed form: compression around [`seal`](crate::seal).

use crate::error::{Error, Result};
use crate::id::{BlobHandle, BlobKind, sha256};
use crate::index::Location;
use crate::limits::{BLOB_MAX, DATA_BLOB_MAX, FOLDER_ENTRIES_MAX};
use crate::seal::{OVERHEAD, SealKey};

/// Compresses and seals blobs; one for each thread, because zstd's contexts are costly to make.
pub(crate) struct Sealer {
    compressor: Option<zstd::bulk::Compressor<'static>>,
    compressed: Vec<u8>,
    sealed: Vec<u8>,
}

/// A sealed blob, and the length of its contents if they were compressed.
pub(crate) struct Sealed<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) uncompressed_length: Option<u32>,
}

impl Sealer {
    /// Makes a sealer that compresses at this level, or not at all.
    pub(crate) fn new(level: Option<i32>) -> Result<Self> {
        let compressor = level.map(zstd::bulk::Compressor::new).transpose().map_err(cannot_compress)?;
        Ok(Self { compressor, compressed: Vec::new(), sealed: Vec::new() })
    }

    /// Compresses, if that makes the blob smaller, and seals it.
    pub(crate) fn seal(&mut self, key: &SealKey, contents: &[u8]) -> Result<Sealed<'_>> {
        let mut uncompressed_length = None;
        empty(&mut self.compressed);
        if let (Some(compressor), Ok(length)) = (&mut self.compressor, u32::try_from(contents.len())) {
            self.compressed.reserve_exact(zstd::zstd_safe::compress_bound(contents.len()));
            let size = compressor.compress_to_buffer(contents, &mut self.compressed).map_err(cannot_compress)?;
            uncompressed_length = (size < contents.len()).then_some(length);
        }
        empty(&mut self.sealed);
        let plain = if uncompressed_length.is_some() { &self.compressed } else { contents };
        key.seal_into(plain, &mut self.sealed)?;
        Ok(Sealed { bytes: &self.sealed, uncompressed_length })
    }
}

/// Empties a buffer, and gives its memory back if that is much: few blobs are that large.
fn empty(buffer: &mut Vec<u8>) {
    const KEPT: usize = 4 * 1024 * 1024;
    if buffer.capacity() > KEPT {
        *buffer = Vec::new();
    } else {
        buffer.clear();
    }
}

/// Bounds on what one blob may claim to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BlobLimits {
    /// The most bytes of a data blob.
    pub(crate) data: u64,
    /// The most bytes of a tree blob.
    pub(crate) tree: u64,
    /// The most entries of a folder.
    pub(crate) folder_entries: usize,
}

impl BlobLimits {
    /// Returns the built-in bounds, for a repository whose files are cut into chunks of at most this many bytes.
    pub(crate) fn new(chunk_max: u64) -> Self {
        let data = chunk_max.clamp(DATA_BLOB_MAX as u64, BLOB_MAX as u64);
        Self { data, tree: BLOB_MAX as u64, folder_entries: FOLDER_ENTRIES_MAX }
    }

    /// Checks how long a blob is, before memory is taken for its sealed bytes or its contents.
    ///
    /// # Errors
    /// [`Error::Limit`].
    pub(crate) fn check(&self, handle: &BlobHandle, location: &Location) -> Result<()> {
        let (kind, limit) = match handle.kind {
            BlobKind::Data => ("data", self.data),
            BlobKind::Tree => ("tree", self.tree),
        };
        let sealed = u64::from(location.length).saturating_sub(OVERHEAD as u64);
        let length = sealed.max(location.contents_length());
        if length > limit {
            let what = format!("{kind} blob {} of {length} bytes", handle.id);
            return Err(Error::Limit { what, limit: format!("{limit} bytes") });
        }
        Ok(())
    }
}

/// Opens and checks sealed blobs; one for each thread.
pub(crate) struct Opener {
    decompressor: zstd::bulk::Decompressor<'static>,
    limits: BlobLimits,
}

impl Opener {
    pub(crate) fn new(limits: BlobLimits) -> Result<Self> {
        Ok(Self { decompressor: zstd::bulk::Decompressor::new().map_err(cannot_compress)?, limits })
    }

    pub(crate) fn limits(&self) -> &BlobLimits {
        &self.limits
    }

    /// Opens a blob and checks that it is the one that was asked for.
    ///
    /// # Errors
    /// [`Error::Damaged`] names the blob and its pack; [`Error::Limit`] if it claims to be too long.
    pub(crate) fn open(
        &mut self,
        key: &SealKey,
        handle: &BlobHandle,
        location: &Location,
        sealed: Vec<u8>,
    ) -> Result<Vec<u8>> {
        self.limits.check(handle, location)?;
        let damaged = |problem: &str| {
            let (blob, pack) = (handle.id, location.pack);
            Error::damaged(format!("blob {blob} in pack {pack}"), problem)
        };
        let plain = key.open(sealed).ok_or_else(|| damaged("it was not sealed with this repository's key"))?;
        let contents = match location.uncompressed_length {
            None => plain,
            Some(length) => {
                // The claimed length is the bound of what is unpacked: a small blob cannot fill the memory.
                let unpacked = self.decompressor.decompress(&plain, length as usize);
                unpacked.map_err(|_| damaged("its compression is broken or hides more than it claims"))?
            }
        };
        if sha256(&contents) != handle.id.0 {
            return Err(damaged("its contents do not match its id"));
        }
        Ok(contents)
    }
}

pub(crate) fn cannot_compress(error: std::io::Error) -> Error {
    Error::Storage { message: format!("zstd failed: {error}"), class: crate::Class::Transient }
}
