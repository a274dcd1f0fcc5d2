//! The way to the disk: everything the store writes goes through here, one named step at a time.
//!
//! Tests watch the steps: to record them, to refuse one, or to end the world after one.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
#[cfg(test)]
use std::sync::Arc;

use crate::error::{Error, Result};

/// One step that changes the disk.
#[derive(Debug)]
pub(super) enum Op<'a> {
    /// An empty file is made, or one that is there is emptied.
    Create(&'a Path),
    /// Bytes are written at an offset.
    Write(&'a Path, u64, &'a [u8]),
    /// A file is cut to a length.
    Cut(&'a Path, u64),
    /// A file's contents are made durable.
    Sync(&'a Path),
    /// The names in a folder are made durable.
    SyncFolder(&'a Path),
    /// Something gets another name.
    Rename(&'a Path, &'a Path),
    /// A file goes away.
    Remove(&'a Path),
    /// A folder goes away with all that is in it.
    RemoveTree(&'a Path),
    /// A folder is made.
    CreateFolder(&'a Path),
}

impl fmt::Display for Op<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create(path) => write!(f, "create {}", path.display()),
            Self::Write(path, at, bytes) => write!(f, "write {} bytes at {at} of {}", bytes.len(), path.display()),
            Self::Cut(path, length) => write!(f, "cut {} to {length} bytes", path.display()),
            Self::Sync(path) => write!(f, "sync {}", path.display()),
            Self::SyncFolder(path) => write!(f, "sync the folder {}", path.display()),
            Self::Rename(from, to) => write!(f, "rename {} to {}", from.display(), to.display()),
            Self::Remove(path) => write!(f, "remove {}", path.display()),
            Self::RemoveTree(path) => write!(f, "remove all of {}", path.display()),
            Self::CreateFolder(path) => write!(f, "create the folder {}", path.display()),
        }
    }
}

/// Is told of every step before it is done; an error is what the step then ends with.
#[cfg(test)]
pub(super) type Watch = dyn Fn(&Op<'_>) -> io::Result<()> + Send + Sync;

/// The disk; clones are the same one.
#[derive(Clone, Default)]
pub(crate) struct Disk {
    #[cfg(test)]
    watch: Option<Arc<Watch>>,
}

impl Disk {
    /// Makes a disk whose steps are watched.
    #[cfg(test)]
    pub(super) fn watched(watch: impl Fn(&Op<'_>) -> io::Result<()> + Send + Sync + 'static) -> Self {
        Self { watch: Some(Arc::new(watch)) }
    }

    #[cfg_attr(not(test), expect(clippy::unnecessary_wraps, clippy::unused_self, reason = "only tests refuse a step"))]
    fn step(&self, op: &Op<'_>) -> io::Result<()> {
        tracing::trace!("{op}");
        #[cfg(test)]
        if let Some(watch) = &self.watch {
            watch(op)?;
        }
        Ok(())
    }

    /// Makes an empty file, which only its owner may read, or empties one.
    pub(super) fn create(&self, path: &Path) -> Result<DiskFile> {
        let open = || {
            self.step(&Op::Create(path))?;
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
        };
        let file = open().map_err(Error::io("create", path))?;
        Ok(DiskFile { disk: self.clone(), file, path: path.to_path_buf(), length: 0 })
    }

    /// Opens a file to write behind its first bytes; what follows them is cut off.
    pub(super) fn open_cut(&self, path: &Path, length: u64) -> Result<DiskFile> {
        let file = OpenOptions::new().append(true).open(path).map_err(Error::io("open", path))?;
        let mut file = DiskFile { disk: self.clone(), file, path: path.to_path_buf(), length };
        file.cut(length).and_then(|()| file.sync()).map_err(Error::io("write", path))?;
        Ok(file)
    }

    /// Writes a file beside its place, syncs it, moves it there and syncs the folder. When that fails nothing is left
    /// beside it.
    pub(crate) fn write_whole(&self, path: &Path, contents: &[u8]) -> Result<()> {
        let temporary = path.with_extension("tmp");
        let written = self.create(&temporary).and_then(|mut file| {
            file.write(contents).and_then(|()| file.sync()).map_err(Error::io("write", &temporary))?;
            self.rename(&temporary, path)
        });
        if let Err(error) = written {
            // On a full disk it would take the room that is missing.
            let _ = self.remove(&temporary);
            return Err(error);
        }
        match path.parent() {
            Some(folder) => self.sync_folder(folder),
            None => Ok(()),
        }
    }

    /// Gives something another name; durable only after [`Disk::sync_folder`].
    pub(super) fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        self.step(&Op::Rename(from, to)).and_then(|()| fs::rename(from, to)).map_err(Error::io("rename", from))
    }

    /// Removes a file; one that is gone already is fine.
    pub(super) fn remove(&self, path: &Path) -> Result<()> {
        match self.step(&Op::Remove(path)).and_then(|()| fs::remove_file(path)) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::io("remove", path)(error)),
            _ => Ok(()),
        }
    }

    /// Removes a folder with all that is in it; one that is gone already is fine.
    pub(super) fn remove_tree(&self, path: &Path) -> Result<()> {
        match self.step(&Op::RemoveTree(path)).and_then(|()| fs::remove_dir_all(path)) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::io("remove", path)(error)),
            _ => Ok(()),
        }
    }

    /// Makes a folder that only its owner may open; one that is there is fine.
    pub(super) fn create_folder(&self, path: &Path) -> Result<()> {
        use std::os::unix::fs::DirBuilderExt;
        if path.is_dir() {
            return Ok(());
        }
        let make = || fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
        self.step(&Op::CreateFolder(path)).and_then(|()| make()).map_err(Error::io("create", path))
    }

    /// Makes the names in a folder durable.
    pub(crate) fn sync_folder(&self, folder: &Path) -> Result<()> {
        self.step(&Op::SyncFolder(folder))
            .and_then(|()| File::open(folder)?.sync_all())
            .map_err(Error::io("sync", folder))
    }
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Disk")
    }
}

/// A file that is being written.
#[derive(Debug)]
pub(super) struct DiskFile {
    disk: Disk,
    file: File,
    path: PathBuf,
    length: u64,
}

impl DiskFile {
    /// Returns where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns how long it is, in bytes.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Writes at its end.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.disk.step(&Op::Write(&self.path, self.length, bytes))?;
        self.file.write_all(bytes)?;
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Cuts it to a length.
    pub(super) fn cut(&mut self, length: u64) -> io::Result<()> {
        self.disk.step(&Op::Cut(&self.path, length))?;
        self.file.set_len(length)?;
        self.length = length;
        Ok(())
    }

    /// Makes its contents durable.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.disk.step(&Op::Sync(&self.path)).and_then(|()| self.file.sync_data())
    }

    /// Takes the room for so many bytes, without writing them where the file system can do that.
    pub(super) fn reserve(&mut self, bytes: u64) -> io::Result<()> {
        self.disk.step(&Op::Write(&self.path, 0, b""))?;
        match rustix::fs::fallocate(&self.file, rustix::fs::FallocateFlags::empty(), 0, bytes) {
            Ok(()) => {}
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
                self.file.write_all(&vec![0xb5; usize::try_from(bytes).unwrap_or(0)])?;
            }
            Err(error) => return Err(error.into()),
        }
        self.length = bytes;
        self.file.sync_all()
    }
}
