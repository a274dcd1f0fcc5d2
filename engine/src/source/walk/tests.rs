//! Folders and files that are odd, deep, closed, or swapped for something else.

use std::fs;
use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, mkdirat, mkfifoat, utimensat};
use tempfile::{TempDir, tempdir};

use super::*;
use crate::source::owners::Owners;
use crate::source::test_support::without_rights;
use crate::source::{Place, meta};

fn folder() -> (TempDir, Folder) {
    let home = tempdir().unwrap();
    let folder = Folder::open_root(home.path()).unwrap();
    (home, folder)
}

fn bytes(name: &[u8]) -> &OsStr {
    OsStr::from_bytes(name)
}

#[test]
fn names_come_sorted_by_their_bytes() {
    let (home, folder) = folder();
    let long = [b'x'; 255];
    for name in [b"b".as_slice(), b"a", b"B", b"caf\xe9", "café".as_bytes(), b"\xff", b".hidden", b"a\nb", &long] {
        fs::write(home.path().join(bytes(name)), name).unwrap();
    }
    let listing = folder.names().unwrap();
    assert!(listing.error.is_none());
    let names: Vec<&[u8]> = listing.names.iter().map(|name| name.as_bytes()).collect();
    let expected: [&[u8]; 9] = [b".hidden", b"B", b"a", b"a\nb", b"b", "café".as_bytes(), b"caf\xe9", &long, b"\xff"];
    assert_eq!(names, expected);
    for name in &listing.names {
        let mut content = Vec::new();
        folder.open_file(name).unwrap().file.read_to_end(&mut content).unwrap();
        assert_eq!(content, name.as_bytes());
    }
    assert_eq!(folder.names().unwrap().names.len(), 9, "a second reading starts again");
}

#[test]
fn folders_deeper_than_any_path_are_reached() {
    const DEPTH: usize = 40;
    let (_home, root) = folder();
    let name = "n".repeat(200);
    let name = OsStr::new(&name);
    let mut deepest = root;
    for _ in 0..DEPTH {
        mkdirat(&deepest, name, Mode::RWXU).unwrap();
        deepest = deepest.open_child(name).unwrap();
    }
    drop(openat(&deepest, "file", OFlags::CREATE | OFlags::WRONLY, Mode::RUSR).unwrap());
    rustix::fs::symlinkat("target", &deepest, "link").unwrap();
    assert_eq!(deepest.names().unwrap().names, ["file", "link"]);
    let opened = deepest.open_file(OsStr::new("file")).unwrap();
    assert_eq!(Identity::of(&opened.stat), Identity::of(&deepest.look(OsStr::new("file")).unwrap()));
    let stat = deepest.look(OsStr::new("link")).unwrap();
    let mut node = meta::describe(OsStr::new("link"), &stat, &Owners::default());
    let place = Place::Entry(deepest.as_fd(), OsStr::new("link"));
    assert!(meta::complete(&mut node, place).unwrap().is_empty());
    assert_eq!(node.link_target(), b"target");
}

