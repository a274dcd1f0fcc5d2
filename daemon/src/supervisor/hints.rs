//! When the caller's word on what has changed may be relied on.
//!
//! A caller names what has changed since it submitted the job before. If that job came to nothing, what was named to it
//! has still to be looked at, and nobody names it again. So the word counts from the snapshot that the last such job left,
//! and from no other: what a plan's sources and excludes were then may not be what they are now.

use backup_proto::spec::{BackupSpec, JobSpec};
use jiff::Timestamp;

use super::State;
use crate::job::Job;

/// Says since which snapshot the caller's word counts that a job is about to start with, and takes the word from it if a
/// job of the same kind came to nothing since that was begun.
pub(super) fn date_or_drop(state: &State, job: &mut Job) {
    let JobSpec::Backup(spec) = &mut job.spec else { return };
    // A dry run believes what a backup would; one that has ended has looked at nothing for the next one.
    let set = BackupSpec { changed: None, dry_run: false, ..spec.clone() };
    let is_same = |other: &&Job| matches!(&other.spec, JobSpec::Backup(spec) if BackupSpec { changed: None, ..spec.clone() } == set);
    let ended = || state.ended.values().map(|job| &**job).filter(is_same);
    let snapshot = |job: &Job| job.summary.as_ref().and_then(|summary| summary.snapshot.clone());
    let last = ended().filter(|job| snapshot(job).is_some()).max_by_key(|job| job.ended);
    // Times alone do not tell: somebody may have set the clock back. Ids grow whatever it says.
    let is_later = |job: &Job| last.is_none_or(|last| job.ended >= began(last) || job.id > last.id);
    job.changed_since = last.and_then(snapshot);
    if last.is_none() || ended().any(|job| snapshot(job).is_none() && is_later(job)) {
        spec.changed = None;
    }
}

/// Returns when the attempt began that ended a job.
fn began(job: &Job) -> Option<Timestamp> {
    job.attempts.last().map(|attempt| attempt.started)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use backup_proto::job::JobId;
    use backup_proto::params::JobCancel;

    use super::*;
    use crate::config::Config;
    use crate::job::{How, Totals};
    use crate::supervisor::bench::Bench;

    fn hinted(source: &str) -> JobSpec {
        let changed = Some(vec![format!("{source}/a").as_str().into()]);
        JobSpec::Backup(BackupSpec { sources: vec![source.into()], changed, ..BackupSpec::default() })
    }

    fn snapshot(bench: &mut Bench, id: &JobId) {
        let totals = Totals { snapshot: Some("ab".repeat(32)), ..Totals::default() };
        bench.pass(Duration::from_secs(10));
        bench.end_with(id, How::Done, totals);
    }

    fn is_believed(bench: &Bench, id: &JobId) -> bool {
        matches!(&bench.given[id], JobSpec::Backup(spec) if spec.changed.is_some())
    }

    #[test]
    fn hints_count_from_a_snapshot_on_and_not_after_a_job_that_came_to_nothing() {
        let mut bench = Bench::new(Config::default());
        let mut next = |cancelled: bool, source: &str| {
            bench.pass(Duration::from_secs(10));
            let id = bench.submit(hinted(source));
            let believed = is_believed(&bench, &id);
            if cancelled {
                bench.end(&id, How::Cancelled, 0);
            } else {
                snapshot(&mut bench, &id);
            }
            believed
        };
        assert!(!next(false, "/s"), "there is nothing that they could count from");
        assert!(next(false, "/s"));
        assert!(next(true, "/s"));
        assert!(!next(true, "/s"), "what was named to the one before was not looked at");
        assert!(!next(false, "/t"), "another set of sources has a history of its own");
        assert!(next(false, "/t"));
        assert!(!next(false, "/s"), "still");
        assert!(next(false, "/s"));
    }

    #[test]
    fn what_was_named_to_a_job_that_failed_is_not_lost_when_the_clock_is_set_back() {
        let mut bench = Bench::new(Config::default());
        let first = bench.submit(hinted("/s"));
        snapshot(&mut bench, &first);
        bench.now.wall = bench.now.wall.checked_sub(jiff::SignedDuration::from_hours(5)).unwrap();
        let failed = bench.submit(hinted("/s"));
        bench.end(&failed, How::Cancelled, 0);
        let next = bench.submit(hinted("/s"));
        assert!(!is_believed(&bench, &next));
    }

    /// S2.15: a dry run says what a backup would store, and is none.
    #[test]
    fn a_dry_run_believes_what_a_backup_would_and_neither_uses_up_nor_spoils_what_was_named() {
        let mut bench = Bench::new(Config::default());
        let dry = || {
            let JobSpec::Backup(spec) = hinted("/s") else { unreachable!("it is one") };
            JobSpec::Backup(BackupSpec { dry_run: true, ..spec })
        };
        let first = bench.submit(dry());
        assert!(!is_believed(&bench, &first), "there is no snapshot yet");
        bench.end(&first, How::Done, 0);
        let first = bench.submit(hinted("/s"));
        assert!(!is_believed(&bench, &first), "a dry run has left none");
        snapshot(&mut bench, &first);
        for how in [How::Done, How::Cancelled] {
            bench.pass(Duration::from_secs(10));
            let dry = bench.submit(dry());
            assert!(is_believed(&bench, &dry));
            bench.end(&dry, how, 0);
        }
        bench.pass(Duration::from_secs(10));
        let next = bench.submit(hinted("/s"));
        assert!(is_believed(&bench, &next), "what came of dry runs is nothing to a backup");
    }

    #[test]
    fn hints_count_from_the_snapshot_of_the_last_job_of_the_same_kind() {
        let state = |bench: &Bench| bench.state.clone();
        let mut bench = Bench::new(Config::default());
        for (source, snapshot) in [("/s", "11"), ("/t", "22"), ("/s", "33"), ("/t", "44")] {
            let id = bench.submit(hinted(source));
            bench.pass(Duration::from_secs(10));
            bench.end_with(&id, How::Done, Totals { snapshot: Some(snapshot.repeat(32)), ..Totals::default() });
        }
        let id = bench.submit(hinted("/s"));
        let mut job = Job::clone(&bench.state.active[&id]);
        date_or_drop(&state(&bench), &mut job);
        assert_eq!(job.changed_since, Some("33".repeat(32)));
    }

    /// Of two that wait the younger may go first, and the older may be cancelled while it runs.
    #[test]
    fn what_was_named_to_a_job_that_is_cancelled_beside_another_is_not_lost() {
        let mut bench = Bench::new(Config::default());
        let first = bench.submit(hinted("/s"));
        snapshot(&mut bench, &first);
        bench.pass(Duration::from_secs(10));
        let running = bench.submit(hinted("/s"));
        let waiting = bench.submit(hinted("/s"));
        assert!(is_believed(&bench, &running));
        bench.pass(Duration::from_secs(10));
        let cancel = JobCancel { request_id: bench.request_id(), job: waiting };
        bench.ask(cancel).unwrap();
        snapshot(&mut bench, &running);
        let next = bench.submit(hinted("/s"));
        assert!(!is_believed(&bench, &next));
        bench.restart();
        assert!(!is_believed(&bench, &next), "nor after a restart");
    }
}
