//! One file of a batch: what of it is there, what is fetched, and how it takes its name.

use std::fs::File;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::FileType;

use super::batch::FileJob;
use super::chunks::{Chunk, chunks, copy_chunk, hold_one_of, right_chunks};
use super::plan::{Plan, Use};
use super::session::Session;
use super::unnamed;
use crate::error::{Error, Result};
use crate::monitor::Progress;
use crate::source::handle::Place;
use crate::source::sparse::{write_sparse, write_zeros};

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
    /// Whether the part is only made when the file's one chunk has come: most files have one, and then few are open.
    late: bool,
    /// Whether the part has no name yet, not even a hidden one.
    unnamed: bool,
    replaces: bool,
    /// Whether the part was there before, and may hold anything.
    used: bool,
    length: u64,
    done: bool,
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
            Err(error) => {
                self.job.target.remove_part(&self.job.name);
                self.fail(session, &error);
            }
        }
        self.chunk_done(session);
        Ok(())
    }

    /// Returns the chunks to fetch, or `None` if nothing more happens with the file.
    fn decide(&self, session: &Session<'_>) -> Result<Option<Vec<Chunk>>> {
        let (chunks, length) = chunks(session, &self.job.node)?;
        let path = self.job.path();
        let there = self.job.target.look_for(&self.job.name).map_err(Error::io("look at", &path))?;
        let Some(there) = there else {
            if chunks.len() == 1 && !self.job.target.may_have_part(&self.job.name) {
                let mut state = self.state();
                (state.late, state.length) = (true, length);
                return Ok(Some(chunks));
            }
            return self.begin(session, chunks, length, None).map(Some);
        };
        let may_replace = session.may_replace(&self.job.node, &self.job.target, &there);
        let mut existing = None;
        let has_length = u64::try_from(there.st_size).ok() == Some(length);
        let is_of_use = has_length || may_replace;
        if is_of_use && FileType::from_raw_mode(there.st_mode) == FileType::RegularFile {
            match self.job.target.open_file(&self.job.name) {
                Ok(file) => {
                    let right = right_chunks(session, &file, &chunks)?;
                    if has_length && right.iter().all(|right| *right) {
                        self.keep_same(session, &file, length);
                        return Ok(None);
                    }
                    existing = Some((file, right));
                }
                // Whoever may replace it need not be able to read it.
                Err(error) if may_replace && error.kind() == std::io::ErrorKind::PermissionDenied => {}
                Err(error) => return Err(Error::io("read", &path)(error)),
            }
        }
        if !may_replace {
            session.kept(&path);
            self.failed.store(true, Ordering::Relaxed);
            return Ok(None);
        }
        self.state().replaces = true;
        self.begin(session, chunks, length, existing).map(Some)
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
            let _held = hold_one_of(session, &chunks);
            for (number, chunk) in chunks.iter().enumerate() {
                if right[number] && !written[number] {
                    written[number] = copy_chunk(file, &part, chunk).map_err(Error::io("copy", &path))?;
                }
            }
        }
        let there: u64 =
            chunks.iter().zip(&written).filter(|(_, written)| **written).map(|(chunk, _)| chunk.length()).sum();
        session.progress(&Progress { bytes: there, bytes_unchanged: there, ..Progress::default() });
        let mut state = self.state();
        (state.part, state.used, state.length) = (Some(Arc::new(part)), used, length);
        drop(state);
        Ok(chunks.into_iter().zip(written).filter(|(_, written)| !written).map(|(chunk, _)| chunk).collect())
    }

    /// The file that is there has the right contents.
    fn keep_same(&self, session: &Session<'_>, file: &File, length: u64) {
        if session.may_touch() {
            session.apply(&self.job.node, Place::Open(file.as_fd()), &self.job.path());
        }
        session.restored_file(length, length);
        self.done(session, length);
    }

    pub(super) fn write(&self, session: &Session<'_>, contents: &[u8], offset: u64) {
        if self.is_failed() {
            return;
        }
        if let Err(error) = self.make_late(session, contents) {
            return self.fail(session, &Error::io("create", self.job.path())(error));
        }
        let (part, used) = {
            let state = self.state();
            (state.part.clone(), state.used)
        };
        let Some(part) = part else { return };
        let zeroed = if used { write_zeros(&part, offset..offset + contents.len() as u64) } else { Ok(()) };
        match zeroed.and_then(|()| write_sparse(&part, contents, offset)) {
            Ok(()) => session.progress(&Progress { bytes: contents.len() as u64, ..Progress::default() }),
            Err(error) => {
                // On a full device, the room of a file that does not fit is that of the others.
                let _ = part.set_len(0);
                self.fail(session, &Error::io("write", self.job.path())(error));
            }
        }
    }

    /// Makes the part of a file whose one chunk has come.
    fn make_late(&self, session: &Session<'_>, contents: &[u8]) -> std::io::Result<()> {
        let mut state = self.state();
        if !std::mem::take(&mut state.late) {
            return Ok(());
        }
        let unnamed = session.unnamed.then(|| unnamed::create(&self.job.target)).and_then(Result::ok);
        state.unnamed = unnamed.is_some();
        let file = unnamed.map_or_else(|| self.job.target.new_part(&self.job.name), Ok)?;
        let part = state.part.insert(Arc::new(file)).clone();
        // What does not end with zeros gets its length when it is written.
        let ends_itself = contents.last().is_some_and(|last| *last != 0) && contents.len() as u64 == state.length;
        if ends_itself { Ok(()) } else { part.set_len(state.length) }
    }

    /// Counts off a chunk, or the preparation; whoever comes last finishes the file.
    pub(super) fn chunk_done(&self, session: &Session<'_>) {
        if self.missing.fetch_sub(1, Ordering::AcqRel) > 1 {
            return;
        }
        let (part, unnamed, replaces, length) = {
            let mut state = self.state();
            (state.part.take(), state.unnamed, state.replaces, state.length)
        };
        let Some(part) = part else { return };
        if self.is_failed() {
            self.job.target.remove_part(&self.job.name);
            return;
        }
        session.apply(&self.job.node, Place::Open(part.as_fd()), &self.job.path());
        let (target, name) = (&self.job.target, &self.job.name);
        let named =
            if unnamed { unnamed::name(&part, target, name) } else { session.take_name(target, name, replaces) };
        match named {
            Ok(()) => {
                session.restored_file(length, 0);
                self.done(session, length);
            }
            Err(error) => {
                self.job.target.remove_part(&self.job.name);
                self.fail(session, &Error::io("create", self.job.path())(error));
            }
        }
    }

    /// The file is there with all that is stored of it, which may not be all that there was.
    fn done(&self, session: &Session<'_>, length: u64) {
        self.state().done = true;
        let path = self.job.path();
        if length != self.job.node.size {
            let problem = format!("{length} of its {} bytes are stored; they were restored", self.job.node.size);
            session.item_error(&path, &Error::damaged(path.display().to_string(), problem));
        }
    }

    /// Reports that the file could not be restored; only the first reason.
    pub(super) fn fail(&self, session: &Session<'_>, error: &Error) {
        if !self.failed.swap(true, Ordering::Relaxed) {
            session.item_error(&self.job.path(), error);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        guard(&self.state)
    }

    pub(super) fn is_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    pub(super) fn finish_up(self) -> (FileJob, bool) {
        let (done, part) = {
            let mut state = self.state();
            (state.done, state.part.take())
        };
        // Of a file that failed, not every chunk is fetched, so that nobody may have come last.
        if part.is_some() {
            self.job.target.remove_part(&self.job.name);
        }
        (self.job, done)
    }
}

fn guard<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic while one is held ends the restore.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
