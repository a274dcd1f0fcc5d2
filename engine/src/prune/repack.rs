//! The first half: what is used of packs that are mostly unused, mixed or small is moved to new packs.
//!
//! Under a shared lock, beside backups: files are added, and none is removed.

use super::choose::{Bounds, Candidate, choose};
use super::seen::SeenAs;
use super::survey::{Pack, Survey, survey};
use super::{PruneOptions, PruneSummary, Seen, Used, check_removable};
use crate::blob::{Opener, Sealer};
use crate::control::Gate;
use crate::error::{Error, Result};
use crate::id::BlobKind;
use crate::index::Location;
use crate::limits::PACK_SIZE;
use crate::lock::Lock;
use crate::memory::Held;
use crate::monitor::{ItemFailure, Monitor, PackedBlob, Progress};
use crate::pack::Gatherer;
use crate::repository::Repository;
use crate::storage::{FileKind, FileName};

/// The largest pack that is read at once, in bytes.
const PACK_IN_MEMORY: u64 = 64 * 1024 * 1024;

/// Moves what is used of packs that are worth it to new packs. The lock is a shared one.
///
/// A blob that cannot be read is reported, and stays where it is with its pack. What was seen unused is put on record.
///
/// # Errors
/// Whatever makes it uncertain what is needed; [`Error::Cancelled`] and [`Error::Suspended`] when the gate says so, after
/// what was moved until then is listed.
pub fn repack(
    lock: &Lock,
    options: &PruneOptions,
    seen: &mut Seen,
    gate: &Gate,
    monitor: &dyn Monitor,
) -> Result<(PruneSummary, Used)> {
    let repository = lock.repository();
    check_removable(repository)?;
    let mut gatherer = Gatherer::new(lock, monitor);
    gatherer.adopt(&options.adopt)?;
    let mut used = Used::default();
    let survey = survey(repository, seen, &mut used, &|| gate.check())?;
    let chosen = chosen(repository, &survey, options);
    monitor.total(0, chosen.iter().map(|pack| pack.weigh().0).sum());
    let opener = Opener::new(repository.blob_limits())?;
    let sealer = Sealer::new(repository.config())?;
    let mut mover = Mover { repository, gate, monitor, opener, sealer, gatherer, held: gate.memory().held() };
    let mut summary = PruneSummary::default();
    let mut moved = Vec::new();
    let result = chosen.iter().try_for_each(|pack| {
        if mover.move_pack(pack, &mut summary)? {
            moved.push(pack.id);
        }
        Ok(())
    });
    // What was moved before an error is worth being listed: the next attempt need not move it again.
    let flushed = mover.gatherer.flush();
    result.and(flushed)?;
    summary.packs_repacked = moved.len() as u64;
    note_unused(&survey, seen, options);
    for id in moved {
        seen.since(id, SeenAs::Unused, options.now);
    }
    Ok((summary, used))
}

/// Says what a prune would do now, and changes nothing.
///
/// # Errors
/// As [`repack`].
pub fn preview(repository: &Repository, options: &PruneOptions, seen: &Seen, gate: &Gate) -> Result<PruneSummary> {
    check_removable(repository)?;
    let mut used = Used::default();
    let mut survey = survey(repository, seen, &mut used, &|| gate.check())?;
    survey.find_missing(repository, &mut used)?;
    let mut seen = seen.clone();
    let mut summary = PruneSummary::default();
    let chosen = chosen(repository, &survey, options);
    summary.packs_repacked = chosen.len() as u64;
    let at_once = options.grace.is_zero();
    let unused = survey.unused().map(|pack| (pack.id, pack.length.unwrap_or(0), SeenAs::Unused, 0));
    let emptied = chosen.iter().map(|pack| (pack.id, pack.length.unwrap_or(0), SeenAs::Unused, pack.weigh().0));
    let unlisted = survey.unlisted.iter().map(|(id, length)| (*id, *length, SeenAs::Unindexed, 0));
    for (id, length, state, moved) in unused.chain(emptied).chain(unlisted) {
        let until = options.until(seen.since(id, state, options.now));
        summary.bytes_repacked += moved;
        let gain = length.saturating_sub(moved);
        if at_once || (state == SeenAs::Unindexed && until <= options.now) {
            summary.packs_removed += 1;
            summary.bytes_freed += gain;
        } else {
            summary.wait(gain, until);
        }
    }
    summary.packs_kept = survey.packs.iter().filter(|pack| pack.is_used()).count() as u64 - summary.packs_repacked;
    let unused = |packs: &mut dyn Iterator<Item = &Pack>| packs.map(|pack| pack.weigh().1).sum::<u64>();
    let all = unused(&mut survey.packs.iter().filter(|pack| pack.is_used()));
    summary.bytes_unused = all - unused(&mut chosen.iter().copied());
    Ok(summary)
}

/// Puts on record which packs nothing needs, or no index file lists.
fn note_unused(survey: &Survey, seen: &mut Seen, options: &PruneOptions) {
    seen.retain(&survey.of_no_use());
    for pack in survey.unused() {
        seen.since(pack.id, SeenAs::Unused, options.now);
    }
    for (id, _) in &survey.unlisted {
        seen.since(*id, SeenAs::Unindexed, options.now);
    }
}

