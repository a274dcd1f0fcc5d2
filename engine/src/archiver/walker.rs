//! The walk: every folder below the sources, depth first, each entry compared with the parent snapshot.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crossbeam_channel::Sender;

use super::building::{Building, Slot};
use super::file::{FileTask, unreadable};
use super::roots::{Root, Roots};
use super::session::Session;
use super::source_before;
use super::worker::Worker;
use crate::blob::Opener;
use crate::error::{Class, Error, Result};
use crate::id::{BlobHandle, BlobKind};
use crate::limits::DEPTH_MAX;
use crate::monitor::{ItemFailure, Progress};
use crate::snapshot::Snapshot;
use crate::source::exclude::{CACHE_TAG_NAME, is_cache_tag};
use crate::source::handle::Place;
use crate::source::meta::{complete, describe};
use crate::source::walk::{Folder, Identity, Stat};
use crate::tree::{Node, NodeKind, Tree};

/// What a source held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct SourceCount {
    pub(super) files: u64,
    pub(super) bytes: u64,
    /// The device it is on, as long as the machine runs.
    pub(super) device: Option<u64>,
    /// The file system it is on, which for most stays the same when devices are numbered anew.
    pub(super) file_system: Option<u64>,
    /// Entries at its top.
    pub(super) entries: u64,
}

/// Walks the sources of one backup.
pub(super) struct Walker<'w, 's, 'a> {
    session: &'s Session<'a>,
    worker: &'w mut Worker<'s, 'a>,
    files: &'w Sender<FileTask>,
    roots: &'w Roots,
    sources: &'w mut [SourceCount],
    opener: Opener,
    /// Folders that are being walked, the deepest last.
    stack: Vec<Frame>,
    /// The source that is being walked.
    source: usize,
    left_out: bool,
}

/// A folder that is being walked.
struct Frame {
    folder: Arc<Folder>,
    path: PathBuf,
    names: std::vec::IntoIter<OsString>,
    building: Arc<Building>,
    /// What the parent snapshot had here.
    before: Option<Tree>,
    /// Whether only the tag of a cache folder is kept.
    is_cache: bool,
}

/// An entry that was looked at.
struct Entry<'e> {
    folder: &'e Arc<Folder>,
    name: &'e OsStr,
    path: PathBuf,
    stat: Stat,
    /// The entry of the same name in the parent snapshot.
    before: Option<Node>,
}

impl<'w, 's, 'a> Walker<'w, 's, 'a> {
    pub(super) fn new(
        session: &'s Session<'a>,
        worker: &'w mut Worker<'s, 'a>,
        files: &'w Sender<FileTask>,
        roots: &'w Roots,
        sources: &'w mut [SourceCount],
    ) -> Result<Self> {
        let opener = Opener::new()?;
        Ok(Self { session, worker, files, roots, sources, opener, stack: Vec::new(), source: 0, left_out: false })
    }

    /// Walks everything; the top's tree is stored by whoever stores the last entry.
    pub(super) fn run(&mut self, parent: Option<&Snapshot>) -> Result<()> {
        let top = Building::top();
        let before = parent.and_then(|snapshot| self.opener_tree(&snapshot.tree));
        match &self.roots.top {
            Root::Source(source) => {
                self.source = *source;
                match Folder::open_root(Path::new("/")) {
                    Ok(folder) => {
                        self.sources[*source].device = Some(folder.identity().device);
                        self.sources[*source].file_system = file_system(Path::new("/"));
                        self.session.count(|counts| counts.sources_read += 1);
                        self.push(Arc::new(folder), PathBuf::from("/"), top, before)?;
                        self.walk_stack()?;
                    }
                    Err(error) => {
                        self.session.item_error(Path::new("/"), &Error::io("read", "/")(error));
                        top.close(self.worker)?;
                    }
                }
            }
            Root::Above(names) => self.walk_above(names, Path::new("/"), top, before.as_ref())?,
        }
        self.check_sources(parent);
        Ok(())
    }

    fn walk_above(
        &mut self,
        names: &BTreeMap<OsString, Root>,
        path: &Path,
        building: Arc<Building>,
        before: Option<&Tree>,
    ) -> Result<()> {
        for (name, root) in names {
            let path = path.join(name);
            let slot = building.add_slot();
            let before = before.and_then(|tree| tree.get(name.as_bytes()));
            match root {
                Root::Source(source) => {
                    self.source = *source;
                    self.walk_source(&path, name, slot, before.cloned())?;
                }
                Root::Above(names) => self.walk_folder_above(names, &path, name, slot, before)?,
            }
        }
        building.close(self.worker)
    }

