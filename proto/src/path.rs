//! A path on the wire: a JSON string, or `{"bytes": BASE64}` when the name is not UTF-8.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser::SerializeMap};

/// A path, byte for byte as the file system has it.
///
/// Both ends keep the bytes, so a name in any encoding survives the trip. [`fmt::Display`] is for people: what is
/// not printable is shown as an escape.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct WirePath(Vec<u8>);

impl WirePath {
    /// Takes the bytes of a path.
    #[must_use]
    pub fn from_bytes(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    /// Returns the bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns it as a path of this system.
    #[must_use]
    pub fn as_path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.0))
    }
}

impl From<&Path> for WirePath {
    fn from(path: &Path) -> Self {
        Self(path.as_os_str().as_bytes().to_vec())
    }
}

impl From<PathBuf> for WirePath {
    fn from(path: PathBuf) -> Self {
        Self(path.into_os_string().into_vec())
    }
}

impl From<&str> for WirePath {
    fn from(path: &str) -> Self {
        Self(path.as_bytes().to_vec())
    }
}

impl From<WirePath> for PathBuf {
    fn from(path: WirePath) -> Self {
        OsString::from_vec(path.0).into()
    }
}

impl fmt::Display for WirePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for letter in chunk.valid().chars() {
                if is_unprintable(letter) {
                    write!(f, "{}", letter.escape_default())?;
                } else {
                    write!(f, "{letter}")?;
                }
            }
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

/// Tells letters that would move the cursor or turn the writing direction, so that a file's name can neither hide
/// itself nor rewrite what a terminal shows.
fn is_unprintable(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

impl fmt::Debug for WirePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

impl Serialize for WirePath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if let Ok(text) = std::str::from_utf8(&self.0) {
            return serializer.serialize_str(text);
        }
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry("bytes", &STANDARD.encode(&self.0))?;
        map.end()
    }
}

impl<'de> Deserialize<'de> for WirePath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Text(String),
            Bytes { bytes: String },
        }
        let bytes = match Form::deserialize(deserializer)? {
            Form::Text(text) => text.into_bytes(),
            Form::Bytes { bytes } => STANDARD.decode(bytes).map_err(de::Error::custom)?,
        };
        if bytes.contains(&0) {
            return Err(de::Error::custom("a path cannot contain a NUL byte"));
        }
        Ok(Self(bytes))
    }
}

impl JsonSchema for WirePath {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Path".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A path: a string, or its bytes in base64 when the name is not UTF-8.",
            "oneOf": [
                { "type": "string" },
                {
                    "type": "object",
                    "properties": { "bytes": { "type": "string", "contentEncoding": "base64" } },
                    "required": ["bytes"]
                }
            ]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{prop_assert_eq, proptest};

    #[test]
    fn is_a_plain_string_when_it_is_utf8() {
        let path = WirePath::from("/home/zoë/a b");
        assert_eq!(serde_json::to_string(&path).unwrap(), r#""/home/zoë/a b""#);
    }

    #[test]
    fn is_base64_when_it_is_not_utf8() {
        let path = WirePath::from_bytes(b"/x/\xff\xfe".to_vec());
        assert_eq!(serde_json::to_string(&path).unwrap(), r#"{"bytes":"L3gv//4="}"#);
        assert_eq!(path.to_string(), "/x/\\xff\\xfe");
    }

    #[test]
    fn refuses_a_nul_byte_and_bad_base64() {
        assert!(serde_json::from_str::<WirePath>(r#""a\u0000b""#).is_err());
        assert!(serde_json::from_str::<WirePath>(r#"{"bytes":"AA=="}"#).is_err());
        assert!(serde_json::from_str::<WirePath>(r#"{"bytes":"%"}"#).is_err());
        assert!(serde_json::from_str::<WirePath>("7").is_err());
    }

    #[test]
    fn shows_what_would_disturb_a_terminal_as_an_escape() {
        assert_eq!(WirePath::from("a\nb\u{1b}[2J\u{202e}").to_string(), "a\\nb\\u{1b}[2J\\u{202e}");
    }

    proptest! {
        #[test]
        fn comes_back_byte_for_byte(bytes in proptest::collection::vec(1u8.., 0..64)) {
            let path = WirePath::from_bytes(bytes);
            let text = serde_json::to_string(&path).unwrap();
            prop_assert_eq!(serde_json::from_str::<WirePath>(&text).unwrap(), path);
        }
    }
}
