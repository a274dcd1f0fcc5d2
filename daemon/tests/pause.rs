//! A pause that was acknowledged holds: what a running backup still reads is counted by the operating system.
#![cfg(target_os = "linux")]

use std::fs::{self, File};

use backup_testkit::daemon::Daemon;
use backup_testkit::wait;
use serde_json::Value;

/// Bytes that a thread may still read once a pause was acknowledged.
const READ_STEP: u64 = 256 * 1024;

/// Bytes that the daemon reads for other reasons while it answers a few calls.
const BESIDES: u64 = 64 * 1024;

/// A source that takes seconds to read and no space on the disk.
const SOURCE_LENGTH: u64 = 3 << 30;

/// Returns how many bytes the daemon has read since it started.
fn bytes_read(daemon: &Daemon) -> u64 {
    let text = fs::read_to_string(format!("/proc/{}/io", daemon.pid())).expect("the daemon is ours");
    let count = text.lines().find_map(|line| line.strip_prefix("rchar: ")).expect("the system counts");
    count.parse().expect("it is a number")
}

fn the_job(daemon: &Daemon) -> Value {
    daemon.ctl(["status", "--json"]).expect(0).json()[0]["jobs"][0].clone()
}

#[test]
fn after_a_pause_each_thread_reads_one_step_at_most_and_resume_finishes_the_job() {
    let daemon = Daemon::start();
    let source = daemon.home().join("big");
    File::create(&source).and_then(|file| file.set_len(SOURCE_LENGTH)).expect("it is made");
    let id = daemon.ctl(["backup".as_ref(), source.as_os_str(), "--detach".as_ref()]).expect(0).text();
    let id = id.trim();
    // The status answers while the backup has every core.
    wait::until("the backup to read", || the_job(&daemon)["progress"]["bytes"].as_u64().filter(|bytes| *bytes > 0));
    let paused = daemon.ctl(["pause", id, "--json"]).expect(0).json();
    let at_pause = bytes_read(&daemon);
    assert_eq!(paused[0]["state"], "paused");
    let threads = std::thread::available_parallelism().map_or(2, |count| count.get() as u64);
    let allowed = threads * READ_STEP + BESIDES;
    // Long enough that a reader which was not stopped would be far ahead: each look is a process of its own.
    for _ in 0..20 {
        assert_eq!(the_job(&daemon)["state"], "paused");
        let still_read = bytes_read(&daemon) - at_pause;
        assert!(still_read <= allowed, "{still_read} bytes were read after the pause; {allowed} are allowed");
    }
    assert!(at_pause < SOURCE_LENGTH, "the backup was still reading");
    daemon.ctl(["resume", id]).expect(0);
    let end = wait::until("the backup to end", || {
        let job = daemon.ctl(["job", id, "--json"]).expect(0).json().remove(0);
        job["summary"].is_object().then_some(job)
    });
    assert_eq!((&end["state"], &end["summary"]["bytes"]), (&"succeeded".into(), &SOURCE_LENGTH.into()));
}
