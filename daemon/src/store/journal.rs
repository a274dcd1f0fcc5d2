//! Files of the journal: written and synced before anything is acknowledged, read at every start.
//!
//! A file starts with [`MAGIC`] and goes on with frames. What follows the last good frame is either a **torn tail**
//! (the machine stopped while it was written; it was never acknowledged and is cut off) or, when a good frame
//! follows it, **damage**: something that had been written well is not there any more.

use std::io;
use std::path::Path;

use super::disk::{Disk, DiskFile};
use super::files;
use super::frame::{self, Record};
use crate::error::{Error, Result};

/// The first bytes of every journal file.
const MAGIC: &[u8; 16] = b"backupd journal\n";

/// How far a sequence may be ahead of the one before it when frames are searched behind damage. Within one file
/// there are never more records than this.
const SEARCH_AHEAD: u64 = 1 << 24;

/// What was found in a journal file.
#[derive(Debug)]
pub(super) struct Reading {
    /// The records that could be read, in order.
    pub(super) records: Vec<Record>,
    /// Where the last good frame ends, in bytes.
    pub(super) good_length: u64,
    /// What is not as it was written.
    pub(super) flaw: Flaw,
}

/// How a journal file differs from what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    /// It does not.
    None,
    /// The last write was not finished.
    Torn,
    /// Something in the middle, or the start of the file, is not what was written.
    Damaged,
}

/// Reads a journal file as far as it can be read.
///
/// # Errors
/// When the operating system does not let it be read; damage is no error but a [`Flaw`].
pub(super) fn read(path: &Path) -> Result<Reading> {
    Ok(parse(&files::read_own(path)?))
}

/// Returns the version of the first record in a journal file's bytes; none when there is no whole one.
pub(super) fn form(bytes: &[u8]) -> Option<u32> {
    frame::form(bytes.get(MAGIC.len()..)?)
}

fn parse(bytes: &[u8]) -> Reading {
    let mut reading = Reading { records: Vec::new(), good_length: MAGIC.len() as u64, flaw: Flaw::None };
    if !bytes.starts_with(MAGIC) {
        reading.flaw = Flaw::Damaged;
    }
    let mut at = MAGIC.len();
    while at < bytes.len() {
        let Some((record, length)) = frame::decode(&bytes[at..]) else {
            let Some(next) = next_good(bytes, at + 1, last_sequence(&reading)) else {
                if reading.flaw == Flaw::None {
                    reading.flaw = Flaw::Torn;
                }
                return reading;
            };
            reading.flaw = Flaw::Damaged;
            at = next;
            continue;
        };
        reading.records.push(record);
        at += length;
        reading.good_length = at as u64;
    }
    reading
}

fn last_sequence(reading: &Reading) -> u64 {
    reading.records.last().map_or(0, |record| record.sequence)
}

/// Finds the next place at which a good frame starts. The cheap look at the sequence spares a checksum at nearly
/// every place.
fn next_good(bytes: &[u8], from: usize, after: u64) -> Option<usize> {
    (from..bytes.len().saturating_sub(frame::HEADER)).find(|&at| {
        let sequence = bytes[at + 8..at + 16].try_into().map_or(0, u64::from_le_bytes);
        let plausible = after == 0 || (sequence > after && sequence - after < SEARCH_AHEAD);
        plausible && frame::decode(&bytes[at..]).is_some()
    })
}

/// Why an append did not happen.
#[derive(Debug)]
pub(super) enum AppendError {
    /// Nothing was changed; a later append may work.
    Refused(Error),
    /// What the file holds behind its last good frame is not known: it may not be written any more.
    Lost(Error),
}

/// The journal file that is being written.
#[derive(Debug)]
pub(super) struct JournalWriter {
    file: DiskFile,
}

impl JournalWriter {
    /// Creates the file whose first record will have this sequence.
    pub(super) fn create(disk: &Disk, folder: &Path, first: u64) -> Result<Self> {
        let path = files::journal_path(folder, first);
        disk.write_whole(&path, MAGIC)?;
        Self::open(disk, &path, MAGIC.len() as u64)
    }

