//! Errors on the wire: stable kinds with their JSON-RPC code, and the exit code the command gives for each.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Why something failed, as far as a program needs to know to decide what to do next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// May go away by itself.
    Transient,
    /// The storage asked for fewer requests.
    Throttled,
    /// Wrong password or rejected credentials.
    Auth,
    /// The operating system refused access.
    Permission,
    /// A limit set by somebody.
    Quota,
    /// No room left.
    Full,
    /// Data is missing, or is not what was written.
    Damaged,
    /// The request cannot be carried out as asked.
    Misuse,
    /// Stopped because it was asked to.
    Cancelled,
    /// A class this program does not know yet.
    #[default]
    #[serde(other)]
    Unknown,
}

impl Class {
    /// Returns the word used on the wire.
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
            Self::Unknown => "unknown",
        }
    }

    /// Returns the class with this name.
    #[must_use]
    pub fn of_str(word: &str) -> Self {
        const ALL: [Class; 9] = [
            Class::Transient,
            Class::Throttled,
            Class::Auth,
            Class::Permission,
            Class::Quota,
            Class::Full,
            Class::Damaged,
            Class::Misuse,
            Class::Cancelled,
        ];
        ALL.into_iter().find(|class| class.as_str() == word).unwrap_or(Self::Unknown)
    }

    /// Tells whether trying the same again later may help without anybody doing something.
    #[must_use]
    pub fn is_retryable(self) -> bool {
        matches!(self, Self::Transient | Self::Throttled)
    }
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $class:ident;)*) => {
        /// What went wrong with a call. The words are stable: programs may branch on them.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(rename_all = "snake_case")]
        pub enum ErrorKind {
            $($(#[$doc])* $name,)*
            /// A kind this program does not know yet; class and message say enough to act.
            #[default]
            #[serde(other)]
            Unknown,
        }

        impl ErrorKind {
            /// Every kind there is, in the order of the table.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// Returns the JSON-RPC code.
            #[must_use]
            pub fn code(self) -> i32 {
                match self {
                    $(Self::$name => $code,)*
                    Self::Unknown => -32000,
                }
            }

            /// Returns the class an error of this kind has when nothing closer is known.
            #[must_use]
            pub fn class(self) -> Class {
                match self {
                    $(Self::$name => Class::$class,)*
                    Self::Unknown => Class::Unknown,
                }
            }
        }
    };
}

kinds! {
    /// The line is not JSON.
    ParseError = -32700, Misuse;
    /// The line is JSON but no JSON-RPC 2.0 request.
    InvalidRequest = -32600, Misuse;
    /// There is no such method.
    MethodNotFound = -32601, Misuse;
    /// The parameters do not fit the method.
    InvalidParams = -32602, Misuse;
    /// The daemon made a mistake; its log says more.
    Internal = -32603, Transient;
    /// The line is longer than 1 MiB.
    LineTooLong = -32001, Misuse;
    /// A method was called before `hello`.
    HelloRequired = -32002, Misuse;
    /// The two programs have no protocol version in common.
    VersionMismatch = -32003, Misuse;
    /// The caller has no right to do this.
    NotAllowed = -32004, Permission;
    /// The same `request_id` was used with other parameters or by somebody else.
    RequestIdConflict = -32005, Misuse;
    /// A bulk token is unknown, used or too old.
    TokenInvalid = -32006, Misuse;
    /// Too many connections, calls or waiting jobs.
    Busy = -32007, Throttled;
    /// The daemon is stopping.
    Stopping = -32008, Transient;
    /// The answer does not fit into one line.
    ResultTooLong = -32009, Misuse;
    /// There is no such job.
    JobNotFound = -32020, Misuse;
    /// Several ids start with this prefix.
    AmbiguousId = -32021, Misuse;
    /// The job's state does not allow this.
    WrongState = -32022, Misuse;
    /// There is no such snapshot.
    SnapshotNotFound = -32023, Misuse;
    /// The snapshot has no such path.
    PathNotFound = -32024, Misuse;
    /// There is no such target.
    TargetNotFound = -32025, Misuse;
    /// There is no such plan.
    PlanNotFound = -32026, Misuse;
    /// Something of this name exists already.
    AlreadyExists = -32027, Misuse;
    /// The configuration is wrong.
    ConfigInvalid = -32028, Misuse;
    /// The cursor is of a history the daemon does not have.
    CursorInvalid = -32029, Misuse;
    /// What would be deleted has to be shown by a dry run first.
    DryRunNeeded = -32030, Misuse;
    /// There is no such key.
    KeyNotFound = -32031, Misuse;
    /// There is no repository at the target's location.
    RepositoryMissing = -32040, Misuse;
    /// No key of the repository opens with the password.
    WrongPassword = -32041, Auth;
    /// The repository cannot be used by this version.
    RepositoryUnsupported = -32042, Misuse;
    /// Another program holds a lock on the repository.
    RepositoryLocked = -32043, Transient;
    /// The repository is damaged.
    RepositoryDamaged = -32044, Damaged;
    /// The target is not there: a drive that is not connected, a server that does not answer.
    TargetAbsent = -32045, Transient;
    /// The operating system or the storage refused an operation; the class says why.
    Storage = -32046, Transient;
    /// The state folder cannot be written, so nothing may be promised.
    StateUnwritable = -32047, Full;
    /// It was cancelled.
    Cancelled = -32060, Cancelled;
}

impl ErrorKind {
    /// Returns the word used on the wire.
    #[must_use]
    pub fn as_str(self) -> String {
        serde_json::to_value(self).ok().and_then(|word| word.as_str().map(str::to_owned)).unwrap_or_default()
    }
}

/// What programs need to know about an error.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ErrorData {
    /// What went wrong.
    pub kind: ErrorKind,
    /// What to do next, for programs.
    pub class: Class,
    /// Whether the same call may succeed later without anybody doing something.
    pub retryable: bool,
    /// What to do next, for people.
    pub advice: String,
    /// For how many seconds the storage has asked to be left alone, if it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_seconds: Option<u64>,
}

