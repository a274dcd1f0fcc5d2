//! A repository in a local folder, in restic's layout.
//!
//! A file is written beside its place under a temporary name, synced, renamed, and its folder synced. The root folder
//! is made only by [`Storage::create`]: an unmounted drive must not be filled with a second, empty repository.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;

use super::temporary::{TEMPORARY, remove_old};
use super::{Body, FileKind, FileName, Storage, not_found, too_short};
use crate::error::{Error, Result};
use crate::limits::FILE_MAX;

/// One step of changing a folder on disk, as a [`StepHook`] sees it before it is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Writes the contents of a temporary file.
    Write(PathBuf),
    /// Makes the contents of a file durable.
    Sync(PathBuf),
    /// Gives a temporary file its name.
    Rename(PathBuf, PathBuf),
    /// Makes the names in a folder durable.
    SyncFolder(PathBuf),
    /// Removes a file.
    Remove(PathBuf),
}

/// Is called before each [`Step`] and may refuse it: for tests that stop a writer after any step.
pub type StepHook = Arc<dyn Fn(&Step) -> io::Result<()> + Send + Sync>;

/// A [`Storage`] in a local folder.
#[derive(Clone)]
pub struct LocalStorage {
    root: PathBuf,
    hook: Option<StepHook>,
}

impl LocalStorage {
    /// Makes a storage of this folder, which need not exist yet.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), hook: None }
    }

    /// Makes a storage that asks `hook` before each step of a change.
    #[must_use]
    pub fn with_hook(root: impl Into<PathBuf>, hook: StepHook) -> Self {
        Self { root: root.into(), hook: Some(hook) }
    }

    /// Returns the path of a file.
    #[must_use]
    pub fn path(&self, name: &FileName) -> PathBuf {
        match name.kind {
            FileKind::Config => self.root.join("config"),
            FileKind::Pack => self.root.join("data").join(hex::encode(&name.id[..1])).join(hex::encode(name.id)),
            kind => self.root.join(folder(kind)).join(hex::encode(name.id)),
        }
    }

    fn step(&self, step: impl FnOnce() -> Step) -> io::Result<()> {
        match &self.hook {
            Some(hook) => hook(&step()),
            None => Ok(()),
        }
    }

    fn write_file(&self, path: &Path, temporary: &Path, body: &mut dyn Body) -> Result<()> {
        let mut file = self.open_temporary(temporary)?;
        self.step(|| Step::Write(temporary.into())).map_err(Error::io("write", temporary))?;
        while let Some(slice) = body.next_slice()? {
            file.write_all(slice).map_err(Error::io("write", path))?;
        }
        self.step(|| Step::Sync(temporary.into())).and_then(|()| file.sync_all()).map_err(Error::io("sync", path))?;
        self.step(|| Step::Rename(temporary.into(), path.into()))
            .and_then(|()| fs::rename(temporary, path))
            .map_err(Error::io("rename", path))?;
        self.sync_parent(path)
    }

    fn open_temporary(&self, temporary: &Path) -> Result<File> {
        let open = || OpenOptions::new().write(true).create_new(true).mode(0o600).open(temporary);
        match open() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // One of our own folders may be missing (some programs do not copy empty ones); the root may not.
                let config = self.path(&FileName::CONFIG);
                let folder = temporary.parent().unwrap_or(&self.root);
                if folder == self.root || !config.exists() {
                    return Err(Error::NoRepository { location: self.location() });
                }
                self.make_folder(folder)?;
                open().map_err(Error::io("create", temporary))
            }
            other => other.map_err(Error::io("create", temporary)),
        }
    }

    fn make_folder(&self, folder: &Path) -> Result<()> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o700).create(folder).map_err(Error::io("create", folder))?;
        self.sync_parent(folder)
    }

    fn sync_parent(&self, path: &Path) -> Result<()> {
        let Some(folder) = path.parent() else { return Ok(()) };
        self.step(|| Step::SyncFolder(folder.into()))
            .and_then(|()| File::open(folder)?.sync_all())
            .map_err(Error::io("sync", folder))
    }

    fn list_folder(&self, folder: &Path, kind: FileKind, found: &mut Vec<(FileName, u64)>) -> Result<()> {
        for entry in entries(folder)? {
            let entry = entry.map_err(Error::io("list", folder))?;
            let mut id = [0; 32];
            // Anything that is not named like a file of ours is not ours: temporary files, lost+found, .DS_Store.
            if hex::decode_to_slice(entry.file_name().as_encoded_bytes(), &mut id).is_err() {
                continue;
            }
            match entry.metadata() {
                Ok(metadata) if metadata.is_file() => found.push((FileName::new(kind, id), metadata.len())),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(Error::io("look at", entry.path())(error)),
            }
        }
        Ok(())
    }

    fn open(&self, name: &FileName) -> Result<(File, u64, PathBuf)> {
        let path = self.path(name);
        let file = File::open(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => not_found(&self.location(), name),
            _ => Error::io("read", &path)(error),
        })?;
        let length = file.metadata().map_err(Error::io("read", &path))?.len();
        Ok((file, length, path))
    }
}

