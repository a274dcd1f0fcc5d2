//! A first backup that is interrupted leaves a snapshot of what it has; the next whole one takes its place.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use backup_engine::archiver::{BackupOptions, backup};
use backup_engine::monitor::Progress;
use backup_engine::snapshot::SnapshotQuery;
use backup_engine::storage::{LocalStorage, MemoryStorage};
use backup_engine::{Class, Error, Gate, Repository};
use backup_testkit::compare::{Options, compare};
use backup_testkit::faults::FaultyStorage;
use backup_testkit::seed::Seed;
use backup_testkit::tree::Tree;
use common::{Acts, Place, Remembers, back_up, create, lock, open, options};
use jiff::SignedDuration;

const TAGS: [&str; 2] = ["backupd:incomplete", "backupd:interrupted"];

/// Asks for a backup as the daemon does. It began long after the files were written, so that their times are trusted.
fn asked(source: &Path, minutes: i64) -> BackupOptions {
    let plain = options(source);
    BackupOptions {
        interrupted_tags: TAGS.map(str::to_owned).to_vec(),
        time: plain.time + SignedDuration::from_mins(minutes),
        ..plain
    }
}

/// Plants folders in folders, and enough data for a few packs.
fn plant(place: &Place) -> Tree {
    let mut tree = Tree::plain(place.path("source"), Seed(77));
    for folder in ["a", "b", "c"] {
        fs::create_dir_all(tree.path(folder).join("inner")).expect("it is made");
        for number in 0..4 {
            tree.random_file(format!("{folder}/inner/{number}"), 2_000_000);
        }
    }
    tree
}

/// Runs a backup that somebody ends after so many files; returns how it ended.
fn cut_short(repository: &Arc<Repository>, options: &BackupOptions, files: u64, end: fn(&Gate)) -> (Error, Remembers) {
    let gate = Gate::new();
    let seen = AtomicU64::new(0);
    let stop = |step: &Progress| {
        if seen.fetch_add(step.files, Ordering::Relaxed) + step.files >= files {
            end(&gate);
        }
    };
    let monitor = Acts { progress: Some(Box::new(stop)), ..Acts::default() };
    let error = backup(&lock(repository), options, &gate, &monitor).expect_err("it is cut short");
    (error, monitor.remembers)
}

fn tags_of(repository: &Repository) -> Vec<Vec<String>> {
    let found = repository.snapshots().expect("they can be listed");
    assert!(found.damaged.is_empty());
    found.list.into_iter().map(|(_, snapshot)| snapshot.tags).collect()
}

/// Returns the files below a folder with their contents.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("it is a folder").map(|entry| entry.expect("it is readable").path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[test]
fn whatever_ends_a_first_backup_it_leaves_what_it_has_and_the_whole_one_replaces_that() {
    for (end, notices) in [(Gate::cancel as fn(&Gate), 1), (Gate::suspend, 0)] {
        let place = Place::new();
        let tree = plant(&place);
        let repository = place.create(2);
        let (error, said) = cut_short(&repository, &asked(tree.root(), 10), 6, end);
        assert!(matches!(error, Error::Cancelled | Error::Suspended), "{error}");
        assert_eq!(said.notices.lock().expect("nobody panics").len(), notices);
        assert_eq!(tags_of(&place.open()), [TAGS]);
        let restic = place.restic();
        restic.check();
        restic.restore("latest", &place.path("part"));
        let part = place.path("part").join(tree.root().strip_prefix("/").expect("an absolute path"));
        let restored = files(&part);
        assert!(restored.len() >= 6, "{restored:?}");
        for file in restored {
            let original = tree.root().join(file.strip_prefix(&part).expect("it is below"));
            assert!(fs::read(&file).expect("it is there") == fs::read(original).expect("it is there"), "{file:?}");
        }
        let (summary, monitor) = back_up(&place.open(), &asked(tree.root(), 20));
        assert!(summary.files_unmodified >= 6, "what the interrupted one holds is not read again: {summary:?}");
        assert_eq!(monitor.failed(), []);
        assert_eq!(tags_of(&place.open()), [Vec::<String>::new()]);
        restic.check();
        restic.restore("latest", &place.path("whole"));
        let whole = place.path("whole").join(tree.root().strip_prefix("/").expect("an absolute path"));
        compare(tree.root(), &whole, &Options::default()).assert_equal();
    }
}

