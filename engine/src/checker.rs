//! Verifying: is everything there that snapshots need, and is it what was stored?
//!
//! Structure: every key, index, snapshot and tree is read, and every blob they name is looked for in packs that are
//! there and as long as they should be. All data: every pack is read, compared with its name, its header with the index,
//! and each blob with its id. What is affected is named by snapshot and path.

mod packs;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::blob::Opener;
use crate::control::Gate;
use crate::error::{Class, Error, Result};
use crate::id::{BlobHandle, BlobId, BlobKind, PackId, SnapshotId, sha256};
use crate::monitor::{ItemFailure, Monitor, PackedBlob};
use crate::repository::Repository;
use crate::snapshot::Snapshot;
use crate::storage::{FileKind, FileName};
use crate::tree::{Node, NodeKind, Tree};

/// What a verification is asked to do.
#[derive(Clone, Copy, Debug, Default)]
pub struct VerifyOptions {
    /// Read all data, not only the structure.
    pub read_data: bool,
    /// How many threads read; 0: as many as the machine runs at once.
    pub threads: usize,
}

/// What a verification looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VerifySummary {
    /// Snapshots.
    pub snapshots: u64,
    /// Packs.
    pub packs: u64,
    /// Blobs that the index lists.
    pub blobs: u64,
    /// Bytes of packs that were read.
    pub bytes: u64,
    /// Things that are wrong.
    pub failed: u64,
}

/// Verifies a repository. What is wrong is reported to the monitor, each item once.
///
/// # Errors
/// [`Error::Cancelled`] and [`Error::Suspended`] when the gate says so; the storage's own, when listing.
pub fn verify(
    repository: &Arc<Repository>,
    options: &VerifyOptions,
    gate: &Gate,
    monitor: &dyn Monitor,
) -> Result<VerifySummary> {
    let checker = Checker { repository, gate, monitor, bad: Mutex::default(), failed: AtomicU64::new(0) };
    checker.check_small_files()?;
    for (id, error) in repository.load_index()? {
        checker.wrong(&FileName::new(FileKind::Index, id.0), &error);
    }
    let packs = checker.check_packs()?;
    let mut summary = VerifySummary { packs: packs.len() as u64, ..VerifySummary::default() };
    if options.read_data {
        summary.bytes = checker.read_packs(&packs, options.threads)?;
    }
    summary.blobs = repository.index().len() as u64;
    summary.snapshots = checker.check_snapshots()?;
    summary.failed = checker.failed.load(Ordering::Relaxed);
    Ok(summary)
}

struct Checker<'a> {
    repository: &'a Repository,
    gate: &'a Gate,
    monitor: &'a dyn Monitor,
    /// Blobs that are listed but cannot be read.
    bad: Mutex<HashSet<BlobHandle>>,
    failed: AtomicU64,
}

/// A pack that is there, and what the index says is in it.
struct Pack {
    id: PackId,
    length: u64,
    blobs: Vec<PackedBlob>,
}

