//! Opening a store: finds the truth among checkpoints and journal files, and brings the copy in sled in line.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::checkpoint::{self, Contents};
use super::disk::Disk;
use super::journal::{self, Flaw, JournalWriter};
use super::queue::{Found, PATIENCE, Queue};
use super::room::Room;
use super::writer::{Writer, apply};
use super::{Loaded, files};
use crate::error::{Error, Result};

/// Name of the store's folder inside the state folder.
pub(super) const STORE_FOLDER: &str = "queue";

/// Name of sled's folder inside the store's.
pub(super) const QUEUE_FOLDER: &str = "queue";

/// Records of one history at most: none has a trillion, and there is room for eight thousand histories in the numbers
/// that JSON carries everywhere.
const EPOCH: u64 = 1 << 40;

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
    /// The highest sequence in the name of a file, readable or not.
    named: u64,
    notices: Vec<String>,
}

impl Truth {
    fn is_damaged(&self) -> bool {
        self.is_incomplete || !self.damaged.is_empty()
    }

    /// Nothing was found, neither whole nor damaged.
    fn lost_all(&self) -> bool {
        self.sequence == 0 && self.last.is_none()
    }

    /// Tells whether the copy in sled may know more.
    fn needs_copy(&self) -> bool {
        self.is_damaged() || self.lost_all()
    }
}

/// Opens the store in a folder.
pub(super) fn open(disk: &Disk, folder: &Path, stamp: &str) -> Result<(Writer, Loaded)> {
    disk.create_folder(folder)?;
    remove_unfinished(disk, folder)?;
    let mut room = Room::open(disk, folder);
    let mut truth = read_truth(folder)?;
    let shortage = room.look(false);
    // On a full disk sled can only be read, and that is worth it when there is something to learn from it.
    let gave_up_queue = shortage.is_some() && !truth.needs_copy();
    let queue = if gave_up_queue { Queue::absent() } else { begin_queue(folder, stamp, &mut truth)? };
    let journal = match go_on(disk, folder, stamp, &mut truth) {
        Ok(journal) => Some(journal),
        Err(error) if error.is_full() => {
            truth.notices.push(format!("nothing can be stored until there is room: {error}"));
            None
        }
        Err(error) => return Err(error),
    };
    let loaded = Loaded {
        contents: truth.contents.clone(),
        sequence: truth.sequence,
        notices: std::mem::take(&mut truth.notices),
        shortage,
    };
    let writer = Writer {
        disk: disk.clone(),
        folder: folder.to_path_buf(),
        stamp: stamp.to_owned(),
        room,
        journal,
        queue,
        contents: truth.contents,
        sequence: truth.sequence,
        checkpointed: truth.checkpointed,
        bytes: 0,
        gave_up_queue,
        fence: None,
    };
    Ok((writer, loaded))
}

/// Makes ready to write behind what was read.
fn go_on(disk: &Disk, folder: &Path, stamp: &str, truth: &mut Truth) -> Result<JournalWriter> {
    let is_damaged = truth.is_damaged();
    if let Some((path, length)) = truth.last.take().filter(|_| !is_damaged) {
        return JournalWriter::open(disk, &path, length);
    }
    if is_damaged {
        // What could be read is made safe before the files it came from are moved.
        truth.sequence = after_all(truth.sequence.max(truth.named));
        checkpoint::write(disk, folder, truth.sequence, &truth.contents)?;
        truth.checkpointed = truth.sequence;
        set_damaged_aside(truth, stamp)?;
    }
    JournalWriter::create(disk, folder, truth.sequence + 1)
}

/// Removes what was written beside its place when the daemon ended; nothing relies on it.
fn remove_unfinished(disk: &Disk, folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder).map_err(Error::io("list", folder))? {
        let path = entry.map_err(Error::io("list", folder))?.path();
        if path.extension().is_some_and(|extension| extension == "tmp") && path.is_file() {
            disk.remove(&path)?;
        }
    }
    Ok(())
}

