//! Reading every pack: is it what its name says, is it as listed, and which of its blobs are good?

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use sha2::{Digest, Sha256};

use crate::blob::Opener;
use crate::checker::{PIECE, memory_for};
use crate::control::Gate;
use crate::error::{Error, Result};
use crate::id::{BlobHandle, PackId};
use crate::index::Location;
use crate::lock::Lock;
use crate::memory::Held;
use crate::monitor::{ItemFailure, Monitor, PackedBlob, Progress};
use crate::pack::{header_of, read_header};
use crate::repository::Repository;
use crate::storage::{FileKind, FileName};

/// What reading every pack has shown.
#[derive(Debug, Default)]
pub struct Examined {
    /// Packs with something to be said about them; all others are whole and as listed.
    pub(super) packs: HashMap<PackId, Finding>,
}

/// What is wrong with a pack, or with what is said of it.
#[derive(Debug)]
pub(super) enum Finding {
    /// It is whole and holds these blobs; the index says something else, or nothing.
    Whole(Vec<PackedBlob>),
    /// Some of its bytes are wrong. `bad` are blobs that should be in it and are not good.
    Damaged { good: Vec<PackedBlob>, bad: Vec<BlobHandle> },
    /// What is in it cannot be told, so that it is left alone.
    Left,
}

/// Reads every pack. The lock is a shared one: nothing is changed.
///
/// A pack that is left alone is reported to the monitor. So many threads read; with 0, as many as the machine runs at once.
///
/// # Errors
/// [`Error::Cancelled`] and [`Error::Suspended`] when the gate says so; the storage's own, when listing.
pub fn examine(lock: &Lock, threads: usize, gate: &Gate, monitor: &dyn Monitor) -> Result<Examined> {
    let repository: &Repository = lock.repository();
    repository.read_index_again()?;
    let mut listed = repository.index().by_pack();
    listed.retain(|id, _| repository.index().lists_pack(id));
    let mut there = repository.storage().list(FileKind::Pack)?;
    there.sort_unstable();
    monitor.total(0, there.iter().map(|(_, length)| length).sum());
    let (next, found) = (AtomicUsize::new(0), Mutex::new(HashMap::new()));
    let run = || {
        let held = gate.memory().held();
        let mut reader = Reader { repository, gate, monitor, opener: Opener::new(repository.blob_limits())?, held };
        while let Some((name, length)) = there.get(next.fetch_add(1, Ordering::Relaxed)) {
            let id = PackId(name.id);
            if let Some(finding) = reader.look(name, *length, listed.get(&id).map(Vec::as_slice))? {
                found.lock().unwrap_or_else(PoisonError::into_inner).insert(id, finding);
            }
        }
        Ok(())
    };
    let threads = match threads {
        0 => std::thread::available_parallelism().map_or(2, usize::from),
        threads => threads,
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
        let mut result = Ok(());
        for thread in threads {
            result = result.and(thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        result
    })?;
    Ok(Examined { packs: found.into_inner().unwrap_or_else(PoisonError::into_inner) })
}

struct Reader<'a> {
    repository: &'a Repository,
    gate: &'a Gate,
    monitor: &'a dyn Monitor,
    opener: Opener,
    held: Held,
}

