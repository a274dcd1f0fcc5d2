//! Blobs between their contents and their sealed form: compression around [`seal`](crate::seal).

use std::io::Cursor;

use zstd::zstd_safe::CParameter;

use crate::config::Config;
use crate::error::{Error, Result};
use crate::id::{BlobHandle, BlobKind, sha256};
use crate::index::Location;
use crate::limits::{BLOB_MAX, DATA_BLOB_MAX, FOLDER_ENTRIES_MAX};
use crate::seal::{MAC, NONCE, Nonces, OVERHEAD, SealKey};

/// Compresses and seals blobs; one for each thread, because zstd's contexts are costly to make.
pub(crate) struct Sealer {
    compressor: Option<zstd::bulk::Compressor<'static>>,
    /// The level the repository's config asks for; without one, ours.
    level: Option<i32>,
    nonces: Nonces,
    sealed: Vec<u8>,
}

/// A sealed blob, and the length of its contents if they were compressed.
pub(crate) struct Sealed<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) uncompressed_length: Option<u32>,
}

impl Sealer {
    /// Makes a sealer that compresses as a repository's config says.
    pub(crate) fn new(config: &Config) -> Result<Self> {
        let level = config.compression_level();
        let compressor = level.map(zstd::bulk::Compressor::new).transpose().map_err(cannot_compress)?;
        let level = config.compression;
        Ok(Self { compressor, level, nonces: Nonces::default(), sealed: Vec::new() })
    }

    /// Exchanges the memory in which blobs are sealed.
    pub(crate) fn swap_buffer(&mut self, other: &mut Vec<u8>) {
        std::mem::swap(&mut self.sealed, other);
    }

    /// Compresses, if that makes the blob smaller, and seals it.
    pub(crate) fn seal(&mut self, key: &SealKey, contents: &[u8]) -> Result<Sealed<'_>> {
        empty(&mut self.sealed);
        self.sealed.resize(NONCE, 0);
        let uncompressed_length = self.compress(contents).map_err(cannot_compress)?;
        if uncompressed_length.is_none() {
            self.sealed.truncate(NONCE);
            self.sealed.reserve_exact(contents.len() + MAC);
            self.sealed.extend_from_slice(contents);
        }
        key.seal_in_place(self.nonces.next()?, &mut self.sealed);
        Ok(Sealed { bytes: &self.sealed, uncompressed_length })
    }

    /// Puts the compressed contents behind the room for the nonce; returns their length if that made them smaller.
    fn compress(&mut self, contents: &[u8]) -> std::io::Result<Option<u32>> {
        let (Some(compressor), Ok(length)) = (&mut self.compressor, u32::try_from(contents.len())) else {
            return Ok(None);
        };
        if self.level.is_none() {
            let is_large = contents.len() > LARGE;
            compressor.set_parameter(CParameter::MinMatch(if is_large { LARGE_MATCH } else { 0 }))?;
        }
        self.sealed.reserve_exact(zstd::zstd_safe::compress_bound(contents.len()) + MAC);
        let mut behind = Cursor::new(&mut self.sealed);
        behind.set_position(NONCE as u64);
        let size = compressor.compress_to_buffer(contents, &mut behind)?;
        Ok((size < contents.len()).then_some(length))
    }
}

/// Blobs of more bytes than this are compressed with shorter matches: at [`COMPRESSION_LEVEL`](crate::limits) zstd
/// looks for seven equal bytes in them, and six find 0.7 % more in no more time (programs, archives and logs).
const LARGE: usize = 256 * 1024;

/// The shortest match in those, in bytes.
const LARGE_MATCH: u32 = 6;

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

/// A blob's length as it is sealed, and that of its contents if they were compressed.
pub(crate) type Lengths = (u32, Option<u32>);

/// Opens and checks sealed blobs; one for each thread, because zstd's contexts and large buffers are costly to make.
pub(crate) struct Opener {
    decompressor: zstd::bulk::Decompressor<'static>,
    limits: BlobLimits,
    plain: Vec<u8>,
    contents: Vec<u8>,
}

impl Opener {
    pub(crate) fn new(limits: BlobLimits) -> Result<Self> {
        let decompressor = zstd::bulk::Decompressor::new().map_err(cannot_compress)?;
        Ok(Self { decompressor, limits, plain: Vec::new(), contents: Vec::new() })
    }

    pub(crate) fn limits(&self) -> &BlobLimits {
        &self.limits
    }

    /// Gives up the memory in which blobs were opened.
    pub(crate) fn forget(&mut self) {
        (self.plain, self.contents) = (Vec::new(), Vec::new());
    }

    /// Returns how much memory it takes to open these blobs one after another, in bytes, with what is kept of it.
    pub(crate) fn memory(&self, blobs: impl Iterator<Item = Lengths>) -> usize {
        let (mut plain, mut contents) = (self.plain.capacity(), self.contents.capacity());
        for (length, uncompressed_length) in blobs {
            plain = plain.max(length as usize);
            contents = contents.max(uncompressed_length.unwrap_or(0) as usize);
        }
        plain.saturating_add(contents)
    }

    /// Opens a blob and checks that it is the one that was asked for. The contents stay until the next one is opened.
    ///
    /// # Errors
    /// [`Error::Damaged`] names the blob and its pack; [`Error::Limit`] if it claims to be too long.
    pub(crate) fn open(
        &mut self,
        key: &SealKey,
        handle: &BlobHandle,
        location: &Location,
        sealed: &[u8],
    ) -> Result<&[u8]> {
        self.limits.check(handle, location)?;
        let damaged = |problem: &str| {
            let (blob, pack) = (handle.id, location.pack);
            Error::damaged(format!("blob {blob} in pack {pack}"), problem)
        };
        empty(&mut self.plain);
        // Doubling would take more than was said.
        self.plain.reserve_exact(sealed.len());
        if !key.open_into(sealed, &mut self.plain) {
            return Err(damaged("it was not sealed with this repository's key"));
        }
        let contents = match location.uncompressed_length {
            None => &self.plain,
            Some(length) => {
                empty(&mut self.contents);
                // The claimed length is the bound of what is unpacked: a small blob cannot fill the memory.
                self.contents.reserve_exact(length as usize);
                let unpacked = self.decompressor.decompress_to_buffer(&self.plain, &mut self.contents);
                // A buffer that was used before may hold more.
                if !unpacked.is_ok_and(|unpacked| unpacked <= length as usize) {
                    return Err(damaged("its compression is broken or hides more than it claims"));
                }
                &self.contents
            }
        };
        if sha256(contents) != handle.id.0 {
            return Err(damaged("its contents do not match its id"));
        }
        Ok(contents)
    }
}

pub(crate) fn cannot_compress(error: std::io::Error) -> Error {
    Error::Storage { message: format!("zstd failed: {error}"), class: crate::Class::Transient }
}