/// An error as JSON-RPC has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, thiserror::Error)]
#[error("{message}")]
pub struct RpcError {
    /// JSON-RPC's number for it.
    pub code: i32,
    /// What happened, as a sentence.
    pub message: String,
    /// Kind, class, whether to try again, and advice; a server other than this project's may leave it out.
    #[serde(default)]
    pub data: ErrorData,
}

impl RpcError {
    /// Makes an error of a kind with the kind's own class.
    #[must_use]
    pub fn new(kind: ErrorKind, message: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::with_class(kind, kind.class(), message, advice)
    }

    /// Makes an error whose class is known better than by its kind.
    #[must_use]
    pub fn with_class(kind: ErrorKind, class: Class, message: impl Into<String>, advice: impl Into<String>) -> Self {
        let retryable = class.is_retryable();
        let data = ErrorData { kind, class, retryable, advice: advice.into(), retry_after_seconds: None };
        Self { code: kind.code(), message: message.into(), data }
    }

    /// Returns the exit code the command gives for it.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self.data.kind {
            ErrorKind::NotAllowed => Exit::NotAllowed,
            ErrorKind::Cancelled => Exit::Cancelled,
            _ => Exit::Failed,
        }
    }
}

/// The exit codes of `backupctl`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Exit {
    /// All of it was done.
    Success = 0,
    /// Something failed, or was not found.
    Failed = 1,
    /// The arguments make no sense.
    Usage = 2,
    /// Done, except for named items.
    Partial = 3,
    /// No daemon answered.
    Unreachable = 4,
    /// The caller has no right to do this.
    NotAllowed = 5,
    /// Somebody cancelled the job.
    Cancelled = 6,
    /// The person pressed Ctrl-C; the job goes on.
    Interrupted = 130,
}

impl Exit {
    /// Returns the exit code for how a job ended; success for one that has not.
    #[must_use]
    pub fn of_state(state: crate::job::JobState) -> Self {
        use crate::job::JobState as State;
        match state {
            State::Partial => Self::Partial,
            State::Failed => Self::Failed,
            State::Cancelled => Self::Cancelled,
            State::Queued | State::Running | State::Paused | State::Succeeded | State::Unknown => Self::Success,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_kind_has_its_own_code() {
        let codes: BTreeSet<i32> = ErrorKind::ALL.iter().map(|kind| kind.code()).collect();
        assert_eq!(codes.len(), ErrorKind::ALL.len());
    }

    #[test]
    fn an_unknown_kind_or_class_is_still_an_error_one_can_read() {
        let text = r#"{"code":-32099,"message":"m","data":{"kind":"new","class":"newer","retryable":true,"advice":"a","more":1}}"#;
        let error: RpcError = serde_json::from_str(text).unwrap();
        assert_eq!((error.data.kind, error.data.class), (ErrorKind::Unknown, Class::Unknown));
    }

    #[test]
    fn class_names_read_back() {
        assert_eq!(Class::of_str("full"), Class::Full);
        assert_eq!(Class::of_str("novel"), Class::Unknown);
    }
}
