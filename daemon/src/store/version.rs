//! The version of the state's form: a small file beside the store says it, and so do the store's own files.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::disk::Disk;
use super::{checkpoint, files, journal};
use crate::error::{Error, Result};

/// The version that is written. 1 had no version file and records without version and checksum.
pub const CURRENT: u32 = 2;

/// Name of the file inside the state folder.
const FILE: &str = "version";

/// What the version file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Marked {
    /// There is none.
    No,
    /// This version.
    Version(u32),
    /// Nothing that can be read.
    Damaged,
}

/// Reads the version file; nothing is changed.
pub(super) fn marked(state: &Path) -> Marked {
    match files::read_own(&path(state)) {
        Ok(bytes) => parse(&bytes).map_or(Marked::Damaged, Marked::Version),
        Err(Error::Io { source, .. }) if source.kind() == ErrorKind::NotFound => Marked::No,
        Err(_) => Marked::Damaged,
    }
}

/// Writes the version file.
pub(super) fn mark(disk: &Disk, state: &Path) -> Result<()> {
    disk.write_whole(&path(state), text(CURRENT).as_bytes())
}

/// Returns where the version file is.
pub(super) fn path(state: &Path) -> PathBuf {
    state.join(FILE)
}

/// Returns the newest form of any file of a store; none when there is no store, or nothing in it says.
pub(super) fn of_files(store: &Path) -> Result<Option<u32>> {
    let mut newest = None;
    let checkpoints = files::numbered(store, "checkpoint-", ".dat")?;
    for path in checkpoints.into_iter().map(|number| files::checkpoint_path(store, number)) {
        newest = newest.max(files::read_own(&path).ok().and_then(|bytes| checkpoint::form(&bytes)));
    }
    let journals = files::numbered(store, "journal-", ".log")?;
    for path in journals.into_iter().map(|number| files::journal_path(store, number)) {
        newest = newest.max(files::read_own(&path).ok().and_then(|bytes| journal::form(&bytes)));
    }
    Ok(newest)
}

fn text(version: u32) -> String {
    let line = format!("backupd state {version}");
    format!("{line} {:08x}\n", crc32fast::hash(line.as_bytes()))
}

fn parse(bytes: &[u8]) -> Option<u32> {
    let line = std::str::from_utf8(bytes).ok()?;
    let version = line.strip_prefix("backupd state ")?.split(' ').next()?.parse().ok()?;
    (line == text(version)).then_some(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_file_reads_back_and_every_flipped_bit_is_noticed() {
        assert_eq!(text(2), "backupd state 2 59f6be35\n");
        assert_eq!(parse(text(7).as_bytes()), Some(7));
        let whole = text(2).into_bytes();
        for bit in 0..whole.len() * 8 {
            let mut damaged = whole.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(parse(&damaged), None, "bit {bit}");
        }
    }
}
