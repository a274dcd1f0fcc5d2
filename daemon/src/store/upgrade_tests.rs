//! Upgrades: the stored example of every older version opens for ever, and whatever step is the last, it opens after.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::disk::Op;
use super::simulated::fast_folder;
use super::tests::{close, copy};
use super::version::{CURRENT, Marked};
use super::*;

/// A state of version 1, as the last version that wrote it left it when it was killed: seven jobs, a plan, a pause of
/// the daemon and one of a job, in a checkpoint and two journal files. It is never edited.
const VERSION_1: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/state/version-1");

/// The keys in it that are no answered requests.
const KEYS: [&str; 10] = [
    "daemon",
    "job/2pwq7d00",
    "job/2pwq7e00",
    "job/2pwq7f00",
    "job/2pwq7f01",
    "job/2pwq7g00",
    "job/2pwq7g01",
    "job/2pwq7h00",
    "plan/documents",
    "success/documents",
];

/// Copies the stored example; returns its folder.
fn example(home: &Path) -> PathBuf {
    let state = home.join("state");
    copy(Path::new(VERSION_1), &state);
    state
}

/// Reads every file below a folder.
fn all_files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files.extend(all_files(&path)),
            false => drop(files.insert(path.clone(), fs::read(&path).unwrap())),
        }
    }
    files
}

/// What the example holds, read without changing it.
fn wanted() -> Contents {
    load::read_whole(&Path::new(VERSION_1).join("queue")).unwrap().expect("the example is whole").0
}

#[test]
fn the_example_of_version_1_opens_with_all_its_records_and_is_kept_aside() {
    let home = fast_folder();
    let state = example(home.path());
    let before = all_files(&state.join("queue"));
    let (store, loaded) = Store::open(&state, "now").unwrap();
    // It must have let go of sled before the next one opens it.
    close(store);
    let keys: Vec<&str> =
        loaded.contents.keys().map(String::as_str).filter(|key| !key.starts_with("request/")).collect();
    assert_eq!(keys, KEYS);
    assert_eq!(loaded.contents, wanted());
    assert!(
        loaded.notices.iter().any(|notice| notice.contains("upgraded from version 1 to 2")),
        "{:?}",
        loaded.notices
    );
    let kept = all_files(&state.join("queue.version-1"));
    assert!(before.values().eq(kept.values()), "the old state is not what it was");
    assert_eq!(version::of_files(&state.join("queue")).unwrap(), Some(CURRENT));
    let (_, again) = Store::open(&state, "later").unwrap();
    assert_eq!((again.contents, again.notices), (wanted(), Vec::new()), "the second start has nothing to say");
}

#[test]
fn a_kill_after_any_step_leaves_the_old_state_or_the_new_one() {
    let mut kills = 0;
    for last in 0.. {
        let home = fast_folder();
        let state = example(home.path());
        let steps = AtomicU64::new(0);
        let disk = Disk::watched(move |_| {
            let is_dead = steps.fetch_add(1, Ordering::Relaxed) >= last;
            if is_dead { Err(io::Error::other("the process was killed")) } else { Ok(()) }
        });
        let outcome = upgrade::prepare(&disk, &state, "now");
        let (_, loaded) = Store::open(&state, "later").unwrap();
        assert_eq!(loaded.contents, wanted(), "killed after {last} steps");
        assert_eq!(version::marked(&state), Marked::Version(CURRENT), "killed after {last} steps");
        assert!(!state.join("queue.upgrade").exists(), "killed after {last} steps");
        kills += 1;
        if outcome.is_ok() {
            break;
        }
    }
    println!("upgrade: {kills} kills held");
    assert!(kills > 25, "only {kills} steps");
}

#[test]
fn an_upgrade_that_fails_at_any_step_leaves_everything_as_it_was_and_can_be_repeated() {
    for failing in 0.. {
        let home = fast_folder();
        let state = example(home.path());
        let before = all_files(&state);
        let steps = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&steps);
        let disk = Disk::watched(move |op| {
            // What frees room or gives names back works on a full disk.
            let takes_room = matches!(op, Op::Create(_) | Op::Write(..) | Op::Sync(_) | Op::CreateFolder(_));
            let fails = takes_room && count.fetch_add(1, Ordering::Relaxed) == failing;
            if fails { Err(io::Error::from(ErrorKind::StorageFull)) } else { Ok(()) }
        });
        let outcome = upgrade::prepare(&disk, &state, "now");
        if version::marked(&state) == Marked::No && !state.join("queue.version-1").exists() {
            assert!(outcome.is_err_and(|error| error.is_full()), "at {failing}");
            assert_eq!(all_files(&state), before, "at {failing}");
        }
        let (_, loaded) = Store::open(&state, "later").unwrap();
        assert_eq!(loaded.contents, wanted(), "at {failing}");
        if steps.load(Ordering::Relaxed) <= failing {
            break;
        }
    }
}

#[test]
fn a_state_of_a_later_version_is_refused_by_name_and_not_touched() {
    let line = "backupd state 3";
    let marked = format!("{line} {:08x}\n", crc32fast::hash(line.as_bytes()));
    for by_file in [true, false] {
        let home = fast_folder();
        let state = example(home.path());
        let (name, text) = match by_file {
            true => ("version", marked.as_str()),
            false => ("queue/checkpoint-00000000000000000099.dat", "backupd state 3\nnew"),
        };
        fs::write(state.join(name), text).unwrap();
        let before = all_files(&state);
        let error = Store::open(&state, "now").unwrap_err();
        assert!(matches!(error, Error::Newer { version: 3, .. }), "{error}");
        assert!(error.to_string().contains("is of version 3, and this backupd knows versions up to 2"), "{error}");
        assert_eq!(error.exit_code(), 1);
        assert_eq!(all_files(&state), before);
    }
}

#[test]
fn every_older_version_has_a_stored_example() {
    for version in 1..CURRENT {
        let example = Path::new(VERSION_1).with_file_name(format!("version-{version}"));
        assert_eq!(version::of_files(&example.join("queue")).unwrap(), Some(version), "{}", example.display());
    }
}
