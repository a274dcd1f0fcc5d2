//! Backing up, judged by restic.

#![allow(clippy::unwrap_used, reason = "a failed step of a test's preparation is a failed test")]

mod common;

use std::path::Path;

use backup_testkit::compare::{Options, compare};
use backup_testkit::seed::Seed;
use backup_testkit::tree::Tree;
use common::{Place, back_up, options};

/// Where restic restores a source below a folder.
fn restored(to: &Path, source: &Path) -> std::path::PathBuf {
    to.join(source.strip_prefix("/").expect("sources are absolute"))
}

#[test]
fn restic_restores_every_byte_of_an_awkward_tree() {
    for version in [1, 2] {
        let place = Place::new();
        let source = place.path("source");
        Tree::awkward(&source, Seed(1));
        let repository = place.create(version);
        let (summary, monitor) = back_up(&repository, &options(&source));
        assert_eq!(monitor.failed(), []);
        let restic = place.restic();
        restic.check();
        let to = place.path("restored");
        restic.restore(&summary.snapshot.unwrap().to_string(), &to);
        // This version of restic keeps a link's target as text only, and writes holes as zeros.
        let except = ["not utf-8 target", "sparse", "only a hole"].map(|name| source.join(name)).into();
        compare(&source, &restored(&to, &source), &Options { except, ..Options::default() }).assert_equal();
    }
}

#[test]
fn an_unchanged_tree_is_not_stored_again_by_us_or_by_restic() {
    let place = Place::new();
    let source = place.path("source");
    Tree::awkward(&source, Seed(2));
    let repository = place.create(2);
    let mut options = options(&source);
    let (first, _) = back_up(&repository, &options);
    options.time = common::now().wall;
    let (second, _) = back_up(&repository, &options);
    // The folders above the source belong to others, who may touch them meanwhile.
    assert_eq!((second.data_blobs, second.folders_unmodified), (0, second.folders), "{second:?}");
    assert_eq!(second.files, first.files);
    let added = place.restic().backup(&source)["data_blobs"].as_u64();
    assert_eq!(added, Some(0), "restic cut the files elsewhere");
}

#[test]
fn what_restic_stored_is_not_stored_again() {
    for version in [1, 2] {
        let place = Place::new();
        let source = place.path("source");
        Tree::awkward(&source, Seed(3));
        let restic = place.restic();
        restic.init(version);
        restic.backup(&source);
        let (summary, _) = back_up(&place.open(), &options(&source));
        assert_eq!(summary.data_blobs, 0, "{summary:?}");
        restic.check();
    }
}

#[test]
fn says_how_much_there_is_to_do_before_and_after_the_first_snapshot() {
    let place = Place::new();
    let source = place.path("source");
    std::fs::create_dir_all(source.join("left out")).expect("a folder can be made");
    for (name, length) in [("a", 1000), ("b", 500), ("left out/c", 300)] {
        std::fs::write(source.join(name), vec![7; length]).expect("a file can be written");
    }
    let repository = place.create(2);
    let mut options = options(&source);
    options.never = vec![source.join("left out")];
    for _ in 0..2 {
        let (_, monitor) = back_up(&repository, &options);
        assert_eq!(*monitor.total.lock().expect("no test panics while it holds this"), Some((2, 1500)));
        options.time = common::now().wall;
    }
}
