//! Bounds on what a hostile repository may ask for, each named when it is reached and each with its override.

#![allow(clippy::unwrap_used, reason = "a failed step of a test's preparation is a failed test")]

mod common;

use backup_engine::checker::{VerifyOptions, verify};
use backup_engine::id::{BlobId, BlobKind};
use backup_engine::limits::DATA_BLOB_MAX;
use backup_engine::restorer::{RestoreLimits, RestoreOptions};
use backup_engine::{Error, Gate};
use common::Remembers;
use common::forge::{Forge, folder};
use common::trap::{Trap, run};
use serde_json::json;

/// A tree in which every folder holds the one below twice.
fn doubling(forge: &mut Forge, levels: usize) -> BlobId {
    let leaf = forge.entry("leaf", b"leaf");
    let mut tree = forge.tree(&[leaf]);
    for _ in 0..levels {
        tree = forge.tree(&[folder("a", tree), folder("b", tree)]);
    }
    tree
}

#[test]
fn a_subtree_that_repeats_without_end_is_a_limit_and_not_a_full_disk() {
    let mut trap = Trap::new();
    let tree = doubling(&mut trap.forge, 40);
    let snapshot = trap.forge.snapshot(tree);
    let mut options = RestoreOptions::new(snapshot, trap.to());
    let (summary, _) = run(&trap.forge.open(), &options);
    let error = summary.unwrap_err();
    assert!(matches!(error, Error::Limit { .. }) && error.to_string().contains("entries"), "{error}");
    assert!(!trap.to().exists());
    // The patterns of what is wanted do not lead around the limit.
    options.include = vec!["nothing".to_owned()];
    options.limits.entries = Some(1000);
    assert!(matches!(run(&trap.forge.open(), &options).0.unwrap_err(), Error::Limit { .. }));
}

#[test]
fn whoever_trusts_the_data_raises_the_limit() {
    let mut trap = Trap::new();
    let tree = doubling(&mut trap.forge, 5);
    let snapshot = trap.forge.snapshot(tree);
    let limits = |entries, bytes, depth| RestoreLimits {
        entries: Some(entries),
        bytes: Some(bytes),
        depth: Some(depth),
        ..RestoreLimits::default()
    };
    let mut options = RestoreOptions::new(snapshot, trap.to());
    for (limits, files) in [(limits(93, 1000, 10), None), (limits(94, 127, 10), None), (limits(94, 128, 6), Some(32))] {
        options.limits = limits;
        let (summary, monitor) = run(&trap.forge.open(), &options);
        assert_eq!(summary.ok().map(|summary| summary.files), files, "{limits:?}: {:?}", monitor.failed());
    }
}

#[test]
fn blobs_and_folders_that_are_too_large_are_named_and_can_be_allowed() {
    let mut trap = Trap::new();
    let small = trap.forge.entry("small", b"data");
    let large = trap.forge.entry("large", &[7; 5000]);
    let names = ["a", "b", "c"].map(|name| trap.forge.entry(name, b"data"));
    let many = folder("many", trap.forge.tree(&names));
    let tree = trap.forge.tree(&[large, many, small]);
    let snapshot = trap.forge.snapshot(tree);
    for (blob_bytes, folder_entries, files) in [(4999, 3, 4), (5000, 3, 5)] {
        let mut options = RestoreOptions::new(snapshot, trap.to());
        let (blob_bytes, folder_entries) = (Some(blob_bytes), Some(folder_entries));
        options.limits = RestoreLimits { blob_bytes, folder_entries, ..RestoreLimits::default() };
        let (summary, monitor) = run(&trap.forge.open(), &options);
        assert_eq!(summary.unwrap().files, files, "{:?}", monitor.failed());
        options.limits.folder_entries = Some(2);
        let error = run(&trap.forge.open(), &options).0.unwrap_err();
        assert!(matches!(&error, Error::Limit { limit, .. } if limit == "2 entries"), "{error}");
    }
}

#[test]
fn a_few_bytes_that_claim_to_be_very_many_take_no_memory() {
    let mut trap = Trap::new();
    let id = trap.forge.data(b"x");
    let claims = json!({ "name": "claims", "type": "file", "mode": 0o644, "size": 1, "content": [id] });
    let tree = trap.forge.tree(&[claims]);
    trap.forge.index(|blob| {
        if blob.handle.kind == BlobKind::Data {
            blob.uncompressed_length = Some(u32::try_from(DATA_BLOB_MAX).unwrap() + 1);
        }
    });
    let snapshot = trap.forge.snapshot(tree);
    let (summary, monitor) = run(&trap.forge.open(), &RestoreOptions::new(snapshot, trap.to()));
    assert_eq!((summary.unwrap().files, monitor.failed().len()), (0, 1));
    assert!(monitor.failed()[0].1.contains("limit"), "{:?}", monitor.failed());
}

#[test]
fn folders_that_are_too_deep_are_named() {
    let mut trap = Trap::new();
    let leaf = trap.forge.entry("leaf", b"leaf");
    let mut tree = trap.forge.tree(&[leaf]);
    for _ in 0..4200 {
        tree = trap.forge.tree(&[folder("d", tree)]);
    }
    let (summary, restored) = trap.spring(&[folder("d", tree)]);
    assert_eq!((summary.files, summary.failed), (1, 1));
    let verified = Remembers::default();
    verify(&trap.forge.open(), &VerifyOptions::default(), &Gate::new(), &verified).unwrap();
    for failed in [restored.failed(), verified.failed()] {
        assert_eq!(failed.len(), 1);
        assert!(failed[0].1.contains("4096 levels"), "{failed:?}");
    }
}
