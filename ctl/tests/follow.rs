//! `backup` and `restore` follow their jobs: what is printed first and last, and the exit code for each ending.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use common::{Daemon, Ended, House, Reply, example};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

/// Answers as a daemon whose job `j1` ends at once in a state, with some of its failed items in the summary.
fn ending(state: &'static str, failed_count: usize) -> House {
    House::new(move |daemon, method, params| {
        Reply::Result(match method {
            "job.get" => detail(state, failed_count),
            "job.failures" => failures(failed_count, params),
            "job.submit" => {
                daemon.send(2, &json!({"type": "state", "job": "other", "kind": "backup", "state": "failed"}));
                daemon.send(3, &json!({"type": "progress", "job": "j1", "files": 1, "bytes": 10, "bytes_total": 40}));
                daemon.send(4, &json!({"type": "notice", "job": "j1", "sentence": "The disk is small"}));
                let summary = detail(state, failed_count)["summary"].clone();
                let end = json!({"type": "state", "job": "j1", "kind": "backup", "state": state, "summary": summary});
                daemon.send(5, &end);
                json!({"jobs": ["j1"]})
            }
            _ => common_answer(daemon, method),
        })
    })
}

fn common_answer(_: &Daemon, method: &str) -> Value {
    match method {
        "events.subscribe" => json!({"cursor": 1, "gap": false}),
        _ => example(method),
    }
}

fn detail(state: &str, failed_count: usize) -> Value {
    json!({
        "id": "j1", "kind": "backup", "state": state, "title": "/d to local", "target": "local",
        "submitted": "2026-01-02T03:04:05Z", "spec": {"kind": "backup", "sources": ["/d"]},
        "notices": ["The disk is small", "The daemon's own state was left out."],
        "summary": {
            "job": "j1", "state": state, "snapshot": "5e1d0b7c5e1d0b7c", "files": 3, "bytes": 40, "bytes_stored": 10,
            "failed_count": failed_count, "failed": [], "failed_more": failed_count > 0
        }
    })
}

fn failures(failed_count: usize, params: &Value) -> Value {
    let start: usize = params["page"]["after"].as_str().map_or(0, |after| after.parse().unwrap());
    let end = (start + 60).min(failed_count);
    let item = |number| {
        json!({"path": format!("/d/{number}"), "class": "permission",
               "message": format!("cannot read /d/{number}: permission denied"), "advice": "Give access."})
    };
    let items: Vec<Value> = (start..end).map(item).collect();
    json!({"items": items, "next": if end < failed_count { json!(end.to_string()) } else { Value::Null }})
}

#[test]
fn each_ending_has_its_exit_code() {
    for (state, code) in [("succeeded", 0), ("partial", 3), ("failed", 1), ("cancelled", 6)] {
        let ended = ending(state, 0).run(&["backup", "/d"]);
        assert_eq!(ended.code, code, "{state}: {}{}", ended.out, ended.err);
    }
}

#[test]
fn a_person_reads_the_id_first_and_at_the_end_what_is_safe_what_is_missing_and_what_next() {
    let ended = ending("partial", 2).run(&["backup", "/d"]);
    assert_eq!(
        ended.out.lines().collect::<Vec<_>>(),
        [
            "Job j1 (backup) is in the queue; Ctrl-C leaves it running.",
            "25 %, 10 B of 40 B, 1 file",
            "Note: The disk is small.",
            "Backup j1 is partial: done, except for 2 items.",
            "Safe in local: 3 files, 40 B in snapshot 5e1d0b7c; 10 B of it new.",
            "Not in this snapshot, or not whole:",
            "  cannot read /d/0: permission denied",
            "  cannot read /d/1: permission denied",
            "    Give access.",
            "Note: The daemon's own state was left out.",
            "Next, whichever fits:",
            "  1. Mend the cause, then `backupctl retry j1`: it looks at these items only.",
            "  2. Leave them out for good: add them to the plan's `exclude`, or back up with `--exclude`.",
            "  3. See what earlier snapshots have of them: `backupctl find '0'`.",
        ]
    );
}

