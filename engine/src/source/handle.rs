//! A hold on one entry, of any kind, through which its metadata is read and set; the systems' differences end here.
//!
//! An entry that cannot or must not be opened (a link, a pipe, a file without read permission) is held by a
//! descriptor that says only where it is. Linux takes such a descriptor back under `/proc/self/fd`, which leads to
//! the very entry, whatever has become of its name.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    Gid, Mode, OFlags, Stat, Timestamps, Uid, XattrFlags, fchmod, fchown, fgetxattr, flistxattr, fremovexattr,
    fsetxattr, fstat, futimens, openat,
};
use rustix::io::Errno;

use crate::limits::XATTR_MAX;

/// Which entry is meant.
#[derive(Clone, Copy, Debug)]
pub enum Place<'a> {
    /// An open file or folder.
    Open(BorrowedFd<'a>),
    /// An entry of an open folder; of a link, the link itself.
    Entry(BorrowedFd<'a>, &'a OsStr),
}

/// The hold on an entry.
pub(super) enum Handle<'a> {
    Open(BorrowedFd<'a>),
    Held(OwnedFd),
}

impl<'a> Handle<'a> {
    pub(super) fn new(place: Place<'a>) -> io::Result<Self> {
        match place {
            Place::Open(fd) => Ok(Self::Open(fd)),
            Place::Entry(folder, name) => {
                Ok(Self::Held(openat(folder, name, system::HOLD | OFlags::CLOEXEC, Mode::empty())?))
            }
        }
    }

