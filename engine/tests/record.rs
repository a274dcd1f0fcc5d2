//! The record of the last snapshot: it makes a backup cheap, and never wrong.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;

use backup_engine::archiver::BackupOptions;
use backup_engine::storage::{FileKind, MemoryStorage};
use backup_testkit::record::{Operation, RecordingStorage};
use backup_testkit::seed::{Seed, rounds};
use backup_testkit::tree::Tree;
use common::scene::Scene;
use common::{create, open};

#[test]
fn what_changed_is_found_and_what_did_not_is_kept() {
    let mut scene = Scene::new();
    scene.plant();
    let (first, _) = scene.with_record();
    assert_eq!(first.files_new, 21);
    let (second, monitor) = scene.with_record();
    assert_eq!((second.files_unmodified, second.data_blobs, second.failed), (21, 0, 0));
    assert_eq!(*monitor.notices.lock().unwrap(), Vec::<String>::new());
    scene.assert_same_as_without(&second);
    fs::write(scene.tree.path("b/c/d/file 2"), "changed").unwrap();
    let (third, _) = scene.with_record();
    assert_eq!((third.files_changed, third.files_unmodified), (1, 20));
    scene.assert_same_as_without(&third);
    scene.place.restic().check();
}

#[test]
fn an_unchanged_backup_reads_neither_index_nor_tree_however_many_files_there_are() {
    let try_cost = |folders: usize| {
        // Seldom does anybody else touch the folders above it.
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let mut scene = Scene { tree: Tree::new(folder.path().join("source"), Seed(7)), ..Scene::new() };
        scene.tree.file("always there", b"");
        for folder in 0..folders {
            scene.tree.random_file(format!("folder {folder}/file"), 100);
        }
        let memory = MemoryStorage::new();
        scene.repository = create(Arc::new(memory.clone()), 2);
        let above =
            || folder.path().ancestors().map(|above| fs::metadata(above).unwrap().modified().unwrap()).collect();
        let before: Vec<_> = above();
        scene.with_record();
        let recording = RecordingStorage::new(Arc::new(memory));
        scene.repository = open(Arc::new(recording.clone())).unwrap();
        let _ = recording.take();
        let (summary, _) = scene.with_record();
        (above() == before).then_some(())?;
        assert_eq!((summary.files_unmodified, summary.tree_blobs), (folders as u64 + 1, 0));
        let mut counts = recording.take();
        let _ = counts.remove(&(Operation::Read, FileKind::Lock));
        Some(counts)
    };
    let cost = |folders| (0..50).find_map(|_| try_cost(folders)).expect("now and then they are left alone");
    let expected = [
        ((Operation::List, FileKind::Lock), 2),
        ((Operation::List, FileKind::Snapshot), 1),
        ((Operation::List, FileKind::Index), 1),
        ((Operation::List, FileKind::Pack), 1),
        ((Operation::Read, FileKind::Snapshot), 1),
        ((Operation::Write, FileKind::Lock), 1),
        ((Operation::Write, FileKind::Snapshot), 1),
        ((Operation::Remove, FileKind::Lock), 1),
    ];
    for folders in [3, 300] {
        assert_eq!(cost(folders), expected.into());
    }
}

#[test]
fn only_where_a_hint_leads_is_looked_at_and_a_look_at_everything_finds_the_rest() {
    let mut scene = Scene::new();
    scene.plant();
    scene.with_record();
    fs::write(scene.tree.path("a/file 1"), "announced").unwrap();
    fs::write(scene.tree.path("b/c/file 1"), "not announced").unwrap();
    let (hinted, _) = scene.hinted(&[scene.tree.path("a/file 1")]);
    assert_eq!((hinted.hinted, hinted.files_changed, hinted.files_unmodified), (true, 1, 20));
    let list = scene.repository.snapshots().unwrap().list;
    assert_eq!(list.last().unwrap().1.tags, ["hinted"]);
    // A day later everything is looked at although there are hints.
    scene.minute += 24 * 60;
    let (full, monitor) = scene.hinted(&[]);
    assert_eq!((full.hinted, full.files_changed, full.hints_missed), (false, 1, 1));
    assert!(monitor.notices.lock().unwrap()[0].contains("b/c"), "{:?}", monitor.notices);
    scene.assert_same_as_without(&full);
    scene.place.restic().check();
}

