//! Jobs of plans that run at certain times of the week.

use std::path::Path;
use std::time::Duration;

use backup_proto::job::{JobId, JobKind, JobState, Verdict};
use backup_proto::params::JobResume;
use jiff::tz::TimeZone;

use crate::config::{Config, Surroundings};
use crate::job::How;
use crate::supervisor::bench::{Bench, Told, backup, restore};
use crate::supervisor::conditions;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// Begins on a Wednesday at 12:00.
fn bench(conditions: &str) -> Bench {
    let text = format!(
        "[conditions]\n{conditions}\n[plan.docs]\nsources = [\"/home\"]\nschedule = \"every 3h\"\nkeep.last = 3\n"
    );
    let surroundings = Surroundings { folder: "/etc".into(), home: None };
    Bench::new(Config::parse(&text, Path::new("c"), &surroundings).unwrap())
}

fn held(bench: &Bench) -> (JobId, Verdict) {
    let (id, no) = bench.state.verdicts.iter().next().expect("something waits");
    assert_eq!(no.condition.as_deref(), Some("window"));
    (id.clone(), no.clone())
}

fn told(bench: &Bench, id: &JobId) -> Option<Told> {
    bench.workers.get(id).map(|(_, told)| *told)
}

/// Lets time pass as the loop does: in steps no longer than it wants to wait.
fn until(bench: &mut Bench, time: &str) {
    let time = time.parse().unwrap();
    while bench.now.wall < time {
        let left = Duration::try_from(time.duration_since(bench.now.wall)).unwrap();
        let wake = bench.wake.expect("something is waited for");
        bench.pass(wake.min(left));
        bench.check();
    }
}

#[test]
fn a_window_that_closes_ends_an_attempt_at_a_checkpoint_and_the_next_night_goes_on_with_the_job() {
    let mut bench = bench("window = \"22:00-06:00\"");
    let (job, no) = held(&bench);
    assert_eq!(no.sentence, "Waiting for its window (22:00-06:00, opens at 22:00).");
    assert_eq!(no.next_look, Some("2024-05-01T22:00:00Z".parse().unwrap()));
    until(&mut bench, "2024-05-01T22:00:00Z");
    assert_eq!((told(&bench, &job), bench.job_state(&job)), (Some(Told::Run), JobState::Running));
    until(&mut bench, "2024-05-02T05:59:59Z");
    assert_eq!(told(&bench, &job), Some(Told::Run));
    until(&mut bench, "2024-05-02T06:00:00Z");
    assert_eq!(told(&bench, &job), Some(Told::Suspend), "at once, without minutes of holding a lock");
    bench.end(&job, How::Suspended, 0);
    assert_eq!((told(&bench, &job), bench.job_state(&job)), (None, JobState::Queued));
    assert_eq!(held(&bench).1.since, Some(bench.now.wall));
    bench.restart();
    until(&mut bench, "2024-05-02T21:59:00Z");
    assert_eq!(told(&bench, &job), None);
    until(&mut bench, "2024-05-02T22:00:00Z");
    assert_eq!(told(&bench, &job), Some(Told::Run));
    assert_eq!(bench.state.job(&job).unwrap().attempt_count(), 2, "the same job in a new attempt");
    bench.end(&job, How::Done, 0);
    let kinds: Vec<JobKind> = bench.state.active.values().map(|job| job.spec.kind()).collect();
    assert!(kinds.contains(&JobKind::Forget), "{kinds:?}");
}

#[test]
fn what_somebody_asks_for_runs_outside_and_so_does_a_job_that_is_to_run_now() {
    let mut bench = bench("window = \"sat,sun\"");
    let (planned, no) = held(&bench);
    assert_eq!(no.sentence, "Waiting for its window (sat,sun, opens on Saturday 2024-05-04 at 00:00).");
    let asked = bench.submit(backup());
    assert_eq!(told(&bench, &asked), Some(Told::Run));
    bench.end(&asked, How::Done, 0);
    let back = bench.submit(restore());
    assert_eq!(told(&bench, &back), Some(Told::Run));
    bench.end(&back, How::Done, 0);
    assert_eq!(told(&bench, &planned), None);
    let resume = JobResume { request_id: bench.request_id(), job: planned.clone(), now: true };
    bench.ask(resume).unwrap();
    assert_eq!(told(&bench, &planned), Some(Told::Run));
}

