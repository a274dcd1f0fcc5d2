//! Targets on a real disk: made once, recognised ever after, never made again; restic opens what is made.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use backup_engine::Class;
use backup_engine::storage::{FileKind, LocalStorage, Storage};
use backup_proto::error::ErrorKind;
use backup_proto::target::TargetState;
use backup_testkit::restic::Restic;
use backupd::clock::ManualClock;
use backupd::config::ConfigFile;
use backupd::identity::Identity;
use backupd::targets::{TargetError, Targets, TargetsOptions};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use tempfile::TempDir;

/// A state folder, a config and a place for targets, all temporary.
struct Home {
    folder: TempDir,
}

impl Home {
    fn new(config: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::create_dir(folder.path().join("state")).expect("it is made");
        let config = config.replace("HOME", &folder.path().to_string_lossy());
        fs::write(folder.path().join("config.toml"), config).expect("it is written");
        fs::write(folder.path().join("nas.key"), "secret\n").expect("it is written");
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn targets(&self) -> Targets {
        let config = ConfigFile::open(&self.path("config.toml"), None).expect("the config is right");
        let clock = ManualClock::new("2025-05-05T10:00:00Z".parse::<Timestamp>().expect("a time"), TimeZone::UTC);
        Targets::open(TargetsOptions {
            state: self.path("state"),
            socket: self.path("run/s"),
            default_folder: self.path("data/backupd/repository"),
            config: Arc::new(config),
            identity: Identity::of_this_process(),
            clock: Arc::new(clock),
            hook: None,
        })
        .expect("the state is readable")
    }

    fn password(&self) -> PathBuf {
        self.path("state/keys/local.password")
    }
}

const NAS: &str = "[target.nas]\nurl = \"HOME/nas\"\npassword-file = \"nas.key\"\n";

fn locks_in(folder: &Path) -> usize {
    LocalStorage::new(folder).list(FileKind::Lock).expect("it can be listed").len()
}

#[test]
fn the_default_target_is_made_on_first_use_and_restic_opens_it() {
    let home = Home::new("");
    let targets = home.targets();
    assert_eq!(targets.overview()[0].state, TargetState::New);
    let (place, repository) = targets.open_target("local").expect("it is made");
    assert_eq!(place.folder, home.path("data/backupd/repository"));
    let again = targets.open_target("local").expect("it opens").1;
    assert!(Arc::ptr_eq(&repository, &again), "an open repository stays open");
    assert_eq!(targets.overview()[0].state, TargetState::Ready);
    assert_eq!(targets.overview()[0].repository_id, Some(repository.id().to_string()));
    Restic::new(&place.folder, &home.password()).check();
    let other = home.targets().open_target("local").expect("it opens with another daemon").1;
    assert_eq!(other.id(), repository.id());
}

#[test]
fn a_known_target_that_is_missing_is_absent_and_never_made_again() {
    let home = Home::new("");
    let id = home.targets().open_target("local").expect("it is made").1.id();
    fs::rename(home.path("data"), home.path("unplugged")).expect("it is moved");
    let targets = home.targets();
    for _ in 0..2 {
        let error = targets.open_target("local").err().expect("it is missing");
        assert!(matches!(error, TargetError::Absent { .. }), "{error}");
        assert_eq!((error.class(), error.kind()), (Class::Transient, ErrorKind::TargetAbsent));
    }
    assert!(matches!(targets.init("local", None), Err(TargetError::Exists { .. })), "not even when asked");
    assert!(!home.path("data").exists(), "nothing was made");
    assert_eq!(targets.overview()[0].state, TargetState::Absent);
    fs::rename(home.path("unplugged"), home.path("data")).expect("it is moved");
    assert_eq!(targets.open_target("local").expect("it is back").1.id(), id);
}

#[test]
fn a_first_use_that_was_cut_short_is_begun_anew() {
    let home = Home::new("");
    home.targets().open_target("local").expect("it is made");
    // The state as it is when the power fails between the key file and the config of a new repository.
    fs::remove_file(home.path("state/targets.json")).expect("it is removed");
    fs::remove_file(home.path("data/backupd/repository/config")).expect("it is removed");
    let targets = home.targets();
    targets.open_target("local").expect("it is made");
    Restic::new(&home.path("data/backupd/repository"), &home.password()).check();
}

#[test]
fn a_configured_target_is_made_when_asked_and_not_before() {
    let home = Home::new(NAS);
    let targets = home.targets();
    let error = targets.open_target("nas").err().expect("it is not made by itself");
    assert!(error.advice().contains("backupctl target init nas"), "{}", error.advice());
    assert!(!home.path("nas").exists());
    let repository = targets.init("nas", None).expect("it is made");
    assert_eq!(targets.open_target("nas").expect("it opens").1.id(), repository.id());
    assert!(matches!(targets.init("nas", None), Err(TargetError::Exists { .. })));
    Restic::new(&home.path("nas"), &home.path("nas.key")).check();
}

#[test]
fn a_target_that_cuts_like_another_takes_over_its_polynomial() {
    let home = Home::new(NAS);
    let targets = home.targets();
    let error = targets.init("nas", Some("local")).err().expect("there is no other yet");
    assert!(matches!(error, TargetError::NotMade { .. }), "{error}");
    assert!(!home.path("nas").exists(), "nothing was made");
    let local = targets.open_target("local").expect("it is made").1;
    let nas = targets.init("nas", Some("local")).expect("it is made");
    assert_eq!(nas.config().chunker_polynomial, local.config().chunker_polynomial);
    Restic::new(&home.path("nas"), &home.path("nas.key")).check();
}

#[test]
fn a_repository_that_restic_made_is_taken_over() {
    let home = Home::new(NAS);
    Restic::new(&home.path("nas"), &home.path("nas.key")).init(1);
    let targets = home.targets();
    targets.adopt("nas").expect("it opens");
    let check = targets.check("nas").expect("it opens");
    assert_eq!((check.format_version, check.snapshots), (1, 0));
}

#[test]
fn another_repository_in_a_targets_place_is_refused_until_it_is_adopted() {
    let home = Home::new(NAS);
    let targets = home.targets();
    targets.init("nas", None).expect("it is made");
    fs::rename(home.path("nas"), home.path("first")).expect("it is moved");
    Restic::new(&home.path("nas"), &home.path("nas.key")).init(2);
    let error = targets.open_target("nas").err().expect("it is another one");
    assert!(matches!(error, TargetError::Replaced { .. }), "{error}");
    assert!(error.advice().contains("backupctl target adopt nas"));
    targets.adopt("nas").expect("it opens");
    targets.open_target("nas").expect("it is the target's now");
}

#[test]
fn a_wrong_password_is_said_and_a_corrected_one_is_used_at_once() {
    let home = Home::new(NAS);
    let targets = home.targets();
    targets.init("nas", None).expect("it is made");
    fs::write(home.path("nas.key"), "wrong").expect("it is written");
    let error = targets.open_target("nas").err().expect("the password is wrong");
    assert_eq!((error.class(), error.kind()), (Class::Auth, ErrorKind::WrongPassword));
    fs::write(home.path("nas.key"), "secret").expect("it is written");
    targets.open_target("nas").expect("the password is right again");
    fs::remove_file(home.path("nas.key")).expect("it is removed");
    let error = targets.open_target("nas").err().expect("there is no password");
    assert!(error.to_string().contains("nas.key"), "{error}");
}

#[test]
fn an_unknown_target_is_refused_with_the_nearest_name() {
    let home = Home::new(NAS);
    let error = home.targets().open_target("nsa").err().expect("there is none");
    assert_eq!(error.advice(), "Did you mean `nas`?");
}

#[test]
fn a_lock_is_on_record_before_it_is_written_and_a_starting_daemon_removes_exactly_its_own() {
    let home = Home::new("");
    let targets = home.targets();
    let (place, repository) = targets.open_target("local").expect("it is made");
    let lock = targets.lock(&repository, &place.folder, false).expect("it is free");
    assert_eq!(targets.refresh_locks().len(), 0);
    assert_eq!(locks_in(&place.folder), 1, "a refresh leaves one file");
    // Somebody else's lock, as a restic that runs at this moment has.
    let other = Home::new("");
    let others = other.targets();
    let foreign = others.lock(&repository, &place.folder, false).expect("shared locks live together");
    assert_eq!(locks_in(&place.folder), 2);
    // The daemon dies: its lock is not dropped.
    std::mem::forget(lock);
    let _next = home.targets();
    assert_eq!(locks_in(&place.folder), 1, "its own is gone, the other one stays");
    drop(foreign);
    assert_eq!(locks_in(&place.folder), 0);
}

#[test]
fn a_lock_on_a_drive_that_is_away_stays_on_record_until_it_is_back() {
    let home = Home::new("");
    let targets = home.targets();
    let (place, repository) = targets.open_target("local").expect("it is made");
    std::mem::forget(targets.lock(&repository, &place.folder, false).expect("it is free"));
    fs::rename(home.path("data"), home.path("unplugged")).expect("it is moved");
    let next = home.targets();
    fs::rename(home.path("unplugged"), home.path("data")).expect("it is moved");
    assert_eq!(locks_in(&place.folder), 1);
    next.open_target("local").expect("it is back");
    assert_eq!(locks_in(&place.folder), 0);
}

#[test]
fn a_copy_on_the_same_disk_is_said_to_be_one() {
    let home = Home::new("");
    let targets = home.targets();
    targets.open_target("local").expect("it is made");
    assert_eq!(targets.overview()[0].notice, None);
    let now = targets.now_fn()().wall;
    targets.note_success("local", &[home.path("state")], now).expect("it is written");
    let notice = home.targets().overview()[0].notice.clone().expect("there is a notice");
    assert!(notice.contains("same disk"), "{notice}");
    targets.note_success("local", &[PathBuf::from("/proc")], now).expect("it is written");
    assert_eq!(targets.overview()[0].notice, None, "/proc is no disk of ours");
}

#[test]
fn a_state_that_cannot_be_understood_is_an_error_and_not_a_fresh_start() {
    let home = Home::new("");
    home.targets().open_target("local").expect("it is made");
    fs::write(home.path("state/targets.json"), "{").expect("it is written");
    let config = ConfigFile::open(&home.path("config.toml"), None).expect("the config is right");
    let clock = ManualClock::new(Timestamp::UNIX_EPOCH, TimeZone::UTC);
    let opened = Targets::open(TargetsOptions {
        state: home.path("state"),
        socket: home.path("run/s"),
        default_folder: home.path("data/backupd/repository"),
        config: Arc::new(config),
        identity: Identity::of_this_process(),
        clock: Arc::new(clock),
        hook: None,
    });
    assert!(opened.is_err());
}
