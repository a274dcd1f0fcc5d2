//! What is critical is safe before the rest, in a snapshot that stays until a whole one has all of it.
#![allow(clippy::unwrap_used, reason = "a failed step of a test's preparation is a failed test")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use backup_engine::archiver::{BackupOptions, backup};
use backup_engine::monitor::Monitor;
use backup_engine::snapshot::SnapshotQuery;
use backup_engine::{Gate, Repository};
use backup_testkit::compare::{Options, compare};
use backup_testkit::seed::Seed;
use backup_testkit::tree::Tree;
use common::{Acts, Place, lock, options, try_back_up};
use jiff::SignedDuration;

const CRITICAL: &str = "backupd:critical";
const LEFT: [&str; 2] = ["backupd:incomplete", "backupd:interrupted"];

/// A source of which `m` is critical, and a repository.
struct Scene {
    place: Place,
    tree: Tree,
    repository: Arc<Repository>,
}

impl Scene {
    fn new() -> Self {
        let place = Place::new();
        let mut tree = Tree::new(place.path("source"), Seed(9));
        for folder in ["a", "m/inner", "z"] {
            (0..3).for_each(|number| _ = tree.random_file(format!("{folder}/{number}"), 1_000_000));
        }
        let repository = place.create(2);
        Self { place, tree, repository }
    }

    fn asked(&self, minutes: i64) -> BackupOptions {
        let plain = options(self.tree.root());
        BackupOptions {
            critical: vec![self.tree.path("m")],
            critical_tags: vec![CRITICAL.to_owned()],
            tags: vec!["backupd:plan=docs".to_owned()],
            incomplete_tags: vec![LEFT[0].to_owned()],
            interrupted_tags: LEFT.map(str::to_owned).to_vec(),
            records: Some(self.place.path("records")),
            threads: 1,
            time: plain.time + SignedDuration::from_mins(minutes),
            ..plain
        }
    }

    /// Backs up to the end; returns which files were read, in their order.
    fn back_up(&self, options: &BackupOptions) -> Vec<String> {
        let read = Mutex::new(Vec::new());
        let note = |path: &Path| read.lock().unwrap().push(self.name(path));
        let monitor = Acts { current: Some(Box::new(note)), ..Acts::default() };
        try_back_up(&self.repository.with_own_index(), options, &monitor).unwrap();
        drop(monitor);
        read.into_inner().unwrap()
    }

    /// Backs up until a file is about to be read, and does something then.
    fn back_up_until(&self, options: &BackupOptions, file: &str, act: impl Fn(&Gate) + Send + Sync) {
        let gate = Gate::new();
        let file = self.tree.path(file);
        let stop = |path: &Path| {
            if path == file {
                act(&gate);
            }
        };
        let monitor = Acts { current: Some(Box::new(stop)), ..Acts::default() };
        let repository = self.repository.with_own_index();
        let _ = backup(&lock(&repository), options, &gate, &monitor);
    }

    fn name(&self, path: &Path) -> String {
        path.strip_prefix(self.tree.root()).unwrap().display().to_string()
    }

    /// Returns which snapshots there are, oldest first: those of what is critical, those left by a run that was
    /// interrupted, and whole ones.
    fn kinds(&self) -> Vec<&'static str> {
        let list = self.repository.snapshots().unwrap().list;
        let kind = |tags: &[String]| match tags {
            tags if tags.iter().any(|tag| tag == CRITICAL) => "critical",
            tags if tags.iter().any(|tag| tag == LEFT[1]) => "left",
            _ => "whole",
        };
        let mut kinds: Vec<_> = list.iter().map(|(_, snapshot)| kind(&snapshot.tags)).collect();
        kinds.sort_unstable();
        kinds
    }

    fn restored(&self, snapshot: &str, to: &str) -> PathBuf {
        self.place.restic().restore(snapshot, &self.place.path(to));
        self.place.path(to).join(self.tree.root().strip_prefix("/").unwrap())
    }

    /// Says that restic finds all of what is critical in the snapshot of that alone.
    fn assert_critical_is_there(&self, to: &str) {
        let list = self.repository.snapshots().unwrap().list;
        let (id, snapshot) = list.iter().find(|(_, snapshot)| snapshot.tags.iter().any(|tag| tag == CRITICAL)).unwrap();
        assert_eq!(snapshot.paths, [self.tree.path("m").display().to_string()]);
        assert!(snapshot.parent.is_none());
        let copy = self.restored(&id.to_string(), to);
        compare(&self.tree.path("m"), &copy.join("m"), &Options::default()).assert_equal();
        assert_eq!(fs::read_dir(&copy).unwrap().count(), 1, "nothing else is in it");
        self.place.restic().check();
    }

    fn assert_whole(&self, to: &str) {
        compare(self.tree.root(), &self.restored("latest", to), &Options::default()).assert_equal();
        self.place.restic().check();
    }
}

#[test]
fn it_is_read_first_and_once_and_its_snapshot_goes_when_the_whole_one_is_there() {
    let scene = Scene::new();
    let names = |folders: &[&str]| -> Vec<String> {
        folders.iter().flat_map(|folder| (0..3).map(move |number| format!("{folder}/{number}"))).collect()
    };
    assert_eq!(scene.back_up(&scene.asked(10)), names(&["m/inner", "a", "z"]));
    assert_eq!(scene.kinds(), ["whole"]);
    scene.assert_whole("first");
    assert_eq!(scene.back_up(&scene.asked(20)), names(&[]));
    let list = scene.repository.snapshots().unwrap().list;
    assert_eq!((scene.kinds(), list[1].1.parent), (vec!["whole"; 2], Some(list[0].0)), "the parent is a whole one");
}

