//! What is mounted, with the real daemon and without FUSE.

use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use backup_proto::endpoint::{Candidate, Owner};
use backup_proto::local::Client;
use backup_testkit::daemon::Daemon;
use backup_testkit::seed::Seed;
use jiff::tz::TimeZone;

use super::inodes::{Node, TOP};
use super::tree::{Mounted, Top, Trouble};
use super::{SILENCE, Source};

struct Scene {
    daemon: Daemon,
    mounted: Mounted,
    said: Arc<Mutex<Vec<String>>>,
    way: Arc<Way>,
}

/// What goes between a mount and its daemon.
#[derive(Default)]
struct Way {
    connections: AtomicUsize,
    /// While it is set, nothing the daemon says comes through.
    is_mute: AtomicBool,
}

impl Way {
    /// Makes a socket that leads to another.
    fn lay(from: &Path, to: &Path) -> Arc<Self> {
        let (listener, to) = (UnixListener::bind(from).unwrap(), to.to_owned());
        let way = Arc::<Self>::default();
        let laid = Arc::clone(&way);
        thread::spawn(move || {
            for ours in listener.incoming().map_while(Result::ok) {
                way.connections.fetch_add(1, Ordering::SeqCst);
                // Without a daemon the caller finds its connection closed.
                let Ok(theirs) = UnixStream::connect(&to) else { continue };
                way.pass(&ours, &theirs, false);
                way.pass(&theirs, &ours, true);
            }
        });
        laid
    }

    fn pass(self: &Arc<Self>, from: &UnixStream, to: &UnixStream, may_be_mute: bool) {
        let (way, mut from, mut to) = (Arc::clone(self), from.try_clone().unwrap(), to.try_clone().unwrap());
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = from.read(&mut buffer) {
                let is_lost = may_be_mute && way.is_mute.load(Ordering::SeqCst);
                if !is_lost && to.write_all(&buffer[..length]).is_err() {
                    break;
                }
            }
            let _ = to.shutdown(Shutdown::Both);
            let _ = from.shutdown(Shutdown::Both);
        });
    }
}

impl Scene {
    fn new(fill: impl FnOnce(&Path)) -> Self {
        Self::patient(SILENCE, fill)
    }

    fn patient(silence: Duration, fill: impl FnOnce(&Path)) -> Self {
        let daemon = Daemon::start();
        fs::create_dir(daemon.home().join("tree")).unwrap();
        fill(&daemon.home().join("tree"));
        let way = Way::lay(&daemon.home().join("way"), &daemon.socket());
        let candidate = Candidate { socket: daemon.home().join("way"), owner: Owner::User };
        let client = Client::connect(&[candidate], "a test").unwrap();
        let said = Arc::<Mutex<Vec<String>>>::default();
        let heard = Arc::clone(&said);
        let say = Box::new(move |line: &str| heard.lock().unwrap().push(line.to_owned()));
        let mounted = Mounted::new(Source::new(client, None, silence), Top::Names(TimeZone::UTC), say);
        let scene = Self { daemon, mounted, said, way };
        scene.back_up();
        scene
    }

    fn back_up(&self) {
        self.daemon.ctl(["backup".as_ref(), self.daemon.home().join("tree").as_os_str()]).expect(0);
    }

    fn names(&self, folder: u64) -> Vec<String> {
        let items = self.mounted.list(folder).unwrap();
        items.iter().map(|item| String::from_utf8_lossy(&item.name).into_owned()).collect()
    }

    fn walk(&self, path: &str) -> Result<u64, Trouble> {
        let names = path.split('/').filter(|name| !name.is_empty());
        names.into_iter().try_fold(TOP, |folder, name| Ok(self.mounted.look_up(folder, name.as_bytes())?.0))
    }

    /// Returns the folder that was backed up, in the oldest snapshot.
    fn tree(&self) -> u64 {
        let ids = self.walk("snapshots").unwrap();
        let oldest = self.names(ids)[0].clone();
        let home = self.daemon.home().display().to_string();
        self.walk(&format!("snapshots/{oldest}/{home}/tree")).unwrap()
    }
}

#[test]
fn names_lead_to_entries_and_wrong_ones_to_nothing() {
    let scene = Scene::new(|tree| {
        fs::create_dir(tree.join("folder")).unwrap();
        fs::write(tree.join("file"), "contents").unwrap();
        std::os::unix::fs::symlink("file", tree.join("link")).unwrap();
    });
    assert_eq!(scene.names(TOP), ["hosts", "ids", "snapshots", "tags"]);
    let tree = scene.tree();
    assert_eq!(scene.names(tree), ["file", "folder", "link"]);
    let (file, node) = scene.mounted.look_up(tree, b"file").unwrap();
    assert!(matches!(&*node, Node::Entry(_, entry) if entry.size_bytes == 8));
    assert_eq!(scene.mounted.look_up(tree, b"none").unwrap_err(), Trouble::NotFound);
    assert_eq!(scene.mounted.list(file).unwrap_err(), Trouble::NoFolder);
    let (folder, _) = scene.mounted.look_up(tree, b"folder").unwrap();
    assert_eq!(scene.mounted.read(folder, 0, 9, <[u8]>::to_vec), Err(Trouble::NoFile));
    scene.mounted.forget(file, 1);
    assert_eq!(scene.mounted.node(file).unwrap_err(), Trouble::NotFound);
    assert_eq!(scene.mounted.look_up(tree, b"file").unwrap().0, file, "it has the same number again");
    assert_eq!(scene.said.lock().unwrap()[..], [""; 0]);
}

