//! `backup`: save plans or paths.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use backup_proto::params::{JobSubmit, PlanList};
use backup_proto::path::WirePath;
use backup_proto::spec::{BackupSpec, JobSpec};
use backup_proto::version::BACKUP_DRY_RUN;
use clap::Args;

use backup_proto::error::Exit;

use crate::args::Queueing;
use crate::exit::Failure;
use crate::follow;
use crate::input::{Base, Named, name, request_id};
use crate::patterns;
use crate::session::Session;

/// Back up plans, or files and folders.
///
/// An argument that contains a slash, starts with `~`, or is `.` or `..` is a path. Any other is the name of a plan;
/// if there is no such plan, it is the file or folder of that name. Without arguments all plans are backed up.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  backupctl backup                      all plans
  backupctl backup documents            the plan \"documents\"
  backupctl backup ~/Pictures ./notes   two folders, to the default target
  backupctl backup ~ --exclude '*.tmp' --tag before-upgrade --reason 'before the upgrade'
  backupctl backup / --one-file-system --target nas --detach
  backupctl backup ~ --dry-run          how much would be stored, and does it fit?
  backupctl backup mail --changed ~/Mail/inbox --changed ~/Mail/sent")]
pub(crate) struct Backup {
    /// Plans, or files and folders.
    #[arg(value_name = "PLAN|PATH")]
    what: Vec<OsString>,
    /// Save to this target [default: the plan's targets, or `local`].
    #[arg(long, value_name = "NAME")]
    target: Option<String>,
    /// Put this tag on the snapshot; may be repeated.
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// Leave out what matches; restic's patterns; may be repeated.
    #[arg(long, value_name = "PATTERN")]
    exclude: Vec<OsString>,
    /// Leave out what matches a line of this file; may be repeated.
    #[arg(long = "exclude-file", value_name = "FILE")]
    exclude_files: Vec<PathBuf>,
    /// Leave out the contents of folders that hold a CACHEDIR.TAG.
    #[arg(long)]
    exclude_caches: bool,
    /// Do not enter other file systems.
    #[arg(long)]
    one_file_system: bool,
    /// Record this host name in the snapshot [default: this machine's].
    #[arg(long, value_name = "NAME")]
    host: Option<String>,
    /// Look only at what is at or below this path; nothing else has changed since the backup before was asked for. May be
    /// repeated. Without a backup before that ended well, and after a day at the latest, everything is looked at.
    #[arg(long, value_name = "PATH")]
    changed: Vec<PathBuf>,
    /// The same for each line of this file, or for what ends with a zero byte if there is one; `-` is standard input.
    #[arg(long, value_name = "FILE")]
    changed_from: Option<PathBuf>,
    /// Store nothing; say how much would be stored, and whether the target has room for it.
    #[arg(short = 'n', long)]
    dry_run: bool,
    #[command(flatten)]
    queueing: Queueing,
}

/// What the arguments turned out to be.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    Plans(Vec<String>),
    Paths(Vec<WirePath>),
}

impl Backup {
    pub(crate) fn run(&self, session: &mut Session) -> Result<Exit, Failure> {
        let welcome = session.client.connection().welcome();
        if self.dry_run && !welcome.capabilities.iter().any(|ability| ability == BACKUP_DRY_RUN) {
            let server = &welcome.server;
            let problem =
                format!("{server} is too old for a dry run and would make a backup; restart it after the upgrade");
            return Err(Failure::Usage(problem));
        }
        let common = BackupSpec {
            target: self.target.clone(),
            tags: self.tags.clone(),
            exclude: self.patterns()?,
            exclude_caches: self.exclude_caches,
            one_file_system: self.one_file_system,
            host: self.host.clone(),
            changed: self.changed()?,
            dry_run: self.dry_run,
            ..BackupSpec::default()
        };
        let specs: Vec<BackupSpec> = match self.wanted(session)? {
            Wanted::Paths(sources) => vec![BackupSpec { sources, ..common }],
            Wanted::Plans(plans) => {
                plans.into_iter().map(|plan| BackupSpec { plan: Some(plan), ..common.clone() }).collect()
            }
        };
        let submits: Result<Vec<JobSubmit>, Failure> =
            specs.into_iter().map(|spec| self.queueing.submit(JobSpec::Backup(spec))).collect();
        follow::run(session, &submits?, self.queueing.detach, &follow::watch_interrupt()?)
    }

    fn patterns(&self) -> Result<Vec<WirePath>, Failure> {
        let mut found: Vec<WirePath> = self.exclude.iter().map(|pattern| Path::new(pattern).into()).collect();
        for path in &self.exclude_files {
            let text = std::fs::read(path);
            let read = text.and_then(|text| patterns::parse(&text, |name| std::env::var_os(name)));
            found.extend(read.map_err(|source| Failure::File { path: path.clone(), source })?);
        }
        Ok(found)
    }

    fn changed(&self) -> Result<Option<Vec<WirePath>>, Failure> {
        let base = Base::of_process()?;
        let mut changed: Vec<WirePath> = self.changed.iter().map(|path| base.wire(path)).collect();
        if let Some(path) = &self.changed_from {
            let text = read_list(path).map_err(|source| Failure::File { path: path.clone(), source })?;
            changed.extend(lines(&text).map(|line| base.wire(Path::new(OsStr::from_bytes(line)))));
        }
        Ok((!self.changed.is_empty() || self.changed_from.is_some()).then_some(changed))
    }

