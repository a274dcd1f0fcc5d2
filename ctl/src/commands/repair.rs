//! `repair`: save what can be saved of a damaged target, and name what is lost.

use backup_proto::error::Exit;
use backup_proto::spec::{JobSpec, RepairSpec};
use clap::Args;

use crate::args::Queueing;
use crate::exit::Failure;
use crate::follow;
use crate::session::Session;

/// Repair a damaged target; without --yes, only say what would be done and what is lost.
///
/// All data is read first. Then locks that were left behind are removed, the index is made to say what the packs hold, what
/// is good in damaged packs is saved in new ones, and each snapshot that has lost something gets a new one beside it that
/// has the rest. Nothing is removed before what replaces it is written.
///
/// If the files are still in their places, back up before: that stores again what is lost.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  backupctl repair                  what would be done, in order, and what is lost
  backupctl repair --yes            do it; damaged snapshots stay beside the new ones
  backupctl repair --yes --forget   and remove the damaged snapshots")]
pub(crate) struct Repair {
    /// Repair this target [default: local].
    #[arg(long, value_name = "NAME")]
    target: Option<String>,
    /// Change nothing, and say what would be done; as without --yes.
    #[arg(long, short = 'n')]
    dry_run: bool,
    /// Do it.
    #[arg(long, conflicts_with = "dry_run")]
    yes: bool,
    /// Remove the damaged snapshots as well: what is left of them is in the new ones.
    #[arg(long)]
    forget: bool,
    #[command(flatten)]
    queueing: Queueing,
}

impl Repair {
    pub(crate) fn run(&self, session: &mut Session) -> Result<Exit, Failure> {
        let dry_run = self.dry_run || !self.yes;
        let spec = RepairSpec { target: self.target.clone(), dry_run, forget: self.forget };
        let submit = self.queueing.submit(JobSpec::Repair(spec))?;
        follow::run(session, &[submit], self.queueing.detach, &follow::watch_interrupt()?)
    }
}
