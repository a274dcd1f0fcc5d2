//! A power cut after any step of a backup: what is left is whole, and the next backup is as if nothing had happened.

mod common;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex};

use backup_engine::archiver::backup;
use backup_engine::id::LockId;
use backup_engine::lock::{Lock, LockEvent, LockOptions, LockRecord, remove_lock};
use backup_engine::storage::{LocalStorage, MemoryStorage, Storage};
use backup_engine::{Class, Gate};
use backup_testkit::compare::{Options, compare};
use backup_testkit::faults::{FaultyStorage, PowerCut};
use backup_testkit::seed::Seed;
use backup_testkit::tree::Tree;
use common::{Place, Remembers, back_up, create, lock_options, open, options};

/// More steps than a backup of the small tree takes: the enumeration must end by getting through.
const STEPS_MAX: u64 = 200;

/// Runs a backup that may be cut off at any step, the taking of the lock included; says whether it got through, and
/// which locks it wrote, as the daemon's record has it.
fn try_backup(storage: Arc<dyn Storage>, source: &Path) -> (bool, Vec<LockId>) {
    let locks = Arc::new(Mutex::new(Vec::new()));
    let written = locks.clone();
    let record: LockRecord = Arc::new(move |event| {
        if let LockEvent::Writing(id) = event {
            written.lock().expect("no test panics while it holds this").push(id);
        }
        Ok(())
    });
    let run = || {
        let lock = Lock::acquire(&open(storage)?, LockOptions { record, ..lock_options() })?;
        backup(&lock, &options(source), &Gate::new(), &Remembers::default())
    };
    let through = run().is_ok();
    let locks = locks.lock().expect("no test panics while it holds this").clone();
    (through, locks)
}

/// Plants what fits into two packs: a few files, one of several chunks.
fn plant(place: &Place) -> Tree {
    let mut tree = Tree::plain(place.path("source"), Seed(21));
    tree.random_file("several chunks", 3_000_000);
    tree
}

#[test]
fn a_power_cut_after_any_step_leaves_every_snapshot_whole() {
    let mut with_snapshot = BTreeSet::new();
    for steps in 0..STEPS_MAX {
        let place = Place::new();
        let tree = plant(&place);
        place.create(2);
        let cut = PowerCut::after(steps);
        let storage = LocalStorage::with_hook(place.repository(), cut.hook());
        let (through, locks) = try_backup(Arc::new(storage), tree.root());
        cut.lose_what_was_not_synced();

        let left = place.open().snapshots().expect("the snapshots can be listed");
        assert!(left.damaged.is_empty(), "after step {steps}: {:?}", left.damaged);
        assert_eq!(left.list.len(), usize::from(through), "after step {steps}: a run that failed made a snapshot");
        with_snapshot.insert(through);

        // The daemon's start: a removal may have been lost as well, so all that were ever written are removed.
        for lock in locks {
            remove_lock(&place.open(), &lock).expect("a lock can be removed");
        }
        let (_, monitor) = back_up(&place.open(), &options(tree.root()));
        assert_eq!(monitor.failed(), [], "after step {steps}");
        let restic = place.restic();
        restic.check();
        restic.restore("latest", &place.path("restored"));
        let copy = place.path("restored").join(tree.root().strip_prefix("/").expect("an absolute path"));
        compare(tree.root(), &copy, &Options::default()).assert_equal();
        if !cut.happened() {
            // Both outcomes were seen, so the enumeration began early enough and went far enough.
            assert_eq!(with_snapshot, [false, true].into());
            return;
        }
    }
    panic!("a backup takes more than {STEPS_MAX} steps");
}

#[test]
fn a_target_that_fails_from_any_call_on_names_it_and_keeps_what_there_was() {
    let place = Place::new();
    let tree = plant(&place);
    let memory = MemoryStorage::new();
    create(Arc::new(memory.clone()), 2);
    for allowed in 0..STEPS_MAX {
        let storage = memory.snapshot();
        let faulty = FaultyStorage::new(Arc::new(storage.clone()), allowed, Class::Full);
        let (through, _) = try_backup(Arc::new(faulty.clone()), tree.root());
        let repository = open(Arc::new(storage)).expect("the repository still opens");
        let left = repository.snapshots().expect("the snapshots can be listed");
        assert!(left.damaged.is_empty() && left.list.len() == usize::from(through), "after call {allowed}");
        if faulty.steps() <= allowed {
            assert!(through, "nothing failed, but the backup did");
            return;
        }
        let (summary, monitor) = back_up(&repository, &options(tree.root()));
        assert_eq!(monitor.failed(), [], "after call {allowed}");
        assert!(summary.snapshot.is_some());
    }
    panic!("a backup makes more than {STEPS_MAX} changing calls");
}
