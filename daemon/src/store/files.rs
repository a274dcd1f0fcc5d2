//! Names of the store's files, and how a file is replaced so that a power cut leaves the old one or the new one.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

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

/// Writes a file beside its place, syncs it, moves it there and syncs the folder.
pub(crate) fn write_whole(path: &Path, contents: &[u8]) -> Result<()> {
    let temporary = path.with_extension("tmp");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)
        .map_err(Error::io("create", &temporary))?;
    file.write_all(contents).and_then(|()| file.sync_all()).map_err(Error::io("write", &temporary))?;
    fs::rename(&temporary, path).map_err(Error::io("rename", &temporary))?;
    match path.parent() {
        Some(folder) => sync_folder(folder),
        None => Ok(()),
    }
}

/// Makes the names in a folder durable.
pub(crate) fn sync_folder(folder: &Path) -> Result<()> {
    File::open(folder).and_then(|file| file.sync_all()).map_err(Error::io("sync", folder))
}

/// Moves something that cannot be used out of the way, under a name that says so; returns the new path. It is
/// never deleted: it may be all that is left of something.
pub(super) fn set_aside(path: &Path, stamp: &str) -> Result<PathBuf> {
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

/// Removes a file; one that is gone already is fine.
pub(super) fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::io("remove", path)(error)),
        _ => Ok(()),
    }
}
