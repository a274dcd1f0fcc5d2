//! Attempts of jobs through the real engine onto a real disk; restic says what came of them.

mod house;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use backup_engine::Gate;
use backup_proto::error::{Class, ErrorKind};
use backup_proto::job::{FailedItem, JobId, PlannedAction, PlannedItem};
use backup_proto::page::PageRequest;
use backup_proto::path::WirePath;
use backup_proto::spec::{
    BackupSpec, Destination, JobSpec, Overwrite, RestoreItem, RestoreSpec, SnapshotQuery, VerifySpec,
};
use backupd::inbox::News;
use backupd::job::{How, Job};
use serde_json::{Value, json};

use house::{House, backup_of, job};

#[test]
fn a_backup_makes_a_snapshot_that_restic_restores_and_a_second_one_stores_no_data() {
    let house = House::new("");
    let source = house.path("source");
    fs::write(source.join("a.txt"), "hello").expect("it is written");
    fs::write(source.join("b.bin"), vec![7; 3 << 20]).expect("it is written");
    let (ended, said) = house.run("j1", backup_of(&[&source]));
    assert_eq!(ended.how, How::Done);
    assert_eq!((ended.totals.files, ended.totals.bytes, ended.totals.failed_count), (2, 5 + (3 << 20), 0));
    let snapshot = ended.totals.snapshot.expect("there is one");
    assert!(said.iter().any(|news| matches!(news, News::Progress(_))));
    house.restic().check();
    house.restic().restore(&snapshot, &house.path("restored"));
    let restored = house.path("restored").join(source.strip_prefix("/").expect("it is absolute"));
    assert_eq!(fs::read(restored.join("a.txt")).expect("it is there"), b"hello");
    let (again, _) = house.run("j2", backup_of(&[&source]));
    assert_eq!(again.how, How::Done);
    assert!(again.totals.bytes_stored < 4096, "only a snapshot is new: {} bytes", again.totals.bytes_stored);
}

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

#[test]
fn a_check_finds_nothing_in_a_whole_target_and_names_what_was_damaged() {
    let house = House::new("");
    fs::write(house.path("source/a"), vec![7; 100_000]).expect("it is written");
    house.run("j1", backup_of(&[&house.path("source")]));
    let check = || JobSpec::Verify(VerifySpec { target: None, read_data: true });
    let (ended, _) = house.run("j2", check());
    assert_eq!((&ended.how, ended.totals.failed_count), (&How::Done, 0), "{:?}", ended.totals.failed);
    let packs = walk(&house.path("data/repository/data"));
    let mut bytes = fs::read(&packs[0]).expect("it is readable");
    bytes[10] ^= 1;
    fs::write(&packs[0], bytes).expect("it is written");
    let (ended, _) = house.run("j3", check());
    assert_eq!(ended.how, How::Done);
    assert!(ended.totals.failed.iter().any(|item| item.class == Class::Damaged), "{:?}", ended.totals.failed);
}

