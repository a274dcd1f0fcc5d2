//! What a run knows from the record of the run before: whether it may be relied on, and what of the repository is learnt
//! only when it is needed.
//!
//! The record is relied on if, under the lock of this run, its snapshot is still listed and every index file and pack
//! that was known then is still there, as long as it was. Then nothing that the snapshot names can have gone, and nobody
//! has to look up any of it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use super::BackupOptions;
use super::record_key::key;
use super::roots::{Root, Roots};
use super::session::{Session, guard};
use super::tracking::Recording;
use crate::error::Result;
use crate::id::{BlobId, SnapshotId};
use crate::index::Detail;
use crate::limits::{HINTED_RUNS_MAX, HINTED_SECONDS_MAX, RECORD_DOUBTS_MAX};
use crate::monitor::Monitor;
use crate::record::{Head, Known, Record};
use crate::repository::Repository;
use crate::source::mounts::mounts_below;
use crate::source::owners::Owners;
use crate::storage::{FileKind, FileName};

/// What a run knows from the record of the run before.
#[derive(Default)]
pub(super) struct Recorded {
    /// Where records are and what this run's is known by; none, if none is wanted.
    pub(super) place: Option<(PathBuf, [u8; 32])>,
    /// The record that is relied on.
    pub(super) record: Option<Record>,
    /// Whether it turned out not to be what was written.
    is_broken: AtomicBool,
    is_hinted: bool,
    /// Whether the caller's word counts from the record's snapshot.
    has_hints: bool,
    /// A hash of what is mounted below the sources, if that can be told.
    mounts: Option<[u8; 32]>,
    /// Index files and packs when the run began.
    known: [Vec<Known>; 2],
    is_index_known: AtomicBool,
    learning: Mutex<()>,
    /// Whether something is wrong with what the record relies on.
    pub(super) is_doubted: AtomicBool,
    /// What failed so far; none, if that is too much.
    doubts: Mutex<Option<BTreeSet<PathBuf>>>,
    /// What the walk has recorded.
    pub(super) recording: Mutex<Option<Recording>>,
}

impl Recorded {
    /// Opens the record of what was asked for, if it may be relied on as far as index and packs go. `use_it`: `None` if none
    /// is kept either.
    ///
    /// # Errors
    /// The storage's own, when listing.
    pub(super) fn open(
        repository: &Repository,
        options: &BackupOptions,
        roots: &Roots,
        use_it: Option<bool>,
    ) -> Result<Self> {
        let (Some(folder), Some(use_it)) = (options.records.as_ref(), use_it) else {
            return Ok(Self { doubts: Mutex::new(Some(BTreeSet::new())), ..Self::default() });
        };
        let key = key(repository, options, roots);
        let mounts = mounts_below(&roots.sources);
        let list = |kind| Ok::<_, crate::Error>(Known::list(&repository.storage().list(kind)?));
        let known = [list(FileKind::Index)?, list(FileKind::Pack)?];
        // A dry run must not keep the record from a backup.
        let open = if repository.is_dry() { Record::peek } else { Record::open };
        let record = open(folder, &key).filter(|record| {
            let head = &record.head;
            let is_there = |(wanted, there): (&Vec<Known>, &Vec<Known>)| Known::are_all_in(wanted, there);
            use_it
                && head.repository == repository.id()
                && options.parent.is_none_or(|parent| parent == head.snapshot)
                && head.known.iter().zip(&known).all(is_there)
                && are_same(&head.owners)
        });
        let since = options.changed.as_ref().map(|changed| changed.since);
        // An older record may be the one of these options again, after others were in force: nobody has told its changes.
        let has_hints = record.as_ref().is_some_and(|record| since == Some(record.head.snapshot));
        let is_hinted = has_hints && record.as_ref().is_some_and(|record| may_be_hinted(&record.head, options, mounts));
        Ok(Self {
            place: Some((folder.clone(), key)),
            record,
            is_hinted,
            has_hints,
            mounts,
            known,
            doubts: Mutex::new(Some(BTreeSet::new())),
            ..Self::default()
        })
    }