#[test]
fn a_job_runs_by_its_deadline_and_without_one_waits_for_a_window_that_opens_once_a_week() {
    let mut daily = bench("window = \"22:00-06:00\"\ndeadline = \"5h\"");
    let (job, no) = held(&daily);
    assert_eq!((no.runs_by, no.next_look), (Some("2024-05-01T17:00:00Z".parse().unwrap()), no.runs_by));
    until(&mut daily, "2024-05-01T17:00:00Z");
    assert_eq!(told(&daily, &job), Some(Told::Run));
    let mut weekly = bench("window = \"wed 02:00-06:00\"");
    let (job, no) = held(&weekly);
    assert_eq!(no.runs_by, Some("2024-05-11T08:00:00Z".parse().unwrap()), "164 hours and three days from now");
    until(&mut weekly, "2024-05-08T02:00:00Z");
    assert_eq!(told(&weekly, &job), Some(Told::Run));
}

#[test]
fn the_nearest_word_counts_and_the_next_run_is_when_the_window_is_open() {
    let mut bench = bench("window = \"22:00-06:00\"");
    let text = "[conditions]\nwindow = \"22:00-06:00\"\n[target.nas]\nurl = \"/nas\"\npassword-file = \"/key\"\nconditions = { window = \"23:00-04:00\" }\n[plan.docs]\nsources = [\"/home\"]\nschedule = \"daily 12:30\"\ntargets = [\"nas\"]\n[plan.free]\nsources = [\"/home\"]\nschedule = \"daily 12:30\"\ntargets = [\"nas\"]\nconditions = { window = \"always\" }\n";
    let surroundings = Surroundings { folder: "/etc".into(), home: None };
    let config = Config::parse(text, Path::new("c"), &surroundings).unwrap();
    bench.event(crate::inbox::Event::Configured(config.into()));
    let next = |name| super::super::next_run(&bench.state, &bench.state.config, name, bench.now.wall);
    assert_eq!(next("docs"), Some("2024-05-01T23:00:00Z".parse().unwrap()), "the target's window");
    assert_eq!(next("free"), Some("2024-05-01T12:30:00Z".parse().unwrap()));
    let readings = bench.state.seen.readings.clone();
    let rows = conditions(&bench.state, readings, bench.now.wall).conditions;
    let row = rows.iter().find(|row| row.name == "window").expect("it is listed");
    assert_eq!(
        (row.reading.as_str(), row.policy.as_str(), row.allows),
        ("Wednesday 12:00", "pause outside 22:00-06:00", false)
    );
}

#[test]
fn a_clock_that_is_set_and_a_zone_with_two_hours_alike_are_looked_at_again() {
    let mut bench = bench("window = \"22:00-06:00\"\ndeadline = \"never\"");
    let (job, _) = held(&bench);
    bench.now.wall = "2024-05-01T23:00:00Z".parse().unwrap();
    bench.pass(MINUTE);
    assert_eq!(told(&bench, &job), Some(Told::Run));
    bench.now.wall = "2024-05-01T12:00:00Z".parse().unwrap();
    bench.pass(MINUTE);
    assert_eq!(told(&bench, &job), Some(Told::Suspend));
    bench.end(&job, How::Suspended, 0);
    bench.state.zone = TimeZone::get("Europe/Berlin").unwrap();
    // 27 October 2024: 02:00 to 03:00 comes twice.
    bench.now.wall = "2024-10-26T20:00:00Z".parse().unwrap();
    bench.pass(MINUTE);
    let runs = bench.workers.keys().next().cloned().expect("a plan's job runs at 22:01");
    until(&mut bench, "2024-10-27T04:59:00Z");
    assert_eq!(told(&bench, &runs), Some(Told::Run), "05:59 in the new time");
    until(&mut bench, "2024-10-27T05:00:00Z");
    assert_eq!(told(&bench, &runs), Some(Told::Suspend));
}

#[test]
fn a_plan_is_queued_once_while_its_window_is_closed() {
    let mut bench = bench("window = \"22:00-06:00\"");
    for _ in 0..9 {
        bench.pass(HOUR);
    }
    assert_eq!(bench.state.active.len(), 1);
    bench.check();
}
