//! What keeps a target healthy by itself: after a plan's backup its data is checked in turn, and room is made.
//!
//! Both follow a backup that has succeeded, because then the target is there and somebody pays for it to run anyway.
//! Nothing is looked for while no backups are made.

use std::time::Duration;

use backup_proto::job::{JobId, JobState, Priority};
use backup_proto::spec::{JobSpec, PruneSpec, ReadPart, VerifySpec};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::plans::CLOCK_SET;
use super::state::{UPKEEP, json};
use super::submit::new_job;
use super::{State, Step};
use crate::config::DEFAULT_TARGET;
use crate::job::Job;
use crate::store::Change;

/// How long it is from one check to the next at least. Each reads the more the longer ago the last one is.
const VERIFY_EVERY: Duration = Duration::from_secs(24 * 3600);

/// What is kept of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upkeep {
    /// When a check was last queued, or the first backup made.
    pub verified: Timestamp,
    /// When a prune has last ended, or the first backup was made.
    pub pruned: Timestamp,
    /// Whether there is something to remove: a snapshot was forgotten since then, or what was unused then has to wait.
    pub has_unused: bool,
}

/// Takes note of what a job has done to its target, and queues what is due after a plan's backup.
pub(super) fn job_ended(state: &mut State, step: &mut Step, id: &JobId, now: Timestamp) {
    let Some(job) = state.job(id).filter(|job| matches!(job.state, JobState::Succeeded | JobState::Partial)) else {
        return;
    };
    let target = job.target.as_deref().unwrap_or(DEFAULT_TARGET).to_owned();
    let before = state.upkeep.get(&target).copied();
    let mut upkeep = before.unwrap_or(Upkeep { verified: now, pruned: now, has_unused: false });
    let summary = job.summary.as_ref();
    let backs_up = job.spec.stores_a_snapshot() && job.plan.is_some();
    match &job.spec {
        JobSpec::Forget(spec) if !spec.dry_run => {
            upkeep.has_unused |= summary.is_some_and(|summary| summary.files > 0);
        }
        JobSpec::Prune(spec) if !spec.dry_run => {
            let waiting =
                summary.and_then(|summary| summary.prune.as_ref()).is_some_and(|report| report.packs_waiting > 0);
            (upkeep.pruned, upkeep.has_unused) = (now, waiting);
        }
        _ if backs_up => queue_due(state, step, &target, &mut upkeep, now),
        _ => return,
    }
    if before != Some(upkeep) {
        step.changes.push(Change::set(format!("{UPKEEP}{target}"), json(&upkeep)));
        state.upkeep.insert(target, upkeep);
    }
}

/// Queues a check and a prune if it is time for them.
fn queue_due(state: &mut State, step: &mut Step, target: &str, upkeep: &mut Upkeep, now: Timestamp) {
    let is_due = |last: Timestamp, every: Duration| {
        // After a clock that was set back it is due: better once too often than never.
        last.duration_since(now) > CLOCK_SET || last.checked_add(every).is_ok_and(|due| due <= now)
    };
    let maintenance = state.config.maintenance;
    if let Some(within) = maintenance.verify.filter(|_| is_due(upkeep.verified, VERIFY_EVERY)) {
        upkeep.verified = now;
        let read_part = Some(ReadPart::WithinSeconds(within.as_secs()));
        let spec = VerifySpec { target: Some(target.to_owned()), read_data: true, read_part, ..VerifySpec::default() };
        let days = within.as_secs() / (24 * 3600);
        queue(state, step, JobSpec::Verify(spec), target, format!("All data is read within {days} days."), now);
    }
    let is_ours = state.config.targets.get(target).and_then(|target| target.pruned_by.as_ref());
    let is_ours = is_ours.is_none_or(|host| *host == state.machine);
    let every = maintenance.prune.filter(|every| is_ours && upkeep.has_unused && is_due(upkeep.pruned, *every));
    if every.is_some() {
        // It counts from now on even if it comes to nothing: what was not removed is counted as unused still.
        upkeep.pruned = now;
        let spec = PruneSpec { target: Some(target.to_owned()), ..PruneSpec::default() };
        let reason = "Snapshots were forgotten since the last prune, or what it found had to wait.";
        queue(state, step, JobSpec::Prune(spec), target, reason.to_owned(), now);
    }
}

