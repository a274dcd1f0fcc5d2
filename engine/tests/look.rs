//! Looking into repositories: verify, list, find, diff, cat.

#![allow(clippy::unwrap_used, reason = "a failed step of a test's preparation is a failed test")]

mod common;

use std::fs;
use std::ops::ControlFlow;
use std::sync::Arc;

use backup_engine::browse::{ByteRange, Change, ChangeKind, Finder, cat, diff, list};
use backup_engine::checker::{VerifyOptions, verify};
use backup_engine::id::SnapshotId;
use backup_engine::{Error, Gate, Repository};
use backup_testkit::seed::Seed;
use backup_testkit::tree::Tree;
use common::{Place, Remembers, back_up, options};

/// A repository with two snapshots of a small tree, the second after some changes.
fn two_snapshots(place: &Place) -> (Arc<Repository>, SnapshotId, SnapshotId) {
    let source = place.path("source");
    fs::create_dir_all(source.join("folder")).unwrap();
    for (name, contents) in [("same", "1"), ("changed", "2"), ("removed", "3"), ("folder/deep", "4")] {
        fs::write(source.join(name), contents).unwrap();
    }
    let repository = place.create(2);
    let first = back_up(&repository, &options(&source)).0.snapshot.unwrap();
    fs::write(source.join("changed"), "other").unwrap();
    fs::remove_file(source.join("removed")).unwrap();
    fs::write(source.join("added"), "5").unwrap();
    let second = back_up(&repository, &options(&source)).0.snapshot.unwrap();
    (repository, first, second)
}

fn below(place: &Place, name: &str) -> Vec<u8> {
    place.path("source").join(name).as_os_str().as_encoded_bytes().to_vec()
}

#[test]
fn a_whole_repository_has_nothing_wrong() {
    for version in [1, 2] {
        let place = Place::new();
        let source = place.path("source");
        Tree::awkward(&source, Seed(6));
        let repository = place.create(version);
        back_up(&repository, &options(&source));
        let monitor = Remembers::default();
        let options = VerifyOptions { read_data: true, threads: 2, ..VerifyOptions::default() };
        let summary = verify(&repository, &options, &Gate::new(), &monitor).unwrap();
        assert_eq!(monitor.failed(), []);
        assert_eq!((summary.snapshots, summary.failed), (1, 0));
        assert!(summary.bytes > 5_000_000, "{summary:?}");
    }
}

#[test]
fn what_restic_made_has_nothing_wrong() {
    let place = Place::new();
    let source = place.path("source");
    Tree::awkward(&source, Seed(7));
    place.restic().init(2);
    place.restic().backup(&source);
    let monitor = Remembers::default();
    verify(
        &place.open(),
        &VerifyOptions { read_data: true, threads: 2, ..VerifyOptions::default() },
        &Gate::new(),
        &monitor,
    )
    .unwrap();
    assert_eq!(monitor.failed(), []);
}

#[test]
fn lists_one_folder_or_all_below_it() {
    let place = Place::new();
    let (repository, first, _) = two_snapshots(&place);
    let paths = |path: &[u8], recursive| {
        let mut paths = Vec::new();
        list(&repository, &first, path, recursive, &mut |path, _| {
            paths.push(path.to_vec());
            Ok(ControlFlow::Continue(()))
        })
        .unwrap();
        paths
    };
    let source = below(&place, "");
    let names = ["changed", "folder", "removed", "same"].map(|name| below(&place, name));
    assert_eq!(paths(&source, false), names);
    assert_eq!(paths(&source, true).len(), 5);
    assert_eq!(paths(&below(&place, "same"), false), [below(&place, "same")]);
    let missing = list(&repository, &first, b"/nowhere", false, &mut |_, _| Ok(ControlFlow::Continue(())));
    assert!(matches!(missing, Err(Error::NotFound { .. })));
}

#[test]
fn finds_by_pattern_in_several_snapshots() {
    let place = Place::new();
    let (repository, first, second) = two_snapshots(&place);
    let mut found = Vec::new();
    let mut finder = Finder::new(repository, "*ed").unwrap();
    for snapshot in [first, second] {
        let mut each = |path: &[u8], _: &_| {
            found.push((snapshot, path.to_vec()));
            Ok(ControlFlow::Continue(()))
        };
        finder.in_snapshot(&snapshot, &mut each).unwrap();
    }
    let expected = [(first, "changed"), (first, "removed"), (second, "added"), (second, "changed")];
    assert_eq!(found, expected.map(|(snapshot, name)| (snapshot, below(&place, name))));
    // All that leads to the source has matches in it, and the folder in it, which both have, has none.
    let above = below(&place, "").iter().filter(|byte| **byte == b'/').count() as u64;
    assert_eq!(finder.looked(), 2 * above + 1);
}

#[test]
fn tells_what_changed_between_two_snapshots() {
    let place = Place::new();
    let (repository, first, second) = two_snapshots(&place);
    let changes = |first, second| {
        let mut changes = Vec::new();
        diff(&repository, first, second, &mut |change| {
            // The folders above the source belong to others.
            if change.path.starts_with(&below(&place, "")) {
                changes.push(change);
            }
            Ok(ControlFlow::Continue(()))
        })
        .unwrap();
        changes
    };
    let change = |kind, name| Change { kind, path: below(&place, name) };
    assert_eq!(
        changes(&first, &second),
        [
            change(ChangeKind::Added, "added"),
            change(ChangeKind::Modified, "changed"),
            change(ChangeKind::Removed, "removed")
        ]
    );
    assert_eq!(changes(&first, &first), []);
}

#[test]
fn prints_a_file_and_nothing_else() {
    let place = Place::new();
    let (repository, first, _) = two_snapshots(&place);
    let mut contents = Vec::new();
    let mut out = |bytes: &[u8]| {
        contents.extend_from_slice(bytes);
        Ok(())
    };
    cat(&repository, &first, &below(&place, "folder/deep"), ByteRange::default(), &mut out).unwrap();
    let folder = cat(&repository, &first, &below(&place, "folder"), ByteRange::default(), &mut out);
    assert!(matches!(folder, Err(Error::Misuse { .. })));
    assert_eq!(contents, b"4");
}
