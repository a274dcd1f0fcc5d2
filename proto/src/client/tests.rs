//! The client against a scripted server at the other end of a socket pair.

use std::os::unix::net::UnixStream;
use std::thread::{self, JoinHandle};

use serde_json::json;

use super::*;
use crate::bulk::BulkWriter;
use crate::error::ErrorKind;
use crate::event::{Cursor as EventCursor, EventBody};
use crate::params::{DaemonStatus, JobCancel, RequestId};
use crate::spec::SnapshotQuery;

const EVENT: &str = r#"{"jsonrpc":"2.0","method":"event","params":{"cursor":7,"time":"2026-01-02T03:04:05Z","type":"notice","sentence":"s"}}"#;

/// Answers the calls in order: each script is written after one line was read, with `ID` replaced by the call's id.
fn server(scripts: Vec<String>) -> (UnixStream, JoinHandle<Vec<Value>>) {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let thread = thread::spawn(move || {
        let mut lines = std::io::BufRead::lines(std::io::BufReader::new(theirs.try_clone().unwrap()));
        let mut calls = Vec::new();
        for script in scripts {
            let call: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
            theirs.write_all(script.replace("ID", &call["id"].to_string()).as_bytes()).unwrap();
            calls.push(call);
        }
        calls
    });
    (ours, thread)
}

fn welcome() -> String {
    answer(&json!({"protocol": 1, "server": "backupd 9", "instance_id": "i", "capabilities": [], "later": 1}))
}

fn answer(result: &Value) -> String {
    format!("{{\"jsonrpc\":\"2.0\",\"id\":ID,\"result\":{result}}}\n")
}

#[test]
fn says_hello_first_and_then_calls() {
    let (stream, server) = server(vec![welcome(), answer(&json!({"any": "thing"}))]);
    let mut connection = Connection::open(stream, "test 1").unwrap();
    assert_eq!(connection.welcome().server, "backupd 9");
    assert_eq!(connection.call_raw("rpc.discover", json!({})).unwrap(), json!({"any": "thing"}));
    let calls = server.join().unwrap();
    assert_eq!(calls[0]["method"], "hello");
    assert_eq!(calls[0]["params"], json!({"client": "test 1", "protocol": {"min": 1, "max": 1}}));
    assert_eq!(calls[1]["method"], "rpc.discover");
}

#[test]
fn refuses_a_version_it_did_not_offer() {
    let (stream, _server) = server(vec![welcome().replace("\"protocol\":1", "\"protocol\":9")]);
    assert!(matches!(Connection::open(stream, "t"), Err(ClientError::Malformed(_))));
}

#[test]
fn an_error_of_the_server_keeps_its_kind_and_gives_its_exit_code() {
    let error = RpcError::new(ErrorKind::NotAllowed, "no", "ask");
    let line = format!("{{\"jsonrpc\":\"2.0\",\"id\":ID,\"error\":{}}}\n", serde_json::to_value(&error).unwrap());
    let (stream, _server) = server(vec![welcome(), line]);
    let mut connection = Connection::open(stream, "t").unwrap();
    let cancel = JobCancel { request_id: RequestId("r".to_owned()), job: "j".into() };
    let refused = connection.call(&cancel).unwrap_err();
    assert_eq!(refused.exit(), Exit::NotAllowed);
    assert!(matches!(refused, ClientError::Remote(remote) if remote == error));
}

#[test]
fn events_between_call_and_answer_are_kept_in_order() {
    let second = EVENT.replace("\"cursor\":7", "\"cursor\":8");
    let script = format!("{EVENT}\n{}{second}\n", answer(&json!({})));
    let (stream, _server) = server(vec![welcome(), script]);
    let mut connection = Connection::open(stream, "t").unwrap();
    connection.call_raw("x.y", Value::Null).unwrap();
    let cursors = [connection.next_event().unwrap().cursor, connection.next_event().unwrap().cursor];
    assert_eq!(cursors, [EventCursor(7), EventCursor(8)]);
}

#[test]
fn an_event_of_an_unknown_type_is_told_as_such() {
    let script = format!("{}{}\n", answer(&json!({})), EVENT.replace("notice", "novelty"));
    let (stream, _server) = server(vec![welcome(), script]);
    let mut connection = Connection::open(stream, "t").unwrap();
    connection.call_raw("x.y", Value::Null).unwrap();
    assert_eq!(connection.next_event().unwrap().body, EventBody::Unknown);
}

