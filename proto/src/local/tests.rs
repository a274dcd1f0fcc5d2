//! Finding a daemon, and coming back to it with the last cursor.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::thread;

use serde_json::json;

use super::*;
use crate::error::Exit;

fn named(socket: &Path) -> Candidate {
    Candidate { socket: socket.to_path_buf(), owner: Owner::Named }
}

/// Reads one call from a connection and answers it with a result; returns the call.
fn answer(stream: &UnixStream, lines: &mut impl Iterator<Item = io::Result<String>>, result: &Value) -> Value {
    let call: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    let line = json!({"jsonrpc": "2.0", "id": call["id"], "result": result});
    (&mut &*stream).write_all(format!("{line}\n").as_bytes()).unwrap();
    call
}

fn accept(listener: &UnixListener) -> (UnixStream, std::io::Lines<BufReader<UnixStream>>) {
    let (stream, _) = listener.accept().unwrap();
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    answer(&stream, &mut lines, &json!({"protocol": 1, "server": "s", "instance_id": "i"}));
    (stream, lines)
}

fn notice(cursor: u64) -> String {
    let params = json!({"cursor": cursor, "time": "2026-01-02T03:04:05Z", "type": "notice", "sentence": "s"});
    format!("{}\n", json!({"jsonrpc": "2.0", "method": "event", "params": params}))
}

#[test]
fn without_a_daemon_every_socket_that_was_tried_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let candidates = [named(&folder.path().join("a.sock")), named(&folder.path().join("b.sock"))];
    let error = Client::connect(&candidates, "t").unwrap_err();
    assert_eq!(error.exit(), Exit::Unreachable);
    assert!(error.to_string().contains("a.sock") && error.to_string().contains("b.sock"), "{error}");
}

#[test]
fn a_stale_socket_is_no_daemon_and_the_next_one_is_used() {
    let folder = tempfile::tempdir().unwrap();
    let (stale, live) = (folder.path().join("stale.sock"), folder.path().join("live.sock"));
    drop(UnixListener::bind(&stale).unwrap());
    let listener = UnixListener::bind(&live).unwrap();
    let server = thread::spawn(move || drop(accept(&listener)));
    let client = Client::connect(&[named(&stale), named(&live)], "t").unwrap();
    server.join().unwrap();
    assert_eq!(client.used().socket, live);
    assert_eq!(client.others(), [stale]);
}

#[test]
fn a_socket_path_that_is_too_long_is_no_daemon() {
    let error = Client::connect(&[named(Path::new(&format!("/tmp/{}", "x".repeat(200))))], "t").unwrap_err();
    assert!(matches!(error, ClientError::NoDaemon { .. }), "{error:?}");
}

#[test]
fn a_call_goes_on_with_the_same_words_after_the_daemon_came_back() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("d.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let server = thread::spawn(move || {
        let (stream, mut lines) = accept(&listener);
        let first = lines.next().unwrap().unwrap();
        drop((stream, lines));
        let (stream, mut lines) = accept(&listener);
        let second = answer(&stream, &mut lines, &json!({"conditions": []}));
        (serde_json::from_str::<Value>(&first).unwrap()["method"].clone(), second["method"].clone())
    });
    let mut client = Client::connect(&[named(&socket)], "t").unwrap();
    client.call(&crate::params::ConditionsGet {}).unwrap();
    let (first, second) = server.join().unwrap();
    assert_eq!((first, second), (json!("conditions.get"), json!("conditions.get")));
}

#[test]
fn events_resume_from_the_last_cursor_after_the_connection_broke() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("d.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let server = thread::spawn(move || {
        let _calls = accept(&listener);
        let (mut stream, mut lines) = accept(&listener);
        answer(&stream, &mut lines, &json!({"cursor": 3, "gap": false}));
        stream.write_all(notice(4).as_bytes()).unwrap();
        drop((stream, lines));
        let (mut stream, mut lines) = accept(&listener);
        let resumed = answer(&stream, &mut lines, &json!({"cursor": 4, "gap": false}));
        stream.write_all(notice(5).as_bytes()).unwrap();
        resumed["params"]["since"].clone()
    });
    let client = Client::connect(&[named(&socket)], "t").unwrap();
    let mut events = client.events(None, vec![]).unwrap();
    let mut seen = Vec::new();
    for _ in 0..4 {
        seen.push(match events.next().unwrap().unwrap() {
            Update::Event(event) => format!("{}", event.cursor),
            other => format!("{other:?}"),
        });
    }
    assert_eq!(seen, ["4", "Lost", "Back", "5"]);
    assert_eq!(server.join().unwrap(), json!(4));
}

#[test]
fn the_waits_add_up_to_the_patience() {
    assert_eq!(waits(PATIENCE).sum::<Duration>(), PATIENCE);
    assert_eq!(waits(Duration::ZERO).count(), 0);
    assert!(waits(PATIENCE).count() < 60);
}

#[test]
fn a_daemon_of_another_user_is_trusted_only_behind_the_systems_socket() {
    let own = rustix::process::geteuid().as_raw();
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("d.sock");
    assert_eq!(trusted_uids(&named(&socket)), [0, own]);
    let system = Candidate { socket, owner: Owner::System };
    assert_eq!(trusted_uids(&system), [0, own, own]);
}
