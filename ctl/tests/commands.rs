//! Each command makes the right call and shows its result, as text and as JSON, with the promised exit code.

mod common;

use common::{Ended, House, Reply, backupctl, error, example};
use serde_json::{Value, json};

#[test]
fn without_a_daemon_it_says_how_to_start_one_and_exits_4() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("none.sock");
    let ended = Ended::of(backupctl(&["status"]).env("BACKUPD_SOCKET", &socket).output().unwrap());
    assert_eq!(ended.code, 4);
    assert!(ended.err.contains("none.sock") && ended.err.contains("Start the daemon with `backupd`"), "{}", ended.err);
    let ended = Ended::of(backupctl(&["--json", "jobs"]).env("BACKUPD_SOCKET", &socket).output().unwrap());
    assert_eq!((ended.code, ended.json_lines()[0]["error"]["data"]["retryable"].clone()), (4, json!(true)));
}

#[test]
fn a_stale_socket_is_no_daemon() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("stale.sock");
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    let ended = Ended::of(backupctl(&["jobs"]).env("BACKUPD_SOCKET", &socket).output().unwrap());
    assert_eq!(ended.code, 4);
}

#[test]
fn arguments_that_make_no_sense_exit_2_before_anything_is_sent() {
    for arguments in [
        &["nosuch"][..],
        &["restore", "latest"],
        &["restore", "latest", "--to", "x", "--in-place"],
        &["pause", "--for", "never"],
        &["pause", "k3", "--all"],
        &["job"],
    ] {
        assert_eq!(backupctl(arguments).output().unwrap().status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn what_the_daemon_refuses_has_its_words_its_advice_and_its_exit_code() {
    for (kind, code) in [("not_allowed", 5), ("job_not_found", 1), ("wrong_password", 1), ("cancelled", 6)] {
        let house = House::new(move |_, _, _| Reply::Error(error(kind)));
        let ended = house.run(&["job", "k3"]);
        assert_eq!(ended.code, code);
        assert_eq!(ended.err, format!("backupctl: it is {kind}\nDo something.\n"));
    }
}

#[test]
fn a_cancel_of_a_job_that_still_runs_says_that_it_is_on_its_way() {
    for (state, said) in [("running", "being cancelled"), ("cancelled", "is cancelled")] {
        let house = House::new(move |_, _, _| {
            let mut job = example("job.cancel");
            job["state"] = state.into();
            Reply::Result(job)
        });
        let ended = house.run(&["cancel", "k3"]);
        assert!(ended.code == 0 && ended.out.contains(said), "{state}: {}{}", ended.out, ended.err);
    }
}

#[test]
fn every_looking_command_prints_its_result_as_one_json_document() {
    let house = House::of_examples();
    for (arguments, method) in [
        (&["status"][..], "daemon.status"),
        (&["why", "k3"], "job.why"),
        (&["conditions"], "conditions.get"),
        (&["config", "show"], "config.show"),
        (&["rpc", "daemon.status"], "daemon.status"),
        (&["pause"], "daemon.pause"),
        (&["resume"], "daemon.resume"),
        (&["pause", "k3"], "job.pause"),
        (&["resume", "k3"], "job.resume"),
        (&["cancel", "k3"], "job.cancel"),
        (&["retry", "k3"], "job.retry"),
        (&["priority", "k3", "high"], "job.set_priority"),
        (&["target", "add", "nas", "sftp://nas/x"], "target.add"),
        (&["target", "init", "nas"], "target.init"),
        (&["target", "adopt", "nas"], "target.adopt"),
        (&["plan", "add", "documents", "/d"], "plan.add"),
    ] {
        let ended = house.run(&[arguments, &["--json"]].concat());
        assert_eq!(ended.code, 0, "{arguments:?}: {}", ended.err);
        assert_contains(&ended.json_lines()[0], &example(method), method);
        let plain = house.run(arguments);
        assert_eq!((plain.code, plain.out.is_empty()), (0, false), "{arguments:?}: {}", plain.err);
    }
}

#[test]
fn every_list_is_one_json_array_whatever_its_pages() {
    for (arguments, method, code) in [
        (&["jobs", "--all"][..], "job.list", 0),
        (&["snapshots"], "snapshot.list", 0),
        (&["ls", "latest", "/home"], "snapshot.ls", 0),
        (&["find", "*.txt"], "snapshot.find", 0),
        (&["diff", "5e", "latest"], "snapshot.diff", 1),
        (&["target", "list"], "target.list", 0),
        (&["plan", "list"], "plan.list", 0),
    ] {
        let house = House::new(|_, method, params| {
            let mut page = example(method);
            let is_first = params["page"]["after"].is_null();
            page["next"] = if is_first { json!("more") } else { Value::Null };
            Reply::Result(page)
        });
        let ended = house.run(&[arguments, &["--json"]].concat());
        assert_eq!(ended.code, code, "{arguments:?}: {}", ended.err);
        let list: Value = serde_json::from_str(&ended.out).unwrap();
        let once = example(method)["items"].as_array().unwrap().len();
        assert_eq!(list.as_array().unwrap().len(), 2 * once, "{arguments:?}");
        assert!(!house.run(arguments).out.is_empty());
    }
}

/// S0.13: the state of each target's breaker is shown, with what it means for jobs.
#[test]
fn targets_shows_the_breaker_of_each_its_limits_its_room_and_what_is_parked_there() {
    let house = House::new(|_, method, _| {
        let mut answer = example(method);
        if method == "job.list" {
            let verdict = json!({"kind": "parked", "sentence": "no space left on device. Free some space."});
            answer["items"][0]["target"] = "local".into();
            answer["items"][0]["verdict"] = verdict;
            answer["next"] = Value::Null;
        }
        Reply::Result(answer)
    });
    let id = example("job.list")["items"][0]["id"].as_str().unwrap().to_owned();
    let plain = house.run(&["targets"]);
    assert_eq!(plain.code, 0, "{}", plain.err);
    for part in [
        "local: left alone\n",
        "repository abababab\n",
        "Free there: 953.7 MiB",
        "then asked whether it is back. No route to host.",
        "Upload of everything together: at most 1.0 MiB/s",
        &format!("Job {id} is parked. No space left on device. Free some space."),
        "on the same disk",
    ] {
        assert!(plain.out.contains(part), "{part} is missing in\n{}", plain.out);
    }
    assert!(!plain.out.contains("target nas") && !plain.out.contains("2qdmzv00"), "{}", plain.out);
    let listed = house.run(&["targets", "--json"]).json_lines().remove(0);
    let first = &listed[0];
    assert_eq!((&first["name"], &first["breaker"]["state"]), (&"local".into(), &"open".into()));
    assert_eq!((first["limits"].as_array().unwrap().len(), &first["parked"][0]["job"]), (2, &Value::from(id)));
}

#[test]
fn a_search_by_id_asks_for_one_thing_and_says_which_blob_was_found() {
    let house = House::new(|_, _, params| {
        assert_eq!(
            (&params["pack"], &params["pattern"], &params["blob"]),
            (&json!("9f2c71"), &Value::Null, &Value::Null)
        );
        Reply::Result(example("snapshot.find.pack"))
    });
    let ended = house.run(&["find", "--pack", "9f2c71"]);
    assert!(ended.code == 0 && ended.out.starts_with("5e1d0b7c tree 7ede13b7 drwx"), "{}{}", ended.out, ended.err);
    for wrong in [&["find"][..], &["find", "x", "--blob", "7702"], &["find", "--tree", "7ede", "--pack", "9f2c"]] {
        assert_eq!(house.run(wrong).code, 2, "{wrong:?}");
    }
}

#[test]
fn an_empty_list_is_an_empty_array() {
    let house = House::new(|_, _, _| Reply::Result(json!({"items": [], "next": null})));
    for arguments in [&["jobs", "--json"][..], &["diff", "a", "b", "--json"]] {
        let ended = house.run(arguments);
        assert_eq!((ended.code, ended.out.as_str()), (0, "[]\n"), "{arguments:?}");
    }
    let ended = house.run(&["find", "x", "--json"]);
    assert_eq!((ended.code, ended.out.as_str()), (1, "[]\n"));
}

#[test]
fn job_json_carries_the_whole_ledger() {
    let house = House::new(|_, method, params| {
        let mut result = example(method);
        if method == "job.failures" && params["page"]["after"].is_null() {
            result["next"] = json!("more");
        }
        Reply::Result(result)
    });
    let document = house.run(&["job", "k3", "--json"]).json_lines()[0].clone();
    assert_eq!(document["failed"].as_array().unwrap().len(), 2);
    assert_eq!((&document["state"], &document["spec"]["kind"]), (&json!("failed"), &json!("verify")));
}

#[test]
fn a_pause_of_two_hours_is_sent_in_seconds_with_a_name_of_its_own() {
    let house = House::of_examples();
    house.run(&["pause", "--for", "2h"]);
    house.run(&["pause", "--for", "2h"]);
    let asked = house.daemon.asked("daemon.pause");
    assert_eq!(asked[0]["for_seconds"], 7200);
    assert_ne!(asked[0]["request_id"], asked[1]["request_id"]);
}

#[test]
fn rpc_adds_a_request_id_only_where_one_is_needed() {
    let house = House::of_examples();
    house.run(&["rpc", "job.cancel", r#"{"job": "k3"}"#]);
    house.run(&["rpc", "job.cancel", r#"{"job": "k3", "request_id": "mine"}"#]);
    house.run(&["rpc", "job.get", r#"{"job": "k3"}"#]);
    let cancels = house.daemon.asked("job.cancel");
    assert!(cancels[0]["request_id"].is_string());
    assert_eq!(cancels[1]["request_id"], "mine");
    assert_eq!(house.daemon.asked("job.get"), [json!({"job": "k3"})]);
    assert_eq!(house.run(&["rpc", "job.get", "[]"]).code, 2);
}

#[test]
fn cat_writes_the_bytes_as_they_are_over_a_second_connection() {
    let house = House::new(|_, method, params| {
        if method != "bulk.open" {
            return Reply::Result(example(method));
        }
        assert_eq!(params["token"], example("snapshot.cat")["token"]);
        let mut bytes = b"\0\0\0\0\x05a\n\xff\n\n".to_vec();
        let status = br#"{"bytes":5}"#;
        bytes.extend([1, 0, 0, 0, u8::try_from(status.len()).unwrap()]);
        bytes.extend(status);
        Reply::Bytes(bytes)
    });
    let output = house.command(&["cat", "latest:/home/ada/a.txt"]).output().unwrap();
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(0), &b"a\n\xff\n\n"[..]));
    let document = house.run(&["cat", "latest:/home/ada/a.txt", "--json"]).json_lines();
    let wanted = serde_json::json!({ "path": "/home/ada/a.txt", "contents": "YQr/Cgo=", "bytes": 5 });
    assert_eq!(document, [wanted]);
    assert_eq!(house.run(&["cat", "latest"]).code, 2);
}

#[test]
fn a_broken_off_cat_is_a_failure() {
    let house = House::new(|_, method, _| match method {
        "bulk.open" => Reply::Bytes(b"\0\0\0\0\x05a\n".to_vec()),
        _ => Reply::Result(example(method)),
    });
    assert_eq!(house.run(&["cat", "latest:/a"]).code, 1);
}

#[test]
fn a_call_whose_connection_breaks_is_made_again_under_the_same_name() {
    let house = House::new(|daemon, method, _| match daemon.asked("job.cancel").len() {
        1 => Reply::HangUp,
        _ => Reply::Result(example(method)),
    });
    assert_eq!(house.run(&["cancel", "k3"]).code, 0);
    let asked = house.daemon.asked("job.cancel");
    assert_eq!(asked.len(), 2);
    assert_eq!(asked[0]["request_id"], asked[1]["request_id"]);
}

#[test]
fn schema_completions_and_config_path_need_no_daemon() {
    let schema = Ended::of(backupctl(&["schema"]).output().unwrap());
    assert_eq!(serde_json::from_str::<Value>(&schema.out).unwrap()["info"]["title"], "backupd");
    for shell in ["bash", "zsh", "fish"] {
        assert!(Ended::of(backupctl(&["completions", shell]).output().unwrap()).out.contains("backupctl"));
    }
    let path = Ended::of(
        backupctl(&["config", "path"])
            .env("BACKUPD_CONFIG", "/c.toml")
            .env("BACKUPD_SOCKET", "/nonexistent.sock")
            .output()
            .unwrap(),
    );
    assert_eq!((path.code, path.out.as_str()), (0, "/c.toml\n"));
}

/// Checks that the shown value has everything the daemon sent; fields that say "none" may be left out.
fn assert_contains(shown: &Value, sent: &Value, at: &str) {
    match sent {
        Value::Object(fields) => {
            for (key, value) in fields {
                assert_contains(&shown[key], value, &format!("{at}.{key}"));
            }
        }
        Value::Array(items) => {
            for (number, value) in items.iter().enumerate() {
                assert_contains(&shown[number], value, &format!("{at}[{number}]"));
            }
        }
        _ => assert_eq!(shown, sent, "{at}"),
    }
}
