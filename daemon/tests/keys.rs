//! Passwords through the daemon: restic judges which ones open, and no stored byte tells one.

mod house;

use std::fs;
use std::path::Path;

use backup_proto::error::ErrorKind;
use backup_testkit::caller::Caller;
use backup_testkit::daemon::Daemon;
use backup_testkit::restic::Restic;
use house::House;
use serde_json::{Value, json};

const NAS: &str = "[target.nas]\nurl = \"HOME/nas\"\npassword-file = \"nas.key\"\n";

fn restic_opens(repository: &Path, password: &str) -> bool {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("password");
    fs::write(&file, password).expect("it is written");
    Restic::new(repository, &file).try_run(["cat", "config"]).status.success()
}

fn own_password(house: &House) -> String {
    fs::read_to_string(house.path("state/keys/local.password")).expect("it is there").trim().to_owned()
}

#[test]
fn a_change_of_the_daemons_own_password_leaves_one_key_and_a_file_that_opens_it() {
    let house = House::new("");
    let targets = &house.context.targets;
    targets.open_target("local").expect("it is made");
    let first = own_password(&house);
    let changed = targets.change_key("local", Some("a new one")).expect("it is changed");
    assert!(changed.key.is_current && changed.removed.is_some());
    assert_eq!(own_password(&house), "a new one");
    assert_eq!(targets.keys("local").expect("they are listed"), [changed.key]);
    assert!(!restic_opens(&house.path("data/repository"), &first));
    house.restic().check();
    // One that the daemon makes up; and the same again is none.
    targets.change_key("local", None).expect("it is changed");
    assert_eq!(own_password(&house).len(), 64);
    assert!(!restic_opens(&house.path("data/repository"), "a new one"));
    house.restic().check();
    assert!(targets.change_key("local", Some(&own_password(&house))).is_err());
}

#[test]
fn a_change_that_cannot_write_the_password_file_leaves_both_passwords() {
    let house = House::new("");
    let targets = &house.context.targets;
    targets.open_target("local").expect("it is made");
    let first = own_password(&house);
    // Where the new file would be written before it takes the old one's place.
    fs::create_dir(house.path("state/keys/local.tmp")).expect("it is made");
    targets.change_key("local", Some("a new one")).expect_err("the file cannot be written");
    assert_eq!(own_password(&house), first);
    for password in [first.as_str(), "a new one"] {
        assert!(restic_opens(&house.path("data/repository"), password));
    }
    // The next one is not kept from its end by what was left.
    fs::remove_dir(house.path("state/keys/local.tmp")).expect("it is removed");
    targets.change_key("local", Some("a third one")).expect("it is changed");
    house.restic().check();
    assert!(!restic_opens(&house.path("data/repository"), &first));
}

#[test]
fn a_change_cut_short_before_the_old_key_is_removed_goes_on_with_the_new_one() {
    let house = House::new("");
    let targets = &house.context.targets;
    targets.open_target("local").expect("it is made");
    let old = targets.keys("local").expect("they are listed").remove(0);
    targets.add_key("local", "a new one").expect("it is added");
    fs::write(house.path("state/keys/local.password"), "a new one\n").expect("it is written");
    let refused = targets.remove_key("local", "").expect_err("that is no prefix");
    assert_eq!(refused.data.kind, ErrorKind::KeyNotFound);
    targets.remove_key("local", &old.id[..12]).expect("the daemon opens with the other one");
    house.restic().check();
}

