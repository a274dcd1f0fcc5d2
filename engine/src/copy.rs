//! Copying snapshots to another repository: what that one lacks is opened, checked against its id, and sealed anew with
//! its key.
//!
//! ```text
//! snapshot ─► trees ─► what is missing there ─► ranges of packs ─► open, check ─► seal ─► pack ─► index ─► snapshot
//! ```
//! A snapshot is written when all that it names is listed there. It says from which one it comes, as restic's copies do,
//! so that whoever copies once more finds it.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use crate::archiver::learn_index;
use crate::blob::{Opener, Sealer};
use crate::control::Gate;
use crate::error::{Class, Error, Result};
use crate::id::{BlobHandle, BlobId, BlobKind, SnapshotId};
use crate::limits::{CHECKPOINT_BYTES, COPY_BATCH};
use crate::lock::Lock;
use crate::memory::Held;
use crate::monitor::{ItemFailure, Monitor, PackRecord, Progress};
use crate::pack::Gatherer;
use crate::repository::{FOLDER_GROWTH, Repository};
use crate::restorer::load_index;
use crate::restorer::plan::{NeededBlob, Plan, Read, Use};
use crate::snapshot::Snapshot;
use crate::storage::{FileKind, FileName};

/// What is to be copied.
#[derive(Clone, Debug, Default)]
pub struct CopyOptions {
    /// Snapshots of the source, in the order in which they are copied.
    pub snapshots: Vec<SnapshotId>,
    /// Packs that an earlier attempt has stored and that no index file lists.
    pub adopt: Vec<PackRecord>,
}

/// What a copy has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CopySummary {
    /// Snapshots that were copied.
    pub copied: u64,
    /// Snapshots that were there already.
    pub there: u64,
    /// Bytes of trees and files that were copied.
    pub bytes: u64,
    /// By how much the other repository grew.
    pub bytes_stored: u64,
}

/// Copies snapshots from one repository to that of the lock, a shared one; the caller holds one on the source too.
///
/// A snapshot of which something is damaged in the source is reported and not copied; the others are.
///
/// # Errors
/// [`Error::Misuse`] if both are the same repository; [`Error::Cancelled`] and [`Error::Suspended`] when the gate says so,
/// after what was copied until then is listed; the storages' own.
pub fn copy(
    from: &Repository,
    lock: &Lock,
    options: &CopyOptions,
    gate: &Gate,
    monitor: &dyn Monitor,
) -> Result<CopySummary> {
    let to = lock.repository();
    if from.id() == to.id() {
        return Err(Error::misuse("both targets are the same repository, so there is nothing to copy"));
    }
    if from.config().chunker_polynomial != to.config().chunker_polynomial {
        monitor.notice(
            "The two repositories cut files at different places: what both back up takes its room twice in the second.",
        );
    }
    load_index(from, monitor)?;
    learn_index(to, monitor)?;
    let mut copier = Copier::new(from, lock, gate, monitor)?;
    copier.gatherer.adopt(&options.adopt)?;
    let copied = copier.copy_all(&options.snapshots);
    // What was copied before an error is worth being listed: the next attempt need not copy it again.
    let written = copier.commit();
    copied.and(written)?;
    let bytes_stored = copier.summary.bytes_stored + copier.gatherer.bytes_stored();
    Ok(CopySummary { bytes_stored, ..copier.summary })
}

struct Copier<'a> {
    from: &'a Repository,
    to: &'a Arc<Repository>,
    lock: &'a Lock,
    gate: &'a Gate,
    monitor: &'a dyn Monitor,
    opener: Opener,
    sealer: Sealer,
    gatherer: Gatherer<'a>,
    /// Blobs that were handed in and are in no index file yet, and their bytes.
    handed: HashSet<BlobHandle>,
    handed_bytes: u64,
    /// Trees of which all below is there, or handed in.
    trees: HashSet<BlobId>,
    /// Snapshots all of whose blobs were handed in.
    ready: Vec<Snapshot>,
    /// Whether packs that no index file of the source lists were looked for.
    has_searched: bool,
    range: Vec<u8>,
    held: Held,
    summary: CopySummary,
}

