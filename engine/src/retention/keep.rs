//! The places of one group: restic's walk from the newest to the oldest, first for complete snapshots.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use jiff::Timestamp;
use jiff::civil::DateTime;

use super::{Age, Candidate, Judged, Policy, Rules};

/// Maps a snapshot's local time, and its number in the walk, to what its place is the place of: a day, a week.
type Period = fn(DateTime, usize) -> i64;

/// Judges one group by its policy.
pub(super) fn judge_group(mut group: Vec<Candidate>, rules: &Rules) -> Vec<Judged> {
    group.sort_by_key(|candidate| Reverse((candidate.snapshot.time, candidate.id)));
    let is_past = |candidate: &Candidate| candidate.snapshot.time <= rules.now;
    let is_part =
        |candidate: &Candidate| rules.incomplete_tag.as_ref().is_some_and(|tag| candidate.snapshot.tags.contains(tag));
    let past: Vec<usize> = (0..group.len()).filter(|at| is_past(&group[*at])).collect();
    let (mut parts, mut wholes): (Vec<usize>, Vec<usize>) = past.iter().partition(|at| is_part(&group[**at]));
    let newest_whole = wholes.first().copied();
    if wholes.is_empty() {
        // Where no snapshot is complete, none has to wait for another.
        std::mem::swap(&mut wholes, &mut parts);
    }
    let mut reasons: Vec<Vec<String>> = vec![Vec::new(); group.len()];
    let latest = past.first().map(|newest| &group[*newest]);
    let mut places = Places::new(&rules.policy, latest);
    for (number, at) in wholes.iter().enumerate() {
        reasons[*at] = places.give(&group[*at], number, number + 1 == wholes.len());
    }
    for (number, at) in parts.iter().enumerate() {
        reasons[*at] = places.give_what_is_left(&group[*at], wholes.len() + number);
    }
    for (at, candidate) in group.iter().enumerate().filter(|(_, candidate)| !is_past(candidate)) {
        reasons[at].push(format!("from the future: {:.0}", candidate.snapshot.time));
    }
    for (at, reason) in [(past.first().copied(), "newest snapshot"), (newest_whole, "newest complete snapshot")] {
        if let Some(at) = at.filter(|at| reasons[*at].is_empty()) {
            reasons[at].push(reason.to_owned());
        }
    }
    let judged =
        |(candidate, reasons): (Candidate, Vec<String>)| Judged { candidate, keep: !reasons.is_empty(), reasons };
    group.into_iter().zip(reasons).map(judged).collect()
}

/// The places that are left to give.
struct Places<'p> {
    policy: &'p Policy,
    /// From when on snapshots are within an age, if all are not.
    within: Option<Within>,
    counted: [Counted; 6],
    aged: Vec<Aged>,
}

/// So many places, one for each period.
struct Counted {
    left: u32,
    name: &'static str,
    taken: Taken,
}

/// A place for each period that is young enough.
struct Aged {
    within: Within,
    name: &'static str,
    taken: Taken,
}

/// The time after which a snapshot is within an age of the newest; none when every one is.
#[derive(Clone, Copy)]
struct Within {
    age: Age,
    after: Option<Timestamp>,
}

/// The periods that have their snapshot.
struct Taken {
    period: Period,
    last: Option<i64>,
    all: BTreeSet<i64>,
}

impl<'p> Places<'p> {
    fn new(policy: &'p Policy, latest: Option<&Candidate>) -> Self {
        let within = |age: Option<Age>| {
            let (age, latest) = (age.filter(|age| !age.is_zero())?, latest?);
            let after = age.before(latest.local()).and_then(|time| latest.offset.to_timestamp(time).ok());
            Some(Within { age, after })
        };
        let counted =
            |count: Option<u32>, name, period| Counted { left: count.unwrap_or(0), name, taken: Taken::new(period) };
        let aged =
            |age: Option<Age>, name, period| Some(Aged { within: within(age)?, name, taken: Taken::new(period) });
        let aged = [
            aged(policy.within_hourly, "hourly", hour),
            aged(policy.within_daily, "daily", day),
            aged(policy.within_weekly, "weekly", week),
            aged(policy.within_monthly, "monthly", month),
            aged(policy.within_yearly, "yearly", year),
        ];
        Self {
            policy,
            within: within(policy.within),
            counted: [
                counted(policy.last, "last", own),
                counted(policy.hourly, "hourly", hour),
                counted(policy.daily, "daily", day),
                counted(policy.weekly, "weekly", week),
                counted(policy.monthly, "monthly", month),
                counted(policy.yearly, "yearly", year),
            ],
            aged: aged.into_iter().flatten().collect(),
        }
    }

