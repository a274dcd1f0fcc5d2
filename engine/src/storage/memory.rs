//! A storage in memory, for tests and for trying things out.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Body, FileKind, FileName, Storage, not_found, too_short};
use crate::error::Result;

/// A [`Storage`] that keeps its files in memory. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct MemoryStorage {
    files: Arc<Mutex<BTreeMap<FileName, Arc<[u8]>>>>,
}

impl MemoryStorage {
    /// Makes an empty storage.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns a copy that later changes of this one do not reach.
    #[must_use]
    pub fn snapshot(&self) -> Self {
        Self { files: Arc::new(Mutex::new(self.lock().clone())) }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<FileName, Arc<[u8]>>> {
        // Every change is one call on the map: a panic elsewhere cannot leave it half done.
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, name: &FileName) -> Result<Arc<[u8]>> {
        self.lock().get(name).cloned().ok_or_else(|| not_found(&self.location(), name))
    }
}

impl Storage for MemoryStorage {
    fn location(&self) -> String {
        "memory".to_owned()
    }

    fn shows_at_once(&self) -> bool {
        true
    }

    fn create(&self) -> Result<()> {
        Ok(())
    }

    fn list(&self, kind: FileKind) -> Result<Vec<(FileName, u64)>> {
        let files = self.lock();
        Ok(files.iter().filter(|(name, _)| name.kind == kind).map(|(name, file)| (*name, file.len() as u64)).collect())
    }

    fn length(&self, name: &FileName) -> Result<u64> {
        self.get(name).map(|file| file.len() as u64)
    }

    fn read(&self, name: &FileName) -> Result<Vec<u8>> {
        Ok(self.get(name)?.to_vec())
    }

    fn read_range(&self, name: &FileName, offset: u64, length: usize) -> Result<Vec<u8>> {
        let file = self.get(name)?;
        let range = usize::try_from(offset).ok().and_then(|start| Some(start..start.checked_add(length)?));
        match range.and_then(|range| file.get(range)) {
            Some(bytes) => Ok(bytes.to_vec()),
            None => Err(too_short(&self.location(), name, offset, length)),
        }
    }

    fn write(&self, name: &FileName, body: &mut dyn Body) -> Result<()> {
        let mut bytes = Vec::new();
        while let Some(slice) = body.next_slice()? {
            bytes.extend_from_slice(slice);
        }
        self.lock().insert(*name, bytes.into());
        Ok(())
    }

    fn remove(&self, name: &FileName) -> Result<()> {
        self.lock().remove(name);
        Ok(())
    }
}
