//! The first words of every connection: `hello`, and what happens when the two sides speak different versions.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{ErrorKind, RpcError};

/// The versions of the protocol that this library speaks.
pub const SUPPORTED: VersionRange = VersionRange { min: 1, max: 1 };

/// The ability to make dry runs of backups.
pub const BACKUP_DRY_RUN: &str = "backup_dry_run";

/// The ability to send the bytes of one file after another on one connection, without tokens.
pub const BULK_KEEP: &str = "bulk_keep";

/// A range of protocol versions, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VersionRange {
    /// The oldest.
    pub min: u32,
    /// The newest.
    pub max: u32,
}

impl VersionRange {
    /// Returns the newest version that both sides speak.
    ///
    /// # Errors
    /// `version_mismatch` when there is none; the message says which side is the older one.
    pub fn agree(self, other: Self) -> Result<u32, RpcError> {
        let newest = self.max.min(other.max);
        if newest >= self.min.max(other.min) {
            return Ok(newest);
        }
        let Self { min, max } = self;
        let problem = if other.max < min { "the client is too old" } else { "the client is too new" };
        Err(RpcError::new(
            ErrorKind::VersionMismatch,
            format!("{problem}: it speaks protocol {} to {}, this daemon {min} to {max}", other.min, other.max),
            "Use a client and a daemon of the same release.",
        ))
    }
}

/// The answer to `hello`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Welcome {
    /// The version both sides speak from now on.
    pub protocol: u32,
    /// Program and version of the server.
    pub server: String,
    /// Changes with each start of the daemon.
    pub instance_id: String,
    /// Names of optional abilities.
    #[serde(default)]
    pub capabilities: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(min: u32, max: u32) -> VersionRange {
        VersionRange { min, max }
    }

    #[test]
    fn the_newest_common_version_wins() {
        assert_eq!(range(1, 4).agree(range(2, 3)).unwrap(), 3);
        assert_eq!(range(2, 3).agree(range(1, 9)).unwrap(), 3);
        assert_eq!(range(1, 1).agree(range(1, 1)).unwrap(), 1);
    }

    #[test]
    fn a_mismatch_says_which_side_is_old() {
        assert!(range(3, 4).agree(range(1, 2)).unwrap_err().message.starts_with("the client is too old"));
        assert!(range(1, 2).agree(range(3, 4)).unwrap_err().message.starts_with("the client is too new"));
    }

    #[test]
    fn an_inverted_range_is_a_mismatch() {
        assert!(range(1, 5).agree(range(4, 2)).is_err());
    }
}
