//! `status` and `conditions`: what the daemon is doing and why, on one screen.

use backup_proto::error::Exit;
use backup_proto::job::{Job, JobState};
use backup_proto::local::Update;
use backup_proto::params::{ConditionsGet, DaemonStatus};
use backup_proto::status::{self as wire, Condition, PlanState};
use clap::Args;
use jiff::Timestamp;

use crate::commands::limit::line as limit_line;
use crate::commands::target::{breaker_line, state_word};
use crate::exit::Failure;
use crate::render::Output;
use crate::session::Session;
use crate::text;

/// Show what the daemon is doing and why.
#[derive(Debug, Args)]
pub(crate) struct Status {
    /// Keep showing it as it changes.
    #[arg(long)]
    watch: bool,
}

impl Status {
    pub(crate) fn run(&self, session: &mut Session) -> Result<Exit, Failure> {
        if !self.watch {
            session.show(&DaemonStatus {}, screen)?;
            return Ok(Exit::Success);
        }
        for update in session.client.events(None, Vec::new())? {
            let status = match update? {
                Update::State(status) => *status,
                Update::Event(_) | Update::Back => session.call(&DaemonStatus {})?,
                Update::Lost => {
                    session.out.note("The daemon went away; waiting up to 60 s for it to come back.");
                    continue;
                }
            };
            if session.out.is_json() {
                session.out.json(&status)?;
            } else {
                session.out.screen(&screen(&status, &session.out))?;
            }
        }
        Ok(Exit::Success)
    }
}

fn screen(status: &wire::Status, out: &Output) -> Vec<String> {
    let mut lines = vec![format!("backupd {} runs as process {} at {}", status.version, status.pid, status.socket)];
    if let Some(pause) = &status.paused {
        lines.push(match pause.until {
            Some(until) => {
                format!("Everything is PAUSED until {}; `backupctl resume` ends it.", text::time(until, out.zone()))
            }
            None => "Everything is PAUSED; `backupctl resume` ends it.".to_owned(),
        });
    }
    section(&mut lines, "Limits of speed", status.limits.iter().map(|limit| limit_line(limit, out)));
    let (running, waiting): (Vec<&Job>, Vec<&Job>) = status.jobs.iter().partition(|job| job.state == JobState::Running);
    section(&mut lines, "Running", running.iter().map(|job| running_line(job)));
    section(&mut lines, "Waiting", waiting.iter().map(|job| waiting_line(job, out)));
    let listed = u64::try_from(status.jobs.len()).unwrap_or(u64::MAX);
    let known = status.counts.running + status.counts.queued + status.counts.paused;
    if known > listed {
        lines.push(format!("  … and {} more: `backupctl jobs` lists all.", known - listed));
    }
    if status.jobs.is_empty() {
        lines.extend([String::new(), "No job runs or waits.".to_owned()]);
    }
    section(&mut lines, "Ended last", status.recent.iter().map(|job| ended_line(job, out)));
    section(&mut lines, "Plans", status.plans.iter().flat_map(|plan| plan_lines(plan, out)));
    section(
        &mut lines,
        "Targets",
        status.targets.iter().flat_map(|target| {
            let last = last_success(target.last_success, out);
            let line = format!("{}: {}, {last}  {}", target.name, state_word(target), target.url);
            let breaker = breaker_line(target, out).map(|line| format!("  {line}"));
            std::iter::once(line).chain(breaker).chain(target.notice.iter().map(|notice| format!("  {notice}")))
        }),
    );
    section(&mut lines, "Please note", status.notices.iter().cloned());
    lines
}

/// Adds a heading and its lines, if there are any.
fn section(lines: &mut Vec<String>, heading: &str, body: impl Iterator<Item = String>) {
    let mut body = body.peekable();
    if body.peek().is_some() {
        lines.extend([String::new(), format!("{heading}:")]);
        lines.extend(body.map(|line| format!("  {line}")));
    }
}

/// Says when a plan runs next and did last, and where it has had no success for too long.
fn plan_lines(plan: &PlanState, out: &Output) -> Vec<String> {
    let next = plan
        .next_run
        .map_or_else(|| "runs when asked".to_owned(), |next| format!("next run {}", text::time(next, out.zone())));
    let last = last_success(plan.last_success, out);
    let stale = plan.stale.iter().map(|stale| {
        let since = stale.last_success.unwrap_or(stale.watched_since);
        format!("  NOTHING saved to {} since {}", stale.target, text::time(since, out.zone()))
    });
    std::iter::once(format!("{}: {next}, {last}", plan.name)).chain(stale).collect()
}

fn last_success(time: Option<Timestamp>, out: &Output) -> String {
    time.map_or_else(|| "nothing saved yet".to_owned(), |time| format!("last success {}", text::time(time, out.zone())))
}

fn job_name(job: &Job) -> String {
    format!("{}  {} {}", job.id, job.kind.as_str(), job.title)
}

fn running_line(job: &Job) -> String {
    match &job.progress {
        Some(progress) => format!("{}: {}", job_name(job), text::progress(progress)),
        None => format!("{}: just begun", job_name(job)),
    }
}

fn waiting_line(job: &Job, out: &Output) -> String {
    let reason = job.verdict.as_ref().map_or_else(String::new, |verdict| text::verdict(verdict, out.zone()));
    format!("{}  ({}): {}", job_name(job), job.state.as_str(), reason)
}

fn ended_line(job: &Job, out: &Output) -> String {
    let time = job.ended.map(|time| text::time(time, out.zone())).unwrap_or_default();
    let error = job.error.as_ref().map(|error| format!(": {}", error.message)).unwrap_or_default();
    format!("{time}  {}  {}{error}", job_name(job), out.state(job.state))
}

/// Show power, network and load, and what they mean for jobs.
#[derive(Debug, Args)]
pub(crate) struct Conditions {}

impl Conditions {
    pub(crate) fn run(&self, session: &mut Session) -> Result<Exit, Failure> {
        session.show(&ConditionsGet {}, |answer, out| {
            let row = |condition: &Condition| {
                let effect = if condition.allows { "jobs may run" } else { "jobs wait" };
                let source = condition.source.as_ref().filter(|_| condition.reading != "unknown");
                let source = source.cloned().unwrap_or_default();
                let Condition { name, reading, policy, .. } = condition.clone();
                vec![name, reading, policy, effect.to_owned(), source]
            };
            let heading = ["CONDITION", "READING", "RULE", "SO", "READ FROM"].map(str::to_owned).to_vec();
            let rows: Vec<_> = std::iter::once(heading).chain(answer.conditions.iter().map(row)).collect();
            let mut lines = text::table(&rows);
            lines.push(match &answer.verdict {
                Some(verdict) => text::verdict(verdict, out.zone()),
                None => "Jobs may run.".to_owned(),
            });
            lines
        })?;
        Ok(Exit::Success)
    }
}
