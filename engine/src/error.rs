//! What can go wrong in the engine, by subject, each with the path or id it is about.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why something failed, as far as a caller needs to know to decide what to do next.
///
/// The same nine words are used on the wire, in the ledger and in metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// May go away by itself: a lost connection, a lock held by another program.
    Transient,
    /// The storage asked for fewer requests.
    Throttled,
    /// Wrong password or rejected credentials.
    Auth,
    /// The operating system refused access.
    Permission,
    /// A limit set by somebody: a storage quota, a bound in `limits.rs`.
    Quota,
    /// No room left on the device.
    Full,
    /// Data is missing, or is not what was written.
    Damaged,
    /// The request cannot be carried out as asked.
    Misuse,
    /// Stopped because it was asked to.
    Cancelled,
}

impl Class {
    /// Returns the stable name used outside the library.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Transient => "transient",
            Self::Throttled => "throttled",
            Self::Auth => "auth",
            Self::Permission => "permission",
            Self::Quota => "quota",
            Self::Full => "full",
            Self::Damaged => "damaged",
            Self::Misuse => "misuse",
            Self::Cancelled => "cancelled",
        }
    }

    /// Classifies an error of the operating system.
    #[must_use]
    pub fn of_io(error: &io::Error) -> Self {
        use io::ErrorKind as Kind;
        match error.kind() {
            Kind::PermissionDenied | Kind::ReadOnlyFilesystem => Self::Permission,
            Kind::StorageFull => Self::Full,
            Kind::QuotaExceeded => Self::Quota,
            Kind::NotFound | Kind::UnexpectedEof | Kind::InvalidData => Self::Damaged,
            Kind::InvalidInput
            | Kind::NotADirectory
            | Kind::IsADirectory
            | Kind::AlreadyExists
            | Kind::InvalidFilename
            | Kind::Unsupported => Self::Misuse,
            _ => Self::Transient,
        }
    }
}

/// What the engine's functions return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of the engine.
///
/// Callers branch on [`Error::class`] only. The message is one sentence that names the path or id; what to do
/// about it is in [`Error::advice`].
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused an operation on a path.
    #[error("cannot {action} {}: {}", path.display(), plain(source))]
    Io {
        /// What was tried, as a verb: "read", "create".
        action: &'static str,
        /// What it was tried on.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// Something that is stored is missing, or is not what was written.
    #[error("{what} is damaged: {problem}")]
    Damaged {
        /// The file or object, with its id.
        what: String,
        /// How the damage shows.
        problem: String,
    },
    /// Something that was asked for is not there.
    #[error("{what} was not found")]
    NotFound {
        /// What was looked for, with its name or id.
        what: String,
    },
    /// No key of the repository opens with the given password.
    #[error("wrong password for the repository at {location}")]
    WrongPassword {
        /// The repository's location.
        location: String,
    },
    /// There is no repository at the location.
    #[error("there is no repository at {location}")]
    NoRepository {
        /// The location that was looked at.
        location: String,
    },
    /// The repository cannot be used by this version of the engine.
    #[error("the repository at {location} cannot be used: {problem}")]
    Unsupported {
        /// The repository's location.
        location: String,
        /// What is not supported, by name.
        problem: String,
    },
    /// Another program holds a lock on the repository.
    #[error("the repository is locked by {holder}")]
    Locked {
        /// Program, host and age of the lock.
        holder: String,
    },
    /// A lock file cannot be read, so that nobody can tell whether its holder is at work.
    #[error("a lock of the repository cannot be read: {problem}")]
    UnreadableLock {
        /// The file, and what is wrong with it.
        problem: String,
    },
    /// The lock of this run is gone or too old to be relied on.
    #[error("the repository's lock was lost: {problem}")]
    LockLost {
        /// How that was noticed.
        problem: String,
    },
    /// A bound was reached.
    #[error("{what} exceeds the limit of {limit}")]
    Limit {
        /// What was too large or too many.
        what: String,
        /// The bound with its unit.
        limit: String,
    },
    /// The request makes no sense as asked.
    #[error("{problem}")]
    Misuse {
        /// What is wrong with it.
        problem: String,
    },
    /// The run was told to stop for good.
    #[error("cancelled")]
    Cancelled,
    /// The run was told to give up its lock and end; it will be started again.
    #[error("suspended")]
    Suspended,
    /// The storage asked for fewer requests.
    #[error("{message}")]
    Throttled {
        /// What the storage said, with the object's name.
        message: String,
        /// For how long it asked to be left alone, if it did.
        retry_after: Option<Duration>,
    },
    /// The storage failed in a way that it classified itself.
    #[error("{message}")]
    Storage {
        /// What the storage said, with the object's name.
        message: String,
        /// Its class.
        class: Class,
    },
}

