//! Reading a repository's index: its index files, and the headers of packs that none of them lists.

use std::collections::{HashMap, HashSet};

use super::base::Base;
use super::build::Builder;
use super::{Index, IndexFile, IndexedPack};
use crate::error::{Error, Result};
use crate::id::{IndexId, PackId};
use crate::pack::read_header;
use crate::repository::Repository;
use crate::storage::{FileKind, FileName};

/// How much is to be known of data: a backup asks what there is, everything else where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Detail {
    /// Which blobs there are, and where the trees are.
    Known,
    /// Where each blob is.
    Places,
}

/// One new index file in so many is added to a table; more are sorted together with what is there.
const FEW: usize = 8;

impl Repository {
    /// Reads what is new in the index; if an index file has vanished, all of it.
    ///
    /// Returns the index files that could not be read; what only they list is not known.
    ///
    /// # Errors
    /// The storage's own, when listing.
    pub fn load_index(&self) -> Result<Vec<(IndexId, Error)>> {
        self.load_index_with(Detail::Places)
    }

    /// Reads what is new in the index in some detail; if an index file has vanished, all of it.
    ///
    /// # Errors
    /// As [`load_index`](Self::load_index).
    pub(crate) fn load_index_with(&self, detail: Detail) -> Result<Vec<(IndexId, Error)>> {
        let listed = self.index_files()?;
        let mut index = self.index_mut();
        let is_usable = !index.files.is_empty() && index.files.is_subset(&listed);
        if is_usable && (detail == Detail::Known || !index.base.is_slim()) {
            return Ok(self.read_index_files(&listed, &mut index));
        }
        let (mut fresh, damaged) = self.read_whole_index(&listed, detail);
        fresh.add_unlisted_of(&index);
        *index = fresh;
        Ok(damaged)
    }

    /// Reads all of the index files, also what is known already: to learn whether they can still be read.
    ///
    /// # Errors
    /// As [`load_index`](Self::load_index).
    pub(crate) fn read_index_again(&self) -> Result<Vec<(IndexId, Error)>> {
        let listed = self.index_files()?;
        let (mut fresh, damaged) = self.sort_index(&listed, None);
        let mut index = self.index_mut();
        // What a backup has listed meanwhile is read the next time.
        fresh.add_unlisted_of(&index);
        *index = fresh;
        Ok(damaged)
    }

    fn index_files(&self) -> Result<HashSet<IndexId>> {
        Ok(self.storage().list(FileKind::Index)?.into_iter().map(|(name, _)| IndexId(name.id)).collect())
    }

    /// Reads the index from the cache as far as that holds it, and writes the cache anew if that is not far.
    fn read_whole_index(&self, listed: &HashSet<IndexId>, detail: Detail) -> (Index, Vec<(IndexId, Error)>) {
        let Some(cache) = self.index_cache() else { return self.sort_index(listed, None) };
        let usable = || cache.open().filter(|header| header.files.is_subset(listed));
        if let Some(mut header) = usable()
            && (listed.len() - header.files.len()) * FEW <= header.files.len()
        {
            let files = std::mem::take(&mut header.files);
            if let Ok(base) = header.read_base(detail == Detail::Known) {
                let mut index = Index { files, base, ..Index::default() };
                let damaged = self.read_index_files(listed, &mut index);
                return (index, damaged);
            }
        }
        let known = usable().and_then(|mut header| {
            let files = std::mem::take(&mut header.files);
            header.read_base(false).ok().map(|base| (files, base))
        });
        let (mut index, damaged) = self.sort_index(listed, known);
        // Without it, the next run reads the index files again.
        let _ = cache.write(&index.files, &index.base);
        if detail == Detail::Known {
            index.base.data.drop_places();
        }
        (index, damaged)
    }

    /// Reads these index files, but for those that are known, and sorts all of it.
    fn sort_index(
        &self,
        listed: &HashSet<IndexId>,
        known: Option<(HashSet<IndexId>, Base)>,
    ) -> (Index, Vec<(IndexId, Error)>) {
        let mut builder = Builder::default();
        let mut files = HashSet::new();
        if let Some((cached, base)) = known {
            builder.add_base(&base);
            files = cached;
        }
        let damaged = self.read_missing(listed, &mut files, |pack| builder.add(pack.id, pack.packed_blobs()));
        (Index { files, base: builder.finish(), ..Index::default() }, damaged)
    }

    /// Adds what these index files list, unless they were read before; returns those that cannot be read.
    fn read_index_files(&self, listed: &HashSet<IndexId>, index: &mut Index) -> Vec<(IndexId, Error)> {
        let mut files = std::mem::take(&mut index.files);
        let damaged = self.read_missing(listed, &mut files, |pack| index.add_pack(pack.id, &pack.packed_blobs()));
        index.files = files;
        damaged
    }

    fn read_missing(
        &self,
        listed: &HashSet<IndexId>,
        files: &mut HashSet<IndexId>,
        mut add: impl FnMut(&IndexedPack),
    ) -> Vec<(IndexId, Error)> {
        let mut damaged = Vec::new();
        for id in listed {
            if files.contains(id) {
                continue;
            }
            match self.read_index(*id) {
                Ok(file) => {
                    file.packs.iter().for_each(&mut add);
                    files.insert(*id);
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
            index.forget_packs(&missing);
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

    /// Reads an index file.
    pub(crate) fn read_index(&self, id: IndexId) -> Result<IndexFile> {
        let name = FileName::new(FileKind::Index, id.0);
        let bytes = self.read_file(&name)?;
        IndexFile::decode(&bytes).map_err(|problem| self.damaged(&name, problem))
    }
}
