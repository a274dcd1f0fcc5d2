//! Trees: a folder's entries, as restic's JSON has them.
//!
//! Field names, their order and what is left out are restic's, so that the same folder makes the same blob.

mod reader;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::encoding::{base64_option, base64_text, quote, unquote};
use crate::id::BlobId;
use crate::limits::NAME_MAX;

/// A folder's entries, sorted by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    /// The entries.
    pub nodes: Vec<Node>,
}

/// Why a tree blob cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TreeError {
    /// It has more entries than are wanted in memory.
    TooLong,
    /// It is no tree; how that shows.
    Broken(String),
}

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeKind {
    /// A regular file.
    File,
    /// A folder.
    Dir,
    /// A symbolic link.
    Symlink,
    /// A block device.
    Dev,
    /// A character device.
    Chardev,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// Something a newer program knows.
    #[serde(other)]
    Unknown,
}

/// An entry of a folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Its name, which need not be UTF-8.
    #[serde(with = "quoted")]
    pub name: Vec<u8>,
    /// What it is.
    #[serde(rename = "type")]
    pub kind: NodeKind,
    /// Permissions and type as bits of Go's `os.FileMode`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub mode: u32,
    /// When its contents changed.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient_time")]
    pub mtime: Option<Timestamp>,
    /// When it was read; restic keeps the time of change here unless told otherwise, and so do we.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient_time")]
    pub atime: Option<Timestamp>,
    /// When its metadata changed.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient_time")]
    pub ctime: Option<Timestamp>,
    /// Its owner.
    #[serde(default)]
    pub uid: u32,
    /// Its group.
    #[serde(default)]
    pub gid: u32,
    /// Its owner's name.
    #[serde(default, skip_serializing_if = "is_default")]
    pub user: String,
    /// Its group's name.
    #[serde(default, skip_serializing_if = "is_default")]
    pub group: String,
    /// Its number in its file system.
    #[serde(default, skip_serializing_if = "is_default")]
    pub inode: u64,
    /// Its file system.
    #[serde(default, skip_serializing_if = "is_default")]
    pub device_id: u64,
    /// Its length in bytes.
    #[serde(default, skip_serializing_if = "is_default")]
    pub size: u64,
    /// How many names it has.
    #[serde(default, skip_serializing_if = "is_default")]
    pub links: u64,
    /// Where a symbolic link leads, as text.
    #[serde(default, skip_serializing_if = "is_default")]
    pub linktarget: String,
    /// Where a symbolic link leads, if that is not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "base64_option")]
    pub linktarget_raw: Option<Vec<u8>>,
    /// Its extended attributes.
    #[serde(default, skip_serializing_if = "is_default", deserialize_with = "null_is_default")]
    pub extended_attributes: Vec<ExtendedAttribute>,
    /// A device's number.
    #[serde(default, skip_serializing_if = "is_default")]
    pub device: u64,
    /// A file's contents.
    #[serde(default)]
    pub content: Option<Vec<BlobId>>,
    /// A folder's tree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subtree: Option<BlobId>,
}

/// An extended attribute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExtendedAttribute {
    /// Its name.
    pub name: String,
    /// Its value.
    #[serde(default, with = "base64_text")]
    pub value: Vec<u8>,
}

impl Tree {
    /// Decodes a tree blob; total over all bytes.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        Self::decode_within(bytes, usize::MAX).map_err(|error| match error {
            TreeError::TooLong => "it has too many entries".to_owned(),
            TreeError::Broken(problem) => problem,
        })
    }

    /// Decodes a tree blob that has at most this many entries.
    pub(crate) fn decode_within(bytes: &[u8], most: usize) -> Result<Self, TreeError> {
        reader::read(bytes, most).map(|nodes| Self { nodes })
    }

    /// Returns the entry of this name.
    #[must_use]
    pub fn get(&self, name: &[u8]) -> Option<&Node> {
        // Sorted in every tree we write; a program that sorted differently must still be readable.
        match self.nodes.binary_search_by(|node| node.name.as_slice().cmp(name)) {
            Ok(position) => self.nodes.get(position),
            Err(_) => self.nodes.iter().find(|node| node.name == name),
        }
    }
}

impl Node {
    /// Returns whether a file looks as it did: as long, touched at the same times, and the same one on its file system.
    pub(crate) fn looks_like(&self, other: &Self) -> bool {
        (self.size, self.mtime, self.ctime, self.inode) == (other.size, other.mtime, other.ctime, other.inode)
    }

    /// Returns where a symbolic link leads.
    #[must_use]
    pub fn link_target(&self) -> &[u8] {
        self.linktarget_raw.as_deref().unwrap_or(self.linktarget.as_bytes())
    }

