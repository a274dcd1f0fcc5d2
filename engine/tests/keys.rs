//! Keys: restic opens with every password that was added, and with none that was removed.

mod common;

use std::path::Path;

use backup_engine::keys::KeyOwner;
use backup_engine::storage::{FileKind, FileName, LocalStorage, Storage};
use backup_engine::{Class, Error, Repository};
use backup_testkit::restic::Restic;
use common::{PASSWORD, Place};
use jiff::Timestamp;

fn owner() -> KeyOwner<'static> {
    KeyOwner { hostname: "box", username: "ada", now: Timestamp::UNIX_EPOCH }
}

fn restic_opens(place: &Place, password: &str) -> bool {
    let file = place.path("another password");
    std::fs::write(&file, password).expect("it is written");
    Restic::new(&place.repository(), &file).try_run(["cat", "config"]).status.success()
}

fn open(repository: &Path, password: &str) -> Result<std::sync::Arc<Repository>, Error> {
    Repository::open(std::sync::Arc::new(LocalStorage::new(repository)), password.as_bytes())
}

#[test]
fn restic_opens_with_a_password_that_was_added_until_it_is_removed() {
    let place = Place::new();
    let repository = place.create(2);
    assert!(!restic_opens(&place, "second"));
    let added = repository.add_key(b"second", &owner()).expect("it is written");
    assert!(restic_opens(&place, "second") && restic_opens(&place, PASSWORD));
    place.restic().check();
    let keys = repository.keys().expect("they can be listed");
    assert_eq!(keys.len(), 2);
    let info = repository.find_key(&added.short()).expect("it is there");
    assert_eq!((info.username.as_deref(), info.hostname.as_deref(), info.problem), (Some("ada"), Some("box"), None));
    // Who opens with the second may remove the first.
    let second = open(&place.repository(), "second").expect("it opens");
    assert_eq!(second.key_id(), added);
    second.remove_key(&repository.key_id()).expect("another one opens it");
    assert!(restic_opens(&place, "second") && !restic_opens(&place, PASSWORD));
    assert_eq!(open(&place.repository(), PASSWORD).err().map(|error| error.class()), Some(Class::Auth));
}

#[test]
fn a_key_that_restic_added_is_listed_and_removed() {
    let place = Place::new();
    let repository = place.create(1);
    let file = place.path("new password");
    std::fs::write(&file, "of restic").expect("it is written");
    place.restic().run(["key", "add", "--new-password-file", file.to_str().expect("a temporary path is text")]);
    let keys = repository.keys().expect("they can be listed");
    let other = keys.iter().find(|key| key.id != repository.key_id()).expect("restic added one");
    assert!(other.created.is_some() && other.problem.is_none());
    repository.remove_key(&other.id).expect("it is not ours");
    assert!(!restic_opens(&place, "of restic"));
}

#[test]
fn the_key_in_use_and_what_may_be_the_last_one_stay() {
    let place = Place::new();
    let repository = place.create(2);
    let refused = repository.remove_key(&repository.key_id()).expect_err("it is in use");
    assert_eq!(refused.class(), Class::Misuse);
    let added = repository.add_key(b"second", &owner()).expect("it is written");
    // Another program has removed ours meanwhile.
    let own = FileName::new(FileKind::Key, repository.key_id().0);
    repository.storage().remove(&own).expect("it is removed");
    let refused = repository.remove_key(&added).expect_err("it is the last one");
    assert!(refused.to_string().contains("may be the last one"), "{refused}");
    assert!(restic_opens(&place, "second"));
}

#[test]
fn a_damaged_key_is_named_and_can_be_removed_and_a_prefix_has_to_be_unique() {
    let place = Place::new();
    let repository = place.create(2);
    let added = repository.add_key(b"second", &owner()).expect("it is written");
    let path = place.repository().join("keys").join(added.to_string());
    open_up(&path);
    std::fs::write(&path, "{").expect("it is written");
    let info = repository.find_key(&added.to_string()).expect("it is listed");
    assert!(info.problem.expect("it is damaged").contains(&added.to_string()));
    assert!(matches!(repository.find_key(""), Err(Error::NotFound { .. })));
    assert!(matches!(repository.find_key("no such"), Err(Error::NotFound { .. })));
    repository.remove_key(&added).expect("nobody needs it");
    assert_eq!(LocalStorage::new(place.repository()).list(FileKind::Key).expect("it is there").len(), 1);
}

fn open_up(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o600)).expect("it is ours");
}
