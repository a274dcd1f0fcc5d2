//! All jobs share one budget of memory, whatever they do and on however many threads. A binary of its own: what is counted
//! is the whole process.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a failed step of a test's preparation is a failed test")]
#![expect(clippy::print_stderr, reason = "says what it counted")]

mod allocator;
mod common;

use std::fs;
use std::sync::Arc;

use backup_engine::archiver::{BackupOptions, backup};
use backup_engine::checker::{VerifyOptions, verify};
use backup_engine::copy::{CopyOptions, copy};
use backup_engine::id::SnapshotId;
use backup_engine::limits::{ALL_MEMORY, JOB_MEMORY};
use backup_engine::memory::Budget;
use backup_engine::prune::{Seen, repack};
use backup_engine::repair::examine;
use backup_engine::restorer::{RestoreOptions, restore};
use backup_engine::storage::{FileKind, FileName, LocalStorage};
use backup_engine::{Gate, Repository};
use backup_testkit::seed::Seed;
use backup_testkit::tree::Tree;
use common::pruning::without_grace;
use common::{Place, Remembers, create, lock, now, options};

#[global_allocator]
static ALLOCATOR: allocator::Counting = allocator::Counting;

/// What a process takes beside the budget: trees and lists, the index, what is planned, books of each thread.
const BESIDE: usize = 12 * 1024 * 1024;

/// What is taken for packs of a backup beyond their size, and hardly ever touched: for the last blob of each, and its header.
const PACK_MARGINS: usize = 3 * 9 * 1024 * 1024;

/// A small one, so that sixteen threads would take several times as much.
const SMALL: usize = ALL_MEMORY / 2;

struct Scene {
    place: Place,
    repository: Arc<Repository>,
    snapshot: SnapshotId,
    tree: Tree,
}

/// A repository of a hundred megabytes, half of them text.
fn scene() -> Scene {
    let place = Place::new();
    let mut tree = Tree::new(place.path("source"), Seed(81));
    for number in 0..4 {
        tree.random_file(format!("noise {number}"), 25_000_000);
        let mut random = Seed(90 + number).random();
        let text: String = (0..2_000_000).map(|_| format!("{:05} ", random.below(5000))).collect();
        fs::write(tree.path(format!("text {number}")), text).unwrap();
    }
    let repository = place.create(2);
    let asked = BackupOptions { threads: 2, ..options(tree.root()) };
    let snapshot = common::back_up(&repository, &asked).0.snapshot.unwrap();
    Scene { place, repository, snapshot, tree }
}

fn fresh(repository: &Arc<Repository>) -> Arc<Repository> {
    repository.with_own_index()
}

impl Scene {
    fn restore(&self, to: &str, threads: usize, gate: &Gate) {
        let asked = RestoreOptions { threads, ..RestoreOptions::new(self.snapshot, self.place.path(to)) };
        let monitor = Remembers::default();
        let summary = restore(&fresh(&self.repository), &asked, gate, &monitor).unwrap();
        assert_eq!((summary.files, monitor.failed()), (8, Vec::new()));
        fs::remove_dir_all(self.place.path(to)).unwrap();
    }

    fn verify(&self, threads: usize, gate: &Gate) {
        let asked = VerifyOptions { read_data: true, threads, now: now().wall, ..VerifyOptions::default() };
        let monitor = Remembers::default();
        let summary = verify(&fresh(&self.repository), &asked, gate, &monitor).unwrap();
        assert!(summary.bytes > 100_000_000 && monitor.failed().is_empty(), "{:?}", monitor.failed());
    }

    fn verify_one(&self, threads: usize, gate: &Gate) {
        let asked =
            VerifyOptions { snapshot: Some(self.snapshot), threads, now: now().wall, ..VerifyOptions::default() };
        let monitor = Remembers::default();
        verify(&fresh(&self.repository), &asked, gate, &monitor).unwrap();
        assert_eq!(monitor.failed(), []);
    }

    fn examine(&self, threads: usize, gate: &Gate) {
        let monitor = Remembers::default();
        examine(&lock(&fresh(&self.repository)), threads, gate, &monitor).unwrap();
        assert_eq!(monitor.failed(), []);
    }

