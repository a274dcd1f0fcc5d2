//! `limit`: how fast bytes may go to targets and come from them, and why.

use backup_proto::error::Exit;
use backup_proto::job::JobId;
use backup_proto::limit::{
    Direction, Limit as InForce, LimitChange, LimitGet, LimitList, LimitScope, LimitSet, LimitSource, parse_rate, rate,
};
use backup_proto::size::size;
use clap::Args;

use crate::exit::Failure;
use crate::input::{request_id, seconds};
use crate::render::Output;
use crate::session::Session;
use crate::text;

/// Limit how fast bytes go, also of what runs, or show which limits are in force and why.
#[derive(Debug, Args)]
pub(crate) struct Limit {
    /// Such as 5MiB/s; `off` for none, whatever the config says; `reset` for what the config says.
    #[arg(value_name = "RATE", value_parser = change)]
    change: Option<LimitChange>,
    /// Only what goes to targets [default: both ways].
    #[arg(long, requires = "change", conflicts_with = "download")]
    upload: bool,
    /// Only what comes from targets [default: both ways].
    #[arg(long, requires = "change")]
    download: bool,
    /// Only of this target [default: of everything together].
    #[arg(long, value_name = "NAME", requires = "change", conflicts_with = "job")]
    target: Option<String>,
    /// Only of this job, by its id or the start of it [default: of everything together].
    #[arg(long, value_name = "ID", requires = "change")]
    job: Option<String>,
    /// Go back to the config by itself after this time, such as 90s, 15min, 2h or 1h30m.
    #[arg(long = "for", value_name = "TIME", value_parser = seconds, requires = "change")]
    for_seconds: Option<u64>,
}

/// Reads what a limit is to be.
fn change(text: &str) -> Result<LimitChange, String> {
    match text {
        "off" => Ok(LimitChange::Off),
        "reset" => Ok(LimitChange::Reset),
        text => parse_rate(text).map(LimitChange::Rate),
    }
}

impl Limit {
    pub(crate) fn run(&self, session: &mut Session) -> Result<Exit, Failure> {
        let Some(limit) = self.change else {
            session.show(&LimitGet {}, describe)?;
            return Ok(Exit::Success);
        };
        let direction = match (self.upload, self.download) {
            (true, _) => Some(Direction::Upload),
            (_, true) => Some(Direction::Download),
            _ => None,
        };
        let target = self.target.clone().map(LimitScope::Target);
        let scope = target.or_else(|| self.job.as_deref().map(|job| LimitScope::Job(JobId::from(job))));
        let request_id = request_id()?;
        session.show(&LimitSet { request_id, limit, direction, scope, for_seconds: self.for_seconds }, describe)?;
        Ok(Exit::Success)
    }
}

fn describe(list: &LimitList, out: &Output) -> Vec<String> {
    let mut lines: Vec<String> = list.limits.iter().map(|limit| line(limit, out)).collect();
    if lines.is_empty() {
        lines.push("No limit is in force.".to_owned());
    }
    if let (Some(up), Some(down)) = (list.uploaded, list.downloaded) {
        lines.push(format!(
            "Since the daemon started, {} went to targets and {} came from them.",
            size(up),
            size(down)
        ));
    }
    lines
}

/// Says one limit in a sentence.
pub(crate) fn line(limit: &InForce, out: &Output) -> String {
    let scope = match &limit.scope {
        LimitScope::Everything => "everything together".to_owned(),
        LimitScope::Target(name) => format!("target {name}"),
        LimitScope::Job(id) => format!("job {id}"),
    };
    let rate =
        limit.bytes_per_second.map_or_else(|| "not limited".to_owned(), |bytes| format!("at most {}", rate(bytes)));
    let source = match (limit.source, &limit.reason) {
        (LimitSource::Hand, _) => "set by hand",
        (LimitSource::Config, None) => "by the config",
        (LimitSource::Config, Some(_)) => "by the config, ",
        (LimitSource::Conditions, None) => "by the conditions",
        (LimitSource::Conditions, Some(_)) => "by the conditions, ",
        (LimitSource::Failures, None) => "because it fails",
        (LimitSource::Failures, Some(_)) => "because ",
        (LimitSource::Unknown, _) => "for a reason this version has no words for",
    };
    let reason = limit.reason.as_deref().filter(|_| source.ends_with(' ')).unwrap_or_default();
    let until = limit.until.map(|until| format!(" until {}", text::time(until, out.zone()))).unwrap_or_default();
    format!(
        "{} of {scope}: {rate} ({source}{reason}{until})",
        text::sentence(limit.direction.as_str()).trim_end_matches('.')
    )
}