/// Restores a snapshot and says whether nothing was missing.
fn is_whole(repository: &Arc<Repository>, id: backup_engine::id::SnapshotId) -> bool {
    let place = Place::new();
    let options = backup_engine::restorer::RestoreOptions::new(id, place.path("to"));
    let monitor = Remembers::default();
    let restored = backup_engine::restorer::restore(&repository.with_own_index(), &options, &Gate::new(), &monitor);
    restored.is_ok() && monitor.failed().is_empty()
}

#[test]
fn a_target_that_takes_nothing_more_from_any_call_on_holds_only_snapshots_that_are_whole() {
    let place = Place::new();
    let tree = plant(&place);
    let mut left = 0;
    for allowed in 0.. {
        let memory = MemoryStorage::new();
        create(Arc::new(memory.clone()), 2);
        let faulty = FaultyStorage::new(Arc::new(memory.clone()), allowed, Class::Full);
        let options = BackupOptions { checkpoint_bytes: 1, ..asked(tree.root(), 10) };
        let ran = open(Arc::new(faulty)).and_then(|repository| {
            let lock = backup_engine::lock::Lock::acquire(&repository, common::lock_options())?;
            backup(&lock, &options, &Gate::new(), &Remembers::default())
        });
        let repository = open(Arc::new(memory)).expect("it opens");
        for (id, snapshot) in repository.snapshots().expect("they can be listed").list {
            assert!(is_whole(&repository, id), "after call {allowed}");
            left += usize::from(snapshot.tags == TAGS);
        }
        let (summary, _) = back_up(&repository, &asked(tree.root(), 20));
        assert!(summary.failed == 0 && summary.snapshot.is_some(), "after call {allowed}");
        if ran.is_ok() {
            break;
        }
    }
    assert!(left > 0, "no run left a snapshot");
}

#[test]
fn only_what_this_very_backup_left_is_removed() {
    let place = Place::new();
    let tree = plant(&place);
    let repository = place.create(2);
    let mine = asked(tree.root(), 10);
    let others = [
        BackupOptions { hostname: "other".to_owned(), ..mine.clone() },
        BackupOptions { tags: vec!["backupd:hold=2030-01-01".to_owned()], ..mine.clone() },
        BackupOptions { uid: mine.uid + 1, ..mine.clone() },
        BackupOptions { program_version: "else 1.0".to_owned(), ..mine.clone() },
        BackupOptions { sources: vec![tree.path("a")], ..mine.clone() },
    ];
    for (number, other) in (0..).zip(&others) {
        let time = other.time + SignedDuration::from_secs(number);
        cut_short(&repository, &BackupOptions { time, ..other.clone() }, 2, Gate::cancel);
    }
    assert_eq!(tags_of(&repository).len(), others.len());
    back_up(&repository, &asked(tree.root(), 20));
    assert_eq!(tags_of(&repository).len(), others.len() + 1, "nobody else's was touched");
}

#[test]
fn a_backup_with_a_whole_snapshot_before_it_leaves_none() {
    let place = Place::new();
    let mut tree = plant(&place);
    let repository = place.create(2);
    back_up(&repository, &asked(tree.root(), 10));
    tree.random_file("new", 3_000_000);
    cut_short(&repository, &asked(tree.root(), 20), 8, Gate::cancel);
    assert_eq!(tags_of(&repository), [Vec::<String>::new()]);
}

#[test]
fn the_latest_is_an_interrupted_one_only_if_there_is_no_other() {
    let place = Place::new();
    let tree = plant(&place);
    let repository = create(Arc::new(LocalStorage::new(place.repository())), 2);
    let latest = |repository: &Repository| {
        let query = SnapshotQuery {
            text: "latest".to_owned(),
            rather_not: vec![TAGS[1].to_owned()],
            ..SnapshotQuery::default()
        };
        repository.find_snapshot(&query).expect("there is one").1
    };
    cut_short(&repository, &asked(tree.root(), 30), 4, Gate::cancel);
    assert_eq!(latest(&repository).tags, TAGS);
    back_up(&repository, &asked(&tree.path("a"), 10));
    assert_eq!(latest(&repository).paths, [tree.path("a").display().to_string()], "it is older, and whole");
}
