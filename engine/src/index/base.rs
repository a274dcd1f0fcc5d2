//! The sorted part of the index: what index files list, found by the first bits of a blob's id.
//!
//! Ids are spread evenly, so a table of starts leads to some eight neighbours, and the bits that follow to the blob
//! among them.

use std::collections::HashSet;
use std::ops::Range;

use super::{Location, Sums};
use crate::id::{BlobHandle, BlobId, BlobKind, PackId};
use crate::monitor::PackedBlob;
use crate::pack::pack_overhead;

/// How many blobs share a start, on average.
const NEIGHBOURS: usize = 8;

/// Among so many ids at most one is looked for where its bits say; eight on average are never as many.
const FEW: usize = 64;

/// Where a blob lies in its pack; `uncompressed_length` is 0 for one that is not compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) offset: u32,
    pub(super) length: u32,
    pub(super) uncompressed_length: u32,
}

/// Every blob of some index files, in the order of ids: 36.5 bytes a blob, and 12 more where its place is kept.
#[derive(Debug, Default)]
pub(super) struct Base {
    /// In the order of their ids.
    pub(super) packs: Vec<BasePack>,
    /// The columns of data and of trees.
    pub(super) data: Column,
    pub(super) trees: Column,
}

/// A pack that an index file lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BasePack {
    pub(super) id: PackId,
    /// How long it must be to hold its blobs, in bytes.
    pub(super) length: u64,
}

/// Blobs of one kind, in the order of ids.
#[derive(Debug, Default)]
pub(super) struct Column {
    pub(super) ids: Vec<[u8; 32]>,
    /// The number of each one's pack.
    pub(super) packs: Vec<u32>,
    /// Where each one lies, if that is kept.
    pub(super) places: Vec<Place>,
    pub(super) sums: Sums,
    /// Where the ids begin whose first bits are this number.
    starts: Vec<u32>,
    shift: u32,
}

impl Place {
    pub(super) fn of(blob: &PackedBlob) -> Self {
        let uncompressed_length = blob.uncompressed_length.unwrap_or(0);
        Self { offset: blob.offset, length: blob.length, uncompressed_length }
    }

    pub(super) fn location(self, pack: PackId) -> Location {
        let uncompressed_length = (self.uncompressed_length != 0).then_some(self.uncompressed_length);
        Location { pack, offset: self.offset, length: self.length, uncompressed_length }
    }

    pub(super) fn packed(self, handle: BlobHandle) -> PackedBlob {
        let uncompressed_length = (self.uncompressed_length != 0).then_some(self.uncompressed_length);
        PackedBlob { handle, offset: self.offset, length: self.length, uncompressed_length }
    }
}

impl Column {
    /// Makes a column of ids in order, their packs, and their places unless those are not kept.
    pub(super) fn new(ids: Vec<[u8; 32]>, packs: Vec<u32>, places: Vec<Place>, sums: Sums) -> Self {
        let mut column = Self { ids, packs, places, sums, ..Self::default() };
        column.find_starts();
        column
    }

    fn find_starts(&mut self) {
        let bits = (self.ids.len() / NEIGHBOURS).max(1).ilog2().min(28);
        self.shift = 64 - bits;
        self.starts = Vec::with_capacity((1 << bits) + 1);
        for (number, id) in self.ids.iter().enumerate() {
            let number = u32::try_from(number).expect("four thousand million blobs do not fit into memory");
            self.starts.resize(self.starts.len().max(first_bits(id, self.shift) + 1), number);
        }
        let end = u32::try_from(self.ids.len()).expect("as above");
        self.starts.resize((1 << bits) + 1, end);
    }

    /// Returns the numbers of a blob's places.
    fn find(&self, id: &BlobId) -> Range<usize> {
        let bucket = first_bits(&id.0, self.shift);
        let bounds = self.starts.get(bucket).zip(self.starts.get(bucket + 1));
        let Some((&start, &end)) = bounds else { return 0..0 };
        let ids = &self.ids[start as usize..end as usize];
        let first = first_of(ids, &id.0, self.shift);
        let count = ids[first..].iter().take_while(|other| **other == id.0).count();
        let first = start as usize + first;
        first..first + count
    }

    /// Keeps only which blobs there are.
    pub(super) fn drop_places(&mut self) {
        self.places = Vec::new();
    }

    fn is_slim(&self) -> bool {
        self.places.len() < self.ids.len()
    }
}

