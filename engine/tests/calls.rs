//! What operations cost, by counting: calls of the storage, bytes read, threads, memory.
#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

mod common;

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::thread::ThreadId;

use backup_engine::archiver::{BackupOptions, backup};
use backup_engine::checker::{VerifyOptions, verify};
use backup_engine::limits::READ_STEP;
use backup_engine::monitor::{Monitor, Progress};
use backup_engine::storage::{FileKind, MemoryStorage};
use backup_engine::{Error, Gate};
use backup_testkit::record::{Operation, RecordingStorage};
use backup_testkit::seed::Seed;
use backup_testkit::tree::Tree;
use common::{Place, Remembers, back_up, create, lock, now, open, options};
use jiff::SignedDuration;

/// Options of a backup so late that nothing counts as just changed.
fn later(source: &Path) -> BackupOptions {
    let time = now().wall + SignedDuration::from_secs(60);
    BackupOptions { time, ..options(source) }
}

/// Plants files, and backs them up twice: the second snapshot knows that nothing changes any more.
fn settled(files: u64) -> (Place, PathBuf, MemoryStorage) {
    let place = Place::new();
    let mut tree = Tree::new(place.path("source"), Seed(61));
    for number in 0..files {
        tree.random_file(format!("folder {}/file {number}", number % 7), 2000);
    }
    let memory = MemoryStorage::new();
    let repository = create(Arc::new(memory.clone()), 2);
    back_up(&repository, &later(tree.root()));
    (place, tree.root().to_path_buf(), memory)
}

#[test]
fn an_unchanged_backup_makes_the_same_few_calls_however_many_files_there_are() {
    let cost = |files| {
        let (_place, source, memory) = settled(files);
        let recording = RecordingStorage::new(Arc::new(memory));
        let repository = open(Arc::new(recording.clone())).unwrap();
        let _ = recording.take();
        let (summary, _) = back_up(&repository, &later(&source));
        assert_eq!((summary.files_unmodified, summary.data_blobs), (files, 0));
        let mut counts = recording.take();
        // One tree a folder that leads to a file; the depth of the temporary folder is the machine's.
        let trees = counts.remove(&(Operation::ReadRange, FileKind::Pack)).unwrap();
        assert!(trees <= summary.folders + 1, "{trees} trees were read for {} folders", summary.folders);
        // The folders above the source belong to others, who may touch them: then there is a pack and its index.
        counts.remove(&(Operation::Write, FileKind::Pack));
        counts.remove(&(Operation::Write, FileKind::Index));
        let confirmations = counts.remove(&(Operation::Read, FileKind::Lock)).unwrap();
        assert!(confirmations <= 2, "{confirmations} looks at the lock");
        counts
    };
    let expected = [
        // Others' locks before and after ours is written.
        ((Operation::List, FileKind::Lock), 2),
        ((Operation::List, FileKind::Snapshot), 1),
        ((Operation::List, FileKind::Index), 1),
        ((Operation::List, FileKind::Pack), 1),
        ((Operation::Read, FileKind::Snapshot), 1),
        ((Operation::Read, FileKind::Index), 1),
        ((Operation::Write, FileKind::Lock), 1),
        ((Operation::Write, FileKind::Snapshot), 1),
        ((Operation::Remove, FileKind::Lock), 1),
    ];
    assert_eq!(cost(10), expected.into());
    assert_eq!(cost(700), expected.into());
}

/// Returns the names of the files that were opened in the watched folders since the last time.
#[cfg(target_os = "linux")]
fn opened(watch: &std::os::fd::OwnedFd) -> Vec<String> {
    let mut buffer = [std::mem::MaybeUninit::uninit(); 16 * 1024];
    let mut events = rustix::fs::inotify::Reader::new(watch, &mut buffer);
    let mut names = Vec::new();
    // Without a name it is the folder itself that was opened.
    while let Ok(event) = events.next() {
        names.extend(event.file_name().map(|name| name.to_str().unwrap().to_owned()));
    }
    names
}

#[test]
#[cfg(target_os = "linux")]
fn an_unchanged_file_is_not_opened() {
    use rustix::fs::inotify;
    let (_place, source, memory) = settled(20);
    let watch = inotify::init(inotify::CreateFlags::NONBLOCK).unwrap();
    for folder in 0..7 {
        inotify::add_watch(&watch, source.join(format!("folder {folder}")), inotify::WatchFlags::OPEN).unwrap();
    }
    let repository = open(Arc::new(memory)).unwrap();
    let (summary, monitor) = back_up(&repository, &later(&source));
    assert_eq!(summary.files_unmodified, 20);
    let progress = *monitor.progress.lock().unwrap();
    assert_eq!(progress.bytes_unchanged, progress.bytes);
    assert_eq!(opened(&watch), Vec::<String>::new());
    fs::write(source.join("folder 3/file 3"), "changed").unwrap();
    let _ = opened(&watch);
    back_up(&repository, &later(&source));
    assert_eq!(opened(&watch), ["file 3"]);
}

/// Pauses at the n-th read after every thread has begun to read, and counts what is still read after that.
struct Pauses {
    gate: Gate,
    begin: Barrier,
    begun: Mutex<HashSet<ThreadId>>,
    left: AtomicU64,
    after: AtomicU64,
}

impl Monitor for Pauses {
    fn progress(&self, delta: &Progress) {
        if delta.bytes == 0 {
            return;
        }
        let first = self.begun.lock().unwrap().insert(std::thread::current().id());
        if first {
            self.begin.wait();
        }
        let before = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        match before {
            Ok(1) => self.gate.pause(),
            Ok(_) => {}
            Err(_) => _ = self.after.fetch_add(delta.bytes, Ordering::SeqCst),
        }
    }
}

