//! `targets`: each place where backups go, with all that is known of it.

use backup_proto::error::{Class, Exit};
use backup_proto::job::{Job, JobId, VerdictKind};
use backup_proto::limit::{Limit, LimitGet, LimitScope};
use backup_proto::params::{JobList, TargetList};
use backup_proto::target::Target as Info;
use clap::Args;
use serde::Serialize;

use super::limit;
use super::target::{breaker_lines, state_word};
use crate::exit::Failure;
use crate::render::Output;
use crate::session::Session;
use crate::text;

/// Show each target: whether it is used, its limits, its room, and what is parked there.
#[derive(Debug, Args)]
pub(crate) struct Targets {}

/// A target with what concerns it elsewhere.
#[derive(Debug, Serialize)]
struct Shown {
    #[serde(flatten)]
    target: Info,
    /// The limits of speed that count there; those for everything together are among them.
    limits: Vec<Limit>,
    /// The jobs that wait until somebody has mended something.
    parked: Vec<Parked>,
}

/// A job that is parked.
#[derive(Debug, Serialize)]
struct Parked {
    job: JobId,
    /// What has to be mended.
    class: Option<Class>,
    /// The reason as a sentence.
    sentence: String,
}

impl Targets {
    pub(crate) fn run(&self, session: &mut Session) -> Result<Exit, Failure> {
        let targets: Vec<Info> = session.all(|page| TargetList { page })?;
        let jobs: Vec<Job> = session.all(|page| JobList { page, states: Vec::new(), all: false })?;
        let limits = session.call(&LimitGet {})?.limits;
        let shown: Vec<Shown> = targets.into_iter().map(|target| shown(target, &limits, &jobs)).collect();
        match session.out.is_json() {
            true => session.out.json(&shown)?,
            false => {
                let blocks: Vec<Vec<String>> = shown.iter().map(|target| block(target, &session.out)).collect();
                session.out.lines(blocks.join(&String::new()))?;
            }
        }
        Ok(Exit::Success)
    }
}

fn shown(target: Info, limits: &[Limit], jobs: &[Job]) -> Shown {
    let concerns = |limit: &&Limit| match &limit.scope {
        LimitScope::Everything => true,
        LimitScope::Target(name) => *name == target.name,
        LimitScope::Job(_) => false,
    };
    let limits = limits.iter().filter(concerns).cloned().collect();
    let here = jobs.iter().filter(|job| job.target.as_ref() == Some(&target.name));
    let parked = here.filter_map(|job| {
        let verdict = job.verdict.as_ref().filter(|verdict| verdict.kind == VerdictKind::Parked)?;
        let class = job.error.as_ref().map(|error| error.data.class);
        Some(Parked { job: job.id.clone(), class, sentence: verdict.sentence.clone() })
    });
    let parked = parked.collect();
    Shown { limits, parked, target }
}

fn block(shown: &Shown, out: &Output) -> Vec<String> {
    let target = &shown.target;
    let id = target.repository_id.as_deref().map(text::short_id);
    let repository = id.map_or_else(|| "no repository yet".to_owned(), |id| format!("repository {id}"));
    let free = target.free_bytes.map_or_else(|| "not known".to_owned(), text::size);
    let last = target.last_success.map_or_else(|| "never".to_owned(), |time| text::time(time, out.zone()));
    let mut lines = vec![
        format!("{}: {}", target.name, state_word(target)),
        format!("  At {}, {repository}", target.url),
        format!("  Free there: {free}; last success: {last}"),
    ];
    let more = breaker_lines(target, out).into_iter().map(|line| line.trim_start().to_owned());
    let more = more.chain(shown.limits.iter().map(|one| limit::line(one, out)));
    let parked = shown.parked.iter().map(|one| format!("Job {} is parked. {}", one.job, text::sentence(&one.sentence)));
    let more = more.chain(parked).chain(target.notice.iter().cloned());
    lines.extend(more.map(|line| format!("  {line}")));
    lines
}
