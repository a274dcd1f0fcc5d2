//! What a first backup leaves when it is interrupted: a snapshot of what is stored so far.
//!
//! It can be browsed and restored like any other, and the next attempt compares with it. It is written when the backup
//! ends early, and now and then before that, because a crash does not wait until something is written. Each one takes
//! the place of the one before, and the whole snapshot that of all. A backup that has a whole snapshot to compare with
//! leaves none: a part of the present is worth less than all of yesterday. It leaves a note ([`begun`](super::begun)).
//!
//! ```text
//! entries so far ─► all they name is stored and listed ─► trees of the open folders ─► the same ─► snapshot
//! ```

use crossbeam_channel::Receiver;

use super::BackupOptions;
use super::begun::BegunBefore;
use super::building::{Part, PartEntry};
use super::known::Known;
use super::options::BackupSummary;
use super::past::Past;
use super::session::{Counts, Session, guard};
use crate::error::{Error, Result};
use crate::id::{BlobHandle, BlobId, BlobKind, SnapshotId};
use crate::lock::Lock;
use crate::pack::{OpenPack, Settled};
use crate::storage::{FileKind, FileName};
use crate::tree::{Node, join_nodes};

/// The snapshots that interrupted runs have left, this one included; or the note of what they have stored.
pub(super) struct Leftovers {
    /// Whether this run leaves snapshots.
    is_wanted: bool,
    /// Whether it leaves a note instead.
    is_note_wanted: bool,
    /// The snapshots that there are, with the number of files in them.
    there: Vec<(SnapshotId, u64)>,
    /// Files and bytes in the best of them; or in the note, of what is not as in the parent.
    best: (u64, u64),
    /// How much this run had done when it last wrote one.
    done: u64,
}

impl Leftovers {
    pub(super) fn new(lock: &Lock, options: &BackupOptions, past: &Past, begun: &BegunBefore) -> Self {
        let held = |snapshot: &crate::snapshot::Snapshot| {
            let summary = snapshot.summary.as_ref();
            summary.map_or((0, 0), |summary| (summary.total_files_processed, summary.total_bytes_processed))
        };
        // Nothing can be removed from a repository that only takes more, so nothing is left there that has to go.
        let is_append_only = lock.repository().config().append_only == Some(true);
        let is_first = past.snapshot().is_none_or(|parent| options.is_interrupted(parent));
        let is_wanted = is_first && !is_append_only && !options.interrupted_tags.is_empty();
        let best = past.leftovers.iter().map(|(_, snapshot)| held(snapshot)).max().unwrap_or_default();
        Self {
            is_wanted,
            is_note_wanted: !is_wanted && begun.is_wanted() && !lock.repository().is_dry(),
            there: past.leftovers.iter().map(|(id, snapshot)| (*id, held(snapshot).0)).collect(),
            best: if is_wanted { best } else { begun.held() },
            done: 0,
        }
    }

    /// Returns whether so much more is done than the last time that it is worth another one.
    fn is_due(&self, done: u64, step: u64) -> bool {
        (self.is_wanted || self.is_note_wanted) && done.saturating_sub(self.done) >= step.max(self.done / 4)
    }

    /// Returns whether a note would hold more than the one that is there.
    pub(super) fn has_more_proven(&self, counts: &Counts) -> bool {
        let (now, best) = (counts.proven(), self.best);
        now.0 >= best.0 && now.1 >= best.1 && now != best
    }

    /// Remembers what the note holds now.
    pub(super) fn noted(&mut self, held: (u64, u64)) {
        self.best = held;
    }

    /// Returns whether a snapshot would hold more than the best one does.
    fn is_more(&self, counts: &Counts) -> bool {
        let now = (counts.files(), counts.bytes);
        counts.files() > 0 && now.0 >= self.best.0 && now.1 >= self.best.1 && now != self.best
    }
}

