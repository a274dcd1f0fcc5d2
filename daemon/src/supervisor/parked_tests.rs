//! What waiting does not mend is not tried again and again (S0.12), and no plan stands still because of it.

use std::time::Duration;

use backup_proto::error::Class;
use backup_proto::job::{JobId, JobState, VerdictKind};
use backup_proto::params::{JobCancel, JobResume, JobRetry, TargetBreaker};
use backup_proto::target::BreakerWish;

use super::bench::{Bench, backup, failure, verify, with_plan};
use crate::job::How;

const LASTING: [Class; 5] = [Class::Auth, Class::Permission, Class::Quota, Class::Full, Class::Damaged];

/// A plan that is due each three hours, whose job has just ended like this.
fn parked(class: Class) -> (Bench, JobId) {
    let mut bench = Bench::new(with_plan("every 3h"));
    let job = bench.workers.keys().next().expect("the plan was due").clone();
    bench.end(&job, failure(class), 0);
    (bench, job)
}

fn attempts(bench: &Bench, job: &JobId) -> u32 {
    bench.state.job(job).unwrap().attempt_count()
}

#[test]
fn a_plans_job_is_parked_with_its_advice_and_tried_once_each_time_the_plan_is_due() {
    for class in LASTING {
        let (mut bench, job) = parked(class);
        let no = bench.state.verdicts[&job].clone();
        assert_eq!((bench.job_state(&job), no.kind), (JobState::Queued, VerdictKind::Parked), "{class:?}");
        assert!(no.sentence.contains("it broke. wait") && no.sentence.contains("backupctl retry"), "{}", no.sentence);
        assert!(bench.state.breakers.get("local").is_none_or(|breaker| breaker.closure().is_none()));
        bench.restart();
        for _ in 0..179 {
            bench.pass(Duration::from_secs(60));
            bench.check();
        }
        assert_eq!((attempts(&bench, &job), bench.workers.len()), (1, 0), "{class:?}: no attempt in between");
        bench.pass(Duration::from_secs(60));
        assert_eq!(attempts(&bench, &job), 2, "the same job, not a second one");
        bench.end(&job, How::Done, 0);
        assert_eq!(bench.job_state(&job), JobState::Succeeded);
        assert!(bench.state.active.is_empty() && bench.state.verdicts.is_empty());
    }
}

#[test]
fn somebody_is_told_once_per_cause() {
    let (mut bench, job) = parked(Class::Full);
    let told = |bench: &Bench| bench.notices.iter().filter(|notice| notice.contains(job.as_str())).count();
    assert_eq!(told(&bench), 1);
    for _ in 0..4 {
        bench.pass(Duration::from_secs(3 * 3600));
        bench.end(&job, failure(Class::Full), 0);
    }
    assert_eq!((told(&bench), attempts(&bench, &job)), (1, 5));
    bench.pass(Duration::from_secs(3 * 3600));
    bench.end(&job, failure(Class::Auth), 0);
    assert_eq!(told(&bench), 2, "another cause");
}

#[test]
fn retry_resume_and_a_reset_of_its_target_try_it_at_once_and_it_can_be_cancelled() {
    for how in 0..4 {
        let (mut bench, job) = parked(Class::Full);
        let (request_id, id) = (bench.request_id(), job.clone());
        let answer = match how {
            0 => bench.ask(JobRetry { request_id, job: id }),
            1 => bench.ask(JobResume { request_id, job: id, now: false }),
            2 => bench.ask(TargetBreaker { request_id, name: "local".to_owned(), wish: BreakerWish::Reset }),
            _ => bench.ask(JobCancel { request_id, job: id }),
        };
        assert!(answer.is_ok(), "{answer:?}");
        let expected = if how == 3 { JobState::Cancelled } else { JobState::Running };
        assert_eq!(bench.job_state(&job), expected);
        bench.check();
    }
}

#[test]
fn what_somebody_waits_for_and_what_is_no_backup_ends_at_once() {
    for class in LASTING {
        let mut bench = Bench::new(with_plan("daily 02:30"));
        for spec in [backup(), verify("local")] {
            let job = bench.submit(spec);
            bench.end(&job, failure(class), 0);
            assert_eq!(bench.job_state(&job), JobState::Failed, "{class:?}");
        }
    }
}