fn chosen<'s>(repository: &Repository, survey: &'s Survey, options: &PruneOptions) -> Vec<&'s Pack> {
    let pack_size = |kind| repository.config().pack_size(kind, repository.index().stored(kind)) as u64;
    let bounds = Bounds {
        max_unused: options.max_unused,
        max_repack: options.max_repack.unwrap_or(u64::MAX),
        pack_sizes: [pack_size(BlobKind::Data), pack_size(BlobKind::Tree)],
    };
    let packs: Vec<&Pack> = survey.packs.iter().filter(|pack| pack.listed && pack.is_used()).collect();
    let candidate = |pack: &&Pack| {
        let (used, unused) = pack.weigh();
        Candidate { kind: pack.kind(), length: pack.length.unwrap_or(0), used, unused }
    };
    let candidates: Vec<Candidate> = packs.iter().map(candidate).collect();
    choose(&candidates, &bounds).into_iter().map(|at| packs[at]).collect()
}

struct Mover<'a> {
    repository: &'a Repository,
    gate: &'a Gate,
    monitor: &'a dyn Monitor,
    opener: Opener,
    sealer: Sealer,
    gatherer: Gatherer<'a>,
    held: Held,
}

impl Mover<'_> {
    /// Moves what a pack keeps; returns whether that was all of it.
    fn move_pack(&mut self, pack: &Pack, summary: &mut PruneSummary) -> Result<bool> {
        let name = FileName::new(FileKind::Pack, pack.id.0);
        let length = pack.length.unwrap_or(0);
        // Few blobs are read one by one, many in one piece.
        let is_worth_it = length <= PACK_IN_MEMORY && pack.weigh().0 > length / 2;
        let whole = match usize::try_from(length) {
            Ok(length) if is_worth_it && self.make_room(pack, length) => {
                self.repository.storage().read_range(&name, 0, length).ok()
            }
            _ => None,
        };
        let mut is_whole = true;
        for blob in pack.kept_blobs() {
            self.gate.check()?;
            if !self.move_blob(pack, &name, blob, whole.as_deref())? {
                is_whole = false;
                continue;
            }
            summary.bytes_repacked += u64::from(blob.length);
            self.monitor.progress(&Progress { bytes: u64::from(blob.length), ..Progress::default() });
        }
        Ok(is_whole)
    }

    /// Says whether there is memory for a pack beside those that are being filled; without, it is read blob by blob. The
    /// memory for that is taken whether it is there or not.
    fn make_room(&mut self, pack: &Pack, length: usize) -> bool {
        // As it was read, opened, and sealed anew.
        let opened = self.opener.memory(pack.kept_blobs().map(|blob| (blob.length, blob.uncompressed_length)));
        let alone = pack.kept_blobs().map(|blob| 2 * blob.length as usize).max().unwrap_or(0);
        // The pack that is being filled grows by all that is kept, unless that fills it.
        let kept = usize::try_from(pack.weigh().0).unwrap_or(usize::MAX).min(PACK_SIZE);
        let least = self.gatherer.memory().saturating_add(kept).saturating_add(opened).saturating_add(alone);
        self.held.need(least, || {});
        self.held.try_need(least.saturating_add(length))
    }

    fn move_blob(&mut self, pack: &Pack, name: &FileName, blob: &PackedBlob, whole: Option<&[u8]>) -> Result<bool> {
        let PackedBlob { handle, offset, length, uncompressed_length } = *blob;
        let location = Location { pack: pack.id, offset, length, uncompressed_length };
        let range = offset as usize..offset as usize + length as usize;
        let sealed = match whole.and_then(|whole| whole.get(range)) {
            Some(sealed) => Ok(sealed.to_vec()),
            None => self.repository.storage().read_range(name, u64::from(offset), length as usize),
        };
        let checked = sealed
            .and_then(|sealed| self.opener.open(self.repository.key(), &handle, &location, &sealed).map(|_| sealed));
        match checked {
            Ok(sealed) => self.gatherer.add(handle, &sealed, uncompressed_length)?,
            Err(_) => match self.repository.read_blob(&mut self.opener, &handle) {
                // Another copy is good.
                Ok(contents) => {
                    let sealed = self.sealer.seal(self.repository.key(), &contents)?;
                    self.gatherer.add(handle, sealed.bytes, sealed.uncompressed_length)?;
                }
                Err(error) => return self.cannot_move(name, &error),
            },
        }
        Ok(true)
    }

    /// Damage keeps a pack where it is; a storage that fails ends the run.
    fn cannot_move(&self, name: &FileName, error: &Error) -> Result<bool> {
        let mut failure = ItemFailure::new(std::path::Path::new(&name.to_string()), error);
        failure.message = format!("{name} stays as it is: {error}");
        failure.advice = "`backupctl repair` saves what is good and names what is lost.".to_owned();
        self.monitor.item_failed(failure);
        Ok(false)
    }
}
