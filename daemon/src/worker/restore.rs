//! A restore: which snapshots are meant, where their files go, and one engine call for each.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use backup_engine::lock::Lock;
use backup_engine::restorer::{Overwrite, RestoreLimits, RestoreOptions, RestoreSummary, restore};
use backup_engine::{Class, Gate, Monitor, Repository};
use backup_proto::spec::{self, Destination, RestoreItem, RestoreSpec, SnapshotQuery};

use super::again::failed_paths;
use super::attempt::Failure;
use super::find::{FoundSnapshot, find_snapshot, is_interrupted, is_part};
use super::reporter::Reporter;
use crate::context::Context;
use crate::job::{Job, Totals};
use crate::targets::{Place, TargetError};

/// Runs one attempt of a restore.
pub(super) fn run(
    job: &Job,
    spec: &RestoreSpec,
    context: &Context,
    gate: &Gate,
    reporter: &Reporter,
) -> Result<Totals, Failure> {
    let mut totals = Totals::default();
    let mut again = BTreeSet::new();
    if let Some(before) = &job.again
        && let Some(failed) = failed_paths(job, before, context)
    {
        // The rest is right in the destination already.
        (totals.files, totals.bytes, again) = (before.files, before.bytes, failed);
    }
    let chosen = choose(job, spec, context, reporter)?;
    for (item, snapshot) in spec.items.iter().zip(&chosen) {
        let found = find_snapshot(snapshot, context)?;
        let repository = context.targets.for_job(&found.repository, &found.place.name, job, gate);
        let _lock = shared_lock(&found.place, &found.repository, context, reporter)?;
        let mut options = options(spec, item, &found);
        options.resumed = job.attempt_count() > 1;
        options.again = again.clone();
        let RestoreSummary { files, bytes, .. } = restore(&repository, &options, gate, reporter)?;
        totals.files += files;
        totals.bytes += bytes;
        totals.snapshot.get_or_insert_with(|| found.id.to_string());
    }
    Ok(totals)
}

/// Returns which snapshots are meant. What `latest` and the beginning of an id mean is settled by the first attempt,
/// before it writes anything, so that a later one does not mix another snapshot's files into the first one's.
fn choose(
    job: &Job,
    spec: &RestoreSpec,
    context: &Context,
    reporter: &Reporter,
) -> Result<Vec<SnapshotQuery>, Failure> {
    if job.chosen.len() == spec.items.len() {
        return Ok(job.chosen.clone());
    }
    let mut chosen = Vec::new();
    for item in &spec.items {
        let found = find_snapshot(&item.snapshot, context)?;
        if is_interrupted(&found.snapshot) {
            let id = found.id.short();
            reporter.notice(&format!("Snapshot {id} is incomplete: its backup was interrupted, so files are missing."));
        } else if is_part(&found.snapshot) {
            let id = found.id.short();
            reporter
                .notice(&format!("Snapshot {id} has only what is critical in its plan; the rest was not saved yet."));
        }
        chosen.push(SnapshotQuery {
            snapshot: found.id.to_string(),
            target: Some(found.place.name),
            plan: None,
            host: None,
            path: None,
        });
    }
    reporter.choose(chosen.clone())?;
    Ok(chosen)
}

/// Takes the lock that keeps others from removing what is being read. Where nothing can be written, as on a medium
/// that is write-protected, nothing can be removed either: the restore goes on without.
pub(super) fn shared_lock(
    place: &Place,
    repository: &Arc<Repository>,
    context: &Context,
    reporter: &Reporter,
) -> Result<Option<Arc<Lock>>, Failure> {
    match context.targets.lock(repository, &place.folder, false) {
        Ok(lock) => Ok(Some(lock)),
        Err(error) if matches!(error.class(), Class::Permission | Class::Full | Class::Quota) => {
            reporter.notice(&format!("The repository is read without a lock: {error}."));
            Ok(None)
        }
        Err(error) => Err(TargetError::engine(&place.name)(error).into()),
    }
}

fn options(spec: &RestoreSpec, item: &RestoreItem, found: &FoundSnapshot) -> RestoreOptions {
    let inside = item.inside.as_ref();
    let mut options = RestoreOptions {
        include: spec.include.clone(),
        exclude: spec.exclude.clone(),
        overwrite: match spec.overwrite {
            spec::Overwrite::Never => Overwrite::Never,
            spec::Overwrite::Older => Overwrite::Older,
            spec::Overwrite::Always => Overwrite::Always,
        },
        keep_replaced: spec.keep_replaced,
        delete: spec.delete,
        dry_run: spec.dry_run,
        path: inside.map(|path| path.as_bytes().to_vec()),
        limits: limits(&spec.limits),
        ..RestoreOptions::new(found.id, PathBuf::from("/"))
    };
    match (&spec.destination, inside) {
        (Destination::Folder(folder), _) => options.destination = folder.as_path().to_path_buf(),
        (Destination::InPlace, None) => {}
        // It goes to where it was, be it a file or a folder.
        (Destination::InPlace, Some(path)) => {
            options.path = None;
            options.only = Some(path.as_bytes().to_vec());
        }
    }
    options
}

fn limits(wanted: &spec::RestoreLimits) -> RestoreLimits {
    let count = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    RestoreLimits {
        entries: wanted.entries,
        bytes: wanted.total_bytes,
        depth: wanted.depth.map(count),
        folder_entries: wanted.folder_entries.map(count),
        blob_bytes: wanted.blob_bytes,
    }
}
