//! The local cache of an index: the sorted part as a file, so that the index files need not be read and sorted again.
//!
//! ```text
//! file   = magic (16) ‖ repository (32) ‖ counts of index files, packs, data, trees (u32 each)
//!          ‖ index file ids ‖ packs ‖ column of data ‖ column of trees ‖ CRC-32 of all before (u32)
//! pack   = id (32) ‖ length (u64)
//! column = ids (32 each) ‖ numbers of packs (u32 each) ‖ places (offset, length, length of contents: u32 each)
//! ```
//! Numbers are little-endian. Nothing is lost with it: where it is missing, old or not whole, the index files are read.

use std::collections::HashSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::PathBuf;

use super::Sums;
use super::base::{Base, BasePack, Column, Place};
use crate::id::{IndexId, PackId, RepositoryId};

const MAGIC: [u8; 16] = *b"backupd index 1\n";

/// Where the cache of one repository's index is.
#[derive(Clone, Debug)]
pub(crate) struct IndexCache {
    path: PathBuf,
    repository: RepositoryId,
}

/// What is known of a cache before its blobs are read.
pub(super) struct Header<R> {
    /// The index files that it holds.
    pub(super) files: HashSet<IndexId>,
    counts: Counts,
    rest: Checked<R>,
}

#[derive(Clone, Copy)]
struct Counts {
    packs: u32,
    data: u32,
    trees: u32,
}

/// Reads or writes and counts the checksum.
struct Checked<T> {
    inner: T,
    hasher: crc32fast::Hasher,
}

impl IndexCache {
    pub(crate) fn new(folder: PathBuf, repository: RepositoryId) -> Self {
        Self { path: folder.join(format!("index-{repository}")), repository }
    }

    /// Opens the cache, if there is one that can be used.
    pub(super) fn open(&self) -> Option<Header<BufReader<File>>> {
        let file = File::open(&self.path).ok()?;
        let length = file.metadata().ok()?.len();
        Header::read(BufReader::with_capacity(256 * 1024, file), length, &self.repository).ok()
    }

    /// Writes the cache anew. It is moved into place when it is whole; a crash leaves the old one, or one that the
    /// checksum gives away.
    pub(super) fn write(&self, files: &HashSet<IndexId>, base: &Base) -> io::Result<()> {
        if let Some(folder) = self.path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        let unfinished = self.path.with_extension("tmp");
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
        let written = encode(BufWriter::with_capacity(256 * 1024, file), &self.repository, files, base);
        written.and_then(|()| fs::rename(&unfinished, &self.path)).inspect_err(|_| {
            // What cannot be written is not needed.
            let _ = fs::remove_file(&unfinished);
        })
    }
}

impl<R: Read> Header<R> {
    /// Reads what comes before the blobs; `length` is that of all, which the counts have to fit.
    pub(super) fn read(inner: R, length: u64, repository: &RepositoryId) -> io::Result<Self> {
        let mut rest = Checked { inner, hasher: crc32fast::Hasher::new() };
        let (magic, id): ([u8; 16], [u8; 32]) = (rest.array()?, rest.array()?);
        if magic != MAGIC || id != repository.0 {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let (count, counts) =
            (rest.number()?, Counts { packs: rest.number()?, data: rest.number()?, trees: rest.number()? });
        let blobs = u64::from(counts.data) + u64::from(counts.trees);
        // No memory is taken for more than is there.
        if length != 68 + 32 * u64::from(count) + 40 * u64::from(counts.packs) + 48 * blobs {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let files = rest.ids(count)?.into_iter().map(IndexId).collect();
        Ok(Self { files, counts, rest })
    }

    /// Reads the blobs; the places of data only if they are to be kept.
    pub(super) fn read_base(mut self, slim: bool) -> io::Result<Base> {
        let mut packs = Vec::with_capacity(self.counts.packs as usize);
        for _ in 0..self.counts.packs {
            packs.push(BasePack { id: PackId(self.rest.array()?), length: u64::from_le_bytes(self.rest.array()?) });
        }
        let data = self.column(self.counts.data, slim)?;
        let trees = self.column(self.counts.trees, false)?;
        let computed = self.rest.hasher.clone().finalize();
        let sorted =
            packs.is_sorted_by(|one, other| one.id < other.id) && data.ids.is_sorted() && trees.ids.is_sorted();
        if self.rest.number()? != computed || !sorted {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(Base { packs, data, trees })
    }

    fn column(&mut self, count: u32, slim: bool) -> io::Result<Column> {
        let ids = self.rest.ids(count)?;
        let mut packs = Vec::with_capacity(count as usize);
        for _ in 0..count {
            packs.push(self.rest.number()?);
        }
        if packs.iter().any(|pack| *pack >= self.counts.packs) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut places = Vec::with_capacity(if slim { 0 } else { count as usize });
        let mut sums = Sums::default();
        for _ in 0..count {
            let place = self.rest.place()?;
            sums = sums.with(&place);
            if !slim {
                places.push(place);
            }
        }
        Ok(Column::new(ids, packs, places, sums))
    }
}

impl<R: Read> Checked<R> {
    fn array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn fill(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        self.inner.read_exact(bytes)?;
        self.hasher.update(bytes);
        Ok(())
    }

    fn number(&mut self) -> io::Result<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn place(&mut self) -> io::Result<Place> {
        let bytes: [u8; 12] = self.array()?;
        let number = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        Ok(Place { offset: number(0), length: number(4), uncompressed_length: number(8) })
    }

    fn ids(&mut self, count: u32) -> io::Result<Vec<[u8; 32]>> {
        let mut ids = vec![[0; 32]; count as usize];
        for piece in ids.as_flattened_mut().chunks_mut(256 * 1024) {
            self.fill(piece)?;
        }
        Ok(ids)
    }
}

impl<W: Write> Checked<W> {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hasher.update(bytes);
        self.inner.write_all(bytes)
    }
}

/// Writes a cache.
pub(super) fn encode(
    inner: impl Write,
    repository: &RepositoryId,
    files: &HashSet<IndexId>,
    base: &Base,
) -> io::Result<()> {
    let mut out = Checked { inner, hasher: crc32fast::Hasher::new() };
    out.put(&MAGIC)?;
    out.put(&repository.0)?;
    for count in [files.len(), base.packs.len(), base.data.ids.len(), base.trees.ids.len()] {
        out.put(&u32::try_from(count).map_err(|_| io::ErrorKind::FileTooLarge)?.to_le_bytes())?;
    }
    files.iter().try_for_each(|id| out.put(&id.0))?;
    for pack in &base.packs {
        out.put(&pack.id.0)?;
        out.put(&pack.length.to_le_bytes())?;
    }
    for column in [&base.data, &base.trees] {
        out.put(column.ids.as_flattened())?;
        column.packs.iter().try_for_each(|pack| out.put(&pack.to_le_bytes()))?;
        for place in &column.places {
            let numbers = [place.offset, place.length, place.uncompressed_length];
            numbers.iter().try_for_each(|number| out.put(&number.to_le_bytes()))?;
        }
    }
    let checksum = out.hasher.clone().finalize();
    out.inner.write_all(&checksum.to_le_bytes())?;
    out.inner.flush()
}
