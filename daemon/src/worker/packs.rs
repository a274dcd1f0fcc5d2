//! The packs that an attempt has stored and that no index lists yet: written down before each pack is, so that the
//! next attempt takes over what is there after a crash instead of storing it again.
//!
//! One line a pack: a checksum and the record as JSON. Reading ends at the first line that is not whole.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use backup_engine::id::{BlobHandle, BlobId, BlobKind, PackId};
use backup_engine::monitor::{PackRecord, PackedBlob};
use backup_proto::job::JobId;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::store::files::sync_folder;

/// Returns the folder of the jobs' journals.
fn folder(state: &Path) -> PathBuf {
    state.join("packs")
}

/// A pack as it is written down.
#[derive(Serialize, Deserialize)]
struct Line {
    pack: PackId,
    length: u64,
    blobs: Vec<(BlobKind, BlobId, u32, u32, Option<u32>)>,
}

/// The packs of one job.
#[derive(Debug)]
pub struct PackJournal {
    path: PathBuf,
    file: Option<File>,
}

impl PackJournal {
    /// Opens a job's journal and returns what an earlier attempt left in it.
    ///
    /// # Errors
    /// The state folder cannot be read.
    pub fn open(state: &Path, job: &JobId) -> Result<(Self, Vec<PackRecord>)> {
        let path = folder(state).join(format!("{job}.jsonl"));
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(Error::io("read", &path)(error)),
        };
        let packs = text.split_inclusive(|byte| *byte == b'\n').map_while(decode).collect();
        Ok((Self { path, file: None }, packs))
    }

    /// Writes a pack down; durable when it returns.
    ///
    /// # Errors
    /// The state folder cannot be written.
    pub fn add(&mut self, pack: &PackRecord) -> Result<()> {
        let line = encode(pack).map_err(|error| Error::io("write", &self.path)(error.into()))?;
        let mut file = match self.file.take() {
            Some(file) => file,
            None => self.create()?,
        };
        file.write_all(&line).and_then(|()| file.sync_data()).map_err(Error::io("write", &self.path))?;
        self.file = Some(file);
        Ok(())
    }

    /// Empties the journal: an index lists every pack in it.
    ///
    /// # Errors
    /// The state folder cannot be written.
    pub fn clear(&mut self) -> Result<()> {
        self.file = None;
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::io("remove", &self.path)(error)),
            _ => Ok(()),
        }
    }

    fn create(&self) -> Result<File> {
        let folder = self.path.parent().unwrap_or(Path::new("/"));
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(Error::io("create", folder))?;
        let mut options = OpenOptions::new();
        let file =
            options.append(true).create(true).mode(0o600).open(&self.path).map_err(Error::io("create", &self.path))?;
        // A line that a crash cut short would make the next one unreadable.
        let whole = fs::read(&self.path).map(|text| whole_length(&text)).map_err(Error::io("read", &self.path))?;
        file.set_len(whole).map_err(Error::io("write", &self.path))?;
        sync_folder(folder)?;
        Ok(file)
    }
}

fn whole_length(text: &[u8]) -> u64 {
    let whole = text.split_inclusive(|byte| *byte == b'\n').take_while(|line| decode(line).is_some());
    whole.map(|line| line.len() as u64).sum()
}

fn encode(pack: &PackRecord) -> serde_json::Result<Vec<u8>> {
    let tuple =
        |blob: &PackedBlob| (blob.handle.kind, blob.handle.id, blob.offset, blob.length, blob.uncompressed_length);
    let line = Line { pack: pack.id, length: pack.length, blobs: pack.blobs.iter().map(tuple).collect() };
    let json = serde_json::to_vec(&line)?;
    let mut bytes = format!("{:08x} ", crc32fast::hash(&json)).into_bytes();
    bytes.extend(json);
    bytes.push(b'\n');
    Ok(bytes)
}

fn decode(line: &[u8]) -> Option<PackRecord> {
    let (checksum, rest) = line.split_at_checked(9)?;
    let json = rest.strip_suffix(b"\n")?;
    if checksum != format!("{:08x} ", crc32fast::hash(json)).as_bytes() {
        return None;
    }
    let Line { pack, length, blobs } = serde_json::from_slice(json).ok()?;
    let blobs = blobs.into_iter().map(|(kind, id, offset, length, uncompressed_length)| PackedBlob {
        handle: BlobHandle { kind, id },
        offset,
        length,
        uncompressed_length,
    });
    Some(PackRecord { id: pack, length, blobs: blobs.collect() })
}

/// Decodes a line, and JSON as if a checksum had fitted; what is accepted has to come back. For fuzzing.
pub(crate) fn check(bytes: &[u8]) -> std::result::Result<(), String> {
    let line = [format!("{:08x} ", crc32fast::hash(bytes)).as_bytes(), bytes, b"\n"].concat();
    let pack = decode(bytes).or_else(|| decode(&line)).ok_or("no line of a pack journal")?;
    let again = encode(&pack).map_err(|error| error.to_string())?;
    assert_eq!(decode(&again).as_ref(), Some(&pack), "a pack has to come back");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pack(number: u8) -> PackRecord {
        let blob = |kind, id: u8| PackedBlob {
            handle: BlobHandle { kind, id: BlobId([id; 32]) },
            offset: u32::from(id),
            length: 7,
            uncompressed_length: Some(9).filter(|_| kind == BlobKind::Data),
        };
        let blobs = vec![blob(BlobKind::Data, number), blob(BlobKind::Tree, number)];
        PackRecord { id: PackId([number; 32]), length: 1000, blobs }
    }

    #[test]
    fn packs_survive_and_are_forgotten_when_an_index_lists_them() {
        let state = tempfile::tempdir().expect("a temporary folder");
        let job = JobId::from("j1");
        let (mut journal, before) = PackJournal::open(state.path(), &job).expect("it opens");
        assert_eq!(before, []);
        for number in 0..3 {
            journal.add(&pack(number)).expect("it is written");
        }
        let (mut journal, found) = PackJournal::open(state.path(), &job).expect("it opens");
        assert_eq!(found, [pack(0), pack(1), pack(2)]);
        journal.clear().expect("it is written");
        journal.add(&pack(3)).expect("it is written");
        assert_eq!(PackJournal::open(state.path(), &job).expect("it opens").1, [pack(3)]);
    }

    #[test]
    fn wherever_a_crash_cuts_the_journal_what_is_whole_is_found_and_more_can_be_added() {
        let state = tempfile::tempdir().expect("a temporary folder");
        let job = JobId::from("j1");
        let (mut journal, _) = PackJournal::open(state.path(), &job).expect("it opens");
        journal.add(&pack(0)).expect("it is written");
        journal.add(&pack(1)).expect("it is written");
        let path = folder(state.path()).join("j1.jsonl");
        let whole = fs::read(&path).expect("it is there");
        let first = encode(&pack(0)).expect("it is JSON").len();
        for length in 0..whole.len() {
            fs::write(&path, &whole[..length]).expect("it is written");
            let (mut journal, found) = PackJournal::open(state.path(), &job).expect("it opens");
            assert_eq!(found.len(), usize::from(length >= first), "cut at {length}");
            journal.add(&pack(2)).expect("it is written");
            let after = PackJournal::open(state.path(), &job).expect("it opens").1;
            assert_eq!(after.last(), Some(&pack(2)), "cut at {length}");
        }
    }
}
