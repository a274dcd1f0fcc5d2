//! Storing blobs: known ones are left alone, new ones are gathered into packs, packs are listed in index files.
//!
//! Any number of threads hand in blobs. The thread that fills a pack passes it on to one writer thread and goes on;
//! a full pack is handed over when the one before it is written, so that memory is bounded when the storage is slow.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::added::Blobs;
use super::body::GatedBody;
use super::open::{OpenPack, pack_sizes};
use super::places::Places;
use crate::blob::Sealer;
use crate::control::Gate;
use crate::error::{Error, Result};
use crate::id::{BlobHandle, BlobId, BlobKind, IndexId, PackId};
use crate::index::{IndexFile, IndexedPack};
use crate::limits::{INDEX_BLOBS, PACK_BUFFERS, PACK_MARGIN};
use crate::lock::Lock;
use crate::monitor::{Monitor, PackRecord, Progress};
use crate::repository::Repository;
use crate::storage::{Bytes, FileKind, FileName};

/// What became of a blob that was handed in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Saved {
    pub(crate) id: BlobId,
    /// Whether it was not known before.
    pub(crate) new: bool,
}

/// Stores blobs; shared by the threads of a backup.
pub(crate) struct BlobSaver<'a> {
    repository: &'a Repository,
    lock: &'a Lock,
    gate: &'a Gate,
    monitor: &'a dyn Monitor,
    data: Mutex<OpenPack>,
    trees: Mutex<OpenPack>,
    /// Blobs that were handed in and are in no index file yet.
    pub(super) pending: Mutex<HashSet<BlobHandle>>,
    full: Sender<OpenPack>,
    pack_sizes: OnceLock<[usize; 2]>,
    places: Places,
    /// The buffers of packs that were written.
    spare: Mutex<Vec<Vec<u8>>>,
    unindexed: Mutex<Vec<PackRecord>>,
    added: Mutex<Blobs>,
}

impl<'a> BlobSaver<'a> {
    /// Makes a saver, and the end of the channel that [`write_packs`](Self::write_packs) takes.
    pub(crate) fn new(lock: &'a Lock, gate: &'a Gate, monitor: &'a dyn Monitor) -> (Self, Receiver<OpenPack>) {
        let repository: &Repository = lock.repository();
        // A full pack is handed over when the one before it is written: a further one in between would only hold memory.
        let (full, to_write) = bounded(0);
        let saver = Self {
            repository,
            lock,
            gate,
            monitor,
            data: Mutex::default(),
            trees: Mutex::default(),
            pending: Mutex::default(),
            full,
            places: Places::new(),
            pack_sizes: OnceLock::new(),
            spare: Mutex::default(),
            unindexed: Mutex::default(),
            added: Mutex::default(),
        };
        (saver, to_write)
    }

    /// Makes what a thread needs to hand in blobs.
    pub(crate) fn sealer(&self) -> Result<Sealer> {
        Sealer::new(self.repository.config())
    }

    /// Stores a blob unless it is known.
    pub(crate) fn save(&self, kind: BlobKind, contents: &[u8], sealer: &mut Sealer) -> Result<Saved> {
        let (saved, full) = self.put(kind, contents, sealer, true)?;
        if let Some(pack) = full {
            // Without the writer its error is the one to report.
            self.full.send(pack).map_err(|_| Error::Cancelled)?;
        }
        Ok(saved)
    }

    /// Stores a blob unless it is known, for the thread that writes packs: it cannot pass one on to itself.
    pub(crate) fn save_and_write(&self, kind: BlobKind, contents: &[u8], sealer: &mut Sealer) -> Result<Saved> {
        let (saved, full) = self.put(kind, contents, sealer, false)?;
        full.map_or(Ok(()), |pack| self.write_pack(pack))?;
        Ok(saved)
    }

    /// Puts a blob into a pack unless it is known; returns the pack if that has filled it.
    fn put(
        &self,
        kind: BlobKind,
        contents: &[u8],
        sealer: &mut Sealer,
        wait: bool,
    ) -> Result<(Saved, Option<OpenPack>)> {
        let id = BlobId::of(contents);
        let handle = BlobHandle { kind, id };
        if !self.claim(handle) {
            return Ok((Saved { id, new: false }, None));
        }
        let sealed = sealer.seal(self.repository.key(), contents)?;
        let size = self.pack_sizes.get_or_init(|| pack_sizes(self.repository))[kind as usize];
        let full = {
            let mut pack = self.pack_in_memory(kind, wait);
            if pack.bytes.capacity() == 0 {
                pack.bytes = guard(&self.spare).pop().unwrap_or_default();
                // Room for the last blob and the header too: a full pack that has to move takes its memory twice.
                pack.bytes.reserve_exact(size + PACK_MARGIN);
            }
            pack.add(handle, sealed.bytes, sealed.uncompressed_length, contents.len())?;
            let full = pack.bytes.len() >= size;
            full.then(|| std::mem::take(&mut *pack))
        };
        Ok((Saved { id, new: true }, full))
    }

