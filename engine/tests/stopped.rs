//! Restores that are stopped, run out of room or lose their destination: nothing half done has a final name, and a
//! further attempt goes on.

#![allow(clippy::unwrap_used, reason = "a failed step of a test's preparation is a failed test")]

mod common;

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use backup_engine::restorer::{RestoreOptions, RestoreSummary, restore};
use backup_engine::{Class, Error, Gate, GateState, Repository, Result};
use backup_testkit::compare::{Options, compare};
use backup_testkit::seed::Seed;
use backup_testkit::tree::Tree;
use backup_testkit::{mount, unprivileged};
use common::{Acts, Place, Remembers, back_up, options};

/// More steps than a restore of the small tree reports: the enumeration must end by getting through.
const STEPS_MAX: u64 = 500;

/// Everything that is restored by a step of its own: several chunks, names of one file, links, read-only folders.
fn plant(place: &Place) -> Tree {
    let mut tree = Tree::new(place.path("source"), Seed(31));
    tree.random_file("large", 5_000_000);
    tree.file("text", b"text");
    let first = tree.random_file("first name", 1000);
    tree.hard_link(&first, "z/second name");
    tree.symlink("z/link", "nowhere");
    tree.fifo("z/pipe");
    tree.sparse("sparse", 4 << 20, &[1 << 20]);
    tree.random_file("read-only/inner/file", 1000);
    for folder in ["read-only/inner", "read-only"] {
        tree.mode(&tree.path(folder), 0o555);
    }
    tree
}

fn backed_up(place: &Place) -> (Tree, Arc<Repository>, RestoreOptions) {
    let tree = plant(place);
    let repository = place.create(2);
    let snapshot = back_up(&repository, &options(tree.root())).0.snapshot.unwrap();
    let path = Some(tree.root().as_os_str().as_bytes().to_vec());
    let options = RestoreOptions { path, threads: 1, ..RestoreOptions::new(snapshot, place.path("to")) };
    (tree, repository, options)
}

fn run(repository: &Arc<Repository>, options: &RestoreOptions) -> (Result<RestoreSummary>, Vec<(PathBuf, String)>) {
    let monitor = Remembers::default();
    let summary = restore(repository, options, &Gate::new(), &monitor);
    (summary, monitor.failed())
}

/// Every file below a folder, and whether it is an unfinished one.
fn files(folder: &Path) -> Vec<(PathBuf, bool)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap()) {
        let name = entry.file_name();
        if entry.file_type().unwrap().is_dir() {
            found.extend(files(&entry.path()));
        } else if entry.file_type().unwrap().is_file() {
            found.push((entry.path(), name.as_bytes().starts_with(b".backupd-")));
        }
    }
    found
}

fn stops_after_every_step(place: &Place) {
    let (tree, repository, options) = backed_up(place);
    for steps in 0..STEPS_MAX {
        let (gate, done) = (Gate::new(), AtomicU64::new(0));
        let stop = |_: &backup_engine::monitor::Progress| {
            if done.fetch_add(1, Ordering::Relaxed) == steps {
                gate.cancel();
            }
        };
        let monitor = Acts { progress: Some(Box::new(stop)), ..Acts::default() };
        let stopped = restore(&repository, &options, &gate, &monitor);
        assert_eq!(monitor.remembers.failed(), [], "after step {steps}");
        for (path, is_part) in files(&options.destination) {
            let original = tree.root().join(path.strip_prefix(&options.destination).unwrap());
            assert!(is_part || fs::read(&path).unwrap() == fs::read(original).unwrap(), "{path:?} after step {steps}");
        }
        let (summary, failed) = run(&repository, &RestoreOptions { resumed: true, ..options.clone() });
        assert_eq!((summary.unwrap().files, failed), (6, vec![]), "after step {steps}");
        assert!(files(&options.destination).iter().all(|(_, is_part)| !is_part), "after step {steps}");
        let except = [tree.root().to_path_buf()].into();
        compare(tree.root(), &options.destination, &Options { except, ..Options::default() }).assert_equal();
        // A stop that comes with the last steps may find nothing left to stop; without one, all steps were tried.
        if gate.state() == GateState::Run {
            stopped.unwrap();
            assert!(steps > 10, "the restore reported only {steps} steps");
            return;
        }
        backup_testkit::tree::open_up(&options.destination);
        fs::remove_dir_all(&options.destination).unwrap();
    }
    panic!("a restore reports more than {STEPS_MAX} steps");
}

#[test]
fn stopped_after_any_step_a_restore_leaves_whole_files_and_goes_on() {
    stops_after_every_step(&Place::new());
}

#[test]
fn without_roots_rights_a_restore_goes_on_as_well() {
    unprivileged::run("without_roots_rights_a_restore_goes_on_as_well", || stops_after_every_step(&Place::new()));
}

