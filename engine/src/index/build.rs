//! Making the sorted part of the index.

use std::collections::HashMap;

use super::Sums;
use super::base::{Base, BasePack, Column, Place};
use crate::id::{BlobKind, PackId};
use crate::monitor::PackedBlob;
use crate::pack::packed_length;

/// Collects blobs in any order: 48 bytes a blob.
#[derive(Default)]
pub(super) struct Builder {
    packs: Vec<PackId>,
    numbers: HashMap<PackId, u32>,
    data: Vec<Row>,
    trees: Vec<Row>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    id: [u8; 32],
    pack: u32,
    place: Place,
}

impl Builder {
    /// Adds blobs of a pack; what was added before may be among them.
    pub(super) fn add(&mut self, pack: PackId, blobs: impl IntoIterator<Item = PackedBlob>) {
        let packs = &mut self.packs;
        let pack = *self.numbers.entry(pack).or_insert_with(|| {
            packs.push(pack);
            u32::try_from(packs.len() - 1).expect("four thousand million packs do not fit into memory")
        });
        for blob in blobs {
            let rows = match blob.handle.kind {
                BlobKind::Data => &mut self.data,
                BlobKind::Tree => &mut self.trees,
            };
            rows.push(Row { id: blob.handle.id.0, pack, place: Place::of(&blob) });
        }
    }

    /// Adds what is sorted already.
    pub(super) fn add_base(&mut self, base: &Base) {
        base.packs.iter().for_each(|pack| self.add(pack.id, []));
        base.blobs().for_each(|(pack, blob)| self.add(pack, [blob]));
    }

    /// Sorts it.
    pub(super) fn finish(mut self) -> Base {
        drop(std::mem::take(&mut self.numbers));
        let mut order: Vec<u32> = (0..).take(self.packs.len()).collect();
        order.sort_unstable_by_key(|number| self.packs[*number as usize]);
        let mut sorted = vec![0; order.len()];
        for (place, number) in (0_u32..).zip(&order) {
            sorted[*number as usize] = place;
        }
        let mut packs: Vec<BasePack> = order.iter().map(|number| BasePack::new(self.packs[*number as usize])).collect();
        let mut column = |mut rows: Vec<Row>| {
            rows.iter_mut().for_each(|row| row.pack = sorted[row.pack as usize]);
            rows.sort_unstable();
            rows.dedup();
            for row in &rows {
                packs[row.pack as usize].length += packed_length(row.place.length, row.place.uncompressed_length != 0);
            }
            into_column(&rows)
        };
        let (data, trees) = (column(self.data), column(self.trees));
        Base { packs, data, trees }
    }
}

fn into_column(rows: &[Row]) -> Column {
    let sums = rows.iter().fold(Sums::default(), |sums, row| sums.with(&row.place));
    let places = rows.iter().map(|row| row.place).collect();
    Column::new(rows.iter().map(|row| row.id).collect(), rows.iter().map(|row| row.pack).collect(), places, sums)
}
