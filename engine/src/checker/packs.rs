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
use crate::pack::read_header;
use crate::storage::{FileKind, FileName};

/// The largest pack that is held in memory at once, in bytes; a larger one is read twice, in pieces.
const PACK_IN_MEMORY: u64 = 64 * 1024 * 1024;

/// How much of a pack is read at once, in bytes.
const PIECE: u64 = 4 * 1024 * 1024;

impl Checker<'_> {
    /// Reads the packs on several threads, and returns how many bytes that were.
    pub(super) fn read_packs(&self, packs: &[Pack], threads: usize) -> Result<u64> {
        let threads = if threads == 0 { std::thread::available_parallelism().map_or(2, usize::from) } else { threads };
        let next = AtomicUsize::new(0);
        let bytes = AtomicU64::new(0);
        let run = || {
            let mut opener = Opener::new(self.repository.blob_limits())?;
            while let Some(pack) = packs.get(next.fetch_add(1, Ordering::Relaxed)) {
                self.read_pack(pack, &mut opener)?;
                bytes.fetch_add(pack.length, Ordering::Relaxed);
            }
            Ok(())
        };
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
            let mut result = Ok(());
            for thread in threads {
                result = result.and(thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            }
            result
        })?;
        Ok(bytes.into_inner())
    }

    /// Checks one pack; errors are those that end the verification.
    fn read_pack(&self, pack: &Pack, opener: &mut Opener) -> Result<()> {
        let name = FileName::new(FileKind::Pack, pack.id.0);
        let wrong = |problem: &str| {
            self.wrong(&name, &self.repository.damaged(&name, problem));
        };
        let whole = match self.hash(&name, pack.length) {
            Err(error @ (Error::Cancelled | Error::Suspended)) => return Err(error),
            Err(error) => {
                self.wrong(&name, &error);
                None
            }
            Ok((hash, whole)) => {
                if hash != name.id {
                    wrong("its contents do not match its name");
                }
                whole
            }
        };
        match read_header(self.repository, pack.id, pack.length) {
            Ok(header) if !lists(&header, &pack.blobs) => wrong("the index lists other blobs in it than its header"),
            Ok(_) => {}
            Err(error) => self.wrong(&name, &error),
        }
        for blob in &pack.blobs {
            self.gate.check()?;
            if let Err(error) = self.open(pack.id, blob, whole.as_deref(), opener) {
                self.guard().insert(blob.handle);
                self.wrong(&name, &error);
            }
        }
        Ok(())
    }

    /// Returns a pack's SHA-256, and the pack if it is not too large to keep.
    fn hash(&self, name: &FileName, length: u64) -> Result<([u8; 32], Option<Vec<u8>>)> {
        let mut hash = Sha256::new();
        let mut whole = Vec::new();
        let mut offset = 0;
        while offset < length {
            self.gate.check()?;
            let piece = PIECE.min(length - offset);
            let bytes =
                self.repository.storage().read_range(name, offset, usize::try_from(piece).unwrap_or(usize::MAX))?;
            self.monitor.progress(&Progress { bytes: piece, ..Progress::default() });
            hash.update(&bytes);
            if length <= PACK_IN_MEMORY {
                whole.extend_from_slice(&bytes);
            }
            offset += piece;
        }
        Ok((hash.finalize().into(), (length <= PACK_IN_MEMORY).then_some(whole)))
    }

    fn open(&self, pack: PackId, blob: &PackedBlob, whole: Option<&[u8]>, opener: &mut Opener) -> Result<()> {
        let PackedBlob { handle, offset, length, uncompressed_length } = *blob;
        let location = Location { pack, offset, length, uncompressed_length };
        opener.limits().check(&handle, &location)?;
        let length = length as usize;
        let sealed = match whole {
            Some(bytes) => {
                bytes.get(offset as usize..).and_then(|bytes| bytes.get(..length)).unwrap_or_default().to_vec()
            }
            None => {
                let name = FileName::new(FileKind::Pack, pack.0);
                self.repository.storage().read_range(&name, u64::from(offset), length)?
            }
        };
        opener.open(self.repository.key(), &handle, &location, sealed).map(|_| ())
    }
}

/// Returns whether a header lists all of these blobs; the index of old programs knows no uncompressed length.
fn lists(header: &[PackedBlob], blobs: &[PackedBlob]) -> bool {
    let place = |blob: &PackedBlob| (blob.handle, blob.offset, blob.length);
    let header: HashSet<_> = header.iter().map(place).collect();
    blobs.iter().all(|blob| header.contains(&place(blob)))
}
