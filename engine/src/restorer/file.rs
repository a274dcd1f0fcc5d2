//! One file of a batch: what of it is there, what is fetched, and how it takes its name.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::FileType;

use super::batch::FileJob;
use super::options::Action;
use super::plan::{Plan, Use};
use super::session::Session;
use super::target::{Target, kept_name};
use crate::error::{Error, Result};
use crate::id::{BlobHandle, BlobId, BlobKind};
use crate::index::Location;
use crate::monitor::Progress;
use crate::source::handle::Place;
use crate::source::sparse::{write_sparse, write_zeros};
use crate::tree::Node;

/// A file of the batch while it is restored.
pub(super) struct Work {
    job: FileJob,
    state: Mutex<State>,
    failed: AtomicBool,
    /// Chunks that are not written yet, and one more while it is not known which are.
    missing: AtomicUsize,
}

#[derive(Default)]
struct State {
    part: Option<Arc<File>>,
    replaces: bool,
    /// Whether the part was there before, and may hold anything.
    used: bool,
    length: u64,
    done: bool,
}

/// A chunk of a file: where it goes, and where it is.
struct Chunk {
    id: BlobId,
    offset: u64,
    location: Location,
}

impl Work {
    pub(super) fn new(job: FileJob) -> Self {
        Self { job, state: Mutex::default(), failed: AtomicBool::new(false), missing: AtomicUsize::new(1) }
    }

    /// Decides what happens with the file, and adds to the plan what has to be fetched for it.
    pub(super) fn prepare(&self, session: &Session<'_>, number: usize, plan: &Mutex<Plan>) -> Result<()> {
        session.gate.check()?;
        session.monitor.current(&self.job.path());
        match self.decide(session) {
            Ok(Some(missing)) => {
                self.missing.fetch_add(missing.len(), Ordering::Relaxed);
                let mut plan = guard(plan);
                for chunk in missing {
                    plan.add(chunk.id, chunk.location, Use { file: number, offset: chunk.offset });
                }
            }
            Ok(None) => {}
            Err(error @ (Error::Cancelled | Error::Suspended)) => return Err(error),
            Err(error) => self.fail(session, &error),
        }
        self.chunk_done(session);
        Ok(())
    }

    /// Returns the chunks to fetch, or `None` if nothing more happens with the file.
    fn decide(&self, session: &Session<'_>) -> Result<Option<Vec<Chunk>>> {
        let (chunks, length) = chunks_of(session, &self.job.node)?;
        let path = self.job.path();
        let there = self.job.target.look(&self.job.name).map_err(Error::io("look at", &path))?;
        let is_file = there.is_some_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile);
        let mut right = vec![false; chunks.len()];
        let mut existing = None;
        if let Some(stat) = there.filter(|_| is_file) {
            let file = self.job.target.open_file(&self.job.name).map_err(Error::io("read", &path))?;
            right = right_chunks(session, &file, &chunks)?;
            if u64::try_from(stat.st_size).ok() == Some(length) && right.iter().all(|right| *right) {
                self.keep_same(session, &file, length);
                return Ok(None);
            }
            existing = Some(file);
        }
        if there.is_some() && !session.may_replace(&self.job.node, there.as_ref()) {
            session.kept(&path);
            self.failed.store(true, Ordering::Relaxed);
            return Ok(None);
        }
        if there.is_some() && !is_file {
            self.job.target.remove(&self.job.name).map_err(Error::io("replace", &path))?;
        }
        self.begin(session, chunks, length, existing.map(|file| (file, right))).map(Some)
    }

    /// Opens the part, and takes over what is right in it and in the file that is replaced.
    fn begin(
        &self,
        session: &Session<'_>,
        chunks: Vec<Chunk>,
        length: u64,
        existing: Option<(File, Vec<bool>)>,
    ) -> Result<Vec<Chunk>> {
        let path = self.job.path();
        let part = self.job.target.open_part(&self.job.name).map_err(Error::io("create", &path))?;
        let used = part.metadata().map_err(Error::io("look at", &path))?.len() > 0;
        let mut written = if used { right_chunks(session, &part, &chunks)? } else { vec![false; chunks.len()] };
        part.set_len(length).map_err(Error::io("write", &path))?;
        if let Some((file, right)) = &existing {
            for (number, chunk) in chunks.iter().enumerate() {
                if right[number] && !written[number] {
                    written[number] = copy_chunk(file, &part, chunk).map_err(Error::io("copy", &path))?;
                }
            }
        }
        let there: u64 =
            chunks.iter().zip(&written).filter(|(_, written)| **written).map(|(chunk, _)| chunk.length()).sum();
        session.progress(&Progress { bytes: there, bytes_unchanged: there, ..Progress::default() });
        *guard(&self.state) =
            State { part: Some(Arc::new(part)), replaces: existing.is_some(), used, length, done: false };
        Ok(chunks.into_iter().zip(written).filter(|(_, written)| !written).map(|(chunk, _)| chunk).collect())
    }

    /// The file that is there has the right contents.
    fn keep_same(&self, session: &Session<'_>, file: &File, length: u64) {
        if session.may_touch() {
            session.apply(&self.job.node, Place::Open(file.as_fd()), &self.job.path());
        }
        session.restored_file(length, length);
        guard(&self.state).done = true;
    }

    pub(super) fn write(&self, session: &Session<'_>, contents: &[u8], offset: u64) {
        let (part, used) = {
            let state = guard(&self.state);
            (state.part.clone(), state.used)
        };
        let Some(part) = part.filter(|_| !self.is_failed()) else { return };
        let zeroed = if used { write_zeros(&part, offset..offset + contents.len() as u64) } else { Ok(()) };
        match zeroed.and_then(|()| write_sparse(&part, contents, offset)) {
            Ok(()) => session.progress(&Progress { bytes: contents.len() as u64, ..Progress::default() }),
            Err(error) => self.fail(session, &Error::io("write", self.job.path())(error)),
        }
    }

    /// Counts off a chunk, or the preparation; whoever comes last finishes the file.
    pub(super) fn chunk_done(&self, session: &Session<'_>) {
        if self.missing.fetch_sub(1, Ordering::AcqRel) > 1 {
            return;
        }
        let (part, replaces, length) = {
            let mut state = guard(&self.state);
            (state.part.take(), state.replaces, state.length)
        };
        let Some(part) = part else { return };
        if self.is_failed() {
            self.job.target.remove_part(&self.job.name);
            return;
        }
        session.apply(&self.job.node, Place::Open(part.as_fd()), &self.job.path());
        match self.take_name(session, replaces) {
            Ok(()) => {
                session.restored_file(length, 0);
                guard(&self.state).done = true;
            }
            Err(error) => {
                self.job.target.remove_part(&self.job.name);
                self.fail(session, &Error::io("create", self.job.path())(error));
            }
        }
    }

    fn take_name(&self, session: &Session<'_>, replaces: bool) -> std::io::Result<()> {
        let FileJob { target, name, .. } = &self.job;
        if !replaces {
            return target.finish_new(name);
        }
        let mut keep = None;
        if session.options.keep_replaced {
            for number in 1.. {
                let candidate = kept_name(name, number);
                if target.look(&candidate)?.is_none() {
                    keep = Some(candidate);
                    break;
                }
            }
        }
        target.finish_replacing(name, keep.as_deref())
    }

    /// Reports that the file could not be restored; only the first reason.
    pub(super) fn fail(&self, session: &Session<'_>, error: &Error) {
        if !self.failed.swap(true, Ordering::Relaxed) {
            session.item_error(&self.job.path(), error);
        }
    }

    pub(super) fn is_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    pub(super) fn finish_up(self) -> (FileJob, bool) {
        let done = guard(&self.state).done;
        (self.job, done)
    }
}

