//! `pause`, `resume`, `cancel`, `retry`, `priority`: what a person may do to a job, or to the whole daemon.

use backup_proto::error::Exit;
use backup_proto::job::Job;
use backup_proto::params::{
    DaemonPause, DaemonPaused, DaemonResume, JobCancel, JobPause, JobResume, JobRetry, JobSetPriority,
};
use clap::Args;

use crate::args::Urgency;
use crate::exit::Failure;
use crate::input::{request_id, seconds};
use crate::render::Output;
use crate::session::Session;
use crate::text;

/// Pause one job, or the whole daemon: running jobs stop, queued ones wait.
#[derive(Debug, Args)]
pub(crate) struct Pause {
    /// The job's id, or the start of it [default: the whole daemon].
    #[arg(conflicts_with = "all")]
    id: Option<String>,
    /// Pause the whole daemon.
    #[arg(long)]
    all: bool,
    /// Resume by itself after this time, such as 90s, 15min, 2h or 1h30m.
    #[arg(long = "for", value_name = "TIME", value_parser = seconds)]
    for_seconds: Option<u64>,
}

impl Pause {
    pub(crate) fn run(&self, session: &mut Session) -> Result<Exit, Failure> {
        let (request_id, for_seconds) = (request_id()?, self.for_seconds);
        match &self.id {
            Some(id) => {
                session.show(&JobPause { request_id, job: id.as_str().into(), for_seconds }, describe)?;
            }
            None => {
                session.show(&DaemonPause { request_id, for_seconds }, describe_daemon)?;
            }
        }
        Ok(Exit::Success)
    }
}

/// Let one job, or the whole daemon, go on.
#[derive(Debug, Args)]
pub(crate) struct Resume {
    /// The job's id, or the start of it [default: the whole daemon].
    #[arg(conflicts_with = "all")]
    id: Option<String>,
    /// Resume the whole daemon.
    #[arg(long)]
    all: bool,
    /// Run the job even if battery, network or load say no.
    #[arg(long, requires = "id")]
    now: bool,
}

impl Resume {
    pub(crate) fn run(&self, session: &mut Session) -> Result<Exit, Failure> {
        let request_id = request_id()?;
        match &self.id {
            Some(id) => {
                session.show(&JobResume { request_id, job: id.as_str().into(), now: self.now }, describe)?;
            }
            None => {
                session.show(&DaemonResume { request_id }, describe_daemon)?;
            }
        }
        Ok(Exit::Success)
    }
}

/// Stop a job for good; what it saved so far is found again by the next backup.
#[derive(Debug, Args)]
pub(crate) struct Cancel {
    /// The job's id, or the start of it.
    id: String,
}

impl Cancel {
    pub(crate) fn run(&self, session: &mut Session) -> Result<Exit, Failure> {
        session.show(&JobCancel { request_id: request_id()?, job: self.id.as_str().into() }, |job, out| {
            // What runs stops at its next step; until then its state is what it was.
            let is_over = job.state.is_final();
            if is_over { describe(job, out) } else { vec![format!("Job {} is being cancelled.", job.id)] }
        })?;
        Ok(Exit::Success)
    }
}

/// Change how urgent a job is: critical, high, normal or low.
#[derive(Debug, Args)]
pub(crate) struct SetPriority {
    /// The job's id, or the start of it.
    id: String,
    /// How urgent it is from now on.
    priority: Urgency,
}

impl SetPriority {
    pub(crate) fn run(&self, session: &mut Session) -> Result<Exit, Failure> {
        let (request_id, job) = (request_id()?, self.id.as_str().into());
        session.show(&JobSetPriority { request_id, job, priority: self.priority.into() }, |job, out| {
            let mut lines = describe(job, out);
            lines.insert(0, format!("Job {} has priority {} now.", job.id, job.priority.as_str()));
            lines
        })?;
        Ok(Exit::Success)
    }
}

/// Make a new attempt of a job that failed, was partial or was cancelled.
#[derive(Debug, Args)]
pub(crate) struct Retry {
    /// The job's id, or the start of it.
    id: String,
}

impl Retry {
    pub(crate) fn run(&self, session: &mut Session) -> Result<Exit, Failure> {
        session.show(&JobRetry { request_id: request_id()?, job: self.id.as_str().into() }, describe)?;
        Ok(Exit::Success)
    }
}

fn describe(job: &Job, out: &Output) -> Vec<String> {
    let mut line = format!("Job {} is {}.", job.id, out.state(job.state));
    if let Some(verdict) = &job.verdict {
        line.push_str(&format!(" {}", text::verdict(verdict, out.zone())));
    }
    vec![line]
}

fn describe_daemon(answer: &DaemonPaused, out: &Output) -> Vec<String> {
    vec![match &answer.paused {
        None => "Jobs may run.".to_owned(),
        Some(pause) => match pause.until {
            Some(until) => format!("Everything is paused until {}.", text::time(until, out.zone())),
            None => "Everything is paused until `backupctl resume`.".to_owned(),
        },
    }]
}
