//! A laptop whose power is unplugged and plugged in again: the real programs, on a folder that plays the machine.

#![cfg(target_os = "linux")]

use std::fs;
use std::path::{Path, PathBuf};

use backup_testkit::daemon::{Daemon, Options};
use backup_testkit::seed::Seed;
use backup_testkit::wait;
use serde_json::Value;

/// Sets how the machine's power is.
fn power(machine: &Path, on_battery: bool, percent: u8) {
    let (online, status) = if on_battery { ("0", "Discharging") } else { ("1", "Charging") };
    let percent = percent.to_string();
    for (path, text) in [
        ("AC/type", "Mains"),
        ("AC/online", online),
        ("BAT0/type", "Battery"),
        ("BAT0/status", status),
        ("BAT0/capacity", &percent),
    ] {
        let path = machine.join("sys/class/power_supply").join(path);
        fs::create_dir_all(path.parent().expect("it has one")).expect("it is made");
        // Whole at any moment, as in `sys`.
        let new = path.with_extension("new");
        fs::write(&new, format!("{text}\n")).expect("it is written");
        fs::rename(new, path).expect("it is renamed");
    }
}

/// A daemon on such a machine, on mains; its source is in `SOURCE`.
fn laptop(config: &str) -> (PathBuf, Daemon) {
    let mut daemon = Daemon::prepare(Options::default());
    let machine = daemon.home().join("machine");
    power(&machine, false, 80);
    let source = daemon.home().join("source");
    let bytes = Seed::of_test("testkit", "conditions").random().bytes(4 << 20);
    fs::write(&source, bytes).expect("it is written");
    let config = config.replace("SOURCE", source.to_str().expect("it is text"));
    fs::write(daemon.config(), config).expect("it is written");
    daemon.launch();
    (machine, daemon)
}

fn job(daemon: &Daemon, id: &str) -> Value {
    daemon.ctl(["job", id, "--json"]).expect(0).json().remove(0)
}

/// Waits until a job is in a state.
fn until(daemon: &Daemon, id: &str, state: &str) -> Value {
    wait::until("the job's state", || Some(job(daemon, id)).filter(|job| job["state"] == state))
}

/// Returns the job that the plan has put into the queue.
fn planned(daemon: &Daemon) -> String {
    wait::until("the plan's job", || {
        let jobs = daemon.ctl(["jobs", "--all", "--json"]).expect(0).json().remove(0);
        jobs[0]["id"].as_str().map(str::to_owned)
    })
}

fn condition<'a>(answer: &'a Value, name: &str) -> &'a Value {
    let all = answer["conditions"].as_array().expect("there are some");
    all.iter().find(|condition| condition["name"] == name).expect("it is among them")
}

/// Slow enough to be unplugged in the middle.
const SLOW: &str = "[limits]\nupload = \"1 KiB/s\"\n";

/// Due as soon as the daemon has started.
const PLAN: &str = "[plan.docs]\nsources = [\"SOURCE\"]\nschedule = \"every 12h\"\n";

