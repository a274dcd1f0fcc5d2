//! Verifying: is everything there that snapshots need, and is it what was stored?
//!
//! Structure: every key, index, snapshot and tree is read, and every blob they name is looked for in packs that are
//! there and as long as they should be. All data: every pack is read, compared with its name, its header with the index,
//! and each blob with its id. Of a part of the data, those packs are read that were read longest ago. Of one snapshot, the
//! blobs that it names are read, and if asked for, the files it was made of. What is affected is named by snapshot and path.

mod one;
mod packs;
mod queue;
mod rotation;
mod snapshots;
mod source;
mod verified;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use jiff::Timestamp;

pub(crate) use packs::{PIECE, memory_for};
pub use rotation::{Coverage, Part};
pub use source::{SourceOptions, SourceSummary};
pub(crate) use verified::check as check_verified;

use crate::control::Gate;
use crate::error::{Error, Result};
use crate::id::{BlobHandle, PackId, SnapshotId, sha256};
use crate::monitor::{ItemFailure, Monitor, PackedBlob};
use crate::pack::pack_length;
use crate::repository::Repository;
use crate::storage::{FileKind, FileName};
use packs::Rotation;
use verified::Verified;

/// What a verification is asked to do.
#[derive(Clone, Debug, Default)]
pub struct VerifyOptions {
    /// Read all data, not only the structure.
    pub read_data: bool,
    /// Read only a part of the data; the packs that were read longest ago come first.
    pub part: Option<Part>,
    /// Look only at this snapshot, and read all that it names.
    pub snapshot: Option<SnapshotId>,
    /// Compare that snapshot with the files it was made of.
    pub source: Option<SourceOptions>,
    /// Where it is kept when each pack was last read, a folder of the caller's own. Nothing is lost with it. None: every
    /// pack counts as never read.
    pub records: Option<PathBuf>,
    /// What was read since then, by an earlier attempt, is not read again.
    pub since: Option<Timestamp>,
    /// The time.
    pub now: Timestamp,
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
    /// Those of them that were read.
    pub packs_read: u64,
    /// Blobs that the index lists.
    pub blobs: u64,
    /// Bytes of packs that were read.
    pub bytes: u64,
    /// Things that are wrong.
    pub failed: u64,
    /// How much of all packs was ever read; none when only one snapshot was looked at.
    pub coverage: Option<Coverage>,
    /// What a comparison with the files found.
    pub source: Option<SourceSummary>,
}

/// Verifies a repository. What is wrong is reported to the monitor, each item once.
///
/// # Errors
/// [`Error::Cancelled`] and [`Error::Suspended`] when the gate says so; [`Error::NotFound`] for a snapshot that is not
/// there; the storage's own, when listing.
pub fn verify(
    repository: &Arc<Repository>,
    options: &VerifyOptions,
    gate: &Gate,
    monitor: &dyn Monitor,
) -> Result<VerifySummary> {
    let threads = match options.threads {
        0 => std::thread::available_parallelism().map_or(2, usize::from),
        threads => threads,
    };
    let checker = Checker {
        repository,
        options,
        gate,
        monitor,
        bad: RwLock::default(),
        threads,
        unlisted: Unlisted::default(),
        failed: AtomicU64::new(0),
    };
    let mut summary = match options.snapshot {
        Some(id) => checker.check_one(id)?,
        None => checker.check_all()?,
    };
    summary.blobs = repository.index().len() as u64;
    summary.failed = checker.failed.load(Ordering::Relaxed);
    Ok(summary)
}

/// Says how much of a repository was ever read, by what is kept in this folder.
///
/// # Errors
/// The storage's own, when listing.
pub fn coverage(repository: &Repository, records: &Path, now: Timestamp) -> Result<Coverage> {
    let repository = repository.with_own_index();
    repository.load_index()?;
    let verified = Verified::read(records, repository.id());
    let packs = repository.storage().list(FileKind::Pack)?.into_iter().map(|(name, length)| (PackId(name.id), length));
    // What interrupted backups have left is no part of the repository.
    let packs = packs.filter(|(pack, _)| repository.index().lists_pack(pack));
    Ok(Coverage::of(&rotation::turns(packs, &verified, now)))
}

struct Checker<'a> {
    repository: &'a Repository,
    options: &'a VerifyOptions,
    gate: &'a Gate,
    monitor: &'a dyn Monitor,
    /// Blobs that are listed but cannot be read.
    bad: RwLock<HashSet<BlobHandle>>,
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
    fn check_all(&self) -> Result<VerifySummary> {
        self.check_small_files()?;
        // In the opposite order of a backup's writing, so that one that runs meanwhile does not look like damage.
        let snapshots = self.repository.snapshots()?;
        for (id, error) in self.repository.read_index_again()? {
            self.wrong(&FileName::new(FileKind::Index, id.0), &error);
        }
        let packs = self.check_packs()?;
        let mut summary = VerifySummary { packs: packs.len() as u64, ..VerifySummary::default() };
        let rotation = Rotation::open(self, &packs);
        if self.options.read_data {
            (summary.packs_read, summary.bytes) = self.read_packs(&packs, &rotation)?;
        }
        summary.snapshots = self.check_snapshots(&snapshots)?;
        summary.coverage = Some(rotation.coverage(&packs));
        Ok(summary)
    }

    /// Returns whether all data is read, not only a part of it.
    fn reads_all(&self) -> bool {
        self.options.snapshot.is_some() || (self.options.read_data && self.options.part.is_none())
    }

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
