//! One attempt of a job: the right engine call for its kind, and what its end means.

use std::sync::Arc;

use backup_engine::{Error as EngineError, Gate};
use backup_proto::error::{ErrorKind, RpcError};
use backup_proto::job::JobError;
use backup_proto::spec::JobSpec;

use super::reporter::Reporter;
use super::{backup, restore, verify};
use crate::context::Context;
use crate::inbox::Inbox;
use crate::job::{Ended, How, Job, Totals};
use crate::targets::TargetError;
use crate::wire;

/// Why an attempt did not come to its end.
pub(super) enum Failure {
    /// The engine stopped: by an error, or because the gate said so.
    Engine(EngineError),
    /// The target cannot be used.
    Target(TargetError),
    /// The job cannot be done as asked.
    Job(RpcError),
    /// The daemon's own state cannot be written.
    State(crate::error::Error),
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        Self::Engine(error)
    }
}

impl From<TargetError> for Failure {
    fn from(error: TargetError) -> Self {
        Self::Target(error)
    }
}

impl From<RpcError> for Failure {
    fn from(error: RpcError) -> Self {
        Self::Job(error)
    }
}

impl From<crate::error::Error> for Failure {
    fn from(error: crate::error::Error) -> Self {
        Self::State(error)
    }
}

impl Failure {
    /// Says what this end means for the job.
    fn how(&self) -> How {
        match self {
            Self::Engine(EngineError::Cancelled) => How::Cancelled,
            Self::Engine(EngineError::Suspended) => How::Suspended,
            Self::Engine(error) => How::Failed(wire::job_error(error)),
            Self::Target(TargetError::Engine { source: EngineError::Cancelled, .. }) => How::Cancelled,
            Self::Target(TargetError::Engine { source: EngineError::Suspended, .. }) => How::Suspended,
            Self::Target(error) => How::Failed(error.to_job_error()),
            Self::Job(RpcError { message, data, .. }) => {
                How::Failed(JobError { message: message.clone(), data: data.clone() })
            }
            Self::State(error) => {
                let class = wire::class_of(error.class());
                let error = RpcError::with_class(ErrorKind::StateUnwritable, class, error.to_string(), error.advice());
                How::Failed(JobError { message: error.message, data: error.data })
            }
        }
    }
}

/// Runs one attempt of a job to its end.
pub(super) fn run(job: &Job, context: &Arc<Context>, gate: &Gate, inbox: &Inbox) -> Ended {
    let opened = Reporter::open(job, context, inbox.clone());
    let (reporter, adopt) = match opened {
        Ok(opened) => opened,
        Err(error) => return Ended { how: Failure::State(error).how(), totals: Totals::default() },
    };
    let result = match &job.spec {
        JobSpec::Backup(spec) => backup::run(job, spec, adopt, context, gate, &reporter).map(|summary| Totals {
            snapshot: summary.snapshot.map(|id| id.to_string()),
            files: summary.files,
            bytes: summary.bytes,
            bytes_stored: summary.bytes_stored,
            ..Totals::default()
        }),
        JobSpec::Restore(spec) => restore::run(job, spec, context, gate, &reporter),
        JobSpec::Verify(spec) => verify::run(job, spec, context, gate, &reporter),
        JobSpec::Unknown => Err(Failure::Job(RpcError::new(
            ErrorKind::InvalidParams,
            "this version does not know that kind of job",
            "Use the `backupctl` that belongs to this daemon.",
        ))),
    };
    let so_far = reporter.finish();
    match result {
        Ok(done) => {
            let totals = Totals { failed_count: so_far.failed_count, failed: so_far.failed, ..done };
            Ended { how: How::Done, totals }
        }
        Err(failure) => Ended { how: failure.how(), totals: so_far },
    }
}
