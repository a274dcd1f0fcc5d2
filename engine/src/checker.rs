//! Verifying: is everything there that snapshots need, and is it what was stored?
//!
//! Structure: every key, index, snapshot and tree is read, and every blob they name is looked for in packs that are
//! there and as long as they should be. All data: every pack is read, compared with its name, its header with the index,
//! and each blob with its id. What is affected is named by snapshot and path.

mod packs;
mod queue;
mod snapshots;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use crate::control::Gate;
use crate::error::{Error, Result};
use crate::id::{BlobHandle, PackId, sha256};
use crate::monitor::{ItemFailure, Monitor, PackedBlob};
use crate::pack::pack_length;
use crate::repository::Repository;
use crate::storage::{FileKind, FileName};

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
    let bad = RwLock::default();
    let read_data = options.read_data;
    let threads = match options.threads {
        0 => std::thread::available_parallelism().map_or(2, usize::from),
        threads => threads,
    };
    let (unlisted, failed) = (Unlisted::default(), AtomicU64::new(0));
    let checker = Checker { repository, gate, monitor, bad, read_data, threads, unlisted, failed };
    checker.check_small_files()?;
    // In the opposite order of a backup's writing, so that one that runs meanwhile does not look like damage.
    let snapshots = repository.snapshots()?;
    for (id, error) in repository.read_index_again()? {
        checker.wrong(&FileName::new(FileKind::Index, id.0), &error);
    }
    let packs = checker.check_packs()?;
    let mut summary = VerifySummary { packs: packs.len() as u64, ..VerifySummary::default() };
    if read_data {
        summary.bytes = checker.read_packs(&packs)?;
    }
    summary.blobs = repository.index().len() as u64;
    summary.snapshots = checker.check_snapshots(&snapshots)?;
    summary.failed = checker.failed.load(Ordering::Relaxed);
    Ok(summary)
}

struct Checker<'a> {
    repository: &'a Repository,
    gate: &'a Gate,
    monitor: &'a dyn Monitor,
    /// Blobs that are listed but cannot be read.
    bad: RwLock<HashSet<BlobHandle>>,
    read_data: bool,
    threads: usize,
    unlisted: Unlisted,
    failed: AtomicU64,
}

/// A pack that is there, and what the index says is in it.
struct Pack {
    id: PackId,
    length: u64,
    blobs: Vec<PackedBlob>,
}

/// Packs that no index file lists.
#[derive(Default)]
struct Unlisted {
    /// How many there are.
    there: AtomicUsize,
    /// Whether their headers were read; held while they are.
    known: Mutex<bool>,
    /// Those that snapshots need.
    needed: Mutex<BTreeSet<PackId>>,
}

impl Checker<'_> {
    /// Does the same on several threads, which share out the work among themselves; the first error is returned.
    fn on_threads(&self, run: impl Fn() -> Result<()> + Sync) -> Result<()> {
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..self.threads).map(|_| scope.spawn(&run)).collect();
            let mut result = Ok(());
            for thread in threads {
                result = result.and(thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            }
            result
        })
    }

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
                    self.wrong(&name, &self.repository.damaged(&name, "its contents do not match its name"));
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
        let mut listed = self.repository.index().by_pack();
        listed.retain(|id, _| self.repository.index().lists_pack(id));
        let unlisted = there.keys().filter(|id| !listed.contains_key(id)).count();
        self.unlisted.there.store(unlisted, Ordering::Relaxed);
        let mut packs = Vec::with_capacity(listed.len());
        for (id, blobs) in listed {
            let expected = pack_length(&blobs);
            let problem = match there.get(&id) {
                None => "it is missing",
                Some(length) if *length < expected => "it is shorter than what is listed in it",
                Some(length) if *length > expected => "it is longer than what is listed in it",
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
        self.wrong(&name, &self.repository.damaged(&name, problem));
        self.bad(blobs.iter().map(|blob| blob.handle));
    }

    /// Remembers blobs that cannot be read where they are listed.
    fn bad(&self, blobs: impl IntoIterator<Item = BlobHandle>) {
        // A set of ids: a panic elsewhere cannot leave it half changed.
        self.bad.write().unwrap_or_else(PoisonError::into_inner).extend(blobs);
    }

    fn is_listed_bad(&self, blob: &BlobHandle) -> bool {
        self.bad.read().unwrap_or_else(PoisonError::into_inner).contains(blob)
    }
}
