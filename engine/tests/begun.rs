//! A later backup that is interrupted: what it has stored is not read again, and nothing is believed that is not there.
#![allow(clippy::unwrap_used, reason = "a failed step of a test's preparation is a failed test")]

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use backup_engine::archiver::{BackupOptions, BackupSummary, backup};
use backup_engine::monitor::Progress;
use backup_engine::storage::{LocalStorage, MemoryStorage};
use backup_engine::{Class, Gate, Repository};
use backup_testkit::compare::{Options, compare};
use backup_testkit::faults::FaultyStorage;
use backup_testkit::seed::Seed;
use backup_testkit::tree::Tree;
use backup_testkit::wait;
use common::{Acts, Place, Remembers, back_up, create, lock, open, options, try_back_up};
use jiff::SignedDuration;

const FILES: u64 = 15;
const BYTES: u64 = 2_000_000;

/// In the child that is to be killed: where source, repository and records are.
const CHILD: &str = "BACKUPD_TEST_KILLED_IN";

/// Asks for a backup with a record, by one thread. It began long after the files were written, so that their times are
/// trusted.
fn asked(folder: &Path, minutes: i64) -> BackupOptions {
    let plain = options(&folder.join("source"));
    let time = plain.time + SignedDuration::from_mins(minutes);
    BackupOptions { records: Some(folder.join("records")), threads: 1, time, ..plain }
}

/// Writes files, each different from what was there before; they take a few packs.
fn write_all(tree: &mut Tree) {
    for number in 0..FILES {
        let folder = tree.path(format!("{}/inner", number % 3));
        fs::create_dir_all(&folder).unwrap();
        tree.random_file(format!("{}/inner/{number}", number % 3), usize::try_from(BYTES).unwrap());
    }
}

/// A source of which there is a whole snapshot, and in which every file has changed since.
fn changed_place() -> (Place, Tree) {
    let place = Place::new();
    let mut tree = Tree::new(place.path("source"), Seed(77));
    write_all(&mut tree);
    tree.random_file("unchanged/file", 3_000_000);
    back_up(&place.create(2), &asked(&place.path(""), 10));
    write_all(&mut tree);
    (place, tree)
}

/// Runs a backup that somebody ends after so many files; returns which files it has read.
fn cut_short(repository: &Arc<Repository>, options: &BackupOptions, files: u64, end: fn(&Gate)) {
    let (gate, seen) = (Gate::new(), AtomicU64::new(0));
    let stop = |step: &Progress| {
        // What is unchanged is not what it is about.
        let done = if step.bytes > step.bytes_unchanged { step.files } else { 0 };
        if seen.fetch_add(done, Ordering::Relaxed) + done >= files {
            end(&gate);
        }
    };
    let monitor = Acts { progress: Some(Box::new(stop)), ..Acts::default() };
    backup(&lock(repository), options, &gate, &monitor).expect_err("it is cut short");
}

/// Backs up to the end; returns what was done and which files were read.
fn go_on(repository: &Arc<Repository>, options: &BackupOptions) -> (BackupSummary, BTreeSet<PathBuf>) {
    let read = Mutex::new(BTreeSet::new());
    let note = |path: &Path| _ = read.lock().unwrap().insert(path.to_owned());
    let monitor = Acts { current: Some(Box::new(note)), ..Acts::default() };
    let summary = try_back_up(repository, options, &monitor).unwrap();
    assert_eq!(monitor.remembers.failed(), []);
    drop(monitor);
    (summary, read.into_inner().unwrap())
}

fn notes(folder: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(folder.join("records")).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|extension| extension == "begun")).collect()
}

/// Says that the repository is sound, that nothing but whole snapshots is in it, and that the last one is the source.
fn assert_whole(place: &Place, tree: &Tree, snapshots: usize) {
    let list = place.open().snapshots().unwrap().list;
    assert_eq!(list.len(), snapshots);
    assert!(list.iter().all(|(_, snapshot)| snapshot.tags.is_empty()), "no snapshot of a part");
    let restic = place.restic();
    restic.check();
    restic.restore("latest", &place.path("restored"));
    let copy = place.path("restored").join(tree.root().strip_prefix("/").unwrap());
    compare(tree.root(), &copy, &Options::default()).assert_equal();
}

