//! Restoring: from a snapshot to folders and files.
//!
//! ```text
//! snapshot ─► trees ─► entries, in batches ─► ranges of packs ─► open + verify ─► write at offset ─► metadata ─► name
//! ```
//! Every piece of data is checked against its id before it is written. A repository is not trusted further than that:
//! names cannot lead out of the destination, no link that was there is followed, and the numbers of entries and bytes
//! are bounded.

mod batch;
mod bounds;
mod chunks;
mod file;
mod folders;
mod links;
mod options;
mod pipe;
pub(crate) mod plan;
mod preview;
mod removal;
mod room;
mod session;
mod special;
mod survey;
mod target;
mod unnamed;
mod walk;

pub use options::{Overwrite, RestoreLimits, RestoreOptions, RestoreSummary};

use std::sync::Arc;
use std::sync::mpsc::sync_channel;

use crate::control::Gate;
use crate::error::{Error, Result};
use crate::monitor::Monitor;
use crate::repository::Repository;
use crate::snapshot::Snapshot;
use crate::storage::{FileKind, FileName};
use bounds::Bounds;
use folders::Restorer;
use pipe::restore_batches;
use preview::Preview;
use session::Session;
use survey::survey;
use target::Target;
use walk::{Selection, Start, start, walk};

/// Restores a snapshot, or a part of it, into a folder.
///
/// What cannot be restored is reported to the monitor; the rest is. Interrupted at any moment, a further call with the
/// same options goes on: what is there and right is not fetched again.
///
/// # Errors
/// [`Error::NotFound`] if there is no such snapshot or path, [`Error::Limit`] if there is more to restore than the
/// limits allow, [`Error::Cancelled`] and [`Error::Suspended`] when the gate says so, the storage's own.
pub fn restore(
    repository: &Arc<Repository>,
    options: &RestoreOptions,
    gate: &Gate,
    monitor: &dyn Monitor,
) -> Result<RestoreSummary> {
    load_index(repository, monitor)?;
    let snapshot: Snapshot = repository.read_json(&FileName::new(FileKind::Snapshot, options.snapshot.0))?;
    let mut selection = Selection::new(options)?;
    let mut session = Session::new(repository, options, gate, monitor);
    if let Some(only) = &options.only {
        // What is not there is an error, not a restore of nothing.
        find_start(&session, &snapshot, Some(only))?;
    }
    let start = find_start(&session, &snapshot, options.path.as_deref())?;
    selection.take_again(options, &start);
    let bounds = Bounds::new(&options.limits, repository);
    let needs = survey(&session, &selection, &start, bounds)?;
    if needs.misses {
        repository.index_unlisted_packs()?;
    }
    if !needs.finds && !options.include.is_empty() {
        monitor.notice("Nothing in the snapshot matches what was to be included; paths in it begin with `/`.");
    }
    monitor.total(needs.files, needs.bytes);
    // The survey may have known too little of the sizes.
    let bounds = Bounds::new(&options.limits, repository);
    if options.dry_run {
        let mut preview = Preview::new(&session, &selection, &start)?;
        walk(repository, &start, &selection, bounds, gate, &mut preview)?;
        preview.close()?;
        return Ok(session.take_summary());
    }
    let destination = &options.destination;
    let root = Target::root(destination).map_err(Error::io("create", destination))?;
    room::notice_if_short(monitor, &root, needs.bytes);
    session.unnamed = unnamed::is_possible(&root);
    restore_tree(&session, &selection, &start, root, bounds)?;
    Ok(session.take_summary())
}

/// Makes folders and gathers files on this thread, while another restores those that are gathered.
fn restore_tree(
    session: &Session<'_>,
    selection: &Selection,
    start: &Start,
    root: Target,
    bounds: Bounds,
) -> Result<()> {
    let root = Arc::new(root);
    std::thread::scope(|scope| {
        let (sender, batches) = sync_channel(0);
        let below = root.clone();
        let restored = scope.spawn(move || restore_batches(session, &below, batches));
        let mut restorer = Restorer::new(session, selection, start, root, sender);
        let walked = walk(session.repository, start, selection, bounds, session.gate, &mut restorer);
        restorer.finish(walked, || restored.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}

/// Loads the index; where index files cannot be read, the packs' own headers stand in.
pub(crate) fn load_index(repository: &Repository, monitor: &dyn Monitor) -> Result<()> {
    let damaged = repository.load_index()?;
    if damaged.is_empty() {
        return Ok(());
    }
    for (id, error) in &damaged {
        monitor.notice(&format!("Index {} cannot be used; the packs themselves are asked: {error}", id.short()));
    }
    repository.index_unlisted_packs()?;
    Ok(())
}

/// Finds where the restore begins; a tree that no index lists may still be in a pack.
fn find_start(session: &Session<'_>, snapshot: &Snapshot, path: Option<&[u8]>) -> Result<Start> {
    let find = || start(session.repository, session.blob_limits, &snapshot.tree, path);
    match find() {
        Err(Error::Damaged { .. }) => {
            session.repository.index_unlisted_packs()?;
            find()
        }
        other => other,
    }
}
