//! Limits by hand, by time of day and by conditions: which are in force when, and what survives.

use std::path::Path;
use std::time::Duration;

use backup_proto::params::LimitSet;
use backup_proto::spec::JobSpec;

use super::*;
use crate::config::Surroundings;
use crate::inbox::Event;
use crate::job::How;
use crate::supervisor::bench::{Bench, backup};

const MIB: u64 = 1024 * 1024;

const BY_DAY: &str = r#"
[limits]
upload = [{ from = "08:00", to = "18:00", rate = "1 MiB/s" }, { from = "22:00", to = "06:00", rate = "off" }, { rate = "4 MiB/s" }]
[target.nas]
url = "/mnt/nas"
password-file = "/etc/nas.key"
limits = { download = "2 MiB/s" }
"#;

fn config(text: &str) -> Config {
    let surroundings = Surroundings { folder: "/etc/backupd".into(), home: None };
    Config::parse(text, Path::new("config.toml"), &surroundings).unwrap()
}

fn asked(bench: &mut Bench, limit: LimitChange, scope: LimitScope, for_seconds: Option<u64>) -> Result<(), RpcError> {
    let (request_id, direction) = (bench.request_id(), Some(Direction::Upload));
    bench.ask(LimitSet { request_id, limit, direction, scope: Some(scope), for_seconds }).map(|_| ())
}

fn upload(bench: &Bench, scope: &LimitScope) -> Option<u64> {
    bench.rates.get(&(Direction::Upload, scope.clone())).copied()
}

fn everything(bench: &Bench) -> Option<u64> {
    upload(bench, &LimitScope::Everything)
}

#[test]
fn the_time_of_day_sets_the_rate_by_itself_and_the_next_look_is_at_the_next_change() {
    let mut bench = Bench::new(config(BY_DAY));
    let nas = (Direction::Download, LimitScope::Target("nas".to_owned()));
    for (time, rate) in [("12:00", Some(MIB)), ("17:59", Some(MIB)), ("18:00", Some(4 * MIB)), ("22:00", None)] {
        bench.now.wall = format!("2024-05-01T{time}:00Z").parse().unwrap();
        bench.tick();
        assert_eq!(everything(&bench), rate, "{time}");
        assert_eq!(bench.rates.get(&nas), Some(&(2 * MIB)));
        assert_eq!(bench.state.hand_limits, []);
    }
    let (now, config) = ("2024-05-01T23:00:00Z".parse().unwrap(), config(BY_DAY));
    let next = next_change(&config, now, &TimeZone::UTC).unwrap();
    assert_eq!(next.to_string(), "2024-05-02T06:00:00Z");
}

#[test]
fn the_local_clock_counts_also_on_the_days_it_is_set() {
    let zone = TimeZone::get("Europe/Berlin").unwrap();
    let text = "[limits]\nupload = [{ from = \"02:30\", to = \"04:00\", rate = \"1 MiB/s\" }]";
    let rate_at = |utc: &str| {
        let limits = config(text).limits;
        let limit = of_config(&LimitScope::Everything, Direction::Upload, &limits, utc.parse().unwrap(), &zone);
        limit.and_then(|limit| limit.bytes_per_second)
    };
    // In spring the clock goes from 02:00 to 03:00: half past two is never, and three is after it.
    assert_eq!(rate_at("2024-03-31T00:59:59Z"), None, "01:59:59");
    assert_eq!(rate_at("2024-03-31T01:00:00Z"), Some(MIB), "03:00");
    assert_eq!(rate_at("2024-03-31T02:00:00Z"), None, "04:00");
    // In autumn it goes from 03:00 to 02:00: half past two is twice.
    assert_eq!(rate_at("2024-10-27T00:30:00Z"), Some(MIB), "02:30 for the first time");
    assert_eq!(rate_at("2024-10-27T01:00:00Z"), None, "02:00 again");
    assert_eq!(rate_at("2024-10-27T01:30:00Z"), Some(MIB), "02:30 again");
    let next = |utc: &str| next_change(&config(text), utc.parse().unwrap(), &zone).unwrap().to_string();
    assert_eq!(next("2024-07-01T00:00:00Z"), "2024-07-01T00:30:00Z");
    assert_eq!(next("2024-07-01T12:00:00Z"), "2024-07-02T00:30:00Z");
}

#[test]
fn a_limit_by_hand_takes_the_configs_place_survives_a_restart_and_ends_on_time() {
    let mut bench = Bench::new(config(BY_DAY));
    asked(&mut bench, LimitChange::Rate(3 * MIB), LimitScope::Everything, Some(3600)).unwrap();
    assert_eq!(everything(&bench), Some(3 * MIB));
    bench.pass(Duration::from_secs(1800));
    bench.restart();
    assert_eq!(everything(&bench), Some(3 * MIB), "it was stored");
    bench.pass(Duration::from_secs(1799));
    assert_eq!(everything(&bench), Some(3 * MIB));
    bench.pass(Duration::from_secs(1));
    assert_eq!(everything(&bench), Some(MIB));
    assert_eq!(bench.state.hand_limits, []);
    asked(&mut bench, LimitChange::Off, LimitScope::Everything, None).unwrap();
    assert_eq!(everything(&bench), None, "the configured one is lifted");
    assert_eq!(bench.state.in_force.iter().filter(|limit| limit.source == LimitSource::Hand).count(), 1);
    asked(&mut bench, LimitChange::Reset, LimitScope::Everything, None).unwrap();
    assert_eq!((everything(&bench), bench.state.hand_limits.len()), (Some(MIB), 0));
}

