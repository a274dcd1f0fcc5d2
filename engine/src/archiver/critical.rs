//! What is critical is backed up before the rest, into a snapshot of its own.
//!
//! ```text
//! critical ─► anything new in it? ─► snapshot of it ─► all sources ─► whole snapshot ─► the one of what is critical goes
//! ```
//! The rest may take days, or never end well; until then what matters most is in no whole snapshot. The snapshot goes when a
//! whole one is there that has what it has; until then it stays, whatever happens. Nothing is read twice: the whole run takes
//! files from the trees of the first as it does from those of a run that was interrupted.

use std::path::{Path, PathBuf};

use super::begun::Stored;
use super::past::{Past, newest};
use super::roots::Roots;
use super::session::Session;
use super::{BackupOptions, again, attempt};
use crate::blob::Opener;
use crate::control::Gate;
use crate::error::Result;
use crate::id::{BlobId, SnapshotId};
use crate::lock::Lock;
use crate::monitor::{ItemFailure, Monitor, PackRecord, Progress};
use crate::snapshot::Snapshot;
use crate::storage::{FileKind, FileName};
use crate::tree::Node;

/// Which part of a backup a run is, and what it finds done.
#[derive(Default)]
pub(super) struct Part {
    /// What other runs have stored.
    pub(super) stored: Vec<Stored>,
    /// Whether it is the first part, that of what is critical.
    pub(super) is_critical: bool,
    /// Whether there is a whole snapshot already.
    has_whole: bool,
    /// Bytes of new data that the first part has stored.
    pub(super) data_bytes: u64,
    /// By how much the repository grew in the first part.
    pub(super) bytes_stored: u64,
}

impl Part {
    /// Returns whether the record is used; `None` if none is kept either. What is critical is compared with the whole
    /// snapshot, and a retry with a partial one: neither has a record of its own.
    pub(super) fn record_use(&self, options: &BackupOptions, use_it: bool) -> Option<bool> {
        (!self.is_critical && options.again.is_none()).then_some(use_it)
    }

    /// Returns whether a run of what is critical need not leave a snapshot: there is one that has every file as it is.
    pub(super) fn is_enough(&self, session: &Session<'_>, past: &Past, tree: BlobId) -> bool {
        let counts = session.counts();
        let is_in_whole = self.has_whole && counts.files_new + counts.files_changed == 0;
        let is_there = past.critical.iter().any(|(_, snapshot)| snapshot.tree == tree);
        self.is_critical && (counts.entries == 0 || is_in_whole || is_there)
    }
}

/// Backs up what is critical, if there is such a thing; returns what the run of the whole finds done.
///
/// # Errors
/// Those of a backup.
pub(super) fn back_up_first(lock: &Lock, options: &BackupOptions, gate: &Gate, monitor: &dyn Monitor) -> Result<Part> {
    let repository = lock.repository();
    // A retry looks at what failed alone. Where nothing can be removed, nothing is left that has to go.
    let is_append_only = repository.config().append_only == Some(true);
    if options.critical.is_empty() || options.again.is_some() || repository.is_dry() || is_append_only {
        return Ok(Part::default());
    }
    let sources: Vec<PathBuf> = options.critical.iter().filter(|path| is_there(path, monitor)).cloned().collect();
    if sources.is_empty() || Roots::new(&sources)?.sources == Roots::new(&options.sources)?.sources {
        return Ok(Part::default());
    }
    let list = repository.snapshots()?.list;
    let whole = newest(options, &list);
    let is_whole = |snapshot: &Snapshot| !options.incomplete_tags.iter().any(|tag| snapshot.tags.contains(tag));
    let earlier = list.iter().map(|(_, snapshot)| snapshot).filter(|snapshot| options.is_of_critical(snapshot));
    // Of others nobody knows what went wrong.
    let earlier = earlier.filter(|snapshot| is_whole(snapshot));
    let part = Part {
        stored: earlier.map(|snapshot| Stored::new(snapshot.tree, snapshot.time, Vec::new())).collect(),
        is_critical: true,
        has_whole: whole.is_some_and(|(_, snapshot)| !options.is_interrupted(snapshot)),
        ..Part::default()
    };
    let asked = BackupOptions { parent: whole.map(|(id, _)| *id), ..of_critical(options, sources) };
    let done = attempt(lock, &asked, gate, &Quiet(monitor), &part)?;
    if let Some(id) = done.summary.snapshot {
        let id = id.short();
        monitor.notice(&format!("What is critical is safe in snapshot {id}, which goes when the whole one is there."));
    }
    let stored = done.doubts.map(|doubts| Stored::new(done.tree, options.time, doubts)).into_iter().collect();
    Ok(Part { stored, data_bytes: done.data_bytes, bytes_stored: done.summary.bytes_stored, ..Part::default() })
}

