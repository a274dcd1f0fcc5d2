//! Folders of the destination, held open: every entry is made and looked at relative to one of them, no link that is
//! there is followed.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, RenameFlags, Stat, mkdirat, openat, statat, unlinkat};
use rustix::io::Errno;

use crate::id::sha256;

/// How names of unfinished files begin. They are hidden, and short whatever the file's own name is.
const PART_PREFIX: &str = ".backupd-";

/// How names of unfinished files end.
const PART_SUFFIX: &str = ".part";

/// A folder of the destination.
#[derive(Debug)]
pub(super) struct Target {
    fd: OwnedFd,
    /// Where it is, for messages.
    path: PathBuf,
    /// Whether this restore made it.
    made: bool,
}

impl Target {
    /// Opens the destination, which is made with all above it if it is not there; links in its path are the user's.
    pub(super) fn root(path: &Path) -> io::Result<Self> {
        let made = !path.exists();
        std::fs::create_dir_all(path)?;
        Self::open_root(path, made)
    }

    /// Opens the destination if it is there.
    pub(super) fn existing_root(path: &Path) -> io::Result<Self> {
        Self::open_root(path, false)
    }

    fn open_root(path: &Path, made: bool) -> io::Result<Self> {
        let fd = openat(CWD, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Self { fd, path: path.to_path_buf(), made })
    }

    /// Opens a folder in this one, which is made if it is not there.
    pub(super) fn child(&self, name: &OsStr) -> io::Result<Self> {
        let made = match mkdirat(&self.fd, name, Mode::RWXU) {
            Ok(()) => true,
            Err(Errno::EXIST) => false,
            Err(error) => return Err(error.into()),
        };
        let mut child = self.existing_child(name)?;
        child.made = made;
        Ok(child)
    }

    /// Opens a folder in this one if it is there; a link to one is none.
    pub(super) fn existing_child(&self, name: &OsStr) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = openat(&self.fd, name, flags, Mode::empty())?;
        Ok(Self { fd, path: self.path.join(name), made: false })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn is_made(&self) -> bool {
        self.made
    }

    /// Looks at an entry; `None` if there is none of that name.
    pub(super) fn look(&self, name: &OsStr) -> io::Result<Option<Stat>> {
        match statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Opens a regular file for reading.
    pub(super) fn open_file(&self, name: &OsStr) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        Ok(File::from(openat(&self.fd, name, flags, Mode::empty())?))
    }

    /// Opens the unfinished file of a name, which only we may read; it is made if it is not there.
    pub(super) fn open_part(&self, name: &OsStr) -> io::Result<File> {
        let part = part_name(name);
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let open = || openat(&self.fd, &part, flags | OFlags::CREATE, Mode::RUSR | Mode::WUSR);
        let file = File::from(open()?);
        // Somebody's pipe, or another name of somebody's file, is not ours to write to.
        let stat = rustix::fs::fstat(&file)?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile && stat.st_nlink == 1 {
            return Ok(file);
        }
        unlinkat(&self.fd, &part, AtFlags::empty())?;
        Ok(File::from(open()?))
    }

    /// Removes the unfinished file of a name, if there is one.
    pub(super) fn remove_part(&self, name: &OsStr) {
        // It is in nobody's way; an error here would hide the one that led here.
        let _ = unlinkat(&self.fd, part_name(name), AtFlags::empty());
    }

    /// Gives the finished file its name, where nothing may be.
    pub(super) fn finish_new(&self, name: &OsStr) -> io::Result<()> {
        let part = part_name(name);
        match rustix::fs::renameat_with(&self.fd, &part, &self.fd, name, RenameFlags::NOREPLACE) {
            // Not every file system can; then there is a moment in which somebody else's file could be lost.
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => match self.look(name)? {
                Some(_) => Err(Errno::EXIST.into()),
                None => Ok(rustix::fs::renameat(&self.fd, &part, &self.fd, name)?),
            },
            other => Ok(other?),
        }
    }

    /// Gives the finished file the name of another, which is kept under `keep` or goes.
    pub(super) fn finish_replacing(&self, name: &OsStr, keep: Option<&OsStr>) -> io::Result<()> {
        if let Some(keep) = keep {
            // The old file has both names until the new one takes its own, so that there is one of them at any time.
            match rustix::fs::linkat(&self.fd, name, &self.fd, keep, AtFlags::empty()) {
                Ok(()) => {}
                Err(_) => rustix::fs::renameat(&self.fd, name, &self.fd, keep)?,
            }
        }
        Ok(rustix::fs::renameat(&self.fd, part_name(name), &self.fd, name)?)
    }

    /// Gives an entry a further name in another folder.
    pub(super) fn link_to(&self, name: &OsStr, folder: &Self, new_name: &OsStr) -> io::Result<()> {
        Ok(rustix::fs::linkat(&self.fd, name, &folder.fd, new_name, AtFlags::empty())?)
    }

    /// Returns the names of all entries but unfinished files.
    pub(super) fn names(&self) -> io::Result<Vec<OsString>> {
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.fd)? {
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            let is_part = name.as_bytes().starts_with(PART_PREFIX.as_bytes())
                && name.as_bytes().ends_with(PART_SUFFIX.as_bytes());
            if name != "." && name != ".." && !is_part {
                names.push(name.to_owned());
            }
        }
        names.sort();
        Ok(names)
    }

    /// Removes an entry; of a folder all that is in it, but nothing that is mounted there.
    pub(super) fn remove(&self, name: &OsStr) -> io::Result<()> {
        match unlinkat(&self.fd, name, AtFlags::empty()) {
            // Linux says the first of a folder, others the second.
            Err(Errno::ISDIR | Errno::PERM) => {}
            other => return Ok(other?),
        }
        let folder = self.existing_child(name)?;
        if rustix::fs::fstat(&folder.fd)?.st_dev != rustix::fs::fstat(&self.fd)?.st_dev {
            return Err(Errno::XDEV.into());
        }
        for name in Dir::read_from(&folder.fd)?.map(|entry| entry.map(|entry| entry.file_name().to_owned())) {
            let name = name?;
            if !matches!(name.to_bytes(), b"." | b"..") {
                folder.remove(OsStr::from_bytes(name.to_bytes()))?;
            }
        }
        Ok(unlinkat(&self.fd, name, AtFlags::REMOVEDIR)?)
    }

    /// Makes everything below durable.
    pub(super) fn sync(&self) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        rustix::fs::syncfs(&self.fd)?;
        #[cfg(not(target_os = "linux"))]
        rustix::fs::sync();
        Ok(())
    }
}

impl AsFd for Target {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The name of an unfinished file: always the same for a name, so that a later attempt finds it.
fn part_name(name: &OsStr) -> String {
    format!("{PART_PREFIX}{}{PART_SUFFIX}", hex::encode(&sha256(name.as_bytes())[..8]))
}

/// Returns the name under which a replaced file is kept, with a number from 1 on.
pub(super) fn kept_name(name: &OsStr, number: u32) -> OsString {
    let suffix = format!(".replaced-{number}");
    let room = 255 - suffix.len();
    let bytes = name.as_bytes();
    let mut kept = OsStr::from_bytes(&bytes[..bytes.len().min(room)]).to_owned();
    kept.push(suffix);
    kept
}
