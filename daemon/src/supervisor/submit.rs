//! New jobs: what is asked for is checked, targets are filled in, and each target becomes a job of its own.

use std::path::{Component, Path};
use std::sync::Arc;

use backup_engine::source::exclude::Excludes;
use backup_proto::error::{ErrorKind, RpcError};
use backup_proto::job::{JobState, Priority};
use backup_proto::params::JobSubmit;
use backup_proto::path::WirePath;
use backup_proto::spec::{
    BackupSpec, CopySpec, Destination, ForgetSpec, JobSpec, PruneSpec, RepairSpec, RestoreSpec, SnapshotQuery,
};
use jiff::{SignedDuration, Timestamp};

use super::{State, Step, forget, size, verify};
use crate::config::{DEFAULT_TARGET, PlanConfig};
use crate::inbox::Caller;
use crate::job::Job;
use crate::queue::usual_priority;

/// Jobs that have not ended at most; who wants more is told to wait.
const ACTIVE_MAX: usize = 10_000;

/// Queues what was asked for; returns the new jobs' ids.
pub(super) fn submit(
    state: &mut State,
    step: &mut Step,
    caller: Caller,
    params: &JobSubmit,
    now: Timestamp,
) -> Result<Vec<backup_proto::job::JobId>, RpcError> {
    size::check(state, params)?;
    let specs = specs(state, &params.spec)?;
    let chosen = shown(state, caller, &params.spec, now)?;
    if state.active.len() + specs.len() > ACTIVE_MAX {
        let message = format!("{ACTIVE_MAX} jobs are waiting already");
        return Err(RpcError::new(ErrorKind::Busy, message, "Wait until some have ended, or cancel some."));
    }
    let mut ids = Vec::new();
    for (spec, target) in specs {
        let usual = usual_priority(&spec);
        let mut job = new_job(state, spec, target, params.priority.unwrap_or(usual), now);
        job.now = params.now;
        job.by_hand = true;
        job.reason.clone_from(&params.reason);
        job.uid = caller.uid;
        job.chosen.clone_from(&chosen);
        ids.push(job.id.clone());
        state.add_job(step, job);
    }
    Ok(ids)
}

/// How long a dry run counts as having shown what the same restore will delete.
const SHOWN_FOR: SignedDuration = SignedDuration::from_hours(1);

/// A restore that deletes must have been shown in a dry run; it then works on the snapshots that the dry run found.
fn shown(state: &State, caller: Caller, spec: &JobSpec, now: Timestamp) -> Result<Vec<SnapshotQuery>, RpcError> {
    let JobSpec::Restore(spec) = spec else { return Ok(Vec::new()) };
    if !spec.delete || spec.dry_run {
        return Ok(Vec::new());
    }
    let dry = JobSpec::Restore(RestoreSpec { dry_run: true, ..spec.clone() });
    let has_shown = |job: &&Arc<Job>| {
        // One from the future was made under another clock.
        let is_fresh = job.ended.is_some_and(|ended| ended <= now && now.duration_since(ended) <= SHOWN_FOR);
        job.uid == caller.uid && job.spec == dry && is_fresh && job.state == JobState::Succeeded
    };
    match state.ended.values().rev().find(has_shown) {
        Some(job) => Ok(job.chosen.clone()),
        None => Err(RpcError::new(
            ErrorKind::DryRunNeeded,
            "this restore deletes, and no dry run has shown what",
            "Do the same with `--dry-run` first; within an hour of that it is done.",
        )),
    }
}

/// Makes a job in the state `queued`, wanted by the daemon itself.
pub(super) fn new_job(
    state: &mut State,
    spec: JobSpec,
    target: Option<String>,
    priority: Priority,
    now: Timestamp,
) -> Job {
    let plan = match &spec {
        JobSpec::Backup(BackupSpec { plan, .. }) | JobSpec::Forget(ForgetSpec { plan, .. }) => plan.clone(),
        _ => None,
    };
    Job {
        id: state.new_id(now),
        spec,
        chosen: Vec::new(),
        changed_since: None,
        again: None,
        target,
        plan,
        priority,
        now: false,
        by_hand: false,
        reason: None,
        uid: state.uid,
        submitted: now,
        state: JobState::Queued,
        paused: None,
        cancelling: false,
        parked: false,
        not_before: None,
        attempts: Vec::new(),
        failures: 0,
        notices: Vec::new(),
        summary: None,
        ended: None,
    }
}

