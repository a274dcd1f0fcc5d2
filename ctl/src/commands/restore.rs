//! `restore`: bring files back.

use std::ffi::OsString;
use std::path::PathBuf;

use backup_proto::client::ClientError;
use backup_proto::error::{ErrorKind, Exit};
use backup_proto::size::parse_size;
use backup_proto::spec::{Destination, JobSpec, Overwrite, RestoreItem, RestoreLimits, RestoreSpec};
use clap::{Args, ValueEnum};

use crate::args::{Latest, Queueing};
use crate::commands::query;
use crate::exit::Failure;
use crate::follow::{self, Watched};
use crate::input::{Base, snapshot_and_path};
use crate::session::Session;

/// Restore snapshots, or parts of them.
///
/// `SNAPSHOT` is the start of an id, or `latest`. A whole snapshot is written below the destination under its absolute
/// paths; with `:PATH` the contents of that path go straight into the destination. What is there already and differs
/// is kept and listed, unless `--overwrite` says otherwise.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  backupctl restore latest --to /tmp/back              all of it, as /tmp/back/home/ada/…
  backupctl restore 5e1d0b7c:/home/ada/photos --to ~/photos
  backupctl restore latest --plan documents --include '*.odt' --to /tmp/back --dry-run
  backupctl restore latest:/etc/fstab --in-place --overwrite always --keep-replaced")]
pub(crate) struct Restore {
    /// What to restore.
    #[arg(value_name = "SNAPSHOT[:PATH]", required = true)]
    what: Vec<OsString>,
    /// Write into this folder.
    #[arg(long, value_name = "DIR", required_unless_present = "in_place", conflicts_with = "in_place")]
    to: Option<PathBuf>,
    /// Write to the original paths.
    #[arg(long)]
    in_place: bool,
    /// Restore only what matches; may be repeated.
    #[arg(long, value_name = "PATTERN")]
    include: Vec<String>,
    /// Leave out what matches; may be repeated.
    #[arg(long, value_name = "PATTERN")]
    exclude: Vec<String>,
    /// Replace what is there and differs: never, if it is older than the snapshot's, or always.
    #[arg(long, value_name = "WHEN", default_value = "never")]
    overwrite: When,
    /// Keep each replaced file beside the new one.
    #[arg(long)]
    keep_replaced: bool,
    /// Delete what is in the destination but not in the snapshot; what that is is shown first.
    #[arg(long)]
    delete: bool,
    /// Delete without being asked, after what is deleted was shown.
    #[arg(long, requires = "delete")]
    yes: bool,
    /// Change nothing, and say what would be done.
    #[arg(long)]
    dry_run: bool,
    /// Go beyond a bound that protects from hostile repositories: `entries`, `size`, `depth`, `folder` (entries of one)
    /// or `blob` (its size), as in `size=20TiB`; may be repeated.
    #[arg(long = "limit", value_name = "NAME=VALUE")]
    limits: Vec<String>,
    #[command(flatten)]
    latest: Latest,
    #[command(flatten)]
    queueing: Queueing,
}

/// When an existing entry is replaced.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum When {
    Never,
    Older,
    Always,
}

impl From<When> for Overwrite {
    fn from(when: When) -> Self {
        match when {
            When::Never => Self::Never,
            When::Older => Self::Older,
            When::Always => Self::Always,
        }
    }
}

impl Restore {
    pub(crate) fn run(&self, session: &mut Session) -> Result<Exit, Failure> {
        let spec = self.spec(&Base::of_process()?).map_err(Failure::Usage)?;
        let watched = follow::watch_interrupt()?;
        let wanted = self.queueing.submit(JobSpec::Restore(spec.clone()))?;
        match follow::run(session, &[wanted], self.queueing.detach, &watched) {
            Err(Failure::Client(ClientError::Remote(error))) if error.data.kind == ErrorKind::DryRunNeeded => {
                self.show_and_ask(session, spec, &watched)
            }
            other => other,
        }
    }

    /// Shows what would be deleted, and does it if that is what is wanted.
    fn show_and_ask(&self, session: &mut Session, spec: RestoreSpec, watched: &Watched) -> Result<Exit, Failure> {
        let dry = self.queueing.submit(JobSpec::Restore(RestoreSpec { dry_run: true, ..spec.clone() }))?;
        let shown = follow::run(session, &[dry], false, watched)?;
        if shown != Exit::Success {
            return Ok(shown);
        }
        if !self.yes && !session.out.ask("Restore, and delete what is named above?")? {
            let message = "nothing was deleted and nothing restored; what is named above would be deleted";
            return Err(Failure::Unconfirmed(message.to_owned()));
        }
        let wanted = self.queueing.submit(JobSpec::Restore(spec))?;
        follow::run(session, &[wanted], self.queueing.detach, watched)
    }

    fn spec(&self, base: &Base) -> Result<RestoreSpec, String> {
        let item = |argument: &OsString| {
            let (snapshot, inside) = snapshot_and_path(argument)?;
            Ok(RestoreItem { snapshot: query(snapshot, &self.latest, base), inside })
        };
        let destination = match &self.to {
            Some(folder) => Destination::Folder(base.wire(folder)),
            None => Destination::InPlace,
        };
        Ok(RestoreSpec {
            items: self.what.iter().map(item).collect::<Result<_, String>>()?,
            destination,
            include: self.include.clone(),
            exclude: self.exclude.clone(),
            overwrite: self.overwrite.into(),
            keep_replaced: self.keep_replaced,
            delete: self.delete,
            dry_run: self.dry_run,
            limits: limits(&self.limits)?,
        })
    }
}

/// Reads bounds as they are typed.
fn limits(typed: &[String]) -> Result<RestoreLimits, String> {
    let mut limits = RestoreLimits::default();
    for text in typed {
        let (name, value) = text.split_once('=').ok_or_else(|| format!("`{text}` is no bound; write `NAME=VALUE`"))?;
        let bound = match name {
            "entries" => &mut limits.entries,
            "size" => &mut limits.total_bytes,
            "depth" => &mut limits.depth,
            "folder" => &mut limits.folder_entries,
            "blob" => &mut limits.blob_bytes,
            _ => return Err(format!("there is no bound `{name}`; there are entries, size, depth, folder and blob")),
        };
        let counts = matches!(name, "entries" | "depth" | "folder");
        *bound = Some(if counts {
            value.parse().map_err(|_| format!("`{value}` is no number"))?
        } else {
            parse_size(value)?
        });
    }
    Ok(limits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_typed_with_their_names() {
        let typed = ["size=20TiB", "folder=9000000", "blob=3 GiB"].map(str::to_owned);
        let wanted = RestoreLimits {
            total_bytes: Some(20 << 40),
            folder_entries: Some(9_000_000),
            blob_bytes: Some(3 << 30),
            ..RestoreLimits::default()
        };
        assert_eq!(limits(&typed), Ok(wanted));
        for wrong in ["size", "width=3", "depth=3MiB", "entries=", "size=many"] {
            assert!(limits(&[wrong.to_owned()]).is_err(), "{wrong}");
        }
    }
}