impl Reader<'_> {
    /// Looks at one pack. Only what is damaged for certain counts as that: a storage that fails may work again.
    fn look(&mut self, name: &FileName, length: u64, listed: Option<&[PackedBlob]>) -> Result<Option<Finding>> {
        match self.judge(name, length, listed) {
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error @ (Error::Cancelled | Error::Suspended)) => Err(error),
            Err(error) => {
                let mut failure = ItemFailure::new(Path::new(&name.to_string()), &error);
                failure.message = format!("{name} is left alone: {error}");
                failure.advice =
                    "When the drive can read it again, repair again; without it, remove the file.".to_owned();
                self.monitor.item_failed(failure);
                Ok(Some(Finding::Left))
            }
            judged => judged,
        }
    }

    fn judge(&mut self, name: &FileName, length: u64, listed: Option<&[PackedBlob]>) -> Result<Option<Finding>> {
        let Self { opener, held, .. } = self;
        held.need(memory_for(length, 0, opener, listed.unwrap_or_default()), || opener.forget());
        let (hash, bytes) = self.read(name, length)?;
        let pack = PackId(name.id);
        let header = match &bytes {
            Some(bytes) => header_of(self.repository, pack, bytes),
            None => read_header(self.repository, pack, length),
        };
        let header = match header {
            Err(error) if !is_damage(&error) || listed.is_none() => return Err(error),
            header => header.ok(),
        };
        let listed = listed.unwrap_or_default();
        let mut wanted: Vec<PackedBlob> = header.iter().flatten().chain(listed).copied().collect();
        wanted.sort_unstable_by_key(|blob| (blob.offset, blob.handle, blob.length, blob.uncompressed_length));
        wanted.dedup();
        let mut good = Vec::with_capacity(wanted.len());
        for blob in &wanted {
            self.gate.check()?;
            if self.is_good(name, blob, bytes.as_deref())? {
                good.push(*blob);
            }
        }
        let handles: HashSet<BlobHandle> = good.iter().map(|blob| blob.handle).collect();
        Ok(match header {
            Some(header) if hash == name.id && header.iter().all(|blob| good.contains(blob)) => {
                (!is_same(&header, listed)).then_some(Finding::Whole(header))
            }
            _ => {
                let bad = wanted.iter().map(|blob| blob.handle).filter(|handle| !handles.contains(handle)).collect();
                Some(Finding::Damaged { good, bad })
            }
        })
    }

    /// Returns a pack's SHA-256, and its bytes unless they are too many.
    fn read(&self, name: &FileName, length: u64) -> Result<([u8; 32], Option<Vec<u8>>)> {
        let (mut hash, mut offset, mut bytes) = (Sha256::new(), 0, Vec::new());
        while offset < length {
            self.gate.check()?;
            let piece = PIECE.min(length - offset);
            let count = usize::try_from(piece).unwrap_or(usize::MAX);
            self.repository.storage().read_range_into(name, offset, count, &mut bytes)?;
            self.monitor.progress(&Progress { bytes: piece, ..Progress::default() });
            hash.update(&bytes);
            offset += piece;
        }
        Ok((hash.finalize().into(), (length <= PIECE).then_some(bytes)))
    }

    fn is_good(&mut self, name: &FileName, blob: &PackedBlob, whole: Option<&[u8]>) -> Result<bool> {
        let (location, length) = (place(PackId(name.id), blob), blob.length as usize);
        self.opener.limits().check(&blob.handle, &location)?;
        let read;
        let sealed = match whole {
            Some(bytes) => bytes.get(blob.offset as usize..).and_then(|bytes| bytes.get(..length)).unwrap_or_default(),
            None => match self.repository.storage().read_range(name, u64::from(blob.offset), length) {
                Err(error) if is_damage(&error) => return Ok(false),
                other => {
                    read = other?;
                    &read
                }
            },
        };
        match self.opener.open(self.repository.key(), &blob.handle, &location, sealed) {
            Err(error) if !is_damage(&error) => Err(error),
            opened => Ok(opened.is_ok()),
        }
    }
}

/// Returns whether an error says that stored bytes are wrong.
pub(super) fn is_damage(error: &Error) -> bool {
    matches!(error, Error::Damaged { .. })
}

/// Returns where a blob of a pack lies.
pub(super) fn place(pack: PackId, blob: &PackedBlob) -> Location {
    let PackedBlob { offset, length, uncompressed_length, .. } = *blob;
    Location { pack, offset, length, uncompressed_length }
}

/// Returns whether both say the same of a pack, in whatever order.
pub(super) fn is_same(header: &[PackedBlob], listed: &[PackedBlob]) -> bool {
    let sorted = |blobs: &[PackedBlob]| {
        let mut blobs = blobs.to_vec();
        blobs.sort_unstable_by_key(|blob| (blob.offset, blob.handle));
        blobs.dedup();
        blobs
    };
    sorted(header) == sorted(listed)
}