    /// Does not rely on the record.
    pub(super) fn drop_record(&mut self) {
        (self.record, self.is_hinted) = (None, false);
    }

    /// Returns whether what the parent snapshot names need not be looked up.
    pub(super) fn is_trusted(&self) -> bool {
        self.record.is_some() && !self.is_broken.load(Ordering::Relaxed)
    }

    /// Returns whether only what the hints name is looked at.
    pub(super) fn is_hinted(&self) -> bool {
        self.is_hinted && self.is_trusted()
    }

    /// Returns the paths that changed, if nothing else is looked at.
    pub(super) fn hints<'o>(&self, options: &'o BackupOptions) -> Option<&'o BTreeSet<PathBuf>> {
        options.changed.as_ref().filter(|_| self.is_hinted).map(|changed| &changed.paths)
    }

    /// Returns the paths that changed, if everything is looked at although they are given.
    pub(super) fn hints_to_judge<'o>(&self, options: &'o BackupOptions) -> Option<&'o BTreeSet<PathBuf>> {
        options.changed.as_ref().filter(|_| self.has_hints && !self.is_hinted).map(|changed| &changed.paths)
    }

    /// Says that the record is not what was written; returns whether the index has to be learnt for that.
    pub(super) fn set_broken(&self) {
        self.is_broken.store(true, Ordering::Relaxed);
    }

    /// Returns a tree above the sources.
    pub(super) fn tree(&self, id: &BlobId) -> Option<&Vec<u8>> {
        self.record.as_ref()?.head.trees.iter().find(|tree| BlobId::of(tree) == *id)
    }

    /// Returns the id of a tree above the sources that is as it was.
    pub(super) fn known_tree(&self, tree: &[u8]) -> Option<BlobId> {
        let trees = &self.record.as_ref().filter(|_| self.is_trusted())?.head.trees;
        trees.iter().any(|known| known == tree).then(|| BlobId::of(tree))
    }

    /// Remembers what failed.
    pub(super) fn doubt(&self, path: &Path) {
        let mut doubts = guard(&self.doubts);
        if let Some(paths) = doubts.as_mut() {
            paths.insert(path.to_owned());
            if paths.len() > RECORD_DOUBTS_MAX {
                *doubts = None;
            }
        }
    }

    /// Returns what failed so far, sorted; `None` if that is too much.
    pub(super) fn doubts(&self) -> Option<Vec<PathBuf>> {
        guard(&self.doubts).as_ref().map(|paths| paths.iter().cloned().collect())
    }

    pub(super) fn set_index_known(&self) {
        self.is_index_known.store(true, Ordering::Release);
    }
}

/// Learns what the repository holds: reads the index, and forgets what is in packs that are not there. Returns whether
/// all of the index could be read.
pub(crate) fn learn_index(repository: &Repository, monitor: &dyn Monitor) -> Result<bool> {
    let damaged = repository.load_index_with(Detail::Known)?;
    let is_whole = damaged.is_empty();
    for (id, error) in damaged {
        monitor.notice(&format!("Index {} cannot be used, what it lists is stored again: {error}", id.short()));
    }
    let missing = repository.forget_missing_packs()?;
    if !missing.is_empty() {
        let count = missing.len();
        monitor.notice(&format!("{count} packs are missing from the repository; what they held is stored again."));
    }
    Ok(is_whole)
}