    fn fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Open(fd) => *fd,
            Self::Held(fd) => fd.as_fd(),
        }
    }

    pub(super) fn stat(&self) -> io::Result<Stat> {
        Ok(fstat(self.fd())?)
    }

    pub(super) fn set_owner(&self, uid: Option<Uid>, gid: Option<Gid>) -> io::Result<()> {
        Ok(match self {
            Self::Open(fd) => fchown(fd, uid, gid),
            Self::Held(fd) => system::set_owner(fd.as_fd(), uid, gid),
        }?)
    }

    pub(super) fn set_mode(&self, mode: Mode) -> io::Result<()> {
        Ok(match self {
            Self::Open(fd) => fchmod(fd, mode),
            Self::Held(fd) => system::set_mode(fd.as_fd(), mode),
        }?)
    }

    pub(super) fn set_times(&self, times: &Timestamps) -> io::Result<()> {
        Ok(match self {
            Self::Open(fd) => futimens(fd, times),
            Self::Held(fd) => system::set_times(fd.as_fd(), times),
        }?)
    }

    /// Returns the names of the extended attributes; none where the file system has no such thing.
    pub(super) fn attribute_names(&self) -> io::Result<Vec<Vec<u8>>> {
        let list = read_growing(|buffer| match self {
            Self::Open(fd) => flistxattr(fd, buffer),
            Self::Held(fd) => system::list_attributes(fd.as_fd(), buffer),
        });
        match list {
            Ok(list) => Ok(list.split(|&byte| byte == 0).filter(|name| !name.is_empty()).map(<[u8]>::to_vec).collect()),
            Err(error) if is_unsupported(&error) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Returns the value of an extended attribute; `None` if it has none of that name.
    pub(super) fn attribute(&self, name: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let value = read_growing(|buffer| match self {
            Self::Open(fd) => fgetxattr(fd, name, buffer),
            Self::Held(fd) => system::get_attribute(fd.as_fd(), name, buffer),
        });
        match value {
            Ok(value) => Ok(Some(value)),
            Err(error) if is_unsupported(&error) || Errno::from_io_error(&error) == Some(system::NO_ATTRIBUTE) => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    pub(super) fn set_attribute(&self, name: &[u8], value: &[u8]) -> io::Result<()> {
        Ok(match self {
            Self::Open(fd) => fsetxattr(fd, name, value, XattrFlags::empty()),
            Self::Held(fd) => system::set_attribute(fd.as_fd(), name, value),
        }?)
    }

    pub(super) fn remove_attribute(&self, name: &[u8]) -> io::Result<()> {
        Ok(match self {
            Self::Open(fd) => fremovexattr(fd, name),
            Self::Held(fd) => system::remove_attribute(fd.as_fd(), name),
        }?)
    }
}

fn is_unsupported(error: &io::Error) -> bool {
    // Two names of one number on Linux, two numbers elsewhere.
    matches!(Errno::from_io_error(error), Some(errno) if errno == Errno::NOTSUP || errno == Errno::OPNOTSUPP)
}

/// Reads into a buffer that is made larger until what is read fits.
fn read_growing(mut read: impl FnMut(&mut [u8]) -> Result<usize, Errno>) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; 1024];
    loop {
        match read(&mut buffer) {
            Ok(length) => {
                buffer.truncate(length);
                return Ok(buffer);
            }
            Err(Errno::RANGE) if buffer.len() < XATTR_MAX => buffer.resize(buffer.len() * 8, 0),
            Err(errno) => return Err(errno.into()),
        }
    }
}

#[cfg(target_os = "linux")]
mod system {
    use std::os::fd::{AsRawFd, BorrowedFd};

    use rustix::fs::{
        AtFlags, CWD, Gid, Mode, OFlags, Timestamps, Uid, XattrFlags, chmod, chownat, getxattr, listxattr, removexattr,
        setxattr, utimensat,
    };
    use rustix::io::{Errno, Result};

    pub(super) const HOLD: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW);
    pub(super) const NO_ATTRIBUTE: Errno = Errno::NODATA;

    fn path(fd: BorrowedFd<'_>) -> String {
        format!("/proc/self/fd/{}", fd.as_raw_fd())
    }

    pub(super) fn set_owner(fd: BorrowedFd<'_>, uid: Option<Uid>, gid: Option<Gid>) -> Result<()> {
        chownat(fd, "", uid, gid, AtFlags::EMPTY_PATH)
    }

    pub(super) fn set_mode(fd: BorrowedFd<'_>, mode: Mode) -> Result<()> {
        chmod(path(fd), mode)
    }

    pub(super) fn set_times(fd: BorrowedFd<'_>, times: &Timestamps) -> Result<()> {
        utimensat(CWD, path(fd), times, AtFlags::empty())
    }

    pub(super) fn list_attributes(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<usize> {
        listxattr(path(fd), buffer)
    }

    pub(super) fn get_attribute(fd: BorrowedFd<'_>, name: &[u8], buffer: &mut [u8]) -> Result<usize> {
        getxattr(path(fd), name, buffer)
    }

    pub(super) fn set_attribute(fd: BorrowedFd<'_>, name: &[u8], value: &[u8]) -> Result<()> {
        setxattr(path(fd), name, value, XattrFlags::empty())
    }

    pub(super) fn remove_attribute(fd: BorrowedFd<'_>, name: &[u8]) -> Result<()> {
        removexattr(path(fd), name)
    }
}

/// Elsewhere the entry is opened for reading, a link as itself, and the open descriptor serves for everything.
#[cfg(not(target_os = "linux"))]
mod system {
    use std::os::fd::BorrowedFd;

    use rustix::fs::{
        Gid, Mode, OFlags, Timestamps, Uid, XattrFlags, fchmod, fchown, fgetxattr, flistxattr, fremovexattr, fsetxattr,
        futimens,
    };
    use rustix::io::{Errno, Result};

    pub(super) const HOLD: OFlags = OFlags::SYMLINK.union(OFlags::NONBLOCK);
    pub(super) const NO_ATTRIBUTE: Errno = Errno::NOATTR;

    pub(super) fn set_owner(fd: BorrowedFd<'_>, uid: Option<Uid>, gid: Option<Gid>) -> Result<()> {
        fchown(fd, uid, gid)
    }

    pub(super) fn set_mode(fd: BorrowedFd<'_>, mode: Mode) -> Result<()> {
        fchmod(fd, mode)
    }

    pub(super) fn set_times(fd: BorrowedFd<'_>, times: &Timestamps) -> Result<()> {
        futimens(fd, times)
    }

    pub(super) fn list_attributes(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<usize> {
        flistxattr(fd, buffer)
    }

    pub(super) fn get_attribute(fd: BorrowedFd<'_>, name: &[u8], buffer: &mut [u8]) -> Result<usize> {
        fgetxattr(fd, name, buffer)
    }

    pub(super) fn set_attribute(fd: BorrowedFd<'_>, name: &[u8], value: &[u8]) -> Result<()> {
        fsetxattr(fd, name, value, XattrFlags::empty())
    }

    pub(super) fn remove_attribute(fd: BorrowedFd<'_>, name: &[u8]) -> Result<()> {
        fremovexattr(fd, name)
    }
}