#[test]
fn what_is_not_whole_is_for_nobody_else_to_read() {
    let place = Place::new();
    let (_, repository, options) = backed_up(&place);
    let seen = AtomicU64::new(0);
    let look = |_: &backup_engine::monitor::Progress| {
        for (path, _) in files(&options.destination).into_iter().filter(|(_, is_part)| *is_part) {
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600, "{path:?}");
            seen.fetch_add(1, Ordering::Relaxed);
        }
    };
    let monitor = Acts { progress: Some(Box::new(look)), ..Acts::default() };
    restore(&repository, &options, &Gate::new(), &monitor).unwrap();
    assert!(seen.load(Ordering::Relaxed) > 0, "no unfinished file was seen");
}

#[test]
fn a_full_destination_is_named_for_each_file_and_holds_nothing_half_done() {
    mount::run("a_full_destination_is_named_for_each_file_and_holds_nothing_half_done", || {
        let place = Place::new();
        let (tree, repository, options) = backed_up(&place);
        fs::create_dir(&options.destination).unwrap();
        mount::tmpfs(&options.destination, 2 << 20);
        let monitor = Remembers::default();
        let summary = restore(&repository, &options, &Gate::new(), &monitor).unwrap();
        let failures = monitor.failures.lock().unwrap().clone();
        assert_eq!((summary.failed, failures.len()), (1, 1), "{failures:?}");
        assert_eq!((failures[0].class, failures[0].path.as_path()), (Class::Full, &*options.destination.join("large")));
        assert!(failures[0].advice.contains("Free some space"));
        assert!(files(&options.destination).iter().all(|(_, is_part)| !is_part));
        assert_eq!(fs::read(options.destination.join("text")).unwrap(), fs::read(tree.path("text")).unwrap());
        assert_eq!(*monitor.notices.lock().unwrap(), Vec::<String>::new(), "nothing is known of what was there");
        let new = RestoreOptions { destination: options.destination.join("new"), ..options.clone() };
        let monitor = Remembers::default();
        restore(&repository, &new, &Gate::new(), &monitor).unwrap();
        let notices = monitor.notices.lock().unwrap().clone();
        assert!(notices.len() == 1 && notices[0].contains("has room for 2 MiB"), "{notices:?}");
        mount::unmount(&options.destination);
        assert_eq!(run(&repository, &options).1, []);
    });
}

#[test]
fn a_destination_that_vanishes_is_an_error() {
    let place = Place::new();
    let (_, repository, options) = backed_up(&place);
    let vanish = |_: &backup_engine::monitor::Progress| {
        let _ = fs::remove_dir_all(&options.destination);
    };
    let monitor = Acts { progress: Some(Box::new(vanish)), ..Acts::default() };
    let error = restore(&repository, &options, &Gate::new(), &monitor).unwrap_err();
    assert!(error.to_string().contains("restore to") && error.to_string().contains("to:"), "{error}");
}

#[test]
fn a_destination_that_cannot_be_one_is_an_error() {
    let place = Place::new();
    let (_, repository, options) = backed_up(&place);
    let nowhere = RestoreOptions { destination: "/proc/nowhere".into(), ..options.clone() };
    let error = run(&repository, &nowhere).0.unwrap_err();
    assert!(error.advice().contains("a place where files can be made"), "{error}: {}", error.advice());
    fs::write(place.path("file"), "theirs").unwrap();
    std::os::unix::fs::symlink("nowhere", place.path("dangling")).unwrap();
    for name in ["file", "file/below", "dangling"] {
        for dry_run in [false, true] {
            let options = RestoreOptions { destination: place.path(name), dry_run, ..options.clone() };
            match run(&repository, &options).0 {
                Err(error @ Error::Io { .. }) => assert!(error.to_string().contains(name), "{error}"),
                // What is not there yet would be made.
                other => assert!(dry_run && name == "dangling" && other.is_ok(), "{name}: {other:?}"),
            }
        }
    }
    assert_eq!(fs::read(place.path("file")).unwrap(), b"theirs");
}

#[test]
fn a_destination_that_may_not_be_written_to_is_named() {
    unprivileged::run("a_destination_that_may_not_be_written_to_is_named", || {
        let place = Place::new();
        let (_, repository, options) = backed_up(&place);
        fs::create_dir(&options.destination).unwrap();
        fs::set_permissions(&options.destination, fs::Permissions::from_mode(0o555)).unwrap();
        let monitor = Remembers::default();
        restore(&repository, &options, &Gate::new(), &monitor).unwrap();
        let failures = monitor.failures.lock().unwrap().clone();
        assert!(
            !failures.is_empty() && failures.iter().all(|failure| failure.class == Class::Permission),
            "{failures:?}"
        );
        let below = RestoreOptions { destination: options.destination.join("below"), ..options };
        assert_eq!(run(&repository, &below).0.unwrap_err().class(), Class::Permission);
    });
}
