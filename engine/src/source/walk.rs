//! One folder at a time: its names in order, its entries, its files, all relative to the open folder.
//!
//! Nothing here goes by a whole path once the root is open, so nothing that somebody renames or links meanwhile can
//! lead out of the tree, and folders may lie deeper than a path can say. Links are never followed below the root.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, fstat, openat, statat};
use rustix::io::Errno;

use super::meta::wide;

pub use rustix::fs::Stat;

/// A file system and a number in it: what a file is, whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// The file system.
    pub device: u64,
    /// The number in it.
    pub inode: u64,
}

impl Identity {
    /// Returns the identity of what was looked at.
    #[must_use]
    pub fn of(stat: &Stat) -> Self {
        Self { device: wide(stat.st_dev), inode: wide(stat.st_ino) }
    }
}

/// A folder that is held open.
#[derive(Debug)]
pub struct Folder {
    fd: OwnedFd,
    stat: Stat,
}

/// The names in a folder.
#[derive(Debug)]
pub struct Listing {
    /// All names that could be read, sorted by their bytes, without `.` and `..`.
    pub names: Vec<OsString>,
    /// Why there may be more.
    pub error: Option<io::Error>,
}

/// A regular file that is open for reading, with what it is.
#[derive(Debug)]
pub struct OpenFile {
    /// The file.
    pub file: File,
    /// What it was when it was opened; it may be another file than the one that was there before.
    pub stat: Stat,
}

impl Folder {
    /// Opens the folder at a path; links in the path are followed, as they were meant when it was typed.
    ///
    /// # Errors
    ///
    /// The operating system's.
    pub fn open_root(path: &Path) -> io::Result<Self> {
        Self::open(CWD, path.as_os_str(), OFlags::empty())
    }

    /// Holds the folder at a path so that its entries can be reached, which takes no right to list them.
    ///
    /// # Errors
    ///
    /// The operating system's.
    pub fn hold(path: &Path) -> io::Result<Self> {
        let fd = openat(CWD, path, HOLD | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let stat = fstat(&fd)?;
        Ok(Self { fd, stat })
    }

    /// Opens a folder in this one.
    ///
    /// # Errors
    ///
    /// The operating system's; [`io::ErrorKind::NotADirectory`] for anything but a folder, a link to one included.
    pub fn open_child(&self, name: &OsStr) -> io::Result<Self> {
        Self::open(self.fd.as_fd(), name, OFlags::NOFOLLOW)
    }

    fn open(parent: BorrowedFd<'_>, name: &OsStr, flags: OFlags) -> io::Result<Self> {
        let fd = open_untouched(parent, name, OFlags::RDONLY | OFlags::DIRECTORY | flags)?;
        let stat = fstat(&fd)?;
        Ok(Self { fd, stat })
    }

    /// Returns what the folder was when it was opened.
    #[must_use]
    pub fn stat(&self) -> &Stat {
        &self.stat
    }

    /// Returns which folder it is.
    #[must_use]
    pub fn identity(&self) -> Identity {
        Identity::of(&self.stat)
    }

    /// Reads all names.
    ///
    /// # Errors
    ///
    /// The operating system's, if not even the first name can be read; a later one is part of the listing.
    pub fn names(&self) -> io::Result<Listing> {
        let mut listing = Listing { names: Vec::new(), error: None };
        for entry in Dir::read_from(&self.fd)? {
            match entry {
                Ok(entry) => {
                    let name = entry.file_name().to_bytes();
                    if name != b"." && name != b".." {
                        listing.names.push(OsString::from_vec(name.to_vec()));
                    }
                }
                Err(error) if listing.names.is_empty() => return Err(error.into()),
                Err(error) => {
                    listing.error = Some(error.into());
                    break;
                }
            }
        }
        listing.names.sort_unstable_by(|a, b| a.as_bytes().cmp(b.as_bytes()));
        Ok(listing)
    }

    /// Looks at an entry; of a link, at the link itself.
    ///
    /// # Errors
    ///
    /// The operating system's.
    pub fn look(&self, name: &OsStr) -> io::Result<Stat> {
        Ok(statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// Opens a regular file for reading, without changing when it was last read where that is permitted.
    ///
    /// # Errors
    ///
    /// The operating system's, and [`io::ErrorKind::InvalidInput`] if something other than a regular file has
    /// taken its place; opening a pipe or a device that did does not wait for anybody.
    pub fn open_file(&self, name: &OsStr) -> io::Result<OpenFile> {
        let fd = open_untouched(self.fd.as_fd(), name, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK);
        let fd =
            fd.map_err(|errno| if matches!(errno, Errno::LOOP | Errno::NXIO) { not_a_file() } else { errno.into() })?;
        let stat = fstat(&fd)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(not_a_file());
        }
        Ok(OpenFile { file: File::from(fd), stat })
    }
}

impl AsFd for Folder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn not_a_file() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "it was replaced by something that is not a regular file")
}

/// Opens without changing the access time, which only the owner and root may ask for.
fn open_untouched(parent: BorrowedFd<'_>, name: &OsStr, flags: OFlags) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::CLOEXEC;
    match openat(parent, name, flags | no_access_time(), Mode::empty()) {
        Err(Errno::PERM) => openat(parent, name, flags, Mode::empty()),
        opened => opened,
    }
}

#[cfg(target_os = "linux")]
const HOLD: OFlags = OFlags::PATH;

#[cfg(not(target_os = "linux"))]
const HOLD: OFlags = OFlags::RDONLY;

#[cfg(target_os = "linux")]
fn no_access_time() -> OFlags {
    OFlags::NOATIME
}

#[cfg(not(target_os = "linux"))]
fn no_access_time() -> OFlags {
    OFlags::empty()
}

#[cfg(test)]
mod tests;
