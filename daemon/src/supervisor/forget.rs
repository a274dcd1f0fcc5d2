//! Jobs that forget: what is asked for is checked, and a plan that says what it keeps has one after each backup.

use backup_proto::error::{ErrorKind, RpcError};
use backup_proto::job::{JobId, JobState, Priority};
use backup_proto::spec::{ForgetSpec, GroupBy, JobSpec};
use jiff::Timestamp;

use super::submit::{check_absolute, check_target, find_plan, invalid, new_job};
use super::{State, Step};
use crate::config::{DEFAULT_TARGET, policy_of};
use crate::job::Job;

/// Checks what is to be forgotten, and makes a specification of it for each target.
pub(super) fn specs(state: &State, spec: &ForgetSpec) -> Result<Vec<(JobSpec, Option<String>)>, RpcError> {
    let plan = spec.plan.as_deref().map(|name| find_plan(state, name)).transpose()?;
    let has_filter = !(spec.hosts.is_empty() && spec.paths.is_empty() && spec.tags.is_empty());
    if !spec.snapshots.is_empty() && (spec.keep.is_some() || has_filter) {
        let advice = "Give the ids alone, or a rule with what it is applied to.";
        return Err(invalid("snapshots go either because they are named or because of a rule", advice));
    }
    if spec.snapshots.iter().any(|id| id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_hexdigit())) {
        return Err(invalid("a snapshot is named by its id", "`backupctl snapshots` lists them."));
    }
    let policy = match &spec.keep {
        Some(keep) => Some(policy_of(keep).map_err(|problem| invalid(&problem, "Correct it."))?),
        None => plan.and_then(|plan| plan.keep.clone()),
    };
    if spec.snapshots.is_empty() && policy.is_none_or(|policy| policy.is_empty()) {
        let message = "no rule says which snapshots are kept, so nothing is forgotten";
        let advice = "Say what stays, such as `--keep-last 5 --keep-daily 7`, or give the plan a `keep`.";
        return Err(RpcError::new(ErrorKind::InvalidParams, message, advice));
    }
    if spec.group_by.iter().flatten().any(|by| *by == GroupBy::Unknown) {
        return Err(invalid("snapshots are grouped by host, paths and tags", "Give one or more of these."));
    }
    spec.paths.iter().try_for_each(check_absolute)?;
    let targets = match (&spec.target, plan) {
        (Some(target), _) => vec![target.clone()],
        (None, Some(plan)) => plan.targets.clone(),
        (None, None) => vec![DEFAULT_TARGET.to_owned()],
    };
    targets.iter().try_for_each(|target| check_target(state, target))?;
    let for_target =
        |target: String| (JobSpec::Forget(ForgetSpec { target: Some(target.clone()), ..spec.clone() }), Some(target));
    Ok(targets.into_iter().map(for_target).collect())
}

/// Queues a forget after a backup of a plan that says what it keeps. It is a job of its own that waits behind all
/// others, and there is one for each target at most.
pub(super) fn queue_after(state: &mut State, step: &mut Step, backup: &JobId, now: Timestamp) {
    let Some(job) = state.job(backup) else { return };
    let left_a_snapshot = matches!(job.state, JobState::Succeeded | JobState::Partial);
    let (true, Some(plan), Some(target), true) =
        (job.spec.stores_a_snapshot(), &job.plan, &job.target, left_a_snapshot)
    else {
        return;
    };
    if state.config.plans.get(plan).is_none_or(|config| config.keep.is_none()) {
        return;
    }
    let spec = ForgetSpec { plan: Some(plan.clone()), target: Some(target.clone()), ..ForgetSpec::default() };
    let (spec, target) = (JobSpec::Forget(spec), Some(target.clone()));
    // One that runs has listed the snapshots already.
    let is_there = |job: &Job| job.spec == spec && job.state != JobState::Running;
    if state.active.values().any(|job| is_there(job)) {
        return;
    }
    let mut job = new_job(state, spec, target, Priority::Low, now);
    job.reason = Some(format!("The plan says what it keeps, and backup {backup} has ended."));
    state.add_job(step, job);
}

#[cfg(test)]
mod tests {
    use backup_proto::spec::BackupSpec;
    use backup_proto::target::Keep;

    use super::*;
    use crate::job::How;
    use crate::supervisor::bench::{Bench, backup, with_plan};

    fn keeping() -> crate::config::Config {
        let mut config = with_plan("every 1h");
        let plan = config.plans.get_mut("docs").unwrap();
        plan.keep = Some(backup_engine::retention::Policy { last: Some(3), ..Default::default() });
        config
    }

    fn forgets(bench: &Bench) -> Vec<JobId> {
        let is_forget = |job: &&std::sync::Arc<Job>| matches!(job.spec, JobSpec::Forget(_));
        bench.state.active.values().filter(is_forget).map(|job| job.id.clone()).collect()
    }