#[test]
fn unplugged_in_the_middle_a_backup_pauses_with_a_reason_and_goes_on_by_itself() {
    let (machine, daemon) = laptop(&format!("{SLOW}{PLAN}"));
    let id = planned(&daemon);
    until(&daemon, &id, "running");
    power(&machine, true, 34);
    let paused = until(&daemon, &id, "paused");
    let verdict = &paused["verdict"];
    assert_eq!((&verdict["kind"], &verdict["condition"]), (&"conditions".into(), &"battery".into()));
    let why = daemon.ctl(["why", &id]).expect(0).text();
    assert!(
        why.contains("Waiting for mains power since 20") && why.contains("(battery 34 %, threshold 40 %)"),
        "{why}"
    );
    assert!(why.contains("; runs anyway by "), "{why}");
    let status = daemon.ctl(["status"]).expect(0).text();
    assert!(status.contains("(paused): Waiting for mains power since "), "{status}");
    let answer = daemon.ctl(["conditions", "--json"]).expect(0).json().remove(0);
    let battery = condition(&answer, "battery");
    assert_eq!((&battery["reading"], &battery["policy"]), (&"on battery, 34 %".into(), &"pause below 40 %".into()));
    assert_eq!((&battery["allows"], &battery["source"]), (&false.into(), &"/sys/class/power_supply".into()));
    assert_eq!(answer["verdict"]["condition"], "battery");
    assert_eq!(condition(&answer, "metered")["reading"], "unknown");
    // What is typed runs beside it.
    daemon.ctl(["limit", "off"]).expect(0);
    daemon.ctl(["backup", daemon.config().to_str().expect("it is text")]).expect(0);
    assert_eq!(job(&daemon, &id)["state"], "paused");
    power(&machine, true, 43);
    let moved = wait::until("the new charge", || {
        let sentence = job(&daemon, &id)["verdict"]["sentence"].as_str().map(str::to_owned);
        sentence.filter(|sentence| sentence.contains("43 %"))
    });
    assert_eq!(moved, "Waiting for mains power (battery 43 %, goes on at 45 %).");
    power(&machine, false, 43);
    let ended = until(&daemon, &id, "succeeded");
    assert_eq!(ended["attempts"].as_array().map(Vec::len), Some(1), "it waited at its gate");
    daemon.restic().check();
}

#[test]
fn what_waits_is_begun_when_the_power_is_back_or_somebody_says_now() {
    let (machine, mut daemon) = laptop(PLAN);
    until(&daemon, &planned(&daemon), "succeeded");
    // The next run is twelve hours away: what somebody types is held by an empty battery alone.
    power(&machine, true, 8);
    // What somebody is shown counts at once.
    let said = daemon.ctl(["conditions"]).expect(0).text();
    assert!(said.contains("Waiting for mains power (battery 8 %, threshold 10 %)."), "{said}");
    let id = daemon.ctl(["backup", "docs", "--detach"]).expect(0).text().trim().to_owned();
    let waits = until(&daemon, &id, "queued");
    assert_eq!(waits["verdict"]["condition"], "battery_critical");
    assert_eq!(waits["verdict"]["runs_by"], Value::Null);
    let why = daemon.ctl(["why", &id]).expect(0).text();
    assert!(why.contains("With `--now` it runs all the same"), "{why}");
    daemon.kill();
    daemon.launch();
    assert_eq!(until(&daemon, &id, "queued")["verdict"]["condition"], "battery_critical", "a kill changes nothing");
    daemon.ctl(["resume", &id, "--now"]).expect(0);
    until(&daemon, &id, "succeeded");
    daemon.ctl(["backup", "docs", "--now"]).expect(0);
    let id = daemon.ctl(["backup", "docs", "--detach"]).expect(0).text().trim().to_owned();
    until(&daemon, &id, "queued");
    power(&machine, false, 8);
    until(&daemon, &id, "succeeded");
}

#[test]
fn a_machine_that_tells_nothing_runs_everything_and_says_unknown() {
    let daemon = Daemon::start();
    let source = daemon.home().join("source");
    fs::write(&source, "x").expect("it is written");
    daemon.ctl(["backup", source.to_str().expect("it is text")]).expect(0);
    let answer = daemon.ctl(["conditions", "--json"]).expect(0).json().remove(0);
    let all = answer["conditions"].as_array().expect("there are some");
    assert!(all.iter().all(|condition| condition["allows"] == true), "{answer}");
    // The clock is all that there is.
    let mut read = all.iter().filter(|condition| condition["reading"] != "unknown");
    assert_eq!(read.next().expect("it tells the time")["name"], "window", "{answer}");
    assert_eq!(read.next(), None, "{answer}");
    assert_eq!(answer["verdict"], Value::Null);
    let said = daemon.ctl(["conditions"]).expect(0).text();
    assert!(said.ends_with("Jobs may run.\n"), "{said}");
}
