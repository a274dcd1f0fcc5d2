//! The index: which pack holds a blob, and where in it.

mod file;
mod load;
mod packs;

pub use file::{IndexFile, IndexedBlob, IndexedPack};

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;

use crate::id::{BlobHandle, BlobId, BlobKind, IndexId, PackId};
use crate::monitor::PackedBlob;

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
        let sealed = u64::from(self.length).saturating_sub(crate::seal::OVERHEAD as u64);
        self.uncompressed_length.map_or(sealed, u64::from)
    }
}

/// Every blob that is known, in memory: 48 bytes a blob and its place in a table.
#[derive(Debug)]
pub struct Index {
    /// The index files that were read.
    files: HashSet<IndexId>,
    packs: Vec<KnownPack>,
    pack_numbers: HashMap<PackId, u32>,
    entries: Vec<Entry>,
    table: HashTable<u32>,
    /// Entries that the table does not lead to: further places of blobs that it knows.
    copies: HashMap<BlobHandle, Vec<u32>>,
    hasher: RandomState,
}

/// A pack whose blobs are known.
#[derive(Clone, Copy, Debug)]
struct KnownPack {
    id: PackId,
    /// Whether an index file lists it. Others are known from their headers or were just written: what is in them can
    /// be read, but a snapshot that relies on it could not be read by others.
    listed: bool,
}

/// The kind is the top bit of `pack`; `uncompressed_length` is 0 for a blob that is not compressed.
#[derive(Clone, Copy, Debug)]
struct Entry {
    id: BlobId,
    pack: u32,
    offset: u32,
    length: u32,
    uncompressed_length: u32,
}

const TREE: u32 = 1 << 31;

impl Default for Index {
    fn default() -> Self {
        Self {
            files: HashSet::new(),
            packs: Vec::new(),
            pack_numbers: HashMap::new(),
            entries: Vec::new(),
            table: HashTable::new(),
            copies: HashMap::new(),
            hasher: RandomState::new(),
        }
    }
}

impl Index {
    /// Returns whether a blob is in a pack that an index file lists, so that a new snapshot may rely on it; all 32
    /// bytes of its id are compared.
    #[must_use]
    pub fn contains(&self, handle: &BlobHandle) -> bool {
        self.find(handle).is_some_and(|entry| self.pack_of(entry).listed)
    }

    /// Returns where a blob lies, if it is known, in a listed pack rather than in another.
    #[must_use]
    pub fn get(&self, handle: &BlobHandle) -> Option<Location> {
        self.find(handle).map(|entry| self.location(entry))
    }

    /// Returns every place where a blob lies: more than one if programs stored it at the same time.
    #[must_use]
    pub fn get_all(&self, handle: &BlobHandle) -> Vec<Location> {
        let copies = self.copies.get(handle).into_iter().flatten().map(|number| &self.entries[*number as usize]);
        self.find(handle).into_iter().chain(copies).map(|entry| self.location(entry)).collect()
    }

    /// Adds the blobs of a pack that an index file lists.
    pub fn add_pack(&mut self, id: PackId, blobs: &[PackedBlob]) {
        let pack = KnownPack { id, listed: true };
        let Some(number) = self.pack_numbers.get(&id) else { return self.add(pack, blobs) };
        self.packs[*number as usize].listed = true;
        // Its header may be known, or another index file lists it too, as a rule with the same blobs.
        let is_new =
            |blob: &&PackedBlob| !self.get_all(&blob.handle).iter().any(|at| at.pack == id && at.offset == blob.offset);
        let more: Vec<PackedBlob> = blobs.iter().filter(is_new).copied().collect();
        self.add(pack, &more);
    }

    /// Adds the blobs of a pack that no index file lists yet.
    pub(crate) fn add_unlisted_pack(&mut self, id: PackId, blobs: &[PackedBlob]) {
        if !self.has_pack(&id) {
            self.add(KnownPack { id, listed: false }, blobs);
        }
    }

    fn add(&mut self, pack: KnownPack, blobs: &[PackedBlob]) {
        let number = *self.pack_numbers.entry(pack.id).or_insert_with(|| {
            self.packs.push(pack);
            u32::try_from(self.packs.len() - 1).expect("two thousand million packs do not fit into memory")
        });
        self.entries.reserve(blobs.len());
        for blob in blobs {
            let entry = Entry {
                id: blob.handle.id,
                pack: number | if blob.handle.kind == BlobKind::Tree { TREE } else { 0 },
                offset: blob.offset,
                length: blob.length,
                uncompressed_length: blob.uncompressed_length.unwrap_or(0),
            };
            let place = u32::try_from(self.entries.len()).expect("four thousand million blobs do not fit into memory");
            self.entries.push(entry);
            self.put_into_table(place, pack.listed);
        }
    }