impl Error {
    /// Attaches a verb and a path to an error of the operating system.
    pub fn io(action: &'static str, path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.as_ref().to_path_buf(), source }
    }

    /// Says that a stored thing is damaged.
    pub fn damaged(what: impl Into<String>, problem: impl std::fmt::Display) -> Self {
        Self::Damaged { what: what.into(), problem: problem.to_string() }
    }

    /// Says that a request makes no sense.
    pub fn misuse(problem: impl Into<String>) -> Self {
        Self::Misuse { problem: problem.into() }
    }

    /// Returns the class that decides what a caller does next.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::Io { source, .. } => Class::of_io(source),
            Self::Damaged { .. } | Self::UnreadableLock { .. } => Class::Damaged,
            Self::WrongPassword { .. } => Class::Auth,
            Self::NotFound { .. } | Self::Misuse { .. } | Self::Unsupported { .. } => Class::Misuse,
            Self::NoRepository { .. } => Class::Misuse,
            Self::Locked { .. } | Self::LockLost { .. } => Class::Transient,
            Self::Limit { .. } => Class::Quota,
            Self::Cancelled | Self::Suspended => Class::Cancelled,
            Self::Throttled { .. } => Class::Throttled,
            Self::Storage { class, .. } => *class,
        }
    }

    /// Returns for how long the storage has asked to be left alone, if it has.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Throttled { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// Says in one sentence what a person can do about it.
    #[must_use]
    pub fn advice(&self) -> &'static str {
        match self {
            Self::NoRepository { .. } => {
                "Check that the drive is connected and the path is right; a new one is made with `backupctl target init`."
            }
            Self::NotFound { .. } => "Check the name; `backupctl snapshots` lists what there is.",
            Self::Unsupported { .. } => "Use a version of this program that knows this repository's format.",
            Self::Locked { .. } => "It is tried again by itself; `restic unlock` removes a lock whose program is gone.",
            Self::UnreadableLock { .. } => {
                "When no other program uses the repository, `restic unlock --remove-all` removes its locks."
            }
            Self::Limit { .. } => "If the data is trusted, restore with a higher `--limit`.",
            Self::Suspended => "It goes on when it is resumed.",
            Self::Io { action: "create" | "write", source, .. } if source.kind() == io::ErrorKind::NotFound => {
                "Check that this is a place where files can be made, and that its drive is connected."
            }
            _ => advice_for(self.class()),
        }
    }
}

/// Says in one sentence what a person can do about an error of this class.
#[must_use]
pub fn advice_for(class: Class) -> &'static str {
    match class {
        Class::Transient => "It is tried again by itself.",
        Class::Throttled => "The storage asked to wait; it is tried again by itself, more slowly.",
        Class::Auth => "Check the password file or the credentials of the target.",
        Class::Permission => "Give the daemon's user access to it, or exclude it.",
        Class::Quota => "Raise the limit or free some of it.",
        Class::Full => "Free some space on the device, then retry.",
        Class::Damaged => "Run `backupctl verify` to learn what is affected.",
        Class::Misuse => "Check what was asked for.",
        Class::Cancelled => "Nothing to do; start it again when wanted.",
    }
}

/// Returns the operating system's words without Rust's error number.
#[must_use]
pub fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error") {
        Some(end) => text[..end].to_lowercase(),
        None => text,
    }
}
