//! The walk: every folder below the sources, depth first, each entry compared with the parent snapshot.

use std::ffi::{OsStr, OsString};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;

use super::begun::{Earlier, EarlierTrees};
use super::building::{Building, Slot};
use super::file::{FileTask, unreadable};
use super::known::Known;
use super::need::Need;
use super::queue::Queue;
use super::roots::Roots;
use super::session::Session;
use super::sources::{self, SourceCount};
use super::tally::Tally;
use super::tracking::{Track, Tracking};
use super::worker::Worker;
use crate::blob::Opener;
use crate::error::{Error, Result};
use crate::limits::DEPTH_MAX;
use crate::monitor::Progress;
use crate::source::exclude::{CACHE_TAG_NAME, is_cache_tag};
use crate::source::handle::Place;
use crate::source::meta::{complete, describe};
use crate::source::walk::{Folder, Identity, Stat};
use crate::tree::{Node, NodeKind};

/// Walks the sources of one backup.
pub(super) struct Walker<'w, 's, 'a> {
    pub(super) session: &'s Session<'a>,
    pub(super) worker: &'w mut Worker<'s, 'a>,
    files: &'w mut Queue,
    pub(super) roots: &'w Roots,
    pub(super) sources: &'w mut [SourceCount],
    pub(super) opener: Opener,
    pub(super) known: Known<'s>,
    /// Folders that are being walked, the deepest last.
    pub(super) stack: Vec<Frame>,
    pub(super) tracking: Tracking<'s>,
    /// The source that is being walked.
    pub(super) source: usize,
    left_out: bool,
    need: Need,
}

/// A folder that is being walked.
pub(super) struct Frame {
    folder: Arc<Folder>,
    path: PathBuf,
    names: std::vec::IntoIter<OsString>,
    building: Arc<Building>,
    earlier: EarlierTrees,
    /// Whether only the tag of a cache folder is kept.
    is_cache: bool,
    pub(super) track: Track,
    /// What the folder was when it was met.
    stat: Stat,
}

/// An entry that was looked at.
pub(super) struct Entry<'e> {
    pub(super) folder: &'e Arc<Folder>,
    pub(super) name: &'e OsStr,
    pub(super) path: PathBuf,
    pub(super) stat: Stat,
    pub(super) earlier: Earlier,
}

impl<'w, 's, 'a> Walker<'w, 's, 'a> {
    pub(super) fn new(
        session: &'s Session<'a>,
        worker: &'w mut Worker<'s, 'a>,
        files: &'w mut Queue,
        roots: &'w Roots,
        sources: &'w mut [SourceCount],
    ) -> Result<Self> {
        let (opener, known) = (Opener::new(session.repository.blob_limits())?, Known::new(session.repository)?);
        Ok(Self {
            session,
            worker,
            files,
            roots,
            sources,
            opener,
            known,
            stack: Vec::new(),
            tracking: Tracking::default(),
            source: 0,
            left_out: false,
            need: Need::default(),
        })
    }

    /// Walks the folders on the stack until it is empty.
    pub(super) fn walk_stack(&mut self) -> Result<()> {
        while let Some(frame) = self.stack.last_mut() {
            self.worker.step(0)?;
            let Some(name) = frame.names.next() else {
                if let Some(frame) = self.stack.pop() {
                    self.files.folder_done()?;
                    self.leave(frame.track, &frame.path, &frame.stat, frame.is_cache);
                    frame.building.close(self.worker)?;
                }
                continue;
            };
            if frame.is_cache && name != CACHE_TAG_NAME {
                continue;
            }
            let path = frame.path.join(&name);
            let (folder, building) = (frame.folder.clone(), frame.building.clone());
            let earlier = frame.earlier.get(name.as_bytes());
            if self.session.options.exclude.excluded(path.as_os_str().as_bytes()) {
                continue;
            }
            match folder.look(&name) {
                Ok(stat) => {
                    let entry = Entry { folder: &folder, name: &name, path, stat, earlier };
                    if !self.is_left_out(&entry) {
                        self.entry(entry, building.add_slot())?;
                    }
                }
                Err(error) => {
                    let error = Error::io("look at", &path)(error);
                    self.session.item_failed(unreadable(&path, &error));
                }
            }
        }
        Ok(())
    }

    /// Returns whether an entry is the caller's own or, if asked for, on another file system.
    fn is_left_out(&mut self, entry: &Entry<'_>) -> bool {
        let identity = Identity::of(&entry.stat);
        if self.session.never.contains(&identity) {
            if !std::mem::replace(&mut self.left_out, true) {
                let path = entry.path.display();
                let sentence = format!("The backup's own files, such as {path}, are left out.");
                self.session.monitor.notice(&sentence);
            }
            return true;
        }
        let is_folder = crate::source::meta::kind_of(&entry.stat) == NodeKind::Dir;
        !is_folder && self.is_elsewhere(identity)
    }

    fn is_elsewhere(&self, identity: Identity) -> bool {
        self.session.options.one_file_system && self.sources[self.source].device != Some(identity.device)
    }

