//! A checkpoint: everything the store holds at one sequence, in one file that is either whole or not there.
//!
//! ```text
//! magic · crc u32 · sequence u64 · count u64 · changes        crc is of everything behind it
//! ```

use std::collections::BTreeMap;
use std::path::Path;

use super::disk::Disk;
use super::files;
use super::frame::{Change, decode_changes, encode_changes};
use crate::error::{Error, Result};

/// The first bytes of every checkpoint; the last one before the line end is the version of its form.
const MAGIC: &[u8; 16] = b"backupd state 2\n";

/// Bytes before the changes.
const HEADER: usize = 16 + 4 + 8 + 8;

/// Everything the store holds: keys with their values.
pub type Contents = BTreeMap<String, Vec<u8>>;

/// Writes a checkpoint of everything up to a sequence.
pub(super) fn write(disk: &Disk, folder: &Path, sequence: u64, contents: &Contents) -> Result<()> {
    let path = files::checkpoint_path(folder, sequence);
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&sequence.to_le_bytes());
    bytes.extend_from_slice(&(contents.len() as u64).to_le_bytes());
    for (key, value) in contents {
        let change = Change::set(key.as_str(), value.clone());
        // What is in the store came through a frame, which has the same bounds.
        encode_changes(std::slice::from_ref(&change), &mut bytes)
            .ok_or_else(|| Error::Fenced { problem: format!("the entry {key} is too long") })?;
    }
    let checksum = crc32fast::hash(&bytes[20..]);
    bytes[16..20].copy_from_slice(&checksum.to_le_bytes());
    disk.write_whole(&path, &bytes)
}

/// Reads a checkpoint; `None` when it is not what was written.
pub(super) fn read(path: &Path) -> Result<Option<(u64, Contents)>> {
    Ok(parse(&files::read_own(path)?))
}

/// Returns the version that the first bytes of a checkpoint name.
pub(super) fn form(head: &[u8]) -> Option<u32> {
    let digit = head.get(..16)?.strip_prefix(b"backupd state ")?.strip_suffix(b"\n")?;
    char::from(*digit.first()?).to_digit(10)
}

fn parse(bytes: &[u8]) -> Option<(u64, Contents)> {
    let version = u8::try_from(form(bytes)?).ok()?;
    if bytes.len() < HEADER {
        return None;
    }
    let checksum = u32::from_le_bytes(bytes[16..20].try_into().ok()?);
    if crc32fast::hash(&bytes[20..]) != checksum {
        return None;
    }
    let sequence = u64::from_le_bytes(bytes[20..28].try_into().ok()?);
    let count = u64::from_le_bytes(bytes[28..36].try_into().ok()?);
    let changes = decode_changes(&bytes[HEADER..], version)?;
    let contents: Contents = changes.into_iter().filter_map(|change| Some((change.key, change.value?))).collect();
    (contents.len() as u64 == count).then_some((sequence, contents))
}

/// Removes all but the two newest checkpoints, and the journal files that the older of the two covers.
pub(super) fn remove_covered(disk: &Disk, folder: &Path) -> Result<()> {
    let checkpoints = files::numbered(folder, "checkpoint-", ".dat")?;
    let [.., older, _] = checkpoints[..] else { return Ok(()) };
    for sequence in checkpoints.iter().filter(|sequence| **sequence < older) {
        disk.remove(&files::checkpoint_path(folder, *sequence))?;
    }
    let journals = files::numbered(folder, "journal-", ".log")?;
    // A file ends where the next one begins; the last one is being written.
    for pair in journals.windows(2).filter(|pair| pair[1] <= older + 1) {
        disk.remove(&files::journal_path(folder, pair[0]))?;
    }
    Ok(())
}

/// Removes everything but the checkpoint at a sequence and the journal file behind it.
pub(super) fn remove_others(disk: &Disk, folder: &Path, sequence: u64) -> Result<()> {
    let checkpoints = files::numbered(folder, "checkpoint-", ".dat")?.into_iter().filter(|number| *number != sequence);
    let journals = files::numbered(folder, "journal-", ".log")?.into_iter().filter(|first| *first != sequence + 1);
    let checkpoints = checkpoints.map(|number| files::checkpoint_path(folder, number));
    for path in checkpoints.chain(journals.map(|first| files::journal_path(folder, first))) {
        disk.remove(&path)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_reads_back_and_nothing_less_than_the_whole_of_it_does() {
        let folder = tempfile::tempdir().unwrap();
        let contents: Contents = (0..5).map(|n| (format!("job/{n}"), vec![n; 10])).collect();
        write(&Disk::default(), folder.path(), 42, &contents).unwrap();
        let path = files::checkpoint_path(folder.path(), 42);
        assert_eq!(read(&path).unwrap(), Some((42, contents)));
        let bytes = std::fs::read(&path).unwrap();
        for cut in 0..bytes.len() {
            assert_eq!(parse(&bytes[..cut]), None, "cut at {cut}");
        }
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert_eq!(parse(&damaged), None, "flipped at {at}");
        }
    }
}
