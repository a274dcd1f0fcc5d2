//! What is to be done with packs and index files, from what was examined and what is there now.

use std::collections::{HashMap, HashSet};

use super::Examined;
use super::examine::{Finding, is_damage, is_same, place};
use super::known::Known;
use crate::error::{Error, Result};
use crate::id::{BlobHandle, IndexId, PackId};
use crate::index::Location;
use crate::monitor::{PackRecord, PackedBlob};
use crate::pack::{pack_length, read_header};
use crate::repository::Repository;
use crate::storage::FileKind;

/// What is to be done with packs and index files.
pub(super) struct Plan<'a> {
    pub(super) known: Known<'a>,
    /// Index files that cannot be read.
    pub(super) unreadable: Vec<IndexId>,
    /// Index files that say something wrong.
    pub(super) wrong: Vec<IndexId>,
    /// Packs that are whole and not listed, or not rightly.
    pub(super) found: Vec<PackId>,
    /// Packs that are listed and not there.
    pub(super) missing: Vec<PackId>,
    /// Packs with wrong bytes, and the good blobs in each.
    pub(super) damaged: Vec<(PackId, Vec<PackedBlob>)>,
    /// Packs that are left alone.
    pub(super) left: u64,
    /// What new index files have to list, beside the new packs.
    pub(super) relisted: Vec<PackRecord>,
    /// Blobs that are nowhere any more.
    pub(super) lost: HashSet<BlobHandle>,
}

impl<'a> Plan<'a> {
    /// Looks at what is there now.
    ///
    /// # Errors
    /// The storage's own: what it cannot read for now is not lost.
    pub(super) fn new(repository: &'a Repository, examined: &Examined) -> Result<Self> {
        let mut unreadable = Vec::new();
        for (id, error) in repository.read_index_again()? {
            match error {
                Error::NotFound { .. } => {}
                error if is_damage(&error) => unreadable.push(id),
                error => return Err(error),
            }
        }
        unreadable.sort_unstable();
        let known = Known::new(repository, HashSet::new());
        let mut plan = Self {
            known,
            unreadable,
            wrong: Vec::new(),
            found: Vec::new(),
            missing: Vec::new(),
            damaged: Vec::new(),
            left: 0,
            relisted: Vec::new(),
            lost: HashSet::new(),
        };
        let bad = plan.judge_packs(examined)?;
        plan.judge_index()?;
        plan.lost = bad.into_iter().filter(|handle| plan.known.get(handle).is_none()).collect();
        Ok(plan)
    }

    /// Says of every pack what is to be done; returns the blobs that are not where they should be.
    fn judge_packs(&mut self, examined: &Examined) -> Result<Vec<BlobHandle>> {
        let repository = self.known.repository;
        let mut listed = repository.index().by_pack();
        listed.retain(|id, _| repository.index().lists_pack(id));
        let mut there = repository.storage().list(FileKind::Pack)?;
        there.sort_unstable();
        let mut bad = Vec::new();
        for (name, length) in there {
            let id = PackId(name.id);
            let said = listed.remove(&id);
            match (examined.packs.get(&id), said) {
                (Some(Finding::Left), _) => self.left += 1,
                (Some(Finding::Damaged { good: blobs, bad: handles }), _) => {
                    bad.extend(handles);
                    self.damaged.push((id, blobs.clone()));
                }
                (Some(Finding::Whole(blobs)), said) => {
                    if !said.is_some_and(|said| is_same(blobs, &said)) {
                        self.found(id, length, blobs.clone());
                    }
                }
                // It was listed when it was examined; the index file that did so has gone since.
                (None, None) => {
                    if let Ok(blobs) = read_header(repository, id, length) {
                        self.found(id, length, blobs);
                    }
                }
                (None, Some(_)) => {}
            }
        }
        for (id, blobs) in listed {
            bad.extend(blobs.iter().map(|blob| blob.handle));
            self.missing.push(id);
        }
        self.missing.sort_unstable();
        self.know();
        Ok(bad)
    }

    /// Puts together which blobs are good.
    fn know(&mut self) {
        self.known = Known::new(self.known.repository, self.doubtful());
        self.damaged.iter().for_each(|(id, blobs)| self.known.add(*id, blobs));
        // What is in a whole pack need not be saved from a damaged one.
        self.relisted.iter().for_each(|pack| self.known.add(pack.id, &pack.blobs));
    }

    fn found(&mut self, id: PackId, length: u64, blobs: Vec<PackedBlob>) {
        self.found.push(id);
        self.relisted.push(PackRecord { id, length, blobs });
    }

    /// Finds the index files that say something wrong, and what they say that is right and said nowhere else.
    fn judge_index(&mut self) -> Result<()> {
        let repository = self.known.repository;
        let gone = self.doubtful();
        let mut right: HashMap<PackId, usize> = HashMap::new();
        let mut moved: HashSet<PackId> = HashSet::new();
        let mut names = repository.storage().list(FileKind::Index)?;
        names.sort_unstable();
        for (name, _) in names {
            let id = IndexId(name.id);
            if self.unreadable.contains(&id) {
                continue;
            }
            let file = repository.read_index(id)?;
            if file.packs.iter().any(|pack| gone.contains(&pack.id)) {
                self.wrong.push(id);
                moved.extend(file.packs.iter().map(|pack| pack.id).filter(|pack| !gone.contains(pack)));
            } else {
                let most = |blobs: &mut usize, count: usize| *blobs = (*blobs).max(count);
                file.packs.iter().for_each(|pack| most(right.entry(pack.id).or_default(), pack.blobs.len()));
            }
        }
        if moved.is_empty() {
            return Ok(());
        }
        let listed = repository.index().by_pack();
        let mut moved: Vec<PackId> = moved.into_iter().collect();
        moved.sort_unstable();
        for id in moved {
            let Some(blobs) = listed.get(&id).filter(|blobs| right.get(&id).is_none_or(|count| *count < blobs.len()))
            else {
                continue;
            };
            self.relisted.push(PackRecord { id, length: pack_length(blobs), blobs: blobs.clone() });
        }
        Ok(())
    }

    /// Returns the blobs that are good in damaged packs alone, and where.
    pub(super) fn saved(&self) -> impl Iterator<Item = (BlobHandle, Location)> {
        let all = self.damaged.iter().flat_map(|(id, blobs)| blobs.iter().map(|blob| (blob.handle, place(*id, blob))));
        all.filter(|(handle, at)| self.known.get(handle) == Some(*at))
    }

    /// Returns the packs of which what index files say is wrong.
    fn doubtful(&self) -> HashSet<PackId> {
        let damaged = self.damaged.iter().map(|(id, _)| *id);
        self.missing.iter().copied().chain(damaged).chain(self.found.iter().copied()).collect()
    }
}