#[test]
fn interrupted_after_it_a_first_backup_leaves_it_whole_and_the_next_one_reads_the_rest() {
    let scene = Scene::new();
    scene.back_up_until(&scene.asked(10), "a/1", Gate::suspend);
    assert_eq!(scene.kinds(), ["critical", "left"]);
    scene.assert_critical_is_there("critical");
    scene.back_up_until(&scene.asked(20), "a/2", Gate::cancel);
    assert_eq!(scene.kinds(), ["critical", "left"], "there is one, whatever happens");
    let read = scene.back_up(&scene.asked(30));
    assert!(read.iter().all(|name| !name.starts_with("m/") && name != "a/0"), "{read:?}");
    assert_eq!(scene.kinds(), ["whole"]);
    scene.assert_whole("whole");
}

#[test]
fn interrupted_in_it_a_backup_goes_on_where_it_was_and_leaves_it() {
    let scene = Scene::new();
    scene.back_up(&scene.asked(10));
    for number in 0..3 {
        fs::write(scene.tree.path(format!("m/inner/{number}")), vec![number; 500_000]).unwrap();
    }
    scene.back_up_until(&scene.asked(20), "m/inner/2", Gate::suspend);
    assert_eq!(scene.kinds(), ["whole"]);
    assert_eq!(scene.back_up(&scene.asked(30)), ["m/inner/2"]);
    assert_eq!(scene.kinds(), ["whole"; 2]);
    scene.assert_whole("whole");
}

#[test]
fn of_a_later_backup_it_has_what_is_new_and_is_neither_latest_nor_parent() {
    let scene = Scene::new();
    scene.back_up(&scene.asked(10));
    fs::write(scene.tree.path("m/new"), "new").unwrap();
    fs::write(scene.tree.path("z/0"), "new").unwrap();
    scene.back_up_until(&scene.asked(20), "z/0", Gate::suspend);
    assert_eq!(scene.kinds(), ["critical", "whole"]);
    scene.assert_critical_is_there("critical");
    let tags = vec![LEFT[1].to_owned(), CRITICAL.to_owned()];
    let query = SnapshotQuery { text: "latest".to_owned(), rather_not: tags, ..SnapshotQuery::default() };
    let (latest, snapshot) = scene.repository.find_snapshot(&query).unwrap();
    assert_eq!(snapshot.paths, [scene.tree.root().display().to_string()]);
    assert_eq!(scene.back_up(&scene.asked(30)), ["z/0"]);
    assert_eq!(scene.kinds(), ["whole"; 2]);
    assert_eq!(scene.repository.snapshots().unwrap().list[1].1.parent, Some(latest));
    scene.assert_whole("whole");
}

/// Does something when what is critical is safe, and before the rest is.
struct Between<F>(F);

impl<F: Fn() + Send + Sync> Monitor for Between<F> {
    fn notice(&self, sentence: &str) {
        if sentence.starts_with("What is critical is safe in snapshot") {
            self.0();
        }
    }
}

#[test]
fn it_stays_as_long_as_no_whole_snapshot_has_what_it_has() {
    let scene = Scene::new();
    let (here, aside) = (scene.tree.path("m/inner"), scene.place.path("aside"));
    // As if its drive had gone, and left an empty folder.
    let monitor = Between(|| fs::rename(&here, &aside).unwrap());
    try_back_up(&scene.repository.with_own_index(), &scene.asked(10), &monitor).unwrap();
    assert_eq!(scene.kinds(), ["critical", "whole"]);
    scene.back_up(&BackupOptions { critical: Vec::new(), ..scene.asked(20) });
    assert_eq!(scene.kinds(), ["critical", "whole", "whole"]);
    let query = SnapshotQuery { text: "latest".to_owned(), tag: Some(CRITICAL.to_owned()), ..SnapshotQuery::default() };
    let (id, _) = scene.repository.find_snapshot(&query).unwrap();
    let copy = scene.restored(&id.to_string(), "critical").join("m/inner");
    compare(&aside, &copy, &Options::default()).assert_equal();
    fs::rename(&aside, &here).unwrap();
    scene.back_up(&scene.asked(30));
    assert_eq!(scene.kinds(), ["whole"; 3]);
    scene.assert_whole("whole");
}

#[test]
fn one_that_somebody_else_has_made_or_holds_is_left_alone() {
    let scene = Scene::new();
    let others = [
        BackupOptions { uid: 7, ..scene.asked(10) },
        BackupOptions { tags: vec!["backupd:plan=other".to_owned()], ..scene.asked(11) },
        BackupOptions { hostname: "elsewhere".to_owned(), ..scene.asked(12) },
    ];
    for other in &others {
        scene.back_up_until(other, "a/0", Gate::suspend);
    }
    // Whether something of the rest is left as well is a matter of moments.
    let kinds = || scene.kinds().into_iter().filter(|kind| *kind != "left").collect::<Vec<_>>();
    assert_eq!(kinds(), ["critical"; 3]);
    scene.back_up(&scene.asked(20));
    assert_eq!(kinds(), ["critical", "critical", "critical", "whole"]);
}

#[test]
fn where_all_is_critical_or_it_is_not_there_the_backup_is_as_any_other() {
    let scene = Scene::new();
    let missing = BackupOptions { critical: vec![scene.tree.path("nowhere")], ..scene.asked(10) };
    scene.back_up(&missing);
    let all = BackupOptions { critical: vec![scene.tree.root().to_owned()], ..scene.asked(20) };
    scene.back_up(&all);
    assert_eq!(scene.kinds(), ["whole"; 2]);
    scene.assert_whole("whole");
}
