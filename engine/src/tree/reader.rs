//! Reads a tree blob one entry after the other: a small blob may be unpacked to very many.

use serde::Deserializer;
use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::{Node, TreeError};

/// Reads the entries of a tree blob that has at most this many.
pub(super) fn read(bytes: &[u8], most: usize) -> Result<Vec<Node>, TreeError> {
    let mut reader = TreeReader { most, is_too_long: false, nodes: Vec::new() };
    let mut json = serde_json::Deserializer::from_slice(bytes);
    match json.deserialize_map(&mut reader).and_then(|()| json.end()) {
        Ok(()) => Ok(reader.nodes),
        Err(_) if reader.is_too_long => Err(TreeError::TooLong),
        Err(error) => Err(TreeError::Broken(error.to_string())),
    }
}

/// Reads the object that a tree is.
struct TreeReader {
    most: usize,
    is_too_long: bool,
    nodes: Vec<Node>,
}

/// Reads the list in it.
struct NodesReader<'a>(&'a mut TreeReader);

impl<'de> Visitor<'de> for &mut TreeReader {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a tree")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<(), M::Error> {
        while let Some(key) = map.next_key::<String>()? {
            if key == "nodes" {
                map.next_value_seed(NodesReader(self))?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for NodesReader<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, list: D) -> Result<(), D::Error> {
        list.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for NodesReader<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a list of entries")
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut entries: S) -> Result<(), S::Error> {
        while let Some(node) = entries.next_element()? {
            if self.0.nodes.len() == self.0.most {
                self.0.is_too_long = true;
                return Err(S::Error::custom("too many entries"));
            }
            self.0.nodes.push(node);
        }
        Ok(())
    }

    // With some programs, the list of an empty folder is `null`.
    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        Ok(())
    }
}
