//! The checked-in OpenRPC document is that of the types.

use std::fs;
use std::path::Path;

use backup_proto::message::METHODS;
use backup_proto::schema::openrpc;
use serde_json::Value;

#[test]
fn the_checked_in_document_is_that_of_the_types() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("openrpc.json");
    let now = openrpc();
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, serde_json::to_string_pretty(&now).unwrap() + "\n").unwrap();
    }
    let stored = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        serde_json::from_str::<Value>(&stored).ok() == Some(now),
        "the protocol changed. If that is meant, run `UPDATE=1 cargo test -p backup-proto --test schema`, read the \
         difference of proto/openrpc.json, and commit it together with the change"
    );
}

#[test]
fn every_method_is_in_the_document_with_its_right_and_its_parameters() {
    let document = openrpc();
    let methods = document["methods"].as_array().unwrap();
    assert_eq!(methods.len(), METHODS.len());
    for method in METHODS {
        let found = methods.iter().find(|found| found["name"] == method.name).expect(method.name);
        assert!(found["x-right"] == "read" || found["x-right"] == "write");
        assert!(found["summary"].as_str().is_some_and(|text| !text.is_empty()), "{} has a summary", method.name);
        let names: Vec<&Value> = found["params"].as_array().unwrap().iter().map(|param| &param["name"]).collect();
        assert_eq!(method.is_change, names.contains(&&Value::from("request_id")), "{}", method.name);
    }
}

#[test]
fn every_reference_in_the_document_leads_somewhere() {
    let document = openrpc();
    let mut references = Vec::new();
    collect(&document, &mut references);
    assert!(references.len() > 50);
    for reference in references {
        assert!(document.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
    }
}

fn collect(value: &Value, references: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            references.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
            fields.values().for_each(|value| collect(value, references));
        }
        Value::Array(items) => items.iter().for_each(|value| collect(value, references)),
        _ => {}
    }
}