impl Session<'_> {
    /// Learns what the repository holds, unless that is known: as long as nothing is stored nobody asks.
    pub(super) fn know_index(&self) -> Result<()> {
        let recorded = &self.recorded;
        if recorded.is_index_known.load(Ordering::Acquire) {
            return Ok(());
        }
        let _one = guard(&recorded.learning);
        if recorded.is_index_known.load(Ordering::Acquire) {
            return Ok(());
        }
        if !learn_index(self.repository, self.monitor)? && recorded.is_trusted() {
            // What it listed may be what the record relies on: all has to be looked up.
            recorded.is_doubted.store(true, Ordering::Relaxed);
            return Err(crate::Error::Cancelled);
        }
        recorded.set_index_known();
        Ok(())
    }

    /// Puts the record of this run in force, now that its snapshot is there. That it cannot be written is no failure.
    pub(super) fn record(&self, roots: &Roots, tree: BlobId, snapshot: SnapshotId) {
        let Some(recording) = guard(&self.recorded.recording).take() else { return };
        let committed = self.head(roots, tree, snapshot, &recording).map(|head| recording.recorder.commit(head));
        if let Some(Err(error)) = committed {
            self.monitor.notice(&format!("The record of files cannot be kept, the next backup reads more: {error}."));
        }
    }

    fn head(&self, roots: &Roots, tree: BlobId, snapshot: SnapshotId, recording: &Recording) -> Option<Head> {
        let (_, key) = *self.recorded.place.as_ref()?;
        let doubts = guard(&self.recorded.doubts).take()?;
        let mut known = self.recorded.known.clone();
        if self.added().bytes_stored > 0 {
            for (known, kind) in known.iter_mut().zip([FileKind::Index, FileKind::Pack]) {
                let listed: Vec<(FileName, u64)> = self.repository.storage().list(kind).ok()?;
                known.extend(Known::list(&listed));
                known.sort_unstable();
                known.dedup();
            }
        }
        let old = self.recorded.record.as_ref().filter(|_| self.recorded.is_trusted()).map(|record| &record.head);
        let now = seconds(self.options);
        let (full_seconds, hinted_runs) = match old.filter(|_| self.recorded.is_hinted()) {
            Some(old) => (old.full_seconds, old.hinted_runs + 1),
            None => (now, 0),
        };
        let mut trees = Vec::new();
        self.top_trees(&roots.top, tree, &mut trees)?;
        let [mut users, mut groups] = self.owners.known();
        let [old_users, old_groups] = old.map(|old| old.owners.clone()).unwrap_or_default();
        users.extend(old_users);
        groups.extend(old_groups);
        Some(Head {
            key,
            repository: self.repository.id(),
            snapshot,
            mounts: self.recorded.mounts.unwrap_or_default(),
            full_seconds,
            hinted_runs,
            data: 0,
            length: 0,
            owners: [users.into_iter().collect(), groups.into_iter().collect()],
            known,
            doubts: doubts.into_iter().collect(),
            trees,
            sources: recording.sources()?,
        })
    }

    /// Collects the trees above the sources.
    fn top_trees(&self, root: &Root, id: BlobId, trees: &mut Vec<Vec<u8>>) -> Option<()> {
        let Root::Above(names) = root else { return Some(()) };
        let bytes = match self.recorded.tree(&id) {
            Some(known) => known.clone(),
            None => self.repository.read_tree_bytes(&id)?,
        };
        let tree = crate::tree::Tree::decode(&bytes).ok()?;
        trees.push(bytes);
        for (name, root) in names {
            let subtree =
                tree.get(std::os::unix::ffi::OsStrExt::as_bytes(name.as_os_str())).and_then(|node| node.subtree);
            if let Some(id) = subtree {
                self.top_trees(root, id, trees)?;
            }
        }
        Some(())
    }
}

/// Returns whether the last look at everything was not too long ago, nor in the future, and what was mounted then still is: what
/// is mounted on a folder says nothing to those who watch the folder.
fn may_be_hinted(head: &Head, options: &BackupOptions, mounts: Option<[u8; 32]>) -> bool {
    let age = seconds(options).checked_sub(head.full_seconds);
    mounts == Some(head.mounts) && head.hinted_runs < HINTED_RUNS_MAX && age.is_some_and(|age| age < HINTED_SECONDS_MAX)
}

fn seconds(options: &BackupOptions) -> u64 {
    u64::try_from(options.time.as_second()).unwrap_or(0)
}

/// Returns whether users and groups are still called what they were: names are part of a tree.
fn are_same(owners: &[Vec<(u32, String)>; 2]) -> bool {
    let now = Owners::default();
    owners[0].iter().all(|(uid, name)| now.user(*uid) == *name)
        && owners[1].iter().all(|(gid, name)| now.group(*gid) == *name)
}
