//! Random histories from a seed: whatever happens in whatever order, no acknowledged job is lost, every waiting job
//! has a reason, one job runs on a target and none on one that is left alone, and in the end all come to an end.

use std::collections::BTreeSet;
use std::time::Duration;

use backup_proto::error::Class;
use backup_proto::job::{JobId, Priority};
use backup_proto::message::Request;
use backup_proto::params::{
    DaemonPause, DaemonResume, JobCancel, JobPause, JobResume, JobRetry, JobSetPriority, TargetBreaker,
};
use backup_proto::target::BreakerWish;

use super::bench::{Bench, Told, backup, failure, prune, read_data, restore, verify, with_plan};
use super::step;
use crate::inbox::{Event, News};
use crate::job::How;

/// Histories that are tried.
const SEEDS: u64 = 60;

/// What the clock is set to now and then.
const CLOCKS: [&str; 3] = ["1970-01-01T00:00:00Z", "2024-05-02T12:00:00Z", "2099-01-01T00:00:00Z"];

/// Events in one history.
const EVENTS: usize = 250;

/// A small generator: the seed that a failure prints replays the history.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> Option<T> {
        let bound = u64::try_from(from.len()).unwrap();
        if bound == 0 { None } else { from.get(usize::try_from(self.below(bound)).unwrap()).cloned() }
    }
}

#[test]
fn no_history_loses_a_job_or_leaves_one_without_a_reason() {
    for seed in 0..SEEDS {
        let replay = format!("replay with seed {seed}");
        let outcome = std::panic::catch_unwind(|| history(seed));
        assert!(outcome.is_ok(), "{replay}");
    }
}

fn history(seed: u64) {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(1));
    let mut bench = Bench::new(with_plan("every 3h"));
    let mut accepted: BTreeSet<JobId> = BTreeSet::new();
    for _ in 0..EVENTS {
        happen(&mut random, &mut bench, &mut accepted);
        bench.check();
        for id in &accepted {
            bench.job_state(id);
        }
    }
    come_to_an_end(&mut bench);
}

fn happen(random: &mut Random, bench: &mut Bench, accepted: &mut BTreeSet<JobId>) {
    match random.below(23) {
        0..=2 => {
            let kinds = [backup(), verify("local"), restore(), read_data(), prune()];
            let spec = random.pick(&kinds).unwrap();
            accepted.insert(bench.submit(spec));
        }
        3..=8 => worker_ends(random, bench),
        9..=14 => ask_something(random, bench),
        15 | 16 => bench.pass(Duration::from_secs(random.below(20 * 60))),
        17 => bench.pass(Duration::from_secs(random.below(48 * 3600))),
        18 => bench.restart(),
        21 | 22 => question_is_answered(random, bench),
        19 => bench.now.wall = random.pick(&CLOCKS).unwrap().parse().unwrap(),
        // A step whose changes could not be stored is as if it had never been.
        _ => drop(step(&bench.state, Event::Stop, bench.now)),
    }
}

fn worker_ends(random: &mut Random, bench: &mut Bench) {
    let workers: Vec<(JobId, (u32, Told))> = bench.workers.iter().map(|(id, worker)| (id.clone(), *worker)).collect();
    let Some((id, (attempt, told))) = random.pick(&workers) else { return };
    let how = match (told, random.below(8)) {
        // One that waits at its gate says nothing, unless it had passed the last one.
        (Told::Pause, 1..) => return,
        (Told::Cancel, 1..) => How::Cancelled,
        (Told::Suspend, 1..) => How::Suspended,
        (_, 1) => failure(Class::Transient),
        (_, 3 | 4) if fails_at_target(random, bench, &id) => return,
        (_, 2) => failure(Class::Damaged),
        _ => How::Done,
    };
    // What an earlier attempt still says is ignored.
    let late = News::Notice("late".into());
    bench.event(Event::Worker { job: id.clone(), attempt: attempt.wrapping_sub(1), news: late });
    bench.end(&id, how, random.below(2));
}

/// Lets the target of a job fail it, as targets do several times in a row; returns whether it did.
fn fails_at_target(random: &mut Random, bench: &mut Bench, id: &JobId) -> bool {
    let Some(target) = bench.state.active[id].target.clone() else { return false };
    let class = random.pick(&[Class::Transient, Class::Throttled, Class::Transient, Class::Auth]).unwrap();
    let mut how = failure(class);
    if let How::Failed(error) = &mut how {
        error.data.retry_after_seconds = random.pick(&[None, None, Some(600)]).unwrap();
    }
    bench.fail_at(id, how, &target);
    true
}

fn question_is_answered(random: &mut Random, bench: &mut Bench) {
    let Some(target) = bench.asked.first().cloned() else { return };
    let how = [How::Done, failure(Class::Transient), failure(Class::Auth)];
    bench.answer(&target, &random.pick(&how).unwrap());
}

fn ask_something(random: &mut Random, bench: &mut Bench) {
    let ids: Vec<JobId> = bench.state.active.keys().chain(bench.state.ended.keys()).cloned().collect();
    let Some(job) = random.pick(&ids) else { return };
    let request_id = bench.request_id();
    let for_seconds = random.pick(&[None, Some(600), Some(7200)]).unwrap();
    let request: Request = match random.below(10) {
        0 | 1 => JobPause { request_id, job, for_seconds }.into(),
        2 | 3 => JobResume { request_id, job, now: false }.into(),
        4 => JobCancel { request_id, job }.into(),
        5 => JobRetry { request_id, job }.into(),
        6 => JobSetPriority { request_id, job, priority: Priority::Critical }.into(),
        7 => DaemonPause { request_id, for_seconds }.into(),
        8 => {
            let wish = random.pick(&[BreakerWish::Reset, BreakerWish::Open, BreakerWish::Closed]).unwrap();
            TargetBreaker { request_id, name: "local".to_owned(), wish }.into()
        }
        _ => DaemonResume { request_id }.into(),
    };
    // Many of these are refused, which is an answer too.
    let _ = bench.ask(request);
}

/// Ends every pause and lets every worker do well: then nothing may be left.
fn come_to_an_end(bench: &mut Bench) {
    let request_id = bench.request_id();
    bench.ask(DaemonResume { request_id }).unwrap();
    let request_id = bench.request_id();
    bench.ask(TargetBreaker { request_id, name: "local".to_owned(), wish: BreakerWish::Reset }).unwrap();
    for id in bench.state.active.keys().cloned().collect::<Vec<_>>() {
        let request_id = bench.request_id();
        let _ = bench.ask(JobResume { request_id, job: id, now: false });
    }
    for _ in 0..10_000 {
        let Some((id, told)) = bench.workers.iter().map(|(id, (_, told))| (id.clone(), *told)).next() else {
            if bench.state.active.is_empty() {
                return;
            }
            bench.pass(Duration::from_secs(60));
            continue;
        };
        let how = match told {
            Told::Run | Told::Pause => How::Done,
            Told::Suspend => How::Suspended,
            Told::Cancel => How::Cancelled,
        };
        bench.end(&id, how, 0);
        bench.check();
    }
    panic!("these never end: {:?}", bench.state.active);
}