    /// Opens a file to go on after its last good frame; what follows is cut off.
    pub(super) fn open(disk: &Disk, path: &Path, good_length: u64) -> Result<Self> {
        Ok(Self { file: disk.open_cut(path, good_length)? })
    }

    /// Appends frames and returns when they are on the disk.
    ///
    /// # Errors
    /// [`AppendError::Refused`] when nothing was written (the disk is full), else [`AppendError::Lost`]: after a
    /// failed sync nobody knows what the disk holds, and asking again would report success for lost pages.
    pub(super) fn append(&mut self, frames: &[u8]) -> Result<(), AppendError> {
        let before = self.file.length();
        if let Err(source) = self.file.write(frames) {
            let refused = self.fail("write", source);
            return match self.file.cut(before) {
                Ok(()) => Err(AppendError::Refused(refused)),
                Err(_) => Err(AppendError::Lost(refused)),
            };
        }
        self.file.sync().map_err(|source| {
            let lost = self.fail("sync", source);
            // Where this works, what was refused is not found at the next start either.
            let _ = self.file.cut(before).and_then(|()| self.file.sync());
            AppendError::Lost(lost)
        })
    }

    fn fail(&self, action: &'static str, source: io::Error) -> Error {
        Error::io(action, self.file.path())(source)
    }
}

#[cfg(test)]
mod tests {
    use super::super::frame::Change;
    use super::*;

    fn record(sequence: u64) -> Record {
        let text = format!("value {sequence}");
        Record { sequence, changes: vec![Change::set(format!("job/{sequence}"), text.into_bytes())] }
    }

    fn written(count: u64) -> Vec<u8> {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = JournalWriter::create(&Disk::default(), folder.path(), 1).unwrap();
        for sequence in 1..=count {
            writer.append(&frame::encode(&record(sequence)).unwrap()).unwrap();
        }
        std::fs::read(files::journal_path(folder.path(), 1)).unwrap()
    }

    #[test]
    fn a_journal_cut_at_any_byte_gives_the_records_before_the_cut() {
        let bytes = written(6);
        let mut ends = vec![MAGIC.len()];
        while let Some((_, length)) = frame::decode(&bytes[ends[ends.len() - 1]..]) {
            ends.push(ends[ends.len() - 1] + length);
        }
        for cut in MAGIC.len()..=bytes.len() {
            let reading = parse(&bytes[..cut]);
            let whole = ends.iter().filter(|end| **end <= cut).count() - 1;
            assert_eq!(reading.records.len(), whole, "cut at {cut}");
            let expected = if ends.contains(&cut) { Flaw::None } else { Flaw::Torn };
            assert_eq!(reading.flaw, expected, "cut at {cut}");
            assert_eq!(reading.good_length, ends[whole] as u64, "cut at {cut}");
        }
    }

    #[test]
    fn damage_in_the_middle_is_told_from_a_torn_tail_and_the_rest_is_read() {
        let bytes = written(6);
        let (_, first) = frame::decode(&bytes[MAGIC.len()..]).unwrap();
        for at in MAGIC.len()..MAGIC.len() + first {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x40;
            let reading = parse(&damaged);
            assert_eq!(reading.flaw, Flaw::Damaged, "flipped at {at}");
            let sequences: Vec<_> = reading.records.iter().map(|record| record.sequence).collect();
            assert_eq!(sequences, [2, 3, 4, 5, 6], "flipped at {at}");
        }
    }

    #[test]
    fn a_file_without_its_first_bytes_is_damaged_but_read() {
        let mut bytes = written(2);
        bytes[0] = b'X';
        let reading = parse(&bytes);
        assert_eq!((reading.flaw, reading.records.len()), (Flaw::Damaged, 2));
    }

    #[test]
    fn a_torn_tail_is_cut_off_before_more_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = files::journal_path(folder.path(), 1);
        let bytes = written(3);
        std::fs::write(&path, &bytes[..bytes.len() - 5]).unwrap();
        let reading = read(&path).unwrap();
        let mut writer = JournalWriter::open(&Disk::default(), &path, reading.good_length).unwrap();
        writer.append(&frame::encode(&record(3)).unwrap()).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
    }
}
