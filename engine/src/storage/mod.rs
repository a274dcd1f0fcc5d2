//! Where a repository's files live: the five operations the engine needs, and what it may expect of them.
//!
//! A [`Storage`] keeps small sets of immutable files. What it promises:
//!
//! - [`write`](Storage::write) is atomic and durable: when it returns `Ok`, the file survives a power cut; when it
//!   fails, the file is whole or absent.
//! - A file that was written is seen by every `list` and `read` that starts later.
//! - [`remove`](Storage::remove) of an absent file is fine.
//! - Errors carry the location and the file's name.
//!
//! Throttling, retrying and counting are wrappers; see [`Body`] for why the contents of a file are pulled in slices.

mod dry;
mod local;
mod memory;
mod paced;
mod temporary;

pub use dry::DryLocks;
pub(crate) use dry::DryStorage;
pub use local::{LocalStorage, Step, StepHook};
pub use memory::MemoryStorage;
pub(crate) use paced::PacedStorage;
pub use paced::{AtPause, Pace, Way};

use std::fmt;

use jiff::Timestamp;

use crate::error::{Error, Result};
use crate::limits::WRITE_STEP;

/// The kinds of file in a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileKind {
    /// The one file that says what repository this is.
    Config,
    /// A password-protected copy of the master key.
    Key,
    /// A sign that a program works on the repository.
    Lock,
    /// A backup's root.
    Snapshot,
    /// A list of what is in packs.
    Index,
    /// Blobs, sealed, with a header that lists them.
    Pack,
}

impl FileKind {
    /// Every kind.
    pub const ALL: [Self; 6] = [Self::Config, Self::Key, Self::Lock, Self::Snapshot, Self::Index, Self::Pack];

    /// Returns the word for it in messages.
    #[must_use]
    pub fn noun(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Key => "key",
            Self::Lock => "lock",
            Self::Snapshot => "snapshot",
            Self::Index => "index",
            Self::Pack => "pack",
        }
    }
}

/// The name of one file of a repository: its kind and its id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileName {
    /// What kind of file it is.
    pub kind: FileKind,
    /// Its id; zeros for the config, of which there is one.
    pub id: [u8; 32],
}

impl FileName {
    /// The config's name.
    pub const CONFIG: Self = Self { kind: FileKind::Config, id: [0; 32] };

    /// Makes a name from a kind and an id.
    #[must_use]
    pub fn new(kind: FileKind, id: [u8; 32]) -> Self {
        Self { kind, id }
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            FileKind::Config => f.write_str("config"),
            kind => write!(f, "{} {}", kind.noun(), hex::encode(self.id)),
        }
    }
}

impl fmt::Debug for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The contents of a file that is being written.
///
/// A storage pulls slices of at most [`WRITE_STEP`] bytes as it sends them, so that a wrapper can hold back each of
/// them: a 16 MiB pack is then no burst on a slow line, and a pause takes hold in the middle of a pack.
pub trait Body {
    /// Returns the number of bytes in all.
    fn length(&self) -> u64;

    /// Returns the next slice, or `None` at the end.
    ///
    /// # Errors
    /// Whatever holds the contents back may end the transfer.
    fn next_slice(&mut self) -> Result<Option<&[u8]>>;
}

/// A [`Body`] of bytes in memory.
#[derive(Debug)]
pub struct Bytes<'a> {
    left: &'a [u8],
    length: usize,
}

impl<'a> Bytes<'a> {
    /// Makes a body of these bytes.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { left: bytes, length: bytes.len() }
    }
}

impl Body for Bytes<'_> {
    fn length(&self) -> u64 {
        self.length as u64
    }

    fn next_slice(&mut self) -> Result<Option<&[u8]>> {
        if self.left.is_empty() {
            return Ok(None);
        }
        let (slice, left) = self.left.split_at(self.left.len().min(WRITE_STEP));
        self.left = left;
        Ok(Some(slice))
    }
}

/// A place for a repository's files. What an implementation promises is in the [module's](self) text.
pub trait Storage: Send + Sync {
    /// Returns where it is, as a person would write it.
    fn location(&self) -> String;

    /// Returns whether a file that was written is in every list that any program makes from then on, at once: true of
    /// a file system of this machine, not of one that is shared over a network or of a service far away.
    fn shows_at_once(&self) -> bool {
        false
    }

    /// Makes the place for a new repository, so that files can be written.
    ///
    /// # Errors
    /// The storage's own.
    fn create(&self) -> Result<()>;

    /// Returns the names and sizes in bytes of all files of a kind, in no particular order.
    ///
    /// # Errors
    /// The storage's own.
    fn list(&self, kind: FileKind) -> Result<Vec<(FileName, u64)>>;

    /// Returns how long a file is, in bytes.
    ///
    /// # Errors
    /// [`Error::NotFound`] if it is not there.
    fn length(&self, name: &FileName) -> Result<u64> {
        let found = self.list(name.kind)?.into_iter().find(|(found, _)| found == name);
        found.map(|(_, length)| length).ok_or_else(|| not_found(&self.location(), name))
    }

    /// Returns a whole file of at most [`FILE_MAX`](crate::limits::FILE_MAX) bytes (a pack: any size).
    ///
    /// # Errors
    /// [`Error::NotFound`] if it is not there, [`Error::Limit`] if it is too large.
    fn read(&self, name: &FileName) -> Result<Vec<u8>>;

    /// Returns `length` bytes of a file from `offset` on.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the file is not there, [`Error::Damaged`] if it ends before that.
    fn read_range(&self, name: &FileName, offset: u64, length: usize) -> Result<Vec<u8>>;

    /// Puts `length` bytes of a file from `offset` on into a buffer, in the place of what is there: for whoever reads
    /// much, since new memory costs as much as the reading. After an error, anything may be in the buffer.
    ///
    /// # Errors
    /// As [`read_range`](Self::read_range).
    fn read_range_into(&self, name: &FileName, offset: u64, length: usize, buffer: &mut Vec<u8>) -> Result<()> {
        *buffer = self.read_range(name, offset, length)?;
        Ok(())
    }

    /// Writes a file.
    ///
    /// # Errors
    /// The storage's own, and the body's.
    fn write(&self, name: &FileName, body: &mut dyn Body) -> Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// The storage's own.
    fn remove(&self, name: &FileName) -> Result<()>;

    /// Removes what writers that were killed before this time have left half-written, and returns how many files and
    /// bytes that were. A storage whose writes leave nothing has nothing to remove.
    ///
    /// # Errors
    /// The storage's own.
    fn remove_temporary(&self, _before: Timestamp) -> Result<(u64, u64)> {
        Ok((0, 0))
    }
}

/// The error for a file that is not there.
fn not_found(location: &str, name: &FileName) -> Error {
    Error::NotFound { what: format!("{name} in {location}") }
}

/// The error for a file that ends too early.
fn too_short(location: &str, name: &FileName, offset: u64, length: usize) -> Error {
    let end = offset.saturating_add(length as u64);
    Error::damaged(format!("{name} in {location}"), format!("it ends before byte {end}"))
}
