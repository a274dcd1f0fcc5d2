//! `plan`: which sources go where, and when.

use std::path::PathBuf;

use backup_proto::error::Exit;
use backup_proto::params::{PlanAdd, PlanList};
use backup_proto::target::{Keep, Plan as Info};
use clap::{Args, Subcommand};

use crate::exit::Failure;
use crate::input::{Base, request_id};
use crate::keep::keep;
use crate::render::Output;
use crate::session::Session;
use crate::text;

/// See and change what is backed up when.
#[derive(Debug, Subcommand)]
pub(crate) enum Plan {
    /// List plans.
    List,
    /// Add a plan to the configuration.
    Add(Box<Add>),
}

#[derive(Debug, Args)]
#[command(after_long_help = "Example:
  backupctl plan add documents ~/Documents ~/Pictures --exclude '*.tmp' \\
      --target local --target nas --schedule 'every 1h' --keep last=5,daily=7,monthly=12")]
pub(crate) struct Add {
    /// Its name.
    name: String,
    /// Files and folders to save.
    #[arg(required = true)]
    sources: Vec<PathBuf>,
    /// Save this before the rest, into a snapshot of its own that stays until the whole one is there: a source, or what is
    /// below one; may be repeated.
    #[arg(long, value_name = "PATH")]
    critical: Vec<PathBuf>,
    /// Leave out what matches; may be repeated.
    #[arg(long, value_name = "PATTERN")]
    exclude: Vec<String>,
    /// Save to this target; may be repeated [default: local].
    #[arg(long = "target", value_name = "NAME")]
    targets: Vec<String>,
    /// When: 'every 1h', 'daily 02:30', 'weekly sunday 03:00', a cron line, or 'continuous' [default: only when asked].
    #[arg(long, value_name = "TIMES")]
    schedule: Option<String>,
    /// Which snapshots to keep, such as last=5,daily=7,monthly=12 or within=30d; the words are those of `forget
    /// --keep-…` [default: all].
    #[arg(long, value_name = "RULE", value_parser = keep)]
    keep: Option<Keep>,
}

impl Plan {
    pub(crate) fn run(&self, session: &mut Session) -> Result<Exit, Failure> {
        match self {
            Self::List => {
                let plans: Vec<Info> = session.all(|page| PlanList { page })?;
                let heading = ["NAME", "SCHEDULE", "NEXT", "LAST SUCCESS", "TARGETS", "SOURCES"];
                session.table(&plans, &heading, "There are no plans; `backupctl plan add` makes one.", row)?;
            }
            Self::Add(add) => {
                let call = PlanAdd { request_id: request_id()?, plan: add.plan(&Base::of_process()?) };
                session.show(&call, |added, _| {
                    let name = &added.plan.name;
                    vec![
                        format!("Added the plan {name} to {}.", added.config),
                        format!("Run it now with `backupctl backup {name}`."),
                        format!("How much it will store, and whether that fits: `backupctl backup {name} --dry-run`."),
                    ]
                })?;
            }
        }
        Ok(Exit::Success)
    }
}

impl Add {
    fn plan(&self, base: &Base) -> Info {
        Info {
            name: self.name.clone(),
            sources: self.sources.iter().map(|source| base.wire(source)).collect(),
            critical: self.critical.iter().map(|path| base.wire(path)).collect(),
            exclude: self.exclude.clone(),
            targets: self.targets.clone(),
            schedule: self.schedule.clone(),
            keep: self.keep.clone(),
            ..Info::default()
        }
    }
}

fn row(plan: &Info, out: &Output) -> Vec<String> {
    let time = |time: Option<jiff::Timestamp>| time.map_or_else(|| "-".to_owned(), |time| text::time(time, out.zone()));
    vec![
        plan.name.clone(),
        schedule(plan),
        time(plan.next_run),
        time(plan.last_success),
        if plan.targets.is_empty() { "local".to_owned() } else { plan.targets.join(", ") },
        plan.sources.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
    ]
}

/// Says when a plan is due, and within which times of the week.
fn schedule(plan: &Info) -> String {
    match (&plan.schedule, &plan.window) {
        (None, _) => "when asked".to_owned(),
        (Some(schedule), None) => schedule.clone(),
        (Some(schedule), Some(window)) => format!("{schedule}, within {window}"),
    }
}
