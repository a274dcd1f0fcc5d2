//! What each source held, and whether that is plausible: a drive that is not mounted looks like an empty folder.

use std::path::Path;

use serde_json::{Value, json};

use crate::error::{Class, Error};
use crate::monitor::ItemFailure;
use crate::snapshot::{Snapshot, Summary};

/// The key of what we add to a snapshot's summary.
const OURS: &str = "backupd";

/// What a source held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct SourceCount {
    pub(super) files: u64,
    pub(super) bytes: u64,
    /// The device it is on, as long as the machine runs.
    pub(super) device: Option<u64>,
    /// The file system it is on, which for most stays the same when devices are numbered anew.
    pub(super) file_system: Option<u64>,
}

impl SourceCount {
    /// Returns what a source held in a snapshot, if we made that.
    fn before(snapshot: &Snapshot, path: &Path) -> Option<Self> {
        let sources = snapshot.summary.as_ref()?.others.get(OURS)?.get("sources")?.as_array()?;
        let path = path.display().to_string();
        let source = sources.iter().find(|source| source.get("path").and_then(Value::as_str) == Some(&path))?;
        let number = |name: &str| source.get(name).and_then(Value::as_u64);
        let (files, bytes) = (number("files")?, number("bytes")?);
        Some(Self { files, bytes, file_system: number("file_system"), ..Self::default() })
    }

    /// Says what about a source looks as if a drive were missing, compared with the parent snapshot.
    pub(super) fn suspicions(&self, path: &Path, parent: &Snapshot) -> Vec<ItemFailure> {
        let Some(before) = Self::before(parent, path).filter(|_| self.device.is_some()) else { return Vec::new() };
        let mut suspicions = Vec::new();
        // A source that was missing last time had no device.
        if before.file_system.is_some() && before.file_system != self.file_system {
            suspicions.push(suspicious(path, "is on another device than last time"));
        }
        if self.files < before.files.div_ceil(2) || self.bytes < before.bytes.div_ceil(2) {
            let problem = format!(
                "is less than half of what it was: {} files of {} bytes, last time {} of {} bytes",
                self.files, self.bytes, before.files, before.bytes
            );
            suspicions.push(suspicious(path, &problem));
        }
        suspicions
    }
}

/// Writes down what each source held, so that the next backup notices one that shrank.
pub(super) fn record<'p>(summary: &mut Summary, sources: impl Iterator<Item = (&'p Path, SourceCount)>) {
    let counts = sources.map(|(path, count)| {
        let SourceCount { files, bytes, file_system, .. } = count;
        json!({ "path": path.display().to_string(), "files": files, "bytes": bytes, "file_system": file_system })
    });
    summary.others.insert(OURS.to_owned(), json!({ "sources": counts.collect::<Vec<_>>() }));
}

/// Returns which file system a path is on.
pub(super) fn file_system(path: &Path) -> Option<u64> {
    rustix::fs::statvfs(path).ok().map(|file_system| file_system.f_fsid)
}

/// The report of a source that is not there.
pub(super) fn missing(path: &Path, error: &Error) -> ItemFailure {
    match error {
        Error::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => suspicious(path, "is missing"),
        _ => ItemFailure::new(path, error),
    }
}

/// The report of a source that looks as if a drive were missing.
pub(super) fn suspicious(path: &Path, problem: &str) -> ItemFailure {
    let mut failure = ItemFailure::with(path, Class::Transient, format!("the source {} {problem}", path.display()));
    failure.advice = "Check that its drive is connected and mounted; earlier snapshots have what was there.".to_owned();
    failure
}
