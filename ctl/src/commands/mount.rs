//! `mount`: snapshots as a folder.

use std::path::PathBuf;
use std::sync::Arc;

use backup_proto::error::Exit;
use backup_proto::params::TargetList;
use backup_proto::path::WirePath;
use backup_proto::snapshot::Snapshot;
use backup_proto::target::{Target, TargetState};
use backup_proto::version::BULK_KEEP;
use clap::Args;
use serde_json::json;

use crate::exit::Failure;
use crate::input::Base;
use crate::mount::{self, Mounted, Source, Top, place};
use crate::render::Output;
use crate::session::Session;

/// Look into snapshots as a folder, until Ctrl-C or `umount`.
///
/// The folder can only be read. It has `ids`, `snapshots` (by time), `hosts` and `tags`; `latest` is the newest of each.
/// New snapshots appear in it. Nothing is fetched before somebody opens it. It needs FUSE.
#[derive(Debug, Args)]
#[command(after_long_help = "Example:
  mkdir /tmp/snapshots && backupctl mount /tmp/snapshots &
  ls /tmp/snapshots/snapshots/latest
  umount /tmp/snapshots")]
pub(crate) struct Mount {
    /// An empty folder.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// The snapshots in this target; needed if there are several.
    #[arg(long, value_name = "NAME")]
    target: Option<String>,
    /// Only what is in this snapshot: the start of its id, or `latest`.
    #[arg(long, value_name = "ID")]
    snapshot: Option<String>,
    /// Let other users look as well, each at what the modes in the snapshot allow.
    #[arg(long)]
    allow_other: bool,
}

impl Mount {
    pub(crate) fn run(&self, session: &mut Session) -> Result<Exit, Failure> {
        let welcome = session.client.connection().welcome();
        if !welcome.capabilities.iter().any(|ability| ability == BULK_KEEP) {
            let problem = format!("{} is too old for this mount", welcome.server);
            return Err(place::refused(problem, "Restart the daemon after the upgrade.".to_owned()));
        }
        place::check_folder(&self.folder)?;
        mount::check_system()?;
        let (source, top) = self.source(session)?;
        let saying = Output::new(false);
        let mounted = Mounted::new(source, top, Box::new(move |line| saying.note(line)));
        let folder = Base::of_process()?.absolute(&self.folder);
        mount::serve(mounted, &folder, self.allow_other, || {
            let line = format!("The snapshots are in {} until Ctrl-C or `umount`.", folder.display());
            let json = json!({ "type": "mounted", "folder": WirePath::from(folder.as_path()) });
            let said = if session.out.is_json() { session.out.json(&json) } else { session.out.line(&line) };
            Ok(said?)
        })
    }

    /// Returns whom to ask, and what is at the top.
    fn source(&self, session: &mut Session) -> Result<(Source, Top), Failure> {
        let target = match (&self.target, &self.snapshot) {
            (None, None) => only_target(session)?,
            (target, _) => target.clone(),
        };
        // It has a connection of its own, for as long as the mount lasts.
        let source = Source::new(session.client.another()?, target, mount::SILENCE);
        // A wrong name is said now, not when somebody looks.
        let snapshots = source.snapshots()?;
        let top = match &self.snapshot {
            None => Top::Names(session.out.zone().clone()),
            Some(text) => Top::Snapshot(chosen(text, &snapshots)?),
        };
        Ok((source, top))
    }
}

/// Returns the one target that has a repository, or none if there is no such target at all.
fn only_target(session: &mut Session) -> Result<Option<String>, Failure> {
    let targets: Vec<Target> = session.all(|page| TargetList { page })?;
    // One that is new to this run of the daemon may have a repository all the same.
    let is_made = |target: &Target| target.state != TargetState::New || target.repository_id.is_some();
    let mut names: Vec<String> = targets.into_iter().filter(is_made).map(|target| target.name).collect();
    if names.len() > 1 {
        let problem = format!("there are several targets: {}", names.join(", "));
        return Err(Failure::Usage(format!("{problem}; say which with `--target`")));
    }
    Ok(names.pop())
}

/// Returns the snapshot that is meant.
fn chosen(text: &str, snapshots: &[Arc<Snapshot>]) -> Result<Arc<Snapshot>, Failure> {
    let refused = |problem| place::refused(problem, "`backupctl snapshots` lists those there are.".to_owned());
    if text.eq_ignore_ascii_case("latest") {
        let latest = mount::latest(snapshots).cloned();
        return latest.ok_or_else(|| refused("there is no snapshot".to_owned()));
    }
    let beginning = text.to_ascii_lowercase();
    let mut fitting = snapshots.iter().filter(|snapshot| snapshot.id.starts_with(&beginning));
    match (fitting.next(), fitting.next()) {
        (Some(one), None) if !beginning.is_empty() => Ok(Arc::clone(one)),
        (Some(_), _) => Err(refused(format!("`{text}` is the beginning of several snapshots' ids"))),
        (None, _) => Err(refused(format!("there is no snapshot `{text}`"))),
    }
}
