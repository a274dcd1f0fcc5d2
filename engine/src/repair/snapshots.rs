//! Which snapshots are damaged, and what takes their place.

use std::path::{Path, PathBuf};

use super::known::Known;
use super::rewrite::{Rewriter, Save};
use super::{REPAIRED_TAG, RepairOptions, RepairSummary};
use crate::error::{Class, Error, Result};
use crate::id::{SnapshotId, sha256};
use crate::monitor::{ItemFailure, Monitor, PlannedAction, PlannedItem};
use crate::repository::Repository;
use crate::snapshot::Snapshot;
use crate::storage::{FileKind, FileName};

/// A damaged snapshot.
pub(super) struct Damaged {
    /// The file.
    pub(super) id: SnapshotId,
    /// What takes its place.
    pub(super) place: Place,
}

/// What takes the place of a damaged snapshot.
pub(super) enum Place {
    /// This one, which is still to be written.
    New(Box<Snapshot>),
    /// One that an earlier repair has written.
    There,
    /// Nothing: all of it is lost.
    Nothing,
}

/// A snapshot and what is known of its file.
struct Candidate {
    id: SnapshotId,
    /// The id that its contents have.
    own: SnapshotId,
    snapshot: Snapshot,
}

/// Looks at every snapshot, names what is lost in each and stores the trees of those that take their places.
pub(super) fn look(
    known: &Known<'_>,
    options: &RepairOptions,
    look: &dyn Fn() -> Result<()>,
    save: Save<'_>,
    monitor: &dyn Monitor,
    summary: &mut RepairSummary,
) -> Result<Vec<Damaged>> {
    let (candidates, mut damaged) = candidates(known.repository, monitor, summary)?;
    let mut rewriter = Rewriter::new(known, look)?;
    for Candidate { id, own, snapshot } in &candidates {
        let mut lost = 0;
        let mut lose = |path: &Path, problem: &str| {
            lost += 1;
            monitor.item_failed(failure(*id, path, problem));
        };
        let tree = rewriter.rewrite(snapshot.tree, &mut lose, save)?;
        summary.items_lost += lost;
        let place = match tree {
            Some(tree) if tree == snapshot.tree && id == own => continue,
            None => Place::Nothing,
            Some(tree) => {
                let mut new = Snapshot { tree, original: Some(snapshot.lineage(*own)), ..snapshot.clone() };
                add_tag(&mut new, Some(REPAIRED_TAG));
                add_tag(&mut new, options.incomplete_tag.as_deref().filter(|_| lost > 0));
                let is_it = |other: &Candidate| other.id == other.own && other.snapshot == new;
                if candidates.iter().any(is_it) { Place::There } else { Place::New(Box::new(new)) }
            }
        };
        damaged.push(Damaged { id: *id, place });
    }
    for snapshot in &damaged {
        snapshot.count(options, monitor, summary);
    }
    Ok(damaged)
}

impl Damaged {
    /// Returns whether its file is to be removed.
    pub(super) fn goes(&self, options: &RepairOptions) -> bool {
        options.forget
    }

    fn count(&self, options: &RepairOptions, monitor: &dyn Monitor, summary: &mut RepairSummary) {
        let (action, count) = match (&self.place, self.goes(options)) {
            (Place::New(_), true) => (PlannedAction::Replace, &mut summary.snapshots_repaired),
            (Place::New(_), false) => (PlannedAction::Keep, &mut summary.snapshots_repaired),
            (Place::Nothing, true) => (PlannedAction::Delete, &mut summary.snapshots_lost),
            (Place::Nothing, false) => (PlannedAction::Keep, &mut summary.snapshots_lost),
            (Place::There, true) => (PlannedAction::Delete, &mut 0),
            (Place::There, false) => (PlannedAction::Keep, &mut 0),
        };
        *count += 1;
        *if self.goes(options) { &mut summary.snapshots_removed } else { &mut summary.snapshots_left } += 1;
        monitor.planned(PlannedItem {
            path: FileName::new(FileKind::Snapshot, self.id.0).to_string().into(),
            action,
            bytes: 0,
        });
    }
}

fn add_tag(snapshot: &mut Snapshot, tag: Option<&str>) {
    if let Some(tag) = tag
        && !snapshot.tags.iter().any(|other| other == tag)
    {
        snapshot.tags.push(tag.to_owned());
    }
}

/// Returns the snapshots that can be read, also under a wrong name, and those of which nothing is left.
fn candidates(
    repository: &Repository,
    monitor: &dyn Monitor,
    summary: &mut RepairSummary,
) -> Result<(Vec<Candidate>, Vec<Damaged>)> {
    let found = repository.snapshots()?;
    let (mut candidates, mut lost) = (Vec::new(), Vec::new());
    candidates.extend(found.list.into_iter().map(|(id, snapshot)| Candidate { id, own: id, snapshot }));
    for (id, error) in found.damaged {
        if !matches!(error, Error::Damaged { .. }) {
            return Err(error);
        }
        match misnamed(repository, id)? {
            // Its contents are there under their right name as well.
            Some((own, _)) if candidates.iter().any(|other| other.id == own && other.own == own) => {
                lost.push(Damaged { id, place: Place::There });
            }
            Some((own, snapshot)) => candidates.push(Candidate { id, own, snapshot }),
            None => {
                summary.items_lost += 1;
                monitor.item_failed(failure(id, Path::new("/"), &error.to_string()));
                lost.push(Damaged { id, place: Place::Nothing });
            }
        }
    }
    Ok((candidates, lost))
}

/// Reads a snapshot whose file has the name of another one.
fn misnamed(repository: &Repository, id: SnapshotId) -> Result<Option<(SnapshotId, Snapshot)>> {
    let sealed = repository.storage().read(&FileName::new(FileKind::Snapshot, id.0))?;
    let own = SnapshotId(sha256(&sealed));
    let snapshot = repository.open_file(&sealed).and_then(|bytes| Snapshot::decode(&bytes).ok());
    Ok(snapshot.map(|snapshot| (own, snapshot)))
}

/// Names something that is lost.
fn failure(id: SnapshotId, path: &Path, problem: &str) -> ItemFailure {
    let path = PathBuf::from(format!("{}:{}", id.short(), path.display()));
    let message = format!("{}: {problem}", path.display());
    let advice = "If the file is still in its place, the next backup stores it again; other snapshots may have it.";
    ItemFailure { advice: advice.to_owned(), ..ItemFailure::with(&path, Class::Damaged, message) }
}