    fn wanted(&self, session: &mut Session) -> Result<Wanted, Failure> {
        let kinds: Vec<Named> = self
            .what
            .iter()
            .map(|argument| name(argument, |name| PathBuf::from(name).symlink_metadata().is_ok()))
            .collect();
        let needs_plans = kinds.iter().any(|kind| *kind != Named::Path) || kinds.is_empty();
        let plans: Vec<String> = if needs_plans {
            session.all(|page| PlanList { page })?.into_iter().map(|plan| plan.name).collect()
        } else {
            Vec::new()
        };
        sort_out(&self.what, &kinds, &plans, &Base::of_process()?).map_err(Failure::Usage)
    }
}

fn read_list(path: &Path) -> io::Result<Vec<u8>> {
    if path != Path::new("-") {
        return std::fs::read(path);
    }
    let mut text = Vec::new();
    io::stdin().read_to_end(&mut text)?;
    Ok(text)
}

/// Splits a list of paths: names may hold line ends, so where there is a zero byte only that ends one.
fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let end = if text.contains(&0) { 0 } else { b'\n' };
    text.split(move |byte| *byte == end).filter(|line| !line.is_empty())
}

/// Decides between plans and paths, now that the plans' names are known.
fn sort_out(what: &[OsString], kinds: &[Named], plans: &[String], base: &Base) -> Result<Wanted, String> {
    if what.is_empty() {
        return match plans {
            [] => Err("there is no plan yet; say what to back up, as in `backupctl backup ~/Documents`".to_owned()),
            plans => Ok(Wanted::Plans(plans.to_vec())),
        };
    }
    let (mut named, mut paths) = (Vec::new(), Vec::new());
    for (argument, kind) in what.iter().zip(kinds) {
        let plan = plans.iter().find(|plan| argument.to_str() == Some(plan));
        match (kind, plan) {
            (Named::Plan | Named::PlanOrPath, Some(plan)) => named.push(plan.clone()),
            (Named::Plan, None) => {
                let name = argument.display();
                return Err(format!("there is no plan `{name}`, and no file or folder of that name here"));
            }
            (Named::Path | Named::PlanOrPath, _) => paths.push(base.wire(argument.as_ref())),
        }
    }
    match (named.is_empty(), paths.is_empty()) {
        (false, false) => Err(format!("name plans or paths, not both; `{}` is a plan", named[0])),
        (false, true) => Ok(Wanted::Plans(named)),
        (true, _) => Ok(Wanted::Paths(paths)),
    }
}

impl Queueing {
    /// Makes the call that puts a job into the queue.
    pub(crate) fn submit(&self, spec: JobSpec) -> Result<JobSubmit, Failure> {
        Ok(JobSubmit {
            request_id: request_id()?,
            spec,
            priority: self.priority.map(Into::into),
            now: self.now,
            reason: self.reason.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decide(what: &[&str], plans: &[&str], existing: &[&str]) -> Result<Wanted, String> {
        let what: Vec<OsString> = what.iter().map(OsString::from).collect();
        let kinds: Vec<Named> =
            what.iter().map(|argument| name(argument, |name| existing.iter().any(|file| name == *file))).collect();
        let plans: Vec<String> = plans.iter().map(|plan| (*plan).to_owned()).collect();
        let base = Base { folder: "/w".into(), home: Some("/h".into()) };
        sort_out(&what, &kinds, &plans, &base)
    }

    #[test]
    fn a_plan_wins_over_a_folder_of_its_name_and_a_slash_turns_that_round() {
        assert_eq!(decide(&["docs"], &["docs"], &["docs"]), Ok(Wanted::Plans(vec!["docs".to_owned()])));
        assert_eq!(decide(&["./docs"], &["docs"], &["docs"]), Ok(Wanted::Paths(vec!["/w/docs".into()])));
        assert_eq!(decide(&["docs"], &["other"], &["docs"]), Ok(Wanted::Paths(vec!["/w/docs".into()])));
    }

    #[test]
    fn nothing_named_means_every_plan() {
        assert_eq!(decide(&[], &["a", "b"], &[]), Ok(Wanted::Plans(vec!["a".to_owned(), "b".to_owned()])));
        assert!(decide(&[], &[], &[]).unwrap_err().contains("no plan yet"));
    }

    #[test]
    fn a_list_of_paths_has_one_a_line_or_ends_each_with_a_zero_byte() {
        assert_eq!(lines(b"/a b\n\n/c\n").collect::<Vec<_>>(), [b"/a b".as_slice(), b"/c"]);
        assert_eq!(lines(b"/a\nb\0/c\0").collect::<Vec<_>>(), [b"/a\nb".as_slice(), b"/c"]);
        assert_eq!(lines(b"").count(), 0);
    }

    #[test]
    fn an_unknown_name_and_a_mixture_are_refused() {
        assert!(decide(&["nosuch"], &["a"], &[]).unwrap_err().contains("no plan `nosuch`"));
        assert!(decide(&["a", "/x"], &["a"], &[]).unwrap_err().contains("not both"));
    }
}