#[test]
fn after_so_many_hinted_runs_one_looks_at_everything() {
    let mut scene = Scene::new();
    scene.plant();
    scene.with_record();
    for _ in 0..backup_engine::limits::HINTED_RUNS_MAX {
        assert!(scene.hinted(&[]).0.hinted);
    }
    assert!(!scene.hinted(&[]).0.hinted);
    assert!(scene.hinted(&[]).0.hinted);
}

#[test]
fn hints_without_a_record_and_for_other_excludes_are_not_followed() {
    let mut scene = Scene::new();
    scene.plant();
    assert!(!scene.hinted(&[]).0.hinted);
    let exclude = backup_engine::source::Excludes::new(&["file 1"]).unwrap();
    let options = BackupOptions { exclude, changed: scene.changed([]), ..scene.options(true) };
    let (other, _) = scene.back_up(&options);
    assert_eq!((other.hinted, other.files), (false, 16));
    for (exclude_caches, one_file_system) in [(true, false), (false, true)] {
        let mut again = || {
            let options =
                BackupOptions { exclude_caches, one_file_system, changed: scene.changed([]), ..scene.options(true) };
            scene.back_up(&options).0.hinted
        };
        assert_eq!((again(), again()), (false, true), "each has a record of its own");
    }
}

#[test]
fn hints_count_only_from_the_snapshot_that_the_record_is_of() {
    let mut scene = Scene::new();
    scene.plant();
    scene.with_record();
    let write = |scene: &Scene, text: &str| fs::write(scene.tree.path("b/c/file 1"), text).unwrap();
    write(&scene, "named to the backup with other excludes");
    let exclude = backup_engine::source::Excludes::new(&["e"]).unwrap();
    let other = BackupOptions { exclude, changed: scene.changed([]), ..scene.options(true) };
    assert_eq!(scene.back_up(&other).0.files, 17);
    // The record of the first backup fits again, and nobody names again what has changed before the second.
    let (back, monitor) = scene.hinted(&[scene.tree.path("a")]);
    assert_eq!((back.hinted, back.files_changed, back.hints_missed), (false, 1, 0));
    assert_eq!(*monitor.notices.lock().unwrap(), Vec::<String>::new(), "the caller has missed nothing");
    scene.assert_same_as_without(&back);
    assert!(scene.hinted(&[]).0.hinted, "now it is the record of the last one");
}

#[test]
fn what_could_not_be_read_is_tried_again() {
    if rustix::process::geteuid().is_root() {
        return;
    }
    let mut scene = Scene::new();
    scene.plant();
    let file = scene.tree.path("b/file 1");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o0)).unwrap();
    for _ in 0..3 {
        let (summary, _) = scene.with_record();
        assert_eq!((summary.failed, summary.files), (1, 20));
    }
}

#[test]
fn a_file_that_vanished_while_it_was_read_is_not_taken_for_saved() {
    let mut scene = Scene::new();
    scene.plant();
    let file = scene.tree.path("b/c/file 1");
    let aside = scene.place.path("aside");
    let acts = common::Acts {
        current: Some(Box::new(|path| {
            if path.ends_with("b/c/file 1") {
                let _ = fs::rename(path, &aside);
            }
        })),
        ..common::Acts::default()
    };
    let options = scene.options(true);
    let summary = common::try_back_up(&scene.repository.with_own_index(), &options, &acts).unwrap();
    if aside.exists() {
        fs::rename(&aside, &file).unwrap();
    }
    drop(acts);
    let _ = summary;
    let (next, _) = scene.with_record();
    assert_eq!((next.failed, next.files), (0, 21));
    scene.assert_same_as_without(&next);
}

