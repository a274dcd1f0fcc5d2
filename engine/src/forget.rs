//! Removes snapshots: those that a policy gives no place to, or those that somebody has named.
//!
//! ```text
//! exclusive lock ─► list ─► judge ─► write down what goes ─► remove, oldest first ─► give up the lock
//!                    ▲                (once for each job)            │
//!                    └──────── lock again, list, judge ◄─────────────┘ after so many, or in a later attempt
//! ```
//! What goes is decided once. Whoever goes on after an interruption judges anew, and removes only what both decisions
//! remove: never more than the first one would have, and nothing that is held by now. Only the snapshot's file is
//! removed; the data that nothing needs any more is a matter of prune.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;

use crate::control::Gate;
use crate::error::{Class, Error, Result};
use crate::id::SnapshotId;
use crate::limits::{FORGET_MAX, FORGET_STEP};
use crate::lock::Lock;
use crate::monitor::{ItemFailure, Monitor, Progress};
use crate::repository::Repository;
use crate::retention::{Candidate, Filter, Judged, Judgement, Rules, Shrunk, judge, judge_named};
use crate::storage::{FileKind, FileName};

/// What is to be forgotten.
#[derive(Clone, Debug, Default)]
pub struct ForgetOptions {
    /// What is judged by.
    pub rules: Rules,
    /// Which snapshots the policy is applied to.
    pub filter: Filter,
    /// Beginnings of ids: these go, and no policy is asked. Empty: what the policy gives no place to.
    pub named: Vec<String>,
    /// What an earlier attempt has decided to remove; nothing else is.
    pub decided: Option<BTreeSet<SnapshotId>>,
    /// An earlier attempt may have removed some of those that are named.
    pub resumed: bool,
    /// Change nothing, and say what would become of every snapshot.
    pub dry_run: bool,
}

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ForgetSummary {
    /// Snapshots that were removed, or in a dry run would be.
    pub removed: u64,
    /// Snapshots that were looked at and stay.
    pub kept: u64,
    /// The time of the newest snapshot that was looked at and is not from the future.
    pub newest: Option<Timestamp>,
}

/// Takes the exclusive lock under which snapshots are removed.
pub type TakeLock<'a> = &'a dyn Fn() -> Result<Arc<Lock>>;

/// Removes snapshots. What must not go, because it is held or because its source shrank, is reported as an item that
/// could not be done.
///
/// # Errors
/// [`Error::Misuse`] for a repository that is append-only, a policy without rules and names that mean no snapshot;
/// whatever `take_lock` says; the storage's own.
pub fn forget(
    repository: &Repository,
    take_lock: TakeLock<'_>,
    options: &ForgetOptions,
    gate: &Gate,
    monitor: &dyn Monitor,
) -> Result<ForgetSummary> {
    if repository.config().append_only == Some(true) {
        let place = repository.location();
        return Err(Error::misuse(format!("the repository at {place} is append-only: nothing is removed from it")));
    }
    if options.dry_run {
        let judgement = look(repository, options, monitor)?;
        judgement.judged.iter().for_each(|judged| monitor.judged(judged));
        report(&judgement, options, monitor);
        return Ok(summary(&judgement, judgement.removed().len(), options.rules.now));
    }
    let mut run = Run { repository, options, gate, monitor, decided: options.decided.clone(), removed: 0, total: None };
    loop {
        // A pause is passed without a lock: it keeps everybody else out.
        gate.check()?;
        let lock = take_lock()?;
        if let Some(summary) = run.step(&lock)? {
            return Ok(summary);
        }
    }
}

struct Run<'a> {
    repository: &'a Repository,
    options: &'a ForgetOptions,
    gate: &'a Gate,
    monitor: &'a dyn Monitor,
    decided: Option<BTreeSet<SnapshotId>>,
    removed: usize,
    total: Option<usize>,
}

impl Run<'_> {
    /// Removes so many snapshots under one lock; returns a summary when none is left.
    fn step(&mut self, lock: &Lock) -> Result<Option<ForgetSummary>> {
        let judgement = look(self.repository, self.options, self.monitor)?;
        let mut goes = judgement.removed();
        goes.truncate(FORGET_MAX);
        if self.decided.is_none() {
            let ids: Vec<SnapshotId> = goes.iter().map(|judged| judged.candidate.id).collect();
            if !ids.is_empty() {
                self.monitor.forgetting(&ids)?;
            }
            self.decided = Some(ids.into_iter().collect());
        }
        goes.retain(|judged| self.decided.as_ref().is_some_and(|decided| decided.contains(&judged.candidate.id)));
        if self.total.is_none() {
            self.total = Some(goes.len());
            self.monitor.total(goes.len() as u64, 0);
            report(&judgement, self.options, self.monitor);
        }
        for judged in goes.iter().take(FORGET_STEP) {
            self.remove(judged, lock)?;
        }
        if goes.len() > FORGET_STEP {
            return Ok(None);
        }
        Ok(Some(ForgetSummary {
            removed: self.removed as u64,
            ..summary(&judgement, goes.len(), self.options.rules.now)
        }))
    }

    fn remove(&mut self, judged: &Judged, lock: &Lock) -> Result<()> {
        if matches!(self.gate.state(), crate::GateState::Suspend | crate::GateState::Cancel) {
            self.gate.check()?;
        }
        lock.confirm()?;
        self.repository.storage().remove(&FileName::new(FileKind::Snapshot, judged.candidate.id.0))?;
        self.removed += 1;
        self.monitor.judged(judged);
        self.monitor.progress(&Progress { files: 1, ..Progress::default() });
        Ok(())
    }
}

