//! Which good blobs there are, and where: what the index rightly says, and what was found beside it.

use std::collections::{HashMap, HashSet};

use super::examine::place;
use crate::blob::Opener;
use crate::error::Result;
use crate::id::{BlobHandle, PackId};
use crate::index::Location;
use crate::monitor::PackedBlob;
use crate::repository::Repository;
use crate::storage::{FileKind, FileName};

/// The blobs that are good.
pub(super) struct Known<'a> {
    pub(super) repository: &'a Repository,
    /// Packs of which what the index says does not count.
    doubtful: HashSet<PackId>,
    /// Good blobs in those, and in packs that no index file lists.
    found: HashMap<BlobHandle, Location>,
}

impl<'a> Known<'a> {
    pub(super) fn new(repository: &'a Repository, doubtful: HashSet<PackId>) -> Self {
        Self { repository, doubtful, found: HashMap::new() }
    }

    /// Adds good blobs of a pack.
    pub(super) fn add(&mut self, pack: PackId, blobs: &[PackedBlob]) {
        self.found.extend(blobs.iter().map(|blob| (blob.handle, place(pack, blob))));
    }

    /// Returns where a blob is, if it is anywhere.
    pub(super) fn get(&self, handle: &BlobHandle) -> Option<Location> {
        let index = self.repository.index();
        let first = index.get(handle).filter(|at| !self.doubtful.contains(&at.pack));
        let listed = || index.get_all(handle).into_iter().find(|at| !self.doubtful.contains(&at.pack));
        first.or_else(|| self.found.get(handle).copied()).or_else(listed)
    }

    /// Reads a blob, sealed as it is, and checks it. It was good when it was examined, so that every error ends the run.
    pub(super) fn read<'o>(
        &self,
        handle: &BlobHandle,
        at: &Location,
        opener: &'o mut Opener,
    ) -> Result<(Vec<u8>, &'o [u8])> {
        let name = FileName::new(FileKind::Pack, at.pack.0);
        let sealed = self.repository.storage().read_range(&name, u64::from(at.offset), at.length as usize)?;
        let contents = opener.open(self.repository.key(), handle, at, &sealed)?;
        Ok((sealed, contents))
    }
}
