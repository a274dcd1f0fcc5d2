//! `stats`: how much snapshots hold, and how much that takes.

use backup_proto::error::Exit;
use backup_proto::note::{SnapshotStats, Stats as Counted, TargetStats};
use clap::Args;

use crate::exit::Failure;
use crate::render::Output;
use crate::session::Session;
use crate::text;

/// Say how much snapshots hold, and how much of each target that takes.
///
/// RESTORE is what a restore of all of them would write, DISTINCT what is left when files with the same contents count
/// once, UNIQUE the pieces of it that are kept once, and STORED the same compressed and encrypted.
#[derive(Debug, Args)]
pub(crate) struct Stats {
    /// Only these snapshots: beginnings of ids, or `latest` [default: all].
    #[arg(value_name = "SNAPSHOT")]
    snapshots: Vec<String>,
    /// Look in this target only.
    #[arg(long, value_name = "NAME")]
    target: Option<String>,
    /// Only snapshots made on this host.
    #[arg(long, value_name = "NAME")]
    host: Option<String>,
}

impl Stats {
    pub(crate) fn run(&self, session: &mut Session) -> Result<Exit, Failure> {
        let (target, snapshots, host) = (self.target.clone(), self.snapshots.clone(), self.host.clone());
        session.show(&SnapshotStats { target, snapshots, host }, lines)?;
        Ok(Exit::Success)
    }
}

fn lines(counted: &Counted, _: &Output) -> Vec<String> {
    if counted.targets.is_empty() {
        return vec!["There are no snapshots.".to_owned()];
    }
    let heading =
        ["TARGET", "SNAPSHOTS", "FILES", "RESTORE", "DISTINCT", "UNIQUE", "STORED", "COMPRESSED", "DEDUPLICATED"];
    let mut rows = vec![heading.map(str::to_owned).to_vec()];
    rows.extend(counted.targets.iter().map(row));
    text::table(&rows)
}

fn row(counted: &TargetStats) -> Vec<String> {
    vec![
        counted.target.clone(),
        counted.snapshots.to_string(),
        counted.files.to_string(),
        text::size(counted.restore_bytes),
        text::size(counted.distinct_bytes),
        text::size(counted.contents_bytes),
        text::size(counted.stored_bytes),
        format!("{:.2}x", counted.compression_ratio),
        format!("{:.2}x", counted.dedup_ratio),
    ]
}
