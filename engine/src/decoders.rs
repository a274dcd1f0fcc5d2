//! Every decoder of the engine as a plain function of bytes, in one table: what fuzzing and its everyday form call.
//!
//! A decoder answers any bytes at all, with what they mean or with what is wrong with them. It does not panic, and it
//! takes no more memory than a small multiple of what it was given. What it accepts comes back when it is written and
//! read again; that is checked here with assertions, so that a fuzzer sees a breach as a crash.

use serde::Serialize;

use crate::config::Config;
use crate::id::BlobKind;
use crate::index::{Index, IndexFile};
use crate::key::check_key_file;
use crate::lock::LockFile;
use crate::pack::{decode_header, encode_header};
use crate::snapshot::Snapshot;
use crate::source::exclude::{Excludes, parse_pattern_file};
use crate::tree::{Node, Tree, join_nodes};

/// A decoder of bytes that somebody else may have written.
#[derive(Clone, Copy, Debug)]
pub struct Decoder {
    /// What it reads; also the name of its folder of samples.
    pub name: &'static str,
    /// Decodes, writes what came of it, and decodes that; the error says what is wrong with the bytes.
    pub decode: fn(&[u8]) -> Result<(), String>,
}

/// The engine's decoders.
pub const DECODERS: [Decoder; 11] = [
    Decoder { name: "exclude_file", decode: exclude_file },
    Decoder { name: "index", decode: index },
    Decoder { name: "key", decode: key },
    Decoder { name: "lock", decode: lock },
    Decoder { name: "pack_header", decode: pack_header },
    Decoder { name: "pattern", decode: pattern },
    Decoder { name: "record", decode: crate::record::check },
    Decoder { name: "repository_config", decode: repository_config },
    Decoder { name: "snapshot", decode: snapshot },
    Decoder { name: "tree", decode: tree },
    Decoder { name: "verified", decode: crate::checker::check_verified },
];

/// Checks that what was decoded comes back when it is written as JSON and decoded again.
///
/// # Panics
/// When it does not: the decoder or the encoder is wrong.
pub fn comes_back<T: Serialize>(value: &T, decode: impl Fn(&[u8]) -> Result<T, String>) {
    let write = |value: &T| serde_json::to_vec(value).expect("what was decoded from JSON can be written as JSON");
    let written = write(value);
    let again = decode(&written).map(|value| write(&value));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert_eq!(again.as_deref().map(text), Ok(text(&written)), "what was decoded has to come back");
}

fn exclude_file(bytes: &[u8]) -> Result<(), String> {
    let patterns = parse_pattern_file(bytes, |_| Some("value".to_owned())).map_err(|error| error.to_string())?;
    let excludes = Excludes::new(&patterns).map_err(|error| error.to_string())?;
    for pattern in patterns.iter().take(8) {
        let _ = excludes.excluded(pattern);
    }
    Ok(())
}

/// The first line is a pattern and the rest a path.
fn pattern(bytes: &[u8]) -> Result<(), String> {
    let at = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let (pattern, path) = bytes.split_at(at);
    let excludes = Excludes::new(&[pattern]).map_err(|error| error.to_string())?;
    let _ = excludes.excluded(path);
    Ok(())
}

fn index(bytes: &[u8]) -> Result<(), String> {
    let file = IndexFile::decode(bytes)?;
    let mut index = Index::default();
    file.packs.iter().for_each(|pack| index.add_pack(pack.id, &pack.packed_blobs()));
    let _ = (index.contents(BlobKind::Data), index.by_pack());
    comes_back(&file, IndexFile::decode);
    Ok(())
}

fn key(bytes: &[u8]) -> Result<(), String> {
    check_key_file(bytes)
}

fn lock(bytes: &[u8]) -> Result<(), String> {
    let decode = |bytes: &[u8]| serde_json::from_slice::<LockFile>(bytes).map_err(|error| error.to_string());
    comes_back(&decode(bytes)?, decode);
    Ok(())
}

fn pack_header(bytes: &[u8]) -> Result<(), String> {
    let blobs = decode_header(bytes)?;
    assert_eq!(encode_header(&blobs), bytes, "a header has one form");
    Ok(())
}

fn repository_config(bytes: &[u8]) -> Result<(), String> {
    let config = Config::decode(bytes)?;
    let _ = (config.pack_size(BlobKind::Data, u64::MAX), config.compression_level(), config.chunker());
    comes_back(&config, Config::decode);
    config.check("here").map_err(|error| error.to_string())
}

fn snapshot(bytes: &[u8]) -> Result<(), String> {
    comes_back(&Snapshot::decode(bytes)?, Snapshot::decode);
    Ok(())
}

fn tree(bytes: &[u8]) -> Result<(), String> {
    let tree = Tree::decode(bytes)?;
    for node in &tree.nodes {
        let _ = (node.has_safe_name(), node.link_target());
    }
    let node = |node: &Node| serde_json::to_vec(node).expect("a node is plain data");
    let nodes: Vec<Vec<u8>> = tree.nodes.iter().map(node).collect();
    let length = nodes.iter().map(Vec::len).sum();
    let again = Tree::decode(&join_nodes(nodes.iter().map(Vec::as_slice), length));
    assert_eq!(again.as_ref(), Ok(&tree), "a tree has to come back");
    Ok(())
}
