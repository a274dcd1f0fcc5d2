//! `why`: the reason a job waits.

use backup_proto::error::Exit;
use backup_proto::job::VerdictKind;
use backup_proto::params::{JobReasons, JobWhy};
use clap::Args;

use crate::exit::Failure;
use crate::render::Output;
use crate::session::Session;
use crate::text;

/// Say why a job does not run, and when it is looked at again.
#[derive(Debug, Args)]
pub(crate) struct Why {
    /// The job's id, or the start of it.
    id: String,
}

impl Why {
    pub(crate) fn run(&self, session: &mut Session) -> Result<Exit, Failure> {
        session.show(&JobWhy { job: self.id.as_str().into() }, explain)?;
        Ok(Exit::Success)
    }
}

fn explain(reasons: &JobReasons, out: &Output) -> Vec<String> {
    let job = &reasons.job;
    let mut lines =
        vec![format!("Job {} ({} of {}) is {}.", job.id, job.kind.as_str(), job.title, out.state(job.state))];
    for verdict in reasons.verdicts.iter().filter(|verdict| verdict.kind != VerdictKind::Ready) {
        let mut line = text::verdict(verdict, out.zone());
        if let Some(since) = verdict.since.filter(|_| verdict.condition.is_none()) {
            line.push_str(&format!(" Since {}.", text::time(since, out.zone())));
        }
        if let Some(next) = verdict.next_look.filter(|_| verdict.runs_by.is_none()) {
            line.push_str(&format!(" Looked at again at {}.", text::time_to_second(next, out.zone())));
        }
        if verdict.condition.is_some() && !line.contains("--now") {
            line.push_str(&format!(" `backupctl resume {} --now` does not wait for it.", job.id));
        }
        lines.push(line);
    }
    if lines.len() == 1 && !job.state.is_final() {
        lines.push("Nothing keeps it from running.".to_owned());
    }
    lines
}
