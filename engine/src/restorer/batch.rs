//! A batch of files: what is there is compared, what is missing is read from packs by several threads, and each file
//! takes its name when it is whole.
//!
//! A file is written under a hidden name that only its owner may read, and renamed when its contents and metadata are
//! complete. A later attempt finds what an interrupted one has written, checks it chunk by chunk, and fetches the rest.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use super::file::Work;
use super::plan::{NeededBlob, Plan, Read};
use super::session::{Session, Tools};
use super::target::Target;
use crate::blob::Opener;
use crate::error::{Error, Result};
use crate::storage::{FileKind, FileName};
use crate::tree::Node;

/// A file that is to be restored.
pub(super) struct FileJob {
    pub(super) target: Arc<Target>,
    pub(super) name: OsString,
    pub(super) node: Node,
}

impl FileJob {
    pub(super) fn path(&self) -> PathBuf {
        self.target.path().join(&self.name)
    }
}

/// Restores a batch; returns for each file whether it is now there and right.
pub(super) fn restore_files(session: &Session<'_>, jobs: Vec<FileJob>) -> Result<Vec<(FileJob, bool)>> {
    let works: Vec<Work> = jobs.into_iter().map(Work::new).collect();
    let plan = Mutex::new(Plan::default());
    session.parallel(works.len(), |_, number| works[number].prepare(session, number, &plan))?;
    let reads = plan.into_inner().unwrap_or_else(PoisonError::into_inner).reads(session.options.thread_count());
    session.parallel(reads.len(), |tools, number| fetch(session, tools, &works, &reads[number]))?;
    Ok(works.into_iter().map(Work::finish_up).collect())
}

/// Reads a range of a pack and writes each blob in it where it belongs.
fn fetch(session: &Session<'_>, tools: &mut Tools, works: &[Work], read: &Read) -> Result<()> {
    if read.blobs.iter().flat_map(|blob| &blob.uses).all(|place| works[place.file].is_failed()) {
        return Ok(());
    }
    session.gate.check()?;
    tools.make_room(read);
    let Tools { opener, range, .. } = tools;
    let name = FileName::new(FileKind::Pack, read.pack.0);
    // No blob is longer than one may be, and several are read at once only if they are short.
    let length = usize::try_from(read.length).unwrap_or(usize::MAX);
    let is_read = session.repository.storage().read_range_into(&name, read.offset, length, range).is_ok();
    for blob in &read.blobs {
        let opened = if is_read { open(session, opener, blob, read, range).ok() } else { None };
        match opened {
            Some(contents) => write(session, works, blob, Ok(contents)),
            // The storage may have given wrong bytes this once, another pack may have a good copy, and a part of the
            // range may be readable.
            None => {
                let contents = session.repository.read_blob(opener, &blob.handle);
                write(session, works, blob, contents.as_deref());
            }
        }
    }
    Ok(())
}

fn open<'a>(
    session: &Session<'_>,
    opener: &'a mut Opener,
    blob: &NeededBlob,
    read: &Read,
    bytes: &[u8],
) -> Result<&'a [u8]> {
    let start = usize::try_from(u64::from(blob.location.offset) - read.offset).unwrap_or(usize::MAX);
    let sealed = bytes.get(start..start.saturating_add(blob.location.length as usize)).unwrap_or_default();
    opener.open(session.repository.key(), &blob.handle, &blob.location, sealed)
}

/// Writes a blob where it belongs, or says why that was not possible.
fn write(session: &Session<'_>, works: &[Work], blob: &NeededBlob, contents: Result<&[u8], &Error>) {
    for place in &blob.uses {
        let work = &works[place.file];
        match contents {
            Ok(contents) => work.write(session, contents, place.offset),
            Err(error) => work.fail(session, error),
        }
        work.chunk_done(session);
    }
}
