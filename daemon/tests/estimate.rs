//! Dry runs of backups by a worker: what they say, and that nothing is there afterwards.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod house;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use backup_proto::job::BackupEstimate;
use backup_proto::spec::{BackupSpec, JobSpec};
use backupd::inbox::News;
use backupd::job::{How, Totals};

use house::{House, backup_of};

/// Returns every file below a folder but the journal of the daemon's own locks, with its contents.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                folders.push(entry);
            } else if !entry.ends_with("state/locks.json") {
                found.insert(entry.clone(), fs::read(&entry).unwrap());
            }
        }
    }
    found
}

fn dry(house: &House, id: &str) -> (Totals, BackupEstimate, Vec<String>) {
    let JobSpec::Backup(spec) = backup_of(&[&house.path("source")]) else { unreachable!("it is one") };
    let (ended, said) = house.run(id, JobSpec::Backup(BackupSpec { dry_run: true, ..spec }));
    assert_eq!(ended.how, How::Done);
    let estimate = *ended.totals.estimate.clone().unwrap();
    let notices = said.into_iter().filter_map(|news| match news {
        News::Notice(sentence) => Some(sentence),
        _ => None,
    });
    (ended.totals, estimate, notices.collect())
}

/// S2.15: storage need is predicted before the first run.
#[test]
fn before_the_first_run_the_need_is_known_and_the_default_target_is_not_made() {
    let house = House::new("");
    fs::write(house.path("source/a"), vec![7; 3 << 20]).unwrap();
    let before = contents(house.folder.path());
    let (totals, estimate, notices) = dry(&house, "j1");
    assert_eq!(contents(house.folder.path()), before);
    assert!(!house.path("data").exists() && !house.path("state/keys").exists() && !house.path("state/packs").exists());
    assert_eq!((totals.snapshot, totals.files, totals.bytes), (None, 1, 3 << 20));
    assert_eq!((estimate.files_new, estimate.bytes_read, estimate.target_exists), (1, 3 << 20, false));
    assert!(
        notices.iter().any(|notice| notice.contains("has no repository") && notice.contains("first backup makes it"))
    );
    assert!(estimate.free_bytes.is_some() && estimate.margin_bytes > 0, "{estimate:?}");
    let (real, _) = house.run("j2", backup_of(&[&house.path("source")]));
    // Where the cuts are is different in each repository, and so is by how little the same bytes are compressed.
    let stored = real.totals.bytes_stored;
    assert!(totals.bytes_stored.abs_diff(stored) < 4096, "{} and {stored}", totals.bytes_stored);
    house.restic().check();
}

#[test]
fn a_dry_run_leaves_the_repository_the_record_and_the_targets_history_as_they_are() {
    let house = House::new("");
    fs::write(house.path("source/a"), vec![7; 100_000]).unwrap();
    house.run("j1", backup_of(&[&house.path("source")]));
    fs::write(house.path("source/b"), vec![8; 100_000]).unwrap();
    let state = || {
        let cached = house.path("state/cache");
        contents(house.folder.path()).into_iter().filter(|(path, _)| !path.starts_with(&cached)).collect::<Vec<_>>()
    };
    let before = state();
    let success = |house: &House| house.context.targets.overview().remove(0).last_success;
    let last = success(&house);
    let (totals, estimate, notices) = dry(&house, "j2");
    assert_eq!(state(), before);
    assert_eq!(success(&house), last, "nothing was saved");
    assert!(estimate.target_exists && notices.is_empty(), "{notices:?}");
    let (real, _) = house.run("j3", backup_of(&[&house.path("source")]));
    assert_eq!((totals.files, totals.bytes), (real.totals.files, real.totals.bytes));
    assert!(totals.bytes_stored.abs_diff(real.totals.bytes_stored) < 256, "{totals:?} {:?}", real.totals);
    house.restic().check();
}

#[test]
fn a_target_that_was_there_and_is_away_is_no_empty_one() {
    let house = House::new("");
    fs::write(house.path("source/a"), "hello").unwrap();
    house.run("j1", backup_of(&[&house.path("source")]));
    fs::rename(house.path("data"), house.path("away")).unwrap();
    let spec =
        BackupSpec { sources: vec![house.path("source").as_path().into()], dry_run: true, ..BackupSpec::default() };
    let (ended, _) = house.run("j2", JobSpec::Backup(spec));
    assert!(matches!(&ended.how, How::Failed(error) if error.message.contains("is not at")), "{ended:?}");
    assert!(!house.path("data").exists());
}