/// Queues a job that nobody waits for, unless such a one has not ended yet.
fn queue(state: &mut State, step: &mut Step, spec: JobSpec, target: &str, reason: String, now: Timestamp) {
    let is_there = |job: &Job| job.spec.kind() == spec.kind() && job.target.as_deref() == Some(target);
    if state.active.values().any(|job| is_there(job)) {
        return;
    }
    let mut job = new_job(state, spec, Some(target.to_owned()), Priority::Low, now);
    job.reason = Some(reason);
    state.add_job(step, job);
}

#[cfg(test)]
mod tests {
    use backup_proto::job::{JobKind, PruneReport};
    use backup_proto::spec::ForgetSpec;

    use super::*;
    use crate::config::Config;
    use crate::job::{How, Totals};
    use crate::supervisor::bench::{Bench, with_plan};

    const HOUR: Duration = Duration::from_secs(3600);

    fn keeping(extra: &str) -> Config {
        let text = format!(
            "{extra}\n[plan.docs]\nsources = [\"/home\"]\nschedule = \"every 6h\"\nkeep.last = 3\n[target.local]\nurl = \"/repository\"\npassword-file = \"/key\"\n"
        );
        let surroundings = crate::config::Surroundings { folder: "/etc".into(), home: None };
        Config::parse(&text, std::path::Path::new("c"), &surroundings).unwrap()
    }

    /// Lets days pass in which each forget removes so many snapshots, and each prune leaves so many packs; returns what
    /// ran, as days and kinds.
    fn days(bench: &mut Bench, count: i64, forgets: u64, waiting: u64) -> Vec<(i64, JobKind)> {
        let begin = bench.now.wall;
        let mut ran = Vec::new();
        for _ in 0..count * 4 {
            while let Some(id) = bench.workers.keys().next().cloned() {
                let kind = bench.state.job(&id).unwrap().spec.kind();
                ran.push((bench.now.wall.duration_since(begin).as_hours() / 24, kind));
                let prune = PruneReport { packs_waiting: waiting, ..PruneReport::default() };
                let totals = match kind {
                    JobKind::Forget => Totals { files: forgets, ..Totals::default() },
                    JobKind::Prune => Totals { prune: Some(prune), ..Totals::default() },
                    _ => Totals::default(),
                };
                bench.end_with(&id, How::Done, totals);
            }
            bench.pass(HOUR * 6);
        }
        ran
    }

    fn when(ran: &[(i64, JobKind)], kind: JobKind) -> Vec<i64> {
        ran.iter().filter(|(_, ran)| *ran == kind).map(|(day, _)| *day).collect()
    }

    #[test]
    fn data_is_checked_daily_and_a_prune_comes_weekly_while_it_pays() {
        let mut bench = Bench::new(keeping(""));
        let ran = days(&mut bench, 22, 1, 0);
        assert_eq!(when(&ran, JobKind::Forget).len(), 22 * 4, "after every backup");
        assert_eq!(when(&ran, JobKind::Verify), (1..22).collect::<Vec<_>>());
        assert_eq!(when(&ran, JobKind::Prune), [7, 14, 21]);
        let ran = days(&mut bench, 30, 0, 0);
        assert_eq!(when(&ran, JobKind::Prune).len(), 1, "what was forgotten before it, and then nothing any more");
        let ran = days(&mut bench, 30, 0, 0);
        assert_eq!(when(&ran, JobKind::Prune).len(), 0);
        bench.check();
    }

