//! How much there is to do, for a progress bar: known from the parent snapshot, or counted by a look ahead.

use std::convert::Infallible;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crossbeam_channel::{Receiver, RecvTimeoutError, TryRecvError};

use super::need::Need;
use super::session::Session;
use super::walker::is_cache;
use crate::limits::DEPTH_MAX;
use crate::snapshot::Snapshot;
use crate::source::exclude::CACHE_TAG_NAME;
use crate::source::meta::kind_of;
use crate::source::walk::{Folder, Identity, Stat};
use crate::tree::NodeKind;

/// Tells the monitor how many files and bytes there are.
///
/// What the parent snapshot held is close enough and costs nothing. Without one, a walk that only looks runs ahead of
/// the one that stores; it leaves out what that one does, but knows no problems. When the latter is at its end, it says
/// the exact numbers; so the look ahead begins only when that takes a while, and ends with it.
pub(super) fn estimate(
    session: &Session<'_>,
    sources: &[PathBuf],
    parent: Option<&Snapshot>,
    walked: &Receiver<Infallible>,
) {
    let before = parent.and_then(|snapshot| snapshot.summary.as_ref());
    if let Some(before) = before.filter(|summary| summary.total_files_processed > 0) {
        return session.monitor.total(before.total_files_processed, before.total_bytes_processed);
    }
    if walked.recv_timeout(session.options.count_after) != Err(RecvTimeoutError::Timeout) {
        return;
    }
    let mut count = Count { session, walked, files: 0, bytes: 0, need: Need::default() };
    if sources.iter().all(|source| count.source(source)) {
        session.monitor.total(count.files, count.bytes);
    }
}

struct Count<'s, 'a> {
    session: &'s Session<'a>,
    walked: &'s Receiver<Infallible>,
    files: u64,
    bytes: u64,
    need: Need,
}

/// A folder that is being counted.
struct Frame {
    folder: Folder,
    path: PathBuf,
    names: std::vec::IntoIter<OsString>,
}

impl Count<'_, '_> {
    /// Counts a source; returns whether the backup still runs.
    fn source(&mut self, source: &Path) -> bool {
        let Ok(stat) = rustix::fs::lstat(source) else { return true };
        if kind_of(&stat) != NodeKind::Dir {
            self.file(&stat);
            return true;
        }
        let mut stack = Vec::new();
        self.push(&mut stack, Folder::open_root(source), source.to_path_buf());
        while let Some(frame) = stack.last_mut() {
            if !self.session.is_running() || self.walked.try_recv() == Err(TryRecvError::Disconnected) {
                return false;
            }
            let Some(name) = frame.names.next() else {
                stack.pop();
                continue;
            };
            let path = frame.path.join(&name);
            let Ok(stat) = frame.folder.look(&name) else { continue };
            let identity = Identity::of(&stat);
            let is_elsewhere =
                self.session.options.one_file_system && identity.device != frame.folder.identity().device;
            let is_left_out = self.session.never.contains(&identity)
                || is_elsewhere
                || self.session.options.exclude.excluded(path.as_os_str().as_bytes());
            match kind_of(&stat) {
                _ if is_left_out => {}
                NodeKind::Dir => {
                    let child = frame.folder.open_child(&name);
                    self.push(&mut stack, child, path);
                }
                NodeKind::File => self.file(&stat),
                _ => {}
            }
        }
        true
    }

    fn file(&mut self, stat: &Stat) {
        self.files += 1;
        self.bytes += u64::try_from(stat.st_size).unwrap_or(0);
        self.session.weigh(&mut self.need, stat);
    }

    fn push(&self, stack: &mut Vec<Frame>, folder: std::io::Result<Folder>, path: PathBuf) {
        // Whatever cannot be read is reported by the walk that stores.
        let Ok(folder) = folder else { return };
        let Ok(mut listing) = folder.names() else { return };
        if self.session.options.exclude_caches && is_cache(&folder, &listing.names) {
            listing.names.retain(|name| name == CACHE_TAG_NAME);
        }
        if stack.len() < DEPTH_MAX {
            stack.push(Frame { folder, path, names: listing.names.into_iter() });
        }
    }
}
