//! The walk's side of the record: what was there is used, what is there is written.

use std::collections::{BTreeMap, HashMap};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::compare::Changes;
use super::session::{Session, guard};
use super::walker::{Entry, Walker};
use crate::error::Result;
use crate::id::{BlobHandle, BlobId, BlobKind};
use crate::monitor::Progress;
use crate::record::{self, Block, BlockBuilder, Child, Record, Recorder, stamp_into};
use crate::source::is_local;
use crate::source::meta::kind_of;
use crate::source::walk::{Folder, Stat};
use crate::tree::{Node, NodeKind, Tree};

/// What the walk knows from the record, and what it records.
#[derive(Default)]
pub(super) struct Tracking<'s> {
    record: Option<&'s Record>,
    changes: Changes,
    recording: Option<Recording>,
    locals: HashMap<u64, bool>,
}

/// What the walk has recorded.
pub(super) struct Recording {
    pub(super) recorder: Recorder,
    sources: BTreeMap<Vec<u8>, Noted>,
}

/// An entry as it was found.
struct Noted {
    stamp: Vec<u8>,
    is_unsettled: bool,
    child: Option<Child>,
}

/// A folder that is being walked.
#[derive(Default)]
pub(super) struct Track {
    old: Option<Block>,
    new: BlockBuilder,
}

impl Recording {
    /// Returns the sources as the entries of a folder.
    pub(super) fn sources(&self) -> Option<Block> {
        let mut builder = BlockBuilder::default();
        for (name, Noted { stamp, is_unsettled, child }) in &self.sources {
            builder.copy(&record::Entry { name, stamp, is_unsettled: *is_unsettled, child: *child });
        }
        Block::decode(builder.finish().0)
    }
}

impl<'s> Tracking<'s> {
    /// Compares the sources with the record, and begins the one to come.
    pub(super) fn begin(session: &'s Session<'_>, sources: &[PathBuf]) -> Result<Self> {
        let mut tracking = Self::default();
        let recorded = &session.recorded;
        let Some((folder, key)) = &recorded.place else { return Ok(tracking) };
        if let Some(record) = &recorded.record {
            match Changes::find(session, record, sources)? {
                Some(changes) => (tracking.record, tracking.changes) = (Some(record), changes),
                None => {
                    recorded.set_broken();
                    session.know_index()?;
                }
            }
        }
        session.say_missed(tracking.changes.missed, tracking.changes.example.take());
        if session.repository.is_dry() {
            return Ok(tracking);
        }
        match Recorder::begin(folder, *key, tracking.record) {
            Ok(recorder) => tracking.recording = Some(Recording { recorder, sources: BTreeMap::new() }),
            Err(error) => session.say_unrecorded(&error),
        }
        Ok(tracking)
    }

    /// Returns what the record has of an entry of a folder, or of a source.
    fn old<'t>(&'t self, above: Option<&'t Track>, entry: &Entry<'_>) -> Option<record::Entry<'t>> {
        match above {
            Some(track) => track.old.as_ref()?.get(entry.name.as_bytes()),
            None => self.record?.head.sources.get(entry.path.as_os_str().as_bytes()),
        }
    }

    /// Returns the block of a folder in which nothing differs.
    fn kept(&self, above: Option<&Track>, entry: &Entry<'_>) -> Option<Child> {
        let old = self.old(above, entry)?;
        let child = old.child.filter(|child| !self.changes.changed.contains(&child.offset))?;
        (stamp(&entry.stat) == old.stamp).then_some(child)
    }

    /// Begins a folder that is walked.
    pub(super) fn enter(&mut self, above: Option<&Track>, entry: Option<&Entry<'_>>, folder: &Folder) -> Track {
        let child = match entry {
            Some(entry) => self.old(above, entry).and_then(|old| old.child),
            None => self.record.and_then(|record| record.head.sources.get(b"/")?.child),
        };
        let child = child.filter(|child| !self.changes.blind.contains(&child.offset));
        let old = child.and_then(|child| self.record?.read(&child));
        let mut new = BlockBuilder::default();
        if self.recording.is_some() {
            let device = folder.identity().device;
            if !*self.locals.entry(device).or_insert_with(|| is_local(folder.as_fd())) {
                new.forbid_hints();
            }
        }
        Track { old, new }
    }

    /// Notes an entry of a folder, or a source.
    fn note(
        &mut self,
        session: &Session<'_>,
        above: Option<&mut Track>,
        name: &[u8],
        stat: &Stat,
        child: Option<Child>,
    ) {
        let Some(recording) = &mut self.recording else { return };
        let stamp = stamp(stat);
        let is_unsettled = !session.will_be_settled(stat);
        match above {
            Some(track) => {
                if kind_of(stat) == NodeKind::File {
                    track.new.count_file(u64::try_from(stat.st_size).unwrap_or(0));
                }
                track.new.copy(&record::Entry { name, stamp: &stamp, is_unsettled, child });
            }
            None => _ = recording.sources.insert(name.to_owned(), Noted { stamp, is_unsettled, child }),
        }
    }

    /// Ends a folder that was walked; returns where its block is.
    fn leave(&mut self, session: &Session<'_>, track: Track) -> Option<Child> {
        let recording = self.recording.as_mut()?;
        let (block, totals) = track.new.finish();
        // Nothing else may have changed than its own entry.
        match recording.recorder.add(&block, totals) {
            Ok(child) => Some(child),
            Err(error) => {
                session.say_unrecorded(&error);
                self.recording = None;
                None
            }
        }
    }
}

