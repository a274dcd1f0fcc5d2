//! Names of the store's files, and what becomes of those that cannot be used.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::disk::Disk;
use crate::error::{Error, Result};

/// Returns the path of the journal file whose first record has this sequence.
pub(super) fn journal_path(folder: &Path, first: u64) -> PathBuf {
    folder.join(format!("journal-{first:020}.log"))
}

/// Returns the path of the checkpoint that covers everything up to this sequence.
pub(super) fn checkpoint_path(folder: &Path, sequence: u64) -> PathBuf {
    folder.join(format!("checkpoint-{sequence:020}.dat"))
}

/// Lists the numbers of the files with this prefix and suffix, smallest first.
pub(super) fn numbered(folder: &Path, prefix: &str, suffix: &str) -> Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(folder).map_err(Error::io("list", folder))? {
        let name = entry.map_err(Error::io("list", folder))?.file_name();
        let number: Option<u64> =
            name.to_str().and_then(|name| name.strip_prefix(prefix)?.strip_suffix(suffix)?.parse().ok());
        numbers.extend(number);
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Replaces a file so that a power cut leaves the old one or the new one.
pub(crate) fn write_whole(path: &Path, contents: &[u8]) -> Result<()> {
    Disk::default().write_whole(path, contents)
}

/// Makes the names in a folder durable.
pub(crate) fn sync_folder(folder: &Path) -> Result<()> {
    Disk::default().sync_folder(folder)
}

/// Reads a file whole; anything else in its place is an error.
pub(crate) fn read_own(path: &Path) -> Result<Vec<u8>> {
    let found = fs::metadata(path).map_err(Error::io("read", path))?;
    if !found.is_file() {
        // A pipe would be waited for.
        return Err(Error::io("read", path)(ErrorKind::InvalidInput.into()));
    }
    fs::read(path).map_err(Error::io("read", path))
}

/// Moves something that cannot be used out of the way, under a name that says so; returns the new path. It is
/// never deleted: it may be all that is left of something.
pub(crate) fn set_aside(path: &Path, stamp: &str) -> Result<PathBuf> {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    for number in 0_u32.. {
        let suffix = if number == 0 { String::new() } else { format!("-{number}") };
        let aside = path.with_file_name(format!("{name}.bad-{stamp}{suffix}"));
        if aside.symlink_metadata().is_err_and(|error| error.kind() == ErrorKind::NotFound) {
            fs::rename(path, &aside).map_err(Error::io("set aside", path))?;
            return Ok(aside);
        }
    }
    unreachable!("a folder cannot hold four billion names")
}
