//! One attempt of a job: the right engine call for its kind, and what its end means.

use std::sync::Arc;

use backup_engine::monitor::PackRecord;
use backup_engine::{Class, Error as EngineError, Gate};
use backup_proto::error::{Class as WireClass, ErrorKind, RpcError};
use backup_proto::job::JobError;
use backup_proto::spec::JobSpec;

use super::reporter::Reporter;
use super::{backup, copy, estimate, forget, prune, repair, restore, verify};
use crate::context::Context;
use crate::inbox::Inbox;
use crate::job::{Ended, How, Job, Totals};
use crate::store::Shortage;
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
    /// Returns the target whose storage is to blame, if it may come back by itself: the engine's errors do not say which
    /// side they came from, but the storage said it when it failed.
    fn failed_target(&self, fault: Option<String>) -> Option<String> {
        match self {
            Self::Target(error) => error.failed_target().map(str::to_owned).or(fault),
            Self::Engine(EngineError::Locked { .. }) | Self::State(_) => None,
            Self::Engine(_) | Self::Job(_) => fault,
        }
    }

    /// Says what this end means for the job.
    pub(super) fn how(&self) -> How {
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
                let error = wire::state_error(error);
                How::Failed(JobError { message: error.message, data: error.data })
            }
        }
    }
}

/// Runs one attempt of a job to its end.
pub(super) fn run(job: &Job, context: &Arc<Context>, gate: &Gate, inbox: &Inbox) -> Ended {
    let opened = Reporter::open(job, context, inbox.clone(), gate);
    let (reporter, adopt) = match opened {
        Ok(opened) => opened,
        Err(error) => return Ended { how: how(&Failure::State(error), context), totals: Totals::default() },
    };
    let result = work(job, adopt, context, gate, &reporter);
    let so_far = reporter.finish();
    if result.is_ok() {
        // What it got over is no fault of anybody.
        drop(context.targets.take_fault(&job.id));
    }
    match result {
        Ok(done) if reporter.has_all() => {
            let totals = Totals { failed_count: so_far.failed_count, failed: so_far.failed, ..done };
            Ended { how: How::Done, totals }
        }
        // A list lacks an entry: what is done already is found done by the next attempt.
        Ok(_) => Ended { how: How::NoRoom(Shortage::refused(context.targets.state())), totals: so_far },
        Err(failure) => {
            let fault = context.targets.take_fault(&job.id);
            let failure = if_present(failure, job, fault.as_deref(), context);
            let target_failed = failure.failed_target(fault);
            let how = reporter.shortage().map_or_else(|| how(&failure, context), How::NoRoom);
            Ended { how, totals: Totals { target_failed, ..so_far } }
        }
    }
}

/// Does what the job asks for.
fn work(
    job: &Job,
    adopt: Vec<PackRecord>,
    context: &Arc<Context>,
    gate: &Gate,
    reporter: &Reporter,
) -> Result<Totals, Failure> {
    match &job.spec {
        JobSpec::Backup(spec) if spec.dry_run => estimate::run(job, spec, context, gate, reporter),
        JobSpec::Backup(spec) => backup::run(job, spec, adopt, context, gate, reporter),
        JobSpec::Restore(spec) => restore::run(job, spec, context, gate, reporter),
        JobSpec::Verify(spec) => verify::run(job, spec, context, gate, reporter),
        JobSpec::Forget(spec) => forget::run(job, spec, context, gate, reporter),
        JobSpec::Prune(spec) => prune::run(job, spec, adopt, context, gate, reporter),
        JobSpec::Repair(spec) => repair::run(job, spec, context, gate, reporter),
        JobSpec::Copy(spec) => copy::run(job, spec, adopt, context, gate, reporter),
        JobSpec::Unknown => Err(Failure::Job(RpcError::new(
            ErrorKind::InvalidParams,
            "this version does not know that kind of job",
            "Use the `backupctl` that belongs to this daemon.",
        ))),
    }
}

/// Returns why an attempt has failed if its targets are there. A drive that is pulled out in the middle of it makes the
/// system say whatever it likes; the job waits until it is back.
fn if_present(failure: Failure, job: &Job, fault: Option<&str>, context: &Context) -> Failure {
    if !matches!(failure.how(), How::Failed(_)) || matches!(failure, Failure::State(_)) {
        return failure;
    }
    let from = match &job.spec {
        JobSpec::Copy(spec) => Some(spec.from.as_str()),
        _ => None,
    };
    let chosen = job.chosen.iter().filter_map(|snapshot| snapshot.target.as_deref());
    let mut targets = job.target.as_deref().into_iter().chain(from).chain(fault).chain(chosen);
    targets.find_map(|target| context.targets.absence(target)).map_or(failure, Failure::Target)
}

/// Says what an end means for the job. Lack of room in the daemon's own state is no fault of the job, and neither is
/// that of a target on the same disk.
fn how(failure: &Failure, context: &Context) -> How {
    let folder = context.targets.state();
    match failure {
        Failure::State(error) | Failure::Target(TargetError::State(error)) if error.is_full() => {
            How::NoRoom(Shortage::refused(folder))
        }
        // What the engine has the daemon write down, which locks it holds, is right in that folder.
        Failure::Engine(error @ EngineError::Io { path, .. })
        | Failure::Target(TargetError::Engine { source: error @ EngineError::Io { path, .. }, .. })
            if error.class() == Class::Full && path.parent() == Some(folder) =>
        {
            How::NoRoom(Shortage::refused(folder))
        }
        failure => match failure.how() {
            How::Failed(error) if error.data.class == WireClass::Full => {
                Shortage::of(folder).map_or(How::Failed(error), How::NoRoom)
            }
            how => how,
        },
    }
}
