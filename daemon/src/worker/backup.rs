//! A backup: what the job and its plan ask for, put together and given to the engine.

use std::collections::BTreeSet;
use std::io::ErrorKind::NotFound;
use std::path::PathBuf;
use std::time::Duration;

use backup_engine::archiver::{BackupOptions, BackupSummary, Changed, backup};
use backup_engine::monitor::PackRecord;
use backup_engine::source::exclude::{Excludes, parse_pattern_file};
use backup_engine::source::owners::Owners;
use backup_engine::{Class, Error as EngineError, Gate, Monitor, Repository};
use backup_proto::error::{Class as WireClass, ErrorKind, RpcError};
use backup_proto::job::HintsReport;
use backup_proto::note::Note;
use backup_proto::spec::BackupSpec;

use super::again;
use super::around::around;
use super::attempt::Failure;
use super::find::{CHANGE_TAGS, CRITICAL_TAG, HINTED_TAG, INCOMPLETE_TAG, INTERRUPTED_TAG, plan_tag};
use super::reporter::Reporter;
use crate::config::{DEFAULT_TARGET, PlanConfig, did_you_mean};
use crate::context::Context;
use crate::job::{Job, Totals};
use crate::notes::Notes;
use crate::targets::TargetError;

/// How long a first backup takes before its files are counted for the progress bar. The count costs as much as a twelfth
/// of a backup of small files, and a backup that ends sooner needs no bar.
const COUNT_AFTER: Duration = Duration::from_secs(10);

/// Runs one attempt of a backup.
pub(super) fn run(
    job: &Job,
    spec: &BackupSpec,
    adopt: Vec<PackRecord>,
    context: &Context,
    gate: &Gate,
    reporter: &Reporter,
) -> Result<Totals, Failure> {
    let name = job.target.as_deref().unwrap_or(DEFAULT_TARGET);
    let mut options = options(job, spec, context)?;
    options.adopt = adopt;
    if let Some(again) = &job.again {
        // A list that cannot be read, or that is too long, means that everything is looked at.
        options.again = again::failed_paths(job, again, context);
        options.parent = again.snapshot.as_deref().and_then(|id| id.parse().ok());
    }
    let (place, repository) = context.targets.open_target(name)?;
    // What another run, or an earlier attempt, has stored and not listed yet is nothing to rely on.
    let repository = context.targets.for_job(&repository, name, job, gate);
    options.description.clone_from(&job.reason);
    // The default target may have been made just now; what it stands on is told apart from here on.
    options.never = context.targets.never();
    // Later attempts say nothing new, and what an earlier one has stored is not looked at.
    options.room = context.targets.room(&place).free.filter(|_| job.attempt_count() == 1);
    options.records = Some(context.targets.state().join("records"));
    let summary = around(job, spec, context, gate, reporter, || {
        // What `before` has written belongs to it.
        options.time = context.clock.now().wall;
        let lock = context.targets.lock(&repository, &place.folder, false).map_err(TargetError::engine(name))?;
        backup(&lock, &options, gate, reporter).map_err(|error| explain(error, spec, &options))
    })?;
    // What was looked up while the backup ran is in its snapshot; a record that cannot be written takes nothing away.
    if let Err(error) = context.targets.note_success(name, &options.sources, context.clock.now().wall) {
        reporter.notice(&format!("The success could not be put on record: {error}."));
    }
    note(job, &summary, &repository, context, reporter);
    Ok(totals(&summary))
}

/// Notes who wanted the snapshot and why. One that cannot be written takes nothing away.
fn note(job: &Job, summary: &BackupSummary, repository: &Repository, context: &Context, reporter: &Reporter) {
    let (Some(reason), Some(id)) = (&job.reason, summary.snapshot) else { return };
    let user = Some(Owners::default().user(job.uid)).filter(|name| !name.is_empty());
    let note = Note { reason: reason.clone(), user, uid: Some(job.uid), job: Some(job.id.to_string()) };
    let mut notes = Notes::read(context.targets.state(), repository);
    if let Err(error) = notes.add(&id.to_string(), note, repository) {
        reporter.notice(&format!("Why the snapshot was made could not be put on record: {error}."));
    }
}

pub(super) fn totals(summary: &BackupSummary) -> Totals {
    Totals {
        snapshot: summary.snapshot.map(|id| id.to_string()),
        files: summary.files,
        bytes: summary.bytes,
        bytes_stored: summary.bytes_stored,
        hints: Some(HintsReport { used: summary.hinted, folders_missed: summary.hints_missed }),
        ..Totals::default()
    }
}

