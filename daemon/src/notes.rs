//! Why snapshots were made, and for whom: one small file for each repository in the state folder.
//!
//! Other programs drop what they do not know when they rewrite a snapshot, but keep which one it was first. Notes are kept
//! under the id of that first form.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use backup_engine::Repository;
use backup_engine::id::SnapshotId;
use backup_engine::snapshot::Snapshot;
use backup_proto::note::Note;

use crate::error::{Error, Result};
use crate::store::files::write_whole;
use crate::store::mend::{decode_checked, encode_checked};

/// With more notes than this, those of snapshots that are gone are dropped before one is added.
const NOTES_MANY: usize = 1000;

/// The notes of one repository's snapshots.
pub struct Notes {
    path: PathBuf,
    notes: BTreeMap<String, Note>,
}

impl Notes {
    /// Reads the notes in this state folder. What is missing or damaged is none.
    #[must_use]
    pub fn read(state: &Path, repository: &Repository) -> Self {
        let path = state.join("notes").join(format!("{}.json", repository.id()));
        let value = fs::read(&path).ok().and_then(|bytes| decode_checked(&bytes));
        Self { path, notes: value.and_then(|value| serde_json::from_value(value).ok()).unwrap_or_default() }
    }

    /// Returns what is noted of a snapshot, whoever has rewritten it since.
    #[must_use]
    pub fn get(&self, id: SnapshotId, snapshot: &Snapshot) -> Option<Note> {
        self.notes.get(&snapshot.lineage(id).to_string()).cloned()
    }

    /// Notes why a snapshot was made.
    ///
    /// # Errors
    /// The state folder cannot be written.
    pub fn add(&mut self, id: &str, note: Note, repository: &Repository) -> Result<()> {
        if self.notes.len() >= NOTES_MANY
            && let Ok(listed) = repository.snapshots()
        {
            let is_there = |noted: &String| listed.list.iter().any(|(id, one)| one.lineage(*id).to_string() == *noted);
            self.notes.retain(|noted, _| is_there(noted));
        }
        self.notes.insert(id.to_owned(), note);
        let folder = self.path.parent().unwrap_or(Path::new("/"));
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(Error::io("create", folder))?;
        let value = serde_json::to_value(&self.notes).map_err(|error| Error::io("write", &self.path)(error.into()))?;
        write_whole(&self.path, &encode_checked(&value))
    }
}
