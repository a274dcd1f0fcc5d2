//! `target`: where backups go.

use std::path::PathBuf;

use backup_proto::error::Exit;
use backup_proto::params::{TargetAdd, TargetAdopt, TargetCheckNow, TargetInit, TargetList};
use backup_proto::target::{BreakerState, Target as Info, TargetCheck, TargetState};
use clap::{Args, Subcommand};

use crate::exit::Failure;
use crate::input::{Base, request_id};
use crate::render::Output;
use crate::report::coverage;
use crate::session::Session;
use crate::text;

/// See and change where backups go.
#[derive(Debug, Subcommand)]
pub(crate) enum Target {
    /// List targets.
    List,
    /// Add a target to the configuration.
    Add(Add),
    /// Create the repository of a configured target.
    Init(Init),
    /// Take over an existing restic or rustic repository at a configured target.
    Adopt(Name),
    /// Open a target and say what is there.
    Check(Name),
}

#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  backupctl target add usb /media/ada/backup --password-file ~/usb.key
  backupctl target add nas sftp://backup@nas//srv/backup --password-command 'pass show nas'")]
pub(crate) struct Add {
    /// Its name.
    name: String,
    /// Where it is: a path, or a location as restic writes it.
    url: String,
    /// A file whose first line is the password.
    #[arg(long, value_name = "FILE", conflicts_with = "password_command")]
    password_file: Option<PathBuf>,
    /// A command that prints the password.
    #[arg(long, value_name = "COMMAND")]
    password_command: Option<String>,
}

#[derive(Debug, Args)]
#[command(after_long_help = "\
Repositories that cut files in the same way hold the same pieces of the same files: what `restic copy` takes from one to the \
other is then not stored a second time by a backup. It can only be chosen now.")]
pub(crate) struct Init {
    /// The target's name.
    name: String,
    /// Cut files as in the repository of this target.
    #[arg(long, value_name = "TARGET")]
    copy_chunker_params: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Name {
    /// The target's name.
    name: String,
}

impl Target {
    pub(crate) fn run(&self, session: &mut Session) -> Result<Exit, Failure> {
        match self {
            Self::List => {
                let targets: Vec<Info> = session.all(|page| TargetList { page })?;
                session.table(
                    &targets,
                    &["NAME", "STATE", "LAST SUCCESS", "LOCATION"],
                    "There are no targets.",
                    row,
                )?;
                if !session.out.is_json() {
                    let notices = targets.iter().filter_map(|t| t.notice.as_ref().map(|n| format!("{}: {n}", t.name)));
                    session.out.lines(notices)?;
                }
            }
            Self::Add(add) => {
                let call = add.call(&Base::of_process()?)?;
                let next = "Create its repository with `backupctl target init NAME`, or take an existing one over with \
                            `backupctl target adopt NAME`.";
                session
                    .show(&call, |t, _| vec![format!("Added {}: {}", t.name, t.url), next.replace("NAME", &t.name)])?;
            }
            Self::Init(Init { name, copy_chunker_params: like }) => {
                let (name, copy_chunker_params) = (name.clone(), like.clone());
                let call = TargetInit { request_id: request_id()?, name, copy_chunker_params };
                session.show(&call, |target, _| ready("Created", target))?;
            }
            Self::Adopt(Name { name }) => {
                let call = TargetAdopt { request_id: request_id()?, name: name.clone() };
                session.show(&call, |target, _| ready("Took over", target))?;
            }
            Self::Check(Name { name }) => {
                let check = session.show(&TargetCheckNow { name: name.clone() }, check_lines)?;
                return Ok(if check.findings.is_empty() { Exit::Success } else { Exit::Failed });
            }
        }
        Ok(Exit::Success)
    }
}

impl Add {
    fn call(&self, base: &Base) -> Result<TargetAdd, Failure> {
        // A location without a scheme is a path, and the daemon has another working folder.
        let is_path = !self.url.split('/').next().unwrap_or_default().contains(':');
        let url =
            if is_path { base.absolute(self.url.as_ref()).to_string_lossy().into_owned() } else { self.url.clone() };
        Ok(TargetAdd {
            request_id: request_id()?,
            name: self.name.clone(),
            url,
            password_file: self.password_file.as_deref().map(|path| base.wire(path)),
            password_command: self.password_command.clone(),
        })
    }
}

fn row(target: &Info, out: &Output) -> Vec<String> {
    let last = target.last_success.map_or_else(|| "never".to_owned(), |time| text::time(time, out.zone()));
    vec![target.name.clone(), state_word(target).to_owned(), last, target.url.clone()]
}

/// Says how a target is in a word or two.
pub(crate) fn state_word(target: &Info) -> &'static str {
    match (target.breaker.state, target.state) {
        (BreakerState::Open, _) => "left alone",
        (BreakerState::HalfOpen, _) => "being tried",
        (_, TargetState::Ready) => "ready",
        (_, TargetState::New) => "not used yet",
        (_, TargetState::Absent) => "absent",
        (_, TargetState::Failing) => "failing",
        (_, TargetState::Unknown) => "unknown",
    }
}

fn ready(verb: &str, target: &Info) -> Vec<String> {
    let id = target.repository_id.as_deref().map(text::short_id).unwrap_or_default();
    let mut lines = vec![format!("{verb} the repository {id} at {}; target {} is ready.", target.url, target.name)];
    lines.extend(target.notice.clone());
    lines
}

fn check_lines(check: &TargetCheck, out: &Output) -> Vec<String> {
    let target = &check.target;
    let snapshots = text::count(check.snapshots, "snapshot", "snapshots");
    let mut lines = vec![format!(
        "Target {} at {}: {}, repository format {}, {snapshots}.",
        target.name,
        target.url,
        state_word(target),
        check.format_version
    )];
    lines.extend(target.free_bytes.map(|free| format!("{} are free there.", text::size(free))));
    lines.extend(target.verified.as_ref().map(|known| coverage(known, out.zone())));
    lines.extend(target.notice.clone());
    lines.extend(check.findings.iter().map(|finding| text::sentence(finding)));
    lines
}
