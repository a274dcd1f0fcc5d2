//! Sources that are missing, empty, not what they were, the backup's own, or oddly named.

#![allow(clippy::unwrap_used, reason = "a failed step of a test's preparation is a failed test")]

mod common;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use backup_engine::archiver::BackupOptions;
use backup_engine::source::exclude::Excludes;
use backup_testkit::mount;
use backup_testkit::seed::Seed;
use backup_testkit::tree::Tree;
use common::{Acts, Place, back_up, options, stored, try_back_up};

#[test]
fn a_source_that_is_missing_is_named_and_not_suspected_when_it_is_back() {
    let place = Place::new();
    let tree = Tree::plain(place.path("there"), Seed(4));
    let gone = place.path("gone/deep");
    let both = || BackupOptions { sources: vec![tree.root().to_path_buf(), gone.clone()], ..options(tree.root()) };
    let repository = place.create(2);
    let (summary, monitor) = back_up(&repository, &both());
    let failures = monitor.failures();
    assert_eq!((summary.failed, failures.len()), (1, 1), "{failures:?}");
    assert!(failures[0].message.contains("is missing") && failures[0].advice.contains("drive"), "{failures:?}");
    Tree::plain(&gone, Seed(5));
    assert_eq!(back_up(&repository, &both()).1.failed(), []);
}

#[test]
fn a_backup_of_nothing_is_an_error_and_leaves_no_snapshot() {
    let place = Place::new();
    let repository = place.create(2);
    let monitor = Acts::default();
    let error = try_back_up(&repository, &options(&place.path("gone")), &monitor).unwrap_err();
    assert!(error.to_string().contains("gone is missing"), "{error}");
    assert!(repository.snapshots().unwrap().list.is_empty());
}

#[test]
fn a_source_that_is_empty_or_much_less_than_it_was_is_named() {
    let place = Place::new();
    let tree = Tree::plain(place.path("source"), Seed(6));
    let repository = place.create(2);
    back_up(&repository, &options(tree.root()));
    for folder in ["folder 0", "folder 1", "folder 2"] {
        fs::remove_dir_all(tree.path(folder)).unwrap();
    }
    let (summary, monitor) = back_up(&repository, &options(tree.root()));
    assert!(summary.snapshot.is_some());
    assert!(monitor.failed()[0].1.contains("less than half of what it was"), "{:?}", monitor.failed());
    fs::remove_dir_all(tree.path("folder 3")).unwrap();
    let (_, monitor) = back_up(&repository, &options(tree.root()));
    assert!(monitor.failed().iter().any(|(_, message)| message.contains("is empty")), "{:?}", monitor.failed());
}

#[test]
fn a_source_on_another_device_is_named_and_mounts_are_left_out_if_asked_for() {
    mount::run("a_source_on_another_device_is_named_and_mounts_are_left_out_if_asked_for", || {
        let place = Place::new();
        let tree = Tree::plain(place.path("source"), Seed(7));
        let repository = place.create(2);
        mount::tmpfs(&tree.folder("mounted"), 1 << 20);
        tree.file("mounted/file", b"on another device");
        let one = BackupOptions { one_file_system: true, ..options(tree.root()) };
        assert_eq!(back_up(&repository, &one).1.failed(), []);
        let paths = stored(&repository, tree.root());
        assert!(paths.contains(&"mounted".to_owned()) && !paths.contains(&"mounted/file".to_owned()), "{paths:?}");
        back_up(&repository, &options(tree.root()));
        assert!(stored(&repository, tree.root()).contains(&"mounted/file".to_owned()));
        mount::tmpfs(tree.root(), 1 << 20);
        Tree::plain(tree.root(), Seed(7));
        let (_, monitor) = back_up(&repository, &options(tree.root()));
        assert!(monitor.failed()[0].1.contains("another device"), "{:?}", monitor.failed());
        mount::unmount(tree.root());
    });
}

#[test]
fn the_backups_own_places_are_left_out_whatever_leads_there() {
    mount::run("the_backups_own_places_are_left_out_whatever_leads_there", || {
        let place = Place::new();
        let repository = place.create(2);
        let tree = Tree::new(place.path("source"), Seed(8));
        tree.file("file", b"data");
        mount::bind(&place.repository(), &tree.folder("mounted"));
        symlink(place.repository(), place.path("link")).unwrap();
        let never = vec![place.path("link")];
        let of = |sources: &[PathBuf]| BackupOptions {
            sources: sources.to_vec(),
            never: never.clone(),
            ..options(tree.root())
        };
        let (_, monitor) = back_up(&repository, &of(&[place.path("")]));
        assert_eq!((monitor.failed(), monitor.notices.lock().unwrap().len()), (vec![], 1));
        let paths = stored(&repository, &place.path(""));
        assert!(!paths.iter().any(|path| path.contains("config")), "{paths:?}");
        let inside =
            [place.repository(), place.repository().join("data"), place.path("link/keys"), tree.path("mounted")];
        for source in inside {
            let (_, monitor) = back_up(&repository, &of(&[source.clone(), tree.path("file")]));
            assert!(monitor.failed()[0].1.contains("never backed up"), "{source:?}: {:?}", monitor.failed());
            assert!(try_back_up(&repository, &of(&[source]), &Acts::default()).is_err());
        }
        mount::unmount(&tree.path("mounted"));
    });
}

#[test]
fn odd_sources_are_stored_as_restic_has_them() {
    let place = Place::new();
    let repository = place.create(2);
    let odd = place.path("").join(OsStr::from_bytes(b"not utf-8 \xff"));
    let tree = Tree::new(&odd, Seed(10));
    tree.file("file", b"data");
    tree.file("inner/file", b"data");
    let sources = vec![odd.join("inner/../inner"), odd.clone(), odd.join("inner"), odd.join("./file")];
    let (summary, monitor) = back_up(&repository, &BackupOptions { sources, ..options(&odd) });
    assert_eq!((summary.files, monitor.failed()), (2, vec![]));
    place.restic().check();
    place.restic().restore("latest", &place.path("restored"));
    let copy = place.path("restored").join(odd.strip_prefix("/").unwrap());
    assert_eq!(fs::read(copy.join("inner/file")).unwrap(), b"data");
}

#[test]
fn excludes_and_tagged_caches_are_left_out() {
    let place = Place::new();
    let repository = place.create(2);
    let tree = Tree::new(place.path("source"), Seed(11));
    tree.file("cache/CACHEDIR.TAG", b"Signature: 8a477f597d28d172789f06886806bc55 and more");
    tree.file("cache/waste", b"x");
    tree.file("no cache/CACHEDIR.TAG", b"Signature: something else");
    tree.file("no cache/kept", b"x");
    tree.file("a.tmp", b"x");
    let exclude = Excludes::new(&["*.tmp"]).unwrap();
    back_up(&repository, &BackupOptions { exclude, exclude_caches: true, ..options(tree.root()) });
    let expected = ["cache", "cache/CACHEDIR.TAG", "no cache", "no cache/CACHEDIR.TAG", "no cache/kept"];
    assert_eq!(stored(&repository, tree.root()), expected);
}
