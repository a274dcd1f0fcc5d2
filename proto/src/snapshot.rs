//! Snapshots and what is in them, as clients see them.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use crate::note::Note;
use crate::page::PageRequest;
use crate::params::params;
use crate::path::WirePath;

/// A snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Snapshot {
    /// Its id, 64 hex digits.
    pub id: String,
    /// The target it is in.
    pub target: String,
    /// The time it stands for.
    pub time: Timestamp,
    /// The host it was made on.
    #[serde(default)]
    pub host: String,
    /// The user it was made by.
    #[serde(default)]
    pub user: String,
    /// Its sources.
    pub paths: Vec<WirePath>,
    /// Its tags.
    #[serde(default)]
    pub tags: Vec<String>,
    /// The plan that made it.
    #[serde(default)]
    pub plan: Option<String>,
    /// Whether named items are missing from it.
    #[serde(default)]
    pub is_incomplete: bool,
    /// Files in it, where the snapshot says so.
    #[serde(default)]
    pub files: Option<u64>,
    /// Bytes of its files, where the snapshot says so.
    #[serde(default)]
    pub bytes: Option<u64>,
    /// Who wanted it, and why, if they said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<Note>,
}

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link.
    Symlink,
    /// A block device.
    BlockDevice,
    /// A character device.
    CharacterDevice,
    /// A fifo.
    Fifo,
    /// A socket.
    Socket,
    /// A kind this program does not know yet.
    #[serde(other)]
    Unknown,
}

/// A file, folder or other entry in a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Entry {
    /// Its absolute path in the snapshot.
    pub path: WirePath,
    /// What it is.
    pub kind: EntryKind,
    /// Permission bits, with setuid, setgid and sticky.
    #[serde(default)]
    pub mode: u32,
    /// Owner by number.
    #[serde(default)]
    pub uid: u32,
    /// Group by number.
    #[serde(default)]
    pub gid: u32,
    /// Owner by name.
    #[serde(default)]
    pub user: Option<String>,
    /// Group by name.
    #[serde(default)]
    pub group: Option<String>,
    /// Size of a file.
    #[serde(default)]
    pub size_bytes: u64,
    /// When its contents last changed.
    #[serde(default)]
    pub modified: Option<Timestamp>,
    /// Where a symbolic link points.
    #[serde(default)]
    pub link_target: Option<WirePath>,
    /// How many names it had, where the snapshot says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub links: Option<u64>,
    /// Its extended attributes, if they were asked for; none when they have more than [`ATTRIBUTES_BYTES_MAX`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attributes: Vec<Attribute>,
}

/// Bytes that the extended attributes of an entry may have together: with more, a page could not be sent.
pub const ATTRIBUTES_BYTES_MAX: usize = 256 * 1024;

/// An extended attribute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Attribute {
    /// Its name.
    pub name: String,
    /// Its value, in base64.
    #[serde(with = "base64_value")]
    #[schemars(with = "String")]
    pub value: Vec<u8>,
}

/// A value as base64 text.
mod base64_value {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(value: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(value))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        STANDARD.decode(String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

params! {
    /// Asks where names match a pattern, or what a blob is for. Exactly one of the first four is given; ids may be
    /// shortened.
    SnapshotFind {
        ?
        /// The pattern, as in restic's `find`: a name with wildcards, or a path with wildcards.
        pattern: Option<String>,
        /// The id of a piece of files.
        blob: Option<String>,
        /// The id of a folder's tree.
        tree: Option<String>,
        /// The id of a pack: what uses any blob in it is meant.
        pack: Option<String>,
        /// Only in this target.
        target: Option<String>,
        /// Only in this snapshot: a unique prefix of an id, or `latest`.
        snapshot: Option<String>,
        /// Only in snapshots made on this host.
        host: Option<String>,
        /// Which part.
        page: PageRequest,
    }
}

/// An entry that a search found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Found {
    /// The id of the snapshot it is in.
    pub snapshot: String,
    /// The target the snapshot is in.
    pub target: String,
    /// The time of the snapshot.
    pub time: Timestamp,
    /// The blob that the entry uses, if it was found by that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blob: Option<Blob>,
    /// The entry.
    #[serde(flatten)]
    pub entry: Entry,
}

/// What a blob holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BlobKind {
    /// A piece of files.
    Data,
    /// The list of a folder's entries.
    Tree,
    /// Something this program does not know yet.
    #[serde(other)]
    Unknown,
}

/// A stored blob.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Blob {
    /// What it holds.
    pub kind: BlobKind,
    /// Its id, 64 hex digits.
    pub id: String,
}

/// How an entry differs between two snapshots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// Only in the second.
    Added,
    /// Only in the first.
    Removed,
    /// Other contents.
    Modified,
    /// Same contents, other mode, owner, times or attributes.
    Metadata,
    /// Became another kind of entry.
    Type,
    /// A difference this program does not know yet.
    #[serde(other)]
    Unknown,
}

/// One difference between two snapshots.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Change {
    /// How it differs.
    pub change: ChangeKind,
    /// What differs.
    pub path: WirePath,
}
