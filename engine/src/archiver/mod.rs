//! Backing up: from folders and files to a snapshot.
//!
//! ```text
//! walk ─► unchanged? ─► read ─► cut ─► hash ─► known? ─► seal ─► pack ─► storage ─► index ─► snapshot
//! ```
//! One thread walks and compares with the parent snapshot. Worker threads take files from a bounded channel; each does
//! all from reading to sealing of a chunk, and hands further chunks of a large file to whoever is idle. One thread
//! writes packs. The snapshot is written last, when an index names every pack.

mod again;
mod buffers;
mod building;
mod estimate;
mod file;
mod known;
mod leftovers;
mod options;
mod past;
mod queue;
mod roots;
mod session;
mod sources;
mod tally;
mod threads;
mod top;
mod walker;
mod worker;

pub use options::{BackupOptions, BackupSummary};

use std::path::PathBuf;

use crate::control::Gate;
use crate::error::Result;
use crate::id::SnapshotId;
use crate::lock::Lock;
use crate::monitor::{Monitor, Progress};
use crate::storage::FileKind;
use past::{adoptable, prepare};
use roots::Roots;
use session::Session;

/// Backs up the sources into a new snapshot.
///
/// What cannot be read is reported to the monitor and left out; the rest is stored. The lock must be held since before
/// the call: everything the snapshot relies on is looked up here, under it. A backup without a whole snapshot before it
/// leaves one of what it has when it is interrupted, if the options give tags for that.
///
/// # Errors
/// [`Cancelled`](crate::Error::Cancelled) and [`Suspended`](crate::Error::Suspended) when the gate says so; what was
/// stored by then is listed in an index and need not be stored again. [`LockLost`](crate::Error::LockLost) if the run
/// must begin anew. The storage's own.
pub fn backup(lock: &Lock, options: &BackupOptions, gate: &Gate, monitor: &dyn Monitor) -> Result<BackupSummary> {
    let repository = lock.repository();
    let roots = Roots::new(&options.sources)?;
    let past = prepare(repository, options, monitor)?;
    let session = Session::new(lock, options, gate, monitor, &past)?;
    session.adopt(adoptable(repository, options)?);
    let (tree, sources) = session.run(&roots, past.snapshot())?;
    let counts = session.counts();
    if counts.entries == 0 {
        return Err(session.nothing_read());
    }
    let mut summary = BackupSummary::new(counts, session.added());
    let mut record = summary.to_record(options.time, lock.now().wall);
    sources::record(&mut record, roots.sources.iter().map(PathBuf::as_path).zip(sources));
    // One that was interrupted goes when this one is there.
    let parent = past.parent.filter(|(_, parent)| !options.is_interrupted(parent)).map(|(id, _)| id);
    let mut snapshot = options.snapshot(tree, parent, record);
    if summary.failed > 0 {
        snapshot.tags.extend(options.incomplete_tags.iter().cloned());
    }
    let sealed = repository.seal_file(&snapshot)?;
    lock.confirm()?;
    repository.write_file(FileKind::Snapshot, &sealed)?;
    monitor.progress(&Progress { bytes_stored: sealed.len() as u64, ..Progress::default() });
    summary.bytes_stored += sealed.len() as u64;
    summary.snapshot = Some(SnapshotId::of(&sealed));
    session.remove_leftovers(summary.files);
    Ok(summary)
}
