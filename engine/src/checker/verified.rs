//! When each pack was last read and found to be right: a small file for each repository, in a folder of the caller's own.
//!
//! ```text
//! file = magic (16) ‖ repository (32) ‖ packs: id (32), milliseconds since 1970 (i64) ‖ CRC-32 of all before (u32)
//! ```
//! Numbers are little-endian, packs are sorted by id. Nothing is lost with it: without it every pack counts as never read.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::id::{PackId, RepositoryId};

const MAGIC: [u8; 16] = *b"backupd packs 1\n";
const HEAD: usize = 48;
const ENTRY: usize = 40;

/// When each pack was last read whole and found to be right.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Verified {
    times: BTreeMap<PackId, Timestamp>,
}

impl Verified {
    /// Reads what is known of a repository. What is missing or damaged is nothing.
    pub(super) fn read(folder: &Path, repository: RepositoryId) -> Self {
        let bytes = fs::read(path(folder, repository)).unwrap_or_default();
        Self::decode(&bytes, repository).unwrap_or_default()
    }

    /// Returns when a pack was last read. A time from the future was noted under another clock and counts for nothing.
    pub(super) fn time(&self, pack: &PackId, now: Timestamp) -> Option<Timestamp> {
        self.times.get(pack).copied().filter(|time| *time <= now)
    }

    /// Notes that a pack was read and is right.
    pub(super) fn note(&mut self, pack: PackId, now: Timestamp) {
        let to_the_millisecond = Timestamp::from_millisecond(now.as_millisecond());
        self.times.insert(pack, to_the_millisecond.unwrap_or(now));
    }

    /// Forgets what is not one of these packs any more.
    pub(super) fn retain(&mut self, packs: &HashSet<PackId>) {
        self.times.retain(|pack, _| packs.contains(pack));
    }

    /// Writes it anew; moved into place when it is whole, so that a crash leaves the old one or one that its checksum gives
    /// away.
    pub(super) fn write(&self, folder: &Path, repository: RepositoryId) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let path = path(folder, repository);
        let unfinished = path.with_extension("tmp");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
        file.write_all(&self.encode(repository))?;
        fs::rename(&unfinished, &path)
    }

    fn encode(&self, repository: RepositoryId) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEAD + ENTRY * self.times.len() + 4);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&repository.0);
        for (pack, time) in &self.times {
            bytes.extend_from_slice(&pack.0);
            bytes.extend_from_slice(&time.as_millisecond().to_le_bytes());
        }
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8], repository: RepositoryId) -> Option<Self> {
        let (contents, checksum) = bytes.split_last_chunk::<4>()?;
        if crc32fast::hash(contents) != u32::from_le_bytes(*checksum) {
            return None;
        }
        let (head, entries) = contents.split_at_checked(HEAD)?;
        if head[..16] != MAGIC || head[16..] != repository.0 || entries.len() % ENTRY != 0 {
            return None;
        }
        let mut times = BTreeMap::new();
        for entry in entries.chunks_exact(ENTRY) {
            let (pack, rest) = entry.split_first_chunk::<32>()?;
            let milliseconds = i64::from_le_bytes(*rest.first_chunk()?);
            times.insert(PackId(*pack), Timestamp::from_millisecond(milliseconds).ok()?);
        }
        Some(Self { times })
    }
}

fn path(folder: &Path, repository: RepositoryId) -> PathBuf {
    folder.join(repository.to_string())
}

/// Decodes a file and checks that what came of it comes back, for the table of decoders.
pub(crate) fn check(bytes: &[u8]) -> Result<(), String> {
    let repository = bytes.get(16..HEAD).and_then(|id| id.try_into().ok()).map(RepositoryId);
    let repository = repository.ok_or("it is too short")?;
    let verified = Verified::decode(bytes, repository).ok_or("it is not whole")?;
    let again = Verified::decode(&verified.encode(repository), repository);
    assert_eq!(again.as_ref(), Some(&verified), "what was decoded has to come back");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPOSITORY: RepositoryId = RepositoryId([7; 32]);

    #[test]
    fn what_is_written_is_read_and_a_damaged_file_is_none() {
        let mut verified = Verified::default();
        for number in 0..5 {
            verified.note(PackId([number; 32]), Timestamp::from_millisecond(1_700_000_000_123).expect("a time"));
        }
        let bytes = verified.encode(REPOSITORY);
        assert_eq!(Verified::decode(&bytes, REPOSITORY), Some(verified));
        assert_eq!(Verified::decode(&bytes, RepositoryId([8; 32])), None, "another repository's");
        for at in 0..bytes.len() {
            let mut bent = bytes.clone();
            bent[at] ^= 1;
            assert_eq!(Verified::decode(&bent, REPOSITORY), None, "bent at {at}");
            assert_eq!(Verified::decode(&bytes[..at], REPOSITORY), None, "cut at {at}");
        }
    }

    #[test]
    fn a_time_from_the_future_counts_for_nothing() {
        let (mut verified, pack) = (Verified::default(), PackId([1; 32]));
        verified.note(pack, Timestamp::MAX);
        assert_eq!(verified.time(&pack, Timestamp::UNIX_EPOCH), None);
    }
}
