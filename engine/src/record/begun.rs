//! The note of what a backup has stored that is not over: where the next one finds it.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::code::{Reader, put_number};
use super::head::{put_texts, read_paths};
use crate::id::{BlobId, RepositoryId};
use crate::limits::RECORDS_MAX;

/// The first bytes; the number is the form's, and any other form is as good as none.
const MAGIC: [u8; 16] = *b"backupd begun 1\n";

/// How the name of such a file ends.
const ENDING: &str = "begun";

/// What a backup has stored that is not over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Begun {
    /// A hash of what was asked for.
    pub(crate) key: [u8; 32],
    pub(crate) repository: RepositoryId,
    /// The top of the trees of what is stored.
    pub(crate) tree: BlobId,
    /// When that backup began, in seconds since 1970.
    pub(crate) seconds: u64,
    /// Files in it that the snapshot before does not have like that.
    pub(crate) files: u64,
    /// Bytes of these files.
    pub(crate) bytes: u64,
    /// What could not be stored, or not wholly.
    pub(crate) doubts: Vec<PathBuf>,
}

impl Begun {
    /// Encodes the note.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        for id in [self.key, self.repository.0, self.tree.0] {
            out.extend_from_slice(&id);
        }
        for number in [self.seconds, self.files, self.bytes] {
            put_number(&mut out, number);
        }
        put_texts(&mut out, &self.doubts.iter().map(|path| path.as_os_str().as_bytes()).collect::<Vec<_>>());
        out.extend_from_slice(&crc32fast::hash(&out).to_le_bytes());
        out
    }

    /// Decodes a note; total over all bytes.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (body, crc) = bytes.split_last_chunk::<4>()?;
        (crc32fast::hash(body) == u32::from_le_bytes(*crc)).then_some(())?;
        let mut reader = Reader::new(body);
        (reader.array()? == MAGIC).then_some(())?;
        let begun = Self {
            key: reader.array()?,
            repository: RepositoryId(reader.array()?),
            tree: BlobId(reader.array()?),
            seconds: reader.number()?,
            files: reader.number()?,
            bytes: reader.number()?,
            doubts: read_paths(&mut reader)?,
        };
        (reader.left() == 0).then_some(begun)
    }

    /// Reads the note of a key.
    pub(crate) fn read(folder: &Path, key: &[u8; 32]) -> Option<Self> {
        Self::decode(&fs::read(path(folder, key)).ok()?).filter(|begun| begun.key == *key)
    }

    /// Puts the note in the place of the one before.
    ///
    /// # Errors
    /// The operating system's.
    pub(crate) fn write(&self, folder: &Path) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let path = path(folder, &self.key);
        let temporary = path.with_extension("begun-tmp");
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        io::Write::write_all(&mut &file, &self.encode())?;
        fs::rename(&temporary, &path)?;
        clean_up(folder);
        Ok(())
    }

    /// Removes the note of a key. One that stays does no harm.
    pub(crate) fn remove(folder: &Path, key: &[u8; 32]) {
        let _ = fs::remove_file(path(folder, key));
    }
}

/// Removes the notes that were written longest ago: of what is not backed up any more.
fn clean_up(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    let paths = entries.flatten().map(|entry| entry.path());
    let notes = paths.filter(|path| path.extension().is_some_and(|extension| extension == ENDING));
    let mut notes: Vec<_> =
        notes.map(|path| (fs::metadata(&path).and_then(|found| found.modified()).ok(), path)).collect();
    notes.sort();
    let old = notes.len().saturating_sub(RECORDS_MAX);
    notes.drain(..old).for_each(|(_, path)| _ = fs::remove_file(path));
}

fn path(folder: &Path, key: &[u8; 32]) -> PathBuf {
    folder.join(format!("{}.{ENDING}", hex::encode(&key[..16])))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begun(key: u8) -> Begun {
        Begun {
            key: [key; 32],
            repository: RepositoryId([2; 32]),
            tree: BlobId([3; 32]),
            seconds: 1_795_000_000,
            files: 300,
            bytes: 5,
            doubts: vec![PathBuf::from("/a/b"), PathBuf::from("/c")],
        }
    }

    #[test]
    fn a_note_comes_back_and_one_that_is_cut_or_bent_is_none() {
        let bytes = begun(1).encode();
        assert_eq!(Begun::decode(&bytes), Some(begun(1)));
        for at in 0..bytes.len() {
            let mut bent = bytes.clone();
            bent[at] ^= 1;
            assert_eq!((Begun::decode(&bytes[..at]), Begun::decode(&bent)), (None, None), "at {at}");
        }
    }

    #[test]
    fn each_key_has_its_note_and_there_is_a_bound() {
        let folder = tempfile::tempdir().unwrap();
        for key in 0..=u8::try_from(RECORDS_MAX).unwrap() {
            begun(key).write(folder.path()).unwrap();
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), RECORDS_MAX);
        let there: Vec<u8> = (0..=255).filter(|key| Begun::read(folder.path(), &[*key; 32]).is_some()).collect();
        assert_eq!(there.len(), RECORDS_MAX);
        Begun::remove(folder.path(), &[there[0]; 32]);
        assert_eq!(Begun::read(folder.path(), &[there[0]; 32]), None);
    }
}
