//! A thread that reads, cuts, hashes and seals.

use crossbeam_channel::{Receiver, Sender, TryRecvError, select};

use super::buffers::Buffer;
use super::building::{FolderChange, SaveTree};
use super::file::ChunkTask;
use super::queue::Batch;
use super::session::Session;
use super::tally::Tally;
use crate::blob::Sealer;
use crate::error::Result;
use crate::id::{BlobId, BlobKind};

/// Where a worker's tasks come from.
#[derive(Clone)]
pub(super) struct Tasks {
    pub(super) files: Receiver<Batch>,
    pub(super) chunks: Receiver<ChunkTask>,
    /// Takes chunks of a large file for whoever is idle.
    pub(super) to_others: Sender<ChunkTask>,
    /// Is disconnected when there is nothing more to do.
    pub(super) stopped: Receiver<()>,
}

/// What one thread needs to store files.
pub(super) struct Worker<'s, 'a> {
    pub(super) session: &'s Session<'a>,
    pub(super) sealer: Sealer,
    pub(super) tally: Tally,
    /// Memory for small files.
    pub(super) small: Buffer,
}

impl<'s, 'a> Worker<'s, 'a> {
    pub(super) fn new(session: &'s Session<'a>) -> Result<Self> {
        Ok(Self { session, sealer: session.saver.sealer()?, tally: Tally::default(), small: Buffer::default() })
    }

    /// Does tasks until there are none left, and says what is not said by then.
    pub(super) fn run_and_say(&mut self, tasks: &Tasks) -> Result<()> {
        let done = self.run(tasks);
        self.say();
        done
    }

    fn run(&mut self, tasks: &Tasks) -> Result<()> {
        loop {
            // Chunks first: each one holds memory.
            match tasks.chunks.try_recv() {
                Ok(task) => {
                    self.store_chunk(task)?;
                    continue;
                }
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => {}
            }
            self.say_before_waiting(tasks);
            select! {
                recv(tasks.chunks) -> task => if let Ok(task) = task { self.store_chunk(task)? },
                recv(tasks.files) -> batch => match batch {
                    Ok(batch) => batch.into_iter().try_for_each(|task| self.store_file(task, tasks))?,
                    // The walk is over; chunks may still come.
                    Err(_) => return self.run_chunks(tasks),
                },
                recv(tasks.stopped) -> _ => return Ok(()),
            }
        }
    }

    /// Says what was done if there may be nothing to do for a while.
    fn say_before_waiting(&mut self, tasks: &Tasks) {
        if tasks.files.is_empty() && tasks.chunks.is_empty() {
            self.say();
        }
    }

    fn run_chunks(&mut self, tasks: &Tasks) -> Result<()> {
        loop {
            self.say_before_waiting(tasks);
            select! {
                recv(tasks.chunks) -> task => if let Ok(task) = task { self.store_chunk(task)? },
                recv(tasks.stopped) -> _ => return Ok(()),
            }
        }
    }

    /// Stores a piece of a file and returns its id.
    pub(super) fn store_data(&mut self, data: &[u8]) -> Result<BlobId> {
        self.session.know_index()?;
        let saved = self.session.saver.save(BlobKind::Data, data, &mut self.sealer)?;
        if !saved.new {
            self.tally.progress.bytes_known += data.len() as u64;
        }
        Ok(saved.id)
    }
}

impl SaveTree for Worker<'_, '_> {
    fn save_tree(&mut self, tree: &[u8]) -> Result<BlobId> {
        if let Some(known) = self.session.recorded.known_tree(tree) {
            return Ok(known);
        }
        self.session.know_index()?;
        Ok(self.session.saver.save(BlobKind::Tree, tree, &mut self.sealer)?.id)
    }

    fn folder_done(&mut self, change: FolderChange) {
        let counts = &mut self.tally.counts;
        *match change {
            FolderChange::New => &mut counts.folders_new,
            FolderChange::Changed => &mut counts.folders_changed,
            FolderChange::Unmodified => &mut counts.folders_unmodified,
        } += 1;
        self.tally.progress.folders += 1;
    }

    fn top_done(&mut self, tree: BlobId) {
        // What this thread did is part of what is finished.
        self.say();
        self.session.finish(tree);
    }
}
