//! What must hold whatever the policy is.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::*;
use crate::id::BlobId;

const NOW: &str = "2024-06-01T12:00:00Z";

/// A snapshot as a test says it: seconds before now, and what else matters.
#[derive(Clone, Debug, Default)]
pub(super) struct Made {
    ago: i64,
    tags: Vec<String>,
    more: Vec<(&'static str, Value)>,
}

pub(super) fn ago(seconds: i64) -> Made {
    Made { ago: seconds, ..Made::default() }
}

pub(super) fn days(number: i64) -> Made {
    ago(number * 86400)
}

impl Made {
    pub(super) fn tag(mut self, tag: &str) -> Self {
        self.tags.push(tag.to_owned());
        self
    }

    pub(super) fn part(self) -> Self {
        self.tag("incomplete")
    }

    fn holding(mut self, files: u64, bytes: u64) -> Self {
        let time = NOW;
        let summary = json!({ "backup_start": time, "backup_end": time, "total_files_processed": files,
            "total_bytes_processed": bytes });
        self.more.push(("summary", summary));
        self
    }

    fn candidate(&self, number: usize) -> Candidate {
        let time = now() - SignedDuration::from_secs(self.ago);
        let mut snapshot = json!({ "time": time, "tree": BlobId([0; 32]), "paths": ["/home"], "hostname": "host",
            "tags": self.tags });
        for (name, value) in &self.more {
            snapshot[*name] = value.clone();
        }
        let mut id = [0; 32];
        id[..8].copy_from_slice(&(number as u64 + 1).to_be_bytes());
        Candidate::decode(SnapshotId(id), snapshot.to_string().as_bytes()).unwrap()
    }
}

pub(super) fn now() -> Timestamp {
    NOW.parse().unwrap()
}

pub(super) fn rules(policy: Policy) -> Rules {
    let (incomplete_tag, hold_tag) = (Some("incomplete".to_owned()), Some("hold=".to_owned()));
    Rules { policy, now: now(), incomplete_tag, hold_tag, ..Rules::default() }
}

pub(super) fn candidates(made: &[Made]) -> Vec<Candidate> {
    made.iter().enumerate().map(|(number, made)| made.candidate(number)).collect()
}

/// Returns the reasons of those that stay, by the number in which they were made.
pub(super) fn kept(made: &[Made], rules: &Rules) -> BTreeMap<usize, String> {
    let judged = judge(candidates(made), rules).unwrap().judged;
    let number = |id: SnapshotId| usize::try_from(u64::from_be_bytes(id.0[..8].try_into().unwrap())).unwrap() - 1;
    let kept = judged.iter().filter(|judged| judged.keep);
    kept.map(|judged| (number(judged.candidate.id), judged.reasons.join(", "))).collect()
}

pub(super) fn numbers(made: &[Made], rules: &Rules) -> Vec<usize> {
    kept(made, rules).into_keys().collect()
}

pub(super) fn last(count: u32) -> Policy {
    Policy { last: Some(count), ..Policy::default() }
}

#[test]
fn without_any_rule_nothing_is_judged() {
    let zero = Policy { daily: Some(0), within: Some(Age::default()), ..Policy::default() };
    for policy in [Policy::default(), zero] {
        assert!(judge(candidates(&[days(1), days(2)]), &rules(policy)).is_err());
    }
}

#[test]
fn s1_22_what_is_held_stays_until_the_date_and_not_beyond() {
    let made = [days(0), days(1).tag("hold=2024-06-01"), days(2).tag("hold=2024-05-31"), days(3).tag("hold=soon")];
    let kept = kept(&made, &rules(last(1)));
    assert_eq!(kept[&1], "held until 2024-06-01");
    assert_eq!(kept[&2], "held until 2024-05-31", "it is still that day west of here");
    assert_eq!(kept[&3], "held: `soon` is no date");
    let later = Rules { now: now() + SignedDuration::from_secs(1), ..rules(last(1)) };
    assert_eq!(numbers(&made, &later), [0, 1, 3]);
    let named = judge_named(candidates(&made), &rules(Policy::default()));
    assert_eq!(named.removed().len(), 1, "not even somebody who names it removes what is held");
}

#[test]
fn s1_22_rustics_protection_and_our_pins_hold_as_well() {
    let with = |delete: Value| Made { more: vec![("delete", delete)], ..days(9) };
    let made = [
        days(0),
        with(json!("Never")),
        with(json!({ "After": "2024-07-01T10:00:00+02:00[Europe/Berlin]" })),
        with(json!({ "After": "2024-05-01T10:00:00+02:00[Europe/Berlin]" })),
        with(json!("NotSet")),
        with(json!("Sometimes")),
        days(5),
    ];
    let id = candidates(&made)[6].id.to_string();
    let rules = Rules { pinned: vec![id[..16].to_uppercase(), String::new()], ..rules(last(1)) };
    assert_eq!(numbers(&made, &rules), [0, 1, 2, 5, 6]);
}

#[test]
fn a_snapshot_from_the_future_has_no_place_and_stays() {
    let made = [days(-3), days(0), days(1), days(2)];
    let kept = kept(&made, &rules(last(2)));
    assert!(kept[&0].starts_with("from the future"));
    assert_eq!(kept.into_keys().collect::<Vec<_>>(), [0, 1, 2]);
}

#[test]
fn an_incomplete_snapshot_takes_only_places_that_no_complete_one_can_have() {
    let made = [ago(60).part(), ago(120), days(1).part(), days(2)];
    let daily = |count| rules(Policy { daily: Some(count), ..Policy::default() });
    assert_eq!(numbers(&made, &daily(2)), [0, 1, 3], "the newest of all stays beside them");
    let with_more = kept(&made, &daily(3));
    assert_eq!(with_more[&2], "daily snapshot", "a place was left");
    assert_eq!(with_more[&0], "newest snapshot", "the day has a complete one");
    let parts: Vec<Made> = (0..9).map(|day| days(day).part()).collect();
    assert_eq!(numbers(&parts, &daily(3)), [0, 1, 2], "where none is complete, none waits for another");
}

#[test]
fn the_newest_and_the_newest_complete_one_stay_whatever_the_policy_says() {
    let made = [days(0).part(), days(50), days(60)];
    let kept = kept(&made, &rules(Policy { within: "3d".parse().ok(), ..Policy::default() }));
    assert_eq!(kept[&1], "newest complete snapshot");
    assert_eq!(kept.len(), 2);
    let tags = Policy { tags: vec![vec!["nobody has it".to_owned()]], ..Policy::default() };
    assert_eq!(numbers(&[days(1), days(2)], &rules(tags)), [0], "a slip in a tag does not remove everything");
}

#[test]
fn a_source_that_shrank_by_more_than_half_forgets_nothing_until_that_is_accepted() {
    for (files, bytes) in [(49, 1000), (100, 499)] {
        let made = [days(0).holding(files, bytes), days(1).holding(100, 1000), days(2).holding(100, 1000)];
        let rules = rules(last(1));
        let judgement = judge(candidates(&made), &rules).unwrap();
        assert!(judgement.removed().is_empty());
        let shrunk = &judgement.shrunk[0];
        assert_eq!((shrunk.files, shrunk.bytes, shrunk.held_back), ((100, files), (1000, bytes), 2));
        // A further backup of what is left does not make it right.
        let next = [made.as_slice(), &[ago(0).holding(files, bytes)]].concat();
        assert_eq!(numbers(&next, &rules).len(), 4);
        let accepted = Rules { accepted_until: Some(now()), ..rules };
        assert_eq!(numbers(&made, &accepted), [0]);
    }
    let half = [days(0).holding(50, 500), days(1).holding(100, 1000)];
    assert_eq!(numbers(&half, &rules(last(1))), [0], "half is not more than half");
    let part = [days(0).holding(1, 1).part(), days(1).holding(100, 1000), days(2).holding(100, 1000)];
    assert_eq!(numbers(&part, &rules(last(1))), [0, 1], "an incomplete one says nothing about its source");
}

#[test]
fn groups_are_judged_each_by_itself() {
    let other = |made: Made, name, value: Value| Made { more: vec![(name, value)], ..made };
    let made = [
        days(1),
        days(2),
        other(days(3), "hostname", json!("other")),
        other(days(4), "paths", json!(["/srv", "/home"])),
        other(days(5), "paths", json!(["/home", "/srv"])),
        days(6).tag("a"),
    ];
    let by = |host, paths, tags| Rules { group_by: GroupBy { host, paths, tags }, ..rules(last(1)) };
    assert_eq!(numbers(&made, &by(true, true, false)), [0, 2, 3]);
    assert_eq!(numbers(&made, &by(false, false, false)), [0]);
    assert_eq!(numbers(&made, &by(false, false, true)), [0, 5]);
}
