//! Snapshots: can every tree in them be read, and is every blob there?

use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use super::Checker;
use crate::blob::Opener;
use crate::error::{Class, Result};
use crate::id::{BlobHandle, BlobId, BlobKind, SnapshotId};
use crate::limits::DEPTH_MAX;
use crate::monitor::ItemFailure;
use crate::snapshot::{Snapshot, SnapshotList};
use crate::storage::{FileKind, FileName};
use crate::tree::{Node, NodeKind, Tree};

impl Checker<'_> {
    /// Checks that every tree can be read and every blob is there; newest snapshots first.
    pub(super) fn check_snapshots(&self, found: &SnapshotList) -> Result<u64> {
        for (id, error) in &found.damaged {
            self.wrong(&FileName::new(FileKind::Snapshot, id.0), error);
        }
        let mut seen = HashSet::new();
        let mut opener = Opener::new(self.repository.blob_limits())?;
        for (id, snapshot) in found.list.iter().rev() {
            self.check_snapshot(*id, snapshot, &mut seen, &mut opener)?;
        }
        self.report_unlisted();
        Ok((found.list.len() + found.damaged.len()) as u64)
    }

    fn check_snapshot(
        &self,
        id: SnapshotId,
        snapshot: &Snapshot,
        seen: &mut HashSet<BlobId>,
        opener: &mut Opener,
    ) -> Result<()> {
        let mut stack = vec![(snapshot.tree, PathBuf::from("/"))];
        while let Some((tree, path)) = stack.pop() {
            if !seen.insert(tree) {
                continue;
            }
            if path.components().count() > DEPTH_MAX {
                self.affected(id, &path, &format!("it lies deeper than {DEPTH_MAX} levels"));
                continue;
            }
            self.gate.check()?;
            self.is_known(&BlobHandle { kind: BlobKind::Tree, id: tree })?;
            let nodes = match self.repository.read_tree(opener, &tree) {
                Ok(Tree { nodes }) => nodes,
                Err(error) => {
                    self.affected(id, &path, &error.to_string());
                    continue;
                }
            };
            for node in nodes {
                self.check_node(id, &path, &node, &mut stack)?;
            }
        }
        Ok(())
    }

    fn check_node(&self, id: SnapshotId, folder: &Path, node: &Node, stack: &mut Vec<(BlobId, PathBuf)>) -> Result<()> {
        let path = folder.join(OsStr::from_bytes(&node.name));
        if !node.has_safe_name() {
            self.affected(id, folder, &format!("it has an entry with the name {:?}", path.file_name()));
            return Ok(());
        }
        match (node.kind, node.subtree) {
            (NodeKind::Dir, Some(tree)) => stack.push((tree, path)),
            (NodeKind::Dir, None) => self.affected(id, &path, "it names no tree"),
            _ => return self.check_contents(id, &path, node),
        }
        Ok(())
    }

    /// Checks that what a file's entry names is there, and as much as it says.
    fn check_contents(&self, id: SnapshotId, path: &Path, node: &Node) -> Result<()> {
        for blob in node.content.iter().flatten() {
            if self.is_bad(*blob)? {
                self.affected(id, path, &format!("its data blob {blob} is missing or damaged"));
                return Ok(());
            }
        }
        let stored = self.repository.index().data_length(node.content.as_deref().unwrap_or_default());
        if node.kind == NodeKind::File && stored != node.size {
            self.affected(id, path, &format!("{stored} of its {} bytes are stored", node.size));
        }
        Ok(())
    }

    fn is_bad(&self, id: BlobId) -> Result<bool> {
        let handle = BlobHandle { kind: BlobKind::Data, id };
        if !self.is_known(&handle)? {
            return Ok(true);
        }
        // Packs that are in no index were not read yet.
        let unread = self.read_data && !self.repository.index().contains(&handle);
        if !unread && !self.guard().contains(&handle) {
            return Ok(false);
        }
        // One of its places is bad; another may be good.
        let mut opener = Opener::new(self.repository.blob_limits())?;
        Ok(self.repository.read_blob(&mut opener, &handle).is_err())
    }

    /// Returns whether it is known where a blob lies; what no index lists is looked for in the packs themselves.
    fn is_known(&self, handle: &BlobHandle) -> Result<bool> {
        if self.repository.index().contains(handle) {
            return Ok(true);
        }
        if !self.unlisted.known.swap(true, Ordering::Relaxed) {
            for (id, error) in self.repository.index_unlisted_packs()? {
                let name = FileName::new(FileKind::Pack, id.0);
                self.monitor.notice(&format!("The {name} is in no index and cannot be used: {error}."));
            }
        }
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
        failure.advice =
            "Restores find them; `restic rebuild-index` (`repair index` in newer versions) lists them again.".into();
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
