//! `target`: where backups go.

use std::path::PathBuf;

use backup_proto::error::Exit;
use backup_proto::params::{TargetAdd, TargetAdopt, TargetBreaker, TargetCheckNow, TargetInit, TargetList};
use backup_proto::target::{BreakerChange, BreakerState, BreakerWish, Target as Info, TargetCheck, TargetState};
use clap::{Args, Subcommand, ValueEnum};

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
    /// Use a target again that is left alone because it kept failing, or because somebody said so.
    Reset(Name),
    /// Say whether a target is used, whatever comes of it, until `reset`.
    Force(Force),
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
pub(crate) struct Force {
    /// The target's name.
    name: String,
    /// Leave it alone (open), or use it however often it fails (closed).
    state: ForcedState,
}

/// What a breaker is made.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum ForcedState {
    Open,
    Closed,
}

#[derive(Debug, Args)]
pub(crate) struct Name {
    /// The target's name.
    name: String,
}

impl Target {
    pub(crate) fn run(&self, session: &mut Session) -> Result<Exit, Failure> {
        match self {
            Self::List => list(session)?,
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
            Self::Reset(Name { name }) => set_breaker(session, name, BreakerWish::Reset)?,
            Self::Force(Force { name, state: ForcedState::Open }) => set_breaker(session, name, BreakerWish::Open)?,
            Self::Force(Force { name, state: ForcedState::Closed }) => set_breaker(session, name, BreakerWish::Closed)?,
            Self::Check(Name { name }) => {
                let check = session.show(&TargetCheckNow { name: name.clone() }, check_lines)?;
                return Ok(if check.findings.is_empty() { Exit::Success } else { Exit::Failed });
            }
        }
        Ok(Exit::Success)
    }
}

fn list(session: &mut Session) -> Result<(), Failure> {
    let targets: Vec<Info> = session.all(|page| TargetList { page })?;
    session.table(&targets, &["NAME", "STATE", "LAST SUCCESS", "LOCATION"], "There are no targets.", row)?;
    if !session.out.is_json() {
        let breakers: Vec<String> = targets.iter().flat_map(|t| breaker_lines(t, &session.out)).collect();
        session.out.lines(breakers)?;
        let notices = targets.iter().filter_map(|t| t.notice.as_ref().map(|n| format!("{}: {n}", t.name)));
        session.out.lines(notices)?;
    }
    Ok(())
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

fn set_breaker(session: &mut Session, name: &str, wish: BreakerWish) -> Result<(), Failure> {
    let name = name.to_owned();
    let said = match wish {
        BreakerWish::Reset => format!("Target {name} is used again."),
        BreakerWish::Open => format!("Target {name} is left alone until `backupctl target reset {name}`."),
        BreakerWish::Closed => {
            format!("Target {name} is used, however often it fails, until `backupctl target reset {name}`.")
        }
    };
    session.show(&TargetBreaker { request_id: request_id()?, name, wish }, |_, _| vec![said])?;
    Ok(())
}

/// Changes of a breaker that a list shows; `--json` has all that are remembered.
const CHANGES_SHOWN: usize = 5;

/// Says what is the matter with a target that has failed, and what went before.
pub(crate) fn breaker_lines(target: &Info, out: &Output) -> Vec<String> {
    let (name, breaker) = (&target.name, &target.breaker);
    let mut lines: Vec<String> = breaker_line(target, out).into_iter().collect();
    if lines.is_empty() && breaker.failures == 0 {
        return lines;
    }
    if lines.is_empty() {
        let failures = text::count(breaker.failures, "failure", "failures");
        lines.push(format!("{name}: {failures} lately."));
    }
    lines.extend(history_lines(target, out));
    lines
}

/// Says what a breaker was lately.
fn history_lines(target: &Info, out: &Output) -> Vec<String> {
    let shown = target.breaker.history.iter().rev().take(CHANGES_SHOWN).rev();
    let line = |change: &BreakerChange| {
        let state = match change.state {
            BreakerState::Open => "left alone",
            BreakerState::HalfOpen => "asked",
            BreakerState::Closed => "used",
        };
        format!("  {}  {state}: {}", text::time(change.at, out.zone()), change.reason)
    };
    shown.map(line).collect()
}

/// Says in a sentence why a target is not used, if it is not.
pub(crate) fn breaker_line(target: &Info, out: &Output) -> Option<String> {
    let (name, breaker) = (&target.name, &target.breaker);
    let reason = text::sentence(breaker.reason.as_deref().unwrap_or_default());
    let until = breaker.next_try.map(|at| format!(" until {}", text::time(at, out.zone()))).unwrap_or_default();
    match breaker.state {
        BreakerState::Closed if breaker.degraded => {
            Some(format!("{name}: has failed, and no job has succeeded since: bytes go slowly."))
        }
        BreakerState::Closed => None,
        BreakerState::Open if breaker.by_hand => {
            Some(format!("{name}: left alone by hand; `backupctl target reset {name}` ends that."))
        }
        BreakerState::Open => Some(format!("{name}: left alone{until}, then asked whether it is back. {reason}")),
        BreakerState::HalfOpen => Some(format!("{name}: being asked whether it is back. {reason}")),
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
        (_, TargetState::Ready) if target.breaker.degraded => "used with care",
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
    lines.extend(breaker_line(target, out));
    lines.extend(history_lines(target, out));
    lines.extend(target.notice.clone());
    lines.extend(check.findings.iter().map(|finding| text::sentence(finding)));
    lines
}
