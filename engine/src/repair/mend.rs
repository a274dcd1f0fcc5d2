//! Doing it, or saying what would be done.
//!
//! ```text
//! new packs ─► new index files ─► new snapshots ─► old index files go ─► damaged packs go ─► damaged snapshots go
//! ```

use std::collections::HashSet;
use std::path::PathBuf;

use super::plan::Plan;
use super::snapshots::{self, Damaged, Place};
use super::{Examined, RepairOptions, RepairSummary};
use crate::blob::{Opener, Sealer};
use crate::control::Gate;
use crate::error::Result;
use crate::id::{BlobHandle, BlobId, BlobKind};
use crate::lock::Lock;
use crate::memory::Held;
use crate::monitor::{Monitor, PlannedAction, PlannedItem, Progress};
use crate::pack::{Gatherer, write_index_files};
use crate::prune::check_removable;
use crate::repository::Repository;
use crate::storage::{FileKind, FileName};

/// Says what a repair would do now, in order and with what is lost, and changes nothing. The lock is a shared one.
///
/// # Errors
/// As [`mend`].
pub fn preview(
    lock: &Lock,
    examined: &Examined,
    options: &RepairOptions,
    gate: &Gate,
    monitor: &dyn Monitor,
) -> Result<RepairSummary> {
    let look = || gate.check();
    let plan = Plan::new(lock.repository(), examined)?;
    let mut summary = announce(&plan, monitor);
    snapshots::look(&plan.known, options, &look, &mut |_, _| Ok(()), monitor, &mut summary)?;
    Ok(summary)
}

/// Repairs what was examined. The lock is an exclusive one. What is lost is reported to the monitor, each item once.
///
/// # Errors
/// [`Error::Misuse`](crate::Error::Misuse) for a repository that is append-only; [`Error::Suspended`](crate::Error::Suspended)
/// as soon as the gate says anything but to run; the storage's own.
pub fn mend(
    lock: &Lock,
    examined: &Examined,
    options: &RepairOptions,
    gate: &Gate,
    monitor: &dyn Monitor,
) -> Result<RepairSummary> {
    check_removable(lock.repository())?;
    let look = || gate.check_exclusive();
    let plan = Plan::new(lock.repository(), examined)?;
    let mut summary = announce(&plan, monitor);
    let mut gatherer = Gatherer::new(lock, monitor);
    let mut held = gate.memory().held();
    save_blobs(&plan, &look, &mut gatherer, &mut held, monitor)?;
    let damaged = {
        let mut sealer = Sealer::new(lock.repository().config())?;
        let mut stored = HashSet::new();
        let mut save = |id: BlobId, contents: &[u8]| {
            let handle = BlobHandle { kind: BlobKind::Tree, id };
            if plan.known.get(&handle).is_some() || !stored.insert(id) {
                return Ok(());
            }
            let sealed = sealer.seal(lock.repository().key(), contents)?;
            gatherer.add(handle, sealed.bytes, sealed.uncompressed_length)
        };
        snapshots::look(&plan.known, options, &look, &mut save, monitor, &mut summary)?
    };
    gatherer.flush()?;
    let mender = Mender { lock, look: &look };
    write_index_files(lock, &plan.relisted, &look)?;
    mender.write_snapshots(&damaged)?;
    mender.remove(plan.unreadable.iter().chain(&plan.wrong).map(|id| FileName::new(FileKind::Index, id.0)))?;
    mender.remove(plan.damaged.iter().map(|(id, _)| FileName::new(FileKind::Pack, id.0)))?;
    let going = damaged.iter().filter(|snapshot| snapshot.goes(options));
    mender.remove(going.map(|snapshot| FileName::new(FileKind::Snapshot, snapshot.id.0)))?;
    Ok(summary)
}

/// Says what becomes of index files and packs.
fn announce(plan: &Plan<'_>, monitor: &dyn Monitor) -> RepairSummary {
    let say = |kind, id: &[u8; 32], action| {
        let path = PathBuf::from(FileName::new(kind, *id).to_string());
        monitor.planned(PlannedItem { path, action, bytes: 0 });
    };
    plan.unreadable.iter().chain(&plan.wrong).for_each(|id| say(FileKind::Index, &id.0, PlannedAction::Replace));
    plan.damaged.iter().for_each(|(id, _)| say(FileKind::Pack, &id.0, PlannedAction::Replace));
    RepairSummary {
        index_files_damaged: plan.unreadable.len() as u64,
        index_files_replaced: (plan.unreadable.len() + plan.wrong.len()) as u64,
        packs_listed_again: plan.found.len() as u64,
        packs_missing: plan.missing.len() as u64,
        packs_damaged: plan.damaged.len() as u64,
        packs_left: plan.left,
        blobs_saved: plan.saved().count() as u64,
        bytes_saved: plan.saved().map(|(_, at)| u64::from(at.length)).sum(),
        blobs_lost: plan.lost.len() as u64,
        ..RepairSummary::default()
    }
}

/// Puts the good blobs of damaged packs into new ones.
fn save_blobs(
    plan: &Plan<'_>,
    look: &dyn Fn() -> Result<()>,
    gatherer: &mut Gatherer<'_>,
    held: &mut Held,
    monitor: &dyn Monitor,
) -> Result<()> {
    let mut opener = Opener::new(plan.known.repository.blob_limits())?;
    monitor.total(0, plan.saved().map(|(_, at)| u64::from(at.length)).sum());
    for (handle, at) in plan.saved() {
        look()?;
        // There is one thread, which never has to wait: others see what is left.
        let opened = opener.memory([(at.length, at.uncompressed_length)].into_iter());
        held.need(gatherer.memory() + opened + at.length as usize, || {});
        let sealed = plan.known.read(&handle, &at, &mut opener)?.0;
        gatherer.add(handle, &sealed, at.uncompressed_length)?;
        monitor.progress(&Progress { bytes: u64::from(at.length), ..Progress::default() });
    }
    Ok(())
}

struct Mender<'a> {
    lock: &'a Lock,
    look: &'a dyn Fn() -> Result<()>,
}

impl Mender<'_> {
    fn repository(&self) -> &Repository {
        self.lock.repository()
    }

    fn write_snapshots(&self, damaged: &[Damaged]) -> Result<()> {
        for snapshot in damaged {
            if let Place::New(new) = &snapshot.place {
                (self.look)()?;
                self.lock.confirm()?;
                let sealed = self.repository().seal_file(new)?;
                self.repository().write_file(FileKind::Snapshot, &sealed)?;
            }
        }
        Ok(())
    }

    fn remove(&self, names: impl Iterator<Item = FileName>) -> Result<()> {
        for name in names {
            (self.look)()?;
            self.lock.confirm()?;
            self.repository().storage().remove(&name)?;
        }
        Ok(())
    }
}