#[test]
fn a_clock_that_is_set_moves_the_end_of_a_limit() {
    let mut bench = Bench::new(Config::default());
    asked(&mut bench, LimitChange::Rate(MIB), LimitScope::Everything, Some(3600)).unwrap();
    bench.now.wall += SignedDuration::from_hours(48);
    bench.tick();
    assert_eq!(everything(&bench), Some(MIB));
    bench.pass(Duration::from_secs(3600));
    assert_eq!(everything(&bench), None);
}

#[test]
fn a_limit_of_a_job_ends_with_it_and_the_conditions_count_beside_it() {
    let mut bench = Bench::new(Config::default());
    let job = bench.submit(backup());
    let scope = LimitScope::Job(job.clone());
    asked(&mut bench, LimitChange::Rate(2 * MIB), LimitScope::Job(JobId::from(&job.as_str()[..7])), None).unwrap();
    assert_eq!(upload(&bench, &scope), Some(2 * MIB), "the start of its id is enough");
    // A step would ask the conditions themselves.
    let slowed = |bench: &mut Bench, slowdown| {
        slow(&mut bench.state, &job, slowdown);
        update(&mut bench.state, &mut Step::default(), bench.now.wall);
        bench.rates = Arc::new(rates(&bench.state.in_force));
    };
    for (rate, lowest) in [(MIB, MIB), (8 * MIB, 2 * MIB), (1, RATE_MIN)] {
        slowed(&mut bench, Some(Slowdown { rate, reason: "on battery".to_owned() }));
        assert_eq!(upload(&bench, &scope), Some(lowest));
    }
    slowed(&mut bench, None);
    assert_eq!(upload(&bench, &scope), Some(2 * MIB));
    bench.end(&job, How::Done, 0);
    assert_eq!((upload(&bench, &scope), bench.state.hand_limits.len()), (None, 0));
    let refused = asked(&mut bench, LimitChange::Rate(MIB), scope, None).unwrap_err();
    assert_eq!(refused.data.kind, ErrorKind::WrongState);
}

#[test]
fn what_cannot_be_is_refused_and_nothing_is_set() {
    let mut bench = Bench::new(Config::default());
    let cases = [
        (LimitChange::Rate(1023), LimitScope::Everything, None, ErrorKind::InvalidParams),
        (LimitChange::Rate(RATE_MAX + 1), LimitScope::Everything, None, ErrorKind::InvalidParams),
        (LimitChange::Off, LimitScope::Target("nowhere".to_owned()), None, ErrorKind::TargetNotFound),
        (LimitChange::Off, LimitScope::Job(JobId::from("zz")), None, ErrorKind::JobNotFound),
        (LimitChange::Rate(MIB), LimitScope::Everything, Some(u64::MAX), ErrorKind::InvalidParams),
    ];
    for (change, scope, seconds, kind) in cases {
        assert_eq!(asked(&mut bench, change, scope, seconds).unwrap_err().data.kind, kind);
    }
    assert_eq!((bench.state.hand_limits.len(), bench.state.in_force.len()), (0, 0));
    asked(&mut bench, LimitChange::Off, LimitScope::Everything, None).unwrap();
    assert_eq!(bench.state.hand_limits, [], "where nothing is configured there is nothing to lift");
}

#[test]
fn one_limit_too_many_is_refused_and_counts_for_nothing() {
    let mut bench = Bench::new(Config::default());
    let limit = |number: usize| HandLimit {
        scope: LimitScope::Target(format!("target-{number}")),
        direction: Direction::Upload,
        rate: Some(MIB),
        since: bench.now.wall,
        until: None,
    };
    let full: Vec<HandLimit> = (0..BY_HAND_MAX).map(limit).collect();
    bench.state.hand_limits.clone_from(&full);
    let refused = asked(&mut bench, LimitChange::Rate(MIB), LimitScope::Everything, None).unwrap_err();
    assert_eq!(refused.data.kind, ErrorKind::Busy);
    bench.tick();
    assert_eq!((everything(&bench), &bench.state.hand_limits), (None, &full));
}

#[test]
fn an_edited_configuration_counts_at_once_and_before_a_job_starts() {
    let mut bench = Bench::new(Config::default());
    bench.event(Event::Configured(Arc::new(config(BY_DAY))));
    assert_eq!(everything(&bench), Some(MIB));
    let spec: JobSpec = backup();
    let (_, step) = crate::supervisor::step(
        &bench.state,
        Event::Request {
            ticket: crate::inbox::Ticket(1),
            caller: crate::supervisor::bench::CALLER,
            request: Box::new(
                backup_proto::params::JobSubmit {
                    request_id: backup_proto::params::RequestId("r".to_owned()),
                    spec,
                    priority: None,
                    now: false,
                    reason: None,
                }
                .into(),
            ),
        },
        crate::clock::Now { wall: "2024-05-01T19:00:00Z".parse().unwrap(), ..bench.now },
    );
    assert!(matches!(step.actions.first(), Some(Action::Limit(_))), "the rate of the evening comes first");
    assert!(step.actions.iter().any(|action| matches!(action, Action::Start(_))));
}
