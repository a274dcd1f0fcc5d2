//! The part of the index that grows: what was read or stored since the sorted part was made.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;

use super::base::Place;
use super::{Location, Sums};
use crate::id::{BlobHandle, BlobId, BlobKind, PackId};
use crate::monitor::PackedBlob;
use crate::pack::packed_length;

/// Blobs in a table that can be added to: 48 bytes a blob, and 4 to 10 for its place in the table.
#[derive(Debug, Default)]
pub(super) struct Recent {
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

/// The kind is the top bit of `pack`.
#[derive(Clone, Copy, Debug)]
struct Entry {
    id: BlobId,
    pack: u32,
    place: Place,
}

const TREE: u32 = 1 << 31;

impl Recent {
    /// Returns whether a blob is in a pack that an index file lists.
    pub(super) fn contains(&self, handle: &BlobHandle) -> bool {
        self.find(handle).is_some_and(|entry| self.pack_of(entry).listed)
    }

    /// Returns where a blob lies, in a listed pack rather than in another.
    pub(super) fn get(&self, handle: &BlobHandle) -> Option<Location> {
        self.find(handle).map(|entry| self.location(entry))
    }

    /// Returns every place where a blob lies.
    pub(super) fn get_all(&self, handle: &BlobHandle) -> impl Iterator<Item = Location> {
        let copies = self.copies.get(handle).into_iter().flatten().map(|number| &self.entries[*number as usize]);
        self.find(handle).into_iter().chain(copies).map(|entry| self.location(entry))
    }

    /// Adds the blobs of a pack that an index file lists.
    pub(super) fn add_listed(&mut self, id: PackId, blobs: &[PackedBlob]) {
        let pack = KnownPack { id, listed: true };
        let Some(number) = self.pack_numbers.get(&id) else { return self.add(pack, blobs) };
        self.packs[*number as usize].listed = true;
        // Its header may be known, or another index file lists it too, as a rule with the same blobs.
        let is_new =
            |blob: &&PackedBlob| !self.get_all(&blob.handle).any(|at| at.pack == id && at.offset == blob.offset);
        let more: Vec<PackedBlob> = blobs.iter().filter(is_new).copied().collect();
        self.add(pack, &more);
    }

    /// Adds the blobs of a pack that no index file lists yet.
    pub(super) fn add_unlisted(&mut self, id: PackId, blobs: &[PackedBlob]) {
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
            let tree = if blob.handle.kind == BlobKind::Tree { TREE } else { 0 };
            let entry = Entry { id: blob.handle.id, pack: number | tree, place: Place::of(blob) };
            let number = u32::try_from(self.entries.len()).expect("four thousand million blobs do not fit into memory");
            self.entries.push(entry);
            self.put_into_table(number, pack.listed);
        }
    }

    /// Lets the table lead to this entry, unless it leads to one that is as good.
    fn put_into_table(&mut self, number: u32, listed: bool) {
        let handle = self.entries[number as usize].handle();
        let hash = self.hasher.hash_one(handle);
        let (entries, hasher, packs) = (&self.entries, &self.hasher, &self.packs);
        let is_listed = |entry: &Entry| packs[entry.pack_number()].listed;
        match self.table.find_mut(hash, |&other| entries[other as usize].handle() == handle) {
            None => {
                self.table.insert_unique(hash, number, |&other| hasher.hash_one(entries[other as usize].handle()));
            }
            Some(known) if listed && !is_listed(&entries[*known as usize]) => {
                let copy = std::mem::replace(known, number);
                self.copies.entry(handle).or_default().push(copy);
            }
            Some(_) => self.copies.entry(handle).or_default().push(number),
        }
    }

    /// Returns the packs, and whether each is listed.
    pub(super) fn packs(&self) -> impl Iterator<Item = (PackId, bool)> {
        self.packs.iter().map(|pack| (pack.id, pack.listed))
    }

    pub(super) fn has_pack(&self, id: &PackId) -> bool {
        self.pack_numbers.contains_key(id)
    }

    pub(super) fn lists_pack(&self, id: &PackId) -> bool {
        self.pack_numbers.get(id).is_some_and(|number| self.packs[*number as usize].listed)
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn sums(&self, kind: BlobKind) -> Sums {
        let entries = self.entries.iter().filter(|entry| entry.handle().kind == kind);
        entries.fold(Sums::default(), |sums, entry| sums.with(&entry.place))
    }

    /// Returns the bytes that the blobs known of each pack take in it.
    pub(super) fn pack_lengths(&self) -> HashMap<PackId, u64> {
        let mut lengths: HashMap<PackId, u64> = self.packs.iter().map(|pack| (pack.id, 0)).collect();
        for entry in &self.entries {
            *lengths.entry(self.pack_of(entry).id).or_default() +=
                packed_length(entry.place.length, entry.place.uncompressed_length != 0);
        }
        lengths
    }

    /// Returns all blobs with their packs.
    pub(super) fn blobs(&self) -> impl Iterator<Item = (PackId, PackedBlob)> {
        self.entries.iter().map(|entry| (self.pack_of(entry).id, entry.place.packed(entry.handle())))
    }

    /// Returns a copy without the blobs of these packs.
    pub(super) fn without(&self, packs: &HashSet<PackId>) -> Self {
        let mut blobs: HashMap<PackId, Vec<PackedBlob>> = HashMap::new();
        self.blobs().for_each(|(pack, blob)| blobs.entry(pack).or_default().push(blob));
        let mut kept = Self::default();
        for pack in self.packs.iter().filter(|pack| !packs.contains(&pack.id)) {
            kept.add(*pack, blobs.get(&pack.id).map_or(&[][..], Vec::as_slice));
        }
        kept
    }

    fn find(&self, handle: &BlobHandle) -> Option<&Entry> {
        let is_it = |number: &u32| self.entries[*number as usize].handle() == *handle;
        let number = self.table.find(self.hasher.hash_one(handle), is_it)?;
        Some(&self.entries[*number as usize])
    }

    fn pack_of(&self, entry: &Entry) -> &KnownPack {
        &self.packs[entry.pack_number()]
    }

    fn location(&self, entry: &Entry) -> Location {
        entry.place.location(self.pack_of(entry).id)
    }
}

impl Entry {
    fn pack_number(&self) -> usize {
        (self.pack & !TREE) as usize
    }

    fn handle(&self) -> BlobHandle {
        let kind = if self.pack & TREE == 0 { BlobKind::Data } else { BlobKind::Tree };
        BlobHandle { kind, id: self.id }
    }
}
