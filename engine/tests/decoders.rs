//! Everything that is read from a repository, bent in every way: a decoder says what is wrong, and neither panics nor
//! takes memory for what is only claimed.

#![allow(clippy::unwrap_used, reason = "a failed step of a test's preparation is a failed test")]

mod common;

use std::io::Read as _;

use backup_engine::config::Config;
use backup_engine::id::{BlobId, BlobKind, PackId, sha256};
use backup_engine::index::{IndexFile, IndexedBlob, IndexedPack};
use backup_engine::lock::{Lock, LockFile};
use backup_engine::monitor::PackedBlob;
use backup_engine::pack::{decode_header, encode_header};
use backup_engine::snapshot::Snapshot;
use backup_engine::storage::FileKind;
use backup_engine::tree::Tree;
use backup_engine::{Class, Error};
use backup_testkit::seed::{Random, Seed, rounds};
use common::forge::Forge;
use common::{PASSWORD, lock_options};
use serde_json::json;

/// Bends valid bytes: a flipped bit, a cut, a piece twice, bytes of meaning in a wrong place, and several of these.
fn bend(sample: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = sample.to_vec();
    for _ in 0..=random.below(3) {
        let at = |random: &mut Random, bytes: &[u8]| usize::try_from(random.below(bytes.len() as u64 + 1)).unwrap();
        let (a, b) = (at(random, &bytes), at(random, &bytes));
        match random.below(5) {
            0 if a < bytes.len() => bytes[a] ^= 1 << random.below(8),
            1 => bytes.truncate(a),
            2 => {
                let piece = bytes[a.min(b)..a.max(b)].to_vec();
                bytes.splice(a..a, piece);
            }
            3 => drop(bytes.drain(a.min(b)..a.max(b))),
            _ => {
                const PIECES: [&[u8]; 9] = [
                    b"null",
                    b"{",
                    b"[",
                    b"\"",
                    b"-1",
                    b"1e999",
                    b"18446744073709551616",
                    b"\\ud800",
                    b"\xff\xff\xff\xff",
                ];
                let piece = PIECES[usize::try_from(random.below(PIECES.len() as u64)).unwrap()];
                bytes.splice(a..a, piece.iter().copied());
            }
        }
        bytes.truncate(4 * sample.len() + 64);
    }
    bytes
}

/// Gives a decoder its valid sample and then bent ones; prints the one that replays a panic.
fn torment<T, E: std::fmt::Debug>(test: &str, sample: &[u8], decode: impl Fn(&[u8]) -> Result<T, E>) {
    decode(sample).expect("the sample itself is valid");
    let mut random = Seed::of_test("backup-engine", test).random();
    let refused = (0..rounds(20_000, 2_000_000)).filter(|_| decode(&bend(sample, &mut random)).is_err()).count();
    assert!(refused > 0, "nothing was ever refused");
}

const ID: &str = "5956a3f67a6230d4a92cefb29529f10196c7d92582ec305fd71ff6d331d6271b";

#[test]
fn no_bent_tree_panics() {
    let node = json!({ "name": "n\\xff\\u00e4\\\\", "type": "file", "mode": 420, "mtime": "2024-01-02T03:04:05.5+01:00",
        "uid": 1, "user": "u", "inode": 7, "size": 1, "links": 2, "linktarget_raw": "/w==", "content": [ID], "subtree": ID,
        "extended_attributes": [{ "name": "user.x", "value": "AAAA" }] });
    torment("no_bent_tree_panics", json!({ "nodes": [node, node] }).to_string().as_bytes(), Tree::decode);
}

#[test]
fn no_bent_snapshot_panics() {
    let sample = json!({ "time": "2024-01-02T03:04:05.5Z", "tree": ID, "paths": ["/a"], "hostname": "h", "tags": ["t"],
        "parent": ID, "original": ID, "uid": 1, "new": { "a": [1] },
        "summary": { "backup_start": "2024-01-02T03:04:05Z", "backup_end": "2024-01-02T03:04:05Z", "files_new": 1 } });
    torment("no_bent_snapshot_panics", sample.to_string().as_bytes(), Snapshot::decode);
}

