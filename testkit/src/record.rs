//! A storage that writes down every call, so that a test can state what an operation costs without timing it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use backup_engine::error::Result;
use backup_engine::storage::{Body, FileKind, FileName, Storage};

/// The operations of a storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// [`Storage::create`], which has no kind of file; counted as the config's.
    Create,
    /// [`Storage::list`].
    List,
    /// [`Storage::read`].
    Read,
    /// [`Storage::read_range`].
    ReadRange,
    /// [`Storage::write`].
    Write,
    /// [`Storage::remove`].
    Remove,
}

/// How often each operation was called for each kind of file.
pub type Counts = BTreeMap<(Operation, FileKind), u64>;

/// A wrapper of a storage that counts the calls. Clones share the counts.
#[derive(Clone)]
pub struct RecordingStorage {
    inner: Arc<dyn Storage>,
    counts: Arc<Mutex<Counts>>,
}

impl RecordingStorage {
    /// Wraps a storage.
    #[must_use]
    pub fn new(inner: Arc<dyn Storage>) -> Self {
        Self { inner, counts: Arc::default() }
    }

    /// Returns the counts since the last time, and starts again from zero.
    #[must_use]
    pub fn take(&self) -> Counts {
        std::mem::take(&mut self.lock())
    }

    fn count(&self, operation: Operation, kind: FileKind) {
        *self.lock().entry((operation, kind)).or_default() += 1;
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        // One addition is never left half done by a panic elsewhere.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Storage for RecordingStorage {
    fn location(&self) -> String {
        self.inner.location()
    }

    fn create(&self) -> Result<()> {
        self.count(Operation::Create, FileKind::Config);
        self.inner.create()
    }

    fn list(&self, kind: FileKind) -> Result<Vec<(FileName, u64)>> {
        self.count(Operation::List, kind);
        self.inner.list(kind)
    }

    fn read(&self, name: &FileName) -> Result<Vec<u8>> {
        self.count(Operation::Read, name.kind);
        self.inner.read(name)
    }

    fn read_range(&self, name: &FileName, offset: u64, length: usize) -> Result<Vec<u8>> {
        self.count(Operation::ReadRange, name.kind);
        self.inner.read_range(name, offset, length)
    }

    fn write(&self, name: &FileName, body: &mut dyn Body) -> Result<()> {
        self.count(Operation::Write, name.kind);
        self.inner.write(name, body)
    }

    fn remove(&self, name: &FileName) -> Result<()> {
        self.count(Operation::Remove, name.kind);
        self.inner.remove(name)
    }
}

#[cfg(test)]
mod tests {
    use backup_engine::storage::{Bytes, MemoryStorage};

    use super::*;

    #[test]
    fn counts_each_call_once_and_starts_again() {
        let storage = RecordingStorage::new(Arc::new(MemoryStorage::new()));
        let name = FileName::new(FileKind::Index, [1; 32]);
        storage.write(&name, &mut Bytes::new(b"content")).unwrap();
        assert_eq!(storage.read(&name).unwrap(), b"content");
        assert_eq!(storage.read_range(&name, 1, 2).unwrap(), b"on");
        storage.list(FileKind::Pack).unwrap();
        storage.remove(&name).unwrap();
        let expected = [
            ((Operation::List, FileKind::Pack), 1),
            ((Operation::Read, FileKind::Index), 1),
            ((Operation::ReadRange, FileKind::Index), 1),
            ((Operation::Write, FileKind::Index), 1),
            ((Operation::Remove, FileKind::Index), 1),
        ];
        assert_eq!(storage.take(), expected.into());
        assert_eq!(storage.take(), Counts::new());
    }
}