    /// Walks what leads to sources below a folder that is not one itself.
    fn walk_folder_above(
        &mut self,
        names: &BTreeMap<OsString, Root>,
        path: &Path,
        name: &OsStr,
        slot: Slot,
        before: Option<&Node>,
    ) -> Result<()> {
        // Links on the way to a source are followed, as they were meant when it was typed.
        let node = match rustix::fs::stat(path) {
            Ok(stat) => describe(name, &stat, &self.session.owners),
            Err(error) => {
                self.report_missing(path, &Error::io("look at", path)(error.into()));
                return slot.fill(None, self.worker);
            }
        };
        let subtree = before.and_then(|node| node.subtree);
        let tree = subtree.and_then(|id| self.opener_tree(&id));
        let building = Building::below(slot, Node { size: 0, ..node }, subtree);
        self.walk_above(names, path, building, tree.as_ref())
    }

    fn report_missing(&self, path: &Path, error: &Error) {
        for source in self.roots.sources.iter().filter(|source| source.starts_with(path)) {
            self.session.item_failed(missing_source(source, error));
        }
    }

    /// Walks one source to its end.
    fn walk_source(&mut self, path: &Path, name: &OsStr, slot: Slot, before: Option<Node>) -> Result<()> {
        let above = path.parent().unwrap_or(Path::new("/"));
        let looked = Folder::hold(above).and_then(|folder| Ok((folder.look(name)?, folder)));
        let (stat, folder) = match looked {
            Ok(looked) => looked,
            Err(error) => {
                self.session.item_failed(missing_source(path, &Error::io("look at", path)(error)));
                return slot.fill(None, self.worker);
            }
        };
        if describe(name, &stat, &self.session.owners).kind == NodeKind::Symlink {
            let link = path.display();
            self.session.monitor.notice(&format!("The source {link} is a link; only the link itself is backed up."));
        }
        self.sources[self.source].device = Some(Identity::of(&stat).device);
        self.sources[self.source].file_system = file_system(path);
        self.session.count(|counts| counts.sources_read += 1);
        let folder = Arc::new(folder);
        self.entry(Entry { folder: &folder, name, path: path.to_path_buf(), stat, before }, slot)?;
        self.walk_stack()
    }