/// Checks a specification and makes one of it for each target.
fn specs(state: &State, spec: &JobSpec) -> Result<Vec<(JobSpec, Option<String>)>, RpcError> {
    match spec {
        JobSpec::Backup(spec) => backup(state, spec),
        JobSpec::Restore(spec) => restore(state, spec),
        JobSpec::Verify(spec) => verify::specs(state, spec),
        JobSpec::Forget(spec) => forget::specs(state, spec),
        JobSpec::Prune(spec) => {
            let target = spec.target.clone().unwrap_or_else(|| DEFAULT_TARGET.to_owned());
            check_target(state, &target)?;
            let spec = PruneSpec { target: Some(target.clone()), ..spec.clone() };
            Ok(vec![(JobSpec::Prune(spec), Some(target))])
        }
        JobSpec::Repair(spec) => {
            let target = spec.target.clone().unwrap_or_else(|| DEFAULT_TARGET.to_owned());
            check_target(state, &target)?;
            let spec = RepairSpec { target: Some(target.clone()), ..spec.clone() };
            Ok(vec![(JobSpec::Repair(spec), Some(target))])
        }
        JobSpec::Copy(spec) => copy(state, spec),
        JobSpec::Unknown => {
            let message = "this daemon does not know such a job";
            Err(RpcError::new(ErrorKind::InvalidParams, message, "Use a client and a daemon of the same release."))
        }
    }
}

fn backup(state: &State, spec: &BackupSpec) -> Result<Vec<(JobSpec, Option<String>)>, RpcError> {
    let targets = match &spec.plan {
        Some(_) if !spec.sources.is_empty() => {
            return Err(invalid("a backup has a plan or sources, not both", "Give one of them."));
        }
        None if spec.sources.is_empty() => {
            return Err(invalid("there is nothing to back up", "Name a plan or at least one path."));
        }
        Some(plan) => find_plan(state, plan)?.targets.clone(),
        None => {
            spec.sources.iter().try_for_each(check_absolute)?;
            vec![DEFAULT_TARGET.to_owned()]
        }
    };
    spec.changed.iter().flatten().try_for_each(check_plain)?;
    let exclude: Vec<&[u8]> = spec.exclude.iter().map(WirePath::as_bytes).collect();
    check_patterns(&exclude)?;
    let targets = spec.target.clone().map_or(targets, |target| vec![target]);
    targets.iter().try_for_each(|target| check_target(state, target))?;
    let for_target =
        |target: String| (JobSpec::Backup(BackupSpec { target: Some(target.clone()), ..spec.clone() }), Some(target));
    Ok(targets.into_iter().map(for_target).collect())
}

fn copy(state: &State, spec: &CopySpec) -> Result<Vec<(JobSpec, Option<String>)>, RpcError> {
    let target = spec.target.clone().unwrap_or_else(|| DEFAULT_TARGET.to_owned());
    check_target(state, &spec.from)?;
    check_target(state, &target)?;
    if spec.from == target {
        return Err(invalid("a target is not copied to itself", "Name two targets, one with `from`."));
    }
    let is_id = |id: &String| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !spec.snapshots.iter().all(|id| id.eq_ignore_ascii_case("latest") || is_id(id)) {
        return Err(invalid("a snapshot is named by its id, or is `latest`", "`backupctl snapshots` lists them."));
    }
    spec.paths.iter().try_for_each(check_absolute)?;
    let spec = CopySpec { target: Some(target.clone()), ..spec.clone() };
    Ok(vec![(JobSpec::Copy(spec), Some(target))])
}

