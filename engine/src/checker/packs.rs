//! Reading packs: the bytes of each against its name, its header against the index, each blob against its id.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use sha2::{Digest, Sha256};

use super::rotation::{Coverage, choose, turns};
use super::verified::Verified;
use super::{Checker, Pack};
use crate::blob::Opener;
use crate::error::{Error, Result};
use crate::id::PackId;
use crate::index::Location;
use crate::limits::VERIFIED_STEP;
use crate::memory::Held;
use crate::monitor::{PackedBlob, Progress};
use crate::pack::{header_of, read_header};
use crate::storage::{FileKind, FileName};

/// The most of a pack that is read and held in memory at once, in bytes: all of one of our own, which ends with the
/// blob that fills it. A larger one is read in such pieces, and then once more blob by blob.
pub(crate) const PIECE: u64 = 32 * 1024 * 1024;

/// What one thread reads packs with.
pub(super) struct Reader {
    pub(super) opener: Opener,
    /// The pack, if it is not too large to keep, or a piece of it.
    bytes: Vec<u8>,
    /// What both take.
    held: Held,
}

impl Reader {
    pub(super) fn new(checker: &Checker<'_>) -> Result<Self> {
        let opener = Opener::new(checker.repository.blob_limits())?;
        Ok(Self { opener, bytes: Vec::new(), held: checker.gate.memory().held() })
    }

    /// Sees to it that there is memory for a pack of some length, and to open these blobs of it one after another; with no
    /// length, each is read by itself.
    pub(super) fn make_room(&mut self, length: u64, blobs: &[PackedBlob]) {
        let Self { opener, bytes, held } = self;
        held.need(memory_for(length, bytes.capacity(), opener, blobs), || {
            opener.forget();
            *bytes = Vec::new();
        });
    }
}

/// Returns how much memory it takes to read a pack into a buffer of this capacity, in pieces if it is long, and to open
/// these blobs of it.
pub(crate) fn memory_for(length: u64, capacity: usize, opener: &Opener, blobs: &[PackedBlob]) -> usize {
    let piece = usize::try_from(length.min(PIECE)).unwrap_or(usize::MAX).max(capacity);
    // What is in no piece is read by itself.
    let is_whole = (1..=PIECE).contains(&length);
    let alone = if is_whole { None } else { blobs.iter().map(|blob| blob.length as usize).max() };
    let opened = opener.memory(blobs.iter().map(|blob| (blob.length, blob.uncompressed_length)));
    piece.saturating_add(alone.unwrap_or(0)).saturating_add(opened)
}

/// Which packs have their turn, and when each was read.
pub(super) struct Rotation<'c, 'a> {
    checker: &'c Checker<'a>,
    state: Mutex<State>,
}

struct State {
    verified: Verified,
    /// Bytes that were read since it was written down what was read.
    unsaved: u64,
    is_told: bool,
}

impl<'c, 'a> Rotation<'c, 'a> {
    pub(super) fn open(checker: &'c Checker<'a>, packs: &[Pack]) -> Self {
        let records = checker.options.records.as_ref();
        let mut verified = records.map(|folder| Verified::read(folder, checker.repository.id())).unwrap_or_default();
        verified.retain(&packs.iter().map(|pack| pack.id).collect());
        Self { checker, state: Mutex::new(State { verified, unsaved: 0, is_told: false }) }
    }

    /// Says how much of these packs was ever read.
    pub(super) fn coverage(&self, packs: &[Pack]) -> Coverage {
        let lengths = packs.iter().map(|pack| (pack.id, pack.length));
        Coverage::of(&turns(lengths, &self.state().verified, self.checker.options.now))
    }

    fn choose(&self, packs: &[Pack]) -> Vec<usize> {
        let options = self.checker.options;
        let lengths = packs.iter().map(|pack| (pack.id, pack.length));
        choose(&turns(lengths, &self.state().verified, options.now), options.part, options.since, options.now)
    }

    /// Notes that a pack was read and is right.
    fn note(&self, pack: &Pack) {
        let mut state = self.state();
        state.verified.note(pack.id, self.checker.options.now);
        state.unsaved += pack.length;
        if state.unsaved >= VERIFIED_STEP {
            self.save(&mut state);
        }
    }

    fn save(&self, state: &mut State) {
        let Checker { options, repository, monitor, .. } = self.checker;
        let written = options.records.as_ref().map_or(Ok(()), |folder| state.verified.write(folder, repository.id()));
        state.unsaved = 0;
        if let (Err(error), false) = (written, std::mem::replace(&mut state.is_told, true)) {
            let what = "It cannot be kept which data was read, so that it is read again the next time";
            monitor.notice(&format!("{what}: {error}."));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Times are added one by one: a panic elsewhere leaves one out at worst.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Rotation<'_, '_> {
    /// However the verification ends, what was read has not to be read again.
    fn drop(&mut self) {
        let mut state = self.state();
        if state.unsaved > 0 {
            self.save(&mut state);
        }
    }
}

impl Checker<'_> {
    /// Reads the packs that have their turn on several threads, and returns how many, and how many bytes, that were.
    pub(super) fn read_packs(&self, packs: &[Pack], rotation: &Rotation<'_, '_>) -> Result<(u64, u64)> {
        let chosen = rotation.choose(packs);
        self.monitor.total(0, chosen.iter().map(|number| packs[*number].length).sum());
        let next = AtomicUsize::new(0);
        let bytes = AtomicU64::new(0);
        self.on_threads(|| {
            let mut reader = Reader::new(self)?;
            while let Some(pack) = chosen.get(next.fetch_add(1, Ordering::Relaxed)).map(|number| &packs[*number]) {
                reader.make_room(pack.length, &pack.blobs);
                if self.read_pack(pack, &mut reader)? {
                    rotation.note(pack);
                }
                bytes.fetch_add(pack.length, Ordering::Relaxed);
            }
            Ok(())
        })?;
        Ok((chosen.len() as u64, bytes.into_inner()))
    }

    /// Checks one pack, and returns whether all of it is right; errors are those that end the verification.
    fn read_pack(&self, pack: &Pack, reader: &mut Reader) -> Result<bool> {
        let name = FileName::new(FileKind::Pack, pack.id.0);
        let mut is_right = true;
        let mut wrong = |error: &Error| {
            is_right = false;
            self.wrong(&name, error);
        };
        let whole = match self.hash(&name, pack.length, &mut reader.bytes) {
            Err(error @ (Error::Cancelled | Error::Suspended)) => return Err(error),
            Err(error) => {
                wrong(&error);
                None
            }
            Ok(hash) => {
                if hash != name.id {
                    wrong(&self.repository.damaged(&name, "its contents do not match its name"));
                }
                (pack.length <= PIECE).then_some(&*reader.bytes)
            }
        };
        let header = match whole {
            Some(bytes) => header_of(self.repository, pack.id, bytes),
            None => read_header(self.repository, pack.id, pack.length),
        };
        match header {
            Ok(header) if !lists(&header, &pack.blobs) => {
                wrong(&self.repository.damaged(&name, "the index lists other blobs in it than its header"));
            }
            Ok(_) => {}
            Err(error) => wrong(&error),
        }
        for blob in &pack.blobs {
            self.gate.check()?;
            if let Err(error) = self.open(pack.id, blob, whole, &mut reader.opener) {
                self.bad([blob.handle]);
                wrong(&error);
            }
        }
        Ok(is_right)
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

    pub(super) fn open(
        &self,
        pack: PackId,
        blob: &PackedBlob,
        whole: Option<&[u8]>,
        opener: &mut Opener,
    ) -> Result<()> {
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
