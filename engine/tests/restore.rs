//! Restoring: all of it, parts of it, over what is there, and again.

#![allow(clippy::unwrap_used, reason = "a failed step of a test's preparation is a failed test")]

mod common;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use backup_engine::id::SnapshotId;
use backup_engine::monitor::PlannedAction;
use backup_engine::restorer::{Overwrite, RestoreOptions, RestoreSummary, restore};
use backup_engine::{Error, Gate, Repository};
use backup_testkit::compare::{Options, compare};
use backup_testkit::seed::Seed;
use backup_testkit::tree::Tree;
use common::{Place, Remembers, back_up, options};

fn run(repository: &Arc<Repository>, options: &RestoreOptions) -> (RestoreSummary, Remembers) {
    let monitor = Remembers::default();
    let summary = restore(repository, options, &Gate::new(), &monitor).expect("the restore runs to its end");
    (summary, monitor)
}

/// The options that restore a source's contents into a folder.
fn contents(snapshot: SnapshotId, source: &Path, to: PathBuf) -> RestoreOptions {
    let path = source.as_os_str().as_encoded_bytes().to_vec();
    RestoreOptions { path: Some(path), ..RestoreOptions::new(snapshot, to) }
}

/// A place with a source that is backed up.
fn backed_up(plant: impl FnOnce(&Path)) -> (Place, PathBuf, Arc<Repository>, SnapshotId) {
    let place = Place::new();
    let source = place.path("source");
    fs::create_dir(&source).unwrap();
    plant(&source);
    let repository = place.create(2);
    let (summary, _) = back_up(&repository, &options(&source));
    (place, source, repository, summary.snapshot.unwrap())
}

#[test]
fn restores_every_byte_of_an_awkward_tree_and_again_without_fetching() {
    for version in [1, 2] {
        let place = Place::new();
        let source = place.path("source");
        Tree::awkward(&source, Seed(1));
        let repository = place.create(version);
        let (saved, _) = back_up(&repository, &options(&source));
        let options = RestoreOptions::new(saved.snapshot.unwrap(), place.path("restored"));
        let (summary, monitor) = run(&repository, &options);
        assert_eq!(monitor.failed(), []);
        assert_eq!(summary.files, saved.files);
        let copy = place.path("restored").join(source.strip_prefix("/").unwrap());
        compare(&source, &copy, &Options::default()).assert_equal();
        let (again, monitor) = run(&repository, &options);
        assert_eq!(monitor.failed(), []);
        assert_eq!(again.bytes_unchanged, again.bytes);
        compare(&source, &copy, &Options::default()).assert_equal();
    }
}

#[test]
fn restores_what_restic_stored() {
    let place = Place::new();
    let source = place.path("source");
    Tree::awkward(&source, Seed(4));
    let restic = place.restic();
    restic.init(2);
    restic.backup(&source);
    let repository = place.open();
    let snapshot = repository.snapshots().unwrap().list[0].0;
    let (_, monitor) = run(&repository, &contents(snapshot, &source, place.path("restored")));
    assert_eq!(monitor.failed(), []);
    // This version of restic keeps a link's target as text only.
    let except = [source.join("not utf-8 target")].into();
    compare(&source, &place.path("restored"), &Options { except, ..Options::default() }).assert_equal();
}

#[test]
fn an_entry_that_differs_is_kept_unless_overwriting_is_asked_for() {
    let (place, source, repository, snapshot) = backed_up(|source| {
        fs::write(source.join("a"), "from the backup").unwrap();
        fs::write(source.join("b"), "the same").unwrap();
    });
    let to = place.path("restored");
    fs::create_dir(&to).unwrap();
    fs::write(to.join("a"), "somebody's work").unwrap();
    fs::write(to.join("b"), "the same").unwrap();
    let mut options = contents(snapshot, &source, to.clone());
    let (summary, monitor) = run(&repository, &options);
    assert_eq!((summary.kept, monitor.failed().len()), (1, 1));
    assert_eq!(fs::read(to.join("a")).unwrap(), b"somebody's work");
    // The file there is newer than the one in the snapshot.
    options.overwrite = Overwrite::Older;
    assert_eq!(run(&repository, &options).0.kept, 1);
    options.overwrite = Overwrite::Always;
    options.keep_replaced = true;
    let (summary, monitor) = run(&repository, &options);
    assert_eq!((summary.kept, monitor.failed()), (0, vec![]));
    assert_eq!(fs::read(to.join("a")).unwrap(), b"from the backup");
    assert_eq!(fs::read(to.join("a.replaced-1")).unwrap(), b"somebody's work");
}

#[test]
fn a_link_that_is_there_is_not_followed() {
    let (place, source, repository, snapshot) = backed_up(|source| {
        fs::create_dir(source.join("folder")).unwrap();
        fs::write(source.join("folder/file"), "data").unwrap();
    });
    let (to, outside) = (place.path("restored"), place.path("outside"));
    fs::create_dir(&to).unwrap();
    fs::create_dir(&outside).unwrap();
    std::os::unix::fs::symlink(&outside, to.join("folder")).unwrap();
    let (_, monitor) = run(&repository, &contents(snapshot, &source, to));
    assert_eq!(monitor.failed().len(), 1);
    assert_eq!(fs::read_dir(outside).unwrap().count(), 0);
}

