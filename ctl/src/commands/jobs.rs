//! `jobs` and `job`: the queue, and everything about one job.

use backup_proto::error::Exit;
use backup_proto::job::{Attempt, FailedItem, Job, JobDetail, Verdict};
use backup_proto::params::{JobFailures, JobGet, JobList};
use clap::Args;
use serde_json::json;

use crate::exit::Failure;
use crate::render::Output;
use crate::report::{failed_item, notice_line, outcome};
use crate::session::Session;
use crate::text;

/// List jobs that run or wait, newest first.
#[derive(Debug, Args)]
pub(crate) struct Jobs {
    /// Also list those that have ended.
    #[arg(long)]
    all: bool,
}

impl Jobs {
    pub(crate) fn run(&self, session: &mut Session) -> Result<Exit, Failure> {
        let jobs: Vec<Job> = session.all(|page| JobList { all: self.all, states: Vec::new(), page })?;
        let none =
            if self.all { "There are no jobs." } else { "No job runs or waits; `--all` lists those that ended." };
        session.table(&jobs, &["ID", "KIND", "STATE", "PRIORITY", "SUBMITTED", "WHAT"], none, |job, out| {
            vec![
                job.id.to_string(),
                job.kind.as_str().to_owned(),
                job.state.as_str().to_owned(),
                job.priority.as_str().to_owned(),
                text::time(job.submitted, out.zone()),
                job.title.clone(),
            ]
        })?;
        Ok(Exit::Success)
    }
}

/// Show everything about one job, with every item it could not do.
#[derive(Debug, Args)]
pub(crate) struct OneJob {
    /// The job's id, or the start of it.
    id: String,
}

impl OneJob {
    pub(crate) fn run(&self, session: &mut Session) -> Result<Exit, Failure> {
        let detail = session.call(&JobGet { job: self.id.as_str().into() })?;
        let id = detail.job.id.clone();
        let ask = |page| JobFailures { job: id.clone(), page };
        if session.out.is_json() {
            let failed: Vec<FailedItem> = session.all(ask)?;
            let mut document = serde_json::to_value(&detail).map_err(std::io::Error::other)?;
            document["failed"] = json!(failed);
            session.out.json(&document)?;
            return Ok(Exit::Success);
        }
        session.out.lines(describe(&detail, &session.out))?;
        session.pages(ask, |out, items: Vec<FailedItem>| {
            for item in items {
                out.lines([format!("  {}", failed_item(&item)), format!("    {}", item.advice)])?;
            }
            Ok(())
        })?;
        Ok(Exit::Success)
    }
}

fn describe(detail: &JobDetail, out: &Output) -> Vec<String> {
    let job = &detail.job;
    let mut lines = vec![
        format!("Job {}: {} of {}", job.id, job.kind.as_str(), job.title),
        format!("State: {}, priority {}", out.state(job.state), job.priority.as_str()),
        format!("Submitted: {}", text::time(job.submitted, out.zone())),
    ];
    lines.extend(job.reason.iter().map(|reason| format!("Reason: {reason}")));
    lines.extend(job.verdict.iter().map(|verdict| waits(verdict, out)));
    if let (Some(progress), false) = (&job.progress, job.state.is_final()) {
        lines.push(format!("Progress: {}", text::progress(progress)));
    }
    lines.extend(detail.attempts.iter().map(|attempt| describe_attempt(attempt, out)));
    if let Some(summary) = &detail.summary {
        // The whole list of items follows by itself, so that of the summary is left out.
        let mut summary = summary.clone();
        summary.failed.clear();
        let count = std::mem::take(&mut summary.failed_count);
        lines.extend(outcome_without_items(job, &summary, count, &detail.notices));
    } else {
        lines.extend(detail.notices.iter().map(|notice| notice_line(notice)));
    }
    lines
}

fn waits(verdict: &Verdict, out: &Output) -> String {
    let reason = text::verdict(verdict, out.zone());
    // Of a condition the sentence says it already.
    let mut line = if verdict.condition.is_some() { reason } else { format!("Waits: {reason}") };
    if let Some(next) = verdict.next_look.filter(|_| verdict.runs_by.is_none()) {
        line.push_str(&format!(" Next at {}.", text::time_to_second(next, out.zone())));
    }
    line
}

fn outcome_without_items(
    job: &Job,
    summary: &backup_proto::job::JobSummary,
    failed_count: u64,
    notices: &[String],
) -> Vec<String> {
    let mut lines = outcome(job, summary, notices);
    // The headline already stands above; the count belongs to the list that follows.
    lines.remove(0);
    if failed_count > 0 {
        lines.push(format!("{} could not be done:", text::count(failed_count, "item", "items")));
    }
    lines
}

fn describe_attempt(attempt: &Attempt, out: &Output) -> String {
    let mut line = format!("Attempt {}: {}", attempt.number, text::time(attempt.started, out.zone()));
    if let Some(ended) = attempt.ended {
        let seconds = u64::try_from(ended.as_second() - attempt.started.as_second()).unwrap_or(0);
        line.push_str(&format!(", took {}", text::duration(seconds)));
    }
    if let Some(outcome) = attempt.outcome {
        line.push_str(&format!(", {}", outcome.as_str()));
    }
    if let Some(error) = &attempt.error {
        line.push_str(&format!(": {}", error.message));
    }
    line
}