impl Checker<'_> {
    fn wrong(&self, name: &FileName, error: &Error) {
        self.report(ItemFailure::new(Path::new(&name.to_string()), error));
    }

    fn report(&self, failure: ItemFailure) {
        self.failed.fetch_add(1, Ordering::Relaxed);
        self.monitor.item_failed(failure);
    }

    /// Checks that key and lock files are what they were written as.
    fn check_small_files(&self) -> Result<()> {
        for kind in [FileKind::Key, FileKind::Lock] {
            for (name, _) in self.repository.storage().list(kind)? {
                let bytes = match self.repository.storage().read(&name) {
                    Ok(bytes) => bytes,
                    // Locks come and go.
                    Err(Error::NotFound { .. }) => continue,
                    Err(error) => {
                        self.wrong(&name, &error);
                        continue;
                    }
                };
                if sha256(&bytes) != name.id {
                    let what = format!("{name} in {}", self.repository.location());
                    self.wrong(&name, &Error::damaged(what, "its contents do not match its name"));
                }
            }
        }
        Ok(())
    }

    /// Compares the packs that are there with those that are listed.
    fn check_packs(&self) -> Result<Vec<Pack>> {
        let there: HashMap<PackId, u64> = self
            .repository
            .storage()
            .list(FileKind::Pack)?
            .into_iter()
            .map(|(name, length)| (PackId(name.id), length))
            .collect();
        let listed = self.repository.index().by_pack();
        let unlisted = there.keys().filter(|id| !listed.contains_key(id)).count();
        if unlisted > 0 {
            self.monitor
                .notice(&format!("{unlisted} packs are in no index: left by interrupted backups, and harmless."));
        }
        let mut packs = Vec::with_capacity(listed.len());
        for (id, blobs) in listed {
            let end = blobs.iter().map(|blob| u64::from(blob.offset) + u64::from(blob.length)).max().unwrap_or(0);
            let problem = match there.get(&id) {
                None => "it is missing",
                Some(length) if *length < end => "it is shorter than what is listed in it",
                Some(length) => {
                    packs.push(Pack { id, length: *length, blobs });
                    continue;
                }
            };
            self.pack_is_bad(&id, &blobs, problem);
        }
        packs.sort_by_key(|pack| pack.id);
        self.monitor.total(0, packs.iter().map(|pack| pack.length).sum());
        Ok(packs)
    }

    fn pack_is_bad(&self, id: &PackId, blobs: &[PackedBlob], problem: &str) {
        let name = FileName::new(FileKind::Pack, id.0);
        self.wrong(&name, &Error::damaged(format!("{name} in {}", self.repository.location()), problem));
        self.guard().extend(blobs.iter().map(|blob| blob.handle));
    }

    /// Checks that every tree can be read and every blob is there; newest snapshots first.
    fn check_snapshots(&self) -> Result<u64> {
        let found = self.repository.snapshots()?;
        for (id, error) in &found.damaged {
            self.wrong(&FileName::new(FileKind::Snapshot, id.0), error);
        }
        let mut seen = HashSet::new();
        let mut opener = Opener::new()?;
        for (id, snapshot) in found.list.iter().rev() {
            self.check_snapshot(*id, snapshot, &mut seen, &mut opener)?;
        }
        Ok((found.list.len() + found.damaged.len()) as u64)
    }

    fn check_snapshot(
        &self,
        id: SnapshotId,
        snapshot: &Snapshot,
        seen: &mut HashSet<BlobId>,
        opener: &mut Opener,
    ) -> Result<()> {
        let mut stack = vec![(snapshot.tree, PathBuf::from("/"))];
        while let Some((tree, path)) = stack.pop() {
            if !seen.insert(tree) {
                continue;
            }
            self.gate.check()?;
            let nodes = match self.repository.read_tree(opener, &tree) {
                Ok(Tree { nodes }) => nodes,
                Err(error) => {
                    self.affected(id, &path, &error.to_string());
                    continue;
                }
            };
            for node in nodes {
                self.check_node(id, &path, &node, &mut stack);
            }
        }
        Ok(())
    }

    fn check_node(&self, id: SnapshotId, folder: &Path, node: &Node, stack: &mut Vec<(BlobId, PathBuf)>) {
        use std::os::unix::ffi::OsStrExt;
        let path = folder.join(std::ffi::OsStr::from_bytes(&node.name));
        if !node.has_safe_name() {
            return self.affected(id, folder, &format!("it has an entry with the name {:?}", path.file_name()));
        }
        match (node.kind, node.subtree) {
            (NodeKind::Dir, Some(tree)) => stack.push((tree, path)),
            (NodeKind::Dir, None) => self.affected(id, &path, "it names no tree"),
            _ => {
                let bad = node.content.iter().flatten().find(|blob| self.is_bad(**blob));
                if let Some(blob) = bad {
                    self.affected(id, &path, &format!("its data blob {blob} is missing or damaged"));
                }
            }
        }
    }

    fn is_bad(&self, id: BlobId) -> bool {
        let handle = BlobHandle { kind: BlobKind::Data, id };
        if !self.repository.index().contains(&handle) {
            return true;
        }
        if !self.guard().contains(&handle) {
            return false;
        }
        // One of its places is bad; another may be good.
        Opener::new().and_then(|mut opener| self.repository.read_blob(&mut opener, &handle)).is_err()
    }

    /// Reports something that a restore would miss.
    fn affected(&self, id: SnapshotId, path: &Path, problem: &str) {
        let path = PathBuf::from(format!("{}:{}", id.short(), path.display()));
        let message = format!("{} cannot be restored whole: {problem}", path.display());
        let mut failure = ItemFailure::with(&path, Class::Damaged, message);
        failure.advice =
            "If the file is still in its place, the next backup stores it again; older snapshots may have it.".into();
        self.report(failure);
    }

    fn guard(&self) -> MutexGuard<'_, HashSet<BlobHandle>> {
        // A set of ids: a panic elsewhere cannot leave it half changed.
        self.bad.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
