//! Sources that change while they are read, refuse, vanish or are not what they were: each is named, the rest goes on.

#![allow(clippy::unwrap_used, reason = "a failed step of a test's preparation is a failed test")]

mod common;

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use backup_engine::archiver::BackupOptions;
use backup_engine::{Class, Gate};
use backup_testkit::seed::Seed;
use backup_testkit::tree::Tree;
use backup_testkit::unprivileged;
use common::{Acts, Place, Remembers, back_up, options, stored, try_back_up};

#[test]
fn a_file_that_is_no_more_what_it_was_is_named_and_the_rest_goes_on() {
    let place = Place::new();
    let repository = place.create(2);
    for (number, becomes) in ["vanishes", "folder", "pipe", "link", "socket"].into_iter().enumerate() {
        let tree = Tree::new(place.path(&format!("source {number}")), Seed(1));
        tree.file("a", b"before");
        tree.file("victim", b"data");
        tree.file("z", b"after");
        let change = |path: &Path| {
            if path.ends_with("victim") {
                fs::remove_file(path).unwrap();
                match becomes {
                    "folder" => drop(tree.folder("victim")),
                    "pipe" => drop(tree.fifo("victim")),
                    "link" => drop(tree.symlink("victim", "/etc/passwd")),
                    "socket" => drop(tree.socket("victim")),
                    _ => {}
                }
            }
        };
        let monitor = Acts { current: Some(Box::new(change)), ..Acts::default() };
        let summary = try_back_up(&repository, &options(tree.root()), &monitor).unwrap();
        let failures = monitor.remembers.failures();
        assert_eq!((summary.failed, failures.len()), (1, 1), "{becomes}: {failures:?}");
        assert_eq!(
            (failures[0].class, failures[0].path.as_path()),
            (Class::Transient, &*tree.path("victim")),
            "{becomes}"
        );
        assert!(
            failures[0].advice.contains("next backup") || failures[0].advice.contains("on purpose"),
            "{failures:?}"
        );
        assert_eq!(stored(&repository, tree.root()), ["a", "z"], "{becomes}");
    }
}

#[test]
fn a_file_that_grows_or_shrinks_while_it_is_read_is_stored_and_named() {
    let place = Place::new();
    let repository = place.create(2);
    for length in [3_000_000, 300_000, 0] {
        let mut tree = Tree::new(place.path(&format!("source {length}")), Seed(2));
        let path = tree.random_file("changes", 1_000_000);
        let begun = AtomicBool::new(false);
        let change = |delta: &backup_engine::monitor::Progress| {
            if delta.bytes > 0 && !begun.swap(true, Ordering::Relaxed) {
                fs::File::options().write(true).open(&path).unwrap().set_len(length).unwrap();
            }
        };
        let monitor = Acts { progress: Some(Box::new(change)), ..Acts::default() };
        try_back_up(&repository, &options(tree.root()), &monitor).unwrap();
        let failures = monitor.remembers.failures();
        assert_eq!(failures.len(), 1, "{length}: {failures:?}");
        assert!(failures[0].message.contains("changed while it was read"), "{failures:?}");
        assert_eq!((failures[0].class, stored(&repository, tree.root()).len()), (Class::Transient, 1));
        // The next one reads it again.
        assert_eq!(back_up(&repository, &options(tree.root())).0.files_changed, 1, "{length}");
    }
    place.restic().check();
}

#[test]
fn a_file_that_was_changed_just_before_the_last_backup_is_read_again() {
    let place = Place::new();
    // Making a repository takes a while: the file is written after that.
    let repository = place.create(2);
    let tree = Tree::new(place.path("source"), Seed(3));
    let path = tree.file("racy", b"one");
    let first = options(tree.root());
    back_up(&repository, &first);
    let again = back_up(&repository, &options(tree.root())).0;
    assert_eq!((again.files_changed, again.files_unmodified), (1, 0));
    // Once it has settled, it is not.
    let later =
        |seconds| BackupOptions { time: first.time + jiff::SignedDuration::from_secs(seconds), ..options(tree.root()) };
    back_up(&repository, &later(10));
    assert_eq!(back_up(&repository, &later(20)).0.files_unmodified, 1);
    fs::write(path, b"two").unwrap();
    assert_eq!(back_up(&repository, &later(30)).0.files_changed, 1);
}

#[test]
fn what_refuses_to_be_read_is_named_with_what_to_do() {
    unprivileged::run("what_refuses_to_be_read_is_named_with_what_to_do", || {
        let place = Place::new();
        let repository = place.create(2);
        let tree = Tree::new(place.path("source"), Seed(9));
        tree.file("fine", b"data");
        for (name, mode) in [("closed file", 0o000), ("closed folder", 0o000), ("names only", 0o400)] {
            let path = if name.ends_with("file") { tree.file(name, b"secret") } else { tree.folder(name) };
            if name == "names only" {
                tree.file("names only/file", b"secret");
            }
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        }
        let (summary, monitor) = back_up(&repository, &options(tree.root()));
        let failures = monitor.failures();
        assert_eq!((summary.files, failures.len()), (1, 3), "{failures:?}");
        for failure in failures {
            assert_eq!(failure.class, Class::Permission, "{failure:?}");
            assert!(failure.advice.contains("access"), "{failure:?}");
        }
        // A snapshot of nothing would only push a good one out.
        for name in ["closed file", "closed folder"] {
            let error = try_back_up(&repository, &options(&tree.path(name)), &Acts::default()).unwrap_err();
            assert_eq!(error.class(), Class::Permission, "{error}");
        }
        assert_eq!(repository.snapshots().unwrap().list.len(), 1);
    });
}

#[test]
fn deep_paths_and_full_folders_are_stored_whole() {
    let place = Place::new();
    let repository = place.create(2);
    let root = place.path("source");
    fs::create_dir(&root).unwrap();
    // Deeper than a path can say: one step at a time.
    let mut folder = fs::File::open(&root).unwrap();
    let name = "d".repeat(250);
    for _ in 0..40 {
        rustix::fs::mkdirat(&folder, &*name, rustix::fs::Mode::RWXU).unwrap();
        let flags = rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::RDONLY;
        folder = rustix::fs::openat(&folder, &*name, flags, rustix::fs::Mode::empty()).unwrap().into();
    }
    let create = rustix::fs::OFlags::CREATE | rustix::fs::OFlags::WRONLY;
    drop(rustix::fs::openat(&folder, "bottom", create, rustix::fs::Mode::RUSR).unwrap());
    fs::create_dir(root.join("full")).unwrap();
    for number in 0..100_000 {
        fs::File::create(root.join(format!("full/{number}"))).unwrap();
    }
    let (summary, monitor) = back_up(&repository, &options(&root));
    assert_eq!((summary.files, monitor.failed()), (100_001, vec![]));
    let options = backup_engine::restorer::RestoreOptions {
        path: Some(root.as_os_str().as_bytes().to_vec()),
        ..backup_engine::restorer::RestoreOptions::new(summary.snapshot.unwrap(), place.path("restored"))
    };
    let monitor = Remembers::default();
    let restored = backup_engine::restorer::restore(&repository, &options, &Gate::new(), &monitor).unwrap();
    assert_eq!((restored.files, monitor.failed()), (100_001, vec![]));
}
