//! Tests of the store as a whole: what was acknowledged is there again, whatever happened to the files.

use std::fs;
use std::path::{Path, PathBuf};

use super::*;

fn open(folder: &Path) -> (Store, Loaded) {
    Store::open_on(&Disk::default(), folder, "now").unwrap()
}

fn put(store: &Store, key: &str, value: &str) -> u64 {
    store.commit_blocking(vec![Change::set(key, value.as_bytes().to_vec())]).unwrap()
}

pub(super) fn close(store: Store) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(store.close()).unwrap();
}

/// Copies the folder as it is, as a crash would leave it.
pub(super) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn filled(folder: &Path, commits: u32) -> Store {
    let (store, _) = open(folder);
    for number in 0..commits {
        put(&store, &format!("job/{:03}", number % 7), &format!("value {number}"));
    }
    store
}

fn expected(commits: u32) -> Contents {
    (0..commits).map(|n| (format!("job/{:03}", n % 7), format!("value {n}").into_bytes())).collect()
}

fn journal_of(folder: &Path) -> PathBuf {
    let first = files::numbered(folder, "journal-", ".log").unwrap();
    files::journal_path(folder, *first.last().unwrap())
}

#[test]
fn what_was_committed_is_there_after_a_crash_and_after_a_clean_stop() {
    let home = tempfile::tempdir().unwrap();
    let store = filled(&home.path().join("a"), 20);
    copy(&home.path().join("a"), &home.path().join("crashed"));
    close(store);
    for name in ["a", "crashed"] {
        let (_, loaded) = open(&home.path().join(name));
        assert_eq!((loaded.contents, loaded.sequence), (expected(20), 20), "{name}");
        assert_eq!(loaded.notices, Vec::<String>::new(), "{name}");
    }
}

#[test]
fn a_journal_cut_at_every_byte_opens_with_a_prefix_and_goes_on() {
    let home = tempfile::tempdir().unwrap();
    let store = filled(&home.path().join("a"), 5);
    let journal = fs::read(journal_of(&home.path().join("a"))).unwrap();
    drop(store);
    for cut in (16..=journal.len()).rev().step_by(11) {
        let folder = home.path().join(format!("cut-{cut}"));
        fs::create_dir(&folder).unwrap();
        fs::write(files::journal_path(&folder, 1), &journal[..cut]).unwrap();
        let (store, loaded) = open(&folder);
        let count = u32::try_from(loaded.sequence).unwrap();
        assert_eq!(loaded.contents, expected(count), "cut at {cut}");
        assert_eq!(put(&store, "more", "x"), loaded.sequence + 1, "cut at {cut}");
    }
}

#[test]
fn whatever_becomes_of_sled_the_result_is_the_same() {
    let home = tempfile::tempdir().unwrap();
    let source = home.path().join("a");
    let older = home.path().join("older");
    let store = filled(&source, 9);
    copy(&source, &older);
    close(store);
    let (store, _) = open(&source);
    put(&store, "late", "x");
    close(store);
    let wanted = open_and_read(&source);
    type Harm = fn(&Path, &Path);
    let harms: [(&str, Harm); 5] = [
        ("missing", |queue, _| fs::remove_dir_all(queue).unwrap()),
        ("empty", |queue, _| {
            fs::remove_dir_all(queue).unwrap();
            fs::create_dir(queue).unwrap();
        }),
        ("older", |queue, older| {
            fs::remove_dir_all(queue).unwrap();
            copy(&older.join("queue"), queue);
        }),
        ("torn", |queue, _| {
            let file = fs::OpenOptions::new().write(true).open(queue.join("db")).unwrap();
            file.set_len(file.metadata().unwrap().len() / 2).unwrap();
        }),
        ("a file", |queue, _| {
            fs::remove_dir_all(queue).unwrap();
            fs::write(queue, "x").unwrap();
        }),
    ];
    for (name, harm) in harms {
        let folder = home.path().join(name);
        copy(&source, &folder);
        harm(&folder.join("queue"), &older);
        assert_eq!(open_and_read(&folder), wanted, "{name}");
    }
}

fn open_and_read(folder: &Path) -> (Contents, u64) {
    let (store, loaded) = open(folder);
    close(store);
    (loaded.contents, loaded.sequence)
}

#[test]
fn damage_in_the_journal_is_set_aside_said_and_mended_from_the_copy() {
    let home = tempfile::tempdir().unwrap();
    let store = filled(home.path(), 6);
    put(&store, "last", "x");
    // A clean stop has written the copy out; after a crash it may be behind and then cannot stand in.
    close(store);
    for number in files::numbered(home.path(), "checkpoint-", ".dat").unwrap() {
        fs::remove_file(files::checkpoint_path(home.path(), number)).unwrap();
    }
    let journal = files::journal_path(home.path(), 1);
    let mut bytes = fs::read(&journal).unwrap();
    bytes[40] ^= 1;
    fs::write(&journal, bytes).unwrap();
    let (_, loaded) = open(home.path());
    let mut wanted = expected(6);
    wanted.insert("last".into(), b"x".to_vec());
    assert_eq!(loaded.contents, wanted);
    assert!(loaded.notices.iter().any(|notice| notice.contains(".bad-now")), "{:?}", loaded.notices);
    assert!(home.path().join("journal-00000000000000000001.log.bad-now").exists());
}

