//! A restore reads little more than it needs and holds few files open, however many there are. A binary of its own: the
//! limit on open files is that of the whole process.

mod common;

use std::sync::Arc;

use backup_engine::Gate;
use backup_engine::restorer::{RestoreOptions, restore};
use backup_engine::storage::{FileKind, MemoryStorage};
use backup_testkit::record::{Operation, RecordingStorage};
use backup_testkit::seed::Seed;
use backup_testkit::tree::Tree;
use common::{Place, Remembers, back_up, create, open, options};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

#[test]
fn a_restore_reads_each_needed_range_once_and_holds_few_files_open() {
    let place = Place::new();
    let mut tree = Tree::new(place.path("source"), Seed(61));
    for number in 0..2000 {
        tree.random_file(format!("folder {}/file {number}", number % 7), 2000);
    }
    let memory = MemoryStorage::new();
    back_up(&create(Arc::new(memory.clone()), 2), &options(tree.root()));
    let recording = RecordingStorage::new(Arc::new(memory));
    let repository = open(Arc::new(recording.clone())).unwrap();
    let snapshot = repository.snapshots().unwrap().list.last().unwrap().0;
    let _ = recording.take();
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(128), ..limit }).unwrap();
    let options = RestoreOptions::new(snapshot, place.path("restored"));
    let restored = restore(&repository, &options, &Gate::new(), &Remembers::default());
    setrlimit(Resource::Nofile, limit).unwrap();
    let summary = restored.unwrap();
    assert_eq!((summary.files, summary.failed), (2000, 0));
    let reads = recording.take()[&(Operation::ReadRange, FileKind::Pack)];
    // The survey and the walk read every tree, and the top one is looked at before. All data is in one pack of 4 MB, and
    // a range is not cut shorter than 256 KiB, however many threads there are.
    let trees = 2 * (summary.folders + 1) + 1;
    assert!(reads <= trees + 17, "{reads} reads for {} folders", summary.folders);
}
