//! The head of a record: what it is a record of, and what has to be so that it may be relied on.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use super::block::Block;
use super::code::{Reader, put_number, put_text};
use crate::id::{RepositoryId, SnapshotId};
use crate::storage::FileName;

/// The first bytes of a head; the number is the form's, and any other form is as good as none.
const MAGIC: [u8; 16] = *b"backupd record2\n";

/// What a record is a record of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// A hash of what was asked for.
    pub(crate) key: [u8; 32],
    pub(crate) repository: RepositoryId,
    /// The snapshot whose entries it lists.
    pub(crate) snapshot: SnapshotId,
    /// A hash of what was mounted below the sources; zeros if that could not be told.
    pub(crate) mounts: [u8; 32],
    /// When everything was looked at the last time, in seconds since 1970.
    pub(crate) full_seconds: u64,
    /// How many runs since then looked only where they were told to.
    pub(crate) hinted_runs: u64,
    /// Which data file holds the blocks.
    pub(crate) data: u64,
    /// How much of it counts, in bytes.
    pub(crate) length: u64,
    /// Users and groups by number, as they were called.
    pub(crate) owners: [Vec<(u32, String)>; 2],
    /// The index files and packs that the snapshot may rely on.
    pub(crate) known: [Vec<Known>; 2],
    /// What could not be stored, or not wholly: it has to be looked at again.
    pub(crate) doubts: Vec<PathBuf>,
    /// The trees of the folders above the sources.
    pub(crate) trees: Vec<Vec<u8>>,
    /// The sources as the entries of a folder, with their paths as names.
    pub(crate) sources: Block,
}

/// A file of the repository as it was known: the start of its id, and its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Known {
    start: u64,
    size: u64,
}

impl Known {
    /// Makes a sorted list of what a listing found.
    pub(crate) fn list<'f>(files: impl IntoIterator<Item = &'f (FileName, u64)>) -> Vec<Self> {
        let known = |(name, size): &(FileName, u64)| {
            let mut start = [0; 8];
            start.copy_from_slice(&name.id[..8]);
            Self { start: u64::from_be_bytes(start), size: *size }
        };
        let mut list: Vec<Self> = files.into_iter().map(known).collect();
        list.sort_unstable();
        list
    }

    /// Returns whether everything on a sorted list is on another one.
    pub(crate) fn are_all_in(wanted: &[Self], there: &[Self]) -> bool {
        let mut there = there.iter();
        wanted.iter().all(|known| there.any(|other| other == known))
    }
}

impl Head {
    /// Encodes the head.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        for id in [self.key, self.repository.0, self.snapshot.0, self.mounts] {
            out.extend_from_slice(&id);
        }
        for number in [self.full_seconds, self.hinted_runs, self.data, self.length] {
            put_number(&mut out, number);
        }
        for owners in &self.owners {
            put_number(&mut out, owners.len() as u64);
            for (number, name) in owners {
                put_number(&mut out, u64::from(*number));
                put_text(&mut out, name.as_bytes());
            }
        }
        for known in &self.known {
            put_number(&mut out, known.len() as u64);
            for file in known {
                out.extend_from_slice(&file.start.to_le_bytes());
                put_number(&mut out, file.size);
            }
        }
        let doubts: Vec<&[u8]> = self.doubts.iter().map(|path| path.as_os_str().as_bytes()).collect();
        put_texts(&mut out, &doubts);
        put_texts(&mut out, &self.trees.iter().map(Vec::as_slice).collect::<Vec<_>>());
        put_text(&mut out, self.sources.bytes());
        out.extend_from_slice(&crc32fast::hash(&out).to_le_bytes());
        out
    }

    /// Decodes a head; total over all bytes.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (body, crc) = bytes.split_last_chunk::<4>()?;
        (crc32fast::hash(body) == u32::from_le_bytes(*crc)).then_some(())?;
        let mut reader = Reader::new(body);
        (reader.array()? == MAGIC).then_some(())?;
        let head = Self {
            key: reader.array()?,
            repository: RepositoryId(reader.array()?),
            snapshot: SnapshotId(reader.array()?),
            mounts: reader.array()?,
            full_seconds: reader.number()?,
            hinted_runs: reader.number()?,
            data: reader.number()?,
            length: reader.number()?,
            owners: [read_owners(&mut reader)?, read_owners(&mut reader)?],
            known: [read_known(&mut reader)?, read_known(&mut reader)?],
            doubts: read_paths(&mut reader)?,
            trees: read_texts(&mut reader, <[u8]>::to_vec)?,
            sources: Block::decode(reader.text()?.to_vec())?,
        };
        (reader.left() == 0).then_some(head)
    }
}

pub(super) fn put_texts(out: &mut Vec<u8>, texts: &[&[u8]]) {
    put_number(out, texts.len() as u64);
    texts.iter().for_each(|text| put_text(out, text));
}

pub(super) fn read_paths(reader: &mut Reader<'_>) -> Option<Vec<PathBuf>> {
    read_texts(reader, |text| PathBuf::from(OsString::from_vec(text.to_vec())))
}

fn read_texts<T>(reader: &mut Reader<'_>, make: impl Fn(&[u8]) -> T) -> Option<Vec<T>> {
    (0..reader.count()?).map(|_| reader.text().map(&make)).collect()
}

fn read_owners(reader: &mut Reader<'_>) -> Option<Vec<(u32, String)>> {
    let owner = |reader: &mut Reader<'_>| {
        let number = u32::try_from(reader.number()?).ok()?;
        Some((number, String::from_utf8(reader.text()?.to_vec()).ok()?))
    };
    (0..reader.count()?).map(|_| owner(reader)).collect()
}

fn read_known(reader: &mut Reader<'_>) -> Option<Vec<Known>> {
    let known =
        |reader: &mut Reader<'_>| Some(Known { start: u64::from_le_bytes(reader.array()?), size: reader.number()? });
    (0..reader.count()?).map(|_| known(reader)).collect()
}