#[test]
fn no_bent_index_panics() {
    let blob =
        |kind, offset| IndexedBlob { id: BlobId([7; 32]), kind, offset, length: 100, uncompressed_length: Some(300) };
    let blobs = vec![blob(BlobKind::Data, 0), blob(BlobKind::Tree, 100)];
    let file = IndexFile { supersedes: Vec::new(), packs: vec![IndexedPack { id: PackId([8; 32]), blobs }] };
    torment("no_bent_index_panics", &serde_json::to_vec(&file).unwrap(), |bytes| {
        let file = IndexFile::decode(bytes)?;
        let mut index = backup_engine::index::Index::default();
        file.packs.iter().for_each(|pack| index.add_pack(pack.id, &pack.packed_blobs()));
        let _ = (index.contents(BlobKind::Data), index.by_pack());
        Ok::<_, String>(())
    });
}

#[test]
fn no_bent_config_panics() {
    let sample = json!({ "version": 2, "id": ID, "chunker_polynomial": "25b468838dcb75", "chunker": "Rabin",
        "chunk_size": 1_048_576, "chunk_min_size": 524_288, "chunk_max_size": 8_388_608, "compression": 3,
        "append_only": true, "datapack_size": 1000, "datapack_growfactor": 3, "datapack_size_limit": 9000 });
    torment("no_bent_config_panics", sample.to_string().as_bytes(), |bytes| {
        let config = Config::decode(bytes)?;
        let _ = (config.pack_size(BlobKind::Data, u64::MAX), config.compression_level());
        config.check("here").map_err(|error| error.to_string())
    });
}

#[test]
fn no_bent_lock_panics() {
    let sample =
        json!({ "time": "2024-01-02T03:04:05.5Z", "exclusive": true, "hostname": "h", "username": "u", "pid": 7 });
    torment("no_bent_lock_panics", sample.to_string().as_bytes(), |bytes| serde_json::from_slice::<LockFile>(bytes));
}

#[test]
fn no_bent_header_panics() {
    let blob = |kind, uncompressed_length| PackedBlob {
        handle: backup_engine::id::BlobHandle { kind, id: BlobId([7; 32]) },
        offset: 0,
        length: 100,
        uncompressed_length,
    };
    let sample =
        encode_header(&[blob(BlobKind::Data, None), blob(BlobKind::Tree, Some(7)), blob(BlobKind::Data, Some(9))]);
    torment("no_bent_header_panics", &sample, decode_header);
}

#[test]
fn a_key_file_that_asks_for_all_memory_is_refused() {
    let ask = |n: u64, r: u32, p: u32| {
        let forge = Forge::new();
        let key = json!({ "created": "2024-01-02T03:04:05Z", "kdf": "scrypt", "N": n, "r": r, "p": p, "salt": "AAAA", "data": "AAAA" });
        let bytes = key.to_string();
        forge.replace_keys(sha256(bytes.as_bytes()), bytes.as_bytes());
        forge.try_open(PASSWORD).map(|_| ()).expect_err("the key is not one")
    };
    for (n, r, p) in [
        (1 << 62, 8, 1),
        (2, 1 << 22, 64),
        (2, u32::MAX, 1),
        (1 << 23, 1, 64),
        (3, 8, 1),
        (0, 8, 1),
        (2, 0, 1),
        (2, 8, 0),
    ] {
        let error = ask(n, r, p);
        assert_eq!(error.class(), Class::Damaged, "{n} {r} {p}: {error}");
    }
    assert!(matches!(ask(2, 8, 1), Error::WrongPassword { .. }));
}

#[test]
fn a_file_that_unpacks_without_end_is_refused_and_named() {
    let forge = Forge::new();
    let mut bomb = vec![2];
    bomb.extend(zstd::stream::encode_all(std::io::repeat(b' ').take(600 << 20), 1).unwrap());
    let id = forge.file(FileKind::Snapshot, &bomb);
    let list = forge.open().snapshots().unwrap();
    assert_eq!((list.list.len(), list.damaged.len()), (0, 1));
    assert_eq!(list.damaged[0].0.0, id);
    assert!(list.damaged[0].1.to_string().contains("unpacks to more"), "{}", list.damaged[0].1);
}

#[test]
fn a_lock_that_is_not_one_is_named_and_not_overrun() {
    for contents in [&b"not sealed"[..], b"x", &[0; 32]] {
        let forge = Forge::new();
        forge.write(FileKind::Lock, sha256(contents), contents);
        let error = Lock::acquire(&forge.open(), lock_options()).map(|_| ()).expect_err("the lock cannot be judged");
        assert!(error.to_string().contains("lock"), "{error}");
        assert!(error.advice().contains("unlock"), "{}", error.advice());
    }
}