/// Lists what there is and judges it.
fn look(repository: &Repository, options: &ForgetOptions, monitor: &dyn Monitor) -> Result<Judgement> {
    let all = candidates(repository, monitor)?;
    if options.named.is_empty() {
        return judge(
            all.into_iter().filter(|candidate| options.filter.fits(&candidate.snapshot)).collect(),
            &options.rules,
        );
    }
    Ok(judge_named(choose(all, options)?, &options.rules))
}

/// Returns the snapshots that are named. An earlier attempt may have removed some.
fn choose(all: Vec<Candidate>, options: &ForgetOptions) -> Result<Vec<Candidate>> {
    let mut ids = BTreeSet::new();
    for name in &options.named {
        let wanted = name.to_ascii_lowercase();
        let fits: Vec<SnapshotId> = all
            .iter()
            .map(|candidate| candidate.id)
            .filter(|id| !wanted.is_empty() && id.to_string().starts_with(&wanted))
            .collect();
        match fits[..] {
            [id] => ids.insert(id),
            [] if options.resumed => false,
            [] => return Err(Error::NotFound { what: format!("snapshot `{name}`") }),
            _ => {
                let count = fits.len();
                return Err(Error::misuse(format!("`{name}` is the beginning of {count} snapshots' ids")));
            }
        };
    }
    Ok(all.into_iter().filter(|candidate| ids.contains(&candidate.id)).collect())
}

/// Reads every snapshot. One that cannot be read stays, whatever the rules are.
fn candidates(repository: &Repository, monitor: &dyn Monitor) -> Result<Vec<Candidate>> {
    let mut found = Vec::new();
    for (name, _) in repository.storage().list(FileKind::Snapshot)? {
        let id = SnapshotId(name.id);
        let read = repository.read_file(&name);
        match read.and_then(|bytes| Candidate::decode(id, &bytes).map_err(|error| repository.damaged(&name, error))) {
            Ok(candidate) => found.push(candidate),
            // Another program has just removed it.
            Err(Error::NotFound { .. }) => {}
            Err(error) => monitor.notice(&format!("Snapshot {} stays: {error}.", id.short())),
        }
    }
    Ok(found)
}

fn summary(judgement: &Judgement, removed: usize, now: Timestamp) -> ForgetSummary {
    let past = judgement.judged.iter().map(|judged| judged.candidate.snapshot.time).filter(|time| *time <= now);
    let kept = (judgement.judged.len() - removed) as u64;
    ForgetSummary { removed: removed as u64, kept, newest: past.max() }
}

/// Reports what should have gone and may not.
fn report(judgement: &Judgement, options: &ForgetOptions, monitor: &dyn Monitor) {
    for shrunk in &judgement.shrunk {
        monitor.item_failed(shrunk_failure(shrunk));
    }
    if options.named.is_empty() {
        return;
    }
    for held in judgement.judged.iter().filter(|judged| judged.keep) {
        let (id, reasons) = (held.candidate.id, held.reasons.join(", "));
        monitor.item_failed(ItemFailure {
            path: format!("snapshots/{id}").into(),
            class: Class::Misuse,
            message: format!("snapshot {} stays: {reasons}", id.short()),
            advice:
                "A hold is a tag `backupd:hold=DATE`, `pinned` in the configuration, or rustic's `delete`; take it \
                     away first if that is right."
                    .to_owned(),
        });
    }
}

fn shrunk_failure(shrunk: &Shrunk) -> ItemFailure {
    let Shrunk { host, paths, snapshot, files, bytes, held_back } = shrunk;
    let path = paths.first().map(String::as_str).unwrap_or_default();
    let message = format!(
        "{} on {host} shrank by more than half, in snapshot {}: from {} to {} files, from {} to {} bytes; nothing of it \
         was forgotten ({held_back} snapshots would have been)",
        paths.join(", "),
        snapshot.short(),
        files.0,
        files.1,
        bytes.0,
        bytes.1,
    );
    let advice = "Look whether files are missing. If it is meant to be so small, forget once with `--confirm-shrunk`.";
    ItemFailure { advice: advice.to_owned(), ..ItemFailure::with(path.as_ref(), Class::Misuse, message) }
}
