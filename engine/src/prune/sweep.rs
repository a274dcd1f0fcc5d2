//! The second half: what was of no use for long enough is removed, first from the index, then from the storage.
//!
//! ```text
//! new index files ─► old index files go ─► packs go ─► half-written files go
//! ```
//!
//! Under an exclusive lock, after everything was listed again. Nobody waits for long: whoever wants the lock's place,
//! also by a pause, ends it after the call that is under way.

use std::collections::HashSet;

use jiff::Timestamp;

use super::seen::SeenAs;
use super::survey::{Survey, survey};
use super::{PruneOptions, PruneSummary, Seen, Used, check_removable};
use crate::control::Gate;
use crate::error::Result;
use crate::id::PackId;
use crate::limits::{INDEX_BLOBS, PRUNE_SMALL_INDEX_FILES};
use crate::lock::Lock;
use crate::monitor::{Monitor, PackRecord};
use crate::pack::write_index_files;
use crate::storage::{FileKind, FileName};

impl PruneOptions {
    /// Returns until when something has to wait that was seen of no use since then.
    pub(super) fn until(&self, since: Timestamp) -> Timestamp {
        since.checked_add(self.grace).unwrap_or(Timestamp::MAX)
    }
}

/// Removes what was seen to be of no use for long enough. The lock is an exclusive one. What [`repack`](super::repack)
/// found to be used saves reading most trees again.
///
/// # Errors
/// Whatever makes it uncertain what is needed: nothing is removed then.
/// [`Error::Suspended`](crate::Error::Suspended) as soon as the gate says anything but to run.
pub fn sweep(
    lock: &Lock,
    options: &PruneOptions,
    seen: &mut Seen,
    mut used: Used,
    gate: &Gate,
    monitor: &dyn Monitor,
) -> Result<PruneSummary> {
    let repository = lock.repository();
    check_removable(repository)?;
    let look = || gate.check_exclusive();
    let mut survey = survey(repository, seen, &mut used, &look)?;
    if survey.find_missing(repository, &mut used).is_err() {
        // A snapshot that was forgotten meanwhile needs nothing.
        used = Used::default();
        survey = self::survey(repository, seen, &mut used, &look)?;
        survey.find_missing(repository, &mut used)?;
    }
    drop(used);
    let mut sweeper = Sweeper { lock, options, monitor, look: &look, survey, summary: PruneSummary::default() };
    let dropped = sweeper.judge_listed(seen);
    sweeper.rewrite_index(&dropped, seen)?;
    sweeper.remove_packs(&dropped, seen)?;
    sweeper.remove_temporary()?;
    Ok(sweeper.summary)
}

struct Sweeper<'a> {
    lock: &'a Lock,
    options: &'a PruneOptions,
    monitor: &'a dyn Monitor,
    look: &'a dyn Fn() -> Result<()>,
    survey: Survey,
    summary: PruneSummary,
}

