//! The queue in sled: a copy of what the journal says, kept in one tree on one thread.
//!
//! sled 0.34 alone loses acknowledged writes in power cuts, may refuse to open after one and hangs after a full
//! disk. So it is never evidence while the journal is whole: it is compared at every start and corrected or built
//! anew. When the journal itself was damaged, an up-to-date copy here is what saves the lost part. Whatever sled
//! does, panic and hang included, costs the daemon this copy and nothing else.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::time::Duration;

use super::checkpoint::Contents;
use super::files;
use super::frame::{Change, Record};
use super::record;

/// How long sled may take to open or to close before it counts as hung. Measured: 60 ms at most.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// By how much a timer of sled's threads may be late, in nanoseconds: a minute.
#[cfg(target_os = "linux")]
const TIMER_SLACK_NANOSECONDS: u64 = 60_000_000_000;

/// Records that may wait for sled before it counts as hung.
const BACKLOG_MAX: usize = 4096;

/// Memory for sled's page cache, in bytes. The queue is small and nearly never read.
const CACHE_BYTES: u64 = 1024 * 1024;

/// The key under which the sequence of the last applied record is kept. Keys of the store never start so.
const APPLIED: &[u8] = b"\0applied";

/// What sled held when it was opened.
#[derive(Debug)]
pub(super) struct Found {
    /// The sequence of the last record that was applied.
    pub(super) applied: u64,
    /// Keys and values.
    pub(super) contents: Contents,
}

enum Command {
    /// Make the tree equal to this.
    Replace(Contents, u64),
    /// Apply what was journaled.
    Apply(Record),
    /// Write everything out, give sled up and say so.
    Close(SyncSender<()>),
}

/// The handle to the thread that owns sled.
#[derive(Debug)]
pub(super) struct Queue {
    commands: Option<SyncSender<Command>>,
}

impl Queue {
    /// Opens the folder; says what was in it, or why it cannot be used. What does not answer in time is left to itself.
    pub(super) fn open(path: &Path, patience: Duration) -> Result<(Self, Found), String> {
        let (commands, inbox) = mpsc::sync_channel(BACKLOG_MAX);
        let (opened, answer) = mpsc::sync_channel(1);
        let path = path.to_path_buf();
        spawn(move || {
            wait_for_lock(&path);
            match open_tree(&path) {
                Ok((db, found)) => {
                    let _ = opened.send(Ok(found));
                    serve(db, &inbox);
                }
                // Nobody to tell is one who does not wait any more.
                Err(error) => drop(opened.send(Err(error.to_string()))),
            }
        })?;
        match answer.recv_timeout(patience) {
            Ok(found) => Ok((Self { commands: Some(commands) }, found?)),
            Err(mpsc::RecvTimeoutError::Timeout) => Err("it does not answer".into()),
            Err(mpsc::RecvTimeoutError::Disconnected) => Err("it cannot be read without a crash".into()),
        }
    }

    /// Opens the folder without waiting for it, after it was given up. A copy that is still held by a thread that
    /// hangs, or cannot be opened for another reason, is set aside.
    pub(super) fn reopen(path: &Path, stamp: &str) -> Self {
        let (commands, inbox) = mpsc::sync_channel(BACKLOG_MAX);
        let (path, stamp) = (path.to_path_buf(), stamp.to_owned());
        let begun = spawn(move || {
            let opened = open_tree(&path).or_else(|error| {
                let aside = files::set_aside(&path, &stamp)?;
                tracing::warn!(%error, "the queue's copy was set aside as {} and is built anew", aside.display());
                open_tree(&path)
            });
            match opened {
                Ok((db, _)) => serve(db, &inbox),
                Err(error) => tracing::warn!(%error, "the queue's copy is built anew at the next start"),
            }
        });
        if let Err(problem) = begun {
            tracing::warn!(problem, "the daemon works without its copy of the queue");
            return Self::absent();
        }
        Self { commands: Some(commands) }
    }

    /// Makes a handle to nothing: the daemon works without its copy.
    pub(super) fn absent() -> Self {
        Self { commands: None }
    }

    /// Tells whether there is a copy.
    pub(super) fn is_absent(&self) -> bool {
        self.commands.is_none()
    }

    /// Makes the copy equal to what the journal says.
    pub(super) fn replace(&mut self, contents: &Contents, sequence: u64) {
        self.send(Command::Replace(contents.clone(), sequence));
    }

    /// Applies a record that is in the journal.
    pub(super) fn apply(&mut self, record: Record) {
        self.send(Command::Apply(record));
    }

    /// Lets its thread write the copy out and end, without waiting for it: on a full disk sled may hang for ever.
    pub(super) fn give_up(&mut self) {
        self.commands = None;
    }

