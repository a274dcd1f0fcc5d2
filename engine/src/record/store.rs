//! The files of a record: opened, read block by block, appended to, and put in force.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::block::{Block, Child, Totals};
use super::compact::compact;
use super::head::Head;
use crate::limits::{RECORD_BLOCK_MAX, RECORD_WASTE_BYTES, RECORDS_MAX};
use crate::seal::fill_random;

/// How many bytes of blocks are gathered before they are written.
const GATHERED: usize = 256 * 1024;

/// A record that is there. While it is open, nobody else has it open.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) head: Head,
    data: File,
}

/// A record while it is made.
pub(crate) struct Recorder {
    folder: PathBuf,
    key: [u8; 32],
    number: u64,
    data: File,
    /// Where the gathered blocks will be.
    end: u64,
    gathered: Vec<u8>,
}

impl Record {
    /// Opens the record of a key, if there is one that is whole as far as can be told without reading all of it.
    pub(crate) fn open(folder: &Path, key: &[u8; 32]) -> Option<Self> {
        let head = Head::decode(&fs::read(head_path(folder, key)).ok()?).filter(|head| head.key == *key)?;
        let data = OpenOptions::new().read(true).write(true).open(data_path(folder, key, head.data)).ok()?;
        flock(&data, FlockOperation::NonBlockingLockExclusive).ok()?;
        (data.metadata().ok()?.len() >= head.length).then_some(Self { head, data })
    }

    /// Opens the record of a key to read it only, also beside somebody who goes on from it: what a head names is never
    /// changed, and what is appended behind that is not looked at.
    pub(crate) fn peek(folder: &Path, key: &[u8; 32]) -> Option<Self> {
        let head = Head::decode(&fs::read(head_path(folder, key)).ok()?).filter(|head| head.key == *key)?;
        let data = File::open(data_path(folder, key, head.data)).ok()?;
        (data.metadata().ok()?.len() >= head.length).then_some(Self { head, data })
    }

    /// Reads a folder's block; `None` if it is not what was written.
    pub(crate) fn read(&self, child: &Child) -> Option<Block> {
        read_block(&self.data, self.head.length, child)
    }
}

/// Reads a block that lies before an end.
pub(super) fn read_block(data: &File, end: u64, child: &Child) -> Option<Block> {
    let is_inside = child.offset.checked_add(u64::from(child.length)).is_some_and(|last| last <= end);
    (is_inside && child.length <= RECORD_BLOCK_MAX).then_some(())?;
    let mut bytes = vec![0; child.length as usize];
    data.read_exact_at(&mut bytes, child.offset).ok()?;
    (crc32fast::hash(&bytes) == child.crc).then(|| Block::decode(bytes))?
}

impl Recorder {
    /// Begins a record that goes on from another one, or a new one.
    ///
    /// # Errors
    /// The operating system's.
    pub(crate) fn begin(folder: &Path, key: [u8; 32], record: Option<&Record>) -> io::Result<Self> {
        let (number, data, end) = match record {
            Some(record) => (record.head.data, record.data.try_clone()?, record.head.length),
            None => {
                DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
                let (number, data) = new_data(folder, &key)?;
                (number, data, 0)
            }
        };
        Ok(Self { folder: folder.to_owned(), key, number, data, end, gathered: Vec::new() })
    }

    /// Adds a folder's block.
    ///
    /// # Errors
    /// The operating system's; a block that is too large is one too.
    pub(crate) fn add(&mut self, block: &[u8], totals: Totals) -> io::Result<Child> {
        let length = u32::try_from(block.len()).ok().filter(|length| *length <= RECORD_BLOCK_MAX);
        let length = length.ok_or(io::ErrorKind::FileTooLarge)?;
        if self.gathered.len() + block.len() > GATHERED {
            self.write()?;
        }
        let offset = self.end + self.gathered.len() as u64;
        self.gathered.extend_from_slice(block);
        Ok(Child { offset, length, crc: crc32fast::hash(block), totals })
    }

    /// Puts the record in force, with what else is to be known. Until then the one before is, and after a crash one of
    /// the two: no block that counts is ever changed.
    ///
    /// # Errors
    /// The operating system's.
    pub(crate) fn commit(mut self, mut head: Head) -> io::Result<()> {
        self.write()?;
        (head.data, head.length) = (self.number, self.end);
        let live: u64 = head.sources.entries().filter_map(|entry| entry.child).map(|child| child.totals.stored).sum();
        if head.length > live.saturating_mul(2).saturating_add(RECORD_WASTE_BYTES) {
            let mut fresh = Self::begin(&self.folder, self.key, None)?;
            head.sources = compact(&self.data, head.length, &head.sources, &mut fresh)?;
            fresh.write()?;
            (head.data, head.length) = (fresh.number, fresh.end);
            self.data = fresh.data;
        }
        let path = head_path(&self.folder, &self.key);
        let temporary = path.with_extension("head-tmp");
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary).and_then(|file| {
            io::Write::write_all(&mut &file, &head.encode())?;
            fs::rename(&temporary, &path)
        })?;
        clean_up(&self.folder, &data_path(&self.folder, &self.key, head.data));
        Ok(())
    }

    fn write(&mut self) -> io::Result<()> {
        self.data.write_all_at(&self.gathered, self.end)?;
        self.end += self.gathered.len() as u64;
        self.gathered.clear();
        Ok(())
    }
}

fn new_data(folder: &Path, key: &[u8; 32]) -> io::Result<(u64, File)> {
    let mut number = [0; 8];
    fill_random(&mut number).map_err(io::Error::other)?;
    let number = u64::from_le_bytes(number);
    let mut options = OpenOptions::new();
    let data = options.read(true).write(true).create_new(true).mode(0o600).open(data_path(folder, key, number))?;
    flock(&data, FlockOperation::NonBlockingLockExclusive)?;
    Ok((number, data))
}

/// Removes data that no head names and nobody is writing, and the records that were put in force longest ago. What
/// cannot be removed now is the next time.
fn clean_up(folder: &Path, current: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    let (mut heads, mut datas) = (Vec::new(), Vec::new());
    for path in entries.flatten().map(|entry| entry.path()) {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("head") => heads.push((fs::metadata(&path).and_then(|found| found.modified()).ok(), path)),
            Some("data") => datas.push(path),
            _ => {}
        }
    }
    heads.sort();
    let old = heads.len().saturating_sub(RECORDS_MAX);
    heads.drain(..old).for_each(|(_, path)| _ = fs::remove_file(path));
    let kept: Vec<PathBuf> = heads.iter().filter_map(|(_, path)| data_of(folder, path)).collect();
    for path in datas.iter().filter(|path| *path != current && !kept.contains(path)) {
        let is_free = |file: File| flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok();
        if File::open(path).is_ok_and(is_free) {
            let _ = fs::remove_file(path);
        }
    }
}

fn data_of(folder: &Path, head: &Path) -> Option<PathBuf> {
    let head = Head::decode(&fs::read(head).ok()?)?;
    Some(data_path(folder, &head.key, head.data))
}

fn head_path(folder: &Path, key: &[u8; 32]) -> PathBuf {
    folder.join(format!("{}.head", hex::encode(&key[..16])))
}

fn data_path(folder: &Path, key: &[u8; 32], number: u64) -> PathBuf {
    folder.join(format!("{}-{number:016x}.data", hex::encode(&key[..16])))
}
