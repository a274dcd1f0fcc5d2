//! What there is before a backup begins: the index, the snapshot to compare with, and what earlier attempts have left.

use std::collections::HashMap;
use std::sync::Arc;

use super::BackupOptions;
use super::recorded::{Recorded, learn_index};
use crate::error::Result;
use crate::id::SnapshotId;
use crate::monitor::{Monitor, PackRecord};
use crate::pack::read_header;
use crate::repository::Repository;
use crate::snapshot::Snapshot;
use crate::storage::{FileKind, FileName};

/// The snapshots of the same backup that there are already.
pub(super) struct Past {
    /// The one to compare with.
    pub(super) parent: Option<(SnapshotId, Snapshot)>,
    /// What interrupted runs have left.
    pub(super) leftovers: Vec<(SnapshotId, Snapshot)>,
    /// Those of what is critical.
    pub(super) critical: Vec<(SnapshotId, Snapshot)>,
}

impl Past {
    /// Returns the snapshot to compare with.
    pub(super) fn snapshot(&self) -> Option<&Snapshot> {
        self.parent.as_ref().map(|(_, snapshot)| snapshot)
    }
}

/// Learns what the repository holds, and finds the snapshot to compare with.
///
/// With a record that can be relied on, its snapshot is the one to compare with, and the index is not read yet.
pub(super) fn prepare(
    repository: &Arc<Repository>,
    options: &BackupOptions,
    recorded: &mut Recorded,
    monitor: &dyn Monitor,
) -> Result<Past> {
    let found = repository.snapshots()?;
    let wanted = recorded.record.as_ref().map(|record| record.head.snapshot);
    // A snapshot from the future would make every file look as if it had changed since.
    let is_wanted = |(id, snapshot): &&(SnapshotId, Snapshot)| Some(*id) == wanted && snapshot.time <= options.time;
    let of_record = found.list.iter().find(is_wanted).cloned();
    if of_record.is_none() {
        recorded.drop_record();
    }
    if of_record.is_none() || !options.adopt.is_empty() {
        let is_whole = learn_index(repository, monitor)?;
        recorded.set_index_known();
        if !is_whole {
            recorded.drop_record();
        }
    }
    for (id, error) in found.damaged {
        monitor.notice(&format!("Snapshot {} cannot be read: {error}", id.short()));
    }
    let named = options.parent.and_then(|wanted| found.list.iter().find(|(id, _)| *id == wanted));
    let parent = of_record.or_else(|| named.or_else(|| newest(options, &found.list)).cloned());
    let critical = found.list.iter().filter(|(_, snapshot)| options.is_of_critical(snapshot)).cloned().collect();
    let leftovers = found.list.into_iter().filter(|(_, snapshot)| options.is_leftover(snapshot)).collect();
    Ok(Past { parent, leftovers, critical })
}

/// Returns the newest snapshot of the same machine and sources; a whole one, if there is one.
pub(super) fn newest<'l>(
    options: &BackupOptions,
    list: &'l [(SnapshotId, Snapshot)],
) -> Option<&'l (SnapshotId, Snapshot)> {
    let paths = options.paths();
    let fits = |snapshot: &Snapshot| snapshot.hostname == options.hostname && snapshot.paths == paths;
    let newest = |is_interrupted: bool| {
        let wanted = |(_, snapshot): &&(SnapshotId, Snapshot)| {
            fits(snapshot) && snapshot.time <= options.time && options.is_interrupted(snapshot) == is_interrupted
        };
        list.iter().rev().find(wanted)
    };
    newest(false).or_else(|| newest(true))
}

/// Returns what an interrupted attempt stored, as far as it is really there and in no index yet.
pub(super) fn adoptable(repository: &Repository, options: &BackupOptions) -> Result<Vec<PackRecord>> {
    if options.adopt.is_empty() {
        return Ok(Vec::new());
    }
    let listed: HashMap<FileName, u64> = repository.storage().list(FileKind::Pack)?.into_iter().collect();
    let whole = |pack: &&PackRecord| {
        listed.get(&FileName::new(FileKind::Pack, pack.id.0)) == Some(&pack.length)
            && !repository.index().lists_pack(&pack.id)
            && read_header(repository, pack.id, pack.length).is_ok_and(|blobs| blobs == pack.blobs)
    };
    Ok(options.adopt.iter().filter(whole).cloned().collect())
}
