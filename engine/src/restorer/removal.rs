//! Removing entries of the destination: whole folders, but never through a link or into something that is mounted.

use std::ffi::OsStr;
use std::io;

use rustix::fs::{AtFlags, FileType, Mode, unlinkat};
use rustix::io::Errno;

use super::target::{FOLDER, Target};
use crate::limits::DEPTH_MAX;

impl Target {
    /// Removes an entry; of a folder all that is in it, but nothing that is mounted there.
    pub(super) fn remove(&self, name: &OsStr) -> io::Result<()> {
        let Some(folder) = self.unlink(name)? else { return Ok(()) };
        let mut stack = vec![(folder.all_names()?, folder)];
        while let Some((names, folder)) = stack.last_mut() {
            if let Some(name) = names.pop() {
                if let Some(child) = folder.unlink(&name)? {
                    stack.push((child.all_names()?, child));
                }
                if stack.len() > DEPTH_MAX {
                    return Err(Errno::NAMETOOLONG.into());
                }
            } else if let Some((_, folder)) = stack.pop() {
                let above = stack.last().map_or(self, |(_, above)| above);
                unlinkat(&above.fd, folder.path.file_name().unwrap_or(name), AtFlags::REMOVEDIR)?;
            }
        }
        Ok(())
    }

    /// Removes an entry unless it is a folder, which is opened.
    fn unlink(&self, name: &OsStr) -> io::Result<Option<Self>> {
        match self.look(name)? {
            Some(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {
                self.unmounted_child(name).map(Some)
            }
            Some(_) => Ok(unlinkat(&self.fd, name, AtFlags::empty()).map(|()| None)?),
            None => Ok(None),
        }
    }

    /// Opens a folder in this one unless something is mounted there.
    fn unmounted_child(&self, name: &OsStr) -> io::Result<Self> {
        // A folder of the same file system may be mounted there as well; only the system can tell.
        #[cfg(target_os = "linux")]
        match rustix::fs::openat2(&self.fd, name, FOLDER, Mode::empty(), rustix::fs::ResolveFlags::NO_XDEV) {
            // Kernels before 5.6, and sandboxes that do not know the call.
            Err(Errno::NOSYS | Errno::PERM) => {}
            other => return Ok(Self { fd: other?, path: self.path.join(name), made: false }),
        }
        let folder = self.existing_child(name)?;
        let is_mounted = rustix::fs::fstat(&folder.fd)?.st_dev != rustix::fs::fstat(&self.fd)?.st_dev;
        if is_mounted { Err(Errno::XDEV.into()) } else { Ok(folder) }
    }
}