#[test]
fn what_an_interrupted_later_backup_has_stored_is_not_read_again() {
    for (files, end) in [(1, Gate::suspend as fn(&Gate)), (6, Gate::cancel), (11, Gate::suspend), (14, Gate::suspend)] {
        let (place, tree) = changed_place();
        let folder = place.path("");
        cut_short(&place.open(), &asked(&folder, 20), files, end);
        assert_eq!(notes(&folder).len(), 1);
        let (summary, read) = go_on(&place.open(), &asked(&folder, 30));
        assert!(summary.bytes_read <= (FILES - files) * BYTES, "after {files} files: {summary:?}");
        assert_eq!(summary.bytes_read, read.len() as u64 * BYTES, "what was read is what was not stored");
        assert!(!read.is_empty(), "after {files} files not all was stored");
        assert_eq!((summary.files_changed, summary.files_unmodified), (FILES, 1));
        assert_eq!(notes(&folder), Vec::<PathBuf>::new());
        assert_whole(&place, &tree, 2);
        let (after, _) = go_on(&place.open(), &asked(&folder, 40));
        assert_eq!(
            (after.files_unmodified, after.bytes_read),
            (FILES + 1, 0),
            "the record is one of the whole snapshot"
        );
    }
}

#[test]
fn without_a_place_for_a_note_all_is_read_again() {
    let (place, tree) = changed_place();
    let [first, second] = [20, 30].map(|minutes| BackupOptions { records: None, ..asked(&place.path(""), minutes) });
    cut_short(&place.open(), &first, 11, Gate::suspend);
    let (summary, _) = go_on(&place.open(), &second);
    assert_eq!(summary.bytes_read, FILES * BYTES);
    assert_whole(&place, &tree, 2);
}

#[test]
fn a_run_that_comes_less_far_takes_nothing_away_from_what_is_known() {
    let (place, tree) = changed_place();
    let folder = place.path("");
    cut_short(&place.open(), &asked(&folder, 20), 9, Gate::suspend);
    let note = fs::read(&notes(&folder)[0]).unwrap();
    for minutes in [30, 40] {
        let gate = Gate::new();
        gate.suspend();
        backup(&lock(&place.open()), &asked(&folder, minutes), &gate, &Remembers::default()).unwrap_err();
    }
    assert_eq!(fs::read(&notes(&folder)[0]).unwrap(), note);
    cut_short(&place.open(), &asked(&folder, 50), 3, Gate::cancel);
    let (summary, _) = go_on(&place.open(), &asked(&folder, 60));
    assert!(summary.bytes_read <= (FILES - 9 - 3) * BYTES, "each run goes on where the others were: {summary:?}");
    assert_whole(&place, &tree, 2);
}

#[test]
fn a_file_that_was_touched_since_is_read_again() {
    let (place, mut tree) = changed_place();
    let folder = place.path("");
    cut_short(&place.open(), &asked(&folder, 20), 14, Gate::suspend);
    tree.random_file("0/inner/0", usize::try_from(BYTES).unwrap());
    let (_, read) = go_on(&place.open(), &asked(&folder, 30));
    assert!(read.contains(&tree.path("0/inner/0")), "{read:?}");
    assert_whole(&place, &tree, 2);
}

#[test]
fn a_file_that_may_have_changed_after_it_was_read_is_read_again() {
    let (place, tree) = changed_place();
    let folder = place.path("");
    // This run began before the files were written, as far as it knows.
    cut_short(&place.open(), &asked(&folder, 0), 14, Gate::suspend);
    let (summary, _) = go_on(&place.open(), &asked(&folder, 30));
    assert_eq!(summary.bytes_read, FILES * BYTES);
    assert_whole(&place, &tree, 2);
}

#[test]
fn what_the_repository_has_lost_meanwhile_is_read_again() {
    let (place, tree) = changed_place();
    let folder = place.path("");
    cut_short(&place.open(), &asked(&folder, 20), 11, Gate::suspend);
    // No snapshot needs what is stored so far.
    place.restic().run(["prune", "--max-unused", "0"]);
    let (summary, _) = go_on(&place.open(), &asked(&folder, 30));
    assert_eq!(summary.bytes_read, FILES * BYTES);
    assert_whole(&place, &tree, 2);
}

#[test]
fn a_pack_that_is_gone_is_nothing_to_rely_on() {
    let (place, tree) = changed_place();
    let folder = place.path("");
    let packs = || -> BTreeSet<PathBuf> {
        let folders = fs::read_dir(place.repository().join("data")).unwrap().map(|entry| entry.unwrap().path());
        folders.flat_map(|folder| fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path())).collect()
    };
    let before = packs();
    cut_short(&place.open(), &asked(&folder, 20), 11, Gate::suspend);
    let largest = packs().difference(&before).max_by_key(|path| fs::metadata(path).unwrap().len()).cloned();
    fs::remove_file(largest.unwrap()).unwrap();
    let (summary, _) = go_on(&place.open(), &asked(&folder, 30));
    assert!(summary.bytes_read >= 7 * BYTES && summary.bytes_read < FILES * BYTES, "{summary:?}");
    place.restic().run(["rebuild-index"]);
    assert_whole(&place, &tree, 2);
}

