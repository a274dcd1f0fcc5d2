//! What a retry takes up: the items that the attempt before it could not do, as the ledger has them.

use std::collections::BTreeSet;
use std::path::PathBuf;

use backup_proto::job::FailedItem;
use backup_proto::page::PageRequest;

use crate::context::Context;
use crate::job::{Again, Job};

/// Paths that are taken up one by one at most: more than that are not worth being told apart, and all of it is looked
/// at. At some hundred bytes each they take some tens of megabytes.
const PATHS_MAX: usize = 100_000;

/// Returns the paths that failed; `None` when they are not known, or too many.
pub(super) fn failed_paths(job: &Job, again: &Again, context: &Context) -> Option<BTreeSet<PathBuf>> {
    let mut paths = BTreeSet::new();
    let mut page = PageRequest::default();
    loop {
        let found = context.ledger.page::<FailedItem>(&job.id, again.attempt, &page);
        let found = found.inspect_err(|error| tracing::warn!(%error, job = %job.id, "a list of items is lost")).ok()?;
        paths.extend(found.items.into_iter().map(|item| item.path.as_path().to_path_buf()));
        page.after = found.next;
        if paths.len() > PATHS_MAX {
            return None;
        }
        if page.after.is_none() {
            // A list that a crash has cut short must not pass for the whole.
            return Some(paths).filter(|paths| !paths.is_empty());
        }
    }
}
