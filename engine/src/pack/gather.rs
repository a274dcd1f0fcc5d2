//! Gathering blobs that are sealed already in new packs, and listing those: for what rearranges a repository.

use std::collections::HashMap;
use std::sync::Arc;

use super::OpenPack;
use crate::error::Result;
use crate::id::{BlobHandle, BlobKind, IndexId, PackId};
use crate::index::{IndexFile, IndexedPack};
use crate::limits::INDEX_BLOBS;
use crate::lock::Lock;
use crate::monitor::{Monitor, PackRecord, Progress};
use crate::repository::Repository;
use crate::storage::{Bytes, FileKind, FileName};

/// Puts sealed blobs into new packs, data and trees apart.
pub(crate) struct Gatherer<'a> {
    lock: &'a Lock,
    monitor: &'a dyn Monitor,
    open: [OpenPack; 2],
    pack_sizes: [usize; 2],
    unindexed: Vec<PackRecord>,
    bytes_stored: u64,
}

impl<'a> Gatherer<'a> {
    pub(crate) fn new(lock: &'a Lock, monitor: &'a dyn Monitor) -> Self {
        let repository = lock.repository();
        let pack_size = |kind| repository.config().pack_size(kind, repository.index().stored(kind));
        let pack_sizes = [pack_size(BlobKind::Data), pack_size(BlobKind::Tree)];
        Self { lock, monitor, open: Default::default(), pack_sizes, unindexed: Vec::new(), bytes_stored: 0 }
    }

    fn repository(&self) -> &'a Arc<Repository> {
        self.lock.repository()
    }

    /// Adds a sealed blob; what fills a pack is written.
    pub(crate) fn add(&mut self, handle: BlobHandle, sealed: &[u8], uncompressed_length: Option<u32>) -> Result<()> {
        let pack = &mut self.open[handle.kind as usize];
        pack.add(handle, sealed, uncompressed_length, 0)?;
        if pack.length() < self.pack_sizes[handle.kind as usize] {
            return Ok(());
        }
        let pack = std::mem::take(pack);
        self.write_pack(pack)
    }

    /// Lists those packs of an earlier attempt that are in the storage.
    pub(crate) fn adopt(&mut self, packs: &[PackRecord]) -> Result<()> {
        if packs.is_empty() {
            return Ok(());
        }
        let there: HashMap<_, _> = self.repository().storage().list(FileKind::Pack)?.into_iter().collect();
        let is_there = |pack: &&PackRecord| there.get(&FileName::new(FileKind::Pack, pack.id.0)) == Some(&pack.length);
        self.unindexed.extend(packs.iter().filter(is_there).cloned());
        self.write_index()
    }

    /// Returns how much memory the packs take that are being filled, with what the next blob adds, in bytes.
    pub(crate) fn memory(&self) -> usize {
        self.open.iter().map(OpenPack::memory).sum()
    }

    /// Returns how many bytes of packs were written.
    pub(crate) fn bytes_stored(&self) -> u64 {
        self.bytes_stored
    }

    /// Writes what is in no pack yet, and lists all packs.
    pub(crate) fn flush(&mut self) -> Result<()> {
        for pack in std::mem::take(&mut self.open) {
            if !pack.is_empty() {
                self.write_pack(pack)?;
            }
        }
        self.write_index()
    }

    fn write_pack(&mut self, pack: OpenPack) -> Result<()> {
        let (bytes, blobs) = pack.finish(self.repository())?;
        let record = PackRecord { id: PackId::of(&bytes), length: bytes.len() as u64, blobs };
        self.monitor.storing(&record)?;
        self.repository().storage().write(&FileName::new(FileKind::Pack, record.id.0), &mut Bytes::new(&bytes))?;
        self.monitor.progress(&Progress { bytes_stored: record.length, ..Progress::default() });
        self.bytes_stored += record.length;
        self.unindexed.push(record);
        let waiting: usize = self.unindexed.iter().map(|pack| pack.blobs.len()).sum();
        if waiting >= INDEX_BLOBS { self.write_index() } else { Ok(()) }
    }

    fn write_index(&mut self) -> Result<()> {
        let packs = std::mem::take(&mut self.unindexed);
        if packs.is_empty() {
            return Ok(());
        }
        self.lock.confirm()?;
        write_index_file(self.repository(), &packs)?;
        let mut index = self.repository().index_mut();
        packs.iter().for_each(|pack| index.add_pack(pack.id, &pack.blobs));
        self.monitor.indexed();
        Ok(())
    }
}

/// Writes index files that list these packs, none of them too long. `look` may end it before each one.
pub(crate) fn write_index_files(lock: &Lock, packs: &[PackRecord], look: &dyn Fn() -> Result<()>) -> Result<()> {
    let mut rest = packs;
    while !rest.is_empty() {
        look()?;
        lock.confirm()?;
        let mut blobs = 0;
        let fits = |pack: &&PackRecord| {
            blobs += pack.blobs.len();
            blobs <= INDEX_BLOBS
        };
        let count = rest.iter().take_while(fits).count().max(1);
        let (packs, others) = rest.split_at(count);
        write_index_file(lock.repository(), packs)?;
        rest = others;
    }
    Ok(())
}

/// Writes an index file that lists these packs; returns its id and length.
fn write_index_file(repository: &Repository, packs: &[PackRecord]) -> Result<(IndexId, u64)> {
    let file = IndexFile { supersedes: Vec::new(), packs: packs.iter().map(IndexedPack::from).collect() };
    let sealed = repository.seal_file(&file)?;
    repository.write_file(FileKind::Index, &sealed)?;
    Ok((IndexId::of(&sealed), sealed.len() as u64))
}
