//! `backupctl mount` with the real programs: the folder is what was backed up, and stays usable whatever happens.
//!
//! Each test mounts in a name space of its own, so that nothing stays mounted. Where there is no FUSE, they say so and
//! do nothing.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stderr, reason = "who runs the tests is to know what was skipped")]

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};

use backup_testkit::compare::{Options, compare};
use backup_testkit::daemon::Daemon;
use backup_testkit::seed::Seed;
use backup_testkit::tree::Tree;
use backup_testkit::{mount, programs, wait};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};

/// Runs a test where it may mount, unless this machine cannot.
fn with_fuse(test: &str, body: impl FnOnce()) {
    let device = File::options().read(true).write(true).open("/dev/fuse");
    match device {
        Ok(_) if rustix::process::geteuid().is_root() => mount::run(test, body),
        Ok(_) => eprintln!("{test}: skipped, it takes root to mount in a name space of its own"),
        Err(error) => eprintln!("{test}: skipped, there is no FUSE here: /dev/fuse: {error}"),
    }
}

/// A `backupctl mount` that runs.
struct Mount {
    child: Child,
    folder: PathBuf,
}

impl Mount {
    fn start(daemon: &Daemon, more: &[&str]) -> Self {
        let folder = daemon.home().join("mnt");
        fs::create_dir_all(&folder).unwrap();
        let mut command = daemon.command(&programs::backupctl());
        command.arg("mount").arg(&folder).args(more).stdin(Stdio::null()).stdout(Stdio::piped());
        let log = File::create(daemon.home().join("mount.log")).unwrap();
        let mut child = command.stderr(log).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let said = fs::read_to_string(daemon.home().join("mount.log")).unwrap();
        assert!(line.contains("until Ctrl-C"), "{line}{said}");
        Self { child, folder }
    }

    fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.join(name)
    }

    fn wait(&mut self) -> ExitStatus {
        let child = &mut self.child;
        wait::until("the mount has ended", || child.try_wait().unwrap())
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = rustix::mount::unmount(&self.folder, rustix::mount::UnmountFlags::DETACH);
    }
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn back_up(daemon: &Daemon, source: &Path) {
    daemon.ctl(["backup".as_ref(), source.as_os_str()]).expect(0);
}

/// Returns where a path is in a snapshot that is mounted.
fn inside(top: &Path, source: &Path) -> PathBuf {
    top.join(source.strip_prefix("/").unwrap())
}

#[test]
fn the_folder_is_what_was_backed_up() {
    with_fuse("the_folder_is_what_was_backed_up", || {
        let daemon = Daemon::start();
        let source = daemon.home().join("tree");
        let mut tree = Tree::awkward(&source, Seed(5));
        let large = tree.random_file("large", 30 << 20);
        tree.sparse("holes", 40 << 20, &[3, 20 << 20]);
        tree.hard_link(&large, "large too");
        tree.xattr(&large, "user.mood", b"glad\0\xff");
        daemon.ctl(["backup".as_ref(), source.as_os_str()]);
        let mount = Mount::start(&daemon, &[]);
        assert_eq!(names(&mount.folder), ["hosts", "ids", "snapshots", "tags"]);
        let copy = inside(&mount.path("snapshots/latest"), &source);
        let compared = compare(&source, &copy, &Options::default());
        // What a listing does not tell: which names are of one file, holes and device numbers.
        let untold = ["one file with", "hole", "device", "blocks", "sparse"];
        let wrong: Vec<_> = compared.differences.iter().map(ToString::to_string).collect();
        let wrong: Vec<_> = wrong.iter().filter(|line| !untold.iter().any(|word| line.contains(word))).collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
        assert!(compared.files > 20 && compared.bytes > 70_000_000, "{compared:?}");
        let copied = inside(&mount.path("snapshots/latest"), &large);
        assert_eq!(fs::metadata(&copied).unwrap().nlink(), 2);
        let mut value = [0; 20];
        let length = rustix::fs::getxattr(&copied, "user.mood", &mut value[..]).unwrap();
        assert_eq!(&value[..length], b"glad\0\xff");
        assert_eq!(rustix::fs::getxattr(&copied, "user.mood", &mut value[..3]), Err(Errno::RANGE));
        assert_eq!(rustix::fs::getxattr(&copied, "user.none", &mut value[..]), Err(Errno::NODATA));
        random_reads(&large, &inside(&mount.path("snapshots/latest"), &large), 30 << 20);
    });
}

