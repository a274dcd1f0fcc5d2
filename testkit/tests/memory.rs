//! What jobs have taken of the machine's memory is given back when they have ended.
#![cfg(all(target_os = "linux", target_env = "gnu"))]

use std::fs;

use backup_testkit::daemon::Daemon;
use backup_testkit::seed::Seed;
use backup_testkit::tree::Tree;
use backup_testkit::wait;

/// What an idle daemon may have more after jobs than before them: books it keeps, not what jobs worked with.
const KEPT_MAX: u64 = 12 * 1024 * 1024;

/// Returns how many bytes of memory a process has.
fn resident(daemon: &Daemon) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("the kernel says so");
    line.trim().trim_end_matches("kB").trim().parse::<u64>().expect("it is a number") * 1024
}

#[test]
fn an_idle_daemon_has_given_back_what_its_jobs_took() {
    let daemon = Daemon::start();
    let mut tree = Tree::new(daemon.home().join("source"), Seed(75));
    for number in 0..200 {
        tree.random_file(format!("small {number}"), 40_000);
    }
    for number in 0..3 {
        tree.random_file(format!("large {number}"), 30_000_000);
    }
    let source = tree.root().to_str().expect("it is text");
    // What it has and keeps with the first job belongs to it: the target's key, threads, books.
    daemon.ctl(["backup", tree.path("small 0").to_str().expect("it is text")]).expect(0);
    let before = resident(&daemon);
    daemon.ctl(["backup", source]).expect(0);
    daemon.ctl(["verify", "--read-data"]).expect(0);
    let to = daemon.home().join("restored");
    daemon.ctl(["restore", "latest", "--to", to.to_str().expect("it is text")]).expect(0);
    let after = wait::until("memory is given back", || Some(resident(&daemon)).filter(|now| *now <= before + KEPT_MAX));
    eprintln!("memory: {before} bytes after a small backup, {after} after three large jobs: held");
}
