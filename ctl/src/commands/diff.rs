//! `diff`: what changed between two snapshots.

use backup_proto::error::Exit;
use backup_proto::params::SnapshotDiff;
use backup_proto::snapshot::{Change, ChangeKind};
use clap::Args;

use crate::args::Latest;
use crate::commands::query;
use crate::exit::Failure;
use crate::input::Base;
use crate::session::Session;

/// Show what changed between two snapshots; exits 1 if anything did.
///
/// Each line starts with + (added), - (removed), M (contents changed), U (only metadata changed) or T (became another
/// kind of entry).
#[derive(Debug, Args)]
pub(crate) struct Diff {
    /// The first snapshot.
    a: String,
    /// The second snapshot.
    b: String,
    /// Also show entries of which only mode, owner, times or attributes changed.
    #[arg(long)]
    metadata: bool,
    #[command(flatten)]
    latest: Latest,
}

impl Diff {
    pub(crate) fn run(&self, session: &mut Session) -> Result<Exit, Failure> {
        let base = Base::of_process()?;
        let (a, b) = (query(self.a.clone(), &self.latest, &base), query(self.b.clone(), &self.latest, &base));
        let ask = |page| SnapshotDiff { a: a.clone(), b: b.clone(), metadata: self.metadata, page };
        let changes = session.stream(ask, |change: &Change, _| {
            let letter = match change.change {
                ChangeKind::Added => '+',
                ChangeKind::Removed => '-',
                ChangeKind::Modified => 'M',
                ChangeKind::Metadata => 'U',
                ChangeKind::Type => 'T',
                ChangeKind::Unknown => '?',
            };
            format!("{letter}  {}", change.path)
        })?;
        Ok(if changes == 0 { Exit::Success } else { Exit::Failed })
    }
}