/// Reads what checkpoints and journal of a store hold, without changing anything; none when that is not all.
pub(super) fn read_whole(folder: &Path) -> Result<Option<(Contents, u64)>> {
    let truth = read_truth(folder)?;
    Ok((!truth.is_damaged()).then_some((truth.contents, truth.sequence)))
}

fn read_truth(folder: &Path) -> Result<Truth> {
    let mut truth = Truth::default();
    let checkpoints = files::numbered(folder, "checkpoint-", ".dat")?;
    let journals = files::numbered(folder, "journal-", ".log")?;
    truth.named = checkpoints.iter().chain(&journals).copied().max().unwrap_or(0);
    for sequence in checkpoints.into_iter().rev() {
        let path = files::checkpoint_path(folder, sequence);
        match checkpoint::read(&path) {
            // The newest good one counts; the one before it is only looked at, so that its damage is found in time.
            Ok(Some((sequence, contents))) if truth.checkpointed == 0 => {
                (truth.contents, truth.sequence, truth.checkpointed) = (contents, sequence, sequence);
            }
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => truth.damaged.push(path),
        }
    }
    for first in &journals {
        replay(&mut truth, &files::journal_path(folder, *first), Some(first) == journals.last());
    }
    Ok(truth)
}

/// Returns the sequence with which a history goes on of which the end is lost: higher than any that was given out in it,
/// so that nobody who comes back with a cursor of what is lost is taken for somebody who missed nothing.
fn after_all(sequence: u64) -> u64 {
    (sequence / EPOCH).saturating_add(1).saturating_mul(EPOCH)
}

/// Applies one journal file to what is known so far.
fn replay(truth: &mut Truth, path: &Path, is_last: bool) {
    let reading = match journal::read(path) {
        Ok(reading) => reading,
        Err(error) => {
            truth.notices.push(error.to_string());
            truth.damaged.push(path.to_path_buf());
            return;
        }
    };
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
        // The next file was begun when this one was whole.
        Flaw::Torn if !is_last => truth.damaged.push(path.to_path_buf()),
        Flaw::Torn => tracing::info!(path = %path.display(), "the last write before the stop was not finished"),
        Flaw::Damaged => truth.damaged.push(path.to_path_buf()),
    }
    truth.last = Some((path.to_path_buf(), reading.good_length));
}

/// Opens the copy in sled, takes from it what the journal has lost, and makes it equal to what is known then.
fn begin_queue(folder: &Path, stamp: &str, truth: &mut Truth) -> Result<Queue> {
    let (mut queue, found) = open_queue(&folder.join(QUEUE_FOLDER), stamp, PATIENCE, &mut truth.notices)?;
    salvage(truth, found);
    queue.replace(&truth.contents, truth.sequence);
    Ok(queue)
}

/// Opens sled; what cannot be opened is set aside and begun anew, and a second failure is lived with.
pub(super) fn open_queue(
    path: &Path,
    stamp: &str,
    patience: Duration,
    notices: &mut Vec<String>,
) -> Result<(Queue, Option<Found>)> {
    match Queue::open(path, patience) {
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
            match Queue::open(path, patience) {
                Ok((queue, _)) => Ok((queue, None)),
                Err(problem) => {
                    notices.push(format!("the daemon works without its copy of the queue: {problem}"));
                    Ok((Queue::absent(), None))
                }
            }
        }
    }
}

/// Takes from sled what the journal has lost, if sled is known to hold it: when it was as far as a journal that is not
/// whole, or further than any, since a record is applied only after its sync. What it lacks is kept: an entry too many
/// is better than one too few.
fn salvage(truth: &mut Truth, found: Option<Found>) {
    let Some(found) = found else { return };
    let is_ahead = found.applied > truth.sequence;
    let may_mend = truth.is_damaged() && found.applied == truth.sequence;
    if !(is_ahead || may_mend) {
        return;
    }
    truth.notices.push("the lost part of the journal was taken from the queue's copy".into());
    truth.contents.extend(found.contents);
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