#[test]
fn a_record_that_was_cut_or_bent_anywhere_changes_nothing() {
    let mut scene = Scene::new();
    scene.plant();
    scene.with_record();
    fs::write(scene.tree.path("b/c/file 1"), "changed").unwrap();
    let files: Vec<(PathBuf, Vec<u8>)> =
        scene.records().into_iter().map(|path| (path.clone(), fs::read(&path).unwrap())).collect();
    assert_eq!(files.len(), 2, "a head and its data");
    let mut random = Seed::of_test("backup-engine", "--test record").random();
    for round in 0..rounds(12, 2000) {
        for path in scene.records() {
            fs::remove_file(path).unwrap();
        }
        for (path, bytes) in &files {
            let mut bytes = bytes.clone();
            let at = usize::from_le_bytes(random.bytes(8).try_into().unwrap()) % bytes.len();
            match round % 4 {
                0 => bytes.truncate(at),
                1 if path.extension().unwrap() == "data" => bytes[at] ^= 1 << (round % 8),
                2 => bytes[at] ^= 1 << (round % 8),
                _ => bytes[at..].fill(0),
            }
            fs::write(path, bytes).unwrap();
        }
        let (summary, _) = scene.with_record();
        assert_eq!(summary.files, 21);
        scene.assert_same_as_without(&summary);
    }
    scene.place.restic().check();
}

#[test]
fn nothing_is_taken_over_from_a_repository_that_lost_something() {
    for kind in ["index", "data", "snapshots"] {
        let mut scene = Scene::new();
        scene.plant();
        scene.with_record();
        let lost = scene.place.repository().join(kind);
        let mut folders = vec![lost];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
                if entry.is_dir() { folders.push(entry) } else { fs::remove_file(entry).unwrap() }
            }
        }
        let (summary, _) = scene.with_record();
        assert_eq!(summary.files, 21);
        if kind != "snapshots" {
            // The folders above the source may have been touched since: then the older snapshot lacks their trees.
            let older = scene.repository.snapshots().unwrap().list[0].0.to_string();
            scene.place.restic().run(["rebuild-index"]);
            scene.place.restic().run(["forget", older.as_str()]);
        }
        scene.place.restic().check();
        scene.place.restic().restore("latest", &scene.place.path("to"));
        let copy = scene.place.path("to").join(scene.tree.root().strip_prefix("/").unwrap());
        assert_eq!(fs::read(copy.join("b/c/file 1")).unwrap(), fs::read(scene.tree.path("b/c/file 1")).unwrap());
    }
}

#[test]
fn a_snapshot_that_restic_forgot_and_pruned_is_not_relied_on() {
    let mut scene = Scene::new();
    scene.plant();
    scene.with_record();
    fs::remove_dir_all(scene.tree.path("b/c")).unwrap();
    // Somebody else's snapshot keeps the repository from being empty; ours goes.
    let restic = scene.place.restic();
    let first = scene.repository.snapshots().unwrap().list[0].0.to_string();
    restic.backup(&scene.tree.path("e"));
    restic.run(["forget", first.as_str(), "--prune"]);
    scene.plant();
    let (summary, _) = scene.with_record();
    assert_eq!(summary.files, 21);
    scene.place.restic().check();
    scene.assert_same_as_without(&summary);
}

#[test]
fn the_record_of_another_repository_is_not_used() {
    let mut scene = Scene::new();
    scene.plant();
    scene.with_record();
    scene.repository = create(Arc::new(MemoryStorage::new()), 2);
    let (summary, _) = scene.with_record();
    assert_eq!((summary.files_new, summary.files_unmodified), (21, 0));
}

#[test]
fn what_no_longer_counts_goes_in_time() {
    let mut scene = Scene::new();
    for number in 0..3000 {
        scene.tree.file(format!("one folder/{number} and a long name, so that its block is a large one"), b"");
    }
    scene.with_record();
    let size = |scene: &Scene| scene.records().iter().map(|path| fs::metadata(path).unwrap().len()).sum::<u64>();
    let once = size(&scene);
    for round in 0..60 {
        fs::write(scene.tree.path("one folder/0 and a long name, so that its block is a large one"), [round]).unwrap();
        let (summary, _) = scene.with_record();
        assert_eq!((summary.files_changed, summary.files), (1, 3001));
    }
    assert!(size(&scene) < 3 * once + 2 * backup_engine::limits::RECORD_WASTE_BYTES, "{} of {once}", size(&scene));
    assert!(scene.records().len() <= 3);
    let (last, _) = scene.with_record();
    scene.assert_same_as_without(&last);
}
