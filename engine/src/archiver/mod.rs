//! Backing up: from folders and files to a snapshot.
//!
//! ```text
//! walk ─► unchanged? ─► read ─► cut ─► hash ─► known? ─► seal ─► pack ─► storage ─► index ─► snapshot
//! ```
//! One thread walks and compares with the parent snapshot. Worker threads take files from a bounded channel; each does
//! all from reading to sealing of a chunk, and hands further chunks of a large file to whoever is idle. One thread
//! writes packs. The snapshot is written last, when an index names every pack.

mod again;
mod begun;
mod buffers;
mod building;
mod compare;
mod critical;
mod estimate;
mod file;
mod known;
mod leftovers;
mod need;
mod options;
mod past;
mod queue;
mod record_key;
mod recorded;
mod roots;
mod session;
mod share;
mod sources;
mod tally;
mod threads;
mod top;
mod tracking;
mod walker;
mod worker;

pub use options::{BackupOptions, BackupSummary, Changed};
pub(crate) use recorded::learn_index;

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use crate::control::Gate;
use crate::error::Result;
use crate::id::{BlobId, SnapshotId};
use crate::lock::Lock;
use crate::monitor::{Monitor, Progress};
use crate::snapshot::Snapshot;
use crate::storage::FileKind;
use begun::BegunBefore;
use critical::Part;
use past::{adoptable, prepare};
use recorded::Recorded;
use roots::Roots;
use session::Session;
use sources::SourceCount;

/// Backs up the sources into a new snapshot.
///
/// What cannot be read is reported to the monitor and left out; the rest is stored. The lock must be held since before
/// the call: everything the snapshot relies on is looked up here, under it. A backup without a whole snapshot before it
/// leaves one of what it has when it is interrupted, if the options give tags for that; any other leaves a note beside the
/// records, so that the next one does not read again what is stored.
///
/// With the lock of a repository [for a dry run](crate::Repository::for_dry_run) all the same is done, and nothing is
/// stored or recorded: the summary says what would be, without the id of a snapshot.
///
/// # Errors
/// [`Cancelled`](crate::Error::Cancelled) and [`Suspended`](crate::Error::Suspended) when the gate says so; what was
/// stored by then is listed in an index and need not be stored again. [`LockLost`](crate::Error::LockLost) if the run
/// must begin anew. The storage's own.
pub fn backup(lock: &Lock, options: &BackupOptions, gate: &Gate, monitor: &dyn Monitor) -> Result<BackupSummary> {
    let part = critical::back_up_first(lock, options, gate, monitor)?;
    let summary = attempt(lock, options, gate, monitor, &part)?.summary;
    Ok(BackupSummary { bytes_stored: summary.bytes_stored + part.bytes_stored, ..summary })
}

/// What a run has done.
struct Done {
    summary: BackupSummary,
    /// The top's tree.
    tree: BlobId,
    /// What failed; none if that is too much.
    doubts: Option<Vec<PathBuf>>,
    /// Bytes of new data.
    data_bytes: u64,
}

fn attempt(lock: &Lock, options: &BackupOptions, gate: &Gate, monitor: &dyn Monitor, part: &Part) -> Result<Done> {
    match run(lock, options, gate, monitor, part, true)? {
        Some(done) => Ok(done),
        // What the record of the last run relies on cannot be read any more.
        None => run(lock, options, gate, monitor, part, false)?.ok_or(crate::Error::Cancelled),
    }
}

/// Runs a backup; `None` if it turned out that the record must not be used.
fn run(
    lock: &Lock,
    options: &BackupOptions,
    gate: &Gate,
    monitor: &dyn Monitor,
    part: &Part,
    use_record: bool,
) -> Result<Option<Done>> {
    let repository = lock.repository();
    let roots = Roots::new(&options.sources)?;
    let mut recorded = Recorded::open(repository, options, &roots, part.record_use(options, use_record))?;
    let past = prepare(repository, options, &mut recorded, monitor)?;
    let begun = BegunBefore::open(repository, options, &roots, part.stored.clone());
    let session = Session::new(lock, options, gate, monitor, &past, recorded, begun)?;
    session.adopt(adoptable(repository, options)?);
    let stored = session.run(&roots, past.snapshot());
    if session.recorded.is_doubted.load(Ordering::Relaxed) {
        return Ok(None);
    }
    let (tree, sources) = stored?;
    let (doubts, data_bytes) = (session.recorded.doubts(), session.added().data_bytes);
    if part.is_enough(&session, &past, tree) {
        let summary = BackupSummary::new(session.counts(), session.added());
        return Ok(Some(Done { summary, tree, doubts, data_bytes }));
    }
    if session.counts().entries == 0 {
        return Err(session.nothing_read());
    }
    // One that was interrupted goes when this one is there, and so does one of what is critical.
    let parent = past.parent.filter(|(_, parent)| !options.is_interrupted(parent) && !part.is_critical);
    let sources = roots.sources.iter().map(PathBuf::as_path).zip(sources);
    let summary = commit(&session, tree, parent, sources, data_bytes + part.data_bytes)?;
    session.remove_leftovers(summary.files);
    session.remove_critical(&past.critical, tree);
    if let Some(id) = summary.snapshot {
        session.begun.remove();
        session.record(&roots, tree, id);
    }
    Ok(Some(Done { summary, tree, doubts, data_bytes }))
}

/// Writes the snapshot of everything that is stored.
fn commit<'p>(
    session: &Session<'_>,
    tree: BlobId,
    parent: Option<(SnapshotId, Snapshot)>,
    sources: impl Iterator<Item = (&'p Path, SourceCount)>,
    data_bytes: u64,
) -> Result<BackupSummary> {
    let Session { repository, options, lock, monitor, .. } = session;
    let mut summary = BackupSummary::new(session.counts(), session.added());
    let mut record = summary.to_record(options.time, lock.now().wall);
    sources::record(&mut record, sources);
    let mut snapshot = options.snapshot(tree, parent.as_ref().map(|(id, _)| *id), record);
    let is_major = share::is_major(&summary, data_bytes, parent.as_ref().map(|(_, parent)| parent));
    snapshot.tags.extend(if is_major { &options.major_tags } else { &options.minor_tags }.iter().cloned());
    if summary.failed > 0 {
        snapshot.tags.extend(options.incomplete_tags.iter().cloned());
    }
    summary.hinted = session.recorded.is_hinted();
    if summary.hinted {
        snapshot.tags.extend(options.hinted_tags.iter().cloned());
    }
    let sealed = repository.seal_file(&snapshot)?;
    lock.confirm()?;
    repository.write_file(FileKind::Snapshot, &sealed)?;
    monitor.progress(&Progress { bytes_stored: sealed.len() as u64, ..Progress::default() });
    summary.bytes_stored += sealed.len() as u64;
    summary.snapshot = (!repository.is_dry()).then(|| SnapshotId::of(&sealed));
    Ok(summary)
}