impl<'a> Copier<'a> {
    fn new(from: &'a Repository, lock: &'a Lock, gate: &'a Gate, monitor: &'a dyn Monitor) -> Result<Self> {
        Ok(Self {
            from,
            to: lock.repository(),
            lock,
            gate,
            monitor,
            opener: Opener::new(from.blob_limits())?,
            sealer: Sealer::new(lock.repository().config())?,
            gatherer: Gatherer::new(lock, monitor),
            handed: HashSet::new(),
            handed_bytes: 0,
            trees: HashSet::new(),
            ready: Vec::new(),
            has_searched: false,
            range: Vec::new(),
            held: gate.memory().held(),
            summary: CopySummary::default(),
        })
    }

    fn copy_all(&mut self, snapshots: &[SnapshotId]) -> Result<()> {
        let mut there: HashMap<SnapshotId, Vec<Snapshot>> = HashMap::new();
        for (id, snapshot) in self.to.snapshots()?.list {
            there.entry(snapshot.original.unwrap_or(id)).or_default().push(snapshot);
        }
        for id in snapshots {
            let mut copied = self.copy_snapshot(*id, &there);
            if !self.has_searched && copied.as_ref().is_err_and(|error| error.class() == Class::Damaged) {
                self.has_searched = true;
                self.trees.clear();
                self.from.index_unlisted_packs()?;
                copied = self.copy_snapshot(*id, &there);
            }
            match copied {
                Ok(()) => self.monitor.progress(&Progress { files: 1, ..Progress::default() }),
                Err(error) if error.class() == Class::Damaged || matches!(error, Error::NotFound { .. }) => {
                    // What of it is not there is not known any more.
                    self.trees.clear();
                    let name = FileName::new(FileKind::Snapshot, id.0).to_string();
                    self.monitor.item_failed(ItemFailure::new(Path::new(&name), &error));
                }
                Err(error) => return Err(error),
            }
            if self.handed_bytes >= CHECKPOINT_BYTES {
                self.commit()?;
            }
        }
        Ok(())
    }

    fn copy_snapshot(&mut self, id: SnapshotId, there: &HashMap<SnapshotId, Vec<Snapshot>>) -> Result<()> {
        let snapshot: Snapshot = self.from.read_json(&FileName::new(FileKind::Snapshot, id.0))?;
        let original = snapshot.original.unwrap_or(id);
        if there.get(&original).into_iter().flatten().any(|other| is_same(other, &snapshot)) {
            self.summary.there += 1;
            return Ok(());
        }
        self.copy_tree(snapshot.tree)?;
        self.ready.push(Snapshot { parent: None, original: Some(original), ..snapshot });
        Ok(())
    }

    /// Hands in what is missing of a tree and of all below.
    fn copy_tree(&mut self, top: BlobId) -> Result<()> {
        let mut plan = Plan::default();
        let mut waiting = vec![top];
        while let Some(id) = waiting.pop() {
            if !self.trees.insert(id) {
                continue;
            }
            self.gate.check()?;
            let handle = BlobHandle { kind: BlobKind::Tree, id };
            let location = self.from.index().get(&handle);
            let opened = location.map_or(0, |at| at.length as usize + at.uncompressed_length.unwrap_or(0) as usize);
            self.make_room(opened.saturating_mul(FOLDER_GROWTH));
            let bytes = self.from.read_blob(&mut self.opener, &handle)?;
            let tree = Repository::decode_tree(&id, &bytes, self.opener.limits())?;
            if self.is_missing(&handle) {
                self.save(handle, &bytes)?;
            }
            for node in tree.nodes {
                waiting.extend(node.subtree);
                for id in node.content.into_iter().flatten() {
                    self.need(BlobHandle { kind: BlobKind::Data, id }, &mut plan)?;
                }
            }
            if plan.len() >= COPY_BATCH {
                self.fetch(std::mem::take(&mut plan))?;
            }
        }
        self.fetch(plan)
    }

