//! `find`: which snapshots have a file.

use backup_proto::error::Exit;
use backup_proto::params::SnapshotFind;
use backup_proto::snapshot::Found;
use clap::Args;

use crate::commands::ls::entry_line;
use crate::exit::Failure;
use crate::session::Session;
use crate::text;

/// Find files in all snapshots by name.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  backupctl find taxes.ods
  backupctl find '*.odt' --snapshot latest")]
pub(crate) struct Find {
    /// A name or path; `*` and `?` stand for any letters.
    pattern: String,
    /// Look in this target only.
    #[arg(long, value_name = "NAME")]
    target: Option<String>,
    /// Look in this snapshot only.
    #[arg(long, value_name = "ID")]
    snapshot: Option<String>,
    /// Look in snapshots made on this host only.
    #[arg(long, value_name = "NAME")]
    host: Option<String>,
}

impl Find {
    /// Finding nothing is a failure, so that a script can ask for a file.
    pub(crate) fn run(&self, session: &mut Session) -> Result<Exit, Failure> {
        let ask = |page| SnapshotFind {
            pattern: self.pattern.clone(),
            target: self.target.clone(),
            snapshot: self.snapshot.clone(),
            host: self.host.clone(),
            page,
        };
        let found = session.stream(ask, |found: &Found, out| {
            format!("{} {}", text::short_id(&found.snapshot), entry_line(&found.entry, out))
        })?;
        if found == 0 {
            session.out.note("Nothing was found.");
            return Ok(Exit::Failed);
        }
        Ok(Exit::Success)
    }
}
