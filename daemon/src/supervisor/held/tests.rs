//! Jobs on a machine whose power and network come and go.

use std::time::Duration;

use backup_proto::job::{JobId, JobState, VerdictKind};
use backup_proto::params::{JobResume, JobSubmit};
use backup_proto::spec::{BackupSpec, JobSpec};

use crate::conditions::{Power, Reading, Readings};
use crate::config::Config;
use crate::inbox::Event;
use crate::job::How;
use crate::supervisor::bench::{Bench, Told, backup, restore, with_plan, with_target};

const HOUR: Duration = Duration::from_secs(3600);

fn readings(bench: &Bench, on_battery: bool, percent: u8) -> Readings {
    let power = Power { on_battery, percent: Some(percent) };
    let at = bench.now.wall;
    Readings { power: Reading::of(Some(power), "a test", at), ..Readings::unknown(at) }
}

fn power(bench: &mut Bench, on_battery: bool, percent: u8) {
    let readings = readings(bench, on_battery, percent);
    bench.event(Event::Readings(Box::new(readings)));
}

fn metered(bench: &mut Bench, metered: bool) {
    let at = bench.now.wall;
    let readings = Readings { metered: Reading::of(Some(metered), "a test", at), ..readings(bench, false, 100) };
    bench.event(Event::Readings(Box::new(readings)));
}

/// Lets the plan come due once; returns its job.
fn planned(bench: &mut Bench) -> JobId {
    for _ in 0..48 {
        bench.pass(HOUR);
        if let Some(id) = bench.state.active.keys().next() {
            return id.clone();
        }
    }
    panic!("the plan is never due")
}

fn told(bench: &Bench, id: &JobId) -> Option<Told> {
    bench.workers.get(id).map(|(_, told)| *told)
}

#[test]
fn a_job_that_runs_pauses_when_the_power_goes_and_goes_on_by_itself() {
    let mut bench = Bench::new(with_plan("daily 02:30"));
    let job = planned(&mut bench);
    assert_eq!(told(&bench, &job), Some(Told::Run));
    power(&mut bench, true, 34);
    assert_eq!((told(&bench, &job), bench.job_state(&job)), (Some(Told::Pause), JobState::Paused));
    let first = bench.state.verdicts[&job].clone();
    assert_eq!((first.kind, first.condition.as_deref()), (VerdictKind::Conditions, Some("battery")));
    assert!(first.since == Some(bench.now.wall) && first.runs_by > first.since, "{first:?}");
    bench.pass(Duration::from_secs(60));
    power(&mut bench, true, 33);
    let second = bench.state.verdicts[&job].clone();
    assert_ne!(second.sentence, first.sentence);
    assert_eq!(second.since, first.since, "it is still the same reason");
    power(&mut bench, true, 44);
    assert_eq!(told(&bench, &job), Some(Told::Pause));
    power(&mut bench, true, 45);
    assert_eq!((told(&bench, &job), bench.job_state(&job)), (Some(Told::Run), JobState::Running));
    power(&mut bench, true, 39);
    // After ten minutes at its gate it gives up its lock, and begins anew when it may.
    bench.pass(Duration::from_secs(11 * 60));
    assert_eq!(told(&bench, &job), Some(Told::Suspend));
    bench.end(&job, How::Suspended, 0);
    assert_eq!((told(&bench, &job), bench.job_state(&job)), (None, JobState::Paused));
    power(&mut bench, false, 39);
    assert_eq!((told(&bench, &job), bench.job_state(&job)), (Some(Told::Run), JobState::Running));
    bench.check();
}

#[test]
fn what_is_held_runs_by_its_deadline_counted_from_the_last_success_on_the_target() {
    let mut bench = Bench::new(with_plan("daily 02:30"));
    power(&mut bench, false, 80);
    let first = planned(&mut bench);
    bench.end(&first, How::Done, 0);
    let success = bench.now.wall;
    power(&mut bench, true, 20);
    let held = planned(&mut bench);
    let due_by = success.checked_add(HOUR * 72).unwrap();
    assert_eq!(bench.state.verdicts[&held].runs_by, Some(due_by));
    bench.restart();
    assert_eq!(bench.state.verdicts[&held].runs_by, Some(due_by), "a restart does not begin anew");
    while bench.now.wall < due_by {
        assert_eq!(told(&bench, &held), None);
        let wake = bench.wake.expect("the deadline is waited for");
        bench.pass(wake);
    }
    assert_eq!(bench.job_state(&held), JobState::Running);
    power(&mut bench, true, 9);
    assert_eq!(bench.job_state(&held), JobState::Paused, "this would end with an empty battery");
    assert_eq!(bench.state.verdicts[&held].condition.as_deref(), Some("battery_critical"));
}