impl Chunk {
    fn length(&self) -> u64 {
        self.location.contents_length()
    }

    /// Returns the chunk's place in a file if that has the right bytes there.
    fn read_from(&self, file: &File) -> Option<Vec<u8>> {
        let mut bytes = vec![0; crate::blob::check_length(self.length()).ok()?];
        file.read_exact_at(&mut bytes, self.offset).ok()?;
        (BlobId::of(&bytes) == self.id).then_some(bytes)
    }
}

/// Returns which chunks are in a file already.
fn right_chunks(session: &Session<'_>, file: &File, chunks: &[Chunk]) -> Result<Vec<bool>> {
    let length = file.metadata().map_or(0, |metadata| metadata.len());
    let is_right = |chunk: &Chunk| {
        session.gate.check()?;
        Ok(chunk.offset.saturating_add(chunk.length()) <= length && chunk.read_from(file).is_some())
    };
    chunks.iter().map(is_right).collect()
}

/// Copies a chunk if it is still right.
fn copy_chunk(from: &File, to: &File, chunk: &Chunk) -> std::io::Result<bool> {
    let Some(bytes) = chunk.read_from(from) else { return Ok(false) };
    write_zeros(to, chunk.offset..chunk.offset + bytes.len() as u64)?;
    write_sparse(to, &bytes, chunk.offset)?;
    Ok(true)
}

/// Says what would happen with a file, without changing anything.
pub(super) fn plan_file(session: &Session<'_>, target: Option<&Target>, name: &OsStr, node: &Node) -> Result<Action> {
    let Some(target) = target else { return Ok(Action::Create) };
    let path = target.path().join(name);
    let Some(stat) = target.look(name).map_err(Error::io("look at", &path))? else { return Ok(Action::Create) };
    if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile {
        let (chunks, length) = chunks_of(session, node)?;
        let file = target.open_file(name).map_err(Error::io("read", &path))?;
        let right = right_chunks(session, &file, &chunks)?;
        if u64::try_from(stat.st_size).ok() == Some(length) && right.iter().all(|right| *right) {
            return Ok(Action::Same);
        }
    }
    Ok(if session.may_replace(node, Some(&stat)) { Action::Replace } else { Action::Keep })
}

/// Returns where a file's chunks go and are, and how long it is.
fn chunks_of(session: &Session<'_>, node: &Node) -> Result<(Vec<Chunk>, u64)> {
    let index = session.repository.index();
    let mut offset = 0_u64;
    let mut chunks = Vec::new();
    for id in node.content.iter().flatten() {
        let handle = BlobHandle { kind: BlobKind::Data, id: *id };
        let location = index.get(&handle).ok_or_else(|| session.repository.unknown_blob(&handle))?;
        chunks.push(Chunk { id: *id, offset, location });
        offset = offset.saturating_add(location.contents_length());
    }
    Ok((chunks, offset))
}

fn guard<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic while one is held ends the restore.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