impl Sweeper<'_> {
    /// Returns the packs that lose their place in the index.
    fn judge_listed(&mut self, seen: &mut Seen) -> HashSet<PackId> {
        seen.retain(&self.survey.of_no_use());
        let mut dropped = HashSet::new();
        for pack in &self.survey.packs {
            if pack.is_used() {
                self.summary.packs_kept += 1;
                self.summary.bytes_unused += pack.weigh().1;
                continue;
            }
            let until = self.options.until(seen.since(pack.id, SeenAs::Unused, self.options.now));
            // What is not there can be relied on by nobody.
            if pack.length.is_none() || until <= self.options.now {
                dropped.insert(pack.id);
            } else {
                self.summary.wait(pack.length.unwrap_or(0), until);
            }
        }
        dropped
    }

    /// Writes new index files in the place of those that list what is dropped, and of many small ones.
    fn rewrite_index(&mut self, dropped: &HashSet<PackId>, seen: &mut Seen) -> Result<()> {
        let old = self.old_files(dropped);
        let new = self.relisted(&old, dropped);
        write_index_files(self.lock, &new, self.look)?;
        self.summary.packs_listed_again = self.survey.packs.iter().filter(|pack| !pack.listed).count() as u64;
        for at in old {
            (self.look)()?;
            self.lock.confirm()?;
            let id = self.survey.files[at].id;
            self.lock.repository().storage().remove(&FileName::new(FileKind::Index, id.0))?;
            self.summary.index_files_removed += 1;
        }
        for id in dropped {
            seen.since(*id, SeenAs::Unindexed, self.options.now);
        }
        Ok(())
    }

    /// Returns the positions of the index files that go.
    fn old_files(&self, dropped: &HashSet<PackId>) -> Vec<usize> {
        let files = || self.survey.files.iter().enumerate();
        let has_dropped = |at: usize| {
            let packs = &self.survey.files[at].packs;
            packs.is_empty() || packs.iter().any(|(pack, _)| dropped.contains(&self.survey.packs[*pack].id))
        };
        let is_small =
            |at: usize| self.survey.files[at].packs.iter().map(|(_, blobs)| blobs).sum::<usize>() < INDEX_BLOBS / 4;
        let small = files().filter(|(at, _)| is_small(*at)).count();
        let merges = small >= PRUNE_SMALL_INDEX_FILES;
        files().map(|(at, _)| at).filter(|at| has_dropped(*at) || (merges && is_small(*at))).collect()
    }

    /// Returns the packs that the new index files have to list: those of the old ones that stay and that no other file
    /// lists whole, and those that are listed again.
    fn relisted(&self, old: &[usize], dropped: &HashSet<PackId>) -> Vec<PackRecord> {
        let old: HashSet<usize> = old.iter().copied().collect();
        let others = self.survey.files.iter().enumerate().filter(|(at, _)| !old.contains(at));
        let is_whole = |(pack, blobs): &&(usize, usize)| *blobs >= self.survey.packs[*pack].blobs.len();
        let mut done: HashSet<usize> =
            others.flat_map(|(_, file)| file.packs.iter().filter(is_whole)).map(|(pack, _)| *pack).collect();
        let listed = old.iter().flat_map(|at| self.survey.files[*at].packs.iter().map(|(pack, _)| *pack));
        let again = (0..self.survey.packs.len()).filter(|at| !self.survey.packs[*at].listed);
        let mut positions: Vec<usize> = listed
            .chain(again)
            .filter(|at| !dropped.contains(&self.survey.packs[*at].id) && done.insert(*at))
            .collect();
        positions.sort_unstable();
        let record = |at: usize| {
            let pack = &self.survey.packs[at];
            PackRecord { id: pack.id, length: pack.length.unwrap_or(0), blobs: pack.blobs.clone() }
        };
        positions.into_iter().map(record).collect()
    }

    /// Removes packs that no index file has listed for long enough.
    fn remove_packs(&mut self, dropped: &HashSet<PackId>, seen: &mut Seen) -> Result<()> {
        let there = self.survey.packs.iter().filter(|pack| dropped.contains(&pack.id));
        let there = there.filter_map(|pack| Some((pack.id, pack.length?)));
        let packs: Vec<(PackId, u64)> = there.chain(self.survey.unlisted.iter().copied()).collect();
        let now = self.options.now;
        let due = |seen: &mut Seen, id| self.options.until(seen.since(id, SeenAs::Unindexed, now));
        let (going, waiting): (Vec<_>, Vec<_>) = packs.into_iter().partition(|(id, _)| due(seen, *id) <= now);
        for (id, length) in waiting {
            let until = due(seen, id);
            self.summary.wait(length, until);
        }
        self.monitor.total(going.len() as u64, 0);
        for (id, length) in going {
            (self.look)()?;
            self.lock.confirm()?;
            self.lock.repository().storage().remove(&FileName::new(FileKind::Pack, id.0))?;
            seen.forget(&id);
            self.summary.packs_removed += 1;
            self.summary.bytes_freed += length;
        }
        Ok(())
    }

    /// Removes what killed writers left half-written.
    fn remove_temporary(&mut self) -> Result<()> {
        (self.look)()?;
        let before = self.options.now.checked_sub(self.options.grace).unwrap_or(Timestamp::MIN);
        let (files, bytes) = self.lock.repository().storage().remove_temporary(before)?;
        self.summary.temporary_removed = files;
        self.summary.bytes_freed += bytes;
        Ok(())
    }
}
