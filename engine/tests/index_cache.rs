//! The local cache of the index: it saves reading, and whatever is wrong with it changes nothing.
#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

mod common;

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use backup_engine::Repository;
use backup_engine::storage::{FileKind, LocalStorage};
use backup_testkit::record::{Operation, RecordingStorage};
use backup_testkit::seed::Seed;
use backup_testkit::tree::Tree;
use common::{Place, back_up, open, options};

/// A repository with an index of several files, and a folder for the cache.
struct House {
    repository: Arc<Repository>,
    recording: RecordingStorage,
    tree: Tree,
    place: Place,
}

impl House {
    fn new(backups: usize) -> Self {
        let place = Place::new();
        place.create(2);
        let recording = RecordingStorage::new(Arc::new(LocalStorage::new(place.repository())));
        let repository = open(Arc::new(recording.clone())).unwrap().with_index_cache(&place.path("cache"));
        let mut house = Self { repository, recording, tree: Tree::new(place.path("source"), Seed(81)), place };
        for number in 0..backups {
            house.tree.random_file(format!("file {number}"), 3000);
            house.back_up();
        }
        house
    }

    /// Backs up as a run that knows nothing yet; returns how many index files were read for it.
    fn back_up(&self) -> u64 {
        let _ = self.recording.take();
        let (_, monitor) = back_up(&self.repository.with_own_index(), &options(self.tree.root()));
        assert!(monitor.failures().is_empty());
        self.recording.take().remove(&(Operation::Read, FileKind::Index)).unwrap_or(0)
    }

    fn cache(&self) -> PathBuf {
        fs::read_dir(self.place.path("cache")).unwrap().next().unwrap().unwrap().path()
    }
}

#[test]
fn index_files_are_read_once() {
    let house = House::new(20);
    // The cache lags behind by a few files, and catches up.
    let most = (0..20).map(|_| house.back_up()).max().unwrap();
    assert!(most <= 40 / 8 + 1, "{most} index files were read again");
    house.place.restic().check();
}

#[test]
fn a_cache_that_is_wrong_changes_nothing() {
    let house = House::new(3);
    let whole = fs::read(house.cache()).unwrap();
    let other = House::new(3);
    let bent = |at: usize| [&whole[..at], &[whole[at] ^ 1], &whole[at + 1..]].concat();
    let wrongs = [Vec::new(), whole[..whole.len() / 2].to_vec(), bent(20), bent(whole.len() - 60), bent(150)];
    for wrong in wrongs.into_iter().chain([fs::read(other.cache()).unwrap()]) {
        fs::write(house.cache(), &wrong).unwrap();
        house.back_up();
        let (again, _) = back_up(&house.repository.with_own_index(), &options(house.tree.root()));
        assert_eq!(again.data_blobs, 0, "everything was known");
        let index = house.repository.with_own_index();
        assert!(index.load_index().unwrap().is_empty());
        assert!(index.index().len() > 3);
    }
    house.place.restic().check();
}

#[test]
fn a_cache_of_index_files_that_are_gone_is_not_used() {
    let house = House::new(12);
    let path = house.tree.path("file 3");
    let contents = fs::read(&path).unwrap();
    fs::remove_file(&path).unwrap();
    house.back_up();
    house.place.restic().run(["forget", "--keep-last", "1", "--prune", "--max-unused", "0"]);
    // What was pruned comes back, and is stored again.
    fs::write(&path, contents).unwrap();
    house.back_up();
    house.place.restic().check();
}
