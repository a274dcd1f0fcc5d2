//! One file's contents beside the ids of the blobs that a snapshot names.

use std::ffi::OsStr;
use std::io::Read;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::Comparison;
use crate::error::Result;
use crate::id::{BlobHandle, BlobId, BlobKind};
use crate::limits::READ_STEP;
use crate::monitor::Progress;
use crate::source::meta::describe;
use crate::source::walk::OpenFile;
use crate::tree::Node;

/// The memory that contents are read into.
#[derive(Default)]
pub(super) struct Contents {
    piece: Vec<u8>,
}

/// What a comparison of contents found.
enum Found {
    Same,
    Other,
    /// A blob is in no index: how long it is, is not known.
    Unknown,
}

impl Comparison<'_, '_> {
    /// Compares a file of the same size and time; `other` is what else about it differs.
    pub(super) fn compare_contents(
        &mut self,
        path: &Path,
        name: &OsStr,
        node: &Node,
        now: &Node,
        other: Option<&str>,
    ) -> Result<()> {
        self.checker.monitor.current(path);
        let Some(frame) = self.stack.last() else { return Ok(()) };
        let read = frame.folder.open_file(name).map(|mut opened| {
            let blobs = node.content.as_deref().unwrap_or_default();
            self.read(&mut opened, blobs).map(|found| found.map(|found| (found, opened)))
        });
        let (found, opened) = match read.unwrap_or_else(|error| Ok(Err(error)))? {
            Ok(read) => read,
            Err(error) => {
                self.unreadable(path, error);
                return Ok(());
            }
        };
        // What was written while it was read is no damage.
        let after = rustix::fs::fstat(&opened.file).ok();
        let after = after.map(|stat| describe(name, &stat, &self.owners));
        let is_still =
            after.is_some_and(|after| (after.size, after.mtime, after.ctime) == (now.size, now.mtime, now.ctime));
        match found {
            _ if !is_still => self.changed(path, node, "it is being modified"),
            Found::Other => self.rotten(path, node, now),
            Found::Same | Found::Unknown => {
                self.summary.files += u64::from(matches!(found, Found::Same));
                self.summary.bytes += if matches!(found, Found::Same) { node.size } else { 0 };
                if let Some(other) = other {
                    self.changed(path, node, other);
                }
            }
        }
        self.checker.monitor.progress(&Progress { files: 1, ..Progress::default() });
        Ok(())
    }

    /// Reads a file blob by blob until one differs; the outer error is one that ends the verification.
    fn read(&mut self, opened: &mut OpenFile, blobs: &[BlobId]) -> Result<std::io::Result<Found>> {
        for id in blobs {
            let handle = BlobHandle { kind: BlobKind::Data, id: *id };
            let Some(at) = self.checker.repository.index().get(&handle) else { return Ok(Ok(Found::Unknown)) };
            let mut left = at.contents_length();
            let mut hash = Sha256::new();
            while left > 0 {
                self.checker.gate.check()?;
                let step = usize::try_from(left).unwrap_or(READ_STEP).min(READ_STEP);
                self.contents.piece.resize(step, 0);
                let read = match opened.file.read(&mut self.contents.piece) {
                    Ok(0) => return Ok(Ok(Found::Other)),
                    Ok(read) => read,
                    Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                    Err(error) => return Ok(Err(error)),
                };
                hash.update(&self.contents.piece[..read]);
                left -= read as u64;
                self.checker.monitor.progress(&Progress { bytes: read as u64, ..Progress::default() });
            }
            if hash.finalize()[..] != id.0 {
                return Ok(Ok(Found::Other));
            }
        }
        Ok(Ok(Found::Same))
    }
}
