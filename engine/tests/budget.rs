//! The threads of a backup share one budget of memory, however many they are. A binary of its own: what is measured is
//! the whole process, and what another test took the allocator may keep.
#![cfg(target_os = "linux")]

mod common;

use std::sync::Arc;

use backup_engine::archiver::BackupOptions;
use backup_engine::storage::LocalStorage;
use backup_testkit::seed::Seed;
use backup_testkit::tree::Tree;
use common::peak::{peak_of, write_large};
use common::{Place, back_up, create, options};

/// The most bytes of memory that a process may take that backs up, after it has derived a key.
const PEAK_MAX: u64 = 150_000_000;

#[test]
fn two_threads_and_sixteen_stay_within_the_same_budget() {
    let place = Place::new();
    let mut tree = Tree::new(place.path("source"), Seed(73));
    // Chunks of every length: noise is cut as a rule, a hole only at the largest size.
    for number in 0..4 {
        tree.random_file(format!("noise {number}"), 20_000_000);
    }
    write_large(&tree.path("noise and a hole"), 40);
    let peaks = [2, 16].map(|threads| {
        let storage = LocalStorage::new(place.path(&format!("repository of {threads}")));
        let repository = create(Arc::new(storage), 2);
        let options = BackupOptions { threads, ..options(tree.root()) };
        peak_of(|| assert_eq!(back_up(&repository, &options).0.files_new, 5))
    });
    assert!(peaks.iter().all(|peak| *peak <= PEAK_MAX), "with 2 and with 16 threads {peaks:?} bytes");
}
