//! From the file system's words about an entry to restic's.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use jiff::Timestamp;
use rustix::fs::{FileType, Mode, readlinkat};

use super::handle::{Handle, Place};
use super::owners::Owners;
use super::walk::Stat;
use crate::error::Error;
use crate::tree::{ExtendedAttribute, Node, NodeKind};

/// What could not be read or set of an entry.
#[derive(Debug)]
pub struct Problem {
    /// Which part of its metadata.
    pub aspect: Aspect,
    /// The operating system's answer.
    pub source: io::Error,
}

/// A part of an entry's metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Aspect {
    /// User and group.
    Owner,
    /// The extended attribute of this name, or an empty name if not even the names can be read.
    Attribute(String),
    /// Permissions.
    Mode,
    /// When it was changed and read.
    Times,
}

impl Problem {
    /// Attaches the path of the entry.
    #[must_use]
    pub fn into_error(self, path: &Path) -> Error {
        let Self { aspect, source } = self;
        let action = match &aspect {
            Aspect::Owner => "restore the owner of",
            Aspect::Attribute(name) if name.is_empty() => "list the extended attributes of",
            Aspect::Attribute(_) => "keep an extended attribute of",
            Aspect::Mode => "restore the permissions of",
            Aspect::Times => "restore the times of",
        };
        let source = match aspect {
            Aspect::Attribute(name) if !name.is_empty() => io::Error::new(source.kind(), format!("{name}: {source}")),
            _ => source,
        };
        Error::io(action, path)(source)
    }
}

/// Describes an entry by what a look at it told; a link's target and the extended attributes are not part of that.
///
/// As in restic, the time of change stands for the time of access, which every reader moves.
#[must_use]
pub fn describe(name: &OsStr, stat: &Stat, owners: &Owners) -> Node {
    let kind = kind_of(stat);
    let mtime = Some(timestamp(stat.st_mtime, stat.st_mtime_nsec));
    Node {
        name: name.as_bytes().to_vec(),
        kind,
        mode: mode_to_go(stat.st_mode),
        mtime,
        atime: mtime,
        ctime: Some(timestamp(stat.st_ctime, stat.st_ctime_nsec)),
        uid: stat.st_uid,
        gid: stat.st_gid,
        user: owners.user(stat.st_uid),
        group: owners.group(stat.st_gid),
        inode: wide(stat.st_ino),
        device_id: wide(stat.st_dev),
        size: if kind == NodeKind::File { wide(stat.st_size) } else { 0 },
        links: match kind {
            NodeKind::File | NodeKind::Symlink | NodeKind::Dev | NodeKind::Chardev => wide(stat.st_nlink),
            _ => 0,
        },
        linktarget: String::new(),
        linktarget_raw: None,
        extended_attributes: Vec::new(),
        device: match kind {
            NodeKind::Dev | NodeKind::Chardev => wide(stat.st_rdev),
            _ => 0,
        },
        content: None,
        subtree: None,
    }
}

/// Adds a link's target and the extended attributes, and returns the attributes that could not be read.
///
/// # Errors
///
/// The operating system's, if the link's target cannot be read: without it, it is no link.
pub fn complete(node: &mut Node, place: Place<'_>) -> io::Result<Vec<Problem>> {
    if let (NodeKind::Symlink, Place::Entry(folder, name)) = (node.kind, place) {
        node.set_link_target(readlinkat(folder, name, Vec::new())?.as_bytes());
    }
    let problem = |name: &str, source| Problem { aspect: Aspect::Attribute(name.to_owned()), source };
    let handle = Handle::new(place)?;
    let names = match handle.attribute_names() {
        Ok(names) => names,
        Err(error) => return Ok(vec![problem("", error)]),
    };
    let mut problems = Vec::new();
    for name in names {
        let value = handle.attribute(&name);
        match (String::from_utf8(name), value) {
            (Ok(name), Ok(Some(value))) => node.extended_attributes.push(ExtendedAttribute { name, value }),
            // It was removed meanwhile.
            (_, Ok(None)) => {}
            (Ok(name), Err(error)) => problems.push(problem(&name, error)),
            (Err(name), Ok(_) | Err(_)) => {
                let name = String::from_utf8_lossy(name.as_bytes()).into_owned();
                let source = io::Error::new(io::ErrorKind::InvalidFilename, "its name is not UTF-8");
                problems.push(problem(&name, source));
            }
        }
    }
    Ok(problems)
}

/// Returns what an entry is.
#[must_use]
pub fn kind_of(stat: &Stat) -> NodeKind {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => NodeKind::File,
        FileType::Directory => NodeKind::Dir,
        FileType::Symlink => NodeKind::Symlink,
        FileType::BlockDevice => NodeKind::Dev,
        FileType::CharacterDevice => NodeKind::Chardev,
        FileType::Fifo => NodeKind::Fifo,
        FileType::Socket => NodeKind::Socket,
        FileType::Unknown => NodeKind::Unknown,
    }
}

/// The bits beside the nine permissions that Go and Unix place differently: Unix's, and Go's.
const SPECIAL_BITS: [(u32, u32); 3] = [(0o4000, 1 << 23), (0o2000, 1 << 22), (0o1000, 1 << 20)];

/// The bits for the type: Unix's number under the mask 0o170000, and Go's bits.
const TYPE_BITS: [(u32, u32); 7] = [
    (0o100_000, 0),
    (0o040_000, 1 << 31),
    (0o120_000, 1 << 27),
    (0o060_000, 1 << 26),
    (0o020_000, 1 << 26 | 1 << 21),
    (0o010_000, 1 << 25),
    (0o140_000, 1 << 24),
];

/// Translates Unix's mode to Go's `os.FileMode`, which restic stores.
#[must_use]
pub fn mode_to_go(unix: impl Into<u32>) -> u32 {
    let unix = unix.into();
    let special = SPECIAL_BITS.iter().filter(|(bit, _)| unix & bit != 0).map(|(_, go)| go);
    let kind = TYPE_BITS.iter().filter(|(kind, _)| unix & 0o170_000 == *kind).map(|(_, go)| go);
    special.chain(kind).fold(unix & 0o777, |mode, bits| mode | bits)
}

/// Returns the permissions in Go's `os.FileMode` as Unix has them, setuid, setgid and sticky among them.
#[must_use]
pub fn permissions(go: u32) -> Mode {
    let special = SPECIAL_BITS.iter().filter(|(_, bit)| go & bit != 0).map(|(unix, _)| unix);
    let unix = special.fold(go & 0o777, |mode, bits| mode | bits);
    Mode::from_bits_truncate(narrow(unix))
}

/// Makes twelve bits a number of the platform's own width.
fn narrow<M: TryFrom<u32> + Default>(bits: u32) -> M {
    M::try_from(bits).unwrap_or_default()
}

/// Makes a number of a platform's own width one of 64 bits; what is negative or too wide says nothing.
pub(crate) fn wide(number: impl TryInto<u64>) -> u64 {
    number.try_into().unwrap_or(0)
}

/// Makes a time of a platform's own widths one that restic can write: the years 0 to 9999, the nearest of them for
/// any other.
fn timestamp(seconds: impl TryInto<i64>, nanoseconds: impl TryInto<i32>) -> Timestamp {
    const YEAR_ZERO: i64 = -62_167_219_200;
    let (seconds, nanoseconds) = (seconds.try_into().unwrap_or(i64::MAX), nanoseconds.try_into().unwrap_or(0));
    match Timestamp::new(seconds.max(YEAR_ZERO), nanoseconds) {
        Ok(time) => time,
        Err(_) => Timestamp::MAX,
    }
}

#[cfg(test)]
mod tests;
