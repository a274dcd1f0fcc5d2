//! `snapshots`: what was saved, and when.

use std::path::PathBuf;

use backup_proto::error::Exit;
use backup_proto::params::SnapshotList;
use backup_proto::snapshot::Snapshot;
use clap::Args;

use crate::exit::Failure;
use crate::input::Base;
use crate::render::Output;
use crate::session::Session;
use crate::text;

/// List snapshots, oldest first.
#[derive(Debug, Args)]
pub(crate) struct Snapshots {
    /// Only those in this target.
    #[arg(long, value_name = "NAME")]
    target: Option<String>,
    /// Only those made by this plan.
    #[arg(long, value_name = "NAME")]
    plan: Option<String>,
    /// Only those made on this host.
    #[arg(long, value_name = "NAME")]
    host: Option<String>,
    /// Only those of this source.
    #[arg(long, value_name = "PATH")]
    path: Option<PathBuf>,
}

impl Snapshots {
    pub(crate) fn run(&self, session: &mut Session) -> Result<Exit, Failure> {
        let path = match &self.path {
            Some(path) => Some(Base::of_process()?.wire(path)),
            None => None,
        };
        let snapshots: Vec<Snapshot> = session.all(|page| SnapshotList {
            target: self.target.clone(),
            plan: self.plan.clone(),
            host: self.host.clone(),
            path: path.clone(),
            page,
        })?;
        let heading = ["ID", "TIME", "TARGET", "HOST", "SIZE", "SOURCES"];
        session.table(&snapshots, &heading, "There are no snapshots.", row)?;
        Ok(Exit::Success)
    }
}

fn row(snapshot: &Snapshot, out: &Output) -> Vec<String> {
    let mut sources: Vec<String> = snapshot.paths.iter().map(ToString::to_string).collect();
    if !snapshot.tags.is_empty() {
        sources.push(format!("[{}]", snapshot.tags.join(", ")));
    }
    if let Some(note) = &snapshot.note {
        let user = note.user.as_ref().map(|user| format!(", for {user}")).unwrap_or_default();
        sources.push(format!("({}{user})", text::plain(&note.reason)));
    }
    if snapshot.is_incomplete {
        sources.push("(incomplete)".to_owned());
    }
    vec![
        text::short_id(&snapshot.id).to_owned(),
        text::time(snapshot.time, out.zone()),
        snapshot.target.clone(),
        snapshot.host.clone(),
        snapshot.bytes.map(text::size).unwrap_or_default(),
        sources.join(" "),
    ]
}
