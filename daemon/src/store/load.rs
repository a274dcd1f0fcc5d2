//! Opening a store: finds the truth among checkpoints and journal files, and brings the copy in sled in line.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::checkpoint::{self, Contents};
use super::journal::{self, Flaw, JournalWriter};
use super::queue::{Found, Queue};
use super::writer::{Writer, apply};
use super::{Loaded, files};
use crate::error::{Error, Result};

/// Name of sled's folder inside the store's.
const QUEUE_FOLDER: &str = "queue";

/// What could be read of checkpoints and journal.
#[derive(Default)]
struct Truth {
    contents: Contents,
    sequence: u64,
    /// Sequence of the checkpoint it starts from.
    checkpointed: u64,
    /// The journal file to go on with, and where it ends.
    last: Option<(PathBuf, u64)>,
    /// Files that are not what was written.
    damaged: Vec<PathBuf>,
    /// Records that should be there and are not.
    is_incomplete: bool,
    notices: Vec<String>,
}

/// Opens the store in a folder.
pub(super) fn open(folder: &Path, stamp: &str) -> Result<(Writer, Loaded)> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(Error::io("create", folder))?;
    let mut truth = read_truth(folder)?;
    let (mut queue, found) = open_queue(&folder.join(QUEUE_FOLDER), stamp, &mut truth.notices)?;
    salvage(&mut truth, found);
    queue.replace(&truth.contents, truth.sequence);
    let is_damaged = truth.is_incomplete || !truth.damaged.is_empty();
    let journal = match truth.last.take().filter(|_| !is_damaged) {
        Some((path, length)) => JournalWriter::open(&path, length)?,
        None => {
            if is_damaged {
                // What could be read is made safe before the files it came from are moved.
                truth.sequence += 1;
                checkpoint::write(folder, truth.sequence, &truth.contents)?;
                truth.checkpointed = truth.sequence;
                set_damaged_aside(&mut truth, stamp)?;
            }
            JournalWriter::create(folder, truth.sequence + 1)?
        }
    };
    let loaded = Loaded {
        contents: truth.contents.clone(),
        sequence: truth.sequence,
        notices: std::mem::take(&mut truth.notices),
    };
    let writer = Writer {
        folder: folder.to_path_buf(),
        journal,
        queue,
        contents: truth.contents,
        sequence: truth.sequence,
        checkpointed: truth.checkpointed,
        bytes: 0,
        fence: None,
    };
    Ok((writer, loaded))
}

fn read_truth(folder: &Path) -> Result<Truth> {
    let mut truth = Truth::default();
    for sequence in files::numbered(folder, "checkpoint-", ".dat")?.into_iter().rev() {
        let path = files::checkpoint_path(folder, sequence);
        if let Some((sequence, contents)) = checkpoint::read(&path)? {
            truth.contents = contents;
            truth.sequence = sequence;
            truth.checkpointed = sequence;
            break;
        }
        truth.damaged.push(path);
    }
    for first in files::numbered(folder, "journal-", ".log")? {
        replay(&mut truth, &files::journal_path(folder, first))?;
    }
    Ok(truth)
}

/// Applies one journal file to what is known so far.
fn replay(truth: &mut Truth, path: &Path) -> Result<()> {
    let reading = journal::read(path)?;
    for record in reading.records {
        if record.sequence <= truth.sequence {
            continue;
        }
        if record.sequence > truth.sequence + 1 {
            truth.is_incomplete = true;
            truth.notices.push(format!(
                "the journal lacks its records {} to {}",
                truth.sequence + 1,
                record.sequence - 1
            ));
        }
        apply(&mut truth.contents, &record.changes);
        truth.sequence = record.sequence;
    }
    match reading.flaw {
        Flaw::None => {}
        Flaw::Torn => tracing::info!(path = %path.display(), "the last write before the stop was not finished"),
        Flaw::Damaged => truth.damaged.push(path.to_path_buf()),
    }
    truth.last = Some((path.to_path_buf(), reading.good_length));
    Ok(())
}

/// Opens sled; what cannot be opened is set aside and begun anew, and a second failure is lived with.
fn open_queue(path: &Path, stamp: &str, notices: &mut Vec<String>) -> Result<(Queue, Option<Found>)> {
    match Queue::open(path) {
        Ok((queue, found)) => Ok((queue, Some(found))),
        Err(problem) => {
            let is_there = fs::symlink_metadata(path).is_ok();
            if is_there {
                let aside = files::set_aside(path, stamp)?;
                notices.push(format!(
                    "the queue's copy could not be used ({problem}); it was set aside as {} and built anew from the journal",
                    aside.display()
                ));
            }
            match Queue::open(path) {
                Ok((queue, _)) => Ok((queue, None)),
                Err(problem) => {
                    notices.push(format!("the daemon works without its copy of the queue: {problem}"));
                    Ok((Queue::absent(), None))
                }
            }
        }
    }
}

/// Takes from sled what the journal has lost, if sled is known to hold it: when it was as far as the journal or
/// further.
fn salvage(truth: &mut Truth, found: Option<Found>) {
    let Some(found) = found else { return };
    let is_damaged = truth.is_incomplete || !truth.damaged.is_empty();
    let lost_all = truth.sequence == 0 && truth.last.is_none() && found.applied > 0;
    if !(is_damaged || lost_all) || found.applied < truth.sequence {
        return;
    }
    truth.notices.push("the lost part of the journal was taken from the queue's copy".into());
    truth.contents = found.contents;
    truth.sequence = found.applied;
    truth.is_incomplete = true;
}

fn set_damaged_aside(truth: &mut Truth, stamp: &str) -> Result<()> {
    for path in std::mem::take(&mut truth.damaged) {
        let aside = files::set_aside(&path, stamp)?;
        truth.notices.push(format!(
            "{} is damaged; what could be read of it is used, and it was set aside as {}",
            path.display(),
            aside.display()
        ));
    }
    Ok(())
}
