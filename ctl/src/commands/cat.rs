//! `cat`: the contents of one file in a snapshot.

use std::ffi::OsString;

use backup_proto::client::ClientError;
use backup_proto::error::Exit;
use backup_proto::params::SnapshotCat;
use clap::Args;

use crate::args::Latest;
use crate::commands::query;
use crate::exit::Failure;
use crate::input::{Base, snapshot_and_path};
use crate::session::Session;

/// Write the contents of a file in a snapshot to standard output.
#[derive(Debug, Args)]
#[command(after_long_help = "Example:
  backupctl cat latest:/home/ada/notes.txt | less")]
pub(crate) struct Cat {
    /// Snapshot and path.
    #[arg(value_name = "SNAPSHOT:PATH")]
    what: OsString,
    #[command(flatten)]
    latest: Latest,
}

impl Cat {
    pub(crate) fn run(&self, session: &mut Session) -> Result<Exit, Failure> {
        if session.out.is_json() {
            return Err(Failure::Usage("`cat` writes the bytes of the file as they are; leave out --json".to_owned()));
        }
        let (snapshot, path) = snapshot_and_path(&self.what).map_err(Failure::Usage)?;
        let file = path.ok_or_else(|| Failure::Usage("say which file, as in `latest:/home/ada/a.txt`".to_owned()))?;
        let query = query(snapshot, &self.latest, &Base::of_process()?);
        let bytes = session.client.cat(&SnapshotCat { query, file })?;
        bytes.copy_to(&mut session.out.raw()).map_err(ClientError::from)?;
        Ok(Exit::Success)
    }
}
