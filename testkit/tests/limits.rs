//! Limits of speed, with the real programs: what passes is counted by the daemon and by the operating system.

use std::fs;
use std::path::{Path, PathBuf};

use backup_testkit::daemon::{Daemon, Options};
use backup_testkit::seed::Seed;
use backup_testkit::wait;
use serde_json::Value;

const MIB: u64 = 1024 * 1024;

/// More than any job here moves at 1 KiB/s while a test looks a few times.
const LITTLE: u64 = MIB;

/// Makes a file that neither compression nor deduplication makes smaller.
fn plant(daemon: &Daemon, mib: u64) -> PathBuf {
    let source = daemon.home().join("source");
    let mut random = Seed::of_test("testkit", "limits").random();
    let bytes = random.bytes(usize::try_from(mib * MIB).expect("it fits"));
    fs::write(&source, bytes).expect("it is written");
    source
}

fn limit(daemon: &Daemon, arguments: &[&str]) -> Value {
    let all: Vec<&str> = ["limit", "--json"].into_iter().chain(arguments.iter().copied()).collect();
    daemon.ctl(&all).expect(0).json().remove(0)
}

fn moved(daemon: &Daemon, way: &str) -> u64 {
    limit(daemon, &[])[way].as_u64().expect("it is counted")
}

fn begin_backup(daemon: &Daemon, source: &Path) -> String {
    daemon.ctl(["backup".as_ref(), source.as_os_str(), "--detach".as_ref()]).expect(0).text().trim().to_owned()
}

fn job(daemon: &Daemon, id: &str) -> Value {
    daemon.ctl(["job", id, "--json"]).expect(0).json().remove(0)
}

fn ended(daemon: &Daemon, id: &str) -> Value {
    wait::until("the job to end", || Some(job(daemon, id)).filter(|job| job["summary"].is_object()))
}

/// Looks some times: what has passed stays little, and the job goes on.
fn crawls(daemon: &Daemon, id: &str, way: &str, before: u64) {
    for _ in 0..10 {
        assert!(moved(daemon, way) - before < LITTLE, "{} bytes passed", moved(daemon, way) - before);
        assert_eq!(job(daemon, id)["state"], "running");
    }
}

#[test]
fn a_limited_backup_is_whole_and_a_limit_that_is_lifted_or_set_counts_for_what_runs() {
    let daemon = Daemon::start();
    let source = plant(&daemon, 8);
    limit(&daemon, &["1KiB/s", "--upload"]);
    let id = begin_backup(&daemon, &source);
    wait::until("something to pass", || Some(()).filter(|()| moved(&daemon, "uploaded") > 16 * 1024));
    crawls(&daemon, &id, "uploaded", 0);
    let status = daemon.ctl(["status"]).expect(0).text();
    assert!(status.contains("Upload of everything together: at most 1.0 KiB/s (set by hand)"), "{status}");
    limit(&daemon, &["off"]);
    let end = ended(&daemon, &id);
    assert_eq!((&end["state"], &end["summary"]["bytes"]), (&"succeeded".into(), &(8 * MIB).into()));
    assert!(moved(&daemon, "uploaded") >= 8 * MIB);
    // A restore at a limit of its own, which is lifted on the way; nothing else is held back.
    let destination = daemon.home().join("restored");
    limit(&daemon, &["1KiB/s", "--download", "--target", "local"]);
    let before = moved(&daemon, "downloaded");
    let arguments = ["restore", "latest", "--to", destination.to_str().expect("it is text"), "--detach"];
    let id = daemon.ctl(arguments).expect(0).text().trim().to_owned();
    wait::until("something to pass", || Some(()).filter(|()| moved(&daemon, "downloaded") > before));
    crawls(&daemon, &id, "downloaded", before);
    limit(&daemon, &["8MiB/s", "--target", "local"]);
    assert_eq!(ended(&daemon, &id)["state"], "succeeded");
    let restored = destination.join(source.strip_prefix("/").expect("it is absolute"));
    assert_eq!(fs::read(restored).expect("it is there"), fs::read(&source).expect("it is there"));
    daemon.restic().check();
}

