//! Who comes in at the socket, how many at a time, and what the daemon does about half a sentence.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use backup_testkit::caller::{Caller, kind};
use backup_testkit::daemon::{Daemon, Options};
use backup_testkit::{programs, unprivileged, wait};
use rustix::process::{Resource, geteuid, getrlimit, setrlimit};
use serde_json::json;

/// Connections at a time, as `docs/protocol.md` says.
const CONNECTIONS_MAX: usize = 1024;

fn allow_many_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).expect("a soft limit may be raised");
}

#[test]
fn one_connection_too_many_is_told_so_and_finds_room_when_another_ends() {
    allow_many_files();
    let daemon = Daemon::start();
    let socket = daemon.socket();
    // `launch` looked whether the daemon answers; its connections may not have ended yet.
    let mut inside = vec![Caller::admitted(&socket).0];
    inside.extend((1..CONNECTIONS_MAX).map(|_| Caller::admitted(&socket).0));
    let mut outside = Caller::connect(&socket);
    let answer = outside.line();
    assert_eq!((kind(&answer), &answer["id"]), ("busy", &json!(null)));
    assert_eq!(answer["error"]["data"]["retryable"], true);
    assert!(outside.try_line().expect("it ends in order").is_none());
    let status = inside[CONNECTIONS_MAX - 1].call("daemon.status", json!({}));
    assert!(status["result"]["pid"].is_u64(), "{status}");
    inside.pop();
    let (mut late, _) = Caller::admitted(&socket);
    assert_eq!(kind(&late.call("daemon.status", json!({}))), "no error");
}

#[test]
fn calls_that_were_sent_before_the_half_was_closed_are_all_answered() {
    let daemon = Daemon::start();
    let mut caller = Caller::hello(&daemon.socket());
    let methods = ["snapshot.list", "daemon.status", "target.list", "job.list"];
    let ids: Vec<u64> = methods.iter().cycle().take(40).map(|method| caller.ask(method, json!({}))).collect();
    caller.send(b"{\"jsonrpc\":\"2.0\",\"id\":999,\"method\":");
    caller.stream.shutdown(std::net::Shutdown::Write).expect("it is open");
    let answers: Vec<u64> = std::iter::from_fn(|| caller.try_line().expect("it ends in order"))
        .map(|answer| answer["id"].as_u64().expect("an answer has the id of its call"))
        .collect();
    let mut sorted = answers.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, ids, "each once, and half a call is none");
}

#[test]
fn a_change_without_a_request_id_is_refused_and_says_what_is_missing() {
    let daemon = Daemon::start();
    let mut caller = Caller::hello(&daemon.socket());
    let answer = caller.call("daemon.pause", json!({}));
    assert_eq!((kind(&answer), &answer["error"]["code"]), ("invalid_params", &json!(-32602)));
    assert!(answer["error"]["message"].as_str().is_some_and(|text| text.contains("request_id")), "{answer}");
    for (method, params, expected) in [
        ("no.such", json!({}), -32601),
        ("job.get", json!({}), -32602),
        ("daemon.pause", json!({"request_id": "r", "for_seconds": u64::MAX}), -32602),
    ] {
        let answer = caller.call(method, params);
        let data = &answer["error"]["data"];
        assert_eq!(answer["error"]["code"], expected, "{answer}");
        assert!(data["class"].is_string() && data["advice"].is_string() && data["retryable"].is_boolean(), "{answer}");
    }
    assert!(caller.call("daemon.status", json!({}))["result"]["paused"].is_null());
}

#[test]
fn the_log_says_who_connected_and_who_changed_something() {
    let daemon = Daemon::start();
    let uid = geteuid().as_raw();
    Caller::hello(&daemon.socket()).call("daemon.pause", json!({"request_id": "r"}));
    let said = |words: &str| {
        let log = daemon.log();
        log.lines().any(|line| line.contains(words) && line.contains(&format!("uid={uid}"))).then_some(())
    };
    wait::until("the first connection is in the log", || said("connected for the first time"));
    wait::until("the change is in the log", || said("asked for a change"));
}

/// Starts a daemon of root's and a copy of `backupctl` that everybody can run.
fn of_root(config: Option<&str>) -> Option<Daemon> {
    if !geteuid().is_root() {
        return None;
    }
    let daemon = Daemon::start_with(Options { config: config.map(str::to_owned), ..Options::default() });
    let copy = daemon.home().join("bin/backupctl");
    fs::copy(programs::backupctl(), &copy).expect("it is copied");
    for path in [copy.parent().expect("it is in a folder"), &copy] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("it is ours");
    }
    Some(daemon)
}

fn as_somebody_else(daemon: &Daemon, arguments: &[&str]) -> Option<i32> {
    let mut command = unprivileged::command(daemon.home().join("bin/backupctl"));
    command.args(arguments).env("BACKUPD_SOCKET", daemon.socket()).env("HOME", "/");
    command.output().expect("it runs").status.code()
}

#[test]
fn other_users_stay_outside_unless_the_config_lets_them_in_to_look() {
    let Some(closed) = of_root(None) else { return };
    assert_eq!(as_somebody_else(&closed, &["status"]), Some(5));
    let Some(open) = of_root(Some("[socket]\nmode = \"0666\"\n")) else { return };
    assert_eq!(as_somebody_else(&open, &["status"]), Some(0));
    for change in [&["pause"][..], &["backup", "/etc", "--detach"], &["cat", "latest:/etc/passwd"]] {
        assert_eq!(as_somebody_else(&open, change), Some(5), "{change:?}");
    }
    assert!(Caller::hello(&open.socket()).call("daemon.status", json!({}))["result"]["paused"].is_null());
}

#[test]
fn the_command_says_nothing_to_a_daemon_of_another_user() {
    let Some(root) = of_root(None) else { return };
    // A socket of somebody else's where root's command looks: the program behind it must not hear a word.
    let socket = root.home().join("bait");
    let script = "umask 0; exec nc -l -U \"$0\" </dev/null";
    fs::set_permissions(root.home(), fs::Permissions::from_mode(0o777)).expect("it is ours");
    let mut bait = unprivileged::command("sh");
    let bait = bait.args(["-c", script]).arg(&socket).stdout(std::process::Stdio::piped()).spawn().expect("it runs");
    wait::until("the bait is laid", || listens(&socket).then_some(()));
    let mut command = root.command(&programs::backupctl());
    let output = command.arg("status").env("BACKUPD_SOCKET", &socket).output().expect("it runs");
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(5), "{complaint}");
    assert!(complaint.contains("not to be trusted"), "{complaint}");
    let heard = bait.wait_with_output().expect("it ends");
    assert_eq!(heard.stdout, b"", "not a byte was sent");
}

/// Tells whether a socket is there and open to all, without connecting to it.
fn listens(socket: &Path) -> bool {
    fs::metadata(socket).is_ok_and(|found| found.permissions().mode() & 0o777 == 0o777)
}