fn restore(state: &State, spec: &RestoreSpec) -> Result<Vec<(JobSpec, Option<String>)>, RpcError> {
    if spec.items.is_empty() {
        return Err(invalid("there is nothing to restore", "Name at least one snapshot."));
    }
    if let Destination::Folder(path) = &spec.destination {
        check_absolute(path)?;
    }
    check_patterns(&spec.include)?;
    check_patterns(&spec.exclude)?;
    let mut named: Vec<&String> = spec.items.iter().filter_map(|item| item.snapshot.target.as_ref()).collect();
    named.dedup();
    named.iter().try_for_each(|target| check_target(state, target))?;
    let all_named = spec.items.iter().all(|item| item.snapshot.target.is_some());
    let target = match named[..] {
        [target] if all_named => Some(target.clone()),
        [] if state.config.targets.is_empty() => Some(DEFAULT_TARGET.to_owned()),
        // The worker looks in every target.
        _ => None,
    };
    Ok(vec![(JobSpec::Restore(spec.clone()), target)])
}

pub(super) fn find_plan<'s>(state: &'s State, plan: &str) -> Result<&'s PlanConfig, RpcError> {
    state.config.plans.get(plan).ok_or_else(|| {
        let message = format!("there is no plan `{plan}`");
        RpcError::new(ErrorKind::PlanNotFound, message, "`backupctl plan list` shows what there is.")
    })
}

pub(super) fn check_target(state: &State, target: &str) -> Result<(), RpcError> {
    if target == DEFAULT_TARGET || state.config.targets.contains_key(target) {
        return Ok(());
    }
    let message = format!("there is no target `{target}`");
    Err(RpcError::new(ErrorKind::TargetNotFound, message, "`backupctl target list` shows what there is."))
}

/// Refuses malformed patterns now, while somebody is there to correct them.
fn check_patterns(patterns: &[impl AsRef<[u8]>]) -> Result<(), RpcError> {
    match Excludes::new(patterns) {
        Ok(_) => Ok(()),
        Err(error) => Err(invalid(&error.to_string(), "Correct them; `\\` takes the meaning from the next character.")),
    }
}

pub(super) fn check_absolute(path: &WirePath) -> Result<(), RpcError> {
    let path: &Path = path.as_path();
    if path.is_absolute() {
        return Ok(());
    }
    // Not even the command's own folder is known here.
    Err(invalid(&format!("`{}` is not a full path", WirePath::from(path)), "Write it from `/` on."))
}

/// What is compared with the paths of a walk has to be written as those are.
fn check_plain(path: &WirePath) -> Result<(), RpcError> {
    check_absolute(path)?;
    if path.as_path().components().any(|part| part == Component::ParentDir) {
        return Err(invalid(&format!("`{path}` has `..` in it"), "Write the path as the folder is really called."));
    }
    Ok(())
}

pub(super) fn invalid(message: &str, advice: &str) -> RpcError {
    RpcError::new(ErrorKind::InvalidParams, message, advice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::supervisor::bench::{Bench, backup, restore};

    #[test]
    fn malformed_patterns_are_refused_before_there_is_a_job() {
        let mut bench = Bench::new(Config::default());
        let (JobSpec::Backup(backup), JobSpec::Restore(restore)) = (backup(), restore()) else { panic!("they are") };
        let wrong = vec!["*.tmp".to_owned(), "[a".to_owned()];
        let specs = [
            JobSpec::Backup(BackupSpec {
                exclude: wrong.iter().map(|pattern| pattern.as_str().into()).collect(),
                ..backup
            }),
            JobSpec::Restore(RestoreSpec { exclude: wrong.clone(), ..restore.clone() }),
            JobSpec::Restore(RestoreSpec { include: wrong, ..restore }),
        ];
        for spec in specs {
            let request_id = bench.request_id();
            let submit = JobSubmit { request_id, spec, priority: None, now: false, reason: None };
            let error = bench.ask(submit).expect_err("the pattern is malformed");
            assert_eq!(error.data.kind, ErrorKind::InvalidParams);
            assert!(error.message.contains("`[a`"), "{}", error.message);
        }
        assert!(bench.state.active.is_empty());
    }
}
