//! S1.16: `before` and `after` of a plan, with the real programs: in order, told what they need, and `after` whatever
//! happens.

use std::fs;

use backup_testkit::daemon::{Daemon, Options};
use backup_testkit::wait;
use serde_json::Value;

/// Writes a line when it begins, and ends when the test lets it.
const SLOW_BEFORE: &str = "echo before >> ~/said; until [ -e ~/go ]; do sleep 0.05; done; echo begun >> ~/said";

const AFTER: &str = "echo $BACKUPD_EVENT $BACKUPD_PLAN $BACKUPD_OUTCOME >> ~/said";

fn start(before: &str, more: &str) -> Daemon {
    let config = format!(
        "[plan.docs]\nsources = [\"~/source\"]\n\
         before = {{ shell = '{before}'{more} }}\nafter = {{ shell = '{AFTER}' }}\n"
    );
    let daemon = Daemon::start_with(Options { config: Some(config), ..Options::default() });
    fs::create_dir(daemon.home().join("source")).expect("it is made");
    fs::write(daemon.home().join("source/file"), "contents").expect("it is written");
    daemon
}

fn log(daemon: &Daemon) -> Vec<String> {
    let text = fs::read_to_string(daemon.home().join("said")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

fn let_go(daemon: &Daemon) {
    fs::write(daemon.home().join("go"), "").expect("it is written");
}

/// Queues a backup and waits until its `before` runs.
fn begin(daemon: &Daemon) -> String {
    let answer = daemon.ctl(["backup", "docs", "--detach", "--json"]).expect(0).json();
    wait::until("`before` runs", || (!log(daemon).is_empty()).then_some(()));
    answer[0]["job"].as_str().expect("it has an id").to_owned()
}

fn job(daemon: &Daemon, id: &str) -> Value {
    daemon.ctl(["job", id, "--json"]).expect(0).json().remove(0)
}

fn ended(daemon: &Daemon, id: &str) -> Value {
    wait::until("the job ends", || {
        let job = job(daemon, id);
        ["succeeded", "partial", "failed", "cancelled"].contains(&job["state"].as_str()?).then_some(job)
    })
}

#[test]
fn what_before_writes_is_saved_and_after_is_told_of_the_snapshot() {
    let daemon = start("echo \"$BACKUPD_JOB $BACKUPD_TARGET\" > ~/source/dump; echo dumped", "");
    let summary = daemon.ctl(["backup", "docs", "--json"]).expect(0).json().pop().expect("the summary is last");
    let id = summary["job"].as_str().expect("it has an id");
    let dump = format!("latest:{}", daemon.home().join("source/dump").display());
    assert_eq!(daemon.ctl(["cat", &dump]).expect(0).text(), format!("{id} local\n"));
    assert_eq!(log(&daemon), ["after docs succeeded"]);
    let notices = job(&daemon, id)["notices"].to_string();
    assert!(notices.contains("It printed: dumped"), "{notices}");
    daemon.restic().check();
}

#[test]
fn a_failed_before_stops_the_backup_unless_the_plan_says_otherwise() {
    let daemon = start("echo no server >&2; exit 4", "");
    let said = daemon.ctl(["backup", "docs"]).expect(1);
    let said = said.text() + &said.complaint();
    assert!(said.contains("failed (exit status: 4)") && said.contains("no server"), "{said}");
    assert_eq!(log(&daemon), ["after docs failed"]);
    let daemon = start("exit 4", ", on-failure = \"warn\"");
    daemon.ctl(["backup", "docs"]).expect(0);
    assert_eq!(log(&daemon), ["after docs succeeded"]);
    assert_eq!(daemon.restic().snapshots().len(), 1);
}

#[test]
fn a_daemon_that_is_killed_in_between_runs_after_before_anything_else() {
    let mut daemon = start(SLOW_BEFORE, "");
    let id = begin(&daemon);
    daemon.kill();
    daemon.launch();
    wait::until("the next attempt begins", || (log(&daemon).len() >= 3).then_some(()));
    assert_eq!(log(&daemon), ["before", "after docs interrupted", "before"]);
    let_go(&daemon);
    assert_eq!(ended(&daemon, &id)["state"], "succeeded");
    // The shell of the killed daemon lives on and may say that it has begun at any time.
    let seen: Vec<String> = log(&daemon).into_iter().filter(|line| line != "begun").collect();
    assert_eq!(seen[3..], ["after docs succeeded"], "{seen:?}");
    assert_eq!(fs::read_dir(daemon.state().join("commands")).expect("it is there").count(), 0);
}

#[test]
fn a_cancel_stops_before_and_runs_after() {
    let daemon = start(SLOW_BEFORE, "");
    let id = begin(&daemon);
    daemon.ctl(["cancel", &id]).expect(0);
    assert_eq!(ended(&daemon, &id)["state"], "cancelled");
    assert_eq!(log(&daemon), ["before", "after docs cancelled"]);
}

#[test]
fn a_stop_ends_before_and_the_next_start_begins_it_again() {
    let mut daemon = start(SLOW_BEFORE, "");
    let id = begin(&daemon);
    assert!(daemon.stop().success());
    assert_eq!(log(&daemon), ["before", "after docs suspended"]);
    let_go(&daemon);
    daemon.launch();
    assert_eq!(ended(&daemon, &id)["state"], "succeeded");
    let whole = ["before", "after docs suspended", "before", "begun", "after docs succeeded"];
    assert_eq!(log(&daemon), whole);
}

#[test]
fn a_pause_lets_before_end_and_holds_what_comes_next() {
    let daemon = start(SLOW_BEFORE, "");
    let id = begin(&daemon);
    daemon.ctl(["pause", &id]).expect(0);
    let_go(&daemon);
    wait::until("`before` has ended", || (log(&daemon).len() >= 2).then_some(()));
    assert_eq!(log(&daemon), ["before", "begun"]);
    assert_eq!(job(&daemon, &id)["state"], "paused");
    daemon.ctl(["resume", &id]).expect(0);
    assert_eq!(ended(&daemon, &id)["state"], "succeeded");
    assert_eq!(log(&daemon).last().expect("there is one"), "after docs succeeded");
}
