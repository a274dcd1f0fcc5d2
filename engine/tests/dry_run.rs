//! A dry run of a backup says what the backup after it does, and leaves no trace.
#![allow(clippy::unwrap_used, reason = "a failed step of a test's preparation is a failed test")]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use backup_engine::archiver::{BackupOptions, BackupSummary};
use backup_engine::lock::Lock;
use backup_engine::storage::{DryLocks, FileKind, LocalStorage, MemoryStorage};
use backup_engine::{Class, Error, Gate, Repository};
use backup_testkit::record::{Operation, RecordingStorage};
use common::scene::Scene;
use common::{Acts, Place, Remembers, back_up, create, lock_options, open, options, try_back_up};
use jiff::SignedDuration;

/// Returns every file below a folder with its contents and its time.
fn contents(folder: &Path) -> BTreeMap<PathBuf, (Vec<u8>, std::time::SystemTime)> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                folders.push(entry);
            } else {
                let time = entry.metadata().unwrap().modified().unwrap();
                found.insert(entry.clone(), (fs::read(&entry).unwrap(), time));
            }
        }
    }
    found
}

/// Backs up as a dry run.
fn dry(repository: &Arc<Repository>, options: &BackupOptions) -> (BackupSummary, Arc<Remembers>) {
    back_up(&repository.for_dry_run(DryLocks::Shown), options)
}

/// Says that a dry run has said what the backup did. A few bytes are uncertain: how well index and snapshot are compressed
/// depends on ids, which are random, and the folders above the source belong to everybody, so that their times may
/// change and take another digit.
fn assert_said(dry: &BackupSummary, real: &BackupSummary) {
    assert!(dry.snapshot.is_none() && real.snapshot.is_some());
    let around = |summary: &BackupSummary| summary.bytes_stored - summary.pack_bytes;
    let bytes = |summary: &BackupSummary| [summary.bytes_added, summary.pack_bytes, around(summary)];
    for (said, done) in bytes(dry).into_iter().zip(bytes(real)) {
        assert!(said.abs_diff(done) < 128, "{dry:?} {real:?}");
    }
    assert!(around(dry) > 0);
    let exact = |summary: &BackupSummary| BackupSummary {
        snapshot: None,
        bytes_stored: 0,
        bytes_added: 0,
        pack_bytes: 0,
        ..summary.clone()
    };
    assert_eq!(exact(dry), exact(real));
}

#[test]
fn a_dry_run_says_of_a_first_and_of_a_second_backup_what_they_do_and_changes_no_byte() {
    for records in [false, true] {
        let mut scene = Scene::new();
        scene.plant();
        scene.tree.random_file("large", 9 << 20);
        scene.tree.file("zeros", &vec![0; 3 << 20]);
        for round in 0..3 {
            let before = contents(scene.place.path("").as_path());
            let options = scene.options(records);
            let (said, monitor) = dry(&scene.repository, &options);
            assert_eq!(contents(scene.place.path("").as_path()), before, "round {round}, records {records}");
            assert_eq!(monitor.packs.lock().unwrap().len(), 0, "there is no pack that anybody could look for");
            assert_eq!(monitor.failed(), []);
            scene.place.restic().check();
            let (done, _) = scene.back_up(&options);
            assert_said(&said, &done);
            assert_eq!((said.files_new > 0, said.bytes_read > 0), (round < 2, round < 2), "{said:?}");
            scene.place.restic().check();
            if round == 0 {
                scene.tree.random_file("a/file 0", 2 << 20);
                scene.tree.file("b/another", b"small and new");
            }
        }
    }
}

#[test]
fn a_dry_run_looks_only_where_the_backup_would_look_and_takes_no_hint_from_it() {
    let mut scene = Scene::new();
    scene.plant();
    scene.with_record();
    scene.tree.random_file("a/file 1", 5000);
    let changed = scene.changed([scene.tree.path("a")]);
    let options = BackupOptions { changed, ..scene.options(true) };
    let (said, _) = dry(&scene.repository, &options);
    let (done, _) = scene.back_up(&options);
    assert!(said.hinted && said.files_changed == 1, "{said:?}");
    assert_said(&said, &done);
    scene.assert_same_as_without(&done);
}

#[test]
fn nothing_is_written_but_a_lock_and_without_one_nothing_at_all() {
    let place = Place::new();
    fs::create_dir(place.path("source")).unwrap();
    fs::write(place.path("source/file"), vec![7; 100_000]).unwrap();
    let storage = RecordingStorage::new(Arc::new(MemoryStorage::new()));
    let repository = create(Arc::new(storage.clone()), 2);
    for (locks, calls) in [(DryLocks::Shown, 1), (DryLocks::Hidden, 0)] {
        let _ = storage.take();
        let (said, _) = back_up(&repository.for_dry_run(locks), &options(&place.path("source")));
        assert_eq!((said.files, said.bytes, said.bytes_read), (1, 100_000, 100_000));
        let counts = storage.take();
        let changes = |operation, kind| counts.get(&(operation, kind)).copied().unwrap_or_default();
        for kind in FileKind::ALL {
            let expected = if kind == FileKind::Lock { calls } else { 0 };
            assert_eq!(
                (changes(Operation::Write, kind), changes(Operation::Remove, kind)),
                (expected, expected),
                "{kind:?}"
            );
        }
        assert_eq!(changes(Operation::Create, FileKind::Config), 0);
    }
}

