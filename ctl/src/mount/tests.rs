//! What is mounted, with the real daemon and without FUSE.

use std::fs;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::{io, thread};

use backup_proto::endpoint::{Candidate, Owner};
use backup_proto::local::Client;
use backup_testkit::daemon::Daemon;
use backup_testkit::seed::Seed;
use jiff::tz::TimeZone;

use super::Source;
use super::inodes::{Node, TOP};
use super::tree::{Mounted, Top, Trouble};

struct Scene {
    daemon: Daemon,
    mounted: Mounted,
    said: Arc<Mutex<Vec<String>>>,
    connections: Arc<AtomicUsize>,
}

/// Makes a socket that leads to another, and counts the connections through it.
fn counted(from: &Path, to: &Path) -> Arc<AtomicUsize> {
    let (listener, to) = (UnixListener::bind(from).unwrap(), to.to_owned());
    let count = Arc::<AtomicUsize>::default();
    let counting = Arc::clone(&count);
    let pass = |mut from: UnixStream, mut to: UnixStream| {
        thread::spawn(move || {
            let _ = io::copy(&mut from, &mut to);
            let _ = to.shutdown(std::net::Shutdown::Both);
            let _ = from.shutdown(std::net::Shutdown::Both);
        });
    };
    thread::spawn(move || {
        for ours in listener.incoming().map_while(Result::ok) {
            counting.fetch_add(1, Ordering::SeqCst);
            // Without a daemon the caller finds its connection closed.
            let Ok(theirs) = UnixStream::connect(&to) else { continue };
            pass(ours.try_clone().unwrap(), theirs.try_clone().unwrap());
            pass(theirs, ours);
        }
    });
    count
}

impl Scene {
    fn new(fill: impl FnOnce(&Path)) -> Self {
        let daemon = Daemon::start();
        fs::create_dir(daemon.home().join("tree")).unwrap();
        fill(&daemon.home().join("tree"));
        let way = daemon.home().join("way");
        let connections = counted(&way, &daemon.socket());
        let candidate = Candidate { socket: way, owner: Owner::User };
        let client = Client::connect(&[candidate], "a test").unwrap();
        let said = Arc::<Mutex<Vec<String>>>::default();
        let heard = Arc::clone(&said);
        let say = Box::new(move |line: &str| heard.lock().unwrap().push(line.to_owned()));
        let mounted = Mounted::new(Source::new(client, None), Top::Names(TimeZone::UTC), say);
        let scene = Self { daemon, mounted, said, connections };
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
    assert_eq!(scene.connections.load(Ordering::SeqCst), 2);
}