/// Returns what is asked for of what is critical.
fn of_critical(options: &BackupOptions, sources: Vec<PathBuf>) -> BackupOptions {
    let none = Vec::new;
    BackupOptions {
        sources,
        tags: options.tags.iter().chain(&options.critical_tags).cloned().collect(),
        interrupted_tags: none(),
        major_tags: none(),
        minor_tags: none(),
        // What the caller knows counts from a snapshot of the whole.
        changed: None,
        room: None,
        ..options.clone()
    }
}

fn is_there(path: &Path, monitor: &dyn Monitor) -> bool {
    let is_there = path.symlink_metadata().is_ok();
    if !is_there {
        monitor.notice(&format!("What is to be critical, {}, is not there.", path.display()));
    }
    is_there
}

impl Session<'_> {
    /// Removes snapshots of what is critical of which all is in the one that was just written. What cannot be removed now
    /// is when the next backup ends.
    pub(super) fn remove_critical(&self, found: &[(SnapshotId, Snapshot)], tree: BlobId) {
        for (id, snapshot) in found {
            if self.holds(snapshot, tree).unwrap_or(false) {
                let _ = self.repository.storage().remove(&FileName::new(FileKind::Snapshot, id.0));
            }
        }
    }

    /// Returns whether a tree has what a snapshot has: nothing went wrong there, and no folder is missing or empty that was
    /// not, as when its drive has gone meanwhile or something leaves it out.
    fn holds(&self, snapshot: &Snapshot, tree: BlobId) -> Option<bool> {
        let doubts = self.recorded.doubts()?.into_iter().collect();
        let mut opener = Opener::new(self.repository.blob_limits()).ok()?;
        self.know_index().ok()?;
        for path in &snapshot.paths {
            let old = self.find(&mut opener, snapshot.tree, path);
            let new = self.find(&mut opener, tree, path);
            let is_held = match (&old, &new) {
                (None, _) => !path.contains(char::REPLACEMENT_CHARACTER),
                (Some(_), None) => false,
                (Some(old), Some(new)) => {
                    old.kind == new.kind && (self.is_empty(&mut opener, old) || !self.is_empty(&mut opener, new))
                }
            };
            if !is_held || again::concerns(&doubts, Path::new(path)) {
                return Some(false);
            }
        }
        Some(true)
    }

    fn find(&self, opener: &mut Opener, top: BlobId, path: &str) -> Option<Node> {
        let (mut tree, mut found) = (Some(top), None);
        for name in path.split('/').filter(|name| !name.is_empty()) {
            let node = self.repository.read_tree(opener, &tree?).ok()?.get(name.as_bytes())?.clone();
            tree = node.subtree;
            found = Some(node);
        }
        found
    }

    fn is_empty(&self, opener: &mut Opener, node: &Node) -> bool {
        node.subtree.is_some_and(|id| self.repository.read_tree(opener, &id).is_ok_and(|tree| tree.nodes.is_empty()))
    }
}

/// What the run of what is critical says: the run of the whole counts all of it, and meets again what goes wrong.
struct Quiet<'m>(&'m dyn Monitor);

impl Monitor for Quiet<'_> {
    fn progress(&self, delta: &Progress) {
        self.0.progress(&Progress { bytes_stored: delta.bytes_stored, ..Progress::default() });
    }
    fn current(&self, path: &Path) {
        self.0.current(path);
    }
    fn item_failed(&self, _: ItemFailure) {}
    fn notice(&self, sentence: &str) {
        self.0.notice(sentence);
    }
    fn storing(&self, pack: &PackRecord) -> Result<()> {
        self.0.storing(pack)
    }
    fn indexed(&self) {
        self.0.indexed();
    }
}
