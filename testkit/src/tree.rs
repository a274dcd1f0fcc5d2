//! Trees of files, from a plain one to the awkward; the same seed plants the same tree.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags};

use crate::must;
use crate::seed::{Random, Seed};

/// A tree that is being planted under one folder.
#[derive(Debug)]
pub struct Tree {
    root: PathBuf,
    random: Random,
}

impl Tree {
    /// Starts a tree; the folder is created when it is not there.
    pub fn new(root: impl Into<PathBuf>, seed: Seed) -> Self {
        let root = root.into();
        must("create", &root, fs::create_dir_all(&root));
        Self { root, random: seed.random() }
    }

    /// Returns the folder the tree stands in.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns the path of an entry, named as text or as raw bytes.
    pub fn path(&self, name: impl AsRef<[u8]>) -> PathBuf {
        self.root.join(OsStr::from_bytes(name.as_ref()))
    }

    /// Makes a file with this content, and the folders above it.
    pub fn file(&self, name: impl AsRef<[u8]>, content: &[u8]) -> PathBuf {
        let path = self.path(name);
        self.make_parent(&path);
        must("write", &path, fs::write(&path, content));
        path
    }

    /// Makes a file with random content that does not compress.
    pub fn random_file(&mut self, name: impl AsRef<[u8]>, length: usize) -> PathBuf {
        let content = self.random.bytes(length);
        self.file(name, &content)
    }

    /// Makes a folder and those above it.
    pub fn folder(&self, name: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        must("create", &path, fs::create_dir_all(&path));
        path
    }

    /// Makes a symbolic link with this target, which need not exist.
    pub fn symlink(&self, name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        self.make_parent(&path);
        must("link", &path, std::os::unix::fs::symlink(OsStr::from_bytes(target.as_ref()), &path));
        path
    }

    /// Makes a second name for a file.
    pub fn hard_link(&self, existing: &Path, name: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        self.make_parent(&path);
        must("link", &path, fs::hard_link(existing, &path));
        path
    }

    /// Makes a file of holes with short islands of data at these offsets.
    pub fn sparse(&mut self, name: impl AsRef<[u8]>, length: u64, islands: &[u64]) -> PathBuf {
        let path = self.path(name);
        self.make_parent(&path);
        let mut file = must("create", &path, File::create(&path));
        must("extend", &path, file.set_len(length));
        for offset in islands {
            must("seek in", &path, file.seek(SeekFrom::Start(*offset)));
            must("write", &path, file.write_all(&self.random.bytes(4096)));
        }
        path
    }

