//! How much snapshots hold, and how much of a repository that takes: restic's `stats`, its modes in one pass.
//!
//! Each tree is read once, however many snapshots and folders have it; how often it counts is added up afterwards.

use std::collections::{HashMap, HashSet};

use sha2::{Digest, Sha256};

use crate::blob::Opener;
use crate::error::Result;
use crate::id::{BlobHandle, BlobId, BlobKind, SnapshotId};
use crate::repository::Repository;
use crate::snapshot::Snapshot;
use crate::storage::{FileKind, FileName};
use crate::tree::NodeKind;

/// How much snapshots hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Snapshots.
    pub snapshots: u64,
    /// Files, folders and other entries, in each snapshot anew: what a restore of all would make.
    pub entries: u64,
    /// Files among them.
    pub files: u64,
    /// Bytes of files that a restore of all snapshots would write; further names of one file count once in each.
    pub restore_bytes: u64,
    /// Files that differ from each other in their contents.
    pub distinct_files: u64,
    /// Bytes of those.
    pub distinct_bytes: u64,
    /// Blobs that they need, trees included.
    pub blobs: u64,
    /// Bytes of those blobs before they were compressed and sealed.
    pub contents_bytes: u64,
    /// Bytes of those blobs as they are stored.
    pub stored_bytes: u64,
}

/// What one folder's tree holds.
#[derive(Default)]
struct Folder {
    entries: u64,
    files: u64,
    bytes: u64,
    /// Files with several names: device, inode and bytes.
    linked: Vec<(u64, u64, u64)>,
    folders: Vec<BlobId>,
}

/// Counts what these snapshots hold.
///
/// # Errors
/// [`Error::NotFound`](crate::Error::NotFound) for a snapshot that is not there; [`Error::Damaged`](crate::Error::Damaged)
/// for a tree that cannot be read; the storage's own.
pub fn stats(repository: &Repository, snapshots: &[SnapshotId]) -> Result<Stats> {
    repository.load_index()?;
    let mut counting = Counting::new(repository)?;
    for id in snapshots {
        let snapshot: Snapshot = repository.read_json(&FileName::new(FileKind::Snapshot, id.0))?;
        counting.read(snapshot.tree)?;
        counting.add(snapshot.tree);
    }
    Ok(counting.finish())
}

struct Counting<'a> {
    repository: &'a Repository,
    opener: Opener,
    folders: HashMap<BlobId, Folder>,
    data: HashSet<BlobId>,
    contents: HashSet<[u8; 32]>,
    stats: Stats,
}

impl<'a> Counting<'a> {
    fn new(repository: &'a Repository) -> Result<Self> {
        let opener = Opener::new(repository.blob_limits())?;
        let (folders, data, contents) = (HashMap::new(), HashSet::new(), HashSet::new());
        Ok(Self { repository, opener, folders, data, contents, stats: Stats::default() })
    }

    /// Reads the trees below one that were not read before.
    fn read(&mut self, top: BlobId) -> Result<()> {
        let mut waiting = vec![top];
        while let Some(id) = waiting.pop() {
            if self.folders.contains_key(&id) {
                continue;
            }
            let mut folder = Folder::default();
            for node in self.repository.read_tree(&mut self.opener, &id)?.nodes {
                folder.entries += 1;
                folder.folders.extend(node.subtree);
                if node.kind != NodeKind::File {
                    continue;
                }
                folder.files += 1;
                match node.links > 1 && node.inode != 0 {
                    true => folder.linked.push((node.device_id, node.inode, node.size)),
                    false => folder.bytes = folder.bytes.saturating_add(node.size),
                }
                let content = node.content.unwrap_or_default();
                let hash = content.iter().fold(Sha256::new(), |hash, blob| hash.chain_update(blob.0)).finalize();
                if self.contents.insert(hash.into()) {
                    self.stats.distinct_files += 1;
                    self.stats.distinct_bytes = self.stats.distinct_bytes.saturating_add(node.size);
                }
                self.data.extend(content);
            }
            waiting.extend(&folder.folders);
            self.folders.insert(id, folder);
        }
        Ok(())
    }

    /// Adds what a restore of a snapshot would make.
    fn add(&mut self, top: BlobId) {
        let (mut waiting, mut linked) = (vec![top], HashSet::new());
        let stats = &mut self.stats;
        stats.snapshots += 1;
        while let Some(folder) = waiting.pop().and_then(|id| self.folders.get(&id)) {
            stats.entries += folder.entries;
            stats.files += folder.files;
            stats.restore_bytes = stats.restore_bytes.saturating_add(folder.bytes);
            for (device, inode, bytes) in &folder.linked {
                let bytes = if linked.insert((*device, *inode)) { *bytes } else { 0 };
                stats.restore_bytes = stats.restore_bytes.saturating_add(bytes);
            }
            waiting.extend(&folder.folders);
        }
    }

    fn finish(mut self) -> Stats {
        let index = self.repository.index();
        let trees = self.folders.keys().map(|id| BlobHandle { kind: BlobKind::Tree, id: *id });
        let data = self.data.iter().map(|id| BlobHandle { kind: BlobKind::Data, id: *id });
        for at in trees.chain(data).filter_map(|handle| index.get(&handle)) {
            self.stats.blobs += 1;
            self.stats.contents_bytes = self.stats.contents_bytes.saturating_add(at.contents_length());
            self.stats.stored_bytes = self.stats.stored_bytes.saturating_add(at.length.into());
        }
        self.stats
    }
}
