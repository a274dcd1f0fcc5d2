//! The index seen by packs: what is in each, and which of them do not count.

use std::collections::{HashMap, HashSet};

use super::Index;
use crate::id::{BlobHandle, PackId};
use crate::monitor::PackedBlob;
use crate::pack::pack_overhead;

impl Index {
    /// Returns the blobs of each pack, by pack and offset.
    #[must_use]
    pub fn by_pack(&self) -> HashMap<PackId, Vec<PackedBlob>> {
        let mut packs: HashMap<PackId, Vec<PackedBlob>> = HashMap::new();
        for (pack, blob) in self.base.blobs().chain(self.recent.blobs()) {
            packs.entry(pack).or_default().push(blob);
        }
        for blobs in packs.values_mut() {
            blobs.sort_by_key(|blob| (blob.offset, blob.handle));
            blobs.dedup();
        }
        packs
    }

    /// Returns every blob with a pack it lies in.
    pub(crate) fn blobs(&self) -> impl Iterator<Item = (PackId, BlobHandle)> {
        self.base.blobs().chain(self.recent.blobs()).map(|(pack, blob)| (pack, blob.handle))
    }

    /// Returns the packs for which `keep` says no; it is given how long a pack must be to hold its blobs.
    pub(crate) fn packs_to_forget(&self, keep: impl Fn(&PackId, u64) -> bool) -> HashSet<PackId> {
        let mut more = self.recent.pack_lengths();
        let base = self.base.packs.iter().map(|pack| (pack.id, pack.length + more.remove(&pack.id).unwrap_or(0)));
        let mut lengths: Vec<(PackId, u64)> = base.collect();
        lengths.extend(more.into_iter().map(|(id, length)| (id, length + pack_overhead())));
        lengths.into_iter().filter(|(id, length)| !keep(id, *length)).map(|(id, _)| id).collect()
    }

    /// Forgets the blobs of these packs.
    pub(crate) fn forget_packs(&mut self, packs: &HashSet<PackId>) {
        self.base.forget(packs);
        self.recent = self.recent.without(packs);
    }

    /// Takes over from another index what no index file lists.
    pub(crate) fn add_unlisted_of(&mut self, other: &Self) {
        let mut packs: HashMap<PackId, Vec<PackedBlob>> = HashMap::new();
        if other.recent.packs().any(|(_, listed)| !listed) {
            other.recent.blobs().for_each(|(pack, blob)| packs.entry(pack).or_default().push(blob));
        }
        for (id, _) in other.recent.packs().filter(|(_, listed)| !listed) {
            self.add_unlisted_pack(id, packs.get(&id).map_or(&[][..], Vec::as_slice));
        }
    }
}
