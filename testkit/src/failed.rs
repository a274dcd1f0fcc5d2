//! The failed items that a summary or a job's ledger names, from `backupctl --json`.
//!
//! An item is known by its fields, wherever it stands: a path, a class and a message.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use base64::Engine as _;
use serde_json::Value;

/// Returns the path of every failed item in some JSON documents.
///
/// # Errors
/// A sentence when the text is not JSON.
pub fn paths_in(text: &str) -> Result<BTreeSet<PathBuf>, String> {
    let mut found = BTreeSet::new();
    for document in serde_json::Deserializer::from_str(text).into_iter::<Value>() {
        collect(&document.map_err(|error| format!("not JSON: {error}"))?, &mut found);
    }
    Ok(found)
}

fn collect(value: &Value, found: &mut BTreeSet<PathBuf>) {
    match value {
        Value::Object(fields) => {
            if let (Some(path), Some(_), Some(_)) = (fields.get("path"), fields.get("class"), fields.get("message")) {
                found.extend(path_of(path));
            }
            fields.values().for_each(|field| collect(field, found));
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        _ => {}
    }
}

/// Reads a path in the form of the protocol: text, or base64 when it is not UTF-8.
#[must_use]
pub fn path_of(value: &Value) -> Option<PathBuf> {
    if let Some(text) = value.as_str() {
        return Some(PathBuf::from(text));
    }
    let bytes = base64::engine::general_purpose::STANDARD.decode(value.get("bytes")?.as_str()?).ok()?;
    Some(PathBuf::from(OsString::from_vec(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_text_and_byte_paths_in_several_documents() {
        let text = r#"{"type":"summary","path":"/no","failed":[{"path":"/a b","class":"permission","message":"m"}]}
            {"result":{"ledger":[{"path":{"bytes":"L3j/"},"class":"damaged","message":"m"}]}}"#;
        let found = paths_in(text).unwrap();
        assert_eq!(found, [PathBuf::from("/a b"), PathBuf::from(OsString::from_vec(b"/x\xff".to_vec()))].into());
    }

    #[test]
    fn says_when_it_is_not_json() {
        assert!(paths_in("failed: /a").unwrap_err().starts_with("not JSON"));
    }
}
