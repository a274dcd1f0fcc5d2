//! Restores through the real engine: what goes where, and which snapshot is meant.

mod house;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use backup_engine::Gate;
use backup_proto::error::ErrorKind;
use backup_proto::job::{JobId, PlannedAction, PlannedItem};
use backup_proto::page::PageRequest;
use backup_proto::path::WirePath;
use backup_proto::spec::{Destination, JobSpec, Overwrite, RestoreItem, RestoreLimits, RestoreSpec, SnapshotQuery};
use backupd::inbox::News;
use backupd::job::{How, Job};

use house::{House, backup_of, job};

fn restore_of(snapshot: &str, inside: Option<&Path>, destination: Destination) -> RestoreSpec {
    let query = |snapshot: &str| SnapshotQuery {
        snapshot: snapshot.to_owned(),
        target: None,
        plan: None,
        host: None,
        path: None,
    };
    RestoreSpec {
        items: vec![RestoreItem { snapshot: query(snapshot), inside: inside.map(WirePath::from) }],
        destination,
        include: Vec::new(),
        exclude: Vec::new(),
        overwrite: Overwrite::Never,
        keep_replaced: false,
        delete: false,
        dry_run: false,
        limits: RestoreLimits::default(),
    }
}

#[test]
fn a_restore_brings_back_the_whole_a_folder_and_a_file_in_its_place() {
    let house = House::new("");
    let source = house.path("source");
    fs::create_dir(source.join("sub")).expect("it is made");
    fs::write(source.join("sub/a*.txt"), "hello").expect("it is written");
    house.run("j1", backup_of(&[&source]));
    let folder = |name: &str| Destination::Folder(WirePath::from(house.path(name)));
    let whole = restore_of("latest", None, folder("whole"));
    let (ended, _) = house.run("j2", JobSpec::Restore(whole));
    assert_eq!((&ended.how, ended.totals.files, ended.totals.bytes), (&How::Done, 1, 5));
    let below = house.path("whole").join(source.strip_prefix("/").expect("it is absolute"));
    assert_eq!(fs::read(below.join("sub/a*.txt")).expect("it is there"), b"hello");
    let part = restore_of("latest", Some(&source.join("sub")), folder("part"));
    house.run("j3", JobSpec::Restore(part));
    assert_eq!(fs::read(house.path("part/a*.txt")).expect("it is there"), b"hello");
    fs::remove_file(source.join("sub/a*.txt")).expect("it is removed");
    let in_place = restore_of("latest", Some(&source.join("sub/a*.txt")), Destination::InPlace);
    let (ended, _) = house.run("j4", JobSpec::Restore(in_place));
    assert_eq!((&ended.how, ended.totals.failed_count), (&How::Done, 0), "{:?}", ended.totals.failed);
    assert_eq!(fs::read(source.join("sub/a*.txt")).expect("it is back"), b"hello");
}

#[test]
fn a_restore_in_place_of_a_name_that_is_no_text_is_met_together_with_patterns() {
    let house = House::new("");
    let source = house.path("source");
    let odd = source.join(OsStr::from_bytes(b"na\xefve"));
    fs::create_dir(&odd).expect("it is made");
    for name in ["a.txt", "b.jpg"] {
        fs::write(odd.join(name), name).expect("it is written");
        fs::write(source.join(name), name).expect("it is written");
    }
    house.run("j1", backup_of(&[&source]));
    let file = odd.join("a.txt");
    let remove_all = || {
        fs::remove_dir_all(&odd).expect("it is removed");
        ["a.txt", "b.jpg"].map(|name| fs::remove_file(source.join(name)).ok())
    };
    remove_all();
    let (ended, _) = house.run("j2", JobSpec::Restore(restore_of("latest", Some(&file), Destination::InPlace)));
    assert_eq!((&ended.how, ended.totals.files), (&How::Done, 1));
    assert_eq!(fs::read(&file).expect("it is a file where it was"), b"a.txt");
    remove_all();
    let mut some = restore_of("latest", Some(&odd), Destination::InPlace);
    some.include = vec!["*.jpg".to_owned()];
    let (ended, _) = house.run("j3", JobSpec::Restore(some));
    assert_eq!((&ended.how, ended.totals.files), (&How::Done, 1));
    assert!(odd.join("b.jpg").is_file() && !file.exists() && !source.join("b.jpg").exists());
}

#[test]
fn a_restore_in_place_of_a_path_that_is_not_in_the_snapshot_fails() {
    let house = House::new("");
    fs::write(house.path("source/a"), "hello").expect("it is written");
    house.run("j1", backup_of(&[&house.path("source")]));
    let nowhere = restore_of("latest", Some(&house.path("source/b")), Destination::InPlace);
    let (ended, _) = house.run("j2", JobSpec::Restore(nowhere));
    assert!(matches!(&ended.how, How::Failed(error) if error.message.contains("not found")), "{:?}", ended.how);
}

#[test]
fn latest_means_the_same_in_every_attempt_of_a_restore() {
    let house = House::new("");
    let file = house.path("source/a");
    let restore = || JobSpec::Restore(restore_of("latest", None, Destination::Folder(house.path("new").into())));
    fs::write(&file, "old").expect("it is written");
    let (backup, _) = house.run("j1", backup_of(&[&file]));
    let (_, said) = house.run("j2", restore());
    let chosen = said.into_iter().find_map(|news| match news {
        News::Chosen { snapshots, .. } => Some(snapshots),
        _ => None,
    });
    let chosen = chosen.expect("it is said before anything is written");
    assert_eq!(
        (Some(&chosen[0].snapshot), chosen[0].target.as_deref()),
        (backup.totals.snapshot.as_ref(), Some("local"))
    );
    fs::write(&file, "newer").expect("it is written");
    house.run("j3", backup_of(&[&file]));
    fs::remove_dir_all(house.path("new")).expect("it is removed");
    let again = Job { chosen, ..job("j2", restore()) };
    let (ended, _) = house.run_job(again, &Gate::new());
    assert_eq!((ended.how, ended.totals.snapshot), (How::Done, backup.totals.snapshot));
    // Neither attempt has left a lock or anything else behind.
    house.restic().check();
}

#[test]
fn a_dry_run_changes_nothing_and_lists_what_it_would_do() {
    let house = House::new("");
    fs::write(house.path("source/a"), "hello").expect("it is written");
    house.run("j1", backup_of(&[&house.path("source")]));
    let mut spec = restore_of("latest", Some(&house.path("source")), Destination::Folder(house.path("new").into()));
    spec.dry_run = true;
    let (ended, _) = house.run("j2", JobSpec::Restore(spec));
    assert_eq!(ended.how, How::Done);
    assert!(!house.path("new").exists());
    let page = house.context.ledger.page::<PlannedItem>(&JobId::from("j2"), 1, &PageRequest::default());
    let items = page.expect("it is readable").items;
    let creates = |item: &&PlannedItem| item.path.as_path() == house.path("new/a");
    assert_eq!(items.iter().find(creates).map(|item| item.action), Some(PlannedAction::Create), "{items:?}");
}

#[test]
fn a_restore_of_an_unknown_snapshot_fails_and_makes_no_target() {
    let house = House::new("");
    let spec = restore_of("latest", None, Destination::Folder(house.path("new").into()));
    let (ended, _) = house.run("j1", JobSpec::Restore(spec));
    let How::Failed(error) = ended.how else { panic!("{:?}", ended.how) };
    assert_eq!(error.data.kind, ErrorKind::SnapshotNotFound);
    assert!(!house.path("data").exists(), "a restore makes no repository");
}