impl Storage for LocalStorage {
    fn location(&self) -> String {
        self.root.display().to_string()
    }

    fn shows_at_once(&self) -> bool {
        File::open(&self.root).is_ok_and(|root| crate::source::is_local(root.as_fd()))
    }

    fn create(&self) -> Result<()> {
        let kinds = [FileKind::Key, FileKind::Lock, FileKind::Snapshot, FileKind::Index];
        for kind in kinds {
            self.make_folder(&self.root.join(folder(kind)))?;
        }
        for first in 0..=u8::MAX {
            self.make_folder(&self.root.join("data").join(hex::encode([first])))?;
        }
        self.sync_parent(&self.root)
    }

    fn list(&self, kind: FileKind) -> Result<Vec<(FileName, u64)>> {
        let mut found = Vec::new();
        match kind {
            FileKind::Config => match fs::metadata(self.path(&FileName::CONFIG)) {
                Ok(metadata) => found.push((FileName::CONFIG, metadata.len())),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(Error::io("look at", self.path(&FileName::CONFIG))(error)),
            },
            FileKind::Pack => {
                for entry in entries(&self.root.join("data"))? {
                    let entry = entry.map_err(Error::io("list", &self.root))?;
                    if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                        self.list_folder(&entry.path(), kind, &mut found)?;
                    }
                }
            }
            kind => self.list_folder(&self.root.join(folder(kind)), kind, &mut found)?,
        }
        Ok(found)
    }

    fn length(&self, name: &FileName) -> Result<u64> {
        self.open(name).map(|(_, length, _)| length)
    }

    fn read(&self, name: &FileName) -> Result<Vec<u8>> {
        let (mut file, length, path) = self.open(name)?;
        if name.kind != FileKind::Pack && length > FILE_MAX as u64 {
            let what = format!("{name} in {}", self.location());
            return Err(Error::Limit { what, limit: format!("{FILE_MAX} bytes") });
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(Error::io("read", path))?;
        Ok(bytes)
    }

    fn read_range(&self, name: &FileName, offset: u64, length: usize) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.read_range_into(name, offset, length, &mut bytes)?;
        Ok(bytes)
    }

    fn read_range_into(&self, name: &FileName, offset: u64, length: usize, buffer: &mut Vec<u8>) -> Result<()> {
        let (file, total, path) = self.open(name)?;
        if offset.saturating_add(length as u64) > total {
            return Err(too_short(&self.location(), name, offset, length));
        }
        if buffer.capacity() < length {
            // Never both at once; and pages that come from the system are zeros already.
            *buffer = Vec::new();
            *buffer = vec![0; length];
        }
        buffer.resize(length, 0);
        file.read_exact_at(buffer, offset).map_err(Error::io("read", path))
    }

    fn write(&self, name: &FileName, body: &mut dyn Body) -> Result<()> {
        // Unique in this process by the count, among processes by the number of each.
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let path = self.path(name);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let mut temporary = path.clone().into_os_string();
        temporary.push(format!("{TEMPORARY}{}-{count}", std::process::id()));
        let temporary = PathBuf::from(temporary);
        let written = self.write_file(&path, &temporary, body);
        if written.is_err() {
            // The error that counts is the first one; a temporary file that stays behind only takes room.
            let _ = fs::remove_file(&temporary);
        }
        written
    }

    fn remove(&self, name: &FileName) -> Result<()> {
        let path = self.path(name);
        match self.step(|| Step::Remove(path.clone())).and_then(|()| fs::remove_file(&path)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            // These must not come back. What an index file lists may be removed when it is gone, a password that was taken
            // away must not open any more, and a lock of ours is on no record when it was removed.
            Ok(()) if matches!(name.kind, FileKind::Index | FileKind::Key | FileKind::Lock) => self.sync_parent(&path),
            other => other.map_err(Error::io("remove", &path)),
        }
    }

    fn remove_temporary(&self, before: Timestamp) -> Result<(u64, u64)> {
        let kinds = [FileKind::Key, FileKind::Lock, FileKind::Snapshot, FileKind::Index];
        let first = (0..=u8::MAX).map(|first| self.root.join("data").join(hex::encode([first])));
        let mut found = (0, 0);
        for folder in kinds.into_iter().map(|kind| self.root.join(folder(kind))).chain(first) {
            let (files, bytes) = remove_old(&folder, before)?;
            found = (found.0 + files, found.1 + bytes);
        }
        Ok(found)
    }
}

/// The folder of a kind that has one file an id.
fn folder(kind: FileKind) -> &'static str {
    match kind {
        FileKind::Config => "",
        FileKind::Key => "keys",
        FileKind::Lock => "locks",
        FileKind::Snapshot => "snapshots",
        FileKind::Index => "index",
        FileKind::Pack => "data",
    }
}

/// The entries of a folder; none if it is missing, as restic has it.
pub(super) fn entries(folder: &Path) -> Result<impl Iterator<Item = io::Result<fs::DirEntry>>> {
    match fs::read_dir(folder) {
        Ok(entries) => Ok(Some(entries).into_iter().flatten()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None.into_iter().flatten()),
        Err(error) => Err(Error::io("list", folder)(error)),
    }
}
