//! A dry run keeps nothing of what it does not store. A binary of its own: what is measured is the whole process.
#![cfg(target_os = "linux")]

mod common;

use std::fs;

use backup_engine::archiver::BackupOptions;
use backup_engine::storage::DryLocks;
use common::peak::{peak_of, write_large};
use common::{Place, back_up, options};

const MEBIBYTES: u64 = 320;

#[test]
fn a_dry_run_takes_less_memory_than_what_it_would_store() {
    let place = Place::new();
    fs::create_dir(place.path("source")).unwrap();
    write_large(&place.path("source/large"), MEBIBYTES);
    let repository = place.create(2).for_dry_run(DryLocks::Shown);
    let options = BackupOptions { threads: 2, ..options(&place.path("source")) };
    let mut stored = 0;
    let peak = peak_of(|| stored = back_up(&repository, &options).0.bytes_stored);
    assert!(stored > MEBIBYTES << 20, "noise stays as long: {stored}");
    assert!(peak < stored - (64 << 20), "{peak} bytes of memory for {stored} that were not stored");
}
