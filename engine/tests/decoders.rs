//! What a repository can claim and does not hold: memory, endless files, locks that are none. Each is named and refused.
//! That no bent bytes make a decoder panic is shown for all decoders together, in the daemon's tests.

#![allow(clippy::unwrap_used, reason = "a failed step of a test's preparation is a failed test")]

mod common;

use std::io::Read as _;

use backup_engine::id::sha256;
use backup_engine::lock::Lock;
use backup_engine::storage::FileKind;
use backup_engine::{Class, Error};
use common::forge::Forge;
use common::{PASSWORD, lock_options};
use serde_json::json;

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