#[test]
fn the_list_of_snapshots_is_asked_for_again_when_it_is_old() {
    let scene = Scene::new(|tree| fs::write(tree.join("file"), "1").unwrap());
    let ids = scene.walk("ids").unwrap();
    assert_eq!(scene.names(ids).len(), 1);
    scene.back_up();
    scene.mounted.age();
    assert_eq!(scene.names(ids).len(), 2);
}

#[test]
fn every_part_of_a_file_is_what_lies_there_in_the_file() {
    let contents = Seed(12).random().bytes(9 << 20);
    let scene = Scene::new(|tree| fs::write(tree.join("file"), &contents).unwrap());
    let file = scene.mounted.look_up(scene.tree(), b"file").unwrap().0;
    let read = |at: u64, length: u32| scene.mounted.read(file, at, length, <[u8]>::to_vec).unwrap();
    let on: Vec<u8> = (0..90).flat_map(|piece| read(piece * 100_000, 100_000)).collect();
    assert!(on == contents[..9_000_000]);
    let mut random = Seed::of_test("backupctl", "every_part_of_a_file").random();
    for _ in 0..50 {
        let (at, length) = (random.index(contents.len() + 10), random.index(300_000));
        let expected = &contents[at.min(contents.len())..(at + length).min(contents.len()).max(at.min(contents.len()))];
        assert!(read(at as u64, u32::try_from(length).unwrap()) == expected, "{length} bytes at {at}");
    }
}

#[test]
fn a_daemon_that_is_away_is_said_once_and_found_again() {
    let mut scene = Scene::new(|tree| fs::write(tree.join("file"), "contents").unwrap());
    let file = scene.mounted.look_up(scene.tree(), b"file").unwrap().0;
    scene.daemon.kill();
    for _ in 0..2 {
        assert_eq!(scene.mounted.read(file, 0, 9, <[u8]>::to_vec), Err(Trouble::Failed));
    }
    assert_eq!(scene.said.lock().unwrap().len(), 1);
    scene.daemon.launch();
    assert_eq!(scene.mounted.read(file, 0, 9, <[u8]>::to_vec), Ok(b"contents".to_vec()));
}

#[test]
fn many_files_are_read_over_one_connection() {
    let scene = Scene::new(|tree| {
        for number in 0..200 {
            fs::write(tree.join(format!("file {number}")), format!("contents {number}")).unwrap();
        }
    });
    let tree = scene.tree();
    for number in 0..200 {
        let (file, _) = scene.mounted.look_up(tree, format!("file {number}").as_bytes()).unwrap();
        let contents = scene.mounted.read(file, 0, 4096, <[u8]>::to_vec).unwrap();
        assert_eq!(contents, format!("contents {number}").into_bytes());
    }
    // That of the client itself, and one more.
    assert_eq!(scene.way.connections.load(Ordering::SeqCst), 2);
}

#[test]
fn a_daemon_that_says_nothing_makes_reads_fail_and_is_used_again_when_it_speaks() {
    let contents = Seed(13).random().bytes(3 << 20);
    // Long enough for an answer on a machine that is busy: what is tested takes it several times.
    let scene = Scene::patient(Duration::from_secs(5), |tree| {
        fs::write(tree.join("large"), &contents).unwrap();
        fs::write(tree.join("small"), "contents").unwrap();
    });
    let tree = scene.tree();
    let number = |name: &[u8]| scene.mounted.look_up(tree, name).unwrap().0;
    let (large, small) = (number(b"large"), number(b"small"));
    let read = |file: u64, at: u64| scene.mounted.read(file, at, 100_000, <[u8]>::to_vec);
    assert!(read(large, 0).unwrap() == contents[..100_000]);
    scene.way.is_mute.store(true, Ordering::SeqCst);
    assert_eq!(read(small, 0), Err(Trouble::Failed));
    assert_eq!(read(large, 2 << 20), Err(Trouble::Failed));
    assert_eq!(scene.said.lock().unwrap()[..], ["the daemon does not answer"]);
    scene.way.is_mute.store(false, Ordering::SeqCst);
    assert_eq!(read(small, 0), Ok(b"contents".to_vec()));
    assert!(read(large, 2 << 20).unwrap() == contents[2 << 20..(2 << 20) + 100_000]);
}