    fn back_up(&self, to: &Arc<Repository>, threads: usize, gate: &Gate) {
        let asked = BackupOptions { threads, ..options(self.tree.root()) };
        let summary = backup(&lock(to), &asked, gate, &Remembers::default()).unwrap();
        assert_eq!(summary.files_new, 8);
    }

    fn copy(&self, to: &Arc<Repository>, gate: &Gate) {
        let asked = CopyOptions { snapshots: vec![self.snapshot], adopt: Vec::new() };
        let summary = copy(&fresh(&self.repository), &lock(to), &asked, gate, &Remembers::default()).unwrap();
        assert_eq!(summary.copied, 1);
    }

    /// Stores some of it once more, forgets all of it, and moves what is still used.
    fn prune(&self, gate: &Gate) {
        for number in 0..3 {
            fs::remove_file(self.tree.path(format!("noise {number}"))).unwrap();
        }
        let time = now().wall + jiff::SignedDuration::from_mins(1);
        common::back_up(&self.repository, &BackupOptions { time, ..options(self.tree.root()) });
        let repository = fresh(&self.repository);
        let monitor = Remembers::default();
        repository.storage().remove(&FileName::new(FileKind::Snapshot, self.snapshot.0)).unwrap();
        let (summary, _) = repack(&lock(&repository), &without_grace(), &mut Seen::default(), gate, &monitor).unwrap();
        assert!(summary.packs_repacked > 0 && monitor.failed().is_empty(), "{summary:?}");
    }

    fn other(&self, name: &str) -> Arc<Repository> {
        create(Arc::new(LocalStorage::new(self.place.path(name))), 2)
    }
}

/// Runs a job alone with a budget and demands that it takes no more, and gives back all.
fn alone(what: &str, bytes: usize, beside: usize, job: impl FnOnce(&Gate)) {
    let budget = Budget::new(bytes);
    let gate = Gate::of_job(budget.job());
    let ((), peak) = allocator::peak(|| job(&gate));
    eprintln!("shared memory: {what} takes {peak} bytes of {bytes}: held");
    drop(gate);
    assert_eq!(budget.taken(), 0, "{what} has given back all");
    assert!(peak <= bytes + beside, "{what}: {peak} bytes; {bytes} and {beside} are allowed");
}

#[test]
fn every_job_keeps_to_the_budget_with_two_threads_and_with_sixteen_and_two_jobs_share_it() {
    let scene = scene();
    let scene = &scene;
    for threads in [2, 16] {
        let name = |what: &str| format!("{what} with {threads} threads");
        alone(&name("a restore"), SMALL, BESIDE, |gate| scene.restore("restored", threads, gate));
        alone(&name("a check"), SMALL, BESIDE, |gate| scene.verify(threads, gate));
        alone(&name("a check of a snapshot"), SMALL, BESIDE, |gate| scene.verify_one(threads, gate));
        alone(&name("a repair's reading"), SMALL, BESIDE, |gate| scene.examine(threads, gate));
        let other = scene.other(&name("other"));
        alone(&name("a backup"), ALL_MEMORY, BESIDE + PACK_MARGINS, |gate| scene.back_up(&other, threads, gate));
    }
    two_at_once(scene);
    let other = scene.other("copy");
    // These have one thread, and take what that needs: a pack that is filled, and the largest piece as it is read, opened and
    // sealed.
    alone("a copy", ALL_MEMORY, BESIDE, |gate| scene.copy(&other, gate));
    alone("a prune", ALL_MEMORY, BESIDE, |gate| scene.prune(gate));
}

/// Two jobs hold one budget together, and what every further one may take when it is spent.
fn two_at_once(scene: &Scene) {
    for threads in [2, 16] {
        let budget = Budget::new(SMALL);
        let (one, two) = (Gate::of_job(budget.job()), Gate::of_job(budget.job()));
        let ((), peak) = allocator::peak(|| {
            std::thread::scope(|scope| {
                scope.spawn(|| scene.verify(threads, &one));
                scope.spawn(|| scene.restore("restored beside", threads, &two));
            });
        });
        eprintln!("shared memory: a check beside a restore takes {peak} bytes of {SMALL}: held");
        assert!(peak <= SMALL + JOB_MEMORY + 2 * BESIDE, "{peak} bytes");
        assert_eq!(budget.taken(), 0);
    }
}