impl Walker<'_, '_, '_> {
    /// Notes an entry that is no folder, or one that is not gone into.
    pub(super) fn note(&mut self, entry: &Entry<'_>) {
        self.note_with(entry, None);
    }

    fn note_with(&mut self, entry: &Entry<'_>, child: Option<Child>) {
        let above = self.stack.last_mut().map(|frame| &mut frame.track);
        let name = if above.is_some() { entry.name } else { entry.path.as_os_str() };
        self.tracking.note(self.session, above, name.as_bytes(), &entry.stat, child);
    }

    /// Ends the record of a folder that is walked to its end, and notes it in the one above.
    pub(super) fn leave(&mut self, track: Track, path: &std::path::Path, stat: &Stat, is_cache: bool) {
        let mut track = track;
        track.new.set_cache(is_cache);
        let Some(child) = self.tracking.leave(self.session, track) else { return };
        let above = self.stack.last_mut().map(|frame| &mut frame.track);
        let name = path.file_name().filter(|_| above.is_some()).unwrap_or(path.as_os_str());
        self.tracking.note(self.session, above, name.as_bytes(), stat, Some(child));
    }

    /// Returns the parent snapshot's entry of a folder in which nothing differs from the record, and counts what it
    /// holds.
    pub(super) fn keep(&mut self, entry: &Entry<'_>) -> Option<Node> {
        let before = entry.earlier.before.as_ref().filter(|before| before.subtree.is_some())?;
        let child = self.tracking.kept(self.stack.last().map(|frame| &frame.track), entry)?;
        let totals = child.totals;
        let source = &mut self.sources[self.source];
        source.files += totals.files;
        source.bytes += totals.bytes;
        self.session.count(|counts| {
            counts.entries += totals.entries;
            counts.files_unmodified += totals.files;
            counts.folders_unmodified += totals.folders;
            counts.bytes += totals.bytes;
            counts.bytes_unchanged += totals.bytes;
        });
        self.session.monitor.progress(&Progress {
            files: totals.files,
            folders: totals.folders,
            bytes: totals.bytes,
            bytes_unchanged: totals.bytes,
            ..Progress::default()
        });
        self.note_with(entry, Some(child));
        Some(before.clone())
    }

    /// Returns whether a file is as the parent snapshot has it, and all of that is still in the repository.
    pub(super) fn is_unchanged(&self, before: &Node, now: &Node) -> bool {
        let same = before.looks_like(now) && self.session.is_settled(before);
        // What the record was made of need not be looked up.
        let is_trusted = self.session.recorded.is_trusted();
        same && before.content.as_ref().is_some_and(|content| {
            let index = self.session.repository.index();
            is_trusted || content.iter().all(|id| index.contains(&BlobHandle { kind: BlobKind::Data, id: *id }))
        })
    }

    /// A tree of the parent snapshot; what cannot be read is as if it had not been there.
    pub(super) fn tree_before(&mut self, id: &BlobId) -> Option<Tree> {
        if let Some(known) = self.session.recorded.tree(id) {
            return Tree::decode(known).ok();
        }
        self.session.know_index().ok()?;
        self.session.repository.read_tree(&mut self.opener, id).ok()
    }

    /// Hands on what was recorded.
    pub(super) fn end_tracking(&mut self) {
        *guard(&self.session.recorded.recording) = self.tracking.recording.take();
    }
}

impl Session<'_> {
    fn say_missed(&self, count: u64, example: Option<PathBuf>) {
        if let Some(example) = example {
            self.monitor.notice(&format!(
                "Changes in {count} folders, such as {}, had not been announced; this backup has looked at everything.",
                example.display()
            ));
            self.count(|counts| counts.hints_missed += count);
        }
    }

    fn say_unrecorded(&self, error: &std::io::Error) {
        self.monitor.notice(&format!("The record of files cannot be kept, the next backup reads more: {error}."));
    }
}

fn stamp(stat: &Stat) -> Vec<u8> {
    let mut stamp = Vec::with_capacity(64);
    stamp_into(&mut stamp, stat);
    stamp
}
