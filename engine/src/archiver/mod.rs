//! Backing up: from folders and files to a snapshot.
//!
//! ```text
//! walk ─► unchanged? ─► read ─► cut ─► hash ─► known? ─► seal ─► pack ─► storage ─► index ─► snapshot
//! ```
//! One thread walks and compares with the parent snapshot. Worker threads take files from a bounded channel; each does
//! all from reading to sealing of a chunk, and hands further chunks of a large file to whoever is idle. One thread
//! writes packs. The snapshot is written last, when an index names every pack.

mod buffers;
mod building;
mod estimate;
mod file;
mod options;
mod roots;
mod session;
mod sources;
mod top;
mod walker;
mod worker;

pub use options::{BackupOptions, BackupSummary};

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::control::Gate;
use crate::error::Result;
use crate::id::SnapshotId;
use crate::lock::Lock;
use crate::monitor::{Monitor, PackRecord, Progress};
use crate::pack::read_header;
use crate::repository::Repository;
use crate::snapshot::Snapshot;
use crate::storage::{FileKind, FileName};
use roots::Roots;
use session::Session;

/// Backs up the sources into a new snapshot.
///
/// What cannot be read is reported to the monitor and left out; the rest is stored. The lock must be held since before
/// the call: everything the snapshot relies on is looked up here, under it.
///
/// # Errors
/// [`Cancelled`](crate::Error::Cancelled) and [`Suspended`](crate::Error::Suspended) when the gate says so; what was
/// stored by then is listed in an index and need not be stored again. [`LockLost`](crate::Error::LockLost) if the run
/// must begin anew. The storage's own.
pub fn backup(lock: &Lock, options: &BackupOptions, gate: &Gate, monitor: &dyn Monitor) -> Result<BackupSummary> {
    let repository = lock.repository();
    let roots = Roots::new(&options.sources)?;
    let parent = prepare(repository, options, monitor)?;
    let session = Session::new(lock, options, gate, monitor, parent.as_ref())?;
    session.adopt(adoptable(repository, options)?);
    let (tree, sources) = session.run(&roots, parent.as_ref().map(|(_, snapshot)| snapshot))?;
    let counts = session.counts();
    if counts.entries == 0 {
        return Err(session.nothing_read());
    }
    let mut summary = BackupSummary::new(counts, session.added());
    let mut record = summary.to_record(options.time, lock.now().wall);
    sources::record(&mut record, roots.sources.iter().map(PathBuf::as_path).zip(sources));
    let mut snapshot = options.snapshot(tree, parent.map(|(id, _)| id), record);
    if summary.failed > 0 {
        snapshot.tags.extend(options.incomplete_tags.iter().cloned());
    }
    let sealed = repository.seal_file(&snapshot)?;
    lock.confirm()?;
    repository.write_file(FileKind::Snapshot, &sealed)?;
    monitor.progress(&Progress { bytes_stored: sealed.len() as u64, ..Progress::default() });
    summary.bytes_stored += sealed.len() as u64;
    summary.snapshot = Some(SnapshotId::of(&sealed));
    Ok(summary)
}

/// Learns what the repository holds, and finds the snapshot to compare with.
fn prepare(
    repository: &Arc<Repository>,
    options: &BackupOptions,
    monitor: &dyn Monitor,
) -> Result<Option<(SnapshotId, Snapshot)>> {
    for (id, error) in repository.load_index()? {
        monitor.notice(&format!("Index {} cannot be used, what it lists is stored again: {error}", id.short()));
    }
    let missing = repository.forget_missing_packs()?;
    if !missing.is_empty() {
        let count = missing.len();
        monitor.notice(&format!("{count} packs are missing from the repository; what they held is stored again."));
    }
    let found = repository.snapshots()?;
    for (id, error) in found.damaged {
        monitor.notice(&format!("Snapshot {} cannot be read: {error}", id.short()));
    }
    let paths: Vec<String> = options.paths();
    let fits = |snapshot: &Snapshot| snapshot.hostname == options.hostname && snapshot.paths == paths;
    let mut list = found.list.into_iter().rev();
    Ok(match options.parent {
        Some(wanted) => list.find(|(id, _)| *id == wanted),
        // A snapshot from the future would make every file look as if it had changed since.
        None => list.find(|(_, snapshot)| fits(snapshot) && snapshot.time <= options.time),
    })
}

/// Returns what an interrupted attempt stored, as far as it is really there and in no index yet.
fn adoptable(repository: &Repository, options: &BackupOptions) -> Result<Vec<PackRecord>> {
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
