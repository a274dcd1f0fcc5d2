//! What an interrupted run has stored when there is a whole snapshot already: noted beside the records, so that the next
//! run need not read it again.
//!
//! ```text
//! entries so far ─► all they name is stored and listed ─► trees of the open folders ─► the same ─► note
//! ```
//! The trees are those of the snapshot that a first backup leaves, but no snapshot names them: yesterday's holds more than
//! half of today's. Nothing is believed from the note. A file is taken over if it looks as it did when it was stored and
//! every blob of it is found in the index under the lock of the run that takes it over; what a prune has removed
//! meanwhile is read again.

use std::path::{Path, PathBuf};

use crossbeam_channel::Receiver;
use jiff::{SignedDuration, Timestamp};

use super::BackupOptions;
use super::building::Slot;
use super::leftovers::Leftovers;
use super::record_key::key;
use super::roots::Roots;
use super::session::{Counts, Session};
use super::tally::Tally;
use super::walker::Walker;
use crate::error::Result;
use crate::id::{BlobHandle, BlobId, BlobKind};
use crate::limits::RACY_SECONDS;
use crate::monitor::Progress;
use crate::pack::{OpenPack, Settled};
use crate::record::Begun;
use crate::repository::Repository;
use crate::tree::{Node, NodeKind, Tree};

/// What an interrupted run has stored, and what others have, as this one finds it.
#[derive(Default)]
pub(super) struct BegunBefore {
    /// Where the note is and what it is known by; none if none is wanted.
    place: Option<(PathBuf, [u8; 32])>,
    /// Files in the note that the snapshot before does not have like that, and their bytes.
    held: (u64, u64),
    stored: Vec<Stored>,
}

/// What some other run has stored: where to look for files that are in no snapshot of this backup yet.
#[derive(Clone)]
pub(super) struct Stored {
    /// The top of its trees.
    pub(super) tree: BlobId,
    /// A file that was touched at this time or later may have changed after that run looked at it.
    pub(super) settled_before: Timestamp,
    /// What could not be stored, or not wholly; sorted.
    pub(super) doubts: Vec<PathBuf>,
}

/// What was stored of an entry before.
#[derive(Default)]
pub(super) struct Earlier {
    /// By the parent snapshot.
    pub(super) before: Option<Node>,
    /// By other runs, with the number of each.
    pub(super) begun: Vec<(usize, Node)>,
}

/// The same of a folder.
#[derive(Default)]
pub(super) struct EarlierTrees {
    pub(super) before: Option<Tree>,
    pub(super) begun: Vec<(usize, Tree)>,
}

impl EarlierTrees {
    /// Returns what was stored of an entry of the folder.
    pub(super) fn get(&self, name: &[u8]) -> Earlier {
        let begun = self.begun.iter().filter_map(|(number, tree)| Some((*number, tree.get(name)?.clone())));
        Earlier { before: self.before.as_ref().and_then(|tree| tree.get(name)).cloned(), begun: begun.collect() }
    }
}

impl Stored {
    /// Makes it of a run that began at a time.
    pub(super) fn new(tree: BlobId, began: Timestamp, doubts: Vec<PathBuf>) -> Self {
        let settled_before = began.checked_sub(SignedDuration::from_secs(RACY_SECONDS)).unwrap_or(Timestamp::MIN);
        Self { tree, settled_before, doubts }
    }
}

impl BegunBefore {
    /// Finds what an interrupted run of the same backup has left, beside what others have.
    pub(super) fn open(
        repository: &Repository,
        options: &BackupOptions,
        roots: &Roots,
        mut stored: Vec<Stored>,
    ) -> Self {
        let Some(folder) = &options.records else { return Self { stored, ..Self::default() } };
        let key = key(repository, options, roots);
        let found = Begun::read(folder, &key).filter(|begun| begun.repository == repository.id());
        let held = found.as_ref().map_or((0, 0), |begun| (begun.files, begun.bytes));
        stored.extend(found.map(|begun| {
            let began = begun.seconds.try_into().ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
            Stored::new(begun.tree, began.unwrap_or(Timestamp::MIN), begun.doubts)
        }));
        Self { place: Some((folder.clone(), key)), held, stored }
    }

    /// Returns whether runs that are interrupted leave a note.
    pub(super) fn is_wanted(&self) -> bool {
        self.place.is_some()
    }

    /// Returns how many files the note knows of that the snapshot before does not have like that, and their bytes.
    pub(super) fn held(&self) -> (u64, u64) {
        self.held
    }

    /// Removes the note, now that a whole snapshot is there.
    pub(super) fn remove(&self) {
        if let Some((folder, key)) = &self.place {
            Begun::remove(folder, key);
        }
    }
}

impl Counts {
    /// Returns how many files are stored that the snapshot before does not have like that, and their bytes.
    pub(super) fn proven(&self) -> (u64, u64) {
        (self.files_new + self.files_changed, self.bytes_other)
    }
}

