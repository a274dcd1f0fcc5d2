//! Which bytes of which packs a batch of files needs, in the order in which they are read. Pure.

use std::collections::HashMap;

use crate::blob::Opener;
use crate::id::{BlobHandle, BlobId, BlobKind, PackId};
use crate::index::Location;

/// The most bytes that are read at once; a larger blob is read alone.
const READ_MAX: u64 = 4 * 1024 * 1024;

/// The least that a range may be cut to, so that many threads have work: below it a request costs more than its bytes.
const READ_MIN: u64 = 256 * 1024;

/// How many ranges each thread gets at least, if there is enough to read: the fewer, the longer the others wait for the
/// last one.
const READS_A_THREAD: u64 = 8;

/// Unneeded bytes between two blobs that are read along rather than skipped.
const GAP_MAX: u64 = 64 * 1024;

/// One read from a pack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Read {
    pub(crate) pack: PackId,
    pub(crate) offset: u64,
    pub(crate) length: u64,
    pub(crate) blobs: Vec<NeededBlob>,
}

/// A blob, and where its contents go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NeededBlob {
    pub(crate) handle: BlobHandle,
    pub(crate) location: Location,
    pub(crate) uses: Vec<Use>,
}

/// A place in a file of the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Use {
    /// Position of the file in the batch.
    pub(crate) file: usize,
    /// Where in the file, in bytes.
    pub(crate) offset: u64,
}

impl Read {
    /// Returns how much memory it takes to read it into a buffer of this capacity and to open what is in it, in bytes.
    pub(crate) fn memory(&self, capacity: usize, opener: &Opener) -> usize {
        let lengths = |blob: &NeededBlob| (blob.location.length, blob.location.uncompressed_length);
        let range = usize::try_from(self.length).unwrap_or(usize::MAX).max(capacity);
        range.saturating_add(opener.memory(self.blobs.iter().map(lengths)))
    }
}

/// Gathers what a batch needs.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    blobs: HashMap<BlobId, (Location, Vec<Use>)>,
}

impl Plan {
    /// Adds a place that a blob goes to.
    pub(crate) fn add(&mut self, id: BlobId, location: Location, place: Use) {
        self.blobs.entry(id).or_insert_with(|| (location, Vec::new())).1.push(place);
    }

    /// Returns how many blobs are needed.
    pub(crate) fn len(&self) -> usize {
        self.blobs.len()
    }

    /// Returns the reads for a number of threads, by pack and offset, each range once.
    pub(crate) fn reads(self, threads: usize) -> Vec<Read> {
        let all: u64 = self.blobs.values().map(|(location, _)| u64::from(location.length)).sum();
        let shared = (all / (threads as u64 * READS_A_THREAD).max(1)).clamp(READ_MIN, READ_MAX);
        // One thread waits for nobody.
        let most = if threads > 1 { shared } else { READ_MAX };
        let needed = |(id, (location, uses))| {
            let handle = BlobHandle { kind: BlobKind::Data, id };
            NeededBlob { handle, location, uses }
        };
        let mut blobs: Vec<NeededBlob> = self.blobs.into_iter().map(needed).collect();
        blobs.sort_by_key(|blob| (blob.location.pack, blob.location.offset));
        let mut reads: Vec<Read> = Vec::new();
        for blob in blobs {
            let offset = u64::from(blob.location.offset);
            let end = offset + u64::from(blob.location.length);
            match reads.last_mut() {
                Some(read)
                    if read.pack == blob.location.pack
                        && offset <= read.offset + read.length + GAP_MAX
                        && end - read.offset <= most =>
                {
                    read.length = read.length.max(end - read.offset);
                    read.blobs.push(blob);
                }
                _ => reads.push(Read { pack: blob.location.pack, offset, length: end - offset, blobs: vec![blob] }),
            }
        }
        reads
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn location(pack: u8, offset: u32, length: u32) -> Location {
        Location { pack: PackId([pack; 32]), offset, length, uncompressed_length: None }
    }

    fn plan(places: &[(u8, u32, u32)]) -> Vec<(u8, u64, u64)> {
        let mut plan = Plan::default();
        for (number, (pack, offset, length)) in places.iter().enumerate() {
            let id = BlobId::of(&[pack.to_le_bytes().as_slice(), &offset.to_le_bytes()].concat());
            plan.add(id, location(*pack, *offset, *length), Use { file: number, offset: 0 });
        }
        plan.reads(1).iter().map(|read| (read.pack.0[0], read.offset, read.length)).collect()
    }

    #[test]
    fn neighbours_are_read_at_once_and_strangers_are_not() {
        assert_eq!(plan(&[(1, 100, 50), (1, 0, 100), (2, 0, 10)]), [(1, 0, 150), (2, 0, 10)]);
        assert_eq!(plan(&[(1, 0, 10), (1, 1_000_000, 10)]), [(1, 0, 10), (1, 1_000_000, 10)]);
    }

    #[test]
    fn a_read_is_bounded_but_a_large_blob_is_whole() {
        let large = 3 * 1024 * 1024;
        assert_eq!(plan(&[(1, 0, large), (1, large, large)]).len(), 2);
        assert_eq!(plan(&[(1, 0, 9 * 1024 * 1024)]), [(1, 0, 9 * 1024 * 1024)]);
    }

    #[test]
    fn a_little_is_shared_out_among_the_threads() {
        let mut plan = Plan::default();
        for number in 0..64 {
            let id = BlobId::of(&[number]);
            plan.add(id, location(1, u32::from(number) * 64 * 1024, 64 * 1024), Use { file: 0, offset: 0 });
        }
        let lengths = |plan: &Plan, threads| {
            let plan = Plan { blobs: plan.blobs.clone() };
            plan.reads(threads).iter().map(|read| read.length).collect::<Vec<_>>()
        };
        assert_eq!(lengths(&plan, 1), [READ_MAX]);
        assert_eq!(lengths(&plan, 2), [256 * 1024; 16]);
        assert_eq!(lengths(&plan, 16), [256 * 1024; 16], "not less than a request is worth");
    }

    #[test]
    fn a_blob_that_two_files_need_is_read_once() {
        let mut plan = Plan::default();
        let id = BlobId::of(b"x");
        plan.add(id, location(1, 0, 10), Use { file: 0, offset: 0 });
        plan.add(id, location(1, 0, 10), Use { file: 1, offset: 5 });
        let reads = plan.reads(1);
        assert_eq!((reads.len(), reads[0].blobs[0].uses.len()), (1, 2));
    }
}