    /// Returns the pack that is being filled; a new one may have to wait until another is written.
    fn pack_in_memory(&self, kind: BlobKind, wait: bool) -> MutexGuard<'_, OpenPack> {
        let mut place = None;
        loop {
            let mut pack = guard(self.open_pack(kind));
            if wait && pack.place.is_none() {
                pack.place = place.or_else(|| self.places.try_take());
            }
            if !wait || pack.place.is_some() {
                return pack;
            }
            // Nothing is held while waiting: the thread that writes looks into this pack too.
            drop(pack);
            place = self.places.take();
        }
    }

    /// Returns whether the caller is the one to store a blob: nobody did, and nobody is about to.
    ///
    /// What other runs left in packs that no index file lists does not count: it may never be listed.
    fn claim(&self, handle: BlobHandle) -> bool {
        if self.repository.index().contains(&handle) {
            return false;
        }
        // A blob goes from here to the index without a gap, so that it is looked for there while this is held.
        let mut pending = guard(&self.pending);
        !self.repository.index().contains(&handle) && pending.insert(handle)
    }

    /// Tells the writer thread to end when it has written what was passed on.
    pub(crate) fn close(&self) {
        // An empty pack is the sign; if the writer has failed, nobody waits for it.
        let _ = self.full.send(OpenPack::default());
    }

    /// Writes what is in no pack yet and lists it in an index file. Called by the thread that writes packs, or when there
    /// is none.
    pub(crate) fn flush(&self) -> Result<()> {
        for kind in [BlobKind::Data, BlobKind::Tree] {
            let pack = std::mem::take(&mut *guard(self.open_pack(kind)));
            if !pack.blobs.is_empty() {
                self.write_pack(pack)?;
            }
        }
        self.write_index()
    }

    /// Lists packs of an earlier attempt that are in the storage but in no index file.
    pub(crate) fn adopt(&self, pack: PackRecord) {
        self.repository.index_mut().add_unlisted_pack(pack.id, &pack.blobs);
        guard(&self.pending).extend(pack.blobs.iter().map(|blob| blob.handle));
        guard(&self.unindexed).push(pack);
    }

    /// Returns what was added so far.
    pub(crate) fn added(&self) -> Blobs {
        *guard(&self.added)
    }

    fn open_pack(&self, kind: BlobKind) -> &Mutex<OpenPack> {
        match kind {
            BlobKind::Data => &self.data,
            BlobKind::Tree => &self.trees,
        }
    }

    pub(super) fn write_pack(&self, mut pack: OpenPack) -> Result<()> {
        let contents = pack.contents;
        let _place = pack.place.take();
        let (bytes, blobs) = pack.finish(self.repository)?;
        let record = PackRecord { id: PackId::of(&bytes), length: bytes.len() as u64, blobs };
        // A pack of a dry run is nowhere, and nobody shall look for it after a crash.
        if !self.repository.is_dry() {
            self.monitor.storing(&record)?;
        }
        let name = FileName::new(FileKind::Pack, record.id.0);
        let mut body = GatedBody { bytes: Bytes::new(&bytes), gate: self.gate };
        self.repository.storage().write(&name, &mut body)?;
        self.repository.index_mut().add_unlisted_pack(record.id, &record.blobs);
        self.count(&record, contents);
        self.keep_buffer(bytes);
        let listed = {
            let mut unindexed = guard(&self.unindexed);
            unindexed.push(record);
            unindexed.iter().map(|pack| pack.blobs.len()).sum::<usize>()
        };
        if listed >= INDEX_BLOBS { self.write_index() } else { Ok(()) }
    }

    /// Keeps the memory of a pack for the next one.
    fn keep_buffer(&self, mut bytes: Vec<u8>) {
        let mut spare = guard(&self.spare);
        if spare.len() < PACK_BUFFERS {
            bytes.clear();
            spare.push(bytes);
        }
    }

    fn count(&self, record: &PackRecord, contents: u64) {
        let trees = record.blobs.iter().filter(|blob| blob.handle.kind == BlobKind::Tree).count() as u64;
        let mut added = guard(&self.added);
        added.trees += trees;
        added.data += record.blobs.len() as u64 - trees;
        added.bytes += contents;
        // Data and trees go to packs of their own.
        added.data_bytes += if trees == 0 { contents } else { 0 };
        added.packs += 1;
        added.pack_bytes += record.length;
        added.bytes_stored += record.length;
        self.monitor.progress(&Progress { bytes_stored: record.length, ..Progress::default() });
    }

    /// From now on others can find these packs, and snapshots may rely on them.
    fn listed(&self, packs: &[PackRecord], file: IndexId) {
        {
            let mut index = self.repository.index_mut();
            for pack in packs {
                index.add_pack(pack.id, &pack.blobs);
            }
            index.add_file(file);
        }
        let mut pending = guard(&self.pending);
        for blob in packs.iter().flat_map(|pack| &pack.blobs) {
            pending.remove(&blob.handle);
        }
    }

    fn write_index(&self) -> Result<()> {
        let packs = std::mem::take(&mut *guard(&self.unindexed));
        if packs.is_empty() {
            return Ok(());
        }
        let file = IndexFile { supersedes: Vec::new(), packs: packs.iter().map(IndexedPack::from).collect() };
        let sealed = self.repository.seal_file(&file)?;
        self.lock.confirm()?;
        self.repository.write_file(FileKind::Index, &sealed)?;
        self.listed(&packs, IndexId::of(&sealed));
        guard(&self.added).bytes_stored += sealed.len() as u64;
        self.monitor.progress(&Progress { bytes_stored: sealed.len() as u64, ..Progress::default() });
        if !self.repository.is_dry() {
            self.monitor.indexed();
        }
        Ok(())
    }
}

pub(super) fn guard<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic while one is held ends the backup.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
