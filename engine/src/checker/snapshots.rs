//! Snapshots: can every tree in them be read, and is every blob there?

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use super::Checker;
use super::queue::{Queue, Turn};
use crate::blob::Opener;
use crate::error::{Class, Result};
use crate::id::{BlobHandle, BlobId, BlobKind, SnapshotId};
use crate::limits::DEPTH_MAX;
use crate::monitor::ItemFailure;
use crate::snapshot::SnapshotList;
use crate::storage::{FileKind, FileName};
use crate::tree::{Node, NodeKind, Tree};

impl Checker<'_> {
    /// Checks that every tree can be read and every blob is there; newest snapshots first.
    pub(super) fn check_snapshots(&self, found: &SnapshotList) -> Result<u64> {
        for (id, error) in &found.damaged {
            self.wrong(&FileName::new(FileKind::Snapshot, id.0), error);
        }
        let queue = Queue::default();
        for (id, snapshot) in found.list.iter().rev() {
            queue.add((snapshot.tree, PathBuf::from("/")));
            self.on_threads(|| self.check_trees(*id, &queue))?;
        }
        self.report_unlisted();
        Ok((found.list.len() + found.damaged.len()) as u64)
    }

    /// Checks trees of a snapshot until none is left that was not checked before.
    fn check_trees(&self, id: SnapshotId, queue: &Queue) -> Result<()> {
        let mut opener = Opener::new(self.repository.blob_limits())?;
        while let Some(mut turn) = queue.next() {
            if turn.path.components().count() > DEPTH_MAX {
                self.affected(id, &turn.path, &format!("it lies deeper than {DEPTH_MAX} levels"));
                continue;
            }
            self.gate.check()?;
            self.is_known(&BlobHandle { kind: BlobKind::Tree, id: turn.tree })?;
            let _held = self.repository.hold_tree(self.gate.memory(), &turn.tree);
            match self.repository.read_tree(&mut opener, &turn.tree) {
                Ok(Tree { nodes }) => {
                    for node in &nodes {
                        self.check_node(id, node, &mut turn)?;
                    }
                }
                Err(error) => self.affected(id, &turn.path, &error.to_string()),
            }
        }
        Ok(())
    }

    fn check_node(&self, id: SnapshotId, node: &Node, turn: &mut Turn<'_>) -> Result<()> {
        let name = OsStr::from_bytes(&node.name);
        if !node.has_safe_name() {
            self.affected(
                id,
                &turn.path,
                &format!("it has an entry with the name {:?}", turn.path.join(name).file_name()),
            );
            return Ok(());
        }
        match (node.kind, node.subtree) {
            (NodeKind::Dir, Some(tree)) => turn.found.push((tree, turn.path.join(name))),
            (NodeKind::Dir, None) => self.affected(id, &turn.path.join(name), "it names no tree"),
            _ => return self.check_contents(id, node, || turn.path.join(name)),
        }
        Ok(())
    }

    /// Checks that what a file's entry names is there, and as much as it says.
    fn check_contents(&self, id: SnapshotId, node: &Node, path: impl Fn() -> PathBuf) -> Result<()> {
        for blob in node.content.iter().flatten() {
            if self.is_bad(*blob)? {
                self.affected(id, &path(), &format!("its data blob {blob} is missing or damaged"));
                return Ok(());
            }
        }
        let stored = self.repository.index().data_length(node.content.as_deref().unwrap_or_default());
        if node.kind == NodeKind::File && stored != node.size {
            self.affected(id, &path(), &format!("{stored} of its {} bytes are stored", node.size));
        }
        Ok(())
    }

    fn is_bad(&self, id: BlobId) -> Result<bool> {
        let handle = BlobHandle { kind: BlobKind::Data, id };
        if !self.is_known(&handle)? {
            return Ok(true);
        }
        // Packs that are in no index were not read yet.
        let unread = self.reads_all() && !self.repository.index().contains(&handle);
        if !unread && !self.is_listed_bad(&handle) {
            return Ok(false);
        }
        // One of its places is bad; another may be good.
        let mut opener = Opener::new(self.repository.blob_limits())?;
        Ok(self.repository.read_blob(&mut opener, &handle).is_err())
    }

    /// Returns whether it is known where a blob lies; what no index lists is looked for in the packs themselves.
    pub(super) fn is_known(&self, handle: &BlobHandle) -> Result<bool> {
        if self.repository.index().contains(handle) {
            return Ok(true);
        }
        let mut known = self.unlisted.known.lock().unwrap_or_else(PoisonError::into_inner);
        if !*known {
            for (id, error) in self.repository.index_unlisted_packs()? {
                let name = FileName::new(FileKind::Pack, id.0);
                self.monitor.notice(&format!("The {name} is in no index and cannot be used: {error}."));
            }
            *known = true;
        }
        drop(known);
        let found = self.repository.index().get(handle);
        if let Some(location) = &found {
            let mut needed = self.unlisted.needed.lock().unwrap_or_else(PoisonError::into_inner);
            needed.insert(location.pack);
        }
        Ok(found.is_some())
    }

    /// Reports packs that snapshots need although no index lists them.
    fn report_unlisted(&self) {
        let needed = self.unlisted.needed.lock().unwrap_or_else(PoisonError::into_inner);
        let left = self.unlisted.there.load(Ordering::Relaxed).saturating_sub(needed.len());
        if left > 0 {
            let why = "left by interrupted backups, and harmless";
            self.monitor.notice(&format!("{left} packs are in no index and no snapshot needs them: {why}."));
        }
        let Some(first) = needed.first() else { return };
        let (count, location) = (needed.len(), self.repository.location());
        let message = format!("{count} packs that snapshots need are in no index of {location}, such as pack {first}");
        let mut failure = ItemFailure::with(Path::new(FileKind::Index.noun()), Class::Damaged, message);
        failure.advice = "Restores find them; `backupctl repair` lists them again.".into();
        self.report(failure);
    }

    /// Reports something that a restore would miss.
    fn affected(&self, id: SnapshotId, path: &Path, problem: &str) {
        let path = PathBuf::from(format!("{}:{}", id.short(), path.display()));
        let message = format!("{} cannot be restored whole: {problem}", path.display());
        let mut failure = ItemFailure::with(&path, Class::Damaged, message);
        failure.advice =
            "If the file is still in its place, the next backup stores it again; older snapshots may have it.".into();
        self.report(failure);
    }
}
