//! Metadata there and back, with rights and without.

use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;

use backup_testkit::unprivileged::is_root;
use rustix::fs::{
    AtFlags, CWD, FileType, XattrFlags, chmod, chownat, getxattr, lgetxattr, lsetxattr, mkfifoat, mknodat, setxattr,
    utimensat,
};
use tempfile::{TempDir, tempdir};

use super::*;
use crate::source::meta::{complete, describe, mode_to_go};
use crate::source::test_support::without_rights;
use crate::source::{Folder, Owners};
use crate::tree::ExtendedAttribute;

fn node_at(folder: &Path, name: &str) -> Node {
    let folder = Folder::open_root(folder).unwrap();
    let name = OsStr::new(name);
    let mut node = describe(name, &folder.look(name).unwrap(), &Owners::default());
    let problems = complete(&mut node, Place::Entry(folder.as_fd(), name)).unwrap();
    assert!(problems.is_empty(), "{problems:?}");
    node.extended_attributes.sort_by(|a, b| a.name.cmp(&b.name));
    node
}

fn apply_at(node: &Node, folder: &Path, name: &str) -> Vec<Problem> {
    let folder = Folder::open_root(folder).unwrap();
    apply(node, Place::Entry(folder.as_fd(), OsStr::new(name)))
}

/// Applies, and checks that the entry then has the metadata of the node.
fn assert_applies(node: &Node, folder: &Path, name: &str) {
    let problems = apply_at(node, folder, name);
    assert!(problems.is_empty(), "{name}: {problems:?}");
    let mut found = node_at(folder, name);
    // What only the file system decides.
    (found.inode, found.ctime, found.links, found.size) = (node.inode, node.ctime, node.links, node.size);
    found.name.clone_from(&node.name);
    assert_eq!(found, *node, "{name}");
}