    #[test]
    fn what_a_prune_has_to_leave_is_taken_up_by_the_next_one() {
        let mut bench = Bench::new(keeping(""));
        days(&mut bench, 8, 1, 5);
        let ran = days(&mut bench, 21, 0, 5);
        assert_eq!(when(&ran, JobKind::Prune).len(), 3);
        let ran = days(&mut bench, 21, 0, 0);
        assert_eq!(when(&ran, JobKind::Prune).len(), 1);
    }

    #[test]
    fn nothing_is_done_that_the_config_leaves_to_somebody_else() {
        for (extra, verifies, prunes) in [
            ("[maintenance]\nverify = \"never\"", 0, 1),
            ("[maintenance]\nprune = \"never\"", 9, 0),
            ("[maintenance]\nprune = \"2 days\"", 9, 4),
        ] {
            let mut bench = Bench::new(keeping(extra));
            let ran = days(&mut bench, 10, 1, 0);
            let counts = (when(&ran, JobKind::Verify).len(), when(&ran, JobKind::Prune).len());
            assert_eq!(counts, (verifies, prunes), "{extra}");
        }
        for (host, prunes) in [("server", 0), ("this", 1)] {
            let mut config = keeping("");
            config.targets.get_mut("local").unwrap().pruned_by = Some(host.to_owned());
            let mut bench = Bench::new(config);
            bench.state.machine = "this".to_owned();
            assert_eq!(when(&days(&mut bench, 10, 1, 0), JobKind::Prune).len(), prunes, "{host}");
        }
    }

    #[test]
    fn on_a_low_battery_backups_run_by_their_deadline_and_the_rest_waits_for_as_long_as_it_takes() {
        let mut bench = Bench::new(keeping(""));
        days(&mut bench, 2, 1, 0);
        let power = |on_battery| crate::conditions::Power { on_battery, percent: Some(20) };
        let set = |bench: &mut Bench, on_battery| {
            let at = bench.now.wall;
            let power = crate::conditions::Reading::of(Some(power(on_battery)), "a test", at);
            let readings = crate::conditions::Readings { power, ..crate::conditions::Readings::unknown(at) };
            bench.event(crate::inbox::Event::Readings(Box::new(readings)));
        };
        set(&mut bench, true);
        let ran = days(&mut bench, 10, 1, 0);
        assert!(ran.iter().all(|(_, kind)| *kind == JobKind::Backup), "{ran:?}");
        assert!(ran.iter().any(|(day, _)| *day >= 3), "{ran:?}");
        assert!(bench.state.active.values().all(|job| bench.state.verdicts.contains_key(&job.id)), "each has a reason");
        set(&mut bench, false);
        let kinds: Vec<JobKind> = days(&mut bench, 1, 1, 0).into_iter().map(|(_, kind)| kind).collect();
        assert!(kinds.contains(&JobKind::Verify) && kinds.contains(&JobKind::Forget), "{kinds:?}");
        bench.check();
    }

    #[test]
    fn what_is_due_survives_a_restart_and_a_clock_that_is_set_back_and_a_dry_run_changes_nothing() {
        let mut bench = Bench::new(with_plan("every 6h"));
        days(&mut bench, 1, 0, 0);
        while let Some(running) = bench.workers.keys().next().cloned() {
            bench.end(&running, How::Done, 0);
        }
        let dry = ForgetSpec { plan: None, snapshots: vec!["5e1d0b7c".into()], dry_run: true, ..ForgetSpec::default() };
        let id = bench.submit(JobSpec::Forget(dry));
        bench.end_with(&id, How::Done, Totals { files: 3, ..Totals::default() });
        let before = bench.state.upkeep["local"];
        assert!(!before.has_unused);
        bench.restart();
        assert_eq!(bench.state.upkeep["local"], before);
        bench.now.wall = bench.now.wall.checked_sub(HOUR * 24 * 400).unwrap();
        bench.tick();
        assert!(
            !when(&days(&mut bench, 2, 0, 0), JobKind::Verify).is_empty(),
            "it does not wait for four hundred days"
        );
    }
}
