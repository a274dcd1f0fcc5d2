//! What an unchanged backup costs grows with the number of files and not faster: 5 million of them in a soak. A binary of
//! its own: what is counted is the whole process.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]
#![expect(clippy::print_stderr, reason = "says what it counted")]

mod common;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use backup_engine::archiver::BackupOptions;
use backup_engine::storage::{FileKind, MemoryStorage};
use backup_testkit::record::{Operation, RecordingStorage};
use backup_testkit::seed::rounds;
use common::peak::peak_of;
use common::{Place, back_up, create, now, open, options};
use jiff::SignedDuration;

/// By how much the peak may grow while files become ten times as many: one folder's block at a time is in memory.
const GROWTH_MAX: u64 = 32 * 1024 * 1024;

/// Makes empty files, a thousand a folder.
fn plant(source: &Path, files: u64) {
    for folder in 0..files / 1000 {
        let folder = source.join(folder.to_string());
        fs::create_dir_all(&folder).unwrap();
        for file in 0..1000 {
            File::create(folder.join(file.to_string())).unwrap();
        }
    }
}

/// Returns the processor time that this process has taken, in hundredths of a second: its own, and in the kernel for it.
fn ticks() -> [u64; 2] {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    [11, 12].map(|at: usize| fields[at].parse().unwrap())
}

/// Backs up so many files, and again unchanged; returns the calls that the second run made and what it took at most.
fn unchanged(files: u64) -> (BTreeMap<(Operation, FileKind), u64>, u64) {
    let place = Place::new();
    let source = place.path("source");
    plant(&source, files);
    let memory = MemoryStorage::new();
    create(Arc::new(memory.clone()), 2);
    let recording = RecordingStorage::new(Arc::new(memory));
    let repository = open(Arc::new(recording.clone())).unwrap();
    let run = |minutes: i64| {
        let time = now().wall + SignedDuration::from_mins(minutes);
        back_up(&repository, &BackupOptions { time, records: Some(place.path("records")), ..options(&source) }).0
    };
    // The second run sees for itself that nothing was new any more.
    run(1);
    run(2);
    let look = |minutes| {
        let _ = recording.take();
        let (before, mut summary) = (ticks(), None);
        let peak = peak_of(|| summary = Some(run(minutes)));
        let after = ticks();
        let summary = summary.unwrap();
        assert_eq!(summary.files_unmodified, files);
        let mut counts = recording.take();
        // One for each run before; how many it takes until nobody disturbs one differs.
        assert_eq!(counts.remove(&(Operation::Read, FileKind::Snapshot)), u64::try_from(minutes - 1).ok());
        let [own, kernel] = [0, 1].map(|at| (after[at] - before[at]) * 10_000_000 / files);
        eprintln!("scale: {files} files unchanged, {own} ns of processor time each, and {kernel} in the kernel: held");
        // The folders above the source belong to others, who may touch them: then there is a tree to be stored.
        (summary.tree_blobs == 0).then_some((counts, peak))
    };
    (3..60).find_map(look).expect("now and then they are left alone")
}

#[test]
fn an_unchanged_scan_grows_linearly() {
    let steps = [2_000, 20_000, 50_000, 500_000, 5_000_000];
    let sizes = if rounds(0, 1) == 0 { &steps[..2] } else { &steps[2..] };
    let counts: Vec<_> = sizes.iter().map(|files| unchanged(*files)).collect();
    for two in counts.windows(2) {
        assert_eq!(two[0].0, two[1].0, "the storage is called as often");
        assert!(two[1].1 <= two[0].1 + GROWTH_MAX, "{} bytes at most, then {}", two[0].1, two[1].1);
    }
}