/// Returns the files below a folder.
fn walk(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(folder).expect("it is a folder").map(|entry| entry.expect("it is readable").path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

#[test]
fn the_daemons_own_things_are_left_out_and_said_once() {
    let house = House::new("");
    fs::write(house.path("source/a"), "a").expect("it is written");
    let (ended, said) = house.run("j1", backup_of(&[house.folder.path()]));
    assert_eq!((ended.how, ended.totals.failed_count), (How::Done, 0));
    let notices = said.iter().filter(|news| matches!(news, News::Notice(text) if text.contains("own"))).count();
    assert_eq!(notices, 1, "{said:?}");
    let snapshot = ended.totals.snapshot.expect("there is one");
    let listed = house.restic().ls(&snapshot);
    let holds = |part: &str| listed.iter().any(|node| node["path"].as_str().is_some_and(|path| path.contains(part)));
    assert!(holds("/source/a"));
    assert!(!holds("local.password") && !holds("/data/repository/config"), "{listed:?}");
}

#[test]
fn a_plan_brings_its_sources_excludes_and_tags() {
    let house = House::new(
        "[plan.docs]\nsources = [\"HOME/source\"]\nexclude = [\"*.tmp\"]\nexclude-file = \"more\"\ntags = [\"mine\"]\n",
    );
    fs::write(house.path("more"), "# a comment\n*.log\n").expect("it is written");
    for name in ["keep.txt", "x.tmp", "y.log"] {
        fs::write(house.path("source").join(name), name).expect("it is written");
    }
    let spec = BackupSpec { plan: Some("docs".to_owned()), ..BackupSpec::default() };
    let (ended, _) = house.run("j1", JobSpec::Backup(spec));
    assert_eq!((&ended.how, ended.totals.files), (&How::Done, 1));
    let snapshots = house.restic().snapshots();
    assert_eq!(snapshots[0]["tags"], serde_json::json!(["mine", "backupd:plan=docs"]));
}

#[test]
fn a_source_that_is_missing_is_named_and_one_that_is_there_is_saved() {
    let house = House::new("");
    fs::write(house.path("source/a"), "a").expect("it is written");
    let (ended, said) = house.run("j1", backup_of(&[&house.path("source"), &house.path("missing")]));
    assert_eq!((&ended.how, ended.totals.failed_count), (&How::Done, 1));
    assert!(ended.totals.snapshot.is_some());
    assert_eq!(ended.totals.failed[0].path.as_path(), house.path("missing"));
    assert!(said.iter().any(|news| matches!(news, News::ItemFailed(_))));
    let page = house.context.ledger.page::<FailedItem>(&JobId::from("j1"), 1, &PageRequest::default());
    assert_eq!(page.expect("it is readable").items, ended.totals.failed);
    house.run("j2", backup_of(&[&house.path("source")]));
    let tags: Vec<_> = house.restic().snapshots().iter().map(|snapshot| snapshot["tags"].clone()).collect();
    assert_eq!(tags, [json!(["backupd:incomplete"]), Value::Null], "other programs see which one is not whole");
}

#[test]
fn a_backup_of_nothing_that_can_be_read_fails() {
    let house = House::new("");
    let (ended, _) = house.run("j1", backup_of(&[&house.path("missing")]));
    assert!(matches!(ended.how, How::Failed(_)), "{:?}", ended.how);
    assert_eq!((ended.totals.snapshot, ended.totals.failed_count), (None, 1));
    assert!(house.restic().snapshots().is_empty());
    let How::Failed(error) = ended.how else { panic!("it failed") };
    assert!(!error.data.retryable, "a path that somebody mistyped does not come by itself: {error:?}");
}

#[test]
fn a_plan_that_is_gone_fails_with_its_name() {
    let house = House::new("[plan.docs]\nsources = [\"HOME/source\"]\n");
    let spec = BackupSpec { plan: Some("dosc".to_owned()), ..BackupSpec::default() };
    let (ended, _) = house.run("j1", JobSpec::Backup(spec));
    let How::Failed(error) = ended.how else { panic!("{:?}", ended.how) };
    assert_eq!((error.data.kind, error.data.advice.as_str()), (ErrorKind::PlanNotFound, "Did you mean `docs`?"));
}

#[test]
fn a_wrong_password_fails_with_its_class_and_changes_nothing() {
    let house = House::new("");
    fs::write(house.path("source/a"), "a").expect("it is written");
    house.run("j1", backup_of(&[&house.path("source")]));
    let password = house.path("state/keys/local.password");
    let right = fs::read(&password).expect("it is there");
    fs::write(&password, "wrong\n").expect("it is written");
    let (ended, _) = house.run("j2", backup_of(&[&house.path("source")]));
    let How::Failed(error) = ended.how else { panic!("{:?}", ended.how) };
    assert_eq!((error.data.kind, error.data.class), (ErrorKind::WrongPassword, Class::Auth));
    fs::write(&password, right).expect("it is written");
    assert_eq!(house.restic().snapshots().len(), 1);
    house.restic().check();
}

#[test]
fn a_cancelled_gate_ends_a_backup_as_cancelled_and_leaves_no_lock() {
    let house = House::new("");
    fs::write(house.path("source/a"), "a").expect("it is written");
    let gate = Gate::new();
    gate.cancel();
    let (ended, _) = house.run_with("j1", backup_of(&[&house.path("source")]), &gate);
    assert_eq!(ended.how, How::Cancelled);
    let gate = Gate::new();
    gate.suspend();
    let (ended, _) = house.run_with("j2", backup_of(&[&house.path("source")]), &gate);
    assert_eq!(ended.how, How::Suspended);
    let locks = fs::read_dir(house.path("data/repository/locks")).expect("it is there").count();
    assert_eq!(locks, 0);
    house.restic().check();
}

#[test]
fn a_state_folder_that_takes_no_journal_fails_the_attempt_and_says_where() {
    let house = House::new("");
    fs::write(house.path("source/a"), "a").expect("it is written");
    // A file where the folder of the journals belongs: it refuses root as well.
    fs::write(house.path("state/packs"), "").expect("it is written");
    let (ended, _) = house.run("j1", backup_of(&[&house.path("source")]));
    let How::Failed(error) = ended.how else { panic!("{:?}", ended.how) };
    assert_eq!(error.data.kind, ErrorKind::StateUnwritable);
    assert!(error.message.contains("state/packs"), "{}", error.message);
}