#[test]
fn a_dry_run_says_what_the_run_then_does() {
    let (place, source, repository, snapshot) = backed_up(|source| {
        fs::write(source.join("new"), "1").unwrap();
        fs::write(source.join("changed"), "22").unwrap();
        fs::write(source.join("same"), "333").unwrap();
    });
    let to = place.path("restored");
    fs::create_dir(&to).unwrap();
    fs::write(to.join("changed"), "other").unwrap();
    fs::write(to.join("same"), "333").unwrap();
    fs::create_dir(to.join("extra")).unwrap();
    fs::write(to.join("extra/file"), "gone").unwrap();
    let mut options = contents(snapshot, &source, to.clone());
    options.overwrite = Overwrite::Always;
    options.delete = true;
    options.dry_run = true;
    let plan = run(&repository, &options).1.plan();
    let of = |name: &str| plan.iter().find(|item| item.path == to.join(name)).map(|item| item.action);
    assert_eq!(of("new"), Some(PlannedAction::Create));
    assert_eq!(of("changed"), Some(PlannedAction::Replace));
    assert_eq!(of("same"), Some(PlannedAction::Same));
    assert_eq!(of("extra"), Some(PlannedAction::Delete));
    assert!(!to.join("new").exists() && to.join("extra/file").exists());
    options.dry_run = false;
    let (summary, _) = run(&repository, &options);
    assert_eq!(summary.deleted, 1);
    // The folder itself was there before and stays the user's.
    fs::File::open(&to).unwrap().set_modified(fs::metadata(&source).unwrap().modified().unwrap()).unwrap();
    compare(&source, &to, &Options::default()).assert_equal();
}

#[test]
fn only_what_is_selected_is_restored() {
    let (place, source, repository, snapshot) = backed_up(|source| {
        for name in ["a/one.txt", "a/two.jpg", "b/three.txt", "c/four.jpg"] {
            fs::create_dir_all(source.join(name).parent().unwrap()).unwrap();
            fs::write(source.join(name), name).unwrap();
        }
    });
    let to = place.path("restored");
    let mut options = contents(snapshot, &source, to.clone());
    options.include = vec!["*.txt".to_owned()];
    options.exclude = vec!["b".to_owned()];
    let (summary, _) = run(&repository, &options);
    assert_eq!(summary.files, 1);
    assert!(to.join("a/one.txt").exists());
    assert!(!to.join("b").exists() && !to.join("c").exists());
}

#[test]
fn one_file_is_restored_into_the_folder() {
    let (place, source, repository, snapshot) = backed_up(|source| fs::write(source.join("file"), "data").unwrap());
    let to = place.path("restored");
    run(&repository, &contents(snapshot, &source.join("file"), to.clone()));
    assert_eq!(fs::read(to.join("file")).unwrap(), b"data");
    let missing = contents(snapshot, &source.join("nothing"), to);
    let error = restore(&repository, &missing, &Gate::new(), &Remembers::default()).unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error}");
}

#[test]
fn an_interrupted_restore_takes_over_what_it_wrote() {
    let (place, source, repository, snapshot) = backed_up(|source| {
        Tree::new(source, Seed(5)).random_file("large", 9_000_000);
    });
    let to = place.path("restored");
    let options = contents(snapshot, &source, to.clone());
    // The state in which a kill leaves a file: the right beginning under a hidden name, then anything.
    fs::create_dir(&to).unwrap();
    run(&repository, &options);
    let part = to.join(".backupd-part");
    let whole = fs::read(to.join("large")).unwrap();
    fs::rename(to.join("large"), &part).unwrap();
    let name = backup_engine::id::sha256(b"large")[..8].iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let part_name = to.join(format!(".backupd-{name}.part"));
    let mut torn = whole.clone();
    torn[7_000_000..].fill(0x55);
    torn.truncate(8_000_000);
    fs::write(&part_name, &torn).unwrap();
    fs::remove_file(part).unwrap();
    let (summary, monitor) = run(&repository, &options);
    assert_eq!(monitor.failed(), []);
    assert_eq!(fs::read(to.join("large")).unwrap(), whole);
    assert!(!part_name.exists());
    let progress = *monitor.progress.lock().unwrap();
    assert!(progress.bytes_unchanged > 0 && progress.bytes_unchanged < summary.bytes, "{progress:?}");
}

#[test]
fn names_of_one_file_stay_names_of_one_file() {
    let (place, source, repository, snapshot) = backed_up(|source| {
        fs::write(source.join("first"), "shared").unwrap();
        fs::create_dir(source.join("folder")).unwrap();
        fs::hard_link(source.join("first"), source.join("folder/second")).unwrap();
    });
    let to = place.path("restored");
    run(&repository, &contents(snapshot, &source, to.clone()));
    let inode = |name: &str| fs::metadata(to.join(name)).unwrap().ino();
    assert_eq!(inode("first"), inode("folder/second"));
}
