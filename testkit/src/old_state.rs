//! A state that an older version left, and a program that is killed while it upgrades it.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use crate::daemon::Daemon;
use crate::{must, programs};

/// The stored example of a state of version 1, and the jobs in it.
const VERSION_1: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../daemon/tests/state/version-1");
const JOBS: [&str; 7] = ["2pwq7d00", "2pwq7e00", "2pwq7f00", "2pwq7f01", "2pwq7g00", "2pwq7g01", "2pwq7h00"];

/// Where a start is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Moment {
    /// Nothing of the upgrade is there.
    Before,
    /// The copy is being made and migrated.
    Copying,
    /// Old and new change places.
    Exchanging,
    /// The new state is there.
    After,
}

/// Gives a daemon that never ran the state of an older one.
pub fn give(daemon: &Daemon) {
    copy(Path::new(VERSION_1), &daemon.state());
}

/// Starts the program and kills it after so many looks at its state, or when it has come to a moment; returns where it
/// was then.
///
/// # Panics
/// When it cannot be started.
pub fn start_and_kill(daemon: &Daemon, looks: u64, until: Moment) -> Moment {
    let mut command = daemon.command(&programs::backupd());
    let mut child = must("start", "backupd", command.stdin(Stdio::null()).stderr(Stdio::null()).spawn());
    let found = (0..looks).map(|_| moment(&daemon.state())).find(|found| *found >= until);
    must("kill", "backupd", child.kill());
    must("wait for", "backupd", child.wait());
    found.unwrap_or_else(|| moment(&daemon.state()))
}

/// Checks that a daemon that runs knows all jobs of the old state, and that nothing of the upgrade lies about.
///
/// # Panics
/// When it does not.
#[track_caller]
pub fn assert_upgraded(daemon: &Daemon) {
    let text = daemon.ctl(["jobs", "--all"]).expect(0).text();
    for job in JOBS {
        assert!(text.contains(job), "job {job} is lost:\n{text}\n{}", daemon.log());
    }
    let left = ["queue.upgrade", "version"].map(|name| daemon.state().join(name).exists());
    assert_eq!(left, [false, true], "{}", daemon.log());
}

fn moment(state: &Path) -> Moment {
    match (state.join("version").exists(), state.join("queue").exists(), state.join("queue.upgrade").exists()) {
        (true, ..) => Moment::After,
        (false, true, false) if !state.join("queue.version-1").exists() => Moment::Before,
        (false, true, true) => Moment::Copying,
        (false, ..) => Moment::Exchanging,
    }
}

fn copy(from: &Path, to: &Path) {
    must("create", to, fs::create_dir_all(to));
    for entry in must("list", from, fs::read_dir(from)) {
        let from = must("list", from, entry).path();
        let to = to.join(from.file_name().unwrap_or_default());
        match from.is_dir() {
            true => copy(&from, &to),
            false => drop(must("copy", &from, fs::copy(&from, to))),
        }
    }
}
