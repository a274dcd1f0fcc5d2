//! What there is: every pack, what index files say is in it, and which of that is needed and kept there.

use std::collections::{HashMap, HashSet};

use super::seen::Seen;
use super::used::Used;
use crate::blob::Opener;
use crate::error::{Error, Result};
use crate::id::{BlobHandle, BlobKind, IndexId, PackId};
use crate::index::{IndexFile, Location};
use crate::monitor::PackedBlob;
use crate::pack::{pack_length, packed_length, read_header};
use crate::repository::Repository;
use crate::storage::{FileKind, FileName};

/// A pack.
#[derive(Debug)]
pub(super) struct Pack {
    pub(super) id: PackId,
    /// How long it is, if it is there and holds all that is listed in it.
    pub(super) length: Option<u64>,
    pub(super) blobs: Vec<PackedBlob>,
    /// Of each blob, whether this is the place where it is kept.
    pub(super) kept: Vec<bool>,
    /// Whether an index file lists it.
    pub(super) listed: bool,
}

/// An index file: its packs as positions, with the number of blobs that it lists in each.
pub(super) struct Listing {
    pub(super) id: IndexId,
    pub(super) packs: Vec<(usize, usize)>,
}

/// All there is.
pub(super) struct Survey {
    pub(super) packs: Vec<Pack>,
    pub(super) files: Vec<Listing>,
    /// Packs that no index file lists, and their lengths.
    pub(super) unlisted: Vec<(PackId, u64)>,
}

impl Pack {
    /// Returns whether it keeps anything.
    pub(super) fn is_used(&self) -> bool {
        self.kept.contains(&true)
    }

    /// Returns the bytes of what it keeps, and of the rest.
    pub(super) fn weigh(&self) -> (u64, u64) {
        let (mut used, mut unused) = (0, 0);
        for (blob, kept) in self.blobs.iter().zip(&self.kept) {
            let length = packed_length(blob.length, blob.uncompressed_length.is_some());
            if *kept { used += length } else { unused += length }
        }
        (used, unused)
    }

    /// Returns what kind of blobs it holds, if they are of one kind.
    pub(super) fn kind(&self) -> Option<BlobKind> {
        let kind = self.blobs.first()?.handle.kind;
        self.blobs.iter().all(|blob| blob.handle.kind == kind).then_some(kind)
    }

    /// Returns the blobs that it keeps, in the order of their places.
    pub(super) fn kept_blobs(&self) -> impl Iterator<Item = &PackedBlob> {
        self.blobs.iter().zip(&self.kept).filter(|(_, kept)| **kept).map(|(blob, _)| blob)
    }
}

/// Looks at everything. Snapshots are listed before the index is read: a backup that runs meanwhile has listed what its
/// snapshot needs before that is there.
///
/// # Errors
/// Whatever makes it uncertain what is needed.
pub(super) fn survey(
    repository: &Repository,
    seen: &Seen,
    used: &mut Used,
    look: &dyn Fn() -> Result<()>,
) -> Result<Survey> {
    let snapshots = repository.snapshots()?;
    if let Some((_, error)) = repository.read_index_again()?.into_iter().next() {
        return Err(error);
    }
    let mut survey = read_index(repository, look)?;
    survey.look_at_packs(repository)?;
    used.add(repository, snapshots, look)?;
    used.release();
    let order = survey.order(seen, used);
    for at in order {
        survey.packs[at].claim(used);
    }
    Ok(survey)
}

fn read_index(repository: &Repository, look: &dyn Fn() -> Result<()>) -> Result<Survey> {
    let mut survey = Survey { packs: Vec::new(), files: Vec::new(), unlisted: Vec::new() };
    let mut positions = HashMap::new();
    let mut names = repository.storage().list(FileKind::Index)?;
    names.sort_unstable();
    for (name, _) in names {
        look()?;
        let id = IndexId(name.id);
        let file = repository.read_index(id)?;
        survey.add_file(id, &file, &mut positions);
    }
    for pack in &mut survey.packs {
        // More than one index file may list it.
        pack.blobs.sort_unstable_by_key(|blob| (blob.offset, blob.handle));
        pack.blobs.dedup();
        pack.kept = vec![false; pack.blobs.len()];
    }
    Ok(survey)
}

impl Survey {
    fn add_file(&mut self, id: IndexId, file: &IndexFile, positions: &mut HashMap<PackId, usize>) {
        let mut packs = Vec::with_capacity(file.packs.len());
        for pack in &file.packs {
            let at = *positions.entry(pack.id).or_insert_with(|| {
                self.packs.push(Pack { id: pack.id, length: None, blobs: Vec::new(), kept: Vec::new(), listed: true });
                self.packs.len() - 1
            });
            self.packs[at].blobs.extend(pack.packed_blobs());
            packs.push((at, pack.blobs.len()));
        }
        self.files.push(Listing { id, packs });
    }

