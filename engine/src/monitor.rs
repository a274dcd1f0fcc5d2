//! The one way up: what an operation tells its caller while it runs.

use std::path::{Path, PathBuf};

use crate::error::{Class, Error, Result, advice_for};
use crate::id::{BlobHandle, PackId, SnapshotId};
use crate::retention::Judged;

/// How far an operation has come, or by how much it came further; all counts since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Files finished.
    pub files: u64,
    /// Folders finished.
    pub folders: u64,
    /// Backup: bytes of files looked at. Restore: bytes now right in the destination. Verify: stored bytes checked.
    pub bytes: u64,
    /// The part of `bytes` that needed no reading because the file did not change (restore: was there already).
    pub bytes_unchanged: u64,
    /// The part of `bytes` that was read and found to be stored already.
    pub bytes_known: u64,
    /// By how much the repository grew.
    pub bytes_stored: u64,
}

impl Progress {
    /// Adds another count to this one.
    pub fn add(&mut self, other: &Self) {
        self.files += other.files;
        self.folders += other.folders;
        self.bytes += other.bytes;
        self.bytes_unchanged += other.bytes_unchanged;
        self.bytes_known += other.bytes_known;
        self.bytes_stored += other.bytes_stored;
    }
}

/// One item that could not be done, or not wholly; the rest went on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ItemFailure {
    /// The file, folder or object.
    pub path: PathBuf,
    /// Why, for programs.
    pub class: Class,
    /// Why, for people: one sentence.
    pub message: String,
    /// What to do about it: one sentence.
    pub advice: String,
}

impl ItemFailure {
    /// Makes a failure from an error on a path.
    #[must_use]
    pub fn new(path: &Path, error: &Error) -> Self {
        Self {
            path: path.to_path_buf(),
            class: error.class(),
            message: error.to_string(),
            advice: error.advice().to_owned(),
        }
    }

    /// Makes a failure of a class with words of its own.
    #[must_use]
    pub fn with(path: &Path, class: Class, message: impl Into<String>) -> Self {
        Self { path: path.to_path_buf(), class, message: message.into(), advice: advice_for(class).to_owned() }
    }
}

/// One blob's place in a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackedBlob {
    /// Kind and id of the blob.
    pub handle: BlobHandle,
    /// Where its sealed bytes start in the pack, in bytes.
    pub offset: u32,
    /// Length of its sealed bytes.
    pub length: u32,
    /// Length of its contents if they were compressed.
    pub uncompressed_length: Option<u32>,
}

/// A pack that is about to be written: everything that is needed to adopt it after a crash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackRecord {
    /// The pack's id, the SHA-256 of its bytes.
    pub id: PackId,
    /// Its length in bytes.
    pub length: u64,
    /// What is in it.
    pub blobs: Vec<PackedBlob>,
}

/// What a restore does with one entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlannedAction {
    /// It is made.
    Create,
    /// It takes the place of one that differs.
    Replace,
    /// The one that is there is right.
    Same,
    /// The one that is there differs and is kept.
    Keep,
    /// It is not in the snapshot and is removed.
    Delete,
}

/// What a restore would do with one entry: a line of a dry run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedItem {
    /// Where.
    pub path: PathBuf,
    /// What.
    pub action: PlannedAction,
    /// Length of a file in bytes.
    pub bytes: u64,
}

/// How an entry on the disk differs from a snapshot's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DifferenceKind {
    /// It was changed since.
    Changed,
    /// Only the snapshot has it.
    Missing,
    /// Only the disk has it.
    Extra,
    /// Its contents differ although nothing says that it was written.
    Rotten,
}

/// An entry that is another on the disk than in a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Where.
    pub path: PathBuf,
    /// How.
    pub kind: DifferenceKind,
    /// Length of a file in bytes: in the snapshot, or where only the disk has it, there.
    pub bytes: u64,
    /// The same for people, as the rest of a sentence that begins with the path.
    pub how: String,
}

/// Receives what an operation has to say while it runs. Every method has a default that ignores it.
///
/// Methods are called from several threads and must return quickly.
pub trait Monitor: Send + Sync {
    /// Says by how much the operation came further.
    fn progress(&self, _delta: &Progress) {}

    /// Says how much there is to do in all, as soon as that is known: files and bytes.
    fn total(&self, _files: u64, _bytes: u64) {}

    /// Says, once for each run, that the files a first backup has met so far have more bytes than its target has free.
    fn outgrows(&self, _bytes: u64, _free: u64) {}

    /// Names the file that is being worked on.
    fn current(&self, _path: &Path) {}

    /// Reports an item that could not be done. Every one is reported.
    fn item_failed(&self, _failure: ItemFailure) {}

    /// Says what a restore would do with an entry, in a dry run; of every one, in order.
    fn planned(&self, _item: PlannedItem) {}

    /// Names an entry that is another on the disk than in a snapshot.
    fn differs(&self, _difference: Difference) {}

    /// Says something worth knowing that is no failure, once for each run: a sentence.
    fn notice(&self, _sentence: &str) {}

    /// Called before the first of these snapshots is removed; must be durable when it returns.
    ///
    /// # Errors
    /// An error stops the operation.
    fn forgetting(&self, _snapshots: &[SnapshotId]) -> Result<()> {
        Ok(())
    }

    /// Says what became of a snapshot: of each that was removed, and in a dry run what would become of every one.
    fn judged(&self, _judged: &Judged) {}

    /// Called before a pack is put into the storage; must be durable when it returns.
    ///
    /// # Errors
    /// An error stops the operation.
    fn storing(&self, _pack: &PackRecord) -> Result<()> {
        Ok(())
    }

    /// Called when every pack named so far is listed in an index that is in the storage.
    fn indexed(&self) {}
}

/// A monitor that ignores everything.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Monitor for Silent {}
