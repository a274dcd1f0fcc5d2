//! Our retention against restic's own `forget`, on random histories by random policies.

mod common;

use std::collections::{BTreeMap, BTreeSet};

use backup_engine::id::SnapshotId;
use backup_engine::retention::{Age, GroupBy, Judged, Policy, Rules, judge};
use backup_testkit::seed::{Random, Seed, rounds};
use common::history::History;
use common::now;
use jiff::tz::Offset;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

/// Hours to months apart, in a few zones, of two machines, with and without tags.
fn random_history(random: &mut Random) -> History {
    let mut history = History::new();
    let mut time: Timestamp = "2023-11-05T10:20:30Z".parse().expect("it is a time");
    for _ in 0..10 + random.below(50) {
        let gap = *choose(random, &[4_000, 100_000, 2_000_000]);
        time -= SignedDuration::from_secs(i64::try_from(1 + random.below(gap)).expect("it is small"));
        let offset = *choose(random, &[0, 0, 2 * 3600, -5 * 3600 - 1800]);
        let host = choose(random, &["host", "host", "other"]);
        let tags = choose(random, &[json!(null), json!(["x"]), json!(["y", "x"])]).clone();
        let offset = Offset::from_seconds(offset).expect("it is an offset");
        history.add(time, offset, &json!({ "hostname": host, "tags": tags }));
    }
    history.export();
    history
}

fn choose<'a, T>(random: &mut Random, among: &'a [T]) -> &'a T {
    &among[usize::try_from(random.below(among.len() as u64)).expect("it is an index")]
}

/// The reasons for which snapshots stay, by id.
type Kept = BTreeMap<SnapshotId, BTreeSet<String>>;

/// Returns what restic would keep.
fn ask_restic(history: &History, arguments: &[String]) -> Kept {
    let mut command = history.place.restic().command();
    command.env("TZ", "UTC").args(["forget", "--dry-run", "--json", "--no-lock"]).args(arguments);
    let output = command.output().expect("restic runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let groups: Vec<Value> = serde_json::from_slice(&output.stdout).expect("restic prints JSON");
    let reasons = groups.iter().filter_map(|group| group["reasons"].as_array()).flatten();
    let kept = reasons.map(|reason| {
        // The reasons name a snapshot by what is in it, not by its id.
        let time: Timestamp = reason["snapshot"]["time"].as_str().and_then(|time| time.parse().ok()).expect("a time");
        let found = history.made.iter().find(|(_, candidate)| candidate.snapshot.time == time);
        let text = |value: &Value| value.as_str().expect("a reason is text").to_owned();
        let matches = reason["matches"].as_array().expect("it has reasons").iter().map(text);
        (*found.expect("each snapshot has a time of its own").0, matches.collect())
    });
    kept.collect()
}

type Place<T> = fn(&mut Policy) -> &mut Option<T>;

const COUNTS: [(&str, Place<u32>); 6] = [
    ("last", |policy| &mut policy.last),
    ("hourly", |policy| &mut policy.hourly),
    ("daily", |policy| &mut policy.daily),
    ("weekly", |policy| &mut policy.weekly),
    ("monthly", |policy| &mut policy.monthly),
    ("yearly", |policy| &mut policy.yearly),
];

const AGES: [(&str, Place<Age>); 6] = [
    ("within", |policy| &mut policy.within),
    ("within-hourly", |policy| &mut policy.within_hourly),
    ("within-daily", |policy| &mut policy.within_daily),
    ("within-weekly", |policy| &mut policy.within_weekly),
    ("within-monthly", |policy| &mut policy.within_monthly),
    ("within-yearly", |policy| &mut policy.within_yearly),
];

/// Makes a policy, and the same as restic is given it.
fn random_policy(random: &mut Random) -> (Policy, Vec<String>) {
    let (mut policy, mut arguments) = (Policy::default(), Vec::new());
    let mut add = |name: &str, value: &str| arguments.push(format!("--keep-{name}={value}"));
    for (name, place) in COUNTS.iter().filter(|_| random.below(3) == 0).collect::<Vec<_>>() {
        let count = 1 + u32::try_from(random.below(8)).expect("it is small");
        *place(&mut policy) = Some(count);
        add(name, &count.to_string());
    }
    for (name, place) in AGES.iter().filter(|_| random.below(4) == 0).collect::<Vec<_>>() {
        let age = choose(random, &["36h", "9d", "1m", "1m5d", "2y", "1y7m"]);
        *place(&mut policy) = age.parse().ok();
        add(name, age);
    }
    if random.below(4) == 0 || policy.is_empty() {
        policy.tags = vec![vec!["y".to_owned(), "x".to_owned()]];
        add("tag", "y,x");
    }
    (policy, arguments)
}

/// Says whether one verdict is restic's, to the reason.
fn agrees(judged: &Judged, theirs: &BTreeSet<String>) -> bool {
    // restic leaves a group without any snapshot when no rule keeps one; we do not.
    let is_ours = |reason: &str| reason.starts_with("newest ") || reason == "no rule keeps it";
    let ours: BTreeSet<String> = judged.reasons.iter().filter(|reason| !is_ours(reason)).cloned().collect();
    // The oldest of a group has a place that is left since restic 0.16, and is called so since 0.17.
    if ours.iter().any(|reason| reason.starts_with("oldest ")) {
        let plain = |reasons: &BTreeSet<String>| reasons.iter().map(|reason| reason.replace("oldest ", "")).collect();
        let (ours, theirs): (BTreeSet<String>, BTreeSet<String>) = (plain(&ours), plain(theirs));
        return theirs.is_subset(&ours);
    }
    ours == *theirs
}

/// S0.65: what stays and why is what restic says.
#[test]
fn keeps_what_restic_keeps_for_the_same_reasons() {
    let mut random = Seed::of_test("backup-engine", "keeps_what_restic_keeps_for_the_same_reasons").random();
    let mut compared = 0;
    for _ in 0..rounds(4, 100) {
        let history = random_history(&mut random);
        for _ in 0..4 {
            let (policy, mut arguments) = random_policy(&mut random);
            let by = |host, paths, tags| GroupBy { host, paths, tags };
            let groups = [
                (by(false, false, false), ""),
                (by(true, true, true), "host,paths,tags"),
                (by(true, true, false), "host,paths"),
            ];
            let (group_by, words) = *choose(&mut random, &groups);
            arguments.push(format!("--group-by={words}"));
            let theirs = ask_restic(&history, &arguments);
            let rules = Rules { policy, group_by, now: now().wall, ..Rules::default() };
            let judgement = judge(history.made.values().cloned().collect(), &rules).expect("the policy has rules");
            for judged in &judgement.judged {
                let theirs = theirs.get(&judged.candidate.id).cloned().unwrap_or_default();
                assert!(agrees(judged, &theirs), "{arguments:?}: {theirs:?} and {judged:#?}");
                compared += 1;
            }
        }
    }
    assert!(compared >= 160, "only {compared} verdicts were compared");
}