#[test]
fn a_target_that_takes_nothing_more_from_any_call_on_loses_nothing_and_lies_about_nothing() {
    let mut resumed = 0;
    for allowed in 0.. {
        let place = Place::new();
        let folder = place.path("");
        let mut tree = Tree::new(place.path("source"), Seed(5));
        tree.random_file("a/old", 700_000);
        let memory = MemoryStorage::new();
        back_up(&create(Arc::new(memory.clone()), 2), &asked(&folder, 10));
        (0..11).for_each(|number| _ = tree.random_file(format!("b/{number}"), usize::try_from(BYTES).unwrap()));
        let faulty = FaultyStorage::new(Arc::new(memory.clone()), allowed, Class::Full);
        let asked_for = BackupOptions { checkpoint_bytes: 1, ..asked(&folder, 20) };
        let ran = open(Arc::new(faulty)).and_then(|repository| {
            let lock = backup_engine::lock::Lock::acquire(&repository, common::lock_options())?;
            backup(&lock, &asked_for, &Gate::new(), &Remembers::default())
        });
        let repository = open(Arc::new(memory)).unwrap();
        let (summary, _) = go_on(&repository, &asked(&folder, 30));
        resumed += u64::from(ran.is_err() && summary.bytes_read < 11 * BYTES);
        let to = place.path("to");
        let options = backup_engine::restorer::RestoreOptions::new(summary.snapshot.unwrap(), to.clone());
        let monitor = Remembers::default();
        backup_engine::restorer::restore(&repository.with_own_index(), &options, &Gate::new(), &monitor).unwrap();
        assert_eq!(monitor.failed(), [], "after call {allowed}");
        compare(tree.root(), &to.join(tree.root().strip_prefix("/").unwrap()), &Options::default()).assert_equal();
        if ran.is_ok() {
            break;
        }
    }
    assert!(resumed > 0, "no run went on from another");
}

/// The child's part: backs up, and is killed when so many files are read and something is noted.
fn be_killed(folder: &Path, files: u64) -> ! {
    let repository = open(Arc::new(LocalStorage::new(folder.join("repository")))).unwrap();
    let seen = AtomicU64::new(0);
    let die = |step: &Progress| {
        // The thread that writes packs has its say too, and must not be held up here.
        if step.files > 0 && seen.fetch_add(step.files, Ordering::Relaxed) + step.files >= files {
            // The pack of the first eight files is being written beside this.
            wait::until("it is noted what is stored", || (!notes(folder).is_empty()).then_some(()));
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).unwrap();
        }
    };
    let monitor = Acts { progress: Some(Box::new(die)), ..Acts::default() };
    let options = BackupOptions { checkpoint_bytes: 1, ..asked(folder, 20) };
    let ended = backup(&lock(&repository), &options, &Gate::new(), &monitor);
    panic!("nobody killed it: {ended:?}");
}

#[test]
fn after_a_kill_what_was_listed_and_noted_is_not_read_again() {
    let this = "after_a_kill_what_was_listed_and_noted_is_not_read_again";
    if let Some(given) = std::env::var_os(CHILD) {
        let given = given.into_string().unwrap();
        let (files, folder) = given.split_once(' ').unwrap();
        be_killed(Path::new(folder), files.parse().unwrap());
    }
    for files in [10, 14] {
        let (place, tree) = changed_place();
        let folder = place.path("");
        let mut child = Command::new(std::env::current_exe().unwrap());
        let given = format!("{files} {}", folder.display());
        let ended = child.args(["--exact", this, "--nocapture"]).env(CHILD, given).output().unwrap();
        assert_eq!(ended.status.signal(), Some(9), "{}", String::from_utf8_lossy(&ended.stderr));
        let (summary, read) = go_on(&place.open(), &asked(&folder, 30));
        assert!(summary.bytes_read <= (FILES - 7) * BYTES, "after {files} files: {summary:?}");
        assert_eq!(summary.bytes_read, read.len() as u64 * BYTES);
        assert_eq!(summary.files_changed, FILES);
        place.restic().run(["unlock", "--remove-all"]);
        assert_whole(&place, &tree, 2);
    }
}
