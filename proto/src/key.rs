//! The passwords of a repository: its key files, a password on its way to the daemon, and what can be asked for.

use std::fmt;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::page::PageRequest;
use crate::params::{RequestId, params};

/// A key file of a repository: one password that opens it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Key {
    /// Its id.
    pub id: String,
    /// The target.
    pub target: String,
    /// Whether the daemon opens the repository with it.
    pub is_current: bool,
    /// When it was made, as its file says.
    #[serde(default)]
    pub created: Option<Timestamp>,
    /// Who made it.
    #[serde(default)]
    pub user: Option<String>,
    /// On which machine.
    #[serde(default)]
    pub host: Option<String>,
    /// What is wrong with it, if it cannot be read.
    #[serde(default)]
    pub problem: Option<String>,
}

/// The answer to `key.change`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KeyChanged {
    /// The new key.
    pub key: Key,
    /// The old one, if it was removed.
    #[serde(default)]
    pub removed: Option<String>,
    /// What there is left to do, in a sentence or two.
    pub notice: String,
}

/// A password on its way to the daemon. It is shown nowhere, and nothing that is stored is made of it.
#[derive(Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// The name of every parameter that is one: it is left out of what is remembered of a request.
    pub const FIELD: &str = "new_password";

    /// Keeps a password.
    #[must_use]
    pub fn new(password: String) -> Self {
        Self(password)
    }

    /// Shows it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // serde's own complaint about another type would quote it.
        match Value::deserialize(deserializer)? {
            Value::String(password) => Ok(Self(password)),
            _ => Err(serde::de::Error::custom("a password must be a text")),
        }
    }
}

params! {
    /// Asks for the keys of a target's repository.
    KeyList {
        ?
        /// The target; absent: `local`.
        target: Option<String>,
        /// Which part.
        page: PageRequest,
    }
    /// Lets another password open a target's repository.
    KeyAdd {
        /// The name of this change.
        request_id: RequestId,
        /// The password.
        new_password: Secret,
        ?
        /// The target; absent: `local`.
        target: Option<String>,
    }
    /// Keeps a password from opening a target's repository any more.
    KeyRemove {
        /// The name of this change.
        request_id: RequestId,
        /// The key's id or a unique prefix of it.
        key: String,
        ?
        /// The target; absent: `local`.
        target: Option<String>,
    }
    /// Puts another password in the place of the daemon's own.
    KeyChange {
        /// The name of this change.
        request_id: RequestId,
        ?
        /// The target; absent: `local`.
        target: Option<String>,
        /// The password; absent: the daemon makes one, if the password file is its own.
        new_password: Option<Secret>,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_shows_up_in_no_debug_text_and_in_no_complaint() {
        assert!(!format!("{:?}", Secret::new("hunter2".to_owned())).contains("hunter2"));
        for wrong in ["12345678", r#"["12345678"]"#, r#"{"x": 12345678}"#] {
            let error = serde_json::from_str::<Secret>(wrong).expect_err("it is no text");
            assert!(!error.to_string().contains("12345678"), "{error}");
        }
    }
}
