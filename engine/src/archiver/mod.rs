//! Backing up: from folders and files to a snapshot.
//!
//! ```text
//! walk ─► unchanged? ─► read ─► cut ─► hash ─► known? ─► seal ─► pack ─► storage ─► index ─► snapshot
//! ```
//! One thread walks and compares with the parent snapshot. Worker threads take files from a bounded channel; each does
//! all from reading to sealing of a chunk, and hands further chunks of a large file to whoever is idle. One thread
//! writes packs. The snapshot is written last, when an index names every pack.

mod building;
mod file;
mod options;
mod roots;
mod session;
mod walker;
mod worker;

pub use options::{BackupOptions, BackupSummary};

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::control::Gate;
use crate::error::Result;
use crate::id::{BlobId, SnapshotId};
use crate::lock::Lock;
use crate::monitor::{Monitor, PackRecord, Progress};
use crate::pack::read_header;
use crate::repository::Repository;
use crate::snapshot::{Snapshot, Summary};
use crate::storage::{FileKind, FileName};
use roots::Roots;
use session::{Counts, Session};
use walker::SourceCount;

/// The key of what we add to a snapshot's summary.
const OURS: &str = "backupd";

/// Backs up the sources into a new snapshot.
///
/// What cannot be read is reported to the monitor and left out; the rest is stored. The lock must be held since before
/// the call: everything the snapshot relies on is looked up here, under it.
///
/// # Errors
/// [`Error::Cancelled`] and [`Error::Suspended`] when the gate says so; what was stored by then is listed in an index
/// and need not be stored again. [`Error::LockLost`] if the run must begin anew. The storage's own.
pub fn backup(lock: &Lock, options: &BackupOptions, gate: &Gate, monitor: &dyn Monitor) -> Result<BackupSummary> {
    let repository = lock.repository();
    let roots = Roots::new(&options.sources)?;
    let parent = prepare(repository, options, monitor)?;
    let session = Session::new(lock, options, gate, monitor, parent.as_ref())?;
    session.adopt(adoptable(repository, options)?);
    let (tree, sources) = session.run(&roots, parent.as_ref().map(|(_, snapshot)| snapshot))?;
    let counts = session.counts();
    if counts.sources_read == 0 {
        return Err(session.nothing_read());
    }
    let mut summary = BackupSummary::new(counts, session.added());
    let snapshot = make_snapshot(options, &roots, parent.as_ref(), tree, &summary, &sources, lock);
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
            && !repository.index().has_pack(&pack.id)
            && read_header(repository, pack.id, pack.length).is_ok_and(|blobs| blobs == pack.blobs)
    };
    Ok(options.adopt.iter().filter(whole).cloned().collect())
}

fn make_snapshot(
    options: &BackupOptions,
    roots: &Roots,
    parent: Option<&(SnapshotId, Snapshot)>,
    tree: BlobId,
    done: &BackupSummary,
    sources: &[SourceCount],
    lock: &Lock,
) -> Snapshot {
    let summary = Summary {
        backup_start: options.time,
        backup_end: lock.now().wall,
        files_new: done.files_new,
        files_changed: done.files_changed,
        files_unmodified: done.files_unmodified,
        dirs_new: done.folders_new,
        dirs_changed: done.folders_changed,
        dirs_unmodified: done.folders_unmodified,
        data_blobs: done.data_blobs,
        tree_blobs: done.tree_blobs,
        data_added: done.bytes_added,
        data_added_packed: done.bytes_stored,
        total_files_processed: done.files,
        total_bytes_processed: done.bytes,
        others: [(OURS.to_owned(), source_counts(roots, sources))].into_iter().collect(),
    };
    Snapshot {
        time: options.time,
        parent: parent.map(|(id, _)| *id),
        tree,
        paths: options.paths(),
        hostname: options.hostname.clone(),
        username: options.username.clone(),
        uid: options.uid,
        gid: options.gid,
        excludes: options.exclude_patterns.clone(),
        tags: options.tags.clone(),
        original: None,
        program_version: options.program_version.clone(),
        summary: Some(summary),
        others: serde_json::Map::new(),
    }
}

/// What each source held, so that the next backup notices one that shrank.
fn source_counts(roots: &Roots, sources: &[SourceCount]) -> Value {
    let counts = roots.sources.iter().zip(sources).map(|(path, count)| {
        json!({ "path": path.display().to_string(), "files": count.files, "bytes": count.bytes,
            "file_system": count.file_system })
    });
    json!({ "sources": counts.collect::<Vec<_>>() })
}

/// Returns what a source held in a snapshot that we made.
fn source_before(snapshot: &Snapshot, path: &std::path::Path) -> Option<SourceCount> {
    let sources = snapshot.summary.as_ref()?.others.get(OURS)?.get("sources")?.as_array()?;
    let path = path.display().to_string();
    let source = sources.iter().find(|source| source.get("path").and_then(Value::as_str) == Some(&path))?;
    let number = |name: &str| source.get(name).and_then(Value::as_u64);
    let (files, bytes) = (number("files")?, number("bytes")?);
    Some(SourceCount { files, bytes, file_system: number("file_system"), ..SourceCount::default() })
}
