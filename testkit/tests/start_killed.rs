//! A daemon that is killed again and again while it starts, first while it upgrades an old state and then on what that
//! left: every job is there in the end.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use backup_testkit::daemon::{Daemon, Options};
use backup_testkit::programs;
use backup_testkit::seed::{Random, Seed, rounds};

/// The stored example of a state of version 1, and the jobs in it.
const VERSION_1: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../daemon/tests/state/version-1");
const JOBS: [&str; 7] = ["2pwq7d00", "2pwq7e00", "2pwq7f00", "2pwq7f01", "2pwq7g00", "2pwq7g01", "2pwq7h00"];

/// Looks at the state folder before a kill at most; a start takes fewer.
const LOOKS_MAX: u64 = 30_000;

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("it is made");
    for entry in fs::read_dir(from).expect("it is listed") {
        let entry = entry.expect("it is listed");
        let target = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).expect("it is copied")),
        }
    }
}

/// Where a start is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Moment {
    Before,
    Copying,
    Exchanging,
    After,
}

fn moment(state: &Path) -> Moment {
    match (state.join("version").exists(), state.join("queue").exists(), state.join("queue.upgrade").exists()) {
        (true, ..) => Moment::After,
        (false, true, false) if !state.join("queue.version-1").exists() => Moment::Before,
        (false, true, true) => Moment::Copying,
        (false, ..) => Moment::Exchanging,
    }
}

/// Starts the program and kills it after so many looks at its state, or when it has come to a moment; returns where it
/// was then.
fn start_and_kill(daemon: &Daemon, looks: u64, until: Moment) -> Moment {
    let mut command = daemon.command(&programs::backupd());
    let mut child = command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
    let found = (0..looks).map(|_| moment(&daemon.state())).find(|found| *found >= until);
    child.kill().expect("it is ours");
    child.wait().expect("it is ours");
    found.unwrap_or_else(|| moment(&daemon.state()))
}

fn has_all_jobs(daemon: &Daemon) {
    let text = daemon.ctl(["jobs", "--all"]).expect(0).text();
    for job in JOBS {
        assert!(text.contains(job), "job {job} is lost:\n{text}\n{}", daemon.log());
    }
}

fn one_round(random: &mut Random) -> Vec<Moment> {
    let mut daemon = Daemon::prepare(Options::default());
    copy(Path::new(VERSION_1), &daemon.state());
    let until = [Moment::Copying, Moment::Exchanging, Moment::After, Moment::After];
    let kills: Vec<Moment> = (0..4)
        .map(|_| {
            let until = until[usize::try_from(random.below(4)).expect("small")];
            let looks = random.below(LOOKS_MAX);
            start_and_kill(&daemon, looks, until)
        })
        .collect();
    daemon.launch();
    has_all_jobs(&daemon);
    let left: Vec<bool> = ["queue.upgrade", "version"].iter().map(|name| daemon.state().join(name).exists()).collect();
    assert_eq!(left, [false, true], "{kills:?}");
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
