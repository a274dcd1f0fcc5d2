//! Parts of files: the right bytes, and no more reading than they take.

#![allow(clippy::unwrap_used, reason = "a failed step of a test's preparation is a failed test")]

mod common;

use std::fs;
use std::sync::Arc;

use backup_engine::browse::{ByteRange, cat};
use backup_engine::id::SnapshotId;
use backup_engine::storage::{FileKind, LocalStorage};
use backup_engine::{Error, Repository};
use backup_testkit::record::{Operation, RecordingStorage};
use backup_testkit::seed::Seed;
use common::{Place, back_up, open, options};

/// A file of many chunks in a snapshot, in a storage that counts.
struct Stored {
    _place: Place,
    storage: RecordingStorage,
    repository: Arc<Repository>,
    snapshot: SnapshotId,
    path: Vec<u8>,
    contents: Vec<u8>,
}

impl Stored {
    fn new(length: usize) -> Self {
        let place = Place::new();
        let source = place.path("source");
        fs::create_dir(&source).unwrap();
        let contents = Seed(11).random().bytes(length);
        fs::write(source.join("file"), &contents).unwrap();
        let snapshot = back_up(&place.create(2), &options(&source)).0.snapshot.unwrap();
        let storage = RecordingStorage::new(Arc::new(LocalStorage::new(place.repository())));
        let repository = open(Arc::new(storage.clone())).unwrap().for_looks();
        let path = source.join("file").as_os_str().as_encoded_bytes().to_vec();
        Self { _place: place, storage, repository, snapshot, path, contents }
    }

    fn read(&self, offset: u64, length: Option<u64>) -> Result<Vec<u8>, Error> {
        let mut read = Vec::new();
        self.repository.load_index()?;
        cat(&self.repository, &self.snapshot, &self.path, ByteRange { offset, length }, &mut |bytes| {
            read.extend_from_slice(bytes);
            Ok(())
        })?;
        Ok(read)
    }

    fn expected(&self, offset: u64, length: Option<u64>) -> &[u8] {
        let end = length.map_or(u64::MAX, |length| offset.saturating_add(length));
        let at = |position: u64| usize::try_from(position).unwrap().min(self.contents.len());
        &self.contents[at(offset)..at(end.max(offset))]
    }
}

#[test]
fn a_part_of_a_file_is_what_lies_there_in_the_file() {
    let stored = Stored::new(20 << 20);
    let mut random = Seed::of_test("backup-engine", "a_part_of_a_file_is_what_lies_there_in_the_file").random();
    let size = stored.contents.len() as u64;
    let mut ranges = vec![
        (0, None),
        (0, Some(0)),
        (5, Some(0)),
        (size, None),
        (size - 1, Some(9)),
        (u64::MAX, None),
        (u64::MAX, Some(u64::MAX)),
        (7, Some(u64::MAX)),
    ];
    ranges.extend((0..60).map(|_| (random.below(size + 10), Some(random.below(4 << 20)))));
    for (offset, length) in ranges {
        let read = stored.read(offset, length).unwrap();
        assert!(read == stored.expected(offset, length), "{offset} {length:?}: {} bytes", read.len());
    }
}

#[test]
fn only_the_pieces_that_hold_some_of_it_are_read_and_index_and_trees_once() {
    let mut stored = Stored::new(24 << 20);
    let first = stored.read(0, Some(1)).unwrap();
    assert_eq!(first, stored.contents[..1]);
    let counts = stored.storage.take();
    let cost = |kind| counts.get(&(Operation::Read, kind)).copied().unwrap_or(0);
    assert!(cost(FileKind::Index) > 0);
    // So far apart that they lie in different pieces wherever the file was cut.
    for offset in [9 << 20, 18 << 20] {
        stored.read(offset, Some(1)).unwrap();
        let counts = stored.storage.take();
        assert_eq!(counts.get(&(Operation::ReadRange, FileKind::Pack)), Some(&1), "one piece of the file");
        assert_eq!(counts.get(&(Operation::Read, FileKind::Index)), None, "the index is known");
        stored.read(offset, Some(2)).unwrap();
        let again = stored.storage.take();
        assert_eq!(again.get(&(Operation::ReadRange, FileKind::Pack)), None, "what was cut is kept for the rest of it");
    }
    // One that has kept no piece yet.
    stored.repository = stored.repository.for_looks();
    stored.read(0, None).unwrap();
    let all = stored.storage.take()[&(Operation::ReadRange, FileKind::Pack)];
    stored.repository = stored.repository.for_looks();
    stored.read(12 << 20, None).unwrap();
    let half = stored.storage.take()[&(Operation::ReadRange, FileKind::Pack)];
    assert!(all > 3 && half < all, "{half} of {all}");
    stored.read(24 << 20, None).unwrap();
    assert_eq!(stored.storage.take().get(&(Operation::ReadRange, FileKind::Pack)), None);
}
