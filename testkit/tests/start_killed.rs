//! A daemon that is killed again and again while it starts, first while it upgrades an old state and then on what that
//! left: every job is there in the end.

use backup_testkit::daemon::{Daemon, Options};
use backup_testkit::old_state::{Moment, assert_upgraded, give, start_and_kill};
use backup_testkit::seed::{Random, Seed, rounds};

/// Looks at the state folder before a kill at most; a start takes fewer.
const LOOKS_MAX: u64 = 30_000;

fn one_round(random: &mut Random) -> Vec<Moment> {
    let mut daemon = Daemon::prepare(Options::default());
    give(&daemon);
    let until = [Moment::Copying, Moment::Exchanging, Moment::After, Moment::After];
    let kills: Vec<Moment> = (0..4)
        .map(|_| {
            let until = until[usize::try_from(random.below(4)).expect("small")];
            let looks = random.below(LOOKS_MAX);
            start_and_kill(&daemon, looks, until)
        })
        .collect();
    daemon.launch();
    assert_upgraded(&daemon);
    daemon.stop();
    kills
}

#[test]
fn killed_while_it_upgrades_and_starts_every_job_is_there_in_the_end() {
    let mut random = Seed::of_test("backup-testkit", "killed_while_it_upgrades_and_starts").random();
    let kills: Vec<Moment> = (0..rounds(8, 75)).flat_map(|_| one_round(&mut random)).collect();
    let count = |wanted: Moment| kills.iter().filter(|moment| **moment == wanted).count();
    println!(
        "start killed: {} kills held: {} before the upgrade, {} in it, {} while exchanging, {} after",
        kills.len(),
        count(Moment::Before),
        count(Moment::Copying),
        count(Moment::Exchanging),
        count(Moment::After)
    );
    assert!(count(Moment::Before) + count(Moment::Copying) + count(Moment::Exchanging) > 0, "all kills were late");
}
