//! An index and packs that lie: about places, lengths and contents. What is whole is restored, the rest is named, and
//! nothing takes memory for what is only claimed.

#![allow(clippy::unwrap_used, reason = "a failed step of a test's preparation is a failed test")]

mod common;

use std::fs;
use std::sync::Arc;

use backup_engine::checker::{VerifyOptions, verify};
use backup_engine::id::{BlobHandle, BlobId, BlobKind};
use backup_engine::monitor::PackedBlob;
use backup_engine::restorer::{RestoreOptions, restore};
use backup_engine::storage::FileKind;
use backup_engine::{Class, Gate};
use common::forge::Forge;
use common::{Place, Remembers};
use serde_json::json;

const GIB: u32 = 1 << 30;

/// Restores a good file and one whose blob is lied about, and expects that only the latter is named, by verify as well.
fn check_lie(what: &str, lie: impl Fn(&mut PackedBlob)) {
    let place = Place::new();
    let mut forge = Forge::new();
    let good = forge.entry("good", b"good");
    let bad = forge.entry("bad", b"lied about");
    let tree = forge.tree(&[bad, good]);
    let victim = BlobId::of(b"lied about");
    forge.index(|blob| {
        if blob.handle.id == victim {
            lie(blob);
        }
    });
    let snapshot = forge.snapshot(tree);
    let repository = forge.open();
    let monitor = Remembers::default();
    let summary =
        restore(&repository, &RestoreOptions::new(snapshot, place.path("to")), &Gate::new(), &monitor).unwrap();
    let failures = monitor.failures.lock().unwrap().clone();
    assert_eq!((summary.files, failures.len()), (1, 1), "{what}: {failures:?}");
    assert!(failures[0].path.ends_with("bad"), "{what}: {failures:?}");
    assert!(matches!(failures[0].class, Class::Damaged | Class::Quota), "{what}: {failures:?}");
    assert_eq!(fs::read_dir(place.path("to")).unwrap().count(), 1, "{what}");
    let monitor = Remembers::default();
    let options = VerifyOptions { read_data: true, threads: 1, ..VerifyOptions::default() };
    verify(&repository, &options, &Gate::new(), &monitor).unwrap();
    assert!(monitor.failed().iter().any(|(path, _)| path.ends_with("bad")), "{what}: {:?}", monitor.failed());
}

#[test]
fn a_blob_that_is_not_where_or_what_the_index_says_is_named() {
    check_lie("outside the pack", |blob| blob.offset = GIB);
    check_lie("reaching out of the pack", |blob| blob.length = 3 * GIB);
    check_lie("over its neighbour", |blob| blob.offset += 1);
    check_lie("too short", |blob| blob.length -= 1);
    check_lie("never compressed", |blob| blob.uncompressed_length = Some(10));
    check_lie("never compressed and huge", |blob| blob.uncompressed_length = Some(u32::MAX));
    check_lie("never compressed and within bounds", |blob| blob.uncompressed_length = Some(GIB));
}

#[test]
fn a_blob_that_unpacks_to_more_or_less_than_it_claims_is_named() {
    for claimed in [1, 1000, 10 << 20] {
        let place = Place::new();
        let mut forge = Forge::new();
        let contents = vec![0; 5 << 20];
        let handle = BlobHandle { kind: BlobKind::Data, id: BlobId::of(&contents) };
        forge.packed(handle, &zstd::bulk::compress(&contents, 3).unwrap(), Some(claimed));
        let bomb = json!({ "name": "bomb", "type": "file", "size": contents.len(), "content": [handle.id] });
        let good = forge.entry("good", b"good");
        let tree = forge.tree(&[bomb, good]);
        let snapshot = forge.snapshot(tree);
        let monitor = Remembers::default();
        let options = RestoreOptions::new(snapshot, place.path("to"));
        let summary = restore(&forge.open(), &options, &Gate::new(), &monitor).unwrap();
        assert_eq!((summary.failed, fs::read(place.path("to/good")).unwrap()), (1, b"good".to_vec()), "{claimed}");
        assert!(monitor.failed()[0].0.ends_with("bomb"), "{:?}", monitor.failed());
    }
}

#[test]
fn an_index_that_cannot_be_one_is_not_believed_and_the_packs_are_asked() {
    let place = Place::new();
    let mut forge = Forge::new();
    let good = forge.entry("good", b"good");
    let tree = forge.tree(&[good]);
    let snapshot = forge.snapshot(tree);
    let blob = |offset: u32, length: u32| json!({ "id": tree, "type": "tree", "offset": offset, "length": length });
    for bad in [blob(u32::MAX, 100), blob(0, 31), blob(0, 0)] {
        let index = json!({ "packs": [{ "id": tree, "blobs": [bad] }] });
        forge.file(FileKind::Index, index.to_string().as_bytes());
    }
    let repository = forge.open();
    assert_eq!(Arc::clone(&repository).load_index().unwrap().len(), 3);
    let monitor = Remembers::default();
    restore(&repository, &RestoreOptions::new(snapshot, place.path("to")), &Gate::new(), &monitor).unwrap();
    assert_eq!((monitor.failed(), monitor.notices.lock().unwrap().len()), (vec![], 3));
    assert_eq!(fs::read(place.path("to/good")).unwrap(), b"good");
}

#[test]
fn a_hundred_thousand_snapshots_are_listed_in_order() {
    let mut forge = Forge::new();
    let tree = forge.tree(&[]);
    forge.snapshot(tree);
    let start: jiff::Timestamp = "2024-02-01T00:00:00Z".parse().unwrap();
    for number in (0..100_000).rev() {
        let time = start + jiff::SignedDuration::from_secs(number);
        forge.file(FileKind::Snapshot, json!({ "time": time, "tree": tree }).to_string().as_bytes());
    }
    let list = forge.open().snapshots().unwrap();
    assert_eq!((list.list.len(), list.damaged.len()), (100_001, 0));
    assert!(list.list.is_sorted_by_key(|(_, snapshot)| snapshot.time));
}
