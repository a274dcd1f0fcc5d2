//! A forget: what the job and its plan say is kept, put together and given to the engine.

use backup_engine::forget::{ForgetOptions, forget};
use backup_engine::retention::{Filter, GroupBy, Policy, Rules};
use backup_engine::{Gate, Monitor};
use backup_proto::error::{ErrorKind, RpcError};
use backup_proto::path::WirePath;
use backup_proto::spec::{ForgetSpec, GroupBy as By};
use jiff::Timestamp;

use super::attempt::Failure;
use super::find::{HOLD_TAG, INCOMPLETE_TAG, plan_tag};
use super::reporter::Reporter;
use crate::config::{Config, DEFAULT_TARGET, policy_of, tag_lists};
use crate::context::Context;
use crate::job::{Job, Totals};

/// Runs one attempt of a forget. What it removed is in the job's list of what was planned.
pub(super) fn run(
    job: &Job,
    spec: &ForgetSpec,
    context: &Context,
    gate: &Gate,
    reporter: &Reporter,
) -> Result<Totals, Failure> {
    let name = job.target.as_deref().unwrap_or(DEFAULT_TARGET);
    let plan = spec.plan.as_deref().unwrap_or_default();
    let (place, repository) = context.targets.open_existing(name)?;
    let repository = context.targets.for_job(&repository, name, job, gate);
    let mut options = options(spec, &context.config(), &context.targets.identity().hostname, context.clock.now().wall)?;
    options.rules.accepted_until = match spec.confirm_shrunk {
        true => Some(Timestamp::MAX),
        false => context.targets.last_forgotten(name, plan),
    };
    options.resumed = job.attempt_count() > 1;
    if !job.chosen.is_empty() {
        options.decided = Some(job.chosen.iter().filter_map(|chosen| chosen.snapshot.parse().ok()).collect());
    }
    let take_lock = || context.targets.lock(&repository, &place.folder, true);
    let summary = forget(&repository, &take_lock, &options, gate, reporter)?;
    let is_whole = options.named.is_empty() && spec.hosts.is_empty() && spec.paths.is_empty() && spec.tags.is_empty();
    let judged_all = is_whole && !options.dry_run && !reporter.has_failures();
    if let Some(newest) = summary.newest.filter(|_| judged_all)
        && let Err(error) = context.targets.note_forgotten(name, plan, newest)
    {
        reporter.notice(&format!("How large the sources are could not be put on record: {error}."));
    }
    Ok(Totals { files: summary.removed, ..Totals::default() })
}

/// Puts together what the job and its plan ask for.
fn options(spec: &ForgetSpec, config: &Config, host: &str, now: Timestamp) -> Result<ForgetOptions, Failure> {
    // A plan is this machine's; another one may call its own the same.
    let own = [host.to_owned()];
    let hosts = if spec.plan.is_some() && spec.hosts.is_empty() { &own[..] } else { &spec.hosts[..] };
    let invalid = |message: String| RpcError::new(ErrorKind::InvalidParams, message, "Say what is to be kept.");
    let policy = match &spec.keep {
        Some(keep) => policy_of(keep).map_err(invalid)?,
        None => {
            let plan = spec.plan.as_ref().and_then(|plan| config.plans.get(plan));
            plan.and_then(|plan| plan.keep.clone()).unwrap_or_default()
        }
    };
    if policy == Policy::default() && spec.snapshots.is_empty() {
        return Err(invalid("no rule says any more which snapshots are kept, so nothing is forgotten".into()).into());
    }
    let group_by = spec.group_by.as_ref().map_or(GroupBy::default(), |by| GroupBy {
        host: by.contains(&By::Host),
        paths: by.contains(&By::Paths),
        tags: by.contains(&By::Tags),
    });
    Ok(ForgetOptions {
        rules: Rules {
            policy,
            group_by,
            now,
            incomplete_tag: Some(INCOMPLETE_TAG.to_owned()),
            hold_tag: Some(HOLD_TAG.to_owned()),
            pinned: config.plans.values().flat_map(|plan| plan.pinned.iter().cloned()).collect(),
            accepted_until: None,
        },
        filter: filter(spec.plan.as_deref(), hosts, &spec.paths, &spec.tags),
        named: spec.snapshots.clone(),
        decided: None,
        resumed: false,
        dry_run: spec.dry_run,
    })
}

/// Returns which snapshots a job is about.
pub(super) fn filter(plan: Option<&str>, hosts: &[String], paths: &[WirePath], tags: &[String]) -> Filter {
    let mut tags = tag_lists(tags.iter().cloned());
    if let Some(plan) = plan {
        let tag = plan_tag(plan);
        match tags.is_empty() {
            true => tags.push(vec![tag]),
            false => tags.iter_mut().for_each(|tags| tags.push(tag.clone())),
        }
    }
    Filter { hosts: hosts.to_vec(), paths: paths.iter().map(|path| path.as_path().to_path_buf()).collect(), tags }
}
