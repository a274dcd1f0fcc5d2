//! `forget`: remove snapshots that nobody needs any more.

use std::path::PathBuf;

use backup_proto::error::Exit;
use backup_proto::spec::{ForgetSpec, GroupBy, JobSpec};
use clap::Args;

use crate::args::Queueing;
use crate::exit::Failure;
use crate::follow;
use crate::input::Base;
use crate::keep::KeepArguments;
use crate::session::Session;

/// Remove snapshots: those that no rule keeps, or those that are named.
///
/// Their data stays where it is until a prune. Each group of snapshots of one host and the same sources is judged by
/// itself. Held snapshots (a tag `backupd:hold=DATE`, `pinned` in the configuration) stay, and so do those from the
/// future and the newest complete one. Where a source shrank by more than half nothing goes until somebody confirms.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  backupctl forget --plan documents --dry-run          by what the plan says is kept
  backupctl forget --keep-daily 7 --keep-within-weekly 1y --dry-run
  backupctl forget 5e1d0b7c")]
pub(crate) struct Forget {
    /// Remove these: the starts of their ids.
    #[arg(value_name = "SNAPSHOT")]
    snapshots: Vec<String>,
    /// Only snapshots of this plan, and by its rule unless another one is given.
    #[arg(long, value_name = "NAME")]
    plan: Option<String>,
    /// In this target [default: the plan's, or local].
    #[arg(long, value_name = "NAME")]
    target: Option<String>,
    /// Only snapshots made on this host; may be repeated.
    #[arg(long = "host", value_name = "NAME")]
    hosts: Vec<String>,
    /// Only snapshots of this source; may be repeated, and then all have to be there.
    #[arg(long = "path", value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Only snapshots that have each of these tags; may be repeated.
    #[arg(long = "tag", value_name = "TAG[,TAG…]")]
    tags: Vec<String>,
    /// What the snapshots of a group have in common, of host, paths and tags; empty: all are one group.
    #[arg(long, short = 'g', value_name = "WORDS", default_value = "host,paths")]
    group_by: String,
    /// A source that shrank by more than half is meant to be so small.
    #[arg(long)]
    confirm_shrunk: bool,
    /// Change nothing, and say of every snapshot what would become of it and why.
    #[arg(long, short = 'n')]
    dry_run: bool,
    #[command(flatten)]
    keep: KeepArguments,
    #[command(flatten)]
    queueing: Queueing,
}

impl Forget {
    pub(crate) fn run(&self, session: &mut Session) -> Result<Exit, Failure> {
        let submit = self.queueing.submit(JobSpec::Forget(self.spec(&Base::of_process()?)?))?;
        follow::run(session, &[submit], self.queueing.detach, &follow::watch_interrupt()?)
    }

    fn spec(&self, base: &Base) -> Result<ForgetSpec, Failure> {
        Ok(ForgetSpec {
            plan: self.plan.clone(),
            target: self.target.clone(),
            snapshots: self.snapshots.clone(),
            keep: self.keep.keep().map(Box::new),
            group_by: Some(group_by(&self.group_by).map_err(Failure::Usage)?),
            hosts: self.hosts.clone(),
            paths: self.paths.iter().map(|path| base.wire(path)).collect(),
            tags: self.tags.clone(),
            confirm_shrunk: self.confirm_shrunk,
            dry_run: self.dry_run,
        })
    }
}

fn group_by(text: &str) -> Result<Vec<GroupBy>, String> {
    let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
    let by = words.map(|word| match word {
        "host" | "hosts" => Ok(GroupBy::Host),
        "path" | "paths" => Ok(GroupBy::Paths),
        "tag" | "tags" => Ok(GroupBy::Tags),
        other => Err(format!("snapshots are grouped by host, paths and tags, not by `{other}`")),
    });
    by.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_typed_as_for_restic() {
        assert_eq!(group_by("host,paths"), Ok(vec![GroupBy::Host, GroupBy::Paths]));
        assert_eq!(group_by("tag"), Ok(vec![GroupBy::Tags]));
        assert_eq!(group_by(""), Ok(vec![]));
        assert!(group_by("size").unwrap_err().contains("`size`"));
    }
}