    /// Makes a named pipe.
    pub fn fifo(&self, name: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        self.make_parent(&path);
        must("create", &path, rustix::fs::mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o640), 0));
        path
    }

    /// Makes a socket that nobody listens on.
    pub fn socket(&self, name: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        self.make_parent(&path);
        // The file outlives its listener.
        drop(must("bind", &path, UnixListener::bind(&path)));
        path
    }

    /// Sets the permission bits.
    pub fn mode(&self, path: &Path, mode: u32) {
        must("change the mode of", path, fs::set_permissions(path, fs::Permissions::from_mode(mode)));
    }

    /// Sets the modification time, of the link itself where the path is one.
    pub fn modified(&self, path: &Path, seconds: i64, nanoseconds: u32) {
        let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds.into() };
        let times = Timestamps { last_access: time, last_modification: time };
        must("set the time of", path, rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW));
    }

    /// Sets an extended attribute, of the link itself where the path is one.
    pub fn xattr(&self, path: &Path, name: &str, value: &[u8]) {
        must("set an attribute of", path, rustix::fs::lsetxattr(path, name, value, XattrFlags::empty()));
    }

    /// Plants a small tree of ordinary files: the same in every run with this seed.
    pub fn plain(root: impl Into<PathBuf>, seed: Seed) -> Self {
        let mut tree = Self::new(root, seed);
        for folder in 0..4_u64 {
            for file in 0..8_u64 {
                let length = usize::try_from(tree.random.below(20_000)).unwrap_or(0);
                let path = tree.random_file(format!("folder {folder}/file {file}.bin"), length);
                let offset = i64::try_from(folder * 8 + file).unwrap_or(0);
                tree.modified(&path, 1_700_000_000 + offset, 123_456_789);
            }
        }
        tree
    }

    /// Plants a tree of everything an unprivileged user can make that backup programs have stumbled over.
    pub fn awkward(root: impl Into<PathBuf>, seed: Seed) -> Self {
        let mut tree = Self::new(root, seed);
        tree.plant_names();
        tree.plant_contents();
        tree.plant_links();
        tree.plant_metadata();
        tree
    }

    fn plant_names(&mut self) {
        self.random_file(b"not utf-8: \xff\xfe \xc3\x28", 100);
        self.random_file(b"folder \x80\x81/inner \xf0\x28\x8c\x28", 100);
        self.random_file("n".repeat(255), 100);
        self.random_file("ü".repeat(127), 100);
        self.random_file("new\nline, tab\t, quote\", back\\slash, *?[glob]", 100);
        self.random_file(" leading and trailing space ", 100);
        self.random_file("-rf", 100);
        self.random_file("CON", 100);
        self.random_file("Case", 10);
        self.random_file("case", 11);
        // The same name for a person, composed and decomposed: two files on Linux.
        self.random_file("caf\u{e9}", 12);
        self.random_file("cafe\u{301}", 13);
        let deep = (0..60).map(|level| format!("deep {level:02}")).collect::<Vec<_>>().join("/");
        self.random_file(format!("{deep}/at the bottom"), 100);
        self.folder("empty folder");
        self.folder("\u{1f4be} emoji");
    }

    fn plant_contents(&mut self) {
        self.file("empty file", b"");
        self.file("one byte", b"x");
        self.file("zeros", &vec![0; 300_000]);
        self.file("text", "the same line again and again\n".repeat(20_000).as_bytes());
        // Around the shortest chunk and over several chunks.
        self.random_file("one under the shortest chunk", 512 * 1024 - 1);
        self.random_file("the shortest chunk", 512 * 1024);
        let large = self.random_file("several chunks", 5_000_000);
        must("copy", &large, fs::copy(&large, self.path("several chunks, again")));
        self.sparse("sparse", 64 << 20, &[0, 20 << 20, (64 << 20) - 4096]);
        self.sparse("only a hole", 10 << 20, &[]);
    }

    fn plant_links(&mut self) {
        let first = self.random_file("hard/first", 3000);
        self.hard_link(&first, "hard/second");
        self.hard_link(&first, b"elsewhere/third \xff");
        self.symlink("to nowhere", "does/not/exist");
        self.symlink("to itself", "to itself");
        self.symlink("to the parent", "..");
        self.symlink("absolute", "/etc/hostname");
        self.symlink("not utf-8 target", b"\xff\xfe");
        self.symlink("long target", "t/".repeat(1500));
        self.fifo("fifo");
    }

    fn plant_metadata(&mut self) {
        for mode in [0o400, 0o444, 0o555, 0o600, 0o644, 0o755, 0o777, 0o4755, 0o2755, 0o1644] {
            let path = self.random_file(format!("modes/{mode:04o}"), 10);
            self.mode(&path, mode);
        }
        for (name, seconds, nanoseconds) in
            [("1970", 0, 1), ("before 1970", -1_000_000, 999_999_999), ("2100", 4_102_444_800, 1), ("whole", 86_400, 0)]
        {
            let path = self.random_file(format!("times/{name}"), 10);
            self.modified(&path, seconds, nanoseconds);
        }
        let link = self.symlink("times/link", "1970");
        self.modified(&link, 1_000_000_000, 987_654_321);
        let path = self.random_file("attributes", 10);
        self.xattr(&path, "user.plain", b"value");
        self.xattr(&path, "user.binary", &[0, 255, 10, 0]);
        self.xattr(&path, "user.empty", b"");
        let folder = self.folder("folder with attributes");
        self.xattr(&folder, "user.folder", b"yes");
        self.mode(&self.folder("sticky"), 0o1777);
        self.mode(&self.folder("group id"), 0o2755);
        let closed = self.random_file("read-only folder/file", 10);
        self.modified(&closed, 1_500_000_000, 5);
        self.mode(&self.path("read-only folder"), 0o555);
        self.modified(&self.path("read-only folder"), 1_500_000_001, 7);
    }

    fn make_parent(&self, path: &Path) {
        let parent = path.parent().unwrap_or(&self.root);
        must("create", parent, fs::create_dir_all(parent));
    }
}

/// Makes every folder below this one writable, so that a tree with read-only folders can be removed.
pub fn open_up(root: &Path) {
    // Whatever cannot be opened up will be reported by the removal itself.
    let _ = fs::set_permissions(root, fs::Permissions::from_mode(0o700));
    for entry in fs::read_dir(root).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            open_up(&entry.path());
        }
    }
}