impl Session<'_> {
    /// Writes a snapshot of what is stored so far, if it is time for one. Called by the thread that writes packs.
    pub(super) fn checkpoint(&self, to_write: &Receiver<OpenPack>) -> Result<Settled> {
        let mut leftovers = guard(&self.leftovers);
        if !leftovers.is_due(self.done(), self.options.checkpoint_bytes()) {
            return Ok(Settled::All);
        }
        let settled = if leftovers.is_wanted {
            self.write_leftover(&mut leftovers, Some(to_write))?.0
        } else {
            self.note_begun(&mut leftovers, Some(to_write))?
        };
        leftovers.done = self.done();
        Ok(settled)
    }

    /// Returns how much is done, as bytes that were stored: reading what is known already costs a quarter of it or so.
    fn done(&self) -> u64 {
        let counts = self.counts();
        self.added().bytes_stored.max(counts.bytes.saturating_sub(counts.bytes_unchanged) / 4)
    }

    /// Leaves a snapshot, or a note, of what was stored until an error ended the backup. That it cannot be written is no
    /// further error: the one that ended the backup is what counts.
    pub(super) fn leave(&self, error: &Error) {
        let mut leftovers = guard(&self.leftovers);
        if leftovers.is_note_wanted {
            let _ = self.note_begun(&mut leftovers, None);
            return;
        }
        if !leftovers.is_wanted || self.repository.is_dry() {
            return;
        }
        if let Ok((_, Some(id))) = self.write_leftover(&mut leftovers, None)
            && !matches!(error, Error::Suspended)
        {
            self.monitor.notice(&format!(
                "What was saved until then is in snapshot {}, marked as incomplete; the next backup goes on from it \
                 and replaces it.",
                id.short()
            ));
        }
    }

    /// Removes what interrupted runs have left, now that a snapshot of so many files is there; one that holds more than
    /// that stays. What cannot be removed now is when the next backup ends.
    pub(super) fn remove_leftovers(&self, files: u64) {
        let mut leftovers = guard(&self.leftovers);
        if self.repository.config().append_only != Some(true) {
            leftovers.there.retain(|(id, held)| *held > files || !self.remove_snapshot(*id));
        }
    }

    fn remove_snapshot(&self, id: SnapshotId) -> bool {
        self.repository.storage().remove(&FileName::new(FileKind::Snapshot, id.0)).is_ok()
    }

    fn write_leftover(
        &self,
        leftovers: &mut Leftovers,
        to_write: Option<&Receiver<OpenPack>>,
    ) -> Result<(Settled, Option<SnapshotId>)> {
        let counts = self.counts();
        let Some(top) = self.top.get().filter(|_| leftovers.is_more(&counts)) else { return Ok((Settled::All, None)) };
        // What these name was handed in before they came to be, so it is stored when all that is pending now is.
        let parts = top.parts();
        let settled = self.saver.settle(to_write)?;
        if settled == Settled::Closed {
            return Ok((settled, None));
        }
        let Some(trees) = self.save_parts(parts, settled == Settled::Part)? else { return Ok((settled, None)) };
        let settled = self.saver.settle(to_write)?;
        let is_listed = |id: &BlobId| self.repository.index().contains(&BlobHandle { kind: BlobKind::Tree, id: *id });
        let Some(tree) = trees.last().filter(|_| trees.iter().all(is_listed)) else { return Ok((settled, None)) };
        let id = self.write_snapshot(*tree, counts)?;
        let worse = std::mem::replace(&mut leftovers.there, vec![(id, counts.files())]);
        let kept = worse.into_iter().filter(|(worse, _)| !self.remove_snapshot(*worse));
        leftovers.there.extend(kept);
        leftovers.best = (counts.files(), counts.bytes);
        Ok((settled, Some(id)))
    }

    fn write_snapshot(&self, tree: BlobId, counts: Counts) -> Result<SnapshotId> {
        let record = BackupSummary::new(counts, self.added()).to_record(self.options.time, self.lock.now().wall);
        let mut snapshot = self.options.snapshot(tree, None, record);
        snapshot.tags.extend(self.options.interrupted_tags.iter().cloned());
        let sealed = self.repository.seal_file(&snapshot)?;
        self.lock.confirm()?;
        self.repository.write_file(FileKind::Snapshot, &sealed)?;
        Ok(SnapshotId::of(&sealed))
    }

    /// Stores the trees of folders of which only a part is stored; the top's is the last. Folders in which there is
    /// nothing yet are left out. With `check`, only entries of which everything is in the repository are taken.
    pub(super) fn save_parts(&self, mut parts: Vec<Part>, check: bool) -> Result<Option<Vec<BlobId>>> {
        let mut sealer = self.saver.sealer()?;
        let mut known = Known::new(self.repository)?;
        let mut entries: Vec<Option<Box<[u8]>>> = vec![None; parts.len()];
        let mut trees = Vec::new();
        // Those that are in a folder come after it.
        while let Some(part) = parts.pop() {
            let mut nodes = Vec::new();
            for entry in part.entries {
                match entry {
                    PartEntry::Stored(json) if !check || known.holds_json(&json) => nodes.push(json),
                    PartEntry::Stored(_) => {}
                    PartEntry::Open(number) => nodes.extend(entries[number].take()),
                }
            }
            if nodes.is_empty() {
                continue;
            }
            let length = nodes.iter().map(|node| node.len() + 1).sum();
            let tree = join_nodes(nodes.iter().map(AsRef::as_ref), length);
            let id = self.saver.save_and_write(BlobKind::Tree, &tree, &mut sealer)?.id;
            trees.push(id);
            match part.node {
                None => return Ok(Some(trees)),
                Some(node) => entries[parts.len()] = encode(&Node { subtree: Some(id), ..node })?,
            }
        }
        Ok(None)
    }
}

fn encode(node: &Node) -> Result<Option<Box<[u8]>>> {
    let json = serde_json::to_vec(node);
    let json = json.map_err(|error| Error::misuse(format!("an entry cannot be written as JSON: {error}")))?;
    Ok(Some(json.into_boxed_slice()))
}
