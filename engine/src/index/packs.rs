//! The index seen by packs: what is in each, and which of them do not count.

use std::collections::{HashMap, HashSet};

use super::Index;
use crate::id::PackId;
use crate::monitor::PackedBlob;
use crate::pack::{pack_overhead, packed_length};

impl Index {
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

    /// Returns the packs for which `keep` says no; it is given how long a pack must be to hold its blobs.
    pub(crate) fn packs_to_forget(&self, keep: impl Fn(&PackId, u64) -> bool) -> HashSet<PackId> {
        let mut lengths = vec![pack_overhead(); self.packs.len()];
        for entry in &self.entries {
            lengths[entry.pack_number()] += packed_length(entry.length, entry.uncompressed_length != 0);
        }
        let packs = self.packs.iter().zip(lengths).filter(|(pack, length)| !keep(&pack.id, *length));
        packs.map(|(pack, _)| pack.id).collect()
    }

    /// Returns a copy without the blobs of these packs.
    pub(crate) fn without(&self, packs: &HashSet<PackId>) -> Self {
        let mut kept = Self { files: self.files.clone(), ..Self::default() };
        let blobs = self.by_pack();
        for pack in self.packs.iter().filter(|pack| !packs.contains(&pack.id)) {
            kept.add(*pack, blobs.get(&pack.id).map_or(&[][..], Vec::as_slice));
        }
        kept
    }

    /// Takes over from another index what no index file lists.
    pub(crate) fn add_unlisted_of(&mut self, other: &Self) {
        let packs = if other.packs.iter().all(|pack| pack.listed) { HashMap::new() } else { other.by_pack() };
        for pack in other.packs.iter().filter(|pack| !pack.listed) {
            self.add_unlisted_pack(pack.id, packs.get(&pack.id).map_or(&[][..], Vec::as_slice));
        }
    }
}