/// What an interrupted first backup has left is used and stays; and a dry run that is interrupted leaves nothing itself.
#[test]
fn what_an_interrupted_backup_has_left_stays_and_an_interrupted_dry_run_leaves_nothing() {
    let place = Place::new();
    fs::create_dir(place.path("source")).unwrap();
    for number in 0..40_u8 {
        fs::write(place.path("source").join(format!("{number:02}")), vec![number; 50_000]).unwrap();
    }
    let plain = options(&place.path("source"));
    let time = plain.time + SignedDuration::from_mins(10);
    let options = BackupOptions { interrupted_tags: vec!["interrupted".to_owned()], threads: 1, time, ..plain };
    let storage: Arc<LocalStorage> = Arc::new(LocalStorage::new(place.repository()));
    create(storage.clone(), 2);
    let stop_after = |repository: &Arc<Repository>| {
        let gate = Gate::new();
        let acts = Acts {
            current: Some(Box::new(|path: &Path| {
                if path.ends_with("30") {
                    gate.cancel();
                }
            })),
            ..Acts::default()
        };
        let lock = Lock::acquire(repository, lock_options()).unwrap();
        let ended = backup_engine::archiver::backup(&lock, &options, &gate, &acts);
        assert!(matches!(ended, Err(Error::Cancelled)), "{ended:?}");
        acts.remembers.notices.lock().unwrap().clone()
    };
    let before = contents(&place.repository());
    assert_eq!(stop_after(&place.open().for_dry_run(DryLocks::Shown)), Vec::<String>::new(), "nothing was saved");
    assert_eq!(contents(&place.repository()), before);
    assert!(stop_after(&place.open()).iter().any(|notice| notice.contains("marked as incomplete")));
    let before = contents(&place.repository());
    let (said, _) = dry(&open(storage).unwrap(), &options);
    assert_eq!(contents(&place.repository()), before);
    let (done, _) = back_up(&place.open(), &options);
    assert_said(&said, &done);
    assert!(said.files_unmodified > 0 && said.files_new > 0, "{said:?}");
    place.restic().check();
}

#[test]
fn a_dry_run_of_a_source_that_is_not_there_fails_as_the_backup_does() {
    let place = Place::new();
    let repository = place.create(2).for_dry_run(DryLocks::Shown);
    let ended = try_back_up(&repository, &options(&place.path("nothing")), &Remembers::default());
    assert!(matches!(ended, Err(Error::Storage { class: Class::Transient, .. })), "{ended:?}");
}

/// Tells the numbers that the monitor was given.
#[derive(Default)]
struct Weighs(std::sync::Mutex<Vec<(u64, u64)>>);

impl backup_engine::Monitor for Weighs {
    fn outgrows(&self, bytes: u64, free: u64) {
        self.0.lock().unwrap().push((bytes, free));
    }
}

#[test]
fn a_first_backup_says_once_that_it_found_more_than_there_is_room_for_and_goes_on() {
    let place = Place::new();
    fs::create_dir_all(place.path("source/cache")).unwrap();
    for number in 0..8_u8 {
        fs::write(place.path("source").join(number.to_string()), vec![number; 100_000]).unwrap();
    }
    fs::hard_link(place.path("source/0"), place.path("source/again")).unwrap();
    fs::write(place.path("source/cache/CACHEDIR.TAG"), "Signature: 8a477f597d28d172789f06886806bc55").unwrap();
    fs::write(place.path("source/cache/large"), vec![9; 1_000_000]).unwrap();
    let repository = place.create(2);
    let run = |repository: &Arc<Repository>, room| {
        let options = BackupOptions { room, exclude_caches: true, ..options(&place.path("source")) };
        let weighs = Weighs::default();
        let done = try_back_up(&repository.with_own_index(), &options, &weighs).unwrap();
        assert_eq!(done.files, 10);
        weighs.0.into_inner().unwrap()
    };
    let dry = repository.for_dry_run(DryLocks::Shown);
    assert_eq!(run(&dry, Some(10)), [], "a dry run says it all at its end");
    assert_eq!(run(&repository, None), [], "nobody knows how much is free");
    let first = || create(Arc::new(MemoryStorage::new()), 2);
    // Files take whole blocks: how much room they need is known to some kilobytes.
    assert_eq!(run(&first(), Some(850_000)), [], "a second name and what is left out need no room");
    let said = run(&first(), Some(550_000));
    assert!(matches!(said[..], [(600_000..=650_000, 550_000)]), "{said:?}");
    assert_eq!(run(&repository, Some(10)), [], "what a later backup stores is not known from sizes");
}
