//! One snapshot: every tree in it and every blob that it names is read.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::packs::Reader;
use super::queue::Queue;
use super::{Checker, VerifySummary};
use crate::blob::Opener;
use crate::error::{Error, Result};
use crate::id::{BlobHandle, BlobId, BlobKind, PackId, SnapshotId};
use crate::limits::DEPTH_MAX;
use crate::monitor::{PackedBlob, Progress};
use crate::snapshot::SnapshotList;
use crate::storage::{FileKind, FileName};

/// What a snapshot names.
#[derive(Default)]
struct Needed {
    data: HashSet<BlobId>,
    /// Files, and their bytes, in trees that are there more than once only once.
    files: u64,
    bytes: u64,
}

/// The blobs of one pack.
type Wanted = (PackId, Vec<PackedBlob>);

impl Checker<'_> {
    /// Reads all that a snapshot names, and compares it with the files it was made of if that is asked for.
    pub(super) fn check_one(&self, id: SnapshotId) -> Result<VerifySummary> {
        let snapshot = self.repository.read_json(&FileName::new(FileKind::Snapshot, id.0))?;
        for (id, error) in self.repository.read_index_again()? {
            self.wrong(&FileName::new(FileKind::Index, id.0), &error);
        }
        let list = SnapshotList { list: vec![(id, snapshot)], damaged: Vec::new() };
        let Needed { data, files, bytes } = self.needed(list.list[0].1.tree)?;
        let wanted = self.by_pack(&data);
        let stored: u64 = wanted.iter().flat_map(|(_, blobs)| blobs).map(|blob| u64::from(blob.length)).sum();
        let source = if self.options.source.is_some() { bytes } else { 0 };
        self.monitor.total(files, stored.saturating_add(source));
        self.read_blobs(&wanted)?;
        let snapshots = self.check_snapshots(&list)?;
        let mut summary = VerifySummary { snapshots, packs: wanted.len() as u64, ..VerifySummary::default() };
        (summary.packs_read, summary.bytes) = (summary.packs, stored);
        if let Some(options) = &self.options.source {
            summary.source = Some(self.compare_source(id, &list.list[0].1, options)?);
        }
        Ok(summary)
    }

    /// Returns what a tree and those in it name. What cannot be read is reported later, where it is missed.
    fn needed(&self, tree: BlobId) -> Result<Needed> {
        let queue = Queue::default();
        queue.add((tree, PathBuf::from("/")));
        let all = Mutex::new(Needed::default());
        self.on_threads(|| {
            let mut opener = Opener::new(self.repository.blob_limits())?;
            while let Some(mut turn) = queue.next() {
                self.gate.check()?;
                self.is_known(&BlobHandle { kind: BlobKind::Tree, id: turn.tree })?;
                let _held = self.repository.hold_tree(self.gate.memory(), &turn.tree);
                let Ok(tree) = self.repository.read_tree(&mut opener, &turn.tree) else { continue };
                if turn.path.components().count() > DEPTH_MAX {
                    continue;
                }
                for node in &tree.nodes {
                    turn.found.extend(node.subtree.map(|tree| (tree, turn.path.join("."))));
                    for id in node.content.iter().flatten() {
                        self.is_known(&BlobHandle { kind: BlobKind::Data, id: *id })?;
                    }
                }
                // Only counts and ids are added: a panic elsewhere leaves nothing half changed.
                let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
                for node in tree.nodes {
                    all.files += u64::from(node.kind == crate::tree::NodeKind::File);
                    all.bytes = all.bytes.saturating_add(node.size);
                    all.data.extend(node.content.into_iter().flatten());
                }
            }
            Ok(())
        })?;
        Ok(all.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns where these blobs lie, pack by pack and in the order in which they lie there.
    fn by_pack(&self, data: &HashSet<BlobId>) -> Vec<Wanted> {
        let mut packs: HashMap<PackId, Vec<PackedBlob>> = HashMap::new();
        for id in data {
            let handle = BlobHandle { kind: BlobKind::Data, id: *id };
            if let Some(at) = self.repository.index().get(&handle) {
                let (offset, length, uncompressed_length) = (at.offset, at.length, at.uncompressed_length);
                packs.entry(at.pack).or_default().push(PackedBlob { handle, offset, length, uncompressed_length });
            }
        }
        let mut packs: Vec<Wanted> = packs.into_iter().collect();
        packs.iter_mut().for_each(|(_, blobs)| blobs.sort_by_key(|blob| blob.offset));
        packs.sort_by_key(|(id, _)| *id);
        packs
    }

    fn read_blobs(&self, wanted: &[Wanted]) -> Result<()> {
        let next = AtomicUsize::new(0);
        self.on_threads(|| {
            let mut reader = Reader::new(self)?;
            while let Some((pack, blobs)) = wanted.get(next.fetch_add(1, Ordering::Relaxed)) {
                for blob in blobs {
                    self.gate.check()?;
                    reader.make_room(0, std::slice::from_ref(blob));
                    self.read_one(*pack, blob, &mut reader.opener)?;
                    self.monitor.progress(&Progress { bytes: blob.length.into(), ..Progress::default() });
                }
            }
            Ok(())
        })
    }

    fn read_one(&self, pack: PackId, blob: &PackedBlob, opener: &mut Opener) -> Result<()> {
        match self.open(pack, blob, None, opener) {
            Ok(()) => Ok(()),
            Err(error @ (Error::Cancelled | Error::Suspended)) => Err(error),
            Err(error) => {
                self.wrong(&FileName::new(FileKind::Pack, pack.0), &error);
                self.bad([blob.handle]);
                Ok(())
            }
        }
    }
}
