//! Keys that are changed, added and removed while the storage stops after any step, as by a power cut: the daemon's own
//! password always opens the repository, what was acknowledged holds, and a second call ends it or says what to do.

mod house;

use std::fs;
use std::sync::Arc;

use backup_engine::Repository;
use backup_engine::storage::LocalStorage;
use backup_proto::error::{ErrorKind, RpcError};
use backup_testkit::faults::PowerCut;
use backup_testkit::restic::Restic;
use backup_testkit::seed::{Seed, rounds};
use backupd::targets::Targets;
use house::House;

/// More steps than a change of keys takes: the enumeration must end by getting through.
const STEPS_MAX: u64 = 60;

/// restic is asked after every so many of the stops; each time takes it a second.
const RESTIC_EVERY: u64 = 4;

/// How far stops are from each other; a soak makes one at each step. The first is at a random step before that.
const STRIDE: u64 = 4;

const NEW: &str = "a new one";

/// A house after a stop: the daemon has started again.
struct Stopped {
    house: House,
    targets: Targets,
    steps: u64,
    asks_restic: bool,
    /// The password that the daemon had before.
    first: String,
    /// Whether the change was acknowledged.
    is_done: bool,
}

impl Stopped {
    fn opens(&self, password: &str) -> bool {
        let storage = LocalStorage::new(self.house.path("data/repository"));
        let opens = Repository::open(Arc::new(storage), password.as_bytes()).is_ok();
        if self.asks_restic {
            let file = self.house.path("password");
            fs::write(&file, password).expect("it is written");
            let restic = Restic::new(&self.house.path("data/repository"), &file);
            assert_eq!(restic.try_run(["cat", "config"]).status.success(), opens, "after step {}", self.steps);
        }
        opens
    }

    fn own(&self) -> String {
        fs::read_to_string(self.house.path("state/keys/local.password")).expect("it is there").trim().to_owned()
    }

    fn keys(&self) -> usize {
        self.targets.keys("local").expect("they are listed").len()
    }
}

/// Stops an act after its steps, and in the end lets it get through; says how many there are.
#[expect(clippy::print_stdout, reason = "a count for the log of a soak")]
fn after_steps(
    name: &str,
    prepare: impl Fn(&Targets),
    act: impl Fn(&Targets) -> Result<(), RpcError>,
    judge: impl Fn(&Stopped),
) {
    let stride = rounds(STRIDE, 1);
    let offset = Seed::of_test("backupd", name).random().below(stride);
    let steps = (offset..STEPS_MAX).step_by(usize::try_from(stride).expect("it is small"));
    for (number, steps) in (0..).zip(steps) {
        let house = House::new("");
        house.context.targets.open_target("local").expect("it is made");
        prepare(&house.context.targets);
        let first = fs::read_to_string(house.path("state/keys/local.password")).expect("it is there").trim().to_owned();
        let cut = PowerCut::after(steps);
        let is_done = act(&house.targets(Some(cut.hook()))).is_ok();
        cut.lose_what_was_not_synced();
        let targets = house.targets(None);
        let asks_restic = u64::is_multiple_of(number, RESTIC_EVERY);
        let stopped = Stopped { house, targets, steps, asks_restic, first, is_done };
        assert!(stopped.opens(&stopped.own()), "after step {steps} the daemon is locked out");
        judge(&stopped);
        if !cut.happened() {
            stopped.house.restic().check();
            assert!(is_done, "nothing failed, but the change did");
            println!("{name}: held after {number} stops in at most {steps} steps");
            return;
        }
    }
    panic!("a change of keys takes more than {STEPS_MAX} steps");
}

#[test]
fn a_change_of_the_password_that_stops_leaves_the_old_or_the_new_one_and_can_be_made_again() {
    let judge = |stopped: &Stopped| {
        let Stopped { targets, steps, first, .. } = stopped;
        assert!(!stopped.is_done || !stopped.opens(first), "after step {steps} the old password is back");
        match targets.change_key("local", Some(NEW)) {
            Ok(changed) => assert!(changed.removed.is_some(), "{changed:?}"),
            Err(refused) => {
                assert!(refused.message.contains("is the password already"), "{}", refused.message);
                let others: Vec<_> = targets.keys("local").expect("they are listed");
                let others: Vec<_> = others.iter().filter(|key| !key.is_current).collect();
                let advice = &refused.data.advice;
                assert_eq!(advice.contains("key remove ID --target local"), !others.is_empty(), "{advice}");
                // As it says.
                for key in others {
                    targets.remove_key("local", &key.id).expect("it is not the one in use");
                }
            }
        }
        assert_eq!((stopped.own().as_str(), stopped.keys()), (NEW, 1), "after step {steps}");
        assert!(stopped.opens(NEW) && !stopped.opens(first), "after step {steps}");
    };
    let change = |targets: &Targets| targets.change_key("local", Some(NEW)).map(drop);
    after_steps("a_change_of_the_password_that_stops", |_| {}, change, judge);
}

#[test]
fn a_change_to_a_generated_password_that_stops_says_which_keys_it_has_left() {
    let judge = |stopped: &Stopped| {
        let changed = stopped.targets.change_key("local", None).expect("it is made again");
        let left = stopped.keys() - 1;
        assert_eq!(changed.notice.contains("key list"), left > 0, "after step {}: {}", stopped.steps, changed.notice);
        assert!(left <= 1 && (left == 1 || !stopped.opens(&stopped.first)), "after step {}", stopped.steps);
        assert!(stopped.opens(&stopped.own()));
    };
    let change = |targets: &Targets| targets.change_key("local", None).map(drop);
    after_steps("a_change_to_a_generated_password_that_stops", |_| {}, change, judge);
}

#[test]
fn a_password_whose_adding_stops_opens_or_does_not_and_has_one_key_in_the_end() {
    let judge = |stopped: &Stopped| {
        assert!(!stopped.is_done || stopped.opens(NEW), "after step {} what was added is gone", stopped.steps);
        stopped.targets.add_key("local", NEW).expect("it is added");
        assert_eq!(stopped.keys(), 2, "after step {}", stopped.steps);
        assert!(stopped.opens(NEW) && stopped.own() == stopped.first);
    };
    let add = |targets: &Targets| targets.add_key("local", NEW).map(drop);
    after_steps("a_password_whose_adding_stops", |_| {}, add, judge);
}

#[test]
fn a_password_whose_removal_was_acknowledged_never_opens_again() {
    let prepare = |targets: &Targets| drop(targets.add_key("local", NEW).expect("it is added"));
    let act = |targets: &Targets| {
        let keys = targets.keys("local").expect("they are listed");
        let other = keys.iter().find(|key| !key.is_current).expect("it was added");
        targets.remove_key("local", &other.id).map(drop)
    };
    let judge = |stopped: &Stopped| {
        let Stopped { targets, steps, .. } = stopped;
        let left: Vec<_> = targets.keys("local").expect("they are listed");
        let left: Vec<_> = left.into_iter().filter(|key| !key.is_current).collect();
        assert_eq!(stopped.opens(NEW), !left.is_empty(), "after step {steps}");
        assert!(!stopped.is_done || left.is_empty(), "after step {steps} the password that was removed is back");
        for key in &left {
            targets.remove_key("local", &key.id).expect("a second call ends it");
            let again = targets.remove_key("local", &key.id).expect_err("it is gone");
            assert_eq!(again.data.kind, ErrorKind::KeyNotFound);
        }
        assert!(!stopped.opens(NEW) && stopped.keys() == 1, "after step {steps}");
    };
    after_steps("a_password_whose_removal_was_acknowledged", prepare, act, judge);
}
