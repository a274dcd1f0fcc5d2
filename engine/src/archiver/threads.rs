//! How the threads of one backup begin and end.

use std::sync::atomic::Ordering;

use crossbeam_channel::bounded;

use super::estimate::estimate;
use super::file::ChunkTask;
use super::queue::Queue;
use super::roots::Roots;
use super::session::{Session, guard};
use super::sources::SourceCount;
use super::walker::Walker;
use super::worker::{Tasks, Worker};
use crate::error::{Class, Error, Result};
use crate::id::BlobId;
use crate::snapshot::Snapshot;

impl Session<'_> {
    /// Runs the threads; returns the top's tree and what each source held.
    pub(super) fn run(&self, roots: &Roots, parent: Option<&Snapshot>) -> Result<(BlobId, Vec<SourceCount>)> {
        let (tree, sources) = self.run_threads(roots, parent);
        match tree {
            Ok(tree) => {
                self.saver.flush()?;
                Ok((tree, sources))
            }
            // Nothing more may be written.
            Err(error @ Error::LockLost { .. }) => Err(error),
            Err(error) => {
                // What was stored so far is listed, so that it is known next time; the first error is what counts.
                let _ = self.saver.flush();
                self.leave(&error);
                Err(error)
            }
        }
    }

    fn run_threads(&self, roots: &Roots, parent: Option<&Snapshot>) -> (Result<BlobId>, Vec<SourceCount>) {
        let threads = self.options.thread_count();
        let (mut files, waiting_files) = Queue::new(threads);
        let (chunks, waiting_chunks) = bounded::<ChunkTask>(threads.div_ceil(2));
        let (running, stopped) = bounded::<()>(0);
        // What an interrupted backup held says nothing about how much there is.
        let before = parent.filter(|parent| !self.options.is_interrupted(parent));
        let tasks = Tasks { files: waiting_files, chunks: waiting_chunks, to_others: chunks, stopped };
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| self.write_packs());
            let (walking, walked) = bounded(0);
            let counter = scope.spawn(move || estimate(self, &roots.sources, before, &walked));
            let workers: Vec<_> = (0..threads)
                .map(|_| {
                    let tasks = tasks.clone();
                    scope.spawn(move || self.work(&tasks))
                })
                .collect();
            drop(tasks);
            let sources = self.walk(roots, parent, &mut files);
            drop(walking);
            let tree = self.end.1.recv().unwrap_or(Err(Error::Cancelled));
            drop((running, files));
            self.ended.store(true, Ordering::Relaxed);
            for worker in workers {
                // A panic was reported as an error by the thread's guard.
                let _ = worker.join();
            }
            self.saver.close();
            let _ = (writer.join(), counter.join());
            (reason(tree, self.end.1.try_iter().filter_map(Result::err)), sources)
        })
    }

    fn walk(&self, roots: &Roots, parent: Option<&Snapshot>, files: &mut Queue) -> Vec<SourceCount> {
        let _guard = PanicGuard(self);
        let mut sources = vec![SourceCount::default(); roots.sources.len()];
        let walked = Worker::new(self)
            .and_then(|mut worker| {
                let walked = Walker::new(self, &mut worker, files, roots, &mut sources)?.run(parent);
                worker.say();
                walked
            })
            .and_then(|()| files.send());
        match walked {
            Ok(()) => {
                let (files, bytes) =
                    (sources.iter().map(|source| source.files), sources.iter().map(|source| source.bytes));
                self.monitor.total(files.sum(), bytes.sum());
            }
            Err(error) => self.fail(error),
        }
        sources
    }

    fn work(&self, tasks: &Tasks) {
        let _guard = PanicGuard(self);
        if let Err(error) = Worker::new(self).and_then(|mut worker| worker.run_and_say(tasks)) {
            self.fail(error);
        }
    }

    fn write_packs(&self) {
        let _guard = PanicGuard(self);
        let to_write = guard(&self.to_write).take();
        if let Some(to_write) = to_write
            && let Err(error) = self.saver.write_packs(to_write, |to_write| self.checkpoint(to_write))
        {
            self.fail(error);
        }
    }
}

/// Returns how a run ended, of what its threads said. The writer may fail after the last tree was handed in; and whoever
/// waited for a thread that failed is sometimes the first to say that it cannot go on, but does not know why.
fn reason(first: Result<BlobId>, later: impl Iterator<Item = Error>) -> Result<BlobId> {
    later.fold(first, |known, error| match known {
        Ok(_) | Err(Error::Cancelled) => Err(error),
        known => known,
    })
}

/// Ends the backup when a thread panics, so that the others do not wait for it.
struct PanicGuard<'s, 'a>(&'s Session<'a>);

impl Drop for PanicGuard<'_, '_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let message = "a thread of the backup ended unexpectedly; please report this".to_owned();
            self.0.fail(Error::Storage { message, class: Class::Transient });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_what_failed_and_not_who_noticed_first() {
        let said = |first, later: Vec<Error>| reason(first, later.into_iter()).map_err(|error| error.to_string());
        let tree = BlobId([1; 32]);
        let full = || Error::Storage { message: "full".to_owned(), class: Class::Full };
        let lost = || Error::Storage { message: "lost".to_owned(), class: Class::Transient };
        assert_eq!(said(Ok(tree), vec![]), Ok(tree));
        assert_eq!(said(Ok(tree), vec![full()]), Err(full().to_string()));
        assert_eq!(said(Err(full()), vec![lost(), Error::Cancelled]), Err(full().to_string()));
        assert_eq!(said(Err(Error::Cancelled), vec![Error::Cancelled, full(), lost()]), Err(full().to_string()));
        assert_eq!(said(Err(Error::Cancelled), vec![]), Err(Error::Cancelled.to_string()));
    }
}