#[test]
fn an_edited_config_counts_for_what_runs() {
    let config = Some("[limits]\nupload = \"1 KiB/s\"\n".to_owned());
    let daemon = Daemon::start_with(Options { config, ..Options::default() });
    let id = begin_backup(&daemon, &plant(&daemon, 4));
    wait::until("something to pass", || Some(()).filter(|()| moved(&daemon, "uploaded") > 16 * 1024));
    crawls(&daemon, &id, "uploaded", 0);
    fs::write(daemon.config(), "[limits]\nupload = \"64 MiB/s\"\n").expect("it is written");
    assert_eq!(ended(&daemon, &id)["state"], "succeeded");
    let in_force = limit(&daemon, &[]);
    assert_eq!(in_force["limits"][0]["bytes_per_second"], 64 * MIB);
    assert_eq!(in_force["limits"][0]["source"], "config");
}

#[test]
fn a_limit_by_hand_is_there_after_a_kill_and_ends_when_it_was_to_end() {
    let mut daemon = Daemon::start();
    let set = limit(&daemon, &["5MiB/s", "--for", "1h", "--upload"]);
    assert_eq!(set["limits"].as_array().map(Vec::len), Some(1), "{set}");
    daemon.kill();
    daemon.launch();
    let after = limit(&daemon, &[]);
    assert_eq!(after["limits"], set["limits"]);
    assert!(after["limits"][0]["until"].is_string(), "{after}");
    assert_eq!(limit(&daemon, &["reset"])["limits"], serde_json::json!([]));
    for (arguments, code) in [(["limit", "100B/s"], 2), (["limit", "5"], 2), (["limit", "fast"], 2)] {
        daemon.ctl(arguments).expect(code);
    }
    daemon.ctl(["limit", "off", "--target", "nowhere"]).expect(1);
}

/// What the operating system counts that the daemon has read.
#[cfg(target_os = "linux")]
fn bytes_read(daemon: &Daemon) -> u64 {
    let text = fs::read_to_string(format!("/proc/{}/io", daemon.pid())).expect("the daemon is ours");
    let count = text.lines().find_map(|line| line.strip_prefix("rchar: ")).expect("the system counts");
    count.parse().expect("it is a number")
}

#[cfg(target_os = "linux")]
#[test]
fn who_waits_for_the_limiter_is_paused_at_once_and_cancelled_too() {
    let daemon = Daemon::start();
    let source = plant(&daemon, 256);
    limit(&daemon, &["1KiB/s"]);
    let id = begin_backup(&daemon, &source);
    // Reading stands still when every buffer waits for the limiter.
    let mut last = 0;
    wait::until("the backup to wait for the limiter", || {
        let now = job(&daemon, &id)["progress"]["bytes"].as_u64().unwrap_or(0);
        Some(()).filter(|()| moved(&daemon, "uploaded") > 16 * 1024 && std::mem::replace(&mut last, now) == now)
    });
    assert_eq!(daemon.ctl(["pause", &id, "--json"]).expect(0).json()[0]["state"], "paused");
    let (read, sent) = (bytes_read(&daemon), moved(&daemon, "uploaded"));
    for _ in 0..20 {
        assert_eq!(job(&daemon, &id)["state"], "paused");
    }
    let threads = std::thread::available_parallelism().map_or(2, |count| count.get() as u64);
    let still_read = bytes_read(&daemon) - read;
    assert!(still_read <= threads * 256 * 1024 + 128 * 1024, "{still_read} bytes were read after the pause");
    assert!(moved(&daemon, "uploaded") - sent <= 16 * 1024, "one step at most was on its way");
    daemon.ctl(["resume", &id]).expect(0);
    // What is in memory then is 16 MiB at most, for which 1 KiB/s would take hours.
    daemon.ctl(["cancel", &id]).expect(0);
    assert_eq!(ended(&daemon, &id)["state"], "cancelled");
    limit(&daemon, &["off"]);
    assert_eq!(ended(&daemon, &begin_backup(&daemon, &source))["state"], "succeeded");
    daemon.restic().check();
}
