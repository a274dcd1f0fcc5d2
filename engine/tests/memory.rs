//! Memory does not grow with the size of a file or the number of files. A binary of its own: what is measured is the
//! whole process.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

mod common;

use std::fs;
use std::path::Path;

use backup_engine::Gate;
use backup_engine::archiver::BackupOptions;
use backup_engine::restorer::{RestoreOptions, restore};
use backup_testkit::seed::Seed;
use common::peak::{peak_of, write_large};
use common::{Place, Remembers, back_up, options};

const MIB: u64 = 1024 * 1024;

/// The most that a process may take whose two threads back up or restore, after it has derived a key.
const PEAK_MAX: u64 = 240 * MIB;

/// By how much a run on three times as much may take more: packs that fill up, blobs in the index, and what the
/// allocator keeps. The large file grows by several times this.
const GROWTH_MAX: u64 = 64 * MIB;

fn write_small(folder: &Path, files: u64) {
    let mut random = Seed(72).random();
    for number in 0..files {
        let folder = folder.join((number / 1000).to_string());
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(number.to_string()), random.bytes(700)).unwrap();
    }
}

/// Backs up what is planted and restores it; returns what each took at most.
fn peaks(plant: impl FnOnce(&Path)) -> (u64, u64) {
    let place = Place::new();
    let source = place.path("source");
    fs::create_dir(&source).unwrap();
    plant(&source);
    let repository = place.create(2);
    let options = BackupOptions { threads: 2, ..options(&source) };
    let mut snapshot = None;
    let saving = peak_of(|| snapshot = back_up(&repository, &options).0.snapshot);
    let restoring = peak_of(|| {
        let mut options = RestoreOptions::new(snapshot.unwrap(), place.path("restored"));
        options.threads = 2;
        let monitor = Remembers::default();
        restore(&repository.with_own_index(), &options, &Gate::new(), &monitor).unwrap();
        assert_eq!(monitor.failed(), []);
    });
    (saving, restoring)
}

#[test]
fn memory_grows_neither_with_the_size_nor_with_the_number_of_files() {
    // What one run took, the allocator may keep for the next: so what needs least comes first.
    let small = [4_000, 20_000].map(|files| peaks(|source| write_small(source, files)));
    let large = [80, 240].map(|mebibytes| peaks(|source| write_large(&source.join("large"), mebibytes)));
    let what = format!("small files: {small:?}, large files: {large:?} (backup and restore, bytes)");
    for [less, more] in [large, small] {
        for (less, more) in [(less.0, more.0), (less.1, more.1)] {
            assert!(more <= PEAK_MAX, "{what}");
            assert!(more <= less + GROWTH_MAX, "{what}");
        }
    }
}
