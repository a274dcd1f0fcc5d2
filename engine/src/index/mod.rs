//! The index: which pack holds a blob, and where in it.
//!
//! What index files list is sorted (`base`) and kept as a file between runs (`cache`); what is read or stored
//! later goes to a table (`recent`).

mod base;
mod build;
mod cache;
mod file;
mod load;
mod packs;
mod recent;

pub(crate) use cache::IndexCache;
pub use file::{IndexFile, IndexedBlob, IndexedPack};
pub(crate) use load::Detail;

use std::collections::HashSet;

use base::{Base, Place};
use recent::Recent;

use crate::id::{BlobHandle, BlobId, BlobKind, IndexId, PackId};
use crate::monitor::PackedBlob;
use crate::seal::OVERHEAD;

/// Where a blob lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Location {
    /// The pack.
    pub pack: PackId,
    /// Where its sealed bytes start in the pack, in bytes.
    pub offset: u32,
    /// Length of its sealed bytes.
    pub length: u32,
    /// Length of its contents if they are compressed.
    pub uncompressed_length: Option<u32>,
}

impl Location {
    /// Returns how long the blob's contents are, in bytes.
    #[must_use]
    pub fn contents_length(&self) -> u64 {
        let sealed = u64::from(self.length).saturating_sub(OVERHEAD as u64);
        self.uncompressed_length.map_or(sealed, u64::from)
    }
}

/// Every blob that is known, in memory.
#[derive(Debug, Default)]
pub struct Index {
    /// The index files that were read.
    files: HashSet<IndexId>,
    base: Base,
    recent: Recent,
}

/// How much some blobs are, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sums {
    /// Sealed.
    stored: u64,
    /// Their contents.
    contents: u64,
}

impl Sums {
    fn with(self, place: &Place) -> Self {
        let contents = place.location(PackId([0; 32])).contents_length();
        Self {
            stored: self.stored.saturating_add(place.length.into()),
            contents: self.contents.saturating_add(contents),
        }
    }
}

impl Index {
    /// Returns whether a blob is in a pack that an index file lists, so that a new snapshot may rely on it; all 32
    /// bytes of its id are compared.
    #[must_use]
    pub fn contains(&self, handle: &BlobHandle) -> bool {
        self.base.contains(handle) || self.recent.contains(handle)
    }

    /// Returns where a blob lies, if it is known, in a listed pack rather than in another.
    #[must_use]
    pub fn get(&self, handle: &BlobHandle) -> Option<Location> {
        self.base.get_all(handle).next().or_else(|| self.recent.get(handle))
    }

    /// Returns every place where a blob lies: more than one if programs stored it at the same time.
    #[must_use]
    pub fn get_all(&self, handle: &BlobHandle) -> Vec<Location> {
        self.base.get_all(handle).chain(self.recent.get_all(handle)).collect()
    }

    /// Adds the blobs of a pack that an index file lists.
    pub fn add_pack(&mut self, id: PackId, blobs: &[PackedBlob]) {
        if !self.base.has_pack(&id) {
            return self.recent.add_listed(id, blobs);
        }
        let more: Vec<PackedBlob> = blobs.iter().filter(|blob| !self.base.has_in(&blob.handle, &id)).copied().collect();
        if !more.is_empty() {
            self.recent.add_listed(id, &more);
        }
    }

    /// Notes that what this index file lists is known.
    pub(crate) fn add_file(&mut self, id: IndexId) {
        self.files.insert(id);
    }

    /// Adds the blobs of a pack that no index file lists yet.
    pub(crate) fn add_unlisted_pack(&mut self, id: PackId, blobs: &[PackedBlob]) {
        if !self.base.has_pack(&id) {
            self.recent.add_unlisted(id, blobs);
        }
    }

    /// Returns the packs that are known.
    pub fn packs(&self) -> impl Iterator<Item = PackId> {
        let recent = self.recent.packs().map(|(id, _)| id).filter(|id| !self.base.has_pack(id));
        self.base.packs.iter().map(|pack| pack.id).chain(recent)
    }

    /// Returns whether a pack is known.
    #[must_use]
    pub fn has_pack(&self, id: &PackId) -> bool {
        self.base.has_pack(id) || self.recent.has_pack(id)
    }

    /// Returns whether an index file lists a pack.
    #[must_use]
    pub fn lists_pack(&self, id: &PackId) -> bool {
        self.base.has_pack(id) || self.recent.lists_pack(id)
    }

    /// Returns the number of places of blobs that are known, copies included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.base.len() + self.recent.len()
    }

    /// Returns whether no blob is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns how many bytes of sealed blobs of a kind are listed.
    #[must_use]
    pub fn stored(&self, kind: BlobKind) -> u64 {
        self.base.column(kind).sums.stored + self.recent.sums(kind).stored
    }

    /// Returns how many bytes the contents of the blobs of a kind are.
    #[must_use]
    pub fn contents(&self, kind: BlobKind) -> u64 {
        self.base.column(kind).sums.contents + self.recent.sums(kind).contents
    }

    /// Returns how many bytes the contents of these data blobs are, as far as they are known.
    #[must_use]
    pub fn data_length(&self, blobs: &[BlobId]) -> u64 {
        let length =
            |id: &BlobId| self.get(&BlobHandle { kind: BlobKind::Data, id: *id }).map(|at| at.contents_length());
        blobs.iter().filter_map(length).fold(0, u64::saturating_add)
    }
}

#[cfg(test)]
mod tests;
