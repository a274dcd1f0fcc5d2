//! Real clients of a real daemon: the polite, the many, the hostile and the slow; and what outlives the daemon.

use std::io::Read;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};

use backup_testkit::caller::{Caller, kind};
use backup_testkit::daemon::Daemon;
use backup_testkit::programs;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

fn verify(request_id: &str) -> Value {
    json!({"request_id": request_id, "spec": {"kind": "verify"}})
}

/// Pauses the daemon, so that jobs stay where they are.
fn pause(client: &mut Caller) {
    client.call("daemon.pause", json!({"request_id": "pause"}));
}

#[test]
fn hello_comes_first_and_every_wrong_line_gets_an_answer() {
    let daemon = Daemon::start();
    let mut client = Caller::connect(&daemon.socket());
    assert_eq!(kind(&client.call("daemon.status", json!({}))), "hello_required");
    assert_eq!(
        kind(&client.call("hello", json!({"client": "x", "protocol": {"min": 7, "max": 9}}))),
        "version_mismatch"
    );
    let mut client = Caller::hello(&daemon.socket());
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    for (bytes, expected) in [
        (b"{half".to_vec(), "parse_error"),
        (b"\xff\xfe\"\"".to_vec(), "parse_error"),
        (deep.into_bytes(), "parse_error"),
        (b"[]".to_vec(), "invalid_request"),
        (b"7".to_vec(), "invalid_request"),
        (br#"{"jsonrpc":"2.0","id":{},"method":"hello"}"#.to_vec(), "invalid_request"),
        (br#"{"jsonrpc":"2.0","id":1,"method":"no.such"}"#.to_vec(), "method_not_found"),
        (br#"{"jsonrpc":"2.0","id":1,"method":"job.get","params":[1]}"#.to_vec(), "invalid_params"),
        (br#"{"jsonrpc":"2.0","id":1,"method":"job.get","params":{"job":""}}"#.to_vec(), "job_not_found"),
        (br#"{"jsonrpc":"2.0","id":1,"method":"bulk.open","params":{"token":"x"}}"#.to_vec(), "token_invalid"),
        (vec![b'x'; 10 * 1024 * 1024], "line_too_long"),
    ] {
        client.send(&bytes);
        client.send(b"\n");
        let answer = client.line();
        assert_eq!(kind(&answer), expected, "for {:?}", String::from_utf8_lossy(&bytes[..bytes.len().min(60)]));
    }
    assert_eq!(client.call("daemon.status", json!({}))["result"]["counts"]["running"], 0);
}

#[test]
fn two_hundred_clients_at_once_each_get_their_answers() {
    let daemon = Daemon::start();
    let socket = daemon.socket();
    pause(&mut Caller::hello(&socket));
    let mut clients: Vec<Caller> = (0..200).map(|_| Caller::hello(&socket)).collect();
    let mut ids: Vec<String> = Vec::new();
    for (number, client) in clients.iter_mut().enumerate() {
        // A hostile neighbour leaves half a line, and is not answered before it ends.
        if number % 3 == 0 {
            client.send(b"{\"jsonrpc\":");
            continue;
        }
        let answer = client.call("job.submit", verify(&format!("r{number}")));
        ids.push(answer["result"]["jobs"][0].as_str().expect("it was accepted").to_owned());
    }
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count, "each job has its own id");
    let status = clients[1].call("daemon.status", json!({}));
    assert_eq!(status["result"]["counts"]["queued"], count);
}

#[test]
fn what_was_acknowledged_survives_a_kill_and_the_same_request_gives_the_same_answer() {
    let mut daemon = Daemon::start();
    let mut client = Caller::hello(&daemon.socket());
    pause(&mut client);
    let first = client.call("job.submit", verify("r1"));
    let job = first["result"]["jobs"][0].clone();
    let paused = client.call("job.pause", json!({"request_id": "r2", "job": job, "for_seconds": 3600}));
    daemon.kill();
    daemon.launch();
    let mut client = Caller::hello(&daemon.socket());
    assert_eq!(client.call("job.submit", verify("r1"))["result"], first["result"]);
    let other = json!({"request_id": "r1", "spec": {"kind": "verify", "read_data": true}});
    assert_eq!(kind(&client.call("job.submit", other)), "request_id_conflict");
    let status = client.call("daemon.status", json!({}));
    assert!(!status["result"]["paused"].is_null());
    assert_eq!(status["result"]["jobs"][0]["id"], job);
    assert_eq!(status["result"]["jobs"][0]["state"], "paused");
    assert_eq!(status["result"]["jobs"][0]["verdict"]["next_look"], paused["result"]["verdict"]["next_look"]);
}

#[test]
fn a_watcher_resumes_after_a_restart_where_it_was() {
    let mut daemon = Daemon::start();
    let mut watcher = Caller::hello(&daemon.socket());
    let first = watcher.call("events.subscribe", json!({}));
    assert_eq!(first["result"]["gap"], false);
    assert!(first["result"]["state"].is_object());
    pause(&mut Caller::hello(&daemon.socket()));
    let event = watcher.line();
    assert_eq!((event["method"].as_str(), event["params"]["type"].as_str()), (Some("event"), Some("daemon")));
    let cursor = event["params"]["cursor"].clone();
    daemon.kill();
    daemon.launch();
    let mut watcher = Caller::hello(&daemon.socket());
    let again = watcher.call("events.subscribe", json!({"since": cursor}));
    assert_eq!(again["result"], json!({"cursor": cursor, "gap": false}));
    let mut stranger = Caller::hello(&daemon.socket());
    let gap = stranger.call("events.subscribe", json!({"since": 1_000_000}));
    assert_eq!(gap["result"]["gap"], true);
    assert!(gap["result"]["state"].is_object());
}

#[test]
fn a_watcher_that_does_not_read_is_cut_off_and_holds_nobody_up() {
    let daemon = Daemon::start();
    let mut watcher = Caller::hello(&daemon.socket());
    watcher.call("events.subscribe", json!({}));
    let mut client = Caller::hello(&daemon.socket());
    pause(&mut client);
    let job = client.call("job.submit", verify("r"))["result"]["jobs"][0].clone();
    // Each pause of a new length is an event of some 300 bytes: together far more than a watcher may be behind.
    for number in 0..6_000 {
        let params = json!({"request_id": format!("p{number}"), "job": job, "for_seconds": 1_000 + number});
        assert_eq!(kind(&client.call("job.pause", params)), "no error");
    }
    // What the system had taken in is still there to be read; after it comes the end.
    let mut rest = Vec::new();
    watcher.lines.read_to_end(&mut rest).expect("the connection was closed in order");
    let events = rest.iter().filter(|byte| **byte == b'\n').count();
    assert!(events < 6_000, "it was cut off before the last event");
}

#[test]
fn a_second_daemon_on_the_same_state_is_refused_and_a_stale_socket_taken_over() {
    let mut daemon = Daemon::start();
    let second = daemon.command(&programs::backupd()).stdin(Stdio::null()).output().expect("it runs");
    assert_eq!(second.status.code(), Some(1));
    let complaint = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(complaint.contains("another backupd already uses"), "{complaint}");
    let mut other: Command = daemon.command(&programs::backupd());
    let third = other.arg("--state-dir").arg(daemon.home().join("other")).stdin(Stdio::null()).output();
    let third = third.expect("it runs");
    assert_eq!(third.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&third.stderr).contains(&daemon.socket().display().to_string()));
    assert!(UnixStream::connect(daemon.socket()).is_ok(), "the first still listens");
    daemon.kill();
    assert!(daemon.socket().exists(), "a killed daemon leaves its socket");
    daemon.launch();
    let _ = Caller::hello(&daemon.socket());
}

#[test]
fn hangup_is_harmless_and_terminate_ends_in_order() {
    let mut daemon = Daemon::start();
    let pid = Pid::from_raw(i32::try_from(daemon.pid()).expect("a process id")).expect("a process id");
    kill_process(pid, Signal::HUP).expect("it runs");
    let _ = Caller::hello(&daemon.socket());
    let status = daemon.stop();
    assert_eq!(status.code(), Some(0), "{}", daemon.log());
    assert!(!daemon.socket().exists());
}

#[test]
fn an_unusable_state_folder_or_configuration_is_a_sentence_and_an_exit_code() {
    let daemon = Daemon::start();
    let run = |name: &str, value: &Path| {
        let mut command = daemon.command(&programs::backupd());
        let output = command.env(name, value).stdin(Stdio::null()).output().expect("it runs");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, complaint) = run("BACKUPD_STATE_DIR", Path::new("/dev/null/state"));
    assert_eq!(code, Some(1), "{complaint}");
    assert!(complaint.contains("cannot create /dev/null/state"), "{complaint}");
    let config = daemon.home().join("wrong.toml");
    std::fs::write(&config, "[target.nas]\nurll = \"/x\"\n").expect("it is written");
    let (code, complaint) = run("BACKUPD_CONFIG", &config);
    assert_eq!(code, Some(2), "{complaint}");
    assert!(complaint.contains("wrong.toml:2:"), "{complaint}");
    let (code, complaint) = run("BACKUPD_SOCKET", Path::new(&format!("/tmp/{}", "x".repeat(120))));
    assert_eq!(code, Some(1), "{complaint}");
}
