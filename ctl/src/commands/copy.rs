//! `copy`: snapshots of one target to another.

use std::path::PathBuf;

use backup_proto::error::Exit;
use backup_proto::spec::{CopySpec, JobSpec};
use clap::Args;

use crate::args::Queueing;
use crate::exit::Failure;
use crate::follow;
use crate::input::Base;
use crate::session::Session;

/// Copy snapshots from one target to another.
///
/// What the other target has already is not copied again. Each piece is checked on the way and sealed with the other
/// target's key. Two targets that cut files at different places do not share what both back up: make the second one
/// with `target init NAME --copy-chunker-params FIRST`.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  backupctl copy --from local --to usb            everything that usb lacks
  backupctl copy latest --from local --to usb --plan documents")]
pub(crate) struct Copy {
    /// Copy these: the starts of their ids, or `latest` [default: all].
    #[arg(value_name = "SNAPSHOT")]
    snapshots: Vec<String>,
    /// From this target.
    #[arg(long, value_name = "NAME")]
    from: String,
    /// To this target.
    #[arg(long, value_name = "NAME")]
    to: String,
    /// Only snapshots of this plan.
    #[arg(long, value_name = "NAME")]
    plan: Option<String>,
    /// Only snapshots made on this host; may be repeated.
    #[arg(long = "host", value_name = "NAME")]
    hosts: Vec<String>,
    /// Only snapshots of this source; may be repeated, and then all have to be there.
    #[arg(long = "path", value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Only snapshots that have each of these tags; may be repeated.
    #[arg(long = "tag", value_name = "TAG[,TAG…]")]
    tags: Vec<String>,
    #[command(flatten)]
    queueing: Queueing,
}

impl Copy {
    pub(crate) fn run(&self, session: &mut Session) -> Result<Exit, Failure> {
        let base = Base::of_process()?;
        let spec = CopySpec {
            from: self.from.clone(),
            target: Some(self.to.clone()),
            snapshots: self.snapshots.clone(),
            plan: self.plan.clone(),
            hosts: self.hosts.clone(),
            paths: self.paths.iter().map(|path| base.wire(path)).collect(),
            tags: self.tags.clone(),
        };
        let submit = self.queueing.submit(JobSpec::Copy(spec))?;
        follow::run(session, &[submit], self.queueing.detach, &follow::watch_interrupt()?)
    }
}
