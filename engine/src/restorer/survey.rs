//! What a restore takes, counted on all threads before anything is written: whether it is within bounds, how much there
//! is to do, and whether the index knows all of it.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::bounds::Bounds;
use super::session::{Session, Tools};
use super::walk::{Frame, Selection, Start, join};
use crate::error::Result;
use crate::id::{BlobHandle, BlobId, BlobKind};
use crate::tree::{Node, NodeKind, Tree};

/// What was counted.
#[derive(Debug, Default)]
pub(super) struct Survey {
    pub(super) files: u64,
    pub(super) bytes: u64,
    /// Whether some of it is in no index.
    pub(super) misses: bool,
    /// Whether there is anything to restore.
    pub(super) finds: bool,
}

/// A folder that is to be looked at.
struct Folder {
    path: Vec<u8>,
    tree: BlobId,
    depth: usize,
}

/// What the threads share.
struct Open {
    /// Last in, first out, so that only the siblings of the folders on the way are in it.
    folders: Vec<Folder>,
    /// How many folders are being looked at; each may lead to others.
    busy: usize,
    /// Whether nothing more is looked at, after an error.
    ended: bool,
    counted: Survey,
    bounds: Bounds,
}

struct Surveyor<'s, 'a> {
    session: &'s Session<'a>,
    selection: &'s Selection,
    depth_max: usize,
    open: Mutex<Open>,
    changed: Condvar,
}

/// What one folder adds.
#[derive(Default)]
struct Found {
    entries: u64,
    counted: Survey,
    folders: Vec<Folder>,
}

/// Counts what is selected.
///
/// # Errors
/// [`Error::Limit`](crate::Error::Limit) if it is more than the bounds allow; what the gate says.
pub(super) fn survey(session: &Session<'_>, selection: &Selection, start: &Start, bounds: Bounds) -> Result<Survey> {
    let open = Open { folders: Vec::new(), busy: 1, ended: false, counted: Survey::default(), bounds };
    let depth_max = bounds.depth;
    let surveyor = Surveyor { session, selection, depth_max, open: Mutex::new(open), changed: Condvar::new() };
    let top = surveyor.look_through(&start.path, start.tree.clone(), 1);
    surveyor.add(Ok(top))?;
    session.parallel(session.options.thread_count(), |tools, _| surveyor.work(tools))?;
    Ok(surveyor.open.into_inner().unwrap_or_else(PoisonError::into_inner).counted)
}

impl Surveyor<'_, '_> {
    /// Looks at folders until there are none left.
    fn work(&self, tools: &mut Tools) -> Result<()> {
        while let Some(folder) = self.take() {
            let looking = Looking(self);
            let found = self.look_at(tools, &folder);
            std::mem::forget(looking);
            self.add(found)?;
        }
        Ok(())
    }

    /// Takes a folder; waits while one that is being looked at may lead to more.
    fn take(&self) -> Option<Folder> {
        let mut open = self.lock();
        loop {
            if open.ended || (open.folders.is_empty() && open.busy == 0) {
                return None;
            }
            if let Some(folder) = open.folders.pop() {
                open.busy += 1;
                return Some(folder);
            }
            open = self.changed.wait(open).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Adds what a folder led to; after an error nothing more is looked at.
    fn add(&self, found: Result<Found>) -> Result<()> {
        let mut open = self.lock();
        open.busy -= 1;
        let added = found.and_then(|found| {
            open.bounds.take(found.entries, found.counted.bytes)?;
            open.counted.add(&found.counted);
            open.folders.extend(found.folders);
            Ok(())
        });
        open.ended |= added.is_err();
        self.changed.notify_all();
        added
    }

    fn look_at(&self, tools: &mut Tools, folder: &Folder) -> Result<Found> {
        self.session.gate.check()?;
        // Given back before others are waited for, who may lead to more folders.
        let _held = self.session.repository.hold_tree(self.session.gate.memory(), &folder.tree);
        match self.session.repository.read_tree(&mut tools.opener, &folder.tree) {
            Ok(tree) => Ok(self.look_through(&folder.path, tree, folder.depth)),
            // The restore says which folder it is and goes on without what is in it.
            Err(_) => Ok(Found::default()),
        }
    }

    /// Counts a folder's entries, and gathers the folders among them that are gone into.
    fn look_through(&self, path: &[u8], tree: Tree, depth: usize) -> Found {
        let mut found = Found::default();
        let mut frame = Frame::new(path.to_vec(), tree);
        while let Some((node, problem)) = frame.next() {
            found.entries += 1;
            if problem.is_some() {
                continue;
            }
            let path = join(path, &node.name);
            if node.kind != NodeKind::Dir {
                if self.selection.takes(&path) {
                    self.count(&node, &mut found.counted);
                }
            } else if let Some(selected) = self.selection.goes_into(&path)
                && depth < self.depth_max
            {
                found.counted.finds |= selected;
                if let Some(tree) = node.subtree {
                    found.counted.misses |= !self.knows(BlobKind::Tree, &tree);
                    found.folders.push(Folder { path, tree, depth: depth + 1 });
                }
            }
        }
        found
    }

    fn count(&self, node: &Node, counted: &mut Survey) {
        counted.finds = true;
        counted.files += u64::from(node.kind == NodeKind::File);
        let index = self.session.repository.index();
        for id in node.content.iter().flatten() {
            match index.get(&BlobHandle { kind: BlobKind::Data, id: *id }) {
                Some(location) => counted.bytes = counted.bytes.saturating_add(location.contents_length()),
                None => counted.misses = true,
            }
        }
    }

    fn knows(&self, kind: BlobKind, id: &BlobId) -> bool {
        self.session.repository.index().get(&BlobHandle { kind, id: *id }).is_some()
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        // A panic of one thread ends the restore.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A look at a folder; dropped only when it ends in a panic, for which nobody is to wait.
struct Looking<'l, 's, 'a>(&'l Surveyor<'s, 'a>);

impl Drop for Looking<'_, '_, '_> {
    fn drop(&mut self) {
        self.0.lock().ended = true;
        self.0.changed.notify_all();
    }
}

impl Survey {
    fn add(&mut self, other: &Self) {
        self.files += other.files;
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.misses |= other.misses;
        self.finds |= other.finds;
    }
}