#[test]
fn after_a_pause_each_thread_reads_one_step_at_most() {
    const THREADS: usize = 4;
    let place = Place::new();
    let mut tree = Tree::new(place.path("source"), Seed(62));
    for number in 0..8 {
        tree.random_file(format!("large {number}"), 6_000_000);
    }
    for moment in [1, 5, 20, 60] {
        let gate = Gate::new();
        let repository = create(Arc::new(MemoryStorage::new()), 2);
        let (begin, begun) = (Barrier::new(THREADS), Mutex::default());
        let (left, after) = (AtomicU64::new(moment), AtomicU64::new(0));
        let monitor = Pauses { gate: gate.clone(), begin, begun, left, after };
        let options = BackupOptions { threads: THREADS, ..options(tree.root()) };
        std::thread::scope(|scope| {
            let run = scope.spawn(|| backup(&lock(&repository), &options, &gate, &monitor));
            // Who is not at the gate then is in the middle of a step, or waits for one who is there.
            while gate.waiting() == 0 && !run.is_finished() {
                std::thread::yield_now();
            }
            gate.cancel();
            assert!(matches!(run.join().unwrap(), Err(Error::Cancelled)));
        });
        let after = monitor.after.load(Ordering::SeqCst);
        assert!(after <= (THREADS * READ_STEP) as u64, "{after} bytes were read after the pause");
    }
}

/// Remembers which threads found chunks to be stored already.
#[derive(Default)]
struct Threads(Mutex<HashSet<ThreadId>>);

impl Monitor for Threads {
    fn progress(&self, delta: &Progress) {
        if delta.bytes_known > 0 {
            self.0.lock().unwrap().insert(std::thread::current().id());
        }
    }
}

#[test]
fn the_chunks_of_one_large_file_go_to_several_threads() {
    let place = Place::new();
    let mut tree = Tree::new(place.path("source"), Seed(63));
    let file = tree.random_file("large", 40_000_000);
    let repository = create(Arc::new(MemoryStorage::new()), 2);
    back_up(&repository, &options(tree.root()));
    // The same contents again: every chunk is known, and whoever hashed it says so.
    fs::copy(&file, tree.path("again")).unwrap();
    fs::remove_file(&file).unwrap();
    let threads = Threads::default();
    let options = BackupOptions { threads: 4, ..options(tree.root()) };
    let summary = backup(&lock(&repository), &options, &Gate::new(), &threads).unwrap();
    assert_eq!(summary.data_blobs, 0);
    assert!(threads.0.lock().unwrap().len() > 1, "one thread did all of it");
}

/// Counts how often something is said.
#[derive(Default)]
struct Says(AtomicU64);

impl Monitor for Says {
    fn progress(&self, _: &Progress) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn small_files_are_handed_over_and_reported_many_at_a_time() {
    let (_place, source, _) = settled(2000);
    let repository = create(Arc::new(MemoryStorage::new()), 2);
    let says = Says::default();
    let options = BackupOptions { threads: 2, ..options(&source) };
    let summary = backup(&lock(&repository), &options, &Gate::new(), &says).unwrap();
    assert_eq!(summary.files_new, 2000);
    let said = says.0.load(Ordering::Relaxed);
    assert!(said < 2000 / 4, "{said} reports of 2000 small files");
}

#[test]
fn several_large_files_are_stored_however_little_memory_there_is() {
    let place = Place::new();
    let mut tree = Tree::new(place.path("source"), Seed(64));
    for number in 0..6 {
        tree.random_file(format!("large {number}"), 9_000_000);
        // Zeros are never cut before the largest size.
        tree.file(format!("zeros {number}"), &vec![0; 20_000_000 + number]);
    }
    let repository = create(Arc::new(MemoryStorage::new()), 2);
    let options = BackupOptions { threads: 6, memory: 1, ..options(tree.root()) };
    let (summary, monitor) = back_up(&repository, &options);
    assert_eq!((summary.files_new, monitor.failed()), (12, vec![]));
}

#[test]
fn everything_said_to_the_monitor_adds_up() {
    let (_place, source, memory) = settled(50);
    fs::write(source.join("new"), vec![7; 900_000]).unwrap();
    let (summary, monitor) = back_up(&open(Arc::new(memory)).unwrap(), &later(&source));
    let monitor: Arc<Remembers> = monitor;
    let progress = *monitor.progress.lock().unwrap();
    assert_eq!((progress.bytes, progress.files), (summary.bytes, summary.files));
    assert_eq!(progress.bytes - progress.bytes_unchanged, 900_000);
    assert_eq!(progress.bytes_stored, summary.bytes_stored);
}

#[test]
fn a_verification_reads_every_pack_once_and_every_tree_once_more() {
    let (_place, _, memory) = settled(700);
    let recording = RecordingStorage::new(Arc::new(memory));
    let repository = open(Arc::new(recording.clone())).unwrap();
    let reads = |read_data| {
        let _ = recording.take();
        let options = VerifyOptions { read_data, threads: 3, ..VerifyOptions::default() };
        let summary = verify(&repository, &options, &Gate::new(), &Remembers::default()).unwrap();
        assert_eq!(summary.failed, 0);
        (recording.take()[&(Operation::ReadRange, FileKind::Pack)], summary.packs)
    };
    let (trees, _) = reads(false);
    let (all, packs) = reads(true);
    assert_eq!(all, trees + packs);
}
