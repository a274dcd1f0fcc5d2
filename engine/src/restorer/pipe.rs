//! Batches on their way from the walk to those who restore them: while one is restored, the walk gathers the next.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use super::batch::FileJob;
use super::links::Links;
use super::session::Session;
use super::target::Target;
use crate::error::Result;
use crate::source::handle::Place;
use crate::tree::Node;

/// What the walk has gathered.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) files: Vec<FileJob>,
    /// Folders that are done but for these files and their metadata; each after those in it.
    pub(super) folders: Vec<(Arc<Target>, Node)>,
}

/// Restores batches as they come: files, then their further names, then the metadata of folders that are done.
pub(super) fn restore_batches(session: &Session<'_>, root: &Arc<Target>, batches: Receiver<Batch>) -> Result<()> {
    let mut links = Links::default();
    for Batch { files, folders } in batches {
        links.restore(session, root, files)?;
        session.parallel(folders.len(), |_, number| {
            let (target, node) = &folders[number];
            if target.is_made() || session.may_touch() {
                session.apply(node, Place::Open(target.as_fd()), target.path());
            }
            Ok(())
        })?;
    }
    Ok(())
}