#[test]
fn the_old_password_of_another_target_stays_until_the_daemon_uses_the_new_one() {
    let house = House::new(NAS);
    fs::write(house.path("nas.key"), "secret\n").expect("it is written");
    let targets = &house.context.targets;
    targets.init("nas", None).expect("it is made");
    assert!(targets.change_key("nas", None).is_err(), "its file is not the daemon's to write");
    let changed = targets.change_key("nas", Some("a new one")).expect("it is added");
    assert!(changed.removed.is_none() && !changed.key.is_current, "{changed:?}");
    let old = targets.keys("nas").expect("they are listed").into_iter().find(|key| key.is_current);
    let old = old.expect("the daemon opens with it");
    assert!(changed.notice.contains(&format!("key remove {} --target nas", &old.id[..8])), "{}", changed.notice);
    let refused = targets.remove_key("nas", &old.id).expect_err("the daemon needs it");
    assert_eq!(refused.data.kind, ErrorKind::InvalidParams);
    assert!(restic_opens(&house.path("nas"), "secret"));
    fs::write(house.path("nas.key"), "a new one\n").expect("it is written");
    targets.remove_key("nas", &old.id).expect("the daemon needs it no more");
    assert!(!restic_opens(&house.path("nas"), "secret") && restic_opens(&house.path("nas"), "a new one"));
}

#[test]
fn a_password_that_no_file_could_hold_is_refused() {
    let house = House::new("");
    let targets = &house.context.targets;
    targets.open_target("local").expect("it is made");
    for bad in ["", " x", "x\n", "a\nb", "\u{feff}x"] {
        assert_eq!(targets.add_key("local", bad).expect_err(bad).data.kind, ErrorKind::InvalidParams);
    }
    assert_eq!(targets.keys("local").expect("they are listed").len(), 1);
}

/// Returns every file below a folder that holds some bytes.
fn files_with(folder: &Path, needle: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("it is there") {
        let path = entry.expect("it is there").path();
        if path.is_dir() {
            found.extend(files_with(&path, needle));
        } else if fs::read(&path).is_ok_and(|bytes| bytes.windows(needle.len()).any(|window| window == needle)) {
            found.push(path.display().to_string());
        }
    }
    found
}

#[test]
fn a_password_on_its_way_is_neither_stored_nor_logged_and_a_change_is_made_once() {
    let daemon = Daemon::start();
    let file = daemon.home().join("new password");
    fs::write(&file, "correct horse battery\n").expect("it is written");
    let source = daemon.home().join("source");
    fs::create_dir(&source).expect("it is made");
    fs::write(source.join("file"), "contents").expect("it is written");
    daemon.ctl([Path::new("backup"), &source]).expect(0);
    daemon.ctl([Path::new("key"), Path::new("add"), Path::new("--new-password-file"), &file]).expect(0);
    fs::remove_file(&file).expect("it is removed");
    assert!(restic_opens(&daemon.repository(), "correct horse battery"));
    let mut caller = Caller::hello(&daemon.socket());
    let params = json!({"request_id": "once", "new_password": "staple of the day"});
    let first = caller.call("key.add", params.clone());
    assert_eq!(caller.call("key.add", params)["result"], first["result"], "{first}");
    assert!(caller.call("key.add", json!({"request_id": "bad", "new_password": 1_234_567}))["error"].is_object());
    let listed = daemon.ctl(["key", "list", "--json"]).expect(0).json();
    assert_eq!(listed[0].as_array().map(Vec::len), Some(3), "{listed:?}");
    let id = first["result"]["id"].as_str().expect("an id is text");
    daemon.ctl(["key", "remove", id]).expect(0);
    assert!(!restic_opens(&daemon.repository(), "staple of the day"));
    assert!(daemon.ctl(["key", "add"]).expect(2).complaint().contains("--new-password-file"));
    daemon.ctl(["key", "change", "--generate"]).expect(0);
    let own = caller.call("key.list", json!({}))["result"]["items"].clone();
    assert_eq!(own.as_array().into_iter().flatten().filter(|key| key["is_current"] == Value::Bool(true)).count(), 1);
    daemon.restic().check();
    for password in ["correct horse battery", "staple of the day"] {
        assert_eq!(files_with(daemon.home(), password.as_bytes()), Vec::<String>::new());
        assert!(!daemon.log().contains(password));
    }
}
