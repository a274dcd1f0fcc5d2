//! Entries of every kind, described in restic's words.

use std::fs;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, XattrFlags, mkfifoat, setxattr, utimensat};
use tempfile::{TempDir, tempdir};

use super::*;
use crate::source::Folder;
use crate::source::test_support::without_rights;

fn node(home: &TempDir, name: &str) -> Node {
    let folder = Folder::open_root(home.path()).unwrap();
    let name = OsStr::new(name);
    let mut node = describe(name, &folder.look(name).unwrap(), &Owners::default());
    let problems = complete(&mut node, Place::Entry(folder.as_fd(), name)).unwrap();
    assert!(problems.is_empty(), "{problems:?}");
    node
}

#[test]
fn modes_are_translated_both_ways() {
    for (unix, go) in [
        (0o100_644, 0o644),
        (0o040_755, 0o755 | 1 << 31),
        (0o120_777, 0o777 | 1 << 27),
        (0o060_660, 0o660 | 1 << 26),
        (0o020_666, 0o666 | 1 << 26 | 1 << 21),
        (0o010_600, 0o600 | 1 << 25),
        (0o140_755, 0o755 | 1 << 24),
        (0o104_755, 0o755 | 1 << 23),
        (0o102_755, 0o755 | 1 << 22),
        (0o041_777, 0o777 | 1 << 31 | 1 << 20),
        (0o107_000, 1 << 23 | 1 << 22 | 1 << 20),
    ] {
        assert_eq!(mode_to_go(unix), go, "{unix:o}");
        assert_eq!(permissions(go), Mode::from_bits_truncate(unix & 0o7777), "{unix:o}");
    }
}

#[test]
fn every_kind_is_described() {
    let home = tempdir().unwrap();
    fs::write(home.path().join("file"), b"12345").unwrap();
    fs::hard_link(home.path().join("file"), home.path().join("second")).unwrap();
    fs::set_permissions(home.path().join("file"), fs::Permissions::from_mode(0o4751)).unwrap();
    fs::create_dir(home.path().join("folder")).unwrap();
    symlink(OsStr::from_bytes(b"to/\xffnowhere"), home.path().join("link")).unwrap();
    mkfifoat(CWD, home.path().join("pipe"), Mode::RUSR).unwrap();
    let _listener = UnixListener::bind(home.path().join("socket")).unwrap();

    let file = node(&home, "file");
    assert_eq!((file.kind, file.size, file.links, file.mode), (NodeKind::File, 5, 2, 0o751 | 1 << 23));
    assert_eq!(file.name, b"file");
    assert_eq!(file.inode, node(&home, "second").inode);
    assert_eq!(file.atime, file.mtime, "restic keeps no time of access unless asked to");
    let me = uzers::get_user_by_uid(file.uid).unwrap();
    assert_eq!(file.user, me.name().to_string_lossy());
    let folder = node(&home, "folder");
    assert_eq!((folder.kind, folder.size, folder.links), (NodeKind::Dir, 0, 0));
    let link = node(&home, "link");
    assert_eq!((link.kind, link.link_target()), (NodeKind::Symlink, b"to/\xffnowhere".as_slice()));
    assert_eq!(node(&home, "pipe").kind, NodeKind::Fifo);
    assert_eq!(node(&home, "socket").kind, NodeKind::Socket);

    let devices = Folder::open_root(Path::new("/dev")).unwrap();
    let null = describe(OsStr::new("null"), &devices.look(OsStr::new("null")).unwrap(), &Owners::default());
    assert_eq!((null.kind, null.device), (NodeKind::Chardev, 0x103));
}

#[test]
fn times_are_exact_to_the_nanosecond_and_may_lie_before_1970() {
    let home = tempdir().unwrap();
    let path = home.path().join("file");
    fs::write(&path, b"").unwrap();
    for (seconds, nanoseconds, expected) in
        [(1_700_000_000, 123_456_789, "2023-11-14T22:13:20.123456789Z"), (-2, 250_000_000, "1969-12-31T23:59:58.25Z")]
    {
        let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
        let times = Timestamps { last_access: time, last_modification: time };
        utimensat(CWD, &path, &times, AtFlags::empty()).unwrap();
        assert_eq!(node(&home, "file").mtime.unwrap().to_string(), expected);
    }
}

#[test]
fn times_beyond_restics_years_become_the_nearest_it_can_write() {
    assert_eq!(timestamp(-1_000_000_000_000_i64, 5).to_string(), "0000-01-01T00:00:00.000000005Z");
    assert_eq!(timestamp(i64::MAX, 999_999_999), Timestamp::MAX);
    assert_eq!(timestamp(u64::MAX, 0), Timestamp::MAX);
}

#[test]
fn extended_attributes_are_read_through_name_and_file() {
    let home = tempdir().unwrap();
    let path = home.path().join("file");
    fs::write(&path, b"").unwrap();
    let long = vec![7; 3000];
    for (name, value) in [("user.empty", b"".as_slice()), ("user.bytes", b"\0\xff"), ("user.long", &long)] {
        setxattr(&path, name, value, XattrFlags::empty()).unwrap();
    }
    let by_name = node(&home, "file");
    let file = fs::File::open(&path).unwrap();
    let mut by_file = by_name.clone();
    by_file.extended_attributes.clear();
    assert!(complete(&mut by_file, Place::Open(file.as_fd())).unwrap().is_empty());
    assert_eq!(by_name, by_file);
    let value = |name: &str| by_name.extended_attributes.iter().find(|found| found.name == name).unwrap().value.clone();
    assert_eq!(value("user.empty"), b"");
    assert_eq!(value("user.bytes"), b"\0\xff");
    assert_eq!(value("user.long"), long);
}

#[test]
fn an_attribute_whose_name_is_not_utf_8_is_reported() {
    let home = tempdir().unwrap();
    let path = home.path().join("file");
    fs::write(&path, b"").unwrap();
    setxattr(&path, b"user.\xff".as_slice(), b"1", XattrFlags::empty()).unwrap();
    setxattr(&path, "user.good", b"2", XattrFlags::empty()).unwrap();
    let file = fs::File::open(&path).unwrap();
    let mut node = describe(OsStr::new("file"), &rustix::fs::fstat(&file).unwrap(), &Owners::default());
    let mut problems = complete(&mut node, Place::Open(file.as_fd())).unwrap();
    assert_eq!(node.extended_attributes.len(), 1);
    assert_eq!(problems.len(), 1);
    let message = problems.remove(0).into_error(&path).to_string();
    assert!(message.contains("user.\u{fffd}") && message.contains("not UTF-8"), "{message}");
}

#[test]
fn attributes_that_may_not_be_read_are_reported_and_the_rest_is_kept() {
    let name = "source::meta::tests::attributes_that_may_not_be_read_are_reported_and_the_rest_is_kept";
    without_rights(name, Path::new("/"), |_| {
        let home = tempdir().unwrap();
        let path = home.path().join("file");
        fs::write(&path, b"").unwrap();
        setxattr(&path, "user.one", b"1", XattrFlags::empty()).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
        let folder = Folder::open_root(home.path()).unwrap();
        let name = OsStr::new("file");
        let mut node = describe(name, &folder.look(name).unwrap(), &Owners::default());
        let problems = complete(&mut node, Place::Entry(folder.as_fd(), name)).unwrap();
        assert_eq!((node.kind, node.mode), (NodeKind::File, 0));
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert_eq!(problems[0].aspect, Aspect::Attribute("user.one".to_owned()));
        assert_eq!(problems[0].source.kind(), io::ErrorKind::PermissionDenied);
    });
}