    /// Sets where a symbolic link leads.
    pub fn set_link_target(&mut self, target: &[u8]) {
        self.linktarget = String::from_utf8_lossy(target).into_owned();
        self.linktarget_raw = (self.linktarget.as_bytes() != target).then(|| target.to_vec());
    }

    /// Returns whether the name can be one of an entry: not empty, no `.` or `..`, no slash and no zero byte,
    /// and not longer than any file system allows.
    #[must_use]
    pub fn has_safe_name(&self) -> bool {
        let name = self.name.as_slice();
        !matches!(name, b"" | b"." | b"..") && !name.contains(&b'/') && !name.contains(&0) && name.len() <= NAME_MAX
    }
}

/// Joins entries, each already written as JSON and in the order of their names, to the tree blob of their folder.
#[must_use]
pub(crate) fn join_nodes<'a>(nodes: impl Iterator<Item = &'a [u8]>, length: usize) -> Vec<u8> {
    let mut tree = Vec::with_capacity(length + 16);
    tree.extend_from_slice(b"{\"nodes\":[");
    for (number, node) in nodes.enumerate() {
        if number > 0 {
            tree.push(b',');
        }
        tree.extend_from_slice(node);
    }
    tree.extend_from_slice(b"]}\n");
    tree
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn null_is_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// A time that cannot be represented is no reason to lose the folder it stands in.
fn lenient_time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    struct Time;
    impl serde::de::Visitor<'_> for Time {
        type Value = Option<Timestamp>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a time")
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
            Ok(text.parse().ok())
        }

        fn visit_unit<E: serde::de::Error>(self) -> Result<Self::Value, E> {
            Ok(None)
        }
    }
    deserializer.deserialize_any(Time)
}

/// A name in Go's quoted form.
mod quoted {
    use super::{Deserialize as _, Deserializer, Serializer, quote, unquote};
    use serde::de::Error as _;

    pub(super) fn serialize<S: Serializer>(name: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&quote(name))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        unquote(&text).ok_or_else(|| D::Error::custom(format!("`{text}` is not a name")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// As restic 0.14 wrote it.
    const FILE: &str = r#"{"name":"a\\xff","type":"file","mode":420,"mtime":"2024-01-02T03:04:05.5Z","atime":"2024-01-02T03:04:05.5Z","ctime":"2024-01-02T03:04:06Z","uid":0,"gid":0,"user":"root","group":"root","inode":7,"device_id":65024,"size":1,"links":1,"content":["aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"]}"#;

    #[test]
    fn writes_a_node_as_restic_does() {
        let node: Node = serde_json::from_str(FILE).unwrap();
        assert_eq!(node.name, b"a\xff");
        assert_eq!(serde_json::to_string(&node).unwrap(), FILE);
    }

    #[test]
    fn reads_what_other_programs_leave_out_or_add() {
        let text = r#"{"nodes":[{"name":"x","type":"irregular","mtime":"9999-99-99T00:00:00Z","extended_attributes":null,"new":1}]}"#;
        let tree = Tree::decode(text.as_bytes()).unwrap();
        assert_eq!(tree.nodes[0].kind, NodeKind::Unknown);
        assert_eq!(tree.nodes[0].mtime, None);
        for empty in [r#"{"nodes":null}"#, r#"{"nodes":[]}"#, "{}", "{\"nodes\":[],\"more\":[1]}\n"] {
            assert_eq!(Tree::decode(empty.as_bytes()).unwrap(), Tree::default(), "{empty}");
        }
        for broken in ["", "null", "[]", "3", r#"{"nodes":{}}"#, r#"{"nodes":3}"#, r#"{"nodes":[]} x"#] {
            assert!(Tree::decode(broken.as_bytes()).is_err(), "{broken}");
        }
    }

    #[test]
    fn no_more_entries_are_read_than_wanted() {
        let text = br#"{"nodes":[{"name":"a","type":"file"},{"name":"b","type":"file"}]}"#;
        assert_eq!(Tree::decode_within(text, 1), Err(TreeError::TooLong));
        assert_eq!(Tree::decode_within(text, 2).unwrap().nodes.len(), 2);
    }

    #[test]
    fn a_link_that_is_not_text_keeps_its_bytes() {
        let mut node: Node = serde_json::from_str(r#"{"name":"l","type":"symlink"}"#).unwrap();
        node.set_link_target(b"\xfe/a");
        let again: Node = serde_json::from_str(&serde_json::to_string(&node).unwrap()).unwrap();
        assert_eq!(again.link_target(), b"\xfe/a");
    }

    proptest! {
        #[test]
        fn no_tree_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Tree::decode(&bytes);
        }
    }
}
