//! Looking again at some paths only: what lies elsewhere is taken over from the parent snapshot.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::BackupOptions;
use super::past::Past;
use super::walker::Walker;
use crate::monitor::Progress;
use crate::tree::Node;

/// The paths that are looked at again; without them, all are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Again<'a>(Option<&'a BTreeSet<PathBuf>>);

impl<'a> Again<'a> {
    /// Takes what was asked for, if the parent is the one that was meant and a snapshot of the same things.
    pub(super) fn new(options: &'a BackupOptions, past: &Past) -> Self {
        let is_same = past.parent.as_ref().is_some_and(|(id, parent)| {
            options.parent == Some(*id)
                && parent.paths == options.paths()
                && parent.excludes == options.exclude_patterns
        });
        Self(options.again.as_ref().filter(|_| is_same))
    }

    /// Returns whether a path itself is to be looked at again, whatever the parent snapshot has.
    pub(super) fn names(&self, path: &Path) -> bool {
        self.0.is_some_and(|paths| paths.contains(path))
    }

    /// Returns whether something at, above or below a path is to be looked at again.
    fn concerns(&self, path: &Path) -> bool {
        self.0.is_none_or(|paths| concerns(paths, path))
    }
}

/// Returns whether one of the paths is at, above or below a path.
pub(super) fn concerns(paths: &BTreeSet<PathBuf>, path: &Path) -> bool {
    path.ancestors().any(|above| paths.contains(above))
        || paths.range(path.to_path_buf()..).next().is_some_and(|next| next.starts_with(path))
}

/// Returns whether one of the sorted paths is at or below a path.
pub(super) fn is_at_or_below(paths: &[PathBuf], path: &Path) -> bool {
    let first = paths.partition_point(|other| other.as_path() < path);
    paths.get(first).is_some_and(|next| next.starts_with(path))
}

impl Walker<'_, '_, '_> {
    /// Returns the parent snapshot's entry if nobody asked to look at it again, and counts what it holds.
    ///
    /// Everything in it must still be in the repository. A file that was touched shortly before the parent looked at it
    /// may have changed unseen; a folder with such a file is looked at.
    pub(super) fn take_over(&mut self, path: &Path, before: Option<&Node>) -> Option<Node> {
        let before = before.filter(|before| before.subtree.is_some() && !self.session.again.concerns(path))?;
        let session = self.session;
        let held = self.known.look(before, &|file| session.is_settled(file))?;
        let source = &mut self.sources[self.source];
        source.files += held.files;
        source.bytes += held.bytes;
        session.count(|counts| {
            counts.entries += 1;
            counts.files_unmodified += held.files;
            counts.folders_unmodified += held.folders;
            counts.bytes += held.bytes;
            counts.bytes_unchanged += held.bytes;
        });
        session.monitor.progress(&Progress {
            files: held.files,
            folders: held.folders,
            bytes: held.bytes,
            bytes_unchanged: held.bytes,
            ..Progress::default()
        });
        Some(before.clone())
    }
}
