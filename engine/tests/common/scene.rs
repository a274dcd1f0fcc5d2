//! A source that is backed up again and again, with a record and without.
#![allow(clippy::unwrap_used, reason = "a failed step of a test's preparation is a failed test")]

use std::cell::Cell;
use std::fs;
use std::ops::ControlFlow;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::Arc;

use backup_engine::Repository;
use backup_engine::archiver::{BackupOptions, BackupSummary, Changed};
use backup_engine::browse;
use backup_engine::id::SnapshotId;
use backup_engine::tree::Node;
use backup_testkit::seed::Seed;
use backup_testkit::tree::Tree;
use jiff::SignedDuration;

use super::{Place, Remembers, back_up, options};

/// A source, a repository and a folder of records.
pub(crate) struct Scene {
    pub(crate) place: Place,
    pub(crate) tree: Tree,
    pub(crate) repository: Arc<Repository>,
    /// Minutes from now at which the next backup begins: so late that nothing counts as just changed.
    pub(crate) minute: i64,
    /// The last snapshot that was made with a record.
    pub(crate) last: Cell<Option<SnapshotId>>,
}

impl Scene {
    pub(crate) fn new() -> Self {
        let place = Place::new();
        let tree = Tree::new(place.path("source"), Seed(7));
        tree.file("always there", b"so that the source is never empty");
        let repository = place.create(2);
        Self { place, tree, repository, minute: 10, last: Cell::default() }
    }

    pub(crate) fn plant(&mut self) {
        for folder in ["a", "b", "b/c", "b/c/d", "e"] {
            fs::create_dir_all(self.tree.path(folder)).unwrap();
            for number in 0..4 {
                self.tree.random_file(format!("{folder}/file {number}"), 1000);
            }
        }
        let _ = symlink("file 0", self.tree.path("a/link"));
    }

    pub(crate) fn options(&mut self, records: bool) -> BackupOptions {
        self.minute += 1;
        let plain = options(self.tree.root());
        let records = records.then(|| self.place.path("records"));
        let hinted_tags = vec!["hinted".to_owned()];
        let time = plain.time + SignedDuration::from_mins(self.minute);
        BackupOptions { records, hinted_tags, time, ..plain }
    }

    /// Backs up with a repository that was just opened, as another day would.
    pub(crate) fn back_up(&self, options: &BackupOptions) -> (BackupSummary, Arc<Remembers>) {
        let done = back_up(&self.repository.with_own_index(), options);
        if options.records.is_some() {
            self.last.set(done.0.snapshot);
        }
        done
    }

    pub(crate) fn with_record(&mut self) -> (BackupSummary, Arc<Remembers>) {
        let options = self.options(true);
        self.back_up(&options)
    }

    /// What a caller says that names what has changed since the last backup with a record.
    pub(crate) fn changed(&self, paths: impl IntoIterator<Item = PathBuf>) -> Option<Changed> {
        self.last.get().map(|since| Changed { since, paths: paths.into_iter().collect() })
    }

    pub(crate) fn hinted(&mut self, changed: &[PathBuf]) -> (BackupSummary, Arc<Remembers>) {
        let options = BackupOptions { changed: self.changed(changed.iter().cloned()), ..self.options(true) };
        self.back_up(&options)
    }

    /// Returns every entry below the source; the folders above it belong to others, who may touch them.
    pub(crate) fn entries_of(&self, summary: &BackupSummary) -> Vec<(Vec<u8>, Node)> {
        let repository = self.repository.with_own_index();
        repository.load_index().unwrap();
        let mut entries = Vec::new();
        let path = self.tree.root().as_os_str().as_encoded_bytes();
        let snapshot = repository.snapshots().unwrap().list.into_iter().find(|(id, _)| Some(*id) == summary.snapshot);
        browse::list(&repository, &snapshot.unwrap().0, path, true, &mut |path, node| {
            entries.push((path.to_vec(), node.clone()));
            Ok(ControlFlow::Continue(()))
        })
        .unwrap();
        entries
    }

    /// Says that a backup with a record has found what one without it finds.
    pub(crate) fn assert_same_as_without(&mut self, summary: &BackupSummary) {
        let options = self.options(false);
        let (without, _) = self.back_up(&options);
        assert_eq!(self.entries_of(summary), self.entries_of(&without), "the record has hidden something");
        assert_eq!((summary.files, summary.bytes), (without.files, without.bytes));
    }

    pub(crate) fn records(&self) -> Vec<PathBuf> {
        let mut files: Vec<_> =
            fs::read_dir(self.place.path("records")).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    }
}