    /// Gives a snapshot the places it has by restic's rules. The oldest also has a place that nobody else wants.
    fn give(&mut self, candidate: &Candidate, number: usize, is_oldest: bool) -> Vec<String> {
        let mut reasons = self.uncounted(candidate);
        let local = candidate.local();
        for counted in self.counted.iter_mut().filter(|counted| counted.left > 0) {
            let is_new = counted.taken.is_new(local, number);
            if is_new || is_oldest {
                counted.left -= 1;
                reasons.push(format!("{}{} snapshot", if is_new { "" } else { "oldest " }, counted.name));
            }
        }
        for aged in self.aged.iter_mut().filter(|aged| aged.within.holds(candidate)) {
            let is_new = aged.taken.is_new(local, number);
            if is_new || is_oldest {
                reasons.push(format!(
                    "{}{} within {}",
                    if is_new { "" } else { "oldest " },
                    aged.name,
                    aged.within.age
                ));
            }
        }
        reasons
    }

    /// Gives an incomplete snapshot places that no complete one has taken.
    fn give_what_is_left(&mut self, candidate: &Candidate, number: usize) -> Vec<String> {
        let mut reasons = self.uncounted(candidate);
        let local = candidate.local();
        for counted in self.counted.iter_mut().filter(|counted| counted.left > 0) {
            if counted.taken.is_free(local, number) {
                counted.left -= 1;
                reasons.push(format!("{} snapshot", counted.name));
            }
        }
        for aged in self.aged.iter_mut().filter(|aged| aged.within.holds(candidate)) {
            if aged.taken.is_free(local, number) {
                reasons.push(format!("{} within {}", aged.name, aged.within.age));
            }
        }
        reasons
    }

    /// Says which rules without places hold a snapshot.
    fn uncounted(&self, candidate: &Candidate) -> Vec<String> {
        let tags = self.policy.tags.iter().filter(|tags| candidate.has_tags(tags));
        let mut reasons: Vec<String> = tags.map(|tags| format!("has tags [{}]", tags.join(", "))).collect();
        reasons.extend(
            self.within.filter(|within| within.holds(candidate)).map(|within| format!("within {}", within.age)),
        );
        reasons
    }
}

impl Within {
    fn holds(self, candidate: &Candidate) -> bool {
        self.after.is_none_or(|after| candidate.snapshot.time > after)
    }
}

impl Taken {
    fn new(period: Period) -> Self {
        Self { period, last: None, all: BTreeSet::new() }
    }

    /// Takes a period, and returns whether it is another one than that of the snapshot before, which is what restic asks.
    fn is_new(&mut self, time: DateTime, number: usize) -> bool {
        let period = (self.period)(time, number);
        self.all.insert(period);
        self.last.replace(period) != Some(period)
    }

    /// Takes a period if nothing has taken it.
    fn is_free(&mut self, time: DateTime, number: usize) -> bool {
        self.all.insert((self.period)(time, number))
    }
}

fn own(_: DateTime, number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn hour(time: DateTime, number: usize) -> i64 {
    day(time, number) * 100 + i64::from(time.hour())
}

fn day(time: DateTime, number: usize) -> i64 {
    month(time, number) * 100 + i64::from(time.day())
}

fn week(time: DateTime, _: usize) -> i64 {
    let week = time.date().iso_week_date();
    i64::from(week.year()) * 100 + i64::from(week.week())
}

fn month(time: DateTime, number: usize) -> i64 {
    year(time, number) * 100 + i64::from(time.month())
}

fn year(time: DateTime, _: usize) -> i64 {
    i64::from(time.year())
}