    /// Takes so much memory beside what the packs take that are being filled. There is one thread, which never has to wait:
    /// others see what is left.
    fn make_room(&mut self, bytes: usize) {
        self.held.need(self.gatherer.memory().saturating_add(bytes), || {});
    }

    fn is_missing(&self, handle: &BlobHandle) -> bool {
        !self.handed.contains(handle) && !self.to.index().contains(handle)
    }

    /// Plans to copy a piece of a file, if it is missing.
    fn need(&self, handle: BlobHandle, plan: &mut Plan) -> Result<()> {
        if self.is_missing(&handle) {
            let location = self.from.index().get(&handle).ok_or_else(|| self.from.unknown_blob(&handle))?;
            self.from.blob_limits().check(&handle, &location)?;
            plan.add(handle.id, location, Use { file: 0, offset: 0 });
        }
        Ok(())
    }

    /// Reads what is planned, pack by pack, and hands it in.
    fn fetch(&mut self, plan: Plan) -> Result<()> {
        for read in plan.reads(1) {
            self.gate.check()?;
            // As it was read, opened, and sealed anew.
            self.make_room(read.memory(self.range.capacity(), &self.opener).saturating_mul(2));
            let name = FileName::new(FileKind::Pack, read.pack.0);
            let length = usize::try_from(read.length).unwrap_or(usize::MAX);
            let mut range = std::mem::take(&mut self.range);
            let is_read = self.from.storage().read_range_into(&name, read.offset, length, &mut range).is_ok();
            let saved = read.blobs.iter().try_for_each(|blob| {
                let contents = self.open(blob, &read, if is_read { &range } else { &[] })?;
                self.save(blob.handle, &contents)
            });
            self.range = range;
            saved?;
        }
        Ok(())
    }

    /// Opens a blob of a range that was read; if that is not good, another copy.
    fn open(&mut self, blob: &NeededBlob, read: &Read, range: &[u8]) -> Result<Vec<u8>> {
        let start = usize::try_from(u64::from(blob.location.offset) - read.offset).unwrap_or(usize::MAX);
        let sealed = range.get(start..start.saturating_add(blob.location.length as usize)).unwrap_or_default();
        match self.opener.open(self.from.key(), &blob.handle, &blob.location, sealed) {
            Ok(contents) => Ok(contents.to_vec()),
            Err(_) => self.from.read_blob(&mut self.opener, &blob.handle),
        }
    }

    fn save(&mut self, handle: BlobHandle, contents: &[u8]) -> Result<()> {
        let sealed = self.sealer.seal(self.to.key(), contents)?;
        self.gatherer.add(handle, sealed.bytes, sealed.uncompressed_length)?;
        self.handed.insert(handle);
        let bytes = contents.len() as u64;
        self.handed_bytes += bytes;
        self.summary.bytes += bytes;
        self.monitor.progress(&Progress { bytes, ..Progress::default() });
        Ok(())
    }

    /// Lists what was handed in, then writes the snapshots that name it.
    fn commit(&mut self) -> Result<()> {
        self.gatherer.flush()?;
        self.handed.clear();
        self.handed_bytes = 0;
        for snapshot in std::mem::take(&mut self.ready) {
            let sealed = self.to.seal_file(&snapshot)?;
            self.lock.confirm()?;
            self.to.write_file(FileKind::Snapshot, &sealed)?;
            self.monitor.progress(&Progress { bytes_stored: sealed.len() as u64, ..Progress::default() });
            self.summary.bytes_stored += sealed.len() as u64;
            self.summary.copied += 1;
        }
        Ok(())
    }
}

/// Returns whether two snapshots of one origin are the same but for what a copy changes: restic's rule.
fn is_same(one: &Snapshot, other: &Snapshot) -> bool {
    let sorted = |list: &[String]| {
        let mut list = list.to_vec();
        list.sort_unstable();
        list
    };
    one.time == other.time
        && one.tree == other.tree
        && one.hostname == other.hostname
        && (&one.username, one.uid, one.gid) == (&other.username, other.uid, other.gid)
        && one.excludes == other.excludes
        && sorted(&one.paths) == sorted(&other.paths)
        && sorted(&one.tags) == sorted(&other.tags)
}
