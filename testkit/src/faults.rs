//! Storage that stops after any chosen step, as a crash, a power cut or a dying target would stop it.
//!
//! [`FaultyStorage`] wraps any storage and counts its changing calls. [`PowerCut`] works below a local folder: it counts
//! the single steps (write, sync, rename, sync of the folder, removal) and afterwards takes back what was not made
//! durable. That is the harshest of the outcomes a power cut may have; file systems mostly keep more. Both are for
//! enumeration: run with step 0, 1, 2 … until a run gets through.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use backup_engine::error::{Class, Error, Result};
use backup_engine::storage::{Body, FileKind, FileName, Step, StepHook, Storage};

/// A wrapper of a storage whose changing calls fail from a chosen one on. Reading keeps working, so that what fails is
/// one thing at a time. Clones share the count.
#[derive(Clone)]
pub struct FaultyStorage {
    inner: Arc<dyn Storage>,
    class: Class,
    steps: Arc<Mutex<Steps>>,
}

#[derive(Debug)]
struct Steps {
    done: u64,
    allowed: u64,
}

impl FaultyStorage {
    /// Wraps a storage: so many changing calls succeed, every later one fails with an error of this class.
    #[must_use]
    pub fn new(inner: Arc<dyn Storage>, allowed: u64, class: Class) -> Self {
        Self { inner, class, steps: Arc::new(Mutex::new(Steps { done: 0, allowed })) }
    }

    /// Lets this many more changing calls succeed from now on.
    pub fn allow(&self, more: u64) {
        let mut steps = lock(&self.steps);
        steps.allowed = steps.done.saturating_add(more);
    }

    /// Returns how many changing calls were asked for, the failed ones too.
    #[must_use]
    pub fn steps(&self) -> u64 {
        lock(&self.steps).done
    }

    fn step(&self, what: &str) -> Result<()> {
        let mut steps = lock(&self.steps);
        steps.done += 1;
        if steps.done <= steps.allowed {
            return Ok(());
        }
        Err(Error::Storage { message: format!("the storage failed on purpose: {what}"), class: self.class })
    }
}

impl Storage for FaultyStorage {
    fn location(&self) -> String {
        self.inner.location()
    }

    fn create(&self) -> Result<()> {
        self.step("create")?;
        self.inner.create()
    }

    fn list(&self, kind: FileKind) -> Result<Vec<(FileName, u64)>> {
        self.inner.list(kind)
    }

    fn read(&self, name: &FileName) -> Result<Vec<u8>> {
        self.inner.read(name)
    }

    fn read_range(&self, name: &FileName, offset: u64, length: usize) -> Result<Vec<u8>> {
        self.inner.read_range(name, offset, length)
    }

    fn write(&self, name: &FileName, body: &mut dyn Body) -> Result<()> {
        self.step(&format!("write {name}"))?;
        self.inner.write(name, body)
    }

    fn remove(&self, name: &FileName) -> Result<()> {
        self.step(&format!("remove {name}"))?;
        self.inner.remove(name)
    }
}

/// A power cut after a chosen step below a local folder. Clones are the same power cut.
#[derive(Clone, Debug)]
pub struct PowerCut {
    disk: Arc<Mutex<Disk>>,
}

#[derive(Debug)]
struct Disk {
    steps: Steps,
    /// Files whose contents are not durable.
    unsynced: BTreeSet<PathBuf>,
    /// Names that are not durable: what was in their place before.
    renamed: BTreeMap<PathBuf, Option<Vec<u8>>>,
    /// Removals that are not durable: what was removed.
    removed: BTreeMap<PathBuf, Vec<u8>>,
}

impl PowerCut {
    /// Plans a power cut after so many steps.
    #[must_use]
    pub fn after(steps: u64) -> Self {
        let steps = Steps { done: 0, allowed: steps };
        let disk = Disk { steps, unsynced: BTreeSet::new(), renamed: BTreeMap::new(), removed: BTreeMap::new() };
        Self { disk: Arc::new(Mutex::new(disk)) }
    }

    /// Returns the hook for [`LocalStorage::with_hook`](backup_engine::storage::LocalStorage::with_hook).
    #[must_use]
    pub fn hook(&self) -> StepHook {
        let disk = self.disk.clone();
        Arc::new(move |step| lock(&disk).step(step))
    }

    /// Says whether the power was cut: a run that got through needs no further step to be tried.
    #[must_use]
    pub fn happened(&self) -> bool {
        let disk = lock(&self.disk);
        disk.steps.done > disk.steps.allowed
    }

