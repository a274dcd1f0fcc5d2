//! The OpenRPC document: every method with the schema of its parameters and its result, made from the types.
//!
//! It is what `rpc.discover` answers. A copy is checked in at `proto/openrpc.json`, so that a change of the protocol
//! is seen in review; a test compares the two.

use schemars::Schema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::error::{ErrorData, ErrorKind};
use crate::event::{EVENT_METHOD, Event};
use crate::message::{MethodSchema, Right, schemas};
use crate::version::SUPPORTED;

/// Returns the OpenRPC document of this version of the protocol.
#[must_use]
pub fn openrpc() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut generator = settings.into_generator();
    let rows = schemas(&mut generator);
    let event = generator.subschema_for::<Event>();
    let error_data = generator.subschema_for::<ErrorData>();
    let definitions = Value::Object(generator.take_definitions(true));
    let methods: Vec<Value> = rows.into_iter().map(|row| method(row, &definitions)).collect();
    json!({
        "openrpc": "1.3.2",
        "info": {
            "title": "backupd",
            "version": SUPPORTED.max.to_string(),
            "description": "Newline-delimited JSON-RPC 2.0 over a local socket; see docs/protocol.md."
        },
        "methods": methods,
        "x-notifications": [{ "name": EVENT_METHOD, "params": event }],
        "x-error-data": error_data,
        "components": { "schemas": definitions, "errors": errors() }
    })
}

/// One method object. OpenRPC lists parameters one by one, so the properties of the parameter type are spread out.
fn method(row: MethodSchema, definitions: &Value) -> Value {
    let params = resolve(row.params, definitions);
    let required: Vec<&Value> = params["required"].as_array().map(|names| names.iter().collect()).unwrap_or_default();
    let list: Vec<Value> = params["properties"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, schema)| {
            json!({ "name": name, "required": required.contains(&&Value::String(name.clone())), "schema": schema })
        })
        .collect();
    json!({
        "name": row.method.name,
        "summary": params["description"],
        "paramStructure": "by-name",
        "params": list,
        "result": { "name": "result", "schema": row.result },
        "x-right": match row.method.right { Right::Read => "read", Right::Write => "write" },
        "x-changes": row.method.is_change
    })
}

/// Follows a schema that only refers to a definition.
fn resolve(schema: Schema, definitions: &Value) -> Value {
    let schema = schema.to_value();
    let name = schema["$ref"].as_str().and_then(|path| path.rsplit('/').next());
    match name {
        Some(name) => definitions[name].clone(),
        None => schema,
    }
}

/// The table of error kinds with their codes.
fn errors() -> Map<String, Value> {
    ErrorKind::ALL
        .iter()
        .map(|kind| (kind.as_str(), json!({ "code": kind.code(), "message": kind.as_str() })))
        .collect()
}