    /// Waits until the copy is on the disk and sled is given up, for a while.
    pub(super) fn close(&mut self) {
        let (done, answer) = mpsc::sync_channel(1);
        self.send(Command::Close(done));
        if self.commands.is_some() && answer.recv_timeout(PATIENCE).is_err() {
            tracing::warn!("sled did not finish writing; the queue's copy is corrected at the next start");
        }
    }

    fn send(&mut self, command: Command) {
        let Some(commands) = &self.commands else { return };
        if commands.try_send(command).is_err() {
            tracing::warn!("sled does not go on; the queue's copy is built anew at the next start");
            self.commands = None;
        }
    }
}

/// Lets the timers of this thread, and of those that it starts, wait for another reason to wake the processor. sled has
/// seven threads of its own that look for work every second; work wakes them at once all the same.
fn sleep_soundly() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(TIMER_SLACK_NANOSECONDS)) {
        tracing::debug!(%error, "sled's threads wake up every second");
    }
}

/// Starts a thread for sled, whose panics are its own.
fn spawn(body: impl FnOnce() + Send + 'static) -> Result<(), String> {
    let body = move || {
        sleep_soundly();
        if catch_unwind(AssertUnwindSafe(body)).is_err() {
            tracing::warn!("sled panicked; the queue's copy is built anew at the next start");
        }
    };
    std::thread::Builder::new().name("queue".into()).spawn(body).map(|_| ()).map_err(|error| error.to_string())
}

/// Does what it is told until nobody is left to tell it.
fn serve(db: sled::Db, inbox: &Receiver<Command>) {
    for command in inbox {
        let applied = match command {
            Command::Apply(record) => db.apply_batch(batch(&record)),
            Command::Replace(contents, sequence) => {
                difference(&db, contents, sequence).and_then(|record| db.apply_batch(batch(&record)))
            }
            Command::Close(done) => return close(db, &done),
        };
        if let Err(error) = applied {
            tracing::warn!(%error, "sled cannot write; the queue's copy is built anew");
            // Dropping the handle after an error may hang for ever; this thread is not waited for.
            return;
        }
    }
}

fn close(db: sled::Db, done: &SyncSender<()>) {
    if let Err(error) = db.flush() {
        tracing::warn!(%error, "sled cannot write; the queue's copy is corrected at the next start");
    }
    drop(db);
    // Who does not wait any more has given up on this copy.
    let _ = done.send(());
}

/// Waits until nobody holds sled's lock: after a copy was closed, sled's own threads keep it for a moment. No other
/// daemon can, because it would hold the state folder's.
fn wait_for_lock(path: &Path) {
    if let Ok(file) = File::open(path.join("db")) {
        // Where there are no locks there is nothing to wait for; sled says what is wrong with the file.
        let _ = rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive);
    }
}

fn open_tree(path: &Path) -> Result<(sled::Db, Found), Box<dyn std::error::Error>> {
    // No flusher thread: the journal is what makes things durable, and an idle daemon should not wake up.
    let db = sled::Config::new()
        .path(PathBuf::from(path))
        .cache_capacity(CACHE_BYTES)
        .mode(sled::Mode::LowSpace)
        .flush_every_ms(None)
        .open()?;
    let mut found = Found { applied: 0, contents: Contents::new() };
    for entry in db.iter() {
        let (key, value) = entry?;
        if key.as_ref() == APPLIED {
            found.applied = value.as_ref().try_into().map_or(0, u64::from_le_bytes);
            continue;
        }
        let key = std::str::from_utf8(&key)?;
        let Some(value) = record::unseal(key, &value).or_else(|| record::unseal_1(&value)) else {
            return Err("an entry is not what was written".into());
        };
        found.contents.insert(key.to_owned(), value.to_vec());
    }
    Ok((db, found))
}

/// Returns the changes that make the tree equal to the given contents.
fn difference(db: &sled::Db, mut contents: Contents, sequence: u64) -> sled::Result<Record> {
    let mut changes = Vec::new();
    for entry in db.iter() {
        let (key, value) = entry?;
        let Ok(name) = std::str::from_utf8(&key) else { continue };
        match contents.remove(name) {
            _ if key.as_ref() == APPLIED => {}
            None => changes.push(Change::remove(name)),
            Some(wanted) if record::unseal(name, &value) == Some(&wanted) => {}
            Some(wanted) => changes.push(Change::set(name, wanted)),
        }
    }
    changes.extend(contents.into_iter().map(|(key, value)| Change::set(key, value)));
    Ok(Record { sequence, changes })
}

/// A record's changes and its sequence as one batch: sled applies both or neither.
fn batch(record: &Record) -> sled::Batch {
    let mut batch = sled::Batch::default();
    for change in &record.changes {
        match &change.value {
            Some(value) => batch.insert(change.key.as_bytes(), record::seal(&change.key, value)),
            None => batch.remove(change.key.as_bytes()),
        }
    }
    batch.insert(APPLIED, &record.sequence.to_le_bytes());
    batch
}