/// Compares 300 pieces of a file with those of its copy.
fn random_reads(original: &Path, copy: &Path, size: u64) {
    let mut random = Seed::of_test("backup-testkit", "the_folder_is_what_was_backed_up").random();
    let (original, copy) = (File::open(original).unwrap(), File::open(copy).unwrap());
    for _ in 0..300 {
        let (at, length) = (random.below(size), usize::try_from(random.below(300_000)).unwrap());
        let read = |file: &File| {
            let mut piece = vec![0; length];
            let read = file.read_at(&mut piece, at).unwrap();
            piece.truncate(read);
            piece
        };
        // The system gives fewer bytes than asked for at the end only.
        assert!(read(&original) == read(&copy), "{length} bytes at {at}");
    }
}

/// A daemon with one snapshot of a folder with two files.
fn small() -> (Daemon, PathBuf) {
    let daemon = Daemon::start();
    let source = daemon.home().join("tree");
    let mut tree = Tree::new(&source, Seed(9));
    tree.random_file("first", 3 << 20);
    tree.random_file("folder/second", 1000);
    back_up(&daemon, &source);
    (daemon, source)
}

#[test]
fn a_new_snapshot_appears_and_nothing_can_be_changed() {
    with_fuse("a_new_snapshot_appears_and_nothing_can_be_changed", || {
        let (daemon, source) = small();
        let mount = Mount::start(&daemon, &[]);
        assert_eq!(names(&mount.path("ids")).len(), 1);
        let before = inside(&mount.path("snapshots/latest"), &source);
        assert_eq!(names(&before), ["first", "folder"]);
        for denied in [
            fs::write(before.join("new"), "x"),
            fs::remove_file(before.join("first")),
            fs::create_dir(mount.path("ids/new")),
            File::options().append(true).open(before.join("first")).map(|_| ()),
        ] {
            assert_eq!(denied.unwrap_err().raw_os_error(), Some(Errno::ROFS.raw_os_error()));
        }
        assert_eq!(fs::metadata(before.join("none")).unwrap_err().kind(), std::io::ErrorKind::NotFound);
        fs::write(source.join("third"), "3").unwrap();
        back_up(&daemon, &source);
        wait::until("the new snapshot is there", || (names(&mount.path("ids")).len() == 2).then_some(()));
        let is_new = || inside(&mount.path("snapshots/latest"), &source).join("third").exists().then_some(());
        wait::until("`latest` is the new one", is_new);
        let oldest = mount.path("snapshots").join(&names(&mount.path("snapshots"))[0]);
        assert_eq!(names(&inside(&oldest, &source)), ["first", "folder"]);
    });
}

#[test]
fn one_snapshot_is_the_folder_itself() {
    with_fuse("one_snapshot_is_the_folder_itself", || {
        let (daemon, source) = small();
        let mut mount = Mount::start(&daemon, &["--snapshot", "latest", "--allow-other"]);
        let copy = inside(&mount.folder, &source);
        assert_eq!(fs::read(copy.join("first")).unwrap(), fs::read(source.join("first")).unwrap());
        let again = daemon.ctl(["mount".as_ref(), mount.folder.as_os_str()]).expect(1);
        assert!(again.complaint().contains("mounted on"), "{}", again.complaint());
        mount::unmount(&mount.folder);
        assert!(mount.wait().success());
        let arguments = ["mount".as_ref(), mount.folder.as_os_str(), "--snapshot".as_ref(), "nothing".as_ref()];
        assert!(daemon.ctl(arguments).expect(1).complaint().contains("there is no snapshot `nothing`"));
    });
}