impl Session<'_> {
    /// Notes what is stored so far, if that is more than the note has.
    pub(super) fn note_begun(
        &self,
        leftovers: &mut Leftovers,
        to_write: Option<&Receiver<OpenPack>>,
    ) -> Result<Settled> {
        let counts = self.counts();
        let Some((folder, key)) = self.begun.place.as_ref().filter(|_| leftovers.has_more_proven(&counts)) else {
            return Ok(Settled::All);
        };
        let Some(top) = self.top.get() else { return Ok(Settled::All) };
        // Without the index, known trees would be stored once more.
        self.know_index()?;
        let parts = top.parts();
        let settled = self.saver.settle(to_write)?;
        if settled == Settled::Closed {
            return Ok(settled);
        }
        let Some(trees) = self.save_parts(parts, false)? else { return Ok(settled) };
        let settled = self.saver.settle(to_write)?;
        let is_listed = |id: &BlobId| self.repository.index().contains(&BlobHandle { kind: BlobKind::Tree, id: *id });
        let Some(tree) = trees.last().filter(|_| trees.iter().all(is_listed)) else { return Ok(settled) };
        let Some(doubts) = self.recorded.doubts() else { return Ok(settled) };
        let ((files, bytes), seconds) = (counts.proven(), u64::try_from(self.options.time.as_second()).unwrap_or(0));
        let repository = self.repository.id();
        let begun = Begun { key: *key, repository, tree: *tree, seconds, files, bytes, doubts };
        match begun.write(folder) {
            Ok(()) => leftovers.noted((files, bytes)),
            Err(error) => self.monitor.notice(&format!(
                "What is stored so far cannot be noted, after an interruption it is read again: {error}."
            )),
        }
        Ok(settled)
    }
}

impl Walker<'_, '_, '_> {
    /// Returns the top's trees that there are.
    pub(super) fn trees_at_top(&mut self, parent: Option<BlobId>) -> EarlierTrees {
        let begun = self.session.begun.stored.iter().map(|stored| stored.tree).enumerate().collect();
        self.trees(parent, begun)
    }

    /// Returns the trees that were stored of a folder before.
    pub(super) fn trees_of(&mut self, earlier: &Earlier) -> EarlierTrees {
        let begun = earlier.begun.iter().filter_map(|(number, node)| Some((*number, node.subtree?))).collect();
        self.trees(earlier.before.as_ref().and_then(|node| node.subtree), begun)
    }

    fn trees(&mut self, before: Option<BlobId>, mut begun: Vec<(usize, BlobId)>) -> EarlierTrees {
        begun.retain(|(_, id)| before != Some(*id));
        EarlierTrees {
            before: before.and_then(|id| self.tree_before(&id)),
            begun: begun.into_iter().filter_map(|(number, id)| Some((number, self.tree_before(&id)?))).collect(),
        }
    }

    /// Fills the slot of a file that another run has stored as it is now; gives the slot back if none has, or if not all of
    /// it is in the repository any more.
    pub(super) fn fill_from_begun(
        &mut self,
        begun: Vec<(usize, Node)>,
        now: &Node,
        path: &Path,
        slot: Slot,
        is_known: bool,
    ) -> Result<Option<Slot>> {
        let stored = begun.into_iter().find(|(number, begun)| self.is_stored(*number, begun, now, path));
        let Some((_, begun)) = stored else { return Ok(Some(slot)) };
        let Tally { counts, progress } = &mut self.worker.tally;
        counts.entries += 1;
        *if is_known { &mut counts.files_changed } else { &mut counts.files_new } += 1;
        counts.bytes += now.size;
        counts.bytes_unchanged += now.size;
        counts.bytes_other += now.size;
        progress.add(&Progress { files: 1, bytes: now.size, bytes_unchanged: now.size, ..Progress::default() });
        slot.fill(Some(&Node { device_id: now.device_id, ..begun }), self.worker).map(|()| None)
    }

    fn is_stored(&self, number: usize, begun: &Node, now: &Node, path: &Path) -> bool {
        let Some(stored) = self.session.begun.stored.get(number) else { return false };
        let settled = |time: Option<Timestamp>| time.is_some_and(|time| time < stored.settled_before);
        let is_doubtful = || stored.doubts.binary_search_by(|doubt| doubt.as_path().cmp(path)).is_ok();
        let is_there = |id: &BlobId| {
            let handle = BlobHandle { kind: BlobKind::Data, id: *id };
            self.session.repository.index().contains(&handle)
        };
        begun.kind == NodeKind::File
            && begun.looks_like(now)
            && settled(begun.mtime)
            && settled(begun.ctime)
            && !is_doubtful()
            // Nobody else has looked them up since: a record vouches for its own snapshot alone.
            && begun.content.as_ref().is_some_and(|content| content.iter().all(is_there))
    }
}
