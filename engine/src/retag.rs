//! Other tags for a snapshot: it is written anew under another id, as `restic tag` does, and the old file is removed.

use crate::error::{Error, Result};
use crate::id::SnapshotId;
use crate::lock::Lock;
use crate::snapshot::Snapshot;
use crate::storage::{FileKind, FileName};

/// Changes a snapshot's tags, and returns its new id and what it is now. The new file is there before the old one goes; what
/// its trees name stays named all the time, so that a shared lock is enough. `original` names its first form.
///
/// # Errors
/// [`Error::Misuse`] if the repository is append-only; [`Error::NotFound`]; the storage's own.
pub fn retag(lock: &Lock, id: SnapshotId, change: impl FnOnce(&mut Vec<String>)) -> Result<(SnapshotId, Snapshot)> {
    let repository = lock.repository();
    if repository.config().append_only == Some(true) {
        let place = repository.location();
        return Err(Error::misuse(format!("the repository at {place} is append-only: no snapshot in it is changed")));
    }
    let name = FileName::new(FileKind::Snapshot, id.0);
    let mut snapshot: Snapshot = repository.read_json(&name)?;
    let before = snapshot.tags.clone();
    change(&mut snapshot.tags);
    if snapshot.tags == before {
        return Ok((id, snapshot));
    }
    snapshot.original = Some(snapshot.lineage(id));
    let sealed = repository.seal_file(&snapshot)?;
    lock.confirm()?;
    repository.write_file(FileKind::Snapshot, &sealed)?;
    repository.storage().remove(&name)?;
    Ok((SnapshotId::of(&sealed), snapshot))
}
