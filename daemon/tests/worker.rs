//! Attempts of jobs through the real engine onto a real disk; restic says what came of them.

mod house;

use std::fs;
use std::path::Path;

use backup_engine::Gate;
use backup_proto::error::{Class, ErrorKind};
use backup_proto::job::{FailedItem, JobId};
use backup_proto::page::PageRequest;
use backup_proto::spec::{BackupSpec, JobSpec, ReadPart, SnapshotQuery, VerifySpec};
use backupd::inbox::News;
use backupd::job::How;
use serde_json::json;

use house::{House, backup_of};

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

#[test]
fn a_check_finds_nothing_in_a_whole_target_and_names_what_was_damaged() {
    let house = House::new("");
    fs::write(house.path("source/a"), vec![7; 100_000]).expect("it is written");
    house.run("j1", backup_of(&[&house.path("source")]));
    let check = || JobSpec::Verify(VerifySpec { read_data: true, ..VerifySpec::default() });
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

#[test]
fn a_check_of_a_snapshot_reads_its_files_as_well_and_a_target_knows_what_was_read() {
    let house = House::new("");
    let file = house.path("source/a");
    fs::write(&file, vec![7; 100_000]).expect("it is written");
    house.run("j1", backup_of(&[&house.path("source")]));
    let snapshot = SnapshotQuery { snapshot: "latest".into(), target: None, plan: None, host: None, path: None };
    let beside = || VerifySpec { snapshot: Some(snapshot.clone()), source: true, ..VerifySpec::default() };
    let (ended, _) = house.run("j2", JobSpec::Verify(beside()));
    assert_eq!((&ended.how, ended.totals.failed_count), (&How::Done, 0), "{:?}", ended.totals.failed);
    let found = ended.totals.verify.and_then(|report| report.source).expect("the files were compared");
    assert_eq!((found.files, found.changed, found.missing, found.extra, found.rotten), (1, 0, 0, 0, 0));

    let times =
        fs::FileTimes::new().set_modified(fs::metadata(&file).and_then(|is| is.modified()).expect("it has one"));
    fs::write(&file, vec![8; 100_000]).expect("it is written");
    fs::File::options().write(true).open(&file).and_then(|file| file.set_times(times)).expect("they are set");
    fs::write(house.path("source/new"), "1").expect("it is written");
    let (ended, _) = house.run("j3", JobSpec::Verify(beside()));
    assert_eq!(ended.totals.failed.iter().map(|item| item.class).collect::<Vec<_>>(), [Class::Damaged]);
    let found = ended.totals.verify.and_then(|report| report.source).expect("the files were compared");
    assert_eq!((found.extra, found.rotten), (1, 1));

    let verified = || house.context.targets.check("local").expect("it opens").target.verified.expect("it is counted");
    assert!(verified().packs_never > 0 && verified().whole_since.is_none(), "a snapshot's data is not whole packs");
    let part =
        VerifySpec { read_data: true, read_part: Some(ReadPart::PercentHundredths(10_000)), ..VerifySpec::default() };
    house.run("j4", JobSpec::Verify(part));
    assert!(verified().packs_never == 0 && verified().whole_since.is_some(), "{:?}", verified());
    let listed = house.context.targets.overview().into_iter().find(|target| target.name == "local");
    assert_eq!(listed.and_then(|target| target.verified), Some(verified()));
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
    assert_eq!(snapshots[0]["tags"], serde_json::json!(["mine", "backupd:plan=docs", "backupd:major"]));
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
    let expected = [json!(["backupd:major", "backupd:incomplete"]), json!(["backupd:major"])];
    assert_eq!(tags, expected, "other programs see which one is not whole");
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
