//! New files that have no name until they are whole. The system makes them with one entry in their folder, where a hidden
//! name and a rename take three changes of it; a kill leaves nothing behind.

use std::ffi::OsStr;
use std::fs::File;
use std::io;

use super::target::Target;

/// Says whether files in a folder can be made without a name and get one later: not every system and file system can,
/// and not every user may.
pub(super) fn is_possible(folder: &Target) -> bool {
    let name = OsStr::new("");
    folder.remove_part(name);
    let named =
        system::create(folder).and_then(|file| folder.make_part(name, |part| system::name(&file, folder, part)));
    folder.remove_part(name);
    named.is_ok()
}

pub(super) use system::{create, name};

#[cfg(target_os = "linux")]
mod system {
    use std::os::fd::{AsFd, AsRawFd};

    use rustix::fs::{AtFlags, CWD, Mode, OFlags, linkat, openat};
    use rustix::io::Errno;

    use super::{File, OsStr, Target, io};

    /// Makes an empty file that only we may read.
    pub(in super::super) fn create(folder: &Target) -> io::Result<File> {
        let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
        Ok(File::from(openat(folder, ".", flags, Mode::RUSR | Mode::WUSR)?))
    }

    /// Gives it its name, which nothing else may have.
    pub(in super::super) fn name(file: &File, folder: &Target, name: &OsStr) -> io::Result<()> {
        match linkat(file, "", folder, name, AtFlags::EMPTY_PATH) {
            // Older systems ask for a privilege there, and none for this.
            Err(Errno::NOENT) => {
                let place = format!("/proc/self/fd/{}", file.as_fd().as_raw_fd());
                Ok(linkat(CWD, place, folder, name, AtFlags::SYMLINK_FOLLOW)?)
            }
            other => Ok(other?),
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use super::{File, OsStr, Target, io};

    pub(in super::super) fn create(_: &Target) -> io::Result<File> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(in super::super) fn name(_: &File, _: &Target, _: &OsStr) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
