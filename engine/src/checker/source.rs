//! A snapshot beside the files it was made of: what changed since, what is missing, what came since, and which files have
//! other contents although nothing says that they were written.
//!
//! Contents are read by one thread, piece by piece past the gate, without a change of when a file was last read. They are
//! compared with the ids in the snapshot; that what is stored has these ids was checked before.

use std::ffi::{OsStr, OsString};
use std::os::fd::AsFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::Checker;
use crate::blob::Opener;
use crate::error::{Class, Error, Result};
use crate::id::{BlobId, SnapshotId};
use crate::limits::DEPTH_MAX;
use crate::monitor::{Difference, DifferenceKind, ItemFailure};
use crate::snapshot::Snapshot;
use crate::source::exclude::{CACHE_TAG_NAME, Excludes};
use crate::source::handle::Place;
use crate::source::meta::{complete, describe};
use crate::source::owners::Owners;
use crate::source::walk::{Folder, Identity, Stat};
use crate::tree::{Node, NodeKind, Tree};

mod contents;

use contents::Contents;

/// How a snapshot is compared with the files it was made of.
#[derive(Clone, Debug, Default)]
pub struct SourceOptions {
    /// Places that no backup takes: the caller's own.
    pub never: Vec<PathBuf>,
}

/// What a comparison with the files found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SourceSummary {
    /// Files whose contents are the same.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Entries that were changed since.
    pub changed: u64,
    /// Entries that are in the snapshot alone; a folder with all in it counts once.
    pub missing: u64,
    /// Entries that are on the disk alone; a folder with all in it counts once.
    pub extra: u64,
    /// Files with other contents although size and time of modification are the same.
    pub rotten: u64,
}

/// A folder that is being compared.
struct Frame {
    path: PathBuf,
    folder: Folder,
    pairs: std::vec::IntoIter<(OsString, Option<Node>)>,
}

pub(super) struct Comparison<'c, 'a> {
    checker: &'c Checker<'a>,
    sources: Vec<PathBuf>,
    exclude: Excludes,
    never: Vec<Identity>,
    owners: Owners,
    opener: Opener,
    contents: Contents,
    summary: SourceSummary,
    stack: Vec<Frame>,
}

impl Checker<'_> {
    /// Compares a snapshot with the files it was made of.
    pub(super) fn compare_source(
        &self,
        id: SnapshotId,
        snapshot: &Snapshot,
        options: &SourceOptions,
    ) -> Result<SourceSummary> {
        let sources: Vec<PathBuf> = snapshot.paths.iter().map(PathBuf::from).collect();
        if sources.is_empty() || sources.iter().any(|source| !source.is_absolute()) {
            let problem =
                "does not say with absolute paths what it was made of, so there is nothing to compare it with";
            return Err(Error::misuse(format!("snapshot {} {problem}", id.short())));
        }
        let identity = |path: &PathBuf| rustix::fs::stat(path).ok().map(|stat| Identity::of(&stat));
        let mut comparison = Comparison {
            checker: self,
            sources,
            exclude: Excludes::new(&snapshot.excludes)?,
            never: options.never.iter().filter_map(identity).collect(),
            owners: Owners::default(),
            opener: Opener::new(self.repository.blob_limits())?,
            contents: Contents::default(),
            summary: SourceSummary::default(),
            stack: Vec::new(),
        };
        comparison.run(snapshot.tree)?;
        Ok(comparison.summary)
    }
}

impl Comparison<'_, '_> {
    fn run(&mut self, tree: BlobId) -> Result<()> {
        let top = PathBuf::from("/");
        let folder = Folder::open_root(&top).map_err(Error::io("read", &top))?;
        self.enter(top, folder, Some(tree));
        while let Some(frame) = self.stack.last_mut() {
            self.checker.gate.check()?;
            let Some((name, node)) = frame.pairs.next() else {
                self.stack.pop();
                continue;
            };
            let path = frame.path.join(&name);
            match node {
                Some(node) => self.compare(path, &name, &node)?,
                None => self.note_extra(&path, &name),
            }
        }
        Ok(())
    }

    /// Puts a folder on the stack, with what is in it here and there.
    fn enter(&mut self, path: PathBuf, folder: Folder, tree: Option<BlobId>) {
        let read = tree.map(|id| self.checker.repository.read_tree(&mut self.opener, &id));
        // One that cannot be read was reported before, and says nothing about what is on the disk.
        let Ok(tree) = read.transpose() else { return };
        let nodes = tree.unwrap_or_default();
        let is_above = !self.sources.iter().any(|source| path.starts_with(source));
        let is_left_out = self.is_left_out(&path, &folder, &nodes);
        let mut names: Vec<(OsString, Option<Node>)> = Vec::new();
        if !is_above && !is_left_out {
            match folder.names() {
                Ok(listing) => {
                    if let Some(error) = listing.error {
                        self.unreadable(&path, error);
                    }
                    let is_stored = |name: &OsString| nodes.get(name.as_bytes()).is_some();
                    names.extend(listing.names.into_iter().filter(|name| !is_stored(name)).map(|name| (name, None)));
                }
                Err(error) => self.unreadable(&path, error),
            }
        }
        names.extend(nodes.nodes.into_iter().map(|node| (OsString::from_vec(node.name.clone()), Some(node))));
        names.sort_by(|(one, _), (other, _)| one.cmp(other));
        self.stack.push(Frame { path, folder, pairs: names.into_iter() });
    }

