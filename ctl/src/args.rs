//! The command line: which commands there are and what every one of them understands.

use std::path::PathBuf;

use backup_proto::job::Priority;
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::commands::{
    backup, cat, config, control, copy, diff, events, find, forget, hold, jobs, key, limit, ls, mount, plan, prune,
    repair, restore, rpc, shell, snapshots, stats, status, target, targets, verify, why,
};

/// Back up and restore with the backup daemon.
#[derive(Debug, Parser)]
#[command(
    name = "backupctl",
    version,
    max_term_width = 100,
    after_help = "Exit codes: 0 success, 1 failed, 2 usage, 3 partial, 4 no daemon, 5 not allowed, 6 cancelled, \
                  130 interrupted (the job goes on)."
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command understands.
#[derive(Debug, Args)]
pub(crate) struct Common {
    /// Print JSON: one document, or one line an event.
    #[arg(long, global = true, help_heading = "Common options")]
    pub(crate) json: bool,
    /// Talk to the daemon at this socket [default: $BACKUPD_SOCKET, then yours, then the system's].
    #[arg(long, global = true, value_name = "PATH", help_heading = "Common options")]
    pub(crate) socket: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Backup(backup::Backup),
    Restore(restore::Restore),
    Status(status::Status),
    Jobs(jobs::Jobs),
    Job(jobs::OneJob),
    Why(why::Why),
    Pause(control::Pause),
    Resume(control::Resume),
    Cancel(control::Cancel),
    Retry(control::Retry),
    Priority(control::SetPriority),
    Limit(limit::Limit),
    Snapshots(snapshots::Snapshots),
    Ls(ls::Ls),
    Find(find::Find),
    Diff(diff::Diff),
    Cat(cat::Cat),
    Mount(mount::Mount),
    Stats(stats::Stats),
    Hold(hold::Hold),
    Verify(verify::Verify),
    Forget(forget::Forget),
    Prune(prune::Prune),
    Repair(repair::Repair),
    Copy(copy::Copy),
    #[command(subcommand)]
    Target(target::Target),
    Targets(targets::Targets),
    #[command(subcommand)]
    Key(key::Key),
    #[command(subcommand)]
    Plan(plan::Plan),
    Conditions(status::Conditions),
    Events(events::Events),
    #[command(subcommand)]
    Config(config::Config),
    Rpc(rpc::Rpc),
    Schema(shell::Schema),
    Completions(shell::Completions),
}

/// How a job is put into the queue.
#[derive(Debug, Args)]
pub(crate) struct Queueing {
    /// How urgent it is.
    #[arg(long, value_name = "PRIORITY")]
    pub(crate) priority: Option<Urgency>,
    /// Run even if battery, network or load say no.
    #[arg(long)]
    pub(crate) now: bool,
    /// Why, for the ledger.
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    /// Print the job's id and do not wait for its end.
    #[arg(long)]
    pub(crate) detach: bool,
}

/// The priorities, as they are typed.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Urgency {
    Critical,
    High,
    Normal,
    Low,
}

impl From<Urgency> for Priority {
    fn from(urgency: Urgency) -> Self {
        match urgency {
            Urgency::Critical => Self::Critical,
            Urgency::High => Self::High,
            Urgency::Normal => Self::Normal,
            Urgency::Low => Self::Low,
        }
    }
}

/// Which snapshot `latest` means.
#[derive(Clone, Debug, Args)]
pub(crate) struct Latest {
    /// Look in this target only.
    #[arg(long, value_name = "NAME")]
    pub(crate) target: Option<String>,
    /// For `latest`: made by this plan.
    #[arg(long, value_name = "NAME")]
    pub(crate) plan: Option<String>,
    /// For `latest`: made on this host.
    #[arg(long, value_name = "NAME")]
    pub(crate) host: Option<String>,
    /// For `latest`: of this source.
    #[arg(long, value_name = "PATH")]
    pub(crate) path: Option<PathBuf>,
}