/// A plan's drive may come back by itself, so the plan is tried again. A path that somebody has typed and that is not
/// there is most likely a mistake, and whoever waits for the job should know at once.
pub(super) fn explain(error: EngineError, spec: &BackupSpec, options: &BackupOptions) -> Failure {
    let is_missing = |source: &PathBuf| source.symlink_metadata().is_err_and(|error| error.kind() == NotFound);
    match error {
        EngineError::Storage { message, class: Class::Transient }
            if spec.plan.is_none() && options.sources.iter().all(is_missing) =>
        {
            let advice = "Check the path.";
            RpcError::with_class(ErrorKind::Storage, WireClass::Misuse, message, advice).into()
        }
        error => error.into(),
    }
}

/// Puts together what the job and its plan ask for.
pub(super) fn options(job: &Job, spec: &BackupSpec, context: &Context) -> Result<BackupOptions, Failure> {
    let identity = context.targets.identity();
    let mut options = BackupOptions {
        sources: spec.sources.iter().map(|path| path.as_path().to_path_buf()).collect(),
        exclude_caches: spec.exclude_caches,
        one_file_system: spec.one_file_system,
        hostname: spec.host.clone().unwrap_or_else(|| identity.hostname.clone()),
        username: identity.username.clone(),
        uid: identity.uid,
        gid: identity.gid,
        tags: spec.tags.clone(),
        incomplete_tags: vec![INCOMPLETE_TAG.to_owned()],
        major_tags: vec![CHANGE_TAGS[0].to_owned()],
        minor_tags: vec![CHANGE_TAGS[1].to_owned()],
        interrupted_tags: vec![INCOMPLETE_TAG.to_owned(), INTERRUPTED_TAG.to_owned()],
        critical_tags: vec![CRITICAL_TAG.to_owned()],
        hinted_tags: vec![HINTED_TAG.to_owned()],
        time: context.clock.now().wall,
        program_version: format!("backupd {}", env!("CARGO_PKG_VERSION")),
        count_after: COUNT_AFTER,
        ..BackupOptions::default()
    };
    let mut patterns = match &spec.plan {
        Some(name) => add_plan(&mut options, name, context)?,
        None => Vec::new(),
    };
    patterns.extend(spec.exclude.iter().map(|pattern| pattern.as_bytes().to_vec()));
    options.exclude_patterns = patterns.iter().map(|pattern| String::from_utf8_lossy(pattern).into_owned()).collect();
    options.exclude = Excludes::new(&patterns)?;
    options.changed = changed(job, spec, &options.sources);
    Ok(options)
}

/// Adds what a plan asks for; returns the patterns of what it leaves out.
fn add_plan(options: &mut BackupOptions, name: &str, context: &Context) -> Result<Vec<Vec<u8>>, Failure> {
    let (name, plan) = find_plan(name, context)?;
    options.sources.extend(plan.sources.iter().cloned());
    options.critical.clone_from(&plan.critical);
    options.exclude_caches |= plan.exclude_caches;
    options.one_file_system |= plan.one_file_system;
    options.tags.extend(plan.tags.iter().cloned());
    options.tags.push(plan_tag(&name));
    let mut patterns: Vec<Vec<u8>> = plan.exclude.iter().map(|pattern| pattern.clone().into_bytes()).collect();
    if let Some(file) = &plan.exclude_file {
        patterns.extend(read_patterns(file)?);
    }
    Ok(patterns)
}

/// Returns what the caller says has changed, and since when. Who names a path outside of the sources, as through a link,
/// speaks of something else than is backed up, and is not relied on.
fn changed(job: &Job, spec: &BackupSpec, sources: &[PathBuf]) -> Option<Changed> {
    let since = job.changed_since.as_ref()?.parse().ok()?;
    let changed = spec.changed.as_ref()?.iter().map(|path| path.as_path().to_path_buf());
    let is_known = |path: &PathBuf| sources.iter().any(|source| path.starts_with(source) || source.starts_with(path));
    let paths: Option<BTreeSet<PathBuf>> = changed.map(|path| Some(path).filter(is_known)).collect();
    Some(Changed { since, paths: paths? })
}

fn find_plan(name: &str, context: &Context) -> Result<(String, PlanConfig), Failure> {
    let config = context.config();
    let plan = config.plans.get(name).cloned().ok_or_else(|| {
        let advice = did_you_mean(name, config.plans.keys().map(String::as_str));
        RpcError::new(ErrorKind::PlanNotFound, format!("there is no plan called `{name}`"), advice)
    })?;
    Ok((name.to_owned(), plan))
}

fn read_patterns(file: &PathBuf) -> Result<Vec<Vec<u8>>, Failure> {
    let text = std::fs::read(file).map_err(EngineError::io("read", file))?;
    Ok(parse_pattern_file(&text, |name| std::env::var(name).ok())?)
}