    /// Returns whether what is in a folder was left out by an option of the backup that the snapshot does not tell: of a
    /// tagged cache it has nothing but the tag, and of another file system an empty folder.
    fn is_left_out(&self, path: &Path, folder: &Folder, nodes: &Tree) -> bool {
        let is_tag = |node: &Node| node.name == CACHE_TAG_NAME.as_bytes();
        let is_cache = nodes.nodes.len() == 1 && nodes.nodes.iter().all(is_tag);
        let above = self.stack.last().map(|frame| frame.folder.identity().device);
        let is_mount = above.is_some_and(|device| device != folder.identity().device);
        let is_source = self.sources.iter().any(|source| source == path);
        is_cache || (is_mount && !is_source && nodes.nodes.is_empty())
    }

    fn compare(&mut self, path: PathBuf, name: &OsStr, node: &Node) -> Result<()> {
        let Some(frame) = self.stack.last() else { return Ok(()) };
        let stat = match frame.folder.look(name) {
            Ok(stat) => stat,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                self.summary.missing += 1;
                self.differs(&path, DifferenceKind::Missing, node.size, "it is in the snapshot and not on the disk");
                return Ok(());
            }
            Err(error) => {
                self.unreadable(&path, error);
                return Ok(());
            }
        };
        let is_above = self.sources.iter().any(|source| source != &path && source.starts_with(&path));
        if is_above && node.kind == NodeKind::Dir {
            // Links on the way to a source are followed, as they were when it was backed up.
            return self.descend(Folder::open_root(&path), path, node);
        }
        self.compare_entry(path, name, node, &stat)
    }

    /// Compares an entry that is there, and its contents or what is in it.
    fn compare_entry(&mut self, path: PathBuf, name: &OsStr, node: &Node, stat: &Stat) -> Result<()> {
        let Some(frame) = self.stack.last() else { return Ok(()) };
        let mut now = describe(name, stat, &self.owners);
        if now.kind == NodeKind::Symlink
            && let Err(error) = complete(&mut now, Place::Entry(frame.folder.as_fd(), name))
        {
            self.unreadable(&path, error);
            return Ok(());
        }
        let other = how_it_differs(node, &now);
        if let (NodeKind::File, None | Some(OWNER)) = (node.kind, other) {
            return self.compare_contents(&path, name, node, &now, other);
        }
        let folder = (node.kind == NodeKind::Dir && now.kind == NodeKind::Dir).then(|| frame.folder.open_child(name));
        if let Some(other) = other {
            self.changed(&path, node, other);
        }
        folder.map_or(Ok(()), |folder| self.descend(folder, path, node))
    }

    fn descend(&mut self, folder: std::io::Result<Folder>, path: PathBuf, node: &Node) -> Result<()> {
        match folder {
            Ok(_) if self.stack.len() >= DEPTH_MAX => {
                let what = format!("the depth of {}", path.display());
                let error = Error::Limit { what, limit: format!("{DEPTH_MAX} levels") };
                self.checker.report(ItemFailure::new(&path, &error));
            }
            Ok(folder) => self.enter(path, folder, node.subtree),
            Err(error) => self.unreadable(&path, error),
        }
        Ok(())
    }

    fn note_extra(&mut self, path: &Path, name: &OsStr) {
        let Some(frame) = self.stack.last() else { return };
        let Ok(stat) = frame.folder.look(name) else { return };
        if self.exclude.excluded(path.as_os_str().as_bytes()) || self.never.contains(&Identity::of(&stat)) {
            return;
        }
        self.summary.extra += 1;
        let size = describe(name, &stat, &self.owners).size;
        self.differs(path, DifferenceKind::Extra, size, "it is on the disk and not in the snapshot");
    }

    fn changed(&mut self, path: &Path, node: &Node, how: &str) {
        self.summary.changed += 1;
        self.differs(path, DifferenceKind::Changed, node.size, how);
    }

    fn differs(&self, path: &Path, kind: DifferenceKind, bytes: u64, how: &str) {
        self.checker.monitor.differs(Difference { path: path.to_path_buf(), kind, bytes, how: how.to_owned() });
    }

    /// Reports a file whose contents differ although nothing says that it was written.
    fn rotten(&mut self, path: &Path, node: &Node, now: &Node) {
        self.summary.rotten += 1;
        let how = match node.ctime == now.ctime {
            true => "its contents differ although none of its times do",
            false => "its contents differ although its size and its time of modification are the same",
        };
        self.differs(path, DifferenceKind::Rotten, node.size, how);
        let message = format!(
            "{}: {how}; what is stored is what was read then, so the file on the disk is damaged or was written with its time set back",
            path.display()
        );
        let mut failure = ItemFailure::with(path, Class::Damaged, message);
        failure.advice =
            "Compare it with what `backupctl cat SNAPSHOT FILE` prints, restore it if that is the right one, \
                          and check the drive."
                .to_owned();
        self.checker.report(failure);
    }

    fn unreadable(&self, path: &Path, error: std::io::Error) {
        self.checker.report(ItemFailure::new(path, &Error::io("read", path)(error)));
    }
}

const OWNER: &str = "its mode or owner is another one";

/// Says what about an entry is another than in the snapshot, its contents apart.
fn how_it_differs(node: &Node, now: &Node) -> Option<&'static str> {
    match node.kind {
        kind if kind != now.kind => Some("it is of another kind now"),
        NodeKind::File if node.size != now.size => Some("its size is another one"),
        NodeKind::File if node.mtime != now.mtime => Some("it was modified since"),
        NodeKind::Symlink if node.link_target() != now.link_target() => Some("it leads elsewhere"),
        NodeKind::Dev | NodeKind::Chardev if node.device != now.device => Some("it is another device"),
        _ if (node.mode, node.uid, node.gid) != (now.mode, now.uid, now.gid) => Some(OWNER),
        _ => None,
    }
}