#[test]
fn a_damaged_file_fails_by_itself_and_is_named() {
    with_fuse("a_damaged_file_fails_by_itself_and_is_named", || {
        let (daemon, source) = small();
        let packs = || {
            let data = daemon.repository().join("data");
            let folders = fs::read_dir(data).unwrap().flat_map(|folder| fs::read_dir(folder.unwrap().path()).unwrap());
            folders.map(|pack| pack.unwrap().path()).collect::<Vec<_>>()
        };
        let before = packs();
        let contents = Seed(10).random().bytes(2 << 20);
        fs::write(source.join("damaged"), &contents).unwrap();
        back_up(&daemon, &source);
        let new = packs().into_iter().filter(|pack| !before.contains(pack));
        let data = new.max_by_key(|pack| fs::metadata(pack).unwrap().len()).unwrap();
        let mount = Mount::start(&daemon, &[]);
        fs::set_permissions(&data, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        File::options().write(true).open(&data).unwrap().write_at(&[7; 1 << 16], 1000).unwrap();
        let copy = inside(&mount.path("snapshots/latest"), &source);
        for _ in 0..2 {
            let error = fs::read(copy.join("damaged")).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(Errno::IO.raw_os_error()));
        }
        assert_eq!(fs::read(copy.join("first")).unwrap(), fs::read(source.join("first")).unwrap());
        let said = fs::read_to_string(daemon.home().join("mount.log")).unwrap();
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.contains("tree/damaged"), "{said}");
    });
}

#[test]
fn a_signal_unmounts_also_while_somebody_reads() {
    with_fuse("a_signal_unmounts_also_while_somebody_reads", || {
        let (daemon, source) = small();
        for signal in [Signal::TERM, Signal::INT] {
            let mut mount = Mount::start(&daemon, &[]);
            let mut open = File::open(inside(&mount.path("snapshots/latest"), &source).join("first")).unwrap();
            open.read_exact(&mut [0; 10]).unwrap();
            kill_process(Pid::from_child(&mount.child), signal).unwrap();
            assert!(mount.wait().success());
            assert_eq!(names(&mount.folder), [""; 0]);
        }
    });
}

#[test]
fn a_daemon_that_goes_away_and_comes_back_is_used_again() {
    with_fuse("a_daemon_that_goes_away_and_comes_back_is_used_again", || {
        let (mut daemon, source) = small();
        let mount = Mount::start(&daemon, &[]);
        let copy = inside(&mount.path("snapshots/latest"), &source);
        assert_eq!(names(&copy), ["first", "folder"]);
        let open = File::open(copy.join("first")).unwrap();
        daemon.kill();
        let error = open.read_at(&mut [0; 10], 0).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(Errno::IO.raw_os_error()));
        daemon.launch();
        let mut read = [0; 10];
        open.read_exact_at(&mut read, 0).unwrap();
        assert_eq!(read, fs::read(source.join("first")).unwrap()[..10]);
        assert_eq!(fs::read(copy.join("folder/second")).unwrap(), fs::read(source.join("folder/second")).unwrap());
    });
}

#[test]
fn a_place_that_cannot_be_used_is_said() {
    let (daemon, source) = small();
    let refused = |path: &Path, more: &[&str], code: i32| {
        let arguments = ["mount".as_ref(), path.as_os_str()].into_iter().chain(more.iter().map(AsRef::as_ref));
        daemon.ctl(arguments).expect(code).complaint()
    };
    assert!(refused(&source, &[], 1).contains("not empty"));
    assert!(refused(&source.join("first"), &[], 1).contains("not a folder"));
    assert!(refused(&source.join("none"), &[], 1).contains("there is no folder"));
}

#[test]
fn a_mount_whose_daemon_hangs_can_be_ended() {
    with_fuse("a_mount_whose_daemon_hangs_can_be_ended", || {
        let (daemon, source) = small();
        let mut mount = Mount::start(&daemon, &[]);
        let copy = inside(&mount.path("snapshots/latest"), &source);
        assert_eq!(names(&copy), ["first", "folder"]);
        let open = File::open(copy.join("first")).unwrap();
        let hung = Pid::from_raw(i32::try_from(daemon.pid()).unwrap()).unwrap();
        kill_process(hung, Signal::STOP).unwrap();
        let reading = std::thread::spawn(move || open.read_at(&mut [0; 10], 0));
        kill_process(Pid::from_child(&mount.child), Signal::TERM).unwrap();
        assert!(mount.wait().success());
        assert!(reading.join().unwrap().is_err(), "nobody can have answered");
        assert_eq!(names(&mount.folder), [""; 0]);
        kill_process(hung, Signal::CONT).unwrap();
    });
}