#[test]
fn links_are_followed_in_the_root_and_nowhere_below() {
    let (home, folder) = folder();
    fs::create_dir(home.path().join("real")).unwrap();
    fs::write(home.path().join("file"), b"data").unwrap();
    symlink("real", home.path().join("to folder")).unwrap();
    symlink("file", home.path().join("to file")).unwrap();
    let through_link = Folder::open_root(&home.path().join("to folder")).unwrap();
    assert_eq!(through_link.identity(), folder.open_child(OsStr::new("real")).unwrap().identity());
    assert_eq!(folder.open_child(OsStr::new("to folder")).unwrap_err().kind(), ErrorKind::NotADirectory);
    assert_eq!(folder.open_file(OsStr::new("to file")).unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(folder.open_child(OsStr::new("file")).unwrap_err().kind(), ErrorKind::NotADirectory);
    assert_eq!(folder.open_file(OsStr::new("real")).unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[test]
fn a_folder_that_is_swapped_for_a_link_after_the_look_is_not_entered() {
    let (home, folder) = folder();
    let elsewhere = tempdir().unwrap();
    let name = OsStr::new("sub");
    fs::create_dir(home.path().join(name)).unwrap();
    let before = Identity::of(&folder.look(name).unwrap());
    let open = folder.open_child(name).unwrap();
    fs::rename(home.path().join(name), home.path().join("moved")).unwrap();
    symlink(elsewhere.path(), home.path().join(name)).unwrap();
    fs::write(home.path().join("moved/inside"), b"").unwrap();
    assert!(folder.open_child(name).is_err());
    assert_eq!(open.identity(), before);
    assert_eq!(open.names().unwrap().names, ["inside"], "the open folder is still the one that was looked at");
}

#[test]
fn pipes_sockets_and_devices_in_a_files_place_are_refused_without_waiting() {
    let (home, folder) = folder();
    mkfifoat(&folder, "pipe", Mode::RUSR | Mode::WUSR).unwrap();
    let _listener = UnixListener::bind(home.path().join("socket")).unwrap();
    assert_eq!(folder.open_file(OsStr::new("pipe")).unwrap_err().kind(), ErrorKind::InvalidInput);
    assert!(folder.open_file(OsStr::new("socket")).is_err());
    let devices = Folder::open_root(Path::new("/dev")).unwrap();
    assert_eq!(devices.open_file(OsStr::new("zero")).unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[test]
fn hard_links_are_one_file() {
    let (home, folder) = folder();
    fs::write(home.path().join("a"), b"").unwrap();
    fs::hard_link(home.path().join("a"), home.path().join("b")).unwrap();
    fs::write(home.path().join("c"), b"").unwrap();
    let [a, b, c] = ["a", "b", "c"].map(|name| Identity::of(&folder.look(OsStr::new(name)).unwrap()));
    assert_eq!(a, b);
    assert_ne!(a, c);
    assert_eq!(a.device, folder.identity().device);
}

#[test]
fn what_is_not_there_is_an_error_of_its_own() {
    let (_home, folder) = folder();
    for error in [
        folder.open_child(OsStr::new("none")).unwrap_err(),
        folder.open_file(OsStr::new("none")).unwrap_err(),
        folder.look(OsStr::new("none")).unwrap_err(),
        Folder::open_root(Path::new("/none/such")).unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }
}

#[test]
fn reading_leaves_the_access_time_as_it_was() {
    let (home, folder) = folder();
    let path = home.path().join("file");
    fs::write(&path, b"data").unwrap();
    let long_ago = Timespec { tv_sec: 1_000_000, tv_nsec: 7 };
    let times = Timestamps { last_access: long_ago, last_modification: long_ago };
    utimensat(CWD, &path, &times, AtFlags::empty()).unwrap();
    folder.open_file(OsStr::new("file")).unwrap().file.read_to_end(&mut Vec::new()).unwrap();
    let found = fs::metadata(&path).unwrap();
    assert_eq!((found.atime(), found.atime_nsec()), (1_000_000, 7));
}

#[test]
fn a_user_without_rights_reads_what_is_open_to_all() {
    let (home, _) = folder();
    let open = home.path().join("open");
    fs::create_dir(&open).unwrap();
    fs::write(open.join("file"), b"data").unwrap();
    for (path, mode) in [(home.path(), 0o755), (&open, 0o755), (&open.join("file"), 0o644)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    // The access time of others' files cannot be kept, which is no reason not to read them.
    without_rights("source::walk::tests::a_user_without_rights_reads_what_is_open_to_all", &open, |open| {
        let folder = Folder::open_root(open).unwrap();
        assert_eq!(folder.names().unwrap().names, ["file"]);
        let mut content = Vec::new();
        folder.open_file(OsStr::new("file")).unwrap().file.read_to_end(&mut content).unwrap();
        assert_eq!(content, b"data");
    });
}

#[test]
fn a_user_without_rights_is_refused_what_is_closed() {
    without_rights("source::walk::tests::a_user_without_rights_is_refused_what_is_closed", Path::new("/"), |_| {
        let own = tempdir().unwrap();
        fs::create_dir(own.path().join("closed")).unwrap();
        fs::write(own.path().join("closed file"), b"").unwrap();
        for name in ["closed", "closed file"] {
            fs::set_permissions(own.path().join(name), fs::Permissions::from_mode(0o000)).unwrap();
        }
        let own = Folder::open_root(own.path()).unwrap();
        assert_eq!(own.open_child(OsStr::new("closed")).unwrap_err().kind(), ErrorKind::PermissionDenied);
        assert_eq!(own.open_file(OsStr::new("closed file")).unwrap_err().kind(), ErrorKind::PermissionDenied);
    });
}
