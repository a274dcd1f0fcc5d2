//! How a command ends: a failure in words with advice, and the exit code for scripts.

use std::io;
use std::path::PathBuf;

use backup_proto::bulk::BulkError;
use backup_proto::client::ClientError;
use backup_proto::error::{Class, ErrorKind, Exit, RpcError};

/// Why a command could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The daemon refused, or could not be reached.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The arguments make no sense together.
    #[error("{0}")]
    Usage(String),
    /// Something that destroys was not confirmed.
    #[error("{0}")]
    Unconfirmed(String),
    /// It cannot be done here, or not in this place.
    #[error("{problem}")]
    Refused {
        /// What is in the way.
        problem: String,
        /// What to do next.
        advice: String,
        /// The exit code.
        exit: Exit,
    },
    /// The output could not be written.
    #[error("cannot write the output: {0}")]
    Output(#[from] io::Error),
    /// A file named in the arguments could not be read.
    #[error("cannot read {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
}

impl Failure {
    /// Returns the exit code.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Client(error) => error.exit(),
            Self::Usage(_) | Self::Unconfirmed(_) => Exit::Usage,
            Self::Refused { exit, .. } => *exit,
            Self::Output(_) | Self::File { .. } => Exit::Failed,
        }
    }

    /// Tells whether nobody reads the output any more, as when it is piped into `head`; that is no mistake.
    pub(crate) fn is_closed_pipe(&self) -> bool {
        let (Self::Output(error) | Self::Client(ClientError::Bulk(BulkError::Io(error)))) = self else {
            return false;
        };
        error.kind() == io::ErrorKind::BrokenPipe
    }

    /// Says what to do next.
    pub(crate) fn advice(&self) -> String {
        match self {
            Self::Client(error) => client_advice(error),
            Self::Usage(_) => "`backupctl help` shows what there is.".to_owned(),
            Self::Unconfirmed(_) => "Type the same command again within an hour to do it, or add `--yes`.".to_owned(),
            Self::Refused { advice, .. } => advice.clone(),
            Self::Output(_) => "Check where the output goes.".to_owned(),
            Self::File { .. } => "Check the path and your rights to it.".to_owned(),
        }
    }

    /// Returns it as the wire would have it, for `--json`.
    pub(crate) fn to_error(&self) -> RpcError {
        if let Self::Client(ClientError::Remote(error) | ClientError::Bulk(BulkError::Remote(error))) = self {
            return error.clone();
        }
        let (kind, class) = match self {
            Self::Client(ClientError::NoDaemon { .. } | ClientError::Lost(_) | ClientError::Silent) => {
                (ErrorKind::Stopping, Class::Transient)
            }
            Self::Client(ClientError::Untrusted { .. }) => (ErrorKind::NotAllowed, Class::Permission),
            Self::Client(_) => (ErrorKind::Internal, Class::Transient),
            Self::Refused { exit: Exit::NotAllowed, .. } => (ErrorKind::NotAllowed, Class::Permission),
            Self::Usage(_) | Self::Refused { .. } => (ErrorKind::InvalidParams, Class::Misuse),
            Self::Unconfirmed(_) => (ErrorKind::DryRunNeeded, Class::Misuse),
            Self::Output(_) | Self::File { .. } => (ErrorKind::Storage, Class::Misuse),
        };
        RpcError::with_class(kind, class, self.to_string(), self.advice())
    }
}

fn client_advice(error: &ClientError) -> String {
    match error {
        ClientError::NoDaemon { .. } if error.exit() == Exit::NotAllowed => {
            "The socket is there, but you may not use it; ask its owner, or start your own daemon with `backupd`."
                .to_owned()
        }
        ClientError::NoDaemon { .. } => {
            "Start the daemon with `backupd`, or as a service with `systemctl --user start backupd`.".to_owned()
        }
        ClientError::Lost(_) => "Its log says why; jobs go on when it is started again.".to_owned(),
        ClientError::Silent => "Its log may say what it waits for; if it hangs, start it again.".to_owned(),
        ClientError::Untrusted { .. } => {
            "Find out who started it; BACKUPD_SOCKET may point to a wrong place.".to_owned()
        }
        ClientError::Malformed(_) | ClientError::Bulk(BulkError::Malformed(_)) => {
            "Use a `backupctl` and a `backupd` of the same release.".to_owned()
        }
        ClientError::Bulk(BulkError::Io(_)) => "Try again.".to_owned(),
        ClientError::Remote(error) | ClientError::Bulk(BulkError::Remote(error)) => error.data.advice.clone(),
    }
}

/// Returns the worse of two exit codes: failed, then cancelled, then partial, then success.
pub(crate) fn worse(a: Exit, b: Exit) -> Exit {
    let rank = |exit| match exit {
        Exit::Success => 0,
        Exit::Partial => 1,
        Exit::Cancelled => 2,
        _ => 3,
    };
    if rank(b) > rank(a) { b } else { a }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_has_the_exit_code_that_was_promised() {
        let absent = |kind: io::ErrorKind| ClientError::NoDaemon { tried: vec![("/s".into(), kind.into())] };
        let remote = |kind| ClientError::Remote(RpcError::new(kind, "m", "a"));
        for (failure, code) in [
            (Failure::from(absent(io::ErrorKind::NotFound)), 4),
            (absent(io::ErrorKind::ConnectionRefused).into(), 4),
            (absent(io::ErrorKind::PermissionDenied).into(), 5),
            (ClientError::Untrusted { socket: "/s".into(), uid: 7 }.into(), 5),
            (remote(ErrorKind::NotAllowed).into(), 5),
            (remote(ErrorKind::Cancelled).into(), 6),
            (remote(ErrorKind::JobNotFound).into(), 1),
            (remote(ErrorKind::WrongPassword).into(), 1),
            (Failure::Usage("u".to_owned()), 2),
        ] {
            assert_eq!(failure.exit() as u8, code, "{failure}");
            assert!(!failure.advice().is_empty());
        }
    }

    #[test]
    fn the_worst_job_decides() {
        assert_eq!(worse(Exit::Success, Exit::Partial), Exit::Partial);
        assert_eq!(worse(Exit::Failed, Exit::Cancelled), Exit::Failed);
        assert_eq!(worse(Exit::Partial, Exit::Cancelled), Exit::Cancelled);
    }
}