#[test]
fn a_history_whose_end_was_lost_goes_on_above_all_its_numbers() {
    let home = tempfile::tempdir().unwrap();
    let mut before = 0;
    for round in 0..3 {
        let (store, loaded) = open(home.path());
        assert!(round == 0 || loaded.sequence > before, "round {round}: {} follows {before}", loaded.sequence);
        assert!(loaded.sequence < 1 << 53, "JSON carries it everywhere");
        (0..5).for_each(|number| before = put(&store, "key", &number.to_string()));
        close(store);
        // Nothing but the names of the files is left.
        for entry in fs::read_dir(home.path()).unwrap().map(|entry| entry.unwrap().path()) {
            match entry.is_dir() {
                true => fs::remove_dir_all(entry).unwrap(),
                false => fs::write(entry, "rubbish").unwrap(),
            }
        }
    }
}

#[test]
fn a_damaged_checkpoint_falls_back_to_the_one_before() {
    let home = tempfile::tempdir().unwrap();
    for round in 0..3 {
        let (store, _) = open(home.path());
        put(&store, "round", &round.to_string());
        close(store);
    }
    let checkpoints = files::numbered(home.path(), "checkpoint-", ".dat").unwrap();
    assert_eq!(checkpoints.len(), 2, "two are kept");
    let newest = files::checkpoint_path(home.path(), checkpoints[1]);
    fs::write(&newest, b"backupd state 1\nrubbish").unwrap();
    fs::remove_dir_all(home.path().join("queue")).unwrap();
    let (_, loaded) = open(home.path());
    assert_eq!(loaded.contents.get("round").map(Vec::as_slice), Some(b"2".as_slice()));
    assert!(!newest.exists(), "it was set aside");
}

#[test]
fn commits_from_many_threads_get_different_sequences() {
    let home = tempfile::tempdir().unwrap();
    let (store, _) = open(home.path());
    let threads: Vec<_> = (0..8)
        .map(|thread| {
            let store = store.clone();
            std::thread::spawn(move || (0..20).map(|n| put(&store, &format!("{thread}/{n}"), "v")).collect::<Vec<_>>())
        })
        .collect();
    let mut sequences: Vec<u64> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
    sequences.sort_unstable();
    assert_eq!(sequences, (1..=160).collect::<Vec<_>>());
}

#[test]
fn a_sled_that_never_answers_is_set_aside_and_the_store_opens_without_waiting_for_it() {
    let home = tempfile::tempdir().unwrap();
    close(filled(home.path(), 4));
    let folder = home.path().join("queue");
    fs::remove_file(folder.join("conf")).unwrap();
    // Opening a pipe to read waits for somebody who writes.
    let made = std::process::Command::new("mkfifo").arg(folder.join("conf")).status().unwrap();
    assert!(made.success());
    let error = queue::Queue::open(&folder, std::time::Duration::from_millis(50)).unwrap_err();
    assert_eq!(error, "it does not answer");
    let mut notices = Vec::new();
    let patience = std::time::Duration::from_millis(50);
    let (queue, found) = load::open_queue(&folder, "now", patience, &mut notices).unwrap();
    assert!(found.is_none() && !queue.is_absent(), "a new copy is begun");
    assert!(home.path().join("queue.bad-now").exists());
    assert!(notices[0].contains("it does not answer"), "{notices:?}");
}

#[test]
fn a_sync_that_fails_is_final_unless_the_disk_is_full() {
    let home = tempfile::tempdir().unwrap();
    let fails = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let has_failed = std::sync::Arc::clone(&fails);
    let disk = Disk::watched(move |op| match op {
        disk::Op::Sync(_) if has_failed.load(std::sync::atomic::Ordering::Relaxed) => {
            Err(std::io::Error::other("the device does not answer"))
        }
        _ => Ok(()),
    });
    let (store, _) = Store::open_on(&disk, home.path(), "now").unwrap();
    put(&store, "job/1", "before");
    fails.store(true, std::sync::atomic::Ordering::Relaxed);
    let change = || vec![Change::set("job/2", b"after".to_vec())];
    assert!(matches!(store.commit_blocking(change()), Err(Error::Fenced { .. })));
    fails.store(false, std::sync::atomic::Ordering::Relaxed);
    assert!(matches!(store.commit_blocking(change()), Err(Error::Fenced { .. })), "not even when it answers again");
    assert_eq!(store.look_blocking(true), None);
    assert!(matches!(store.commit_blocking(change()), Err(Error::Fenced { .. })));
}
