//! Every kind of message has a stored example that today's types still read and write without losing a field.
//!
//! The files are never edited: a client of any age may send what is in them. A new kind of message adds a file.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use backup_proto::event::Event;
use backup_proto::line::{Message, decode, encode};
use backup_proto::message::{Call, METHODS, Request};
use backup_proto::params;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn names() -> Vec<String> {
    let entries = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    entries.map(|name| name.strip_suffix(".json").expect("only .json files").to_owned()).collect()
}

/// Reads a stored message through the decoder, and checks that encoding it again gives the same message.
fn stored(name: &str) -> Message {
    let text = fs::read(folder().join(format!("{name}.json"))).unwrap();
    let message = decode(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
    let line = encode(&message).unwrap();
    assert_eq!(decode(line.trim_ascii()).unwrap(), message, "{name}");
    message
}

fn stored_result(name: &str) -> Value {
    let Message::Answer { outcome: Ok(result), .. } = stored(name) else { panic!("{name} is no result") };
    result
}

/// Checks that everything in the stored value is also in the one written today.
fn assert_kept(stored: &Value, now: &Value, at: &str) {
    match (stored, now) {
        (Value::Object(stored), Value::Object(now)) => {
            for (key, value) in stored {
                // A field whose value is "none" may be left out.
                let kept = now.get(key).unwrap_or(&Value::Null);
                assert_kept(value, kept, &format!("{at}.{key}"));
            }
        }
        (Value::Array(stored), Value::Array(now)) => {
            assert_eq!(stored.len(), now.len(), "{at}");
            for (number, (stored, now)) in stored.iter().zip(now).enumerate() {
                assert_kept(stored, now, &format!("{at}[{number}]"));
            }
        }
        _ => assert_eq!(stored, now, "{at}"),
    }
}

fn assert_reads<T: Serialize + DeserializeOwned>(value: &Value, name: &str) {
    let typed: T = serde_json::from_value(value.clone()).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_kept(value, &serde_json::to_value(typed).unwrap(), name);
}

#[test]
fn every_stored_request_is_read_and_written_without_loss() {
    let mut seen = BTreeSet::new();
    for name in names().iter().filter(|name| name.ends_with(".request")) {
        let Message::Call { method, params, .. } = stored(name) else { panic!("{name} is no call") };
        let request = Request::decode(&method, params.clone()).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_kept(&params, &request.params().unwrap(), name);
        assert_eq!(request.method().is_change, request.request_id().is_some(), "{name}");
        seen.insert(method);
    }
    let wanted: BTreeSet<String> = METHODS.iter().map(|method| method.name.to_owned()).collect();
    assert_eq!(seen, wanted, "every method has a stored request");
}

macro_rules! results {
    ($($params:ident)*) => {{
        let mut seen = BTreeSet::new();
        $(
            let name = format!("{}.result", params::$params::METHOD);
            assert_reads::<<params::$params as Call>::Result>(&stored_result(&name), &name);
            seen.insert(params::$params::METHOD);
        )*
        seen
    }};
}

#[test]
fn every_stored_result_is_read_and_written_without_loss() {
    let seen = results! {
        Hello RpcDiscover DaemonStatus DaemonPause DaemonResume JobSubmit JobGet JobList JobWhy JobPause JobResume
        JobCancel JobRetry JobSetPriority JobFailures JobPlanned EventsSubscribe SnapshotList SnapshotLs SnapshotFind
        SnapshotDiff SnapshotStats SnapshotHold SnapshotCat BulkOpen TargetList TargetAdd TargetInit TargetAdopt TargetBreaker TargetCheckNow KeyList KeyAdd KeyRemove KeyChange PlanList PlanAdd
        LimitSet LimitGet ConditionsGet ConfigShow ConfigCheckNow
    };
    assert_eq!(seen, METHODS.iter().map(|method| method.name).collect(), "every method has a stored result");
    let name = "job.planned.forget.result";
    assert_reads::<<params::JobPlanned as Call>::Result>(&stored_result(name), name);
    let name = "conditions.get.held.result";
    assert_reads::<<params::ConditionsGet as Call>::Result>(&stored_result(name), name);
    let name = "daemon.status.plans.result";
    assert_reads::<<params::DaemonStatus as Call>::Result>(&stored_result(name), name);
    let name = "snapshot.find.pack.result";
    assert_reads::<<params::SnapshotFind as Call>::Result>(&stored_result(name), name);
}

#[test]
fn every_stored_event_is_read_and_written_without_loss() {
    let mut seen = BTreeSet::new();
    for name in names().iter().filter(|name| name.starts_with("event.")) {
        let Message::Notification { params, .. } = stored(name) else { panic!("{name} is no notification") };
        assert_reads::<Event>(&params, name);
        seen.insert(params["type"].as_str().unwrap().to_owned());
    }
    let wanted = ["daemon", "item_error", "limits", "notice", "plan", "progress", "state", "target"];
    assert_eq!(seen, wanted.map(str::to_owned).into());
}

#[test]
fn the_stored_error_is_read() {
    let Message::Answer { outcome: Err(error), .. } = stored("error") else { panic!("no error") };
    assert_eq!(error.code, error.data.kind.code());
}

#[test]
fn every_stored_message_survives_fields_it_does_not_know() {
    for name in names() {
        if let Message::Call { method, mut params, .. } = stored(&name) {
            params["a_field_of_the_future"] = Value::Bool(true);
            Request::decode(&method, params).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
    }
}

#[test]
fn hostile_parameters_are_refused_and_the_method_is_named() {
    for (method, params, kind) in [
        ("job.get", "[]", "invalid_params"),
        ("job.get", "{}", "invalid_params"),
        ("job.get", r#"{"job": 7}"#, "invalid_params"),
        ("job.cancel", r#"{"job": "k"}"#, "invalid_params"),
        ("job.cancel", r#"{"job": "k", "request_id": ""}"#, "invalid_params"),
        ("job.submit", r#"{"request_id": "r", "spec": {"kind": "restore", "items": []}}"#, "invalid_params"),
        ("no.such", "{}", "method_not_found"),
    ] {
        let error = Request::decode(method, serde_json::from_str(params).unwrap()).unwrap_err();
        assert_eq!(error.data.kind.as_str(), kind, "{method} {params}");
        assert!(error.message.contains(method), "{}", error.message);
    }
    let long = serde_json::json!({"job": "k", "request_id": "x".repeat(params::REQUEST_ID_MAX + 1)});
    assert!(Request::decode("job.cancel", long).is_err());
}

#[test]
fn absent_parameters_are_an_empty_object() {
    assert!(Request::decode("daemon.status", Value::Null).is_ok());
}
