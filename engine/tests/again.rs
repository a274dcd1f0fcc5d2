//! Looking again at some paths only: the new snapshot is the one before with those paths as they are now.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use backup_engine::archiver::BackupOptions;
use backup_engine::restorer::{RestoreOptions, restore};
use backup_engine::{Gate, Repository};
use backup_testkit::seed::Seed;
use backup_testkit::tree::Tree;
use common::{Place, Remembers, back_up, options, stored};
use jiff::SignedDuration;

fn later(source: &Path, minutes: i64) -> BackupOptions {
    let plain = options(source);
    BackupOptions { time: plain.time + SignedDuration::from_mins(minutes), ..plain }
}

fn plant(place: &Place) -> Tree {
    let mut tree = Tree::plain(place.path("source"), Seed(5));
    for folder in ["good", "bad", "bad/deep"] {
        fs::create_dir_all(tree.path(folder)).expect("it is made");
        tree.random_file(format!("{folder}/file"), 100_000);
    }
    tree
}

fn again(repository: &Arc<Repository>, source: &Path, paths: &[PathBuf]) -> (u64, Vec<String>) {
    let parent = repository.snapshots().expect("they can be listed").list.pop().map(|(id, _)| id);
    let options = BackupOptions { parent, again: Some(paths.iter().cloned().collect()), ..later(source, 20) };
    let (_, monitor) = back_up(repository, &options);
    let progress = *monitor.progress.lock().expect("nobody panics");
    (progress.bytes - progress.bytes_unchanged, stored(repository, source))
}

#[test]
fn only_what_is_named_is_looked_at_and_the_snapshot_holds_all_the_rest() {
    let place = Place::new();
    let tree = plant(&place);
    let repository = place.create(2);
    back_up(&repository, &later(tree.root(), 10));
    let before = stored(&repository, tree.root());
    // What is not named is not looked at: neither a change nor a loss there counts.
    fs::remove_dir_all(tree.path("good")).expect("it is there");
    fs::write(tree.path("bad/deep/file"), vec![1; 200_000]).expect("it is written");
    let (read, after) = again(&repository, tree.root(), &[tree.path("bad/deep/file")]);
    assert_eq!(read, 200_000);
    let lost: Vec<&String> = before.iter().filter(|path| !after.contains(path)).collect();
    assert!(lost.iter().all(|path| path.starts_with("good")), "the folder above was listed anew: {lost:?}");
    place.restic().check();
    place.restic().restore("latest", &place.path("to"));
    let copy = place.path("to").join(tree.root().strip_prefix("/").expect("an absolute path"));
    assert_eq!(fs::read(copy.join("bad/deep/file")).expect("it is there"), vec![1; 200_000]);
}

#[test]
fn a_source_of_which_nothing_is_named_need_not_be_there() {
    let place = Place::new();
    let tree = plant(&place);
    let other = place.path("other");
    fs::create_dir(&other).expect("it is made");
    fs::write(other.join("x"), "x").expect("it is written");
    let repository = place.create(2);
    let sources = vec![tree.root().to_path_buf(), other.clone()];
    back_up(&repository, &BackupOptions { sources: sources.clone(), ..later(tree.root(), 10) });
    fs::remove_dir_all(tree.root()).expect("it is there");
    fs::write(other.join("y"), "y").expect("it is written");
    let parent = repository.snapshots().expect("they can be listed").list.pop().map(|(id, _)| id);
    let options = BackupOptions { parent, again: Some([other.clone()].into()), sources, ..later(tree.root(), 20) };
    let repository = place.open();
    let (summary, monitor) = back_up(&repository, &options);
    assert_eq!((monitor.failed(), summary.failed), (vec![], 0));
    assert!(stored(&repository, tree.root()).iter().any(|path| path == "bad/deep/file"));
    assert_eq!(stored(&repository, &other), ["x", "y"]);
    place.restic().check();
}

#[test]
fn what_is_gone_from_the_repository_is_not_taken_over() {
    let place = Place::new();
    let tree = plant(&place);
    let repository = place.create(2);
    back_up(&repository, &later(tree.root(), 10));
    // Another program lost the data; the trees are still there.
    for folder in fs::read_dir(place.repository().join("data")).expect("it is there").flatten() {
        for pack in fs::read_dir(folder.path()).expect("it is a folder").flatten() {
            if pack.metadata().expect("it is there").len() > 200_000 {
                fs::remove_file(pack.path()).expect("it is there");
            }
        }
    }
    let (read, _) = again(&place.open(), tree.root(), &[tree.path("bad/file")]);
    assert!(read >= 300_000, "everything was read and stored again: {read}");
    // restic takes the first place that an index names, and an old one still names the pack that is gone.
    place.restic().run(["rebuild-index"]);
    place.restic().check();
    place.restic().restore("latest", &place.path("to"));
    let copy = place.path("to").join(tree.path("good/file").strip_prefix("/").expect("an absolute path"));
    assert_eq!(fs::read(copy).expect("it is there"), fs::read(tree.path("good/file")).expect("it is there"));
}

#[test]
fn a_restore_can_take_up_what_failed_and_leave_the_rest_alone() {
    let place = Place::new();
    let tree = plant(&place);
    let repository = place.create(2);
    back_up(&repository, &later(tree.root(), 10));
    let snapshot = repository.snapshots().expect("they can be listed").list[0].0;
    let to = place.path("to");
    let inside = |path: &str| tree.path(path).to_str().expect("text").as_bytes().to_vec();
    for path in [None, Some(inside("bad"))] {
        let base = match &path {
            None => to.join(tree.root().strip_prefix("/").expect("an absolute path")).join("bad"),
            Some(_) => to.clone(),
        };
        let options =
            RestoreOptions { path, again: [base.join("deep")].into(), ..RestoreOptions::new(snapshot, to.clone()) };
        let monitor = Remembers::default();
        let summary = restore(&place.open(), &options, &Gate::new(), &monitor).expect("it is done");
        assert_eq!((summary.files, monitor.failed()), (1, vec![]));
        assert!(base.join("deep/file").exists() && !base.join("file").exists());
        backup_testkit::tree::open_up(&to);
        fs::remove_dir_all(&to).expect("it is there");
    }
}