    /// Lets the table lead to this entry, unless it leads to one that is as good.
    fn put_into_table(&mut self, place: u32, listed: bool) {
        let handle = self.entries[place as usize].handle();
        let hash = self.hash(&handle);
        let (entries, hasher, packs) = (&self.entries, &self.hasher, &self.packs);
        let is_listed = |entry: &Entry| packs[entry.pack_number()].listed;
        match self.table.find_mut(hash, |&other| entries[other as usize].handle() == handle) {
            None => {
                self.table.insert_unique(hash, place, |&other| hasher.hash_one(entries[other as usize].handle()));
            }
            Some(known) if listed && !is_listed(&entries[*known as usize]) => {
                let copy = std::mem::replace(known, place);
                self.copies.entry(handle).or_default().push(copy);
            }
            Some(_) => self.copies.entry(handle).or_default().push(place),
        }
    }

    /// Returns the packs that are known.
    pub fn packs(&self) -> impl Iterator<Item = PackId> {
        self.packs.iter().map(|pack| pack.id)
    }

    /// Returns whether a pack is known.
    #[must_use]
    pub fn has_pack(&self, id: &PackId) -> bool {
        self.pack_numbers.contains_key(id)
    }

    /// Returns whether an index file lists a pack.
    #[must_use]
    pub fn lists_pack(&self, id: &PackId) -> bool {
        self.pack_numbers.get(id).is_some_and(|number| self.packs[*number as usize].listed)
    }

    /// Returns the number of places of blobs that are known, copies included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns whether no blob is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns how many bytes of sealed blobs of a kind are listed.
    #[must_use]
    pub fn stored(&self, kind: BlobKind) -> u64 {
        self.entries.iter().filter(|entry| entry.kind() == kind).map(|entry| u64::from(entry.length)).sum()
    }

    /// Returns how many bytes the contents of the blobs of a kind are.
    #[must_use]
    pub fn contents(&self, kind: BlobKind) -> u64 {
        let entries = self.entries.iter().filter(|entry| entry.kind() == kind);
        entries.map(|entry| self.location(entry).contents_length()).sum()
    }

    /// Returns how many bytes the contents of these data blobs are, as far as they are known.
    #[must_use]
    pub fn data_length(&self, blobs: &[BlobId]) -> u64 {
        let length =
            |id: &BlobId| self.get(&BlobHandle { kind: BlobKind::Data, id: *id }).map(|at| at.contents_length());
        blobs.iter().filter_map(length).fold(0, u64::saturating_add)
    }

    pub(crate) fn files(&self) -> &HashSet<IndexId> {
        &self.files
    }

    pub(crate) fn add_file(&mut self, id: IndexId) {
        self.files.insert(id);
    }

    fn find(&self, handle: &BlobHandle) -> Option<&Entry> {
        let number = self.table.find(self.hash(handle), |&number| self.is(number, handle))?;
        Some(&self.entries[*number as usize])
    }

    fn is(&self, number: u32, handle: &BlobHandle) -> bool {
        self.entries[number as usize].handle() == *handle
    }

    fn hash(&self, handle: &BlobHandle) -> u64 {
        self.hasher.hash_one(handle)
    }

    fn pack_of(&self, entry: &Entry) -> &KnownPack {
        &self.packs[entry.pack_number()]
    }

    fn location(&self, entry: &Entry) -> Location {
        Location {
            pack: self.pack_of(entry).id,
            offset: entry.offset,
            length: entry.length,
            uncompressed_length: (entry.uncompressed_length != 0).then_some(entry.uncompressed_length),
        }
    }
}

impl Entry {
    fn pack_number(&self) -> usize {
        (self.pack & !TREE) as usize
    }

    fn kind(&self) -> BlobKind {
        if self.pack & TREE == 0 { BlobKind::Data } else { BlobKind::Tree }
    }

    fn handle(&self) -> BlobHandle {
        BlobHandle { kind: self.kind(), id: self.id }
    }
}

#[cfg(test)]
mod tests;
