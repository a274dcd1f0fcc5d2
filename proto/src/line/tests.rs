//! What the decoder makes of good, bad and hostile lines.

use proptest::prelude::{any, proptest};
use serde_json::json;

use super::*;

fn kind_of(line: &[u8]) -> ErrorKind {
    decode(line).unwrap_err().error.data.kind
}

#[test]
fn a_call_a_notification_and_answers_come_back_as_they_were() {
    let error = RpcError::new(ErrorKind::JobNotFound, "no", "look");
    for message in [
        Message::Call { id: Id::from(7), method: "a.b".to_owned(), params: json!({"x": 1}) },
        Message::Call { id: Id::Text("t".to_owned()), method: "a.b".to_owned(), params: Value::Null },
        Message::Notification { method: "event".to_owned(), params: json!({}) },
        Message::Answer { id: Id::from(7), outcome: Ok(Value::Null) },
        Message::Answer { id: Id::Null, outcome: Err(error) },
    ] {
        let line = encode(&message).unwrap();
        assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1, "a message is one line");
        assert_eq!(decode(&line[..line.len() - 1]).unwrap(), message);
    }
}

#[test]
fn what_is_not_json_is_a_parse_error() {
    for line in [&b"{"[..], b"", b"nonsense", b"\xff\xfe", b"{\"jsonrpc\":\"2.0\"} trailing", b"{\"a\":\"\xc3\"}"] {
        assert_eq!(kind_of(line), ErrorKind::ParseError, "{line:?}");
    }
}

#[test]
fn what_is_json_but_no_request_is_an_invalid_request() {
    for line in [
        "7",
        "null",
        "[]",
        r#"[{"jsonrpc":"2.0","id":1,"method":"hello"}]"#,
        "{}",
        r#"{"id":1,"method":"hello"}"#,
        r#"{"jsonrpc":"1.0","id":1,"method":"hello"}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":7}"#,
        r#"{"jsonrpc":"2.0","id":{},"method":"hello"}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":1,"error":{"code":1,"message":"m"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"error":"text"}"#,
    ] {
        assert_eq!(kind_of(line.as_bytes()), ErrorKind::InvalidRequest, "{line}");
    }
}

#[test]
fn an_invalid_request_is_answered_under_its_id() {
    let undecodable = decode(br#"{"jsonrpc":"2.0","id":"x","method":null}"#).unwrap_err();
    assert_eq!(undecodable.id, Id::Text("x".to_owned()));
    assert!(matches!(undecodable.into_answer(), Message::Answer { outcome: Err(_), .. }));
}

#[test]
fn an_error_without_data_is_still_an_error() {
    let line = br#"{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"m"}}"#;
    let Message::Answer { outcome: Err(error), .. } = decode(line).unwrap() else { panic!("an answer") };
    assert_eq!((error.code, error.data.kind), (-32601, ErrorKind::Unknown));
}

#[test]
fn nesting_as_deep_as_a_line_allows_is_a_parse_error_and_no_crash() {
    for open in ["[", r#"{"a":"#] {
        assert_eq!(kind_of(open.repeat(LINE_BYTES_MAX / open.len()).as_bytes()), ErrorKind::ParseError);
    }
}

#[test]
fn a_message_longer_than_a_line_is_not_sent() {
    let outcome = Ok(Value::String("x".repeat(LINE_BYTES_MAX)));
    let error = encode(&Message::Answer { id: Id::from(1), outcome }).unwrap_err();
    assert_eq!(error.data.kind, ErrorKind::ResultTooLong);
}

#[test]
fn a_line_of_exactly_the_limit_is_read_and_one_more_byte_is_too_long() {
    let mut splitter = LineSplitter::default();
    let mut bytes = vec![b'x'; LINE_BYTES_MAX];
    bytes.push(b'\n');
    splitter.push(&bytes);
    assert_eq!(splitter.next_line().unwrap().unwrap().len(), LINE_BYTES_MAX);
    bytes.insert(0, b'x');
    splitter.push(&bytes);
    assert_eq!(splitter.next_line().unwrap().unwrap_err().error.data.kind, ErrorKind::LineTooLong);
    assert!(splitter.next_line().is_none());
}

#[test]
fn an_endless_line_is_reported_once_takes_no_memory_and_the_next_line_is_read() {
    let mut splitter = LineSplitter::default();
    let chunk = vec![b'x'; 64 * 1024];
    let mut reports = 0;
    for _ in 0..200 {
        splitter.push(&chunk);
        while let Some(line) = splitter.next_line() {
            assert!(line.is_err());
            reports += 1;
        }
        assert!(splitter.buffer.len() <= LINE_BYTES_MAX + 2 * chunk.len());
    }
    assert_eq!(reports, 1);
    splitter.push(b"end\nnext\n");
    assert_eq!(splitter.next_line().unwrap().unwrap(), b"next");
}

#[test]
fn a_line_that_is_skipped_ends_where_it_ends_and_gives_its_memory_back() {
    let mut splitter = LineSplitter::default();
    splitter.push(&vec![b'x'; LINE_BYTES_MAX / 2]);
    assert!(splitter.next_line().is_none());
    assert_eq!(splitter.begun_bytes(), LINE_BYTES_MAX / 2);
    splitter.skip_line();
    assert_eq!(splitter.begun_bytes(), 0);
    splitter.push(b"end\nnext\n");
    assert_eq!(splitter.next_line().unwrap().unwrap(), b"next");
    assert!(splitter.next_line().is_none());
    assert!(splitter.buffer.capacity() <= IDLE_BYTES, "{} bytes are kept", splitter.buffer.capacity());
}

#[test]
fn an_id_comes_back_as_it_was_or_is_refused() {
    for id in ["0", "-7", "18446744073709551615", "-9223372036854775808", "1.5", "\"\"", "null"] {
        let Ok(Message::Call { id: read, .. }) = decode(call_with(id).as_bytes()) else { panic!("{id} is an id") };
        assert_eq!(id_value(&read).to_string(), id);
    }
    let long = format!("{:?}", "x".repeat(ID_BYTES_MAX + 1));
    for id in ["18446744073709551616", "1e300", "-1e16", "[1]", "{}", "true", &long] {
        assert_eq!(kind_of(call_with(id).as_bytes()), ErrorKind::InvalidRequest, "{id}");
    }
}

fn call_with(id: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"hello"}}"#)
}

#[test]
fn blank_lines_and_carriage_returns_are_no_messages() {
    let mut splitter = LineSplitter::default();
    splitter.push(b"\n\r\n  \na\n\n");
    assert_eq!(splitter.next_line().unwrap().unwrap(), b"a");
    assert!(splitter.next_line().is_none());
}

proptest! {
    #[test]
    fn any_bytes_get_an_answer(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(&bytes);
    }

    #[test]
    fn lines_are_the_same_however_they_arrive(
        lines in proptest::collection::vec("[a-z]{1,20}", 0..20),
        cuts in proptest::collection::vec(1usize..7, 1..200),
    ) {
        let bytes: Vec<u8> = lines.iter().flat_map(|line| format!("{line}\n").into_bytes()).collect();
        let mut splitter = LineSplitter::default();
        let mut read = Vec::new();
        let mut rest = &bytes[..];
        for cut in cuts.iter().cycle() {
            let (now, later) = rest.split_at((*cut).min(rest.len()));
            splitter.push(now);
            while let Some(line) = splitter.next_line() {
                read.push(String::from_utf8(line.unwrap().to_vec()).unwrap());
            }
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
        assert_eq!(read, lines);
    }
}