#[test]
fn a_program_reads_the_id_first_events_of_its_job_alone_and_the_summary_last() {
    let ended = ending("partial", 2).run(&["backup", "/d", "--json"]);
    let lines = ended.json_lines();
    let types: Vec<&str> = lines.iter().map(|line| line["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["state", "progress", "notice", "state", "summary"]);
    assert!(lines.iter().all(|line| line["job"] == "j1"));
    let mut summary = lines[4].clone();
    assert_eq!(summary["failed"].as_array().unwrap().len(), 2);
    summary["failed"] = Value::Null;
    assert_eq!(
        summary,
        json!({"type": "summary", "job": "j1", "state": "partial", "snapshot": "5e1d0b7c5e1d0b7c", "files": 3,
               "bytes": 40, "bytes_stored": 10, "failed_count": 2, "failed": null, "failed_more": false})
    );
    assert_eq!(ended.code, 3);
}

#[test]
fn a_summary_lists_the_first_hundred_items_and_says_that_there_are_more() {
    let ended = ending("partial", 150).run(&["backup", "/d", "--json"]);
    let summary = ended.json_lines().pop().unwrap();
    assert_eq!(summary["failed"].as_array().unwrap().len(), 100);
    assert_eq!((&summary["failed_count"], &summary["failed_more"]), (&json!(150), &json!(true)));
}

#[test]
fn detached_it_prints_the_id_alone() {
    let house = House::new(|daemon, method, _| {
        Reply::Result(if method == "job.submit" {
            json!({"jobs": ["j1", "j2"]})
        } else {
            common_answer(daemon, method)
        })
    });
    let ended = house.run(&["backup", "/d", "--detach"]);
    assert_eq!((ended.code, ended.out.as_str()), (0, "j1\nj2\n"));
    assert!(house.daemon.asked("events.subscribe").is_empty());
}

#[test]
fn ctrl_c_leaves_the_job_running_and_says_how_to_find_it() {
    let house = House::new(|daemon, method, _| {
        Reply::Result(if method == "job.submit" { json!({"jobs": ["j1"]}) } else { common_answer(daemon, method) })
    });
    let mut command = house.command(&["backup", "/d"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut first).unwrap();
    assert!(first.starts_with("Job j1"), "{first}");
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let ended = Ended::of(child.wait_with_output().unwrap());
    assert_eq!(ended.code, 130);
    assert!(ended.err.contains("`backupctl job j1`"), "{}", ended.err);
    assert!(house.daemon.asked("job.cancel").is_empty());
}

#[test]
fn a_daemon_that_goes_away_and_comes_back_is_followed_to_the_end() {
    let house = House::new(|daemon, method, params| {
        Reply::Result(match (method, &params["since"]) {
            ("events.subscribe", Value::Null) => common_answer(daemon, method),
            ("events.subscribe", since) => {
                assert_eq!(since, &json!(1));
                json!({"cursor": 9, "gap": true, "state": example("daemon.status")})
            }
            ("job.submit", _) => {
                daemon.drop_watcher();
                json!({"jobs": ["j1"]})
            }
            ("job.get", _) => detail("succeeded", 0),
            _ => common_answer(daemon, method),
        })
    });
    let ended = house.run(&["backup", "/d"]);
    assert_eq!(ended.code, 0, "{}{}", ended.out, ended.err);
    assert!(ended.out.contains("The daemon went away; the job is safe.") && ended.out.contains("The daemon is back."));
}

#[test]
fn arguments_reach_the_daemon_as_they_were_meant() {
    let house = ending("succeeded", 0);
    let here = house.folder.path().canonicalize().unwrap();
    std::fs::write(here.join("patterns"), b"*.o\n\n# note\ncaf\xe9*.\n").unwrap();
    let arguments =
        ["backup", "documents", "--exclude", "*.tmp", "--exclude-file", "patterns", "--now", "--priority", "low"];
    house.run(&arguments);
    house.run(&["backup", "patterns", "../x"]);
    house.run(&["backup"]);
    let specs = house.daemon.asked("job.submit");
    assert_eq!(specs[0]["spec"]["plan"], "documents");
    assert_eq!(specs[0]["spec"]["exclude"], json!(["*.tmp", "*.o", {"bytes": "Y2Fm6Sou"}]));
    assert_eq!((&specs[0]["now"], &specs[0]["priority"]), (&json!(true), &json!("low")));
    let parent = here.parent().unwrap();
    assert_eq!(specs[1]["spec"]["sources"], json!([here.join("patterns"), parent.join("x")]));
    assert_eq!(specs[2]["spec"]["plan"], "documents", "without arguments every plan is saved");
    assert_eq!(house.run(&["backup", "nosuch"]).code, 2);
}

#[test]
fn a_dry_run_of_a_backup_is_asked_for_as_such_and_never_of_a_daemon_that_would_make_a_backup() {
    let house = ending("succeeded", 0);
    house.run(&["backup", "/d", "-n"]);
    assert_eq!(house.daemon.asked("job.submit")[0]["spec"]["dry_run"], true);
    let old = House::with(Vec::new(), |daemon, method, _| Reply::Result(common_answer(daemon, method)));
    let ended = old.run(&["backup", "/d", "--dry-run"]);
    assert!(ended.code == 2 && ended.err.contains("too old for a dry run"), "{ended:?}");
    assert_eq!(old.daemon.asked("job.submit"), Vec::<Value>::new());
}

#[test]
fn a_dry_run_shows_what_would_be_done() {
    let house = House::new(|daemon, method, _| {
        let mut restored = detail("succeeded", 0);
        restored["kind"] = "restore".into();
        restored["spec"] = json!({"kind": "restore", "items": [], "destination": "in_place", "dry_run": true});
        Reply::Result(match method {
            "job.get" => restored,
            "job.submit" => {
                daemon.send(4, &json!({"type": "state", "job": "j1", "kind": "restore", "state": "succeeded"}));
                json!({"jobs": ["j1"]})
            }
            _ => common_answer(daemon, method),
        })
    });
    let ended = house.run(&["restore", "latest:/d", "--in-place", "--dry-run"]);
    assert!(ended.out.contains("would replace  /tmp/back/a  12 B"), "{}", ended.out);
    let spec = &house.daemon.asked("job.submit")[0]["spec"];
    assert_eq!((&spec["destination"], &spec["items"][0]["inside"]), (&json!("in_place"), &json!("/d")));
}
