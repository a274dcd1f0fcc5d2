//! How much snapshots hold, other tags for them, and how much has changed: what restic says of the same.

#![allow(clippy::unwrap_used, reason = "a failed step of a test's preparation is a failed test")]

mod common;

use std::fs;

use backup_engine::archiver::BackupOptions;
use backup_engine::id::SnapshotId;
use backup_engine::retag::retag;
use backup_engine::stats::stats;
use backup_testkit::seed::Seed;
use backup_testkit::tree::Tree;
use common::{Place, back_up, lock, now, options};
use jiff::SignedDuration;

fn restic_says(place: &Place, mode: &str) -> (u64, u64, u64) {
    let said = place.restic().run(["stats", "--json", "--mode", mode]);
    let said: serde_json::Value = serde_json::from_slice(&said).unwrap();
    let number = |name: &str| said[name].as_u64().unwrap_or(0);
    (number("total_size"), number("total_file_count"), number("total_blob_count"))
}

#[test]
fn the_counts_are_those_of_restic() {
    let place = Place::new();
    let source = place.path("source");
    Tree::awkward(&source, Seed(21));
    let repository = place.create(2);
    back_up(&repository, &options(&source));
    fs::write(source.join("one more"), Seed(22).random().bytes(200_000)).unwrap();
    fs::write(source.join("the same again"), Seed(22).random().bytes(200_000)).unwrap();
    back_up(&repository, &options(&source));
    let ids: Vec<SnapshotId> = repository.snapshots().unwrap().list.into_iter().map(|(id, _)| id).collect();
    let counted = stats(&repository.with_own_index(), &ids).unwrap();
    let (size, count, _) = restic_says(&place, "restore-size");
    assert_eq!((counted.snapshots, counted.restore_bytes, counted.entries), (2, size, count));
    let (size, _, blobs) = restic_says(&place, "raw-data");
    assert_eq!((counted.stored_bytes, counted.blobs), (size, blobs));
    let (size, count, _) = restic_says(&place, "files-by-contents");
    assert_eq!(counted.distinct_bytes, size);
    // To restic, folders are files without contents, as empty files are.
    assert!(counted.distinct_files == count || counted.distinct_files + 1 == count, "{counted:?} {count}");
    let one = stats(&repository.with_own_index(), &ids[..1]).unwrap();
    assert!(one.restore_bytes < counted.restore_bytes && one.stored_bytes < counted.stored_bytes);
}

#[test]
fn a_snapshot_gets_another_tag_and_stays_the_same_to_restic() {
    let place = Place::new();
    let source = place.path("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("a"), "1").unwrap();
    let repository = place.create(2);
    let first = back_up(&repository, &options(&source)).0.snapshot.unwrap();
    let (held, _) = retag(&lock(&repository), first, |tags| tags.push("backupd:hold=2099-01-01".to_owned())).unwrap();
    let (again, snapshot) = retag(&lock(&repository), held, |tags| tags.push("mine".to_owned())).unwrap();
    assert_eq!((snapshot.original, first == held, held == again), (Some(first), false, false));
    let same = retag(&lock(&repository), again, |_| {}).unwrap();
    assert_eq!(same.0, again, "without a change nothing is written");
    let listed = place.restic().snapshots();
    assert_eq!(listed.len(), 1, "the old form is gone");
    assert_eq!(listed[0]["tags"], serde_json::json!(["backupd:hold=2099-01-01", "mine"]));
    assert_eq!(listed[0]["original"], first.to_string());
    place.restic().check();
    place.restic().run(["tag", "--remove", "mine"]);
    let (id, snapshot) = repository.snapshots().unwrap().list.pop().unwrap();
    assert_eq!(snapshot.lineage(id), first, "restic keeps which one it was first");
}

#[test]
fn a_large_change_is_told_from_a_small_one() {
    let place = Place::new();
    let source = place.path("source");
    fs::create_dir(&source).unwrap();
    (0..20).for_each(|number| fs::write(source.join(format!("{number}")), Seed(number).random().bytes(1000)).unwrap());
    let repository = place.create(2);
    let options = || BackupOptions {
        major_tags: vec!["major".to_owned()],
        minor_tags: vec!["minor".to_owned()],
        description: Some("why".to_owned()),
        // What was written just before counts as left alone.
        time: now().wall + SignedDuration::from_secs(10),
        ..options(&source)
    };
    let back_up = || {
        back_up(&repository, &options());
        let (_, snapshot) = repository.snapshots().unwrap().list.pop().unwrap();
        assert_eq!(snapshot.others["description"], "why");
        snapshot.tags[0].clone()
    };
    assert_eq!(back_up(), "major", "all of the first one is new");
    assert_eq!(back_up(), "minor");
    (0..3).for_each(|number| fs::write(source.join(format!("{number}")), "changed").unwrap());
    assert_eq!(back_up(), "minor", "15 % of the files");
    (0..5).for_each(|number| fs::remove_file(source.join(format!("{number}"))).unwrap());
    assert_eq!(back_up(), "major", "a quarter of the files is gone");
    fs::write(source.join("large"), Seed(30).random().bytes(50_000)).unwrap();
    assert_eq!(back_up(), "major", "one file, and most of the bytes");
}
