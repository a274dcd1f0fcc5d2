//! `hold`: keep a snapshot from being forgotten.

use backup_proto::error::Exit;
use backup_proto::note::SnapshotHold;
use backup_proto::snapshot::Snapshot;
use clap::Args;

use crate::args::Latest;
use crate::commands::query;
use crate::exit::Failure;
use crate::input::{Base, request_id};
use crate::session::Session;
use crate::text::short_id;

/// Keep a snapshot from being forgotten until a day is over, or let it go again.
///
/// The snapshot is written anew with the tag `backupd:hold=DATE`, as `restic tag` does, and so has another id.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  backupctl hold 5e1d --until 2027-01-31
  backupctl hold latest --plan taxes --until forever
  backupctl hold 5e1d --release")]
pub(crate) struct Hold {
    /// The snapshot: the beginning of its id, or `latest`.
    snapshot: String,
    /// Until this day is over everywhere, as 2027-01-31, or `forever`.
    #[arg(long, value_name = "DATE", required_unless_present = "release", conflicts_with = "release")]
    until: Option<String>,
    /// Let it go again.
    #[arg(long)]
    release: bool,
    #[command(flatten)]
    latest: Latest,
}

impl Hold {
    pub(crate) fn run(&self, session: &mut Session) -> Result<Exit, Failure> {
        let query = query(self.snapshot.clone(), &self.latest, &Base::of_process()?);
        let call = SnapshotHold { request_id: request_id()?, query, until: self.until.clone() };
        session.show(&call, |snapshot: &Snapshot, _| {
            let id = short_id(&snapshot.id);
            vec![match &self.until {
                Some(until) => format!("Held until {until}; the snapshot is {id} now."),
                None => format!("Held no more; the snapshot is {id} now."),
            }]
        })?;
        Ok(Exit::Success)
    }
}