fn set_times(path: &Path, seconds: i64, nanoseconds: i64) {
    let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
    let times = Timestamps { last_access: time, last_modification: time };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

/// An access list as Linux stores it: the owner reads and writes, user 1000 reads, the group reads, others nothing.
fn access_list() -> Vec<u8> {
    let entries: [(u16, u16, u32); 5] =
        [(0x01, 6, u32::MAX), (0x02, 4, 1000), (0x04, 4, u32::MAX), (0x10, 6, u32::MAX), (0x20, 0, u32::MAX)];
    let mut list = 2_u32.to_le_bytes().to_vec();
    for (tag, rights, id) in entries {
        list.extend([tag.to_le_bytes(), rights.to_le_bytes()].concat());
        list.extend(id.to_le_bytes());
    }
    list
}

/// The capability to bind low ports, as Linux stores it.
fn capability() -> Vec<u8> {
    [0x0200_0001_u32, 1 << 10, 0, 0, 0].iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// A folder with an entry of every kind that can be made without root, and metadata to lose.
fn odd_entries() -> TempDir {
    let home = tempdir().unwrap();
    let path = |name: &str| home.path().join(name);
    for (name, mode) in [("setuid", 0o4755), ("setgid", 0o2711), ("closed", 0), ("sticky", 0o1644)] {
        fs::write(path(name), name).unwrap();
        setxattr(path(name), "user.name", name.as_bytes(), XattrFlags::empty()).unwrap();
        fs::set_permissions(path(name), fs::Permissions::from_mode(mode)).unwrap();
        set_times(&path(name), 1_234_567_890, 123_456_789);
    }
    fs::create_dir(path("folder")).unwrap();
    setxattr(path("folder"), "user.name", b"folder", XattrFlags::empty()).unwrap();
    setxattr(path("folder"), "system.posix_acl_default", &access_list(), XattrFlags::empty()).unwrap();
    fs::set_permissions(path("folder"), fs::Permissions::from_mode(0o3755)).unwrap();
    set_times(&path("folder"), -5, 999_999_999);
    fs::write(path("listed"), b"").unwrap();
    setxattr(path("listed"), "system.posix_acl_access", &access_list(), XattrFlags::empty()).unwrap();
    set_times(&path("listed"), 0, 0);
    mkfifoat(CWD, path("pipe"), Mode::RUSR).unwrap();
    set_times(&path("pipe"), 7, 7);
    symlink("nowhere", path("link")).unwrap();
    set_times(&path("link"), 8, 8);
    home
}

fn make(kind: NodeKind, path: &Path) {
    match kind {
        NodeKind::Dir => fs::create_dir(path).unwrap(),
        NodeKind::Symlink => symlink("nowhere", path).unwrap(),
        NodeKind::Fifo => mkfifoat(CWD, path, Mode::RUSR | Mode::WUSR).unwrap(),
        _ => fs::write(path, b"").unwrap(),
    }
}

const NAMES: [&str; 8] = ["setuid", "setgid", "closed", "sticky", "folder", "listed", "pipe", "link"];

#[test]
fn everything_comes_back() {
    let (from, to) = (odd_entries(), tempdir().unwrap());
    for name in NAMES {
        let node = node_at(from.path(), name);
        make(node.kind, &to.path().join(name));
        assert_applies(&node, to.path(), name);
        assert_applies(&node, to.path(), name);
    }
    let listed = node_at(to.path(), "listed");
    assert_eq!(listed.extended_attributes[0].name, "system.posix_acl_access");
    assert_eq!(listed.mode, 0o660, "the group's bits show the list's mask");
}

#[test]
fn an_open_file_takes_the_same_as_a_name() {
    let (from, to) = (odd_entries(), tempdir().unwrap());
    for name in ["setuid", "listed", "folder"] {
        let node = node_at(from.path(), name);
        let path = to.path().join(name);
        make(node.kind, &path);
        let problems = apply(&node, Place::Open(fs::File::open(&path).unwrap().as_fd()));
        assert!(problems.is_empty(), "{problems:?}");
        assert_applies(&node, to.path(), name);
    }
}

#[test]
fn attributes_that_the_backup_lacks_are_removed() {
    let (from, to) = (odd_entries(), tempdir().unwrap());
    setxattr(to.path(), "system.posix_acl_default", &access_list(), XattrFlags::empty()).unwrap();
    let node = node_at(from.path(), "setuid");
    fs::write(to.path().join("new"), b"").unwrap();
    setxattr(to.path().join("new"), "user.other", b"1", XattrFlags::empty()).unwrap();
    assert_eq!(node_at(to.path(), "new").extended_attributes.len(), 2, "the folder's list is inherited");
    assert_applies(&node, to.path(), "new");
}

#[test]
fn a_link_in_an_entrys_place_leads_nowhere() {
    let (from, to) = (odd_entries(), tempdir().unwrap());
    let victim = to.path().join("victim");
    fs::write(&victim, b"").unwrap();
    set_times(&victim, 99, 99);
    let before = fs::metadata(&victim).unwrap();
    symlink("victim", to.path().join("swapped")).unwrap();
    let problems = apply_at(&node_at(from.path(), "setuid"), to.path(), "swapped");
    assert!(!problems.is_empty());
    let after = fs::metadata(&victim).unwrap();
    assert_eq!((before.mode(), before.mtime(), before.ctime_nsec()), (after.mode(), after.mtime(), after.ctime_nsec()));
    assert_eq!(node_at(to.path(), "victim").extended_attributes, []);
}

#[test]
fn an_owner_that_cannot_be_set_costs_the_special_rights() {
    let (from, to) = (odd_entries(), tempdir().unwrap());
    for name in ["setuid", "setgid"] {
        let mut node = node_at(from.path(), name);
        node.uid = u32::MAX;
        fs::write(to.path().join(name), b"").unwrap();
        let problems = apply_at(&node, to.path(), name);
        assert_eq!(problems.iter().map(|problem| &problem.aspect).collect::<Vec<_>>(), [&Aspect::Owner]);
        assert_eq!(node_at(to.path(), name).mode, node.mode & 0o777, "{name}");
    }
}

#[test]
fn what_is_not_known_is_left_alone() {
    let to = tempdir().unwrap();
    fs::write(to.path().join("file"), b"").unwrap();
    set_times(&to.path().join("file"), 55, 5);
    let mut node = node_at(to.path(), "file");
    (node.mtime, node.atime) = (None, None);
    assert!(apply_at(&node, to.path(), "file").is_empty());
    assert_eq!(fs::metadata(to.path().join("file")).unwrap().mtime(), 55);
    assert_eq!(apply_at(&node, to.path(), "missing").len(), 1);
}

#[test]
fn root_gives_things_away_with_their_rights() {
    assert!(is_root(), "this test needs root, to give files away and to make devices");
    let (from, to) = (odd_entries(), tempdir().unwrap());
    mknodat(CWD, from.path().join("device"), FileType::CharacterDevice, Mode::RUSR, 0x103).unwrap();
    mknodat(CWD, to.path().join("device"), FileType::CharacterDevice, Mode::empty(), 0x103).unwrap();
    for name in NAMES.into_iter().chain(["device"]) {
        let path = from.path().join(name);
        let mode = fs::symlink_metadata(&path).unwrap().mode();
        chownat(CWD, &path, Some(Uid::from_raw(1234)), Some(Gid::from_raw(4321)), AtFlags::SYMLINK_NOFOLLOW).unwrap();
        if name != "link" {
            // Changing the owner has taken the special bits.
            chmod(&path, Mode::from_raw_mode(mode)).unwrap();
        }
        lsetxattr(&path, "trusted.test", name.as_bytes(), XattrFlags::empty()).unwrap();
    }
    setxattr(from.path().join("setuid"), CAPABILITY, &capability(), XattrFlags::empty()).unwrap();
    for name in NAMES.into_iter().chain(["device"]) {
        let node = node_at(from.path(), name);
        assert_eq!((node.uid, node.gid), (1234, 4321));
        let path = to.path().join(name);
        if name != "device" {
            make(node.kind, &path);
        }
        assert_applies(&node, to.path(), name);
        let mut value = [0; 16];
        assert_eq!(lgetxattr(&path, "trusted.test", &mut value).unwrap(), name.len(), "{name}");
    }
    assert_eq!(getxattr(to.path().join("setuid"), CAPABILITY, &mut [0; 64]).unwrap(), 20);
}

#[test]
fn without_rights_own_things_come_back_whole_and_others_lose_their_rights() {
    let name = "source::apply::tests::without_rights_own_things_come_back_whole_and_others_lose_their_rights";
    without_rights(name, Path::new("/"), |_| {
        let (from, to) = (odd_entries(), tempdir().unwrap());
        for name in NAMES {
            let mut node = node_at_unless_closed(from.path(), name);
            make(node.kind, &to.path().join(name));
            let own = apply_at(&node, to.path(), name);
            assert!(own.is_empty(), "{name}: {own:?}");

            node.uid = 0;
            node.extended_attributes.push(ExtendedAttribute { name: CAPABILITY.to_owned(), value: capability() });
            let others = to.path().join("others");
            fs::create_dir(&others).unwrap();
            make(node.kind, &others.join(name));
            let problems = apply_at(&node, &others, name);
            assert_eq!(problems.len(), 1, "{name}: {problems:?}");
            assert_eq!(problems[0].aspect, Aspect::Owner);
            assert_eq!(problems[0].source.kind(), ErrorKind::PermissionDenied);
            let found = fs::symlink_metadata(others.join(name)).unwrap();
            // A folder still hands its group on.
            let kept = if node.kind == NodeKind::Dir { !(1 << 23) } else { !(1 << 23 | 1 << 22) };
            assert_eq!(mode_to_go(found.mode()), node.mode & kept, "{name}");
            assert_eq!(found.mtime(), node.mtime.unwrap().as_second() - i64::from(name == "folder"), "{name}");
            fs::remove_dir_all(others).unwrap();
        }
    });
}

/// The attributes of a file without permissions cannot be read by its owner.
fn node_at_unless_closed(folder: &Path, name: &str) -> Node {
    if name != "closed" {
        return node_at(folder, name);
    }
    let folder = Folder::open_root(folder).unwrap();
    describe(OsStr::new(name), &folder.look(OsStr::new(name)).unwrap(), &Owners::default())
}
