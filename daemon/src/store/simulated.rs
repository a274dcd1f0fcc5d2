//! A file system that can lose power, for tests: it knows what was made durable, and what the rest may have become.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use backup_testkit::seed::Random;

use super::disk::Op;

/// A recorded step, with names inside one folder.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Create(String),
    Write(String, u64, Vec<u8>),
    Cut(String, u64),
    Sync(String),
    SyncFolder,
    Rename(String, String),
    Remove(String),
}

impl Step {
    /// Records a step in this folder; none when it concerns the folder itself or what is not written byte by byte.
    pub(super) fn of(op: &Op<'_>, folder: &Path) -> Option<Self> {
        let name = |path: &Path| path.strip_prefix(folder).ok()?.to_str().map(str::to_owned);
        Some(match op {
            Op::Create(path) => Self::Create(name(path)?),
            Op::Write(path, at, bytes) => Self::Write(name(path)?, *at, bytes.to_vec()),
            Op::Cut(path, length) => Self::Cut(name(path)?, *length),
            Op::Sync(path) => Self::Sync(name(path)?),
            Op::SyncFolder(path) if *path == folder => Self::SyncFolder,
            Op::Rename(from, to) => Self::Rename(name(from)?, name(to)?),
            Op::Remove(path) => Self::Remove(name(path)?),
            Op::SyncFolder(_) | Op::RemoveTree(_) | Op::CreateFolder(_) => return None,
        })
    }
}

/// A file, by what is durable of it and what was done to it since.
#[derive(Clone, Debug, Default)]
struct Inode {
    durable: Vec<u8>,
    since: Vec<Step>,
}

/// A change of a name that is not durable yet.
#[derive(Clone, Debug)]
enum Naming {
    Link(String, usize),
    Rename(String, String),
    Unlink(String),
}

/// The file system.
#[derive(Clone, Debug, Default)]
pub(super) struct Simulated {
    inodes: Vec<Inode>,
    /// Names as the process sees them.
    seen: BTreeMap<String, usize>,
    /// Names that are on the disk.
    durable: BTreeMap<String, usize>,
    since: Vec<Naming>,
}

impl Simulated {
    /// Does a step.
    pub(super) fn apply(&mut self, step: &Step) {
        match step {
            Step::Create(name) => {
                let inode = *self.seen.entry(name.clone()).or_insert_with(|| {
                    self.inodes.push(Inode::default());
                    self.since.push(Naming::Link(name.clone(), self.inodes.len() - 1));
                    self.inodes.len() - 1
                });
                self.inodes[inode].since.push(Step::Cut(name.clone(), 0));
            }
            Step::Write(name, ..) | Step::Cut(name, _) => {
                let inode = self.seen[name];
                self.inodes[inode].since.push(step.clone());
            }
            Step::Sync(name) => {
                let inode = &mut self.inodes[self.seen[name]];
                let since = std::mem::take(&mut inode.since);
                since.iter().for_each(|step| write(&mut inode.durable, step, usize::MAX));
            }
            Step::SyncFolder => {
                let since = std::mem::take(&mut self.since);
                since.into_iter().for_each(|naming| name(&mut self.durable, naming));
            }
            Step::Rename(from, to) => {
                let naming = Naming::Rename(from.clone(), to.clone());
                name(&mut self.seen, naming.clone());
                self.since.push(naming);
            }
            Step::Remove(gone) => {
                name(&mut self.seen, Naming::Unlink(gone.clone()));
                self.since.push(Naming::Unlink(gone.clone()));
            }
        }
    }

    /// Writes what may be on the disk after a power cut now into a folder: what was not synced is there, not there,
    /// torn, or of the right length and full of zeros.
    pub(super) fn cut_power(&self, random: &mut Random, folder: &Path) {
        let mut names = self.durable.clone();
        let ordered = random.below(self.since.len() as u64 + 1);
        for (number, naming) in (0..).zip(&self.since) {
            // Names are journaled in their order, except that a removal may have got ahead.
            let is_early = matches!(naming, Naming::Unlink(_)) && random.below(4) == 0;
            if number < ordered || is_early {
                name(&mut names, naming.clone());
            }
        }
        for (name, inode) in names {
            fs::write(folder.join(name), self.contents(random, inode)).unwrap();
        }
    }

    fn contents(&self, random: &mut Random, inode: usize) -> Vec<u8> {
        let Inode { durable, since } = &self.inodes[inode];
        let mut bytes = durable.clone();
        for step in since {
            let Step::Write(_, at, written) = step else {
                if random.below(2) == 0 {
                    write(&mut bytes, step, 0);
                }
                continue;
            };
            match random.below(4) {
                0 => {}
                1 => write(&mut bytes, step, usize::MAX),
                2 => {
                    let torn = random.below(written.len() as u64 + 1);
                    write(&mut bytes, step, usize::try_from(torn).unwrap());
                }
                _ => bytes.resize(bytes.len().max(usize::try_from(*at).unwrap() + written.len()), 0),
            }
        }
        bytes
    }
}

/// Does a step to a file's bytes; of a write only the first so many.
fn write(bytes: &mut Vec<u8>, step: &Step, first: usize) {
    match step {
        Step::Cut(_, length) => bytes.truncate(usize::try_from(*length).unwrap()),
        Step::Write(_, at, written) => {
            let at = usize::try_from(*at).unwrap();
            let written = &written[..written.len().min(first)];
            bytes.resize(bytes.len().max(at + written.len()), 0);
            bytes[at..at + written.len()].copy_from_slice(written);
        }
        _ => {}
    }
}

fn name(names: &mut BTreeMap<String, usize>, naming: Naming) {
    match naming {
        Naming::Link(name, inode) => drop(names.insert(name, inode)),
        Naming::Rename(from, to) => {
            if let Some(inode) = names.remove(&from) {
                names.insert(to, inode);
            }
        }
        Naming::Unlink(gone) => drop(names.remove(&gone)),
    }
}

/// Returns a folder for many small files that need not outlive anything: in memory where there is such a place.
pub(super) fn fast_folder() -> tempfile::TempDir {
    let memory = PathBuf::from("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}