    /// Stores an entry, or passes it on.
    pub(super) fn entry(&mut self, entry: Entry<'_>, slot: Slot) -> Result<()> {
        let mut node = describe(entry.name, &entry.stat, &self.session.owners);
        if node.kind != NodeKind::Dir {
            self.note(&entry);
        }
        match node.kind {
            NodeKind::Dir => self.folder(entry, node, slot),
            NodeKind::File => self.file(entry, node, slot),
            _ => {
                match complete(&mut node, Place::Entry(entry.folder.as_fd(), entry.name)) {
                    Ok(problems) => self.session.problems(&entry.path, problems),
                    Err(error) => {
                        let error = Error::io("read the metadata of", &entry.path)(error);
                        self.session.item_failed(unreadable(&entry.path, &error));
                        return slot.fill(None, self.worker);
                    }
                }
                self.worker.tally.counts.entries += 1;
                slot.fill(Some(&node), self.worker)
            }
        }
    }

    fn file(&mut self, entry: Entry<'_>, node: Node, slot: Slot) -> Result<()> {
        let count = &mut self.sources[self.source];
        count.files += 1;
        count.bytes += node.size;
        self.session.weigh(&mut self.need, &entry.stat);
        let before = entry.earlier.before.filter(|before| before.kind == NodeKind::File);
        let is_named = self.session.again.names(&entry.path);
        if let Some(before) = before.as_ref().filter(|before| !is_named && self.is_unchanged(before, &node)) {
            let unchanged = Node { device_id: node.device_id, ..before.clone() };
            let Tally { counts, progress } = &mut self.worker.tally;
            counts.entries += 1;
            counts.files_unmodified += 1;
            counts.bytes += node.size;
            counts.bytes_unchanged += node.size;
            progress.add(&Progress { files: 1, bytes: node.size, bytes_unchanged: node.size, ..Progress::default() });
            return slot.fill(Some(&unchanged), self.worker);
        }
        let known = before.is_some();
        let begun = entry.earlier.begun;
        let Some(slot) = self.fill_from_begun(begun, &node, &entry.path, slot, known)? else { return Ok(()) };
        let name = entry.name.to_owned();
        let task = FileTask { folder: entry.folder.clone(), name, path: entry.path, slot, known };
        self.files.add(task, node.size)
    }

    fn folder(&mut self, entry: Entry<'_>, mut node: Node, slot: Slot) -> Result<()> {
        if let Some(before) = self.take_over(&entry.path, entry.earlier.before.as_ref()) {
            return slot.fill(Some(&before), self.worker);
        }
        if let Some(before) = self.keep(&entry) {
            return slot.fill(Some(&before), self.worker);
        }
        let before = entry.earlier.before.as_ref().and_then(|node| node.subtree);
        if self.is_elsewhere(Identity::of(&entry.stat)) {
            self.note(&entry);
            // Where another file system is mounted, an empty folder stands for it.
            return Building::below(slot, node, before).close(self.worker);
        }
        let opened = if self.stack.len() >= DEPTH_MAX {
            let limit = format!("{DEPTH_MAX} levels");
            Err(Error::Limit { what: format!("the depth of {}", entry.path.display()), limit })
        } else {
            entry.folder.open_child(entry.name).map_err(Error::io("read", &entry.path))
        };
        let folder = match opened {
            Ok(folder) => folder,
            Err(error) => {
                self.session.item_failed(unreadable(&entry.path, &error));
                return slot.fill(None, self.worker);
            }
        };
        self.worker.tally.counts.entries += 1;
        match complete(&mut node, Place::Open(folder.as_fd())) {
            Ok(problems) => self.session.problems(&entry.path, problems),
            Err(error) => self.session.item_error(&entry.path, &Error::io("read", &entry.path)(error)),
        }
        let earlier = self.trees_of(&entry.earlier);
        let building = Building::below(slot, node, before);
        let track = self.tracking.enter(self.stack.last().map(|frame| &frame.track), Some(&entry), &folder);
        self.push_met(Arc::new(folder), entry.path, building, earlier, (track, entry.stat))
    }

    /// Puts the top on the stack.
    pub(super) fn push(
        &mut self,
        folder: Arc<Folder>,
        path: PathBuf,
        building: Arc<Building>,
        earlier: EarlierTrees,
        track: Track,
    ) -> Result<()> {
        let stat = *folder.stat();
        self.push_met(folder, path, building, earlier, (track, stat))
    }

    /// Puts a folder on the stack that was met when it looked like this.
    fn push_met(
        &mut self,
        folder: Arc<Folder>,
        path: PathBuf,
        building: Arc<Building>,
        earlier: EarlierTrees,
        (track, stat): (Track, Stat),
    ) -> Result<()> {
        let names = match folder.names() {
            Ok(listing) => {
                if let Some(error) = listing.error {
                    self.session.item_error(&path, &Error::io("list", &path)(error));
                }
                listing.names
            }
            Err(error) => {
                self.session.item_error(&path, &Error::io("list", &path)(error));
                Vec::new()
            }
        };
        if names.is_empty() && self.roots.sources.get(self.source) == Some(&path) {
            self.session.item_failed(sources::suspicious(&path, "is empty"));
        }
        let is_cache = self.session.options.exclude_caches && is_cache(&folder, &names);
        self.stack.push(Frame { folder, path, names: names.into_iter(), building, earlier, is_cache, track, stat });
        Ok(())
    }
}

/// Returns whether a folder is marked as a cache.
pub(super) fn is_cache(folder: &Folder, names: &[OsString]) -> bool {
    let tag = OsStr::new(CACHE_TAG_NAME);
    if names.binary_search_by(|name| name.as_bytes().cmp(tag.as_bytes())).is_err() {
        return false;
    }
    let mut start = Vec::new();
    let read = folder.open_file(tag).and_then(|opened| {
        use std::io::Read;
        opened.file.take(64).read_to_end(&mut start)
    });
    read.is_ok() && is_cache_tag(&start)
}
