//! What can go wrong in the daemon itself, each with a sentence and with what to do next.

use std::io;
use std::path::{Path, PathBuf};

use backup_engine::Class;

use crate::store::Shortage;

/// What the daemon's functions return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of the daemon. What goes wrong inside a job is the engine's error; this is about the daemon's own house.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration or the command line cannot be used.
    #[error("{message}")]
    Config {
        /// The whole sentence, with file and line where there is one.
        message: String,
    },
    /// The operating system refused an operation on a path.
    #[error("cannot {action} {}: {}", path.display(), backup_engine::error::plain(source))]
    Io {
        /// What was tried, as a verb: "read", "create".
        action: &'static str,
        /// What it was tried on.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// Another daemon uses the same state folder or socket.
    #[error("another backupd already uses {}", path.display())]
    AlreadyRunning {
        /// The state folder or the socket.
        path: PathBuf,
    },
    /// The socket cannot be made where it should be.
    #[error("cannot listen on {}: {problem}", path.display())]
    Socket {
        /// The socket's path.
        path: PathBuf,
        /// Why not, as the end of the sentence.
        problem: String,
    },
    /// The state is of a version that came after this program.
    #[error(
        "the state in {} is of version {version}, and this backupd knows versions up to {}",
        folder.display(), crate::store::STATE_VERSION
    )]
    Newer {
        /// The state folder.
        folder: PathBuf,
        /// Its version.
        version: u32,
    },
    /// An upgrade of the state did not give what it should.
    #[error("the state in {} could not be upgraded, and is as it was: {problem}", folder.display())]
    Upgrade {
        /// The store's folder.
        folder: PathBuf,
        /// What went wrong.
        problem: String,
    },
    /// There is too little room on the disk that holds the state.
    #[error("{}", .0.sentence())]
    NoRoom(Shortage),
    /// The store has given up: what it holds is safe, but nothing new can be written.
    #[error("the state cannot be written any more: {problem}")]
    Fenced {
        /// What happened.
        problem: String,
    },
}

impl Error {
    /// Makes an I/O error of an action on a path; use with `map_err`.
    pub fn io(action: &'static str, path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.as_ref().to_path_buf(), source }
    }

    /// Returns the class that decides what a caller does next.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::Config { .. } | Self::Socket { .. } => Class::Misuse,
            Self::Io { source, .. } => Class::of_io(source),
            Self::AlreadyRunning { .. } | Self::Fenced { .. } => Class::Transient,
            Self::NoRoom(_) => Class::Full,
            Self::Newer { .. } => Class::Misuse,
            Self::Upgrade { .. } => Class::Damaged,
        }
    }

    /// Tells whether the disk was full, or a quota used up.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self.class(), Class::Full | Class::Quota)
    }

    /// Says in one sentence what a person can do about it.
    #[must_use]
    pub fn advice(&self) -> &'static str {
        match self {
            Self::Config { .. } => "Correct it; `backupd --check-config` says whether it is right.",
            Self::Io { source, .. } => backup_engine::error::advice_for(Class::of_io(source)),
            Self::AlreadyRunning { .. } => "Stop that one first, or give this one its own --state-dir and --socket.",
            Self::Socket { .. } => "Give another path with --socket.",
            Self::Newer { .. } => {
                "Start the newer backupd again, or give this one another --state-dir; nothing was changed."
            }
            Self::Upgrade { .. } => "Start the older backupd again, and report this with the log.",
            Self::NoRoom(_) => "Free some space on it; what waits goes on by itself then.",
            Self::Fenced { .. } => "Check the device that holds the state folder, then start the daemon again.",
        }
    }

    /// Returns the exit code of a daemon that ends with this error.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config { .. } => 2,
            _ => 1,
        }
    }
}
