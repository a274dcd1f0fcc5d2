//! Snapshots as a folder: names for them, what is below each, and the bytes of files as they are read.
//!
//! [`layout`] makes the names, [`inodes`] numbers what the system has seen, [`listed`] keeps what was listed, [`window`] says
//! which bytes to ask for at a time, [`windows`] keeps them, [`source`] asks the daemon, and [`tree`] puts it together. None of
//! it knows FUSE; only [`fuse`] and [`mod@serve`] do.

#[cfg(target_os = "linux")]
mod fuse;
mod inodes;
mod layout;
mod listed;
pub(crate) mod place;
mod recent;
#[cfg(target_os = "linux")]
mod serve;
mod source;
mod tree;
mod window;
mod windows;

#[cfg(test)]
mod tests;

pub(crate) use layout::latest;
#[cfg(not(target_os = "linux"))]
pub(crate) use place::{check_system, serve};
#[cfg(target_os = "linux")]
pub(crate) use serve::{check_system, serve};
pub(crate) use source::Source;
pub(crate) use tree::{Mounted, Top};

use std::time::Duration;

/// How old the list of snapshots may be before it is asked for again.
pub(crate) const LIST_AGE_MAX: Duration = Duration::from_secs(3);

/// Files of which bytes are kept in memory at a time.
pub(crate) const WINDOWS_MAX: usize = 32;

/// Bytes that all of them together may hold there.
pub(crate) const WINDOW_BYTES_ALL: usize = 64 * 1024 * 1024;

/// Bytes that are asked for at first, and of a file that is not read from one end to the other.
pub(crate) const WINDOW_BYTES_FIRST: usize = 128 * 1024;

/// Bytes that are asked for at a time at most.
pub(crate) const WINDOW_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Bytes that are kept behind the place that is read: the system asks for several pieces at once, and not always in order.
pub(crate) const WINDOW_BYTES_BEHIND: usize = 512 * 1024;

/// Entries of folders that are remembered.
pub(crate) const LISTED_MAX: usize = 64 * 1024;

/// Folders that are remembered however long they are: who looks up the names of a long one asks for each by itself.
pub(crate) const LISTED_FOLDERS_MIN: usize = 4;

/// How long the daemon is waited for when it has gone away, before whoever reads is told.
pub(crate) const PATIENCE: Duration = Duration::from_secs(2);

/// How long the daemon may be silent when it owes an answer or bytes, before whoever reads is told: a large index may
/// have to be read from a slow disk first, but a reader that waits for ever cannot even be ended by Ctrl-C.
pub(crate) const SILENCE: Duration = Duration::from_secs(60);