    #[test]
    fn a_plan_that_says_what_it_keeps_forgets_after_each_backup_and_holds_no_backup_up() {
        let mut bench = Bench::new(keeping());
        let first = bench.workers.keys().next().unwrap().clone();
        let other = bench.submit(backup());
        bench.end(&first, How::Done, 0);
        let [forget] = &forgets(&bench)[..] else { panic!("one forget follows") };
        assert_eq!(bench.job_state(&other), JobState::Running, "a backup that waits goes first");
        let job = bench.state.job(forget).unwrap().clone();
        assert_eq!(
            (job.priority, job.plan.as_deref(), job.target.as_deref()),
            (Priority::Low, Some("docs"), Some("local"))
        );
        // While it waits the plan comes due as ever, and a second backup brings no second forget.
        bench.pass(std::time::Duration::from_secs(3600));
        let second = bench.state.active.values().find(|job| matches!(job.spec, JobSpec::Backup(_)) && job.id != other);
        let second = second.expect("the plan's backup is queued").id.clone();
        bench.end(&other, How::Done, 0);
        bench.end(&second, How::Done, 1);
        assert_eq!(forgets(&bench), std::slice::from_ref(forget));
        let last = bench.state.successes["docs"];
        let forget = forget.clone();
        bench.pass(std::time::Duration::from_secs(60));
        bench.end(&forget, How::Done, 0);
        assert_eq!(bench.state.successes["docs"], last, "to forget is no backup");
        assert!(forgets(&bench).is_empty());
        bench.check();
    }

    #[test]
    fn nothing_is_forgotten_after_a_backup_that_came_to_nothing_or_without_a_rule() {
        let mut bench = Bench::new(keeping());
        let first = bench.workers.keys().next().unwrap().clone();
        bench.end(&first, How::Cancelled, 0);
        assert!(forgets(&bench).is_empty());
        let mut bench = Bench::new(with_plan("every 1h"));
        let first = bench.workers.keys().next().unwrap().clone();
        bench.end(&first, How::Done, 0);
        assert!(forgets(&bench).is_empty());
    }

    /// S2.15: a prediction changes nothing about when a plan runs and what it keeps.
    #[test]
    fn a_dry_run_of_a_plan_is_not_its_run() {
        let mut bench = Bench::new(keeping());
        let first = bench.workers.keys().next().unwrap().clone();
        bench.end(&first, How::Cancelled, 0);
        let spec = BackupSpec { plan: Some("docs".into()), dry_run: true, ..BackupSpec::default() };
        let dry = bench.submit(JobSpec::Backup(spec));
        bench.pass(std::time::Duration::from_secs(3600));
        let is_real = |job: &&std::sync::Arc<Job>| job.spec.stores_a_snapshot();
        assert_eq!(bench.state.active.values().filter(is_real).count(), 1, "the plan comes due beside it");
        bench.end(&dry, How::Done, 0);
        assert!(!bench.state.successes.contains_key("docs"), "nothing was saved");
        assert!(forgets(&bench).is_empty(), "and nothing goes for it");
        bench.check();
    }

    #[test]
    fn what_would_remove_everything_or_means_nothing_is_refused() {
        let bench = Bench::new(with_plan("every 1h"));
        let keep =
            |last, within: &str| Some(Box::new(Keep { last, within: Some(within.to_owned()), ..Keep::default() }));
        let named = vec!["5e1d0b7c".to_owned()];
        let ask = |spec: ForgetSpec| specs(&bench.state, &spec);
        for (spec, part) in [
            (ForgetSpec::default(), "no rule"),
            (ForgetSpec { plan: Some("docs".into()), ..ForgetSpec::default() }, "no rule"),
            (
                ForgetSpec { keep: Some(Box::new(Keep { last: Some(0), ..Keep::default() })), ..ForgetSpec::default() },
                "no rule",
            ),
            (ForgetSpec { plan: Some("dosc".into()), ..ForgetSpec::default() }, "no plan"),
            (ForgetSpec { keep: keep(None, "soon"), ..ForgetSpec::default() }, "`soon`"),
            (ForgetSpec { keep: keep(Some(1), "1d"), snapshots: named.clone(), ..ForgetSpec::default() }, "either"),
            (ForgetSpec { snapshots: vec!["latest".into()], ..ForgetSpec::default() }, "by its id"),
            (ForgetSpec { snapshots: named.clone(), target: Some("nas".into()), ..ForgetSpec::default() }, "no target"),
        ] {
            let error = ask(spec).expect_err(part);
            assert!(error.message.contains(part) && !error.data.advice.is_empty(), "{error:?}");
        }
        assert_eq!(ask(ForgetSpec { snapshots: named, ..ForgetSpec::default() }).unwrap().len(), 1);
        assert_eq!(ask(ForgetSpec { keep: keep(Some(1), "1y6m"), ..ForgetSpec::default() }).unwrap().len(), 1);
    }
}