    /// Walks the folders on the stack until it is empty.
    fn walk_stack(&mut self) -> Result<()> {
        while let Some(frame) = self.stack.last_mut() {
            self.session.check()?;
            let Some(name) = frame.names.next() else {
                if let Some(frame) = self.stack.pop() {
                    frame.building.close(self.worker)?;
                }
                continue;
            };
            if frame.is_cache && name != CACHE_TAG_NAME {
                continue;
            }
            let path = frame.path.join(&name);
            let (folder, building) = (frame.folder.clone(), frame.building.clone());
            let before = frame.before.as_ref().and_then(|tree| tree.get(name.as_bytes())).cloned();
            if self.session.options.exclude.excluded(path.as_os_str().as_bytes()) {
                continue;
            }
            match folder.look(&name) {
                Ok(stat) => {
                    let entry = Entry { folder: &folder, name: &name, path, stat, before };
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
    fn entry(&mut self, entry: Entry<'_>, slot: Slot) -> Result<()> {
        let mut node = describe(entry.name, &entry.stat, &self.session.owners);
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
                slot.fill(Some(&node), self.worker)
            }
        }
    }

    fn file(&mut self, entry: Entry<'_>, node: Node, slot: Slot) -> Result<()> {
        let count = &mut self.sources[self.source];
        count.files += 1;
        count.bytes += node.size;
        let before = entry.before.filter(|before| before.kind == NodeKind::File);
        if let Some(before) = before.as_ref().filter(|before| self.is_unchanged(before, &node)) {
            let unchanged = Node { device_id: node.device_id, ..before.clone() };
            self.session.count(|counts| {
                counts.files_unmodified += 1;
                counts.bytes += node.size;
            });
            let done = Progress { files: 1, bytes: node.size, bytes_unchanged: node.size, ..Progress::default() };
            self.session.monitor.progress(&done);
            return slot.fill(Some(&unchanged), self.worker);
        }
        let name = entry.name.to_owned();
        let known = before.is_some();
        let task = FileTask { folder: entry.folder.clone(), name, path: entry.path, slot, known };
        // The workers are gone only if one of them failed, and that error is the one to report.
        self.files.send(task).map_err(|_| Error::Cancelled)
    }

    /// Returns whether a file is as the parent snapshot has it, and all of that is still in the repository.
    fn is_unchanged(&self, before: &Node, now: &Node) -> bool {
        let settled = |time: Option<jiff::Timestamp>| time.is_some_and(|time| time < self.session.settled_before);
        let same = before.size == now.size
            && before.mtime == now.mtime
            && before.ctime == now.ctime
            && before.inode == now.inode
            && settled(before.mtime)
            && settled(before.ctime);
        same && before.content.as_ref().is_some_and(|content| {
            let index = self.session.repository.index();
            content.iter().all(|id| index.contains(&BlobHandle { kind: BlobKind::Data, id: *id }))
        })
    }

    fn folder(&mut self, entry: Entry<'_>, mut node: Node, slot: Slot) -> Result<()> {
        let before = entry.before.and_then(|node| node.subtree);
        if self.is_elsewhere(Identity::of(&entry.stat)) {
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
        match complete(&mut node, Place::Open(folder.as_fd())) {
            Ok(problems) => self.session.problems(&entry.path, problems),
            Err(error) => self.session.item_error(&entry.path, &Error::io("read", &entry.path)(error)),
        }
        let tree = before.and_then(|id| self.opener_tree(&id));
        let building = Building::below(slot, node, before);
        self.push(Arc::new(folder), entry.path, building, tree)
    }

    /// Puts a folder on the stack.
    fn push(
        &mut self,
        folder: Arc<Folder>,
        path: PathBuf,
        building: Arc<Building>,
        before: Option<Tree>,
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
        if self.roots.sources.get(self.source) == Some(&path) {
            self.sources[self.source].entries = names.len() as u64;
            if names.is_empty() {
                self.session.item_failed(suspicious_source(&path, "is empty"));
            }
        }
        let is_cache = self.session.options.exclude_caches && is_cache(&folder, &names);
        self.stack.push(Frame { folder, path, names: names.into_iter(), building, before, is_cache });
        Ok(())
    }

    /// A tree of the parent snapshot; what cannot be read is as if it had not been there.
    fn opener_tree(&mut self, id: &crate::id::BlobId) -> Option<Tree> {
        self.session.repository.read_tree(&mut self.opener, id).ok()
    }

    /// Reports sources that are not what they were.
    fn check_sources(&self, parent: Option<&Snapshot>) {
        for (path, now) in self.roots.sources.iter().zip(&*self.sources) {
            let Some(before) = parent.and_then(|snapshot| source_before(snapshot, path)) else { continue };
            if now.device.is_none() || now.entries == 0 && before.files == 0 {
                continue;
            }
            if before.file_system != now.file_system {
                self.session.item_failed(suspicious_source(path, "is on another device than last time"));
            }
            if now.files < before.files.div_ceil(2) || now.bytes < before.bytes.div_ceil(2) {
                let (files, bytes) = (now.files, now.bytes);
                let problem = format!(
                    "is less than half of what it was: {files} files of {bytes} bytes, last time {} of {} bytes",
                    before.files, before.bytes
                );
                self.session.item_failed(suspicious_source(path, &problem));
            }
        }
    }
}

/// Returns which file system a path is on.
fn file_system(path: &Path) -> Option<u64> {
    rustix::fs::statvfs(path).ok().map(|file_system| file_system.f_fsid)
}

/// Returns whether a folder is marked as a cache.
fn is_cache(folder: &Folder, names: &[OsString]) -> bool {
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

/// The report of a source that is not there.
fn missing_source(path: &Path, error: &Error) -> ItemFailure {
    match error {
        Error::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
            suspicious_source(path, "is missing")
        }
        _ => ItemFailure::new(path, error),
    }
}

/// The report of a source that looks as if a drive were missing.
fn suspicious_source(path: &Path, problem: &str) -> ItemFailure {
    let mut failure = ItemFailure::with(path, Class::Transient, format!("the source {} {problem}", path.display()));
    failure.advice = "Check that its drive is connected and mounted; earlier snapshots have what was there.".to_owned();
    failure
}
