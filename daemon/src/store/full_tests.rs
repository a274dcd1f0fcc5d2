//! A full disk at every step of the store: nothing acknowledged is lost, nothing refused comes back, and when there is
//! room it goes on in the same process.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use backup_testkit::mount;

use super::disk::Op;
use super::simulated::fast_folder;
use super::tests::copy;
use super::*;

/// How a disk is full.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// No byte is taken.
    Nothing,
    /// Half of what is written is.
    Half,
    /// All is, and the sync finds that there is no room.
    Sync,
}

/// A disk that is full from its k-th step on, until there is room.
struct FullDisk {
    disk: Disk,
    has_room: Arc<AtomicBool>,
    refused: Arc<AtomicU64>,
}

impl FullDisk {
    fn new(first: u64, fault: Fault) -> Self {
        let (has_room, refused) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (steps, room, count) = (AtomicU64::new(0), Arc::clone(&has_room), Arc::clone(&refused));
        let disk = Disk::watched(move |op| {
            let takes_room = match (op, fault) {
                (Op::Sync(_), fault) => matches!(fault, Fault::Sync),
                (Op::Write(..), fault) => !matches!(fault, Fault::Sync),
                (Op::Create(_) | Op::CreateFolder(_), _) => true,
                _ => false,
            };
            if !takes_room || steps.fetch_add(1, Ordering::Relaxed) < first || room.load(Ordering::Relaxed) {
                return Ok(());
            }
            count.fetch_add(1, Ordering::Relaxed);
            if let (Op::Write(path, _, bytes), Fault::Half) = (op, fault) {
                OpenOptions::new().append(true).open(path)?.write_all(&bytes[..bytes.len() / 2])?;
            }
            Err(io::Error::from(ErrorKind::StorageFull))
        });
        Self { disk, has_room, refused }
    }
}

/// Commits values until one is refused twice, and returns what was acknowledged.
fn put_all(store: &Store, from: u32, count: u32, acknowledged: &mut Contents) {
    for number in from..from + count {
        let (key, value) = (format!("job/{}", number % 9), format!("value {number}").into_bytes());
        match store.commit_blocking(vec![Change::set(key.as_str(), value.clone())]) {
            Ok(_) => drop(acknowledged.insert(key, value)),
            Err(error) => assert!(error.is_full(), "{error}"),
        }
    }
}

/// Opens a copy of the folder, as after a crash; returns what it holds.
fn after_crash(folder: &Path) -> Contents {
    let home = fast_folder();
    copy(folder, &home.path().join("queue"));
    let (_, loaded) = Store::open_on(&Disk::default(), &home.path().join("queue"), "now").unwrap();
    loaded.contents
}

#[test]
fn whichever_step_finds_the_disk_full_nothing_is_lost_and_it_goes_on_when_there_is_room() {
    let mut cases = 0;
    for fault in [Fault::Nothing, Fault::Half, Fault::Sync] {
        for first in 0.. {
            let home = fast_folder();
            let folder = home.path().join("queue");
            let full = FullDisk::new(first, fault);
            if first == 0 {
                // Without any folder nothing can be begun; that is said at the start.
                assert!(Store::open_on(&full.disk, &folder, "now").is_err_and(|error| error.is_full()));
                continue;
            }
            let (store, _) = Store::open_on(&full.disk, &folder, "now").unwrap();
            let mut acknowledged = Contents::new();
            put_all(&store, 0, 12, &mut acknowledged);
            assert_eq!(after_crash(&folder), acknowledged, "{fault:?} at {first}, full");
            let refused = full.refused.load(Ordering::Relaxed);
            full.has_room.store(true, Ordering::Relaxed);
            assert_eq!(store.look_blocking(true), None, "{fault:?} at {first}");
            put_all(&store, 20, 12, &mut acknowledged);
            assert_eq!(acknowledged["job/4"], b"value 31", "{fault:?} at {first}: refused with room");
            assert_eq!(after_crash(&folder), acknowledged, "{fault:?} at {first}, with room");
            cases += 1;
            if refused == 0 {
                break;
            }
        }
    }
    println!("full disk: {cases} cases held");
    assert!(cases > 30, "only {cases} cases");
}

#[test]
fn the_reserve_takes_what_must_still_be_written_and_comes_back() {
    mount::run("store::full_tests::the_reserve_takes_what_must_still_be_written_and_comes_back", || {
        let home = tempfile::tempdir().unwrap();
        mount::tmpfs(home.path(), 32 << 20);
        let (store, _) = Store::open_on(&Disk::default(), &home.path().join("queue"), "now").unwrap();
        assert_eq!(store.look_blocking(false), None);
        let mut acknowledged = Contents::new();
        put_all(&store, 0, 5, &mut acknowledged);
        let ballast = fill(home.path(), 0);
        let shortage = store.look_blocking(false).expect("it is noticed");
        assert_eq!((shortage.folder.as_path(), shortage.free), (home.path(), 0));
        put_all(&store, 5, 200, &mut acknowledged);
        assert_eq!(acknowledged["job/6"], b"value 204".to_vec()[..], "the reserve takes it");
        assert!(!home.path().join("queue/reserve").exists());
        let large = vec![7; 2 << 20];
        let refused = store.commit_blocking(vec![Change::set("large", large.clone())]);
        assert!(matches!(refused, Err(Error::NoRoom(_))), "{refused:?}");
        fs::remove_file(ballast).unwrap();
        assert_eq!(store.look_blocking(true), None);
        assert!(home.path().join("queue/reserve").exists(), "it is there for the next time");
        store.commit_blocking(vec![Change::set("large", large.clone())]).unwrap();
        acknowledged.insert("large".into(), large);
        assert_eq!(after_crash(&home.path().join("queue")), acknowledged);
    });
}

#[test]
fn with_any_number_of_free_pages_it_opens_says_so_and_goes_on() {
    mount::run("store::full_tests::with_any_number_of_free_pages_it_opens_says_so_and_goes_on", || {
        let home = tempfile::tempdir().unwrap();
        mount::tmpfs(home.path(), 24 << 20);
        let folder = home.path().join("queue");
        let mut acknowledged = Contents::new();
        let mut refusals = 0;
        for pages in 0..48 {
            let ballast = fill(home.path(), pages * 4096);
            let (store, _) = Store::open_on(&Disk::default(), &folder, "now").unwrap();
            put_all(&store, u32::try_from(pages).unwrap() * 7, 7, &mut acknowledged);
            refusals += u32::from(store.look_blocking(false).is_some());
            assert_eq!(after_crash(&folder), acknowledged, "{pages} pages");
            fs::remove_file(ballast).unwrap();
            assert_eq!(store.look_blocking(true), None, "{pages} pages");
            store.commit_blocking(vec![Change::set("room", b"yes".to_vec())]).unwrap();
            acknowledged.insert("room".into(), b"yes".to_vec());
        }
        assert_eq!(after_crash(&folder), acknowledged);
        assert_eq!(refusals, 48, "a shortage was not noticed");
    });
}

/// Fills a disk so that so many bytes are left; returns the file that does.
fn fill(folder: &Path, left: u64) -> std::path::PathBuf {
    let path = folder.join("ballast");
    let mut file = File::create(&path).unwrap();
    while file.write_all(&[1; 4096]).is_ok() {}
    let length = file.metadata().unwrap().len();
    file.set_len(length - left).unwrap();
    path
}