    /// Leaves on the disk only what was durable: contents that were not synced are gone, names whose folder was not
    /// synced are taken back, and removed files are there again. Call it when the writers have ended.
    pub fn lose_what_was_not_synced(&self) {
        let mut disk = lock(&self.disk);
        for path in std::mem::take(&mut disk.unsynced) {
            // It may have been renamed or cleaned away; then there is nothing to empty.
            let _ = File::options().write(true).truncate(true).open(path);
        }
        for (path, before) in std::mem::take(&mut disk.renamed) {
            put_back(&path, before.as_deref());
        }
        for (path, contents) in std::mem::take(&mut disk.removed) {
            put_back(&path, Some(&contents));
        }
    }
}

impl Disk {
    /// Is called before each step: refuses it from the chosen one on, else remembers what it leaves unsynced.
    fn step(&mut self, step: &Step) -> io::Result<()> {
        self.steps.done += 1;
        if self.steps.done > self.steps.allowed {
            return Err(io::Error::other("the power was cut on purpose"));
        }
        match step {
            Step::Write(path) => _ = self.unsynced.insert(path.clone()),
            Step::Sync(path) => _ = self.unsynced.remove(path),
            Step::Rename(from, to) => {
                if self.unsynced.remove(from) {
                    self.unsynced.insert(to.clone());
                }
                self.renamed.entry(to.clone()).or_insert_with(|| fs::read(to).ok());
            }
            Step::SyncFolder(folder) => {
                self.renamed.retain(|path, _| path.parent() != Some(folder));
                self.removed.retain(|path, _| path.parent() != Some(folder));
            }
            Step::Remove(path) => {
                // A name that was never durable and is removed again never was.
                if self.renamed.remove(path).is_none() {
                    self.removed.extend(fs::read(path).ok().map(|contents| (path.clone(), contents)));
                }
            }
        }
        Ok(())
    }
}

fn put_back(path: &Path, contents: Option<&[u8]>) {
    let done = match contents {
        Some(contents) => fs::write(path, contents),
        None => fs::remove_file(path),
    };
    match done {
        Err(error) if error.kind() != io::ErrorKind::NotFound => panic!("cannot put back {}: {error}", path.display()),
        _ => {}
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panicking test thread has failed already; the counts are only read to end the others.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use backup_engine::storage::{Bytes, LocalStorage, MemoryStorage};

    use super::*;

    const NAME: FileName = FileName { kind: FileKind::Snapshot, id: [7; 32] };

    #[test]
    fn calls_fail_from_the_chosen_one_on_with_the_chosen_class() {
        let storage = FaultyStorage::new(Arc::new(MemoryStorage::new()), 1, Class::Full);
        storage.write(&NAME, &mut Bytes::new(b"a")).unwrap();
        assert_eq!(storage.remove(&NAME).unwrap_err().class(), Class::Full);
        assert_eq!(storage.read(&NAME).unwrap(), b"a");
        storage.allow(1);
        storage.remove(&NAME).unwrap();
        assert_eq!(storage.steps(), 3);
    }

    /// Writes a file and returns what is there after a power cut at the given step.
    fn write_and_cut(steps: u64) -> (bool, Option<Vec<u8>>) {
        let folder = tempfile::tempdir().unwrap();
        LocalStorage::new(folder.path()).create().unwrap();
        let cut = PowerCut::after(steps);
        let storage = LocalStorage::with_hook(folder.path(), cut.hook());
        let _ = storage.write(&NAME, &mut Bytes::new(b"content"));
        cut.lose_what_was_not_synced();
        (cut.happened(), storage.read(&NAME).ok())
    }

    #[test]
    fn a_name_is_there_only_after_its_folder_was_synced() {
        let whole = Some(b"content".to_vec());
        // Write, sync, rename, sync of the folder.
        let seen: Vec<_> = (0..=4).map(write_and_cut).collect();
        assert_eq!(seen, [(true, None), (true, None), (true, None), (true, None), (false, whole)]);
    }

    #[test]
    fn a_removal_without_a_synced_folder_is_taken_back() {
        let folder = tempfile::tempdir().unwrap();
        LocalStorage::new(folder.path()).create().unwrap();
        let cut = PowerCut::after(5);
        let storage = LocalStorage::with_hook(folder.path(), cut.hook());
        storage.write(&NAME, &mut Bytes::new(b"content")).unwrap();
        storage.remove(&NAME).unwrap();
        cut.lose_what_was_not_synced();
        assert_eq!(storage.read(&NAME).unwrap(), b"content");
    }
}
