//! Making and opening repositories, judged by restic.

#![allow(clippy::unwrap_used, reason = "a failed step of a test's preparation is a failed test")]

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use backup_engine::repository::{CreateOptions, Repository};
use backup_engine::storage::{LocalStorage, MemoryStorage};
use backup_engine::{Class, Error};
use jiff::Timestamp;

fn options(version: u32) -> CreateOptions {
    CreateOptions {
        version,
        hostname: "host".to_owned(),
        username: "user".to_owned(),
        now: Timestamp::UNIX_EPOCH,
        cut_like: None,
    }
}

fn restic(repository: &Path, arguments: &[&str]) -> String {
    let output = Command::new("restic")
        .args(["--no-cache", "-r"])
        .arg(repository)
        .args(arguments)
        .env("RESTIC_PASSWORD", "secret")
        .output()
        .expect("restic is installed");
    assert!(output.status.success(), "restic {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("restic prints text")
}

#[test]
fn restic_opens_what_we_made() {
    for version in [1, 2] {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("repository");
        let repository = Repository::create(Arc::new(LocalStorage::new(&root)), b"secret", &options(version)).unwrap();
        let config = restic(&root, &["cat", "config"]);
        assert!(config.contains(&repository.id().to_string()), "{config}");
        assert!(config.contains(&format!("\"version\": {version}")), "{config}");
        restic(&root, &["check"]);
    }
}

#[test]
fn we_open_what_restic_made() {
    for version in ["1", "2"] {
        let folder = tempfile::tempdir().unwrap();
        restic(folder.path(), &["init", "--repository-version", version]);
        let storage = Arc::new(LocalStorage::new(folder.path()));
        let repository = Repository::open(storage.clone(), b"secret").unwrap();
        assert_eq!(repository.config().version.to_string(), version);
        let error = Repository::open(storage, b"wrong").err().unwrap();
        assert_eq!(error.class(), Class::Auth, "{error}");
    }
}

#[test]
fn a_repository_that_cuts_like_another_has_its_polynomial_and_a_name_and_a_key_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    restic(&folder.path().join("first"), &["init"]);
    let first = Repository::open(Arc::new(LocalStorage::new(folder.path().join("first"))), b"secret").unwrap();
    let options = CreateOptions { cut_like: Some(first.config().clone()), ..options(2) };
    let root = folder.path().join("second");
    let second = Repository::create(Arc::new(LocalStorage::new(&root)), b"secret", &options).unwrap();
    assert_ne!(second.id(), first.id());
    let polynomial = format!("\"chunker_polynomial\": \"{}\"", first.config().chunker_polynomial);
    assert!(restic(&root, &["cat", "config"]).contains(&polynomial));
    restic(&root, &["check"]);
}

#[test]
fn a_second_repository_is_never_made_over_the_first() {
    let storage = MemoryStorage::new();
    Repository::create(Arc::new(storage.clone()), b"secret", &options(2)).unwrap();
    let error = Repository::create(Arc::new(storage), b"secret", &options(2)).err().unwrap();
    assert!(matches!(error, Error::Misuse { .. }), "{error}");
}

#[test]
fn an_empty_or_missing_place_is_no_repository() {
    let folder = tempfile::tempdir().unwrap();
    for path in [folder.path().to_path_buf(), folder.path().join("missing")] {
        let error = Repository::open(Arc::new(LocalStorage::new(path)), b"secret").err().unwrap();
        assert!(matches!(error, Error::NoRepository { .. }), "{error}");
    }
}