#[test]
fn a_server_that_hangs_up_or_talks_nonsense_is_an_error() {
    let (stream, _server) = server(vec![welcome()]);
    let mut connection = Connection::open(stream, "t").unwrap();
    assert!(connection.call(&DaemonStatus {}).unwrap_err().is_lost());
    let (stream, _server) = server(vec!["nonsense\n".to_owned()]);
    assert!(matches!(Connection::open(stream, "t"), Err(ClientError::Malformed(_))));
}

#[test]
fn a_server_that_turned_the_caller_away_has_said_why() {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let error = RpcError::new(ErrorKind::Busy, "too many", "later");
    let line = encode(&Message::Answer { id: Id::Null, outcome: Err(error.clone()) }).unwrap();
    theirs.write_all(&line).unwrap();
    drop(theirs);
    let refused = Connection::open(ours, "t").unwrap_err();
    assert!(matches!(refused, ClientError::Remote(remote) if remote == error));
}

#[test]
fn bulk_bytes_start_right_behind_the_answer() {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let server = thread::spawn(move || {
        let mut lines = std::io::BufRead::lines(std::io::BufReader::new(theirs.try_clone().unwrap()));
        lines.next().unwrap().unwrap();
        theirs.write_all(welcome().replace("ID", "1").as_bytes()).unwrap();
        lines.next().unwrap().unwrap();
        // Answer and first frame leave in one write, so that the client has to split them.
        let mut bytes = answer(&json!({})).replace("ID", "2").into_bytes();
        let mut writer = BulkWriter::new(&mut bytes);
        writer.write(b"line\nline\n").unwrap();
        writer.finish(None).unwrap();
        theirs.write_all(&bytes).unwrap();
    });
    let mut out = Vec::new();
    Connection::open(ours, "t").unwrap().into_bulk("token").unwrap().copy_to(&mut out).unwrap();
    assert_eq!(out, b"line\nline\n");
    server.join().unwrap();
}

fn file(length: u64) -> SnapshotCat {
    let query = SnapshotQuery { snapshot: "5e".to_owned(), target: None, plan: None, host: None, path: None };
    SnapshotCat { query, file: "/a".into(), offset: None, length: Some(length) }
}

fn frames(data: &[u8], error: Option<RpcError>) -> String {
    let mut writer = BulkWriter::new(answer(&json!({})).into_bytes());
    writer.write(data).unwrap();
    String::from_utf8(writer.finish(error).unwrap()).unwrap()
}

#[test]
fn one_connection_carries_one_file_after_another_also_behind_an_error() {
    // So long that the length of the end frame is text, as the script has to be.
    let error = RpcError::new(ErrorKind::RepositoryDamaged, "damaged ".repeat(18), "verify");
    let scripts =
        [frames(b"one\n", None), frames(b"ha", Some(error.clone())), frames(b"", None), frames(b"more", None)];
    let (stream, server) = server([vec![welcome()], scripts.to_vec(), vec![answer(&json!(7))]].concat());
    let mut connection = Connection::open(stream, "t").unwrap();
    assert_eq!(connection.fetch(&file(10)).unwrap(), b"one\n");
    let refused = connection.fetch(&file(10)).unwrap_err();
    assert!(matches!(refused, ClientError::Bulk(BulkError::Remote(told)) if told == error));
    assert_eq!(connection.fetch(&file(10)).unwrap(), b"");
    assert_eq!(connection.fetch(&file(3)).unwrap(), b"mor", "no more than was asked for");
    assert_eq!(connection.call_raw("any", json!({})).unwrap(), json!(7));
    let calls = server.join().unwrap();
    assert_eq!(calls[1]["params"]["keep"], true);
    assert_eq!(calls[1]["params"]["cat"]["file"], "/a");
}

#[test]
fn a_connection_that_broke_off_among_frames_is_lost() {
    let whole = frames(b"some data", None);
    let (stream, server) = server(vec![welcome(), whole[..whole.len() - 3].to_owned()]);
    let mut connection = Connection::open(stream, "t").unwrap();
    assert!(connection.fetch(&file(10)).unwrap_err().is_lost());
    assert!(connection.call_raw("any", json!({})).unwrap_err().is_lost());
    server.join().unwrap();
}
