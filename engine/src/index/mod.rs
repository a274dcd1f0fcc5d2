//! The index: which pack holds a blob, and where in it.

mod file;

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
    packs: Vec<PackId>,
    pack_numbers: HashMap<PackId, u32>,
    entries: Vec<Entry>,
    table: HashTable<u32>,
    hasher: RandomState,
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
            hasher: RandomState::new(),
        }
    }
}

impl Index {
    /// Returns whether a blob is known; all 32 bytes of its id are compared.
    #[must_use]
    pub fn contains(&self, handle: &BlobHandle) -> bool {
        self.find(handle).is_some()
    }

    /// Returns where a blob lies, if it is known: the first place that was added.
    #[must_use]
    pub fn get(&self, handle: &BlobHandle) -> Option<Location> {
        self.find(handle).map(|entry| self.location(entry))
    }

    /// Returns every place where a blob lies: more than one if programs stored it at the same time.
    #[must_use]
    pub fn get_all(&self, handle: &BlobHandle) -> Vec<Location> {
        let hash = self.hash(handle);
        let same = |number: &u32| self.is(*number, handle);
        let first = self.table.find(hash, same).copied();
        let Some(first) = first else { return Vec::new() };
        // Copies are rare: they are not in the table and found by a search of all entries.
        let copies = self.entries.iter().enumerate().skip(first as usize + 1);
        let copies = copies.filter(|(_, entry)| entry.id == handle.id && entry.kind() == handle.kind);
        let mut all = vec![self.location(&self.entries[first as usize])];
        all.extend(copies.map(|(_, entry)| self.location(entry)));
        all
    }

    /// Adds the blobs of a pack.
    pub fn add_pack(&mut self, id: PackId, blobs: &[PackedBlob]) {
        let number = *self.pack_numbers.entry(id).or_insert_with(|| {
            self.packs.push(id);
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
            let hash = self.hash(&blob.handle);
            let (entries, hasher) = (&self.entries, &self.hasher);
            let known = self.table.find(hash, |&other| entries[other as usize].handle() == blob.handle).is_some();
            if !known {
                self.table.insert_unique(hash, place, |&other| hasher.hash_one(entries[other as usize].handle()));
            }
        }
    }

    /// Returns the packs that are listed.
    #[must_use]
    pub fn packs(&self) -> &[PackId] {
        &self.packs
    }

    /// Returns whether a pack is listed.
    #[must_use]
    pub fn has_pack(&self, id: &PackId) -> bool {
        self.pack_numbers.contains_key(id)
    }

    /// Returns the blobs of each pack, by pack and offset.
    #[must_use]
    pub fn by_pack(&self) -> HashMap<PackId, Vec<PackedBlob>> {
        let mut packs: HashMap<PackId, Vec<PackedBlob>> = HashMap::new();
        for entry in &self.entries {
            let location = self.location(entry);
            packs.entry(location.pack).or_default().push(PackedBlob {
                handle: entry.handle(),
                offset: location.offset,
                length: location.length,
                uncompressed_length: location.uncompressed_length,
            });
        }
        for blobs in packs.values_mut() {
            blobs.sort_by_key(|blob| (blob.offset, blob.handle));
            blobs.dedup();
        }
        packs
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

    /// Returns a copy without the blobs of packs for which `keep` says no.
    #[must_use]
    pub(crate) fn retain_packs(&self, keep: impl Fn(&PackId, u64) -> bool) -> Self {
        let mut kept = Self { files: self.files.clone(), ..Self::default() };
        let packs = self.by_pack();
        for id in &self.packs {
            let blobs = packs.get(id).map_or(&[][..], Vec::as_slice);
            let data = blobs.iter().map(|blob| u64::from(blob.offset) + u64::from(blob.length)).max().unwrap_or(0);
            if keep(id, data) {
                kept.add_pack(*id, blobs);
            }
        }
        kept
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

    fn location(&self, entry: &Entry) -> Location {
        Location {
            pack: self.packs[(entry.pack & !TREE) as usize],
            offset: entry.offset,
            length: entry.length,
            uncompressed_length: (entry.uncompressed_length != 0).then_some(entry.uncompressed_length),
        }
    }
}

impl Entry {
    fn kind(&self) -> BlobKind {
        if self.pack & TREE == 0 { BlobKind::Data } else { BlobKind::Tree }
    }

    fn handle(&self) -> BlobHandle {
        BlobHandle { kind: self.kind(), id: self.id }
    }
}