#[test]
fn what_somebody_asks_for_runs_on_battery_and_a_critical_one_or_a_dear_network_asks_for_now() {
    let mut config = with_target("nas");
    config.targets.get_mut("nas").unwrap().over_network = true;
    let mut bench = Bench::new(config);
    power(&mut bench, true, 20);
    let local = bench.submit(backup());
    assert_eq!(bench.job_state(&local), JobState::Running);
    power(&mut bench, true, 9);
    assert_eq!(bench.job_state(&local), JobState::Paused);
    assert!(bench.why(&local).contains("--now"), "{}", bench.why(&local));
    let back = bench.submit(restore());
    assert_eq!(bench.job_state(&back), JobState::Running, "somebody waits for a restore");
    let resume = JobResume { request_id: bench.request_id(), job: local.clone(), now: true };
    bench.ask(resume).unwrap();
    bench.end(&back, How::Done, 0);
    assert_eq!(bench.job_state(&local), JobState::Running);
    bench.end(&local, How::Done, 0);
    metered(&mut bench, true);
    let JobSpec::Backup(spec) = backup() else { panic!("it is one") };
    let spec = JobSpec::Backup(BackupSpec { target: Some("nas".into()), ..spec });
    let waits = bench.submit(spec.clone());
    assert_eq!(
        (bench.job_state(&waits), bench.state.verdicts[&waits].condition.as_deref()),
        (JobState::Queued, Some("metered"))
    );
    let local = bench.submit(backup());
    assert_eq!(bench.job_state(&local), JobState::Running, "no network is needed for that");
    let submit = JobSubmit { request_id: bench.request_id(), spec, priority: None, now: true, reason: None };
    let answer = bench.ask(submit).unwrap();
    let at_once = JobId::from(answer["jobs"][0].as_str().unwrap());
    assert_eq!(bench.job_state(&at_once), JobState::Running);
    bench.end(&at_once, How::Done, 0);
    metered(&mut bench, false);
    assert_eq!(bench.job_state(&waits), JobState::Running);
    bench.check();
}

#[test]
fn a_rate_of_the_conditions_counts_while_they_last() {
    let mut config = with_plan("daily 02:30");
    let slow = "[conditions]\non-battery = \"slow 1 MiB/s\"\n";
    let surroundings = crate::config::Surroundings { folder: "/etc".into(), home: None };
    config.conditions = Config::parse(slow, std::path::Path::new("c"), &surroundings).unwrap().conditions;
    let mut bench = Bench::new(config);
    let job = planned(&mut bench);
    assert!(bench.state.in_force.is_empty());
    power(&mut bench, true, 50);
    assert_eq!(bench.job_state(&job), JobState::Running);
    let rates: Vec<_> =
        bench.state.in_force.iter().map(|limit| (limit.bytes_per_second, limit.reason.clone())).collect();
    assert_eq!(rates, vec![(Some(1 << 20), Some("on battery".to_owned())); 2]);
    power(&mut bench, false, 50);
    assert!(bench.state.in_force.is_empty());
}

#[test]
fn a_clock_that_was_set_back_makes_nobody_wait_for_years() {
    let mut bench = Bench::new(with_plan("every 3h"));
    power(&mut bench, true, 20);
    let job = bench.state.active.keys().next().expect("the plan was due").clone();
    bench.pass(HOUR);
    bench.end(&job, How::Suspended, 0);
    assert_eq!(bench.job_state(&job), JobState::Paused);
    bench.now.wall = "1999-01-01T00:00:00Z".parse().unwrap();
    bench.tick();
    assert_eq!(bench.job_state(&job), JobState::Running);
}

/// A laptop in random hands: what runs may run, who waits has a reason and an end, and nothing flaps.
#[test]
fn no_history_of_a_battery_runs_a_job_against_it_or_keeps_one_for_ever() {
    for seed in 0..40 {
        let outcome = std::panic::catch_unwind(|| history(seed));
        assert!(outcome.is_ok(), "replay with seed {seed}");
    }
}

fn history(seed: u64) {
    let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(1);
    let mut below = |bound: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % bound
    };
    let mut bench = Bench::new(with_plan("every 3h"));
    let (mut on_battery, mut percent) = (false, 50_u8);
    for _ in 0..300 {
        match below(8) {
            0..=2 => {
                on_battery = below(3) > 0;
                percent = percent.saturating_add(u8::try_from(below(9)).unwrap()).saturating_sub(4).min(100);
            }
            3..=4 => bench.pass(Duration::from_secs(below(4 * 3600))),
            5 => bench.restart(),
            6 => drop(bench.submit(backup())),
            _ => {
                let running = bench.workers.iter().find(|(_, (_, told))| *told != Told::Pause);
                if let Some((id, told)) = running.map(|(id, (_, told))| (id.clone(), *told)) {
                    bench.end(&id, if told == Told::Suspend { How::Suspended } else { How::Done }, 0);
                }
            }
        }
        power(&mut bench, on_battery, percent);
        bench.check();
        check(&bench, on_battery, percent);
    }
}

/// What runs may run, and who waits will not wait for ever.
fn check(bench: &Bench, on_battery: bool, percent: u8) {
    for job in bench.state.active.values() {
        let (is_held, since) = (on_battery && percent < 40, job.submitted);
        let success = bench.state.successes.get("docs/local").copied().filter(|_| job.plan.is_some());
        let due_by = success.map_or(since, |success| success.min(since)).checked_add(HOUR * 72).unwrap();
        let is_due = job.by_hand || due_by <= bench.now.wall;
        let runs = told(bench, &job.id) == Some(Told::Run);
        assert!(!(runs && on_battery && percent < 10), "{} runs on an empty battery", job.id);
        assert!(!(runs && is_held && !is_due), "{} runs against its condition", job.id);
        let verdict = bench.state.verdicts.get(&job.id).filter(|verdict| verdict.condition.is_some());
        let is_soft = verdict.is_some_and(|verdict| verdict.condition.as_deref() == Some("battery"));
        // A check that came by itself waits for as long as it takes.
        let is_soft = is_soft && (job.by_hand || job.spec.stores_a_snapshot());
        assert!(!is_soft || verdict.is_some_and(|no| no.runs_by > Some(bench.now.wall)), "{} waits too long", job.id);
    }
}