    /// Learns which packs are there, and which of them no index file lists.
    fn look_at_packs(&mut self, repository: &Repository) -> Result<()> {
        let there = repository.storage().list(FileKind::Pack)?;
        let mut there: HashMap<PackId, u64> =
            there.into_iter().map(|(name, length)| (PackId(name.id), length)).collect();
        for pack in &mut self.packs {
            let length = there.remove(&pack.id);
            pack.length = length.filter(|length| *length >= pack_length(&pack.blobs));
        }
        self.unlisted = there.into_iter().collect();
        self.unlisted.sort_unstable();
        Ok(())
    }

    /// Returns the packs in the order in which they may choose what they keep: first those that are to stay anyway, because
    /// most of them is used, and last those that were seen to be of no use, such as packs that were repacked.
    fn order(&self, seen: &Seen, used: &Used) -> Vec<usize> {
        let key = |at: usize| {
            let pack = &self.packs[at];
            let length = |blob: &PackedBlob| u64::from(blob.length);
            let all: u64 = pack.blobs.iter().map(length).sum();
            let needed: u64 = pack.blobs.iter().filter(|blob| used.contains(&blob.handle)).map(length).sum();
            let unused = all.saturating_sub(needed).saturating_mul(1000) / all.max(1);
            (pack.kind().is_none(), seen.contains(&pack.id), unused, std::cmp::Reverse(all), pack.id)
        };
        let mut order: Vec<usize> = (0..self.packs.len()).filter(|at| self.packs[*at].length.is_some()).collect();
        order.sort_by_cached_key(|at| key(*at));
        order
    }

    /// Finds what is needed and in no index in the packs that no index file lists, and adds those that have it.
    ///
    /// # Errors
    /// [`Error::Damaged`] when something is needed that is nowhere.
    pub(super) fn find_missing(&mut self, repository: &Repository, used: &mut Used) -> Result<()> {
        if used.missing().is_some() {
            let mut opener = Opener::new(repository.blob_limits())?;
            for (id, length) in std::mem::take(&mut self.unlisted) {
                match needed_of(repository, &mut opener, id, length, used) {
                    Some(mut pack) => {
                        pack.claim(used);
                        self.packs.push(pack);
                    }
                    None => self.unlisted.push((id, length)),
                }
            }
        }
        match used.missing() {
            None => Ok(()),
            Some(BlobHandle { kind, id }) => {
                let kind = if kind == BlobKind::Tree { "tree" } else { "data" };
                let problem = format!("{kind} blob {id}, which a snapshot needs, is missing");
                Err(Error::damaged(format!("the repository at {}", repository.location()), problem))
            }
        }
    }

    /// Returns the packs that are listed and keep nothing.
    pub(super) fn unused(&self) -> impl Iterator<Item = &Pack> {
        self.packs.iter().filter(|pack| pack.listed && !pack.is_used())
    }

    /// Returns the ids of all packs that nothing needs or no index file lists.
    pub(super) fn of_no_use(&self) -> HashSet<PackId> {
        self.unused().map(|pack| pack.id).chain(self.unlisted.iter().map(|(id, _)| *id)).collect()
    }
}

impl Pack {
    fn claim(&mut self, used: &mut Used) {
        for (blob, kept) in self.blobs.iter().zip(&mut self.kept) {
            *kept = used.claim(&blob.handle);
        }
    }
}

/// Returns a pack that no index file lists if something in it is needed, and all of that is good.
fn needed_of(repository: &Repository, opener: &mut Opener, id: PackId, length: u64, used: &Used) -> Option<Pack> {
    let blobs = read_header(repository, id, length).ok()?;
    let needed: Vec<&PackedBlob> = blobs.iter().filter(|blob| used.contains(&blob.handle)).collect();
    let name = FileName::new(FileKind::Pack, id.0);
    let mut is_good = |blob: &PackedBlob| {
        let PackedBlob { handle, offset, length, uncompressed_length } = *blob;
        let location = Location { pack: id, offset, length, uncompressed_length };
        let sealed = repository.storage().read_range(&name, u64::from(offset), length as usize);
        sealed.is_ok_and(|sealed| opener.open(repository.key(), &handle, &location, &sealed).is_ok())
    };
    if needed.is_empty() || !needed.into_iter().all(&mut is_good) {
        return None;
    }
    let kept = vec![false; blobs.len()];
    Some(Pack { id, length: Some(length), blobs, kept, listed: false })
}
