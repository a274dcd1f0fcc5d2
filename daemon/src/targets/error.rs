//! Why a target cannot be used, with what to do next.

use std::path::PathBuf;

use backup_engine::Class;
use backup_proto::error::{ErrorKind, RpcError};
use backup_proto::job::JobError;

use crate::wire;

/// Why a target cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// Nothing of this name is configured.
    #[error("there is no target called `{name}`")]
    Unknown {
        /// The name.
        name: String,
        /// What to do, with the nearest name.
        advice: String,
    },
    /// The target was used before, and is not there now.
    #[error("the repository of target `{name}` is not at {} now", folder.display())]
    Absent {
        /// The target.
        name: String,
        /// Where it should be.
        folder: PathBuf,
    },
    /// The target has no repository yet.
    #[error("the target `{name}` has no repository at {} yet", folder.display())]
    NotMade {
        /// The target.
        name: String,
        /// Where it would be.
        folder: PathBuf,
    },
    /// Another repository is where the target's should be.
    #[error("the repository at {} is not the one that target `{name}` had: it is {found}, not {expected}", folder.display())]
    Replaced {
        /// The target.
        name: String,
        /// Where it is.
        folder: PathBuf,
        /// The id on record, shortened.
        expected: String,
        /// The id that is there, shortened.
        found: String,
    },
    /// A repository cannot be made because one is there or was.
    #[error("{problem}")]
    Exists {
        /// What is there.
        problem: String,
        /// What to do instead.
        advice: String,
    },
    /// The password could not be had.
    #[error("the password of target `{name}` is not to be had: {problem}")]
    Password {
        /// The target.
        name: String,
        /// Why not.
        problem: String,
        /// What to do.
        advice: String,
    },
    /// The engine refused.
    #[error("target `{name}`: {source}")]
    Engine {
        /// The target.
        name: String,
        /// Why.
        source: backup_engine::Error,
    },
    /// The daemon's own state could not be written.
    #[error(transparent)]
    State(#[from] crate::error::Error),
}

impl TargetError {
    /// Attaches a target's name to an error of the engine.
    pub fn engine(name: &str) -> impl FnOnce(backup_engine::Error) -> Self {
        move |source| Self::Engine { name: name.to_owned(), source }
    }

    /// Returns the class that decides what happens next.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            // A drive that is not connected comes back by itself, as far as the daemon can know.
            Self::Absent { .. } => Class::Transient,
            Self::Password { .. } => Class::Auth,
            Self::Engine { source, .. } => source.class(),
            Self::State(error) => error.class(),
            Self::Unknown { .. } | Self::NotMade { .. } | Self::Replaced { .. } | Self::Exists { .. } => Class::Misuse,
        }
    }

    /// Says in one sentence what a person can do about it.
    #[must_use]
    pub fn advice(&self) -> String {
        match self {
            Self::Unknown { advice, .. } | Self::Exists { advice, .. } | Self::Password { advice, .. } => {
                advice.clone()
            }
            Self::Absent { .. } => {
                "Connect the drive or restore the folder; a missing repository is never made anew by itself.".to_owned()
            }
            Self::NotMade { name, .. } => {
                format!("Connect the drive if it should be there, or make it with `backupctl target init {name}`.")
            }
            Self::Replaced { name, .. } => {
                format!("Connect the right drive, or take this one over with `backupctl target adopt {name}`.")
            }
            Self::Engine { source: backup_engine::Error::WrongPassword { .. }, .. } => {
                "Correct the target's password file or command; nothing was changed.".to_owned()
            }
            Self::Engine { source, .. } => source.advice().to_owned(),
            Self::State(error) => error.advice().to_owned(),
        }
    }

    /// Returns the target that has failed, if it may come back by itself. One that somebody else has locked works.
    #[must_use]
    pub fn failed_target(&self) -> Option<&str> {
        use backup_engine::Error::{LockLost, Locked};
        match self {
            Self::Absent { name, .. } => Some(name),
            Self::Engine { source: Locked { .. } | LockLost { .. }, .. } => None,
            Self::Engine { name, source } => {
                matches!(source.class(), Class::Transient | Class::Throttled).then_some(name.as_str())
            }
            _ => None,
        }
    }

    /// Returns the stable kind for the wire.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Unknown { .. } => ErrorKind::TargetNotFound,
            Self::Absent { .. } => ErrorKind::TargetAbsent,
            Self::NotMade { .. } => ErrorKind::RepositoryMissing,
            Self::Replaced { .. } => ErrorKind::RepositoryUnsupported,
            Self::Exists { .. } => ErrorKind::AlreadyExists,
            Self::Password { .. } => ErrorKind::WrongPassword,
            Self::Engine { source, .. } => wire::kind_of(source),
            Self::State(_) => ErrorKind::StateUnwritable,
        }
    }

    /// Returns the error as the answer to a call.
    #[must_use]
    pub fn to_rpc(&self) -> RpcError {
        let mut rpc = RpcError::with_class(self.kind(), wire::class_of(self.class()), self.to_string(), self.advice());
        if let Self::Engine { source, .. } = self {
            rpc.data.retry_after_seconds = wire::rpc_error(source).data.retry_after_seconds;
        }
        rpc
    }

    /// Returns the error as the end of a job.
    #[must_use]
    pub fn to_job_error(&self) -> JobError {
        let RpcError { message, data, .. } = self.to_rpc();
        JobError { message, data }
    }
}
