//! Files with several names: the first that is met is restored, the others are linked to it.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::batch::{FileJob, restore_files};
use super::session::Session;
use super::target::Target;
use crate::error::Result;
use crate::tree::Node;

/// What is known about files with several names.
#[derive(Default)]
pub(super) struct Links {
    /// Further names of files in the batch, or of ones that are there.
    held_back: Vec<(FileJob, LinkKey)>,
    /// Where the first name of a file with several is.
    firsts: HashMap<LinkKey, First>,
}

/// What tells that two entries are names of one file: never the number alone, since folders from several machines may
/// have been put together.
type LinkKey = (u64, u64, [u8; 32]);

/// The first name of a file with several.
struct First {
    /// Its folder, which is not held open: there may be any number of them.
    folder: PathBuf,
    name: OsString,
    /// Whether it is there; else it is in a batch, or failed.
    done: bool,
}

impl Links {
    /// Takes a further name of a file; gives back the first, and what has only one.
    fn hold_back(&mut self, job: FileJob) -> Option<FileJob> {
        if job.node.links <= 1 || job.node.inode == 0 {
            return Some(job);
        }
        let key = link_key(&job.node);
        if self.firsts.contains_key(&key) {
            self.held_back.push((job, key));
            return None;
        }
        self.firsts.insert(key, First { folder: job.target.path().to_path_buf(), name: job.name.clone(), done: false });
        Some(job)
    }

    /// Restores files, and keeps in mind where further names of them can be linked to.
    fn restore_batch(&mut self, session: &Session<'_>, jobs: Vec<FileJob>) -> Result<()> {
        for (job, done) in restore_files(session, jobs)? {
            if done && job.node.links > 1 {
                let first = First { folder: job.target.path().to_path_buf(), name: job.name, done };
                self.firsts.insert(link_key(&job.node), first);
            }
        }
        Ok(())
    }

    /// Restores a batch, and after it the further names of files; where the first could not be, the next takes its part.
    pub(super) fn restore(&mut self, session: &Session<'_>, root: &Arc<Target>, jobs: Vec<FileJob>) -> Result<()> {
        let jobs = jobs.into_iter().filter_map(|job| self.hold_back(job)).collect();
        self.restore_batch(session, jobs)?;
        let is_there = |(job, _): &(FileJob, LinkKey)| job.target.look(&job.name).is_ok_and(|there| there.is_some());
        // What is there is compared and perhaps replaced, as any file is.
        let (there, mut links): (Vec<_>, Vec<_>) = std::mem::take(&mut self.held_back).into_iter().partition(is_there);
        self.restore_batch(session, there.into_iter().map(|(job, _)| job).collect())?;
        while !links.is_empty() {
            links.retain(|(job, key)| !self.link(session, root, job, key));
            let mut firsts = HashSet::new();
            let (next, later): (Vec<_>, Vec<_>) = links.into_iter().partition(|(_, key)| firsts.insert(*key));
            self.restore_batch(session, next.into_iter().map(|(job, _)| job).collect())?;
            links = later;
        }
        Ok(())
    }

    /// Makes a further name of a file that is there; returns whether that was possible.
    fn link(&self, session: &Session<'_>, root: &Arc<Target>, job: &FileJob, key: &LinkKey) -> bool {
        let Some(first) = self.firsts.get(key).filter(|first| first.done) else { return false };
        let Ok(folders) = first.folder.strip_prefix(root.path()) else { return false };
        let mut folder = root.clone();
        for name in folders {
            match folder.existing_child(name) {
                Ok(child) => folder = Arc::new(child),
                Err(_) => return false,
            }
        }
        let linked = folder.link_to(&first.name, &job.target, &job.name).is_ok();
        if linked {
            session.restored_file(job.node.size, job.node.size);
        }
        linked
    }
}

fn link_key(node: &Node) -> LinkKey {
    let mut contents = Sha256::new();
    for id in node.content.iter().flatten() {
        contents.update(id.0);
    }
    (node.device_id, node.inode, contents.finalize().into())
}
