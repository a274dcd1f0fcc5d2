//! A storage of which nothing is changed, for dry runs: what is written is counted by whoever writes it, and goes nowhere.

use std::sync::Arc;

use super::{Body, FileKind, FileName, MemoryStorage, Storage};
use crate::error::{Error, Result};

/// Where the locks of a dry run are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DryLocks {
    /// In the repository, so that nobody removes what the run looks at.
    Shown,
    /// In memory: for a repository that cannot be written at all, because it is full or write-protected. Nobody else sees
    /// them.
    Hidden,
}

/// A wrapper of a storage that takes whatever is written and keeps nothing of it but locks.
///
/// What was written can be neither listed nor read: a pack that was only counted must not count as being there.
pub(crate) struct DryStorage {
    inner: Arc<dyn Storage>,
    hidden: Option<MemoryStorage>,
}

impl DryStorage {
    pub(crate) fn new(inner: Arc<dyn Storage>, locks: DryLocks) -> Self {
        Self { inner, hidden: (locks == DryLocks::Hidden).then(MemoryStorage::new) }
    }

    /// Returns where a lock is written.
    fn locks(&self) -> &dyn Storage {
        self.hidden.as_ref().map_or(&*self.inner, |hidden| hidden)
    }
}

impl Storage for DryStorage {
    fn location(&self) -> String {
        self.inner.location()
    }

    fn shows_at_once(&self) -> bool {
        self.inner.shows_at_once()
    }

    fn create(&self) -> Result<()> {
        Ok(())
    }

    fn list(&self, kind: FileKind) -> Result<Vec<(FileName, u64)>> {
        let mut files = self.inner.list(kind)?;
        if let Some(hidden) = self.hidden.as_ref().filter(|_| kind == FileKind::Lock) {
            files.extend(hidden.list(kind)?);
        }
        Ok(files)
    }

    fn length(&self, name: &FileName) -> Result<u64> {
        match self.hidden.as_ref().filter(|_| name.kind == FileKind::Lock).map(|hidden| hidden.length(name)) {
            None | Some(Err(Error::NotFound { .. })) => self.inner.length(name),
            Some(length) => length,
        }
    }

    fn read(&self, name: &FileName) -> Result<Vec<u8>> {
        match self.hidden.as_ref().filter(|_| name.kind == FileKind::Lock).map(|hidden| hidden.read(name)) {
            None | Some(Err(Error::NotFound { .. })) => self.inner.read(name),
            Some(read) => read,
        }
    }

    fn read_range(&self, name: &FileName, offset: u64, length: usize) -> Result<Vec<u8>> {
        self.inner.read_range(name, offset, length)
    }

    fn read_range_into(&self, name: &FileName, offset: u64, length: usize, buffer: &mut Vec<u8>) -> Result<()> {
        self.inner.read_range_into(name, offset, length, buffer)
    }

    fn write(&self, name: &FileName, body: &mut dyn Body) -> Result<()> {
        if name.kind == FileKind::Lock {
            return self.locks().write(name, body);
        }
        // The body is what passes the gate: a dry run pauses where a real one does.
        while body.next_slice()?.is_some() {}
        Ok(())
    }

    fn remove(&self, name: &FileName) -> Result<()> {
        if name.kind == FileKind::Lock { self.locks().remove(name) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::Bytes;

    #[test]
    fn only_locks_get_through_and_hidden_ones_do_not_either() {
        let inner = MemoryStorage::new();
        let pack = FileName::new(FileKind::Pack, [1; 32]);
        let lock = FileName::new(FileKind::Lock, [2; 32]);
        inner.write(&pack, &mut Bytes::new(b"there")).unwrap();
        let count = |storage: &dyn Storage, kind| storage.list(kind).unwrap().len();
        for (locks, shown) in [(DryLocks::Shown, 1), (DryLocks::Hidden, 0)] {
            let dry = DryStorage::new(Arc::new(inner.clone()), locks);
            for kind in FileKind::ALL {
                dry.write(&FileName::new(kind, [2; 32]), &mut Bytes::new(b"new")).unwrap();
            }
            dry.remove(&pack).unwrap();
            let others = FileKind::ALL.into_iter().filter(|kind| *kind != FileKind::Lock);
            assert_eq!(others.map(|kind| count(&inner, kind)).sum::<usize>(), 1, "{locks:?}");
            assert_eq!(dry.read(&pack).unwrap(), b"there");
            assert_eq!((count(&inner, FileKind::Lock), count(&dry, FileKind::Lock)), (shown, 1), "{locks:?}");
            assert_eq!(dry.read(&lock).unwrap(), b"new");
            dry.remove(&lock).unwrap();
            assert_eq!((count(&inner, FileKind::Lock), count(&dry, FileKind::Lock)), (0, 0), "{locks:?}");
        }
    }
}
