//! Reading every pack: its bytes against its name, its header against the index, each blob against its id.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use sha2::{Digest, Sha256};

use super::{Checker, Pack};
use crate::blob::Opener;
use crate::error::{Error, Result};
use crate::id::PackId;
use crate::index::Location;
use crate::monitor::{PackedBlob, Progress};
use crate::pack::{header_of, read_header};
use crate::storage::{FileKind, FileName};

/// The most of a pack that is read and held in memory at once, in bytes: all of one of our own, which ends with the
/// blob that fills it. A larger one is read in such pieces, and then once more blob by blob.
const PIECE: u64 = 32 * 1024 * 1024;

/// What one thread reads packs with.
struct Reader {
    opener: Opener,
    /// The pack, if it is not too large to keep, or a piece of it.
    bytes: Vec<u8>,
}

impl Checker<'_> {
    /// Reads the packs on several threads, and returns how many bytes that were.
    pub(super) fn read_packs(&self, packs: &[Pack]) -> Result<u64> {
        let next = AtomicUsize::new(0);
        let bytes = AtomicU64::new(0);
        self.on_threads(|| {
            let mut reader = Reader { opener: Opener::new(self.repository.blob_limits())?, bytes: Vec::new() };
            while let Some(pack) = packs.get(next.fetch_add(1, Ordering::Relaxed)) {
                self.read_pack(pack, &mut reader)?;
                bytes.fetch_add(pack.length, Ordering::Relaxed);
            }
            Ok(())
        })?;
        Ok(bytes.into_inner())
    }

    /// Checks one pack; errors are those that end the verification.
    fn read_pack(&self, pack: &Pack, reader: &mut Reader) -> Result<()> {
        let name = FileName::new(FileKind::Pack, pack.id.0);
        let wrong = |problem: &str| {
            self.wrong(&name, &self.repository.damaged(&name, problem));
        };
        let whole = match self.hash(&name, pack.length, &mut reader.bytes) {
            Err(error @ (Error::Cancelled | Error::Suspended)) => return Err(error),
            Err(error) => {
                self.wrong(&name, &error);
                None
            }
            Ok(hash) => {
                if hash != name.id {
                    wrong("its contents do not match its name");
                }
                (pack.length <= PIECE).then_some(&*reader.bytes)
            }
        };
        let header = match whole {
            Some(bytes) => header_of(self.repository, pack.id, bytes),
            None => read_header(self.repository, pack.id, pack.length),
        };
        match header {
            Ok(header) if !lists(&header, &pack.blobs) => wrong("the index lists other blobs in it than its header"),
            Ok(_) => {}
            Err(error) => self.wrong(&name, &error),
        }
        for blob in &pack.blobs {
            self.gate.check()?;
            if let Err(error) = self.open(pack.id, blob, whole, &mut reader.opener) {
                self.bad([blob.handle]);
                self.wrong(&name, &error);
            }
        }
        Ok(())
    }

    /// Reads a pack, of which the last piece is left in the buffer, and returns its SHA-256.
    fn hash(&self, name: &FileName, length: u64, bytes: &mut Vec<u8>) -> Result<[u8; 32]> {
        let mut hash = Sha256::new();
        let mut offset = 0;
        while offset < length {
            self.gate.check()?;
            let piece = PIECE.min(length - offset);
            let count = usize::try_from(piece).unwrap_or(usize::MAX);
            self.repository.storage().read_range_into(name, offset, count, bytes)?;
            self.monitor.progress(&Progress { bytes: piece, ..Progress::default() });
            hash.update(&*bytes);
            offset += piece;
        }
        Ok(hash.finalize().into())
    }

    fn open(&self, pack: PackId, blob: &PackedBlob, whole: Option<&[u8]>, opener: &mut Opener) -> Result<()> {
        let PackedBlob { handle, offset, length, uncompressed_length } = *blob;
        let location = Location { pack, offset, length, uncompressed_length };
        opener.limits().check(&handle, &location)?;
        let length = length as usize;
        let read;
        let sealed = match whole {
            Some(bytes) => bytes.get(offset as usize..).and_then(|bytes| bytes.get(..length)).unwrap_or_default(),
            None => {
                let name = FileName::new(FileKind::Pack, pack.0);
                read = self.repository.storage().read_range(&name, u64::from(offset), length)?;
                &read
            }
        };
        opener.open(self.repository.key(), &handle, &location, sealed).map(|_| ())
    }
}

/// Returns whether a header lists all of these blobs; the index of old programs knows no uncompressed length.
fn lists(header: &[PackedBlob], blobs: &[PackedBlob]) -> bool {
    let place = |blob: &PackedBlob| (blob.handle, blob.offset, blob.length);
    if header.iter().map(place).eq(blobs.iter().map(place)) {
        return true;
    }
    let header: HashSet<_> = header.iter().map(place).collect();
    blobs.iter().all(|blob| header.contains(&place(blob)))
}
