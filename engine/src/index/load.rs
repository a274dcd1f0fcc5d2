//! Reading a repository's index: its index files, and the headers of packs that none of them lists.

use std::collections::{HashMap, HashSet};

use super::{Index, IndexFile};
use crate::error::{Error, Result};
use crate::id::{IndexId, PackId};
use crate::pack::read_header;
use crate::repository::Repository;
use crate::storage::{FileKind, FileName};

impl Repository {
    /// Reads what is new in the index; if an index file has vanished, all of it.
    ///
    /// Returns the index files that could not be read; what only they list is not known.
    ///
    /// # Errors
    /// The storage's own, when listing.
    pub fn load_index(&self) -> Result<Vec<(IndexId, Error)>> {
        let listed = self.index_files()?;
        let mut index = self.index_mut();
        if !index.files().is_subset(&listed) {
            let mut fresh = Index::default();
            let damaged = self.read_index_files(&listed, &mut fresh);
            fresh.add_unlisted_of(&index);
            *index = fresh;
            return Ok(damaged);
        }
        Ok(self.read_index_files(&listed, &mut index))
    }

    /// Reads all of the index, also what is known already: to learn whether it can still be read.
    ///
    /// # Errors
    /// As [`load_index`](Self::load_index).
    pub(crate) fn read_index_again(&self) -> Result<Vec<(IndexId, Error)>> {
        let listed = self.index_files()?;
        let mut fresh = Index::default();
        let damaged = self.read_index_files(&listed, &mut fresh);
        let mut index = self.index_mut();
        // What a backup has listed meanwhile is read the next time.
        fresh.add_unlisted_of(&index);
        *index = fresh;
        Ok(damaged)
    }

    fn index_files(&self) -> Result<HashSet<IndexId>> {
        Ok(self.storage().list(FileKind::Index)?.into_iter().map(|(name, _)| IndexId(name.id)).collect())
    }

    /// Adds what these index files list, unless they were read before; returns those that cannot be read.
    fn read_index_files(&self, listed: &HashSet<IndexId>, index: &mut Index) -> Vec<(IndexId, Error)> {
        let mut damaged = Vec::new();
        for id in listed {
            if index.files().contains(id) {
                continue;
            }
            match self.read_index(*id) {
                Ok(file) => {
                    for pack in &file.packs {
                        index.add_pack(pack.id, &pack.packed_blobs());
                    }
                    index.add_file(*id);
                }
                Err(error) => damaged.push((*id, error)),
            }
        }
        damaged
    }

    /// Forgets the blobs of packs that are not there or too short to hold them, so that they are stored again.
    ///
    /// # Errors
    /// The storage's own, when listing.
    pub(crate) fn forget_missing_packs(&self) -> Result<HashSet<PackId>> {
        let sizes: HashMap<PackId, u64> =
            self.storage().list(FileKind::Pack)?.into_iter().map(|(name, size)| (PackId(name.id), size)).collect();
        let mut index = self.index_mut();
        let missing = index.packs_to_forget(|id, length| sizes.get(id).is_some_and(|size| *size >= length));
        if !missing.is_empty() {
            *index = index.without(&missing);
        }
        Ok(missing)
    }

    /// Adds to the index in memory what the headers of packs say that no index file lists.
    ///
    /// Returns the packs whose headers could not be read.
    ///
    /// # Errors
    /// The storage's own, when listing.
    pub(crate) fn index_unlisted_packs(&self) -> Result<Vec<(PackId, Error)>> {
        let mut damaged = Vec::new();
        for (name, size) in self.storage().list(FileKind::Pack)? {
            let id = PackId(name.id);
            if self.index().has_pack(&id) {
                continue;
            }
            match read_header(self, id, size) {
                Ok(blobs) => self.index_mut().add_unlisted_pack(id, &blobs),
                Err(error) => damaged.push((id, error)),
            }
        }
        Ok(damaged)
    }

    fn read_index(&self, id: IndexId) -> Result<IndexFile> {
        let name = FileName::new(FileKind::Index, id.0);
        let bytes = self.read_file(&name)?;
        IndexFile::decode(&bytes).map_err(|problem| self.damaged(&name, problem))
    }
}