/// Returns where an id is, or would be, among neighbours in order. Ids are spread evenly, so their next bits tell almost
/// where: that costs one look into memory in place of three. A forged index may have any ids, and then they are halved.
fn first_of(ids: &[[u8; 32]], id: &[u8; 32], shift: u32) -> usize {
    if ids.len() > FEW {
        return ids.partition_point(|other| other < id);
    }
    let prefix = u64::from_be_bytes([id[0], id[1], id[2], id[3], id[4], id[5], id[6], id[7]]);
    let next = prefix.checked_shl(64 - shift).unwrap_or(prefix) >> 32;
    let mut at = usize::try_from((next * ids.len() as u64) >> 32).unwrap_or(0);
    while at > 0 && ids[at - 1] >= *id {
        at -= 1;
    }
    while at < ids.len() && ids[at] < *id {
        at += 1;
    }
    at
}

/// Returns the bits of an id that lead to its start; a shift by 64 leaves none.
fn first_bits(id: &[u8; 32], shift: u32) -> usize {
    let first = u64::from_be_bytes([id[0], id[1], id[2], id[3], id[4], id[5], id[6], id[7]]);
    usize::try_from(first.checked_shr(shift).unwrap_or(0)).unwrap_or(usize::MAX)
}

impl Base {
    pub(super) fn column(&self, kind: BlobKind) -> &Column {
        match kind {
            BlobKind::Data => &self.data,
            BlobKind::Tree => &self.trees,
        }
    }

    pub(super) fn contains(&self, handle: &BlobHandle) -> bool {
        !self.column(handle.kind).find(&handle.id).is_empty()
    }

    /// Returns every place where a blob lies.
    ///
    /// # Panics
    /// If it is data and the places of data are not kept.
    pub(super) fn get_all(&self, handle: &BlobHandle) -> impl Iterator<Item = Location> {
        let column = self.column(handle.kind);
        let found = column.find(&handle.id);
        assert!(found.is_empty() || !column.is_slim(), "this index was read to know what there is, not where");
        found.map(|number| column.places[number].location(self.packs[column.packs[number] as usize].id))
    }

    /// Returns whether a blob is known to lie in this pack.
    pub(super) fn has_in(&self, handle: &BlobHandle, pack: &PackId) -> bool {
        let column = self.column(handle.kind);
        column.find(&handle.id).any(|number| self.packs[column.packs[number] as usize].id == *pack)
    }

    pub(super) fn has_pack(&self, id: &PackId) -> bool {
        self.packs.binary_search_by(|pack| pack.id.cmp(id)).is_ok()
    }

    pub(super) fn len(&self) -> usize {
        self.data.ids.len() + self.trees.ids.len()
    }

    pub(super) fn is_slim(&self) -> bool {
        self.data.is_slim()
    }

    /// Returns how many bytes of memory it takes.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        let column = |column: &Column| {
            let places = column.places.capacity() * size_of::<Place>();
            32 * column.ids.capacity() + 4 * (column.packs.capacity() + column.starts.capacity()) + places
        };
        self.packs.capacity() * size_of::<BasePack>() + column(&self.data) + column(&self.trees)
    }

    /// Returns all blobs with their packs.
    ///
    /// # Panics
    /// If places are not kept.
    pub(super) fn blobs(&self) -> impl Iterator<Item = (PackId, PackedBlob)> {
        assert!(!self.is_slim(), "this index was read to know what there is, not where");
        [BlobKind::Data, BlobKind::Tree].into_iter().flat_map(move |kind| {
            let column = self.column(kind);
            let blob =
                move |number: usize| column.places[number].packed(BlobHandle { kind, id: BlobId(column.ids[number]) });
            (0..column.ids.len()).map(move |number| (self.packs[column.packs[number] as usize].id, blob(number)))
        })
    }

    /// Forgets the blobs of these packs.
    pub(super) fn forget(&mut self, gone: &HashSet<PackId>) {
        let keeps: Vec<bool> = self.packs.iter().map(|pack| !gone.contains(&pack.id)).collect();
        for column in [&mut self.data, &mut self.trees] {
            let slim = column.is_slim();
            let kept: Vec<bool> = column.packs.iter().map(|pack| keeps[*pack as usize]).collect();
            retain(&mut column.ids, &kept);
            retain(&mut column.packs, &kept);
            if !slim {
                retain(&mut column.places, &kept);
                column.sums = column.places.iter().fold(Sums::default(), Sums::with);
            }
            column.find_starts();
        }
        let numbers: Vec<u32> = keeps
            .iter()
            .scan(0, |next, keep| {
                let number = *next;
                *next += u32::from(*keep);
                Some(number)
            })
            .collect();
        for column in [&mut self.data, &mut self.trees] {
            column.packs.iter_mut().for_each(|pack| *pack = numbers[*pack as usize]);
        }
        retain(&mut self.packs, &keeps);
    }
}

impl BasePack {
    pub(super) fn new(id: PackId) -> Self {
        Self { id, length: pack_overhead() }
    }
}

/// Keeps the items whose number says so.
fn retain<T>(items: &mut Vec<T>, kept: &[bool]) {
    let mut number = 0;
    items.retain(|_| {
        number += 1;
        kept[number - 1]
    });
}
