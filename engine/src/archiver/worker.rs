//! A thread that reads, cuts, hashes and seals.

use crossbeam_channel::{Receiver, Sender, TryRecvError, select};

use super::building::{FolderChange, SaveTree};
use super::file::{ChunkTask, FileTask};
use super::session::Session;
use crate::blob::Sealer;
use crate::error::Result;
use crate::id::{BlobId, BlobKind};
use crate::monitor::Progress;

/// Where a worker's tasks come from.
#[derive(Clone)]
pub(super) struct Tasks {
    pub(super) files: Receiver<FileTask>,
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
}

impl<'s, 'a> Worker<'s, 'a> {
    pub(super) fn new(session: &'s Session<'a>) -> Result<Self> {
        Ok(Self { session, sealer: session.saver.sealer()? })
    }

    /// Does tasks until there are none left.
    pub(super) fn run(&mut self, tasks: &Tasks) -> Result<()> {
        loop {
            // Chunks first: each one holds memory.
            match tasks.chunks.try_recv() {
                Ok(task) => {
                    self.store_chunk(task)?;
                    continue;
                }
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => {}
            }
            select! {
                recv(tasks.chunks) -> task => if let Ok(task) = task { self.store_chunk(task)? },
                recv(tasks.files) -> task => match task {
                    Ok(task) => self.store_file(task, tasks)?,
                    // The walk is over; chunks may still come.
                    Err(_) => return self.run_chunks(tasks),
                },
                recv(tasks.stopped) -> _ => return Ok(()),
            }
        }
    }

    fn run_chunks(&mut self, tasks: &Tasks) -> Result<()> {
        loop {
            select! {
                recv(tasks.chunks) -> task => if let Ok(task) = task { self.store_chunk(task)? },
                recv(tasks.stopped) -> _ => return Ok(()),
            }
        }
    }

    /// Stores a piece of a file and returns its id.
    pub(super) fn store_data(&mut self, data: &[u8]) -> Result<BlobId> {
        let saved = self.session.saver.save(BlobKind::Data, data, &mut self.sealer)?;
        if !saved.new {
            self.session.monitor.progress(&Progress { bytes_known: data.len() as u64, ..Progress::default() });
        }
        Ok(saved.id)
    }
}

impl SaveTree for Worker<'_, '_> {
    fn save_tree(&mut self, tree: &[u8]) -> Result<BlobId> {
        Ok(self.session.saver.save(BlobKind::Tree, tree, &mut self.sealer)?.id)
    }

    fn folder_done(&mut self, change: FolderChange) {
        self.session.folder_done(change);
    }

    fn top_done(&mut self, tree: BlobId) {
        self.session.finish(tree);
    }
}
