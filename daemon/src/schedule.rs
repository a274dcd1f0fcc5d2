//! The first decider: is it due?

use std::time::Duration;

use backup_proto::job::{Verdict, VerdictKind};
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

use crate::config::Schedule;
use crate::job::Job;
use crate::supervisor::verdict;

/// Says whether a job is due: one that failed for a while waits before it is tried again, and one that failed in a way
/// that waiting does not mend waits for its plan's next time, or for somebody.
#[must_use]
pub fn decide(job: &Job, now: Timestamp) -> Option<Verdict> {
    if job.parked {
        return Some(verdict(VerdictKind::Parked, parked(job), None));
    }
    let until = job.not_before.filter(|until| *until > now)?;
    let sentence = match job.error() {
        Some(error) => {
            let (number, message, advice) = (job.attempt_count(), &error.message, &error.data.advice);
            let mut sentence = format!("Attempt {number} failed: {message}. Attempt {} is made by itself.", number + 1);
            if !advice.is_empty() {
                sentence.push_str(&format!(" {advice}"));
            }
            sentence
        }
        None => "The last attempt failed; the next one is made by itself.".to_owned(),
    };
    Some(verdict(VerdictKind::Retry, sentence, Some(until)))
}

/// Says why a job is parked, what to do, and when it is tried again.
#[must_use]
pub fn parked(job: &Job) -> String {
    let error = job.error().map_or_else(String::new, |error| format!(": {}. {}", error.message, error.data.advice));
    let id = &job.id;
    format!(
        "Waiting does not mend why it failed{error} It is tried again when its plan is due next; `backupctl retry {id}` tries it at once."
    )
}

/// Returns when a plan is due next after it was last due; `None` when its schedule never makes it due by time.
///
/// A time that does not exist on the day the clocks go forward is taken as much later as the clocks were set, and of
/// a time that exists twice the first counts.
#[must_use]
pub fn next_due(schedule: &Schedule, last: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
    match schedule {
        Schedule::Every(every) => last.checked_add(*every).ok(),
        Schedule::Daily(time) => next_day(last, zone, *time, |_| true),
        Schedule::Weekly(weekday, time) => next_day(last, zone, *time, |day| day.weekday() == *weekday),
        Schedule::Cron(cron) => {
            let first = cron.next_after(last.to_zoned(zone.clone()).datetime());
            // Within an hour that comes twice the next minute on the clock may have been an hour ago.
            let mut minutes = std::iter::successors(first, |minute| cron.next_after(*minute));
            minutes.find_map(|minute| instant(minute, zone).filter(|due| *due > last))
        }
        Schedule::Continuous => None,
    }
}

/// Returns when it is a certain time on the next day of a kind.
fn next_day(last: Timestamp, zone: &TimeZone, time: Time, fits: impl Fn(Date) -> bool) -> Option<Timestamp> {
    let first = last.to_zoned(zone.clone()).date();
    let mut days = std::iter::successors(Some(first), |day| day.checked_add(1.day()).ok()).filter(|day| fits(*day));
    days.find_map(|day| instant(day.to_datetime(time), zone).filter(|due| *due > last))
}

fn instant(local: DateTime, zone: &TimeZone) -> Option<Timestamp> {
    zone.to_ambiguous_zoned(local).compatible().ok().map(|zoned| zoned.timestamp())
}

/// Returns by how much later than `due` a plan begins: something below `most`, another each time, and another on each
/// machine, so that those with the same plan do not all use a shared drive at once. The same is computed again whenever
/// it is asked for.
#[must_use]
pub fn jitter(machine: &str, plan: &str, due: Timestamp, most: Duration) -> Duration {
    let seed = crc32fast::hash(format!("{machine}/{plan}/{}", due.as_second()).as_bytes());
    // Scaled, not the remainder: similar texts have similar sums.
    let scrambled = u64::from(seed.wrapping_mul(0x9e37_79b9));
    Duration::from_secs((most.as_secs().min(u64::from(u32::MAX)) * scrambled) >> 32)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use jiff::civil::time;

    use super::*;
    use crate::config::parse_schedule;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn daily(hour: i8, minute: i8, last: &str, zone: &TimeZone) -> String {
        next_due(&Schedule::Daily(time(hour, minute, 0, 0)), at(last), zone).unwrap().to_string()
    }

    #[test]
    fn every_hour_is_an_hour_after_the_last_time() {
        let due = next_due(&Schedule::Every(Duration::from_secs(3600)), at("2024-05-01T10:20:00Z"), &TimeZone::UTC);
        assert_eq!(due, Some(at("2024-05-01T11:20:00Z")));
    }

    #[test]
    fn daily_is_at_the_local_time_and_strictly_after_the_last() {
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        assert_eq!(daily(2, 30, "2024-05-01T00:29:59Z", &zone), "2024-05-01T00:30:00Z");
        assert_eq!(daily(2, 30, "2024-05-01T00:30:00Z", &zone), "2024-05-02T00:30:00Z");
    }

    #[test]
    fn daily_runs_once_on_the_days_the_clocks_change() {
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        // 02:30 does not exist on 31 March 2024 and exists twice on 27 October.
        assert_eq!(daily(2, 30, "2024-03-30T12:00:00Z", &zone), "2024-03-31T01:30:00Z");
        assert_eq!(daily(2, 30, "2024-03-31T01:30:00Z", &zone), "2024-04-01T00:30:00Z");
        assert_eq!(daily(2, 30, "2024-10-26T12:00:00Z", &zone), "2024-10-27T00:30:00Z");
        assert_eq!(daily(2, 30, "2024-10-27T00:30:00Z", &zone), "2024-10-28T01:30:00Z");
    }

    /// Lets a plan run whenever it is due; returns how often, and the longest distance, in hours.
    fn runs(schedule: &str, from: &str, to: &str) -> (usize, i64) {
        let (schedule, zone) = (parse_schedule(schedule).unwrap(), TimeZone::get("Europe/Berlin").unwrap());
        let (mut last, to) = (at(from), at(to));
        let (mut count, mut longest) = (0, 0);
        while let Some(due) = next_due(&schedule, last, &zone).filter(|due| *due <= to) {
            assert!(due > last, "{due} after {last}");
            longest = longest.max(due.duration_since(last).as_hours());
            (last, count) = (due, count + 1);
        }
        (count, longest)
    }

    #[test]
    fn every_kind_of_schedule_runs_as_often_as_it_says_in_weeks_in_which_the_clocks_change() {
        for (schedule, spring, autumn) in [
            ("daily 02:30", (7, 24), (7, 25)),
            ("30 2 * * *", (7, 24), (7, 25)),
            ("daily 12:00", (7, 24), (7, 25)),
            ("weekly sun 02:30", (1, 122), (1, 122)),
            ("30 2 * * sun", (1, 122), (1, 122)),
            ("weekly mon 12:00", (1, 155), (1, 157)),
            // Of an hour that comes twice the first counts.
            ("0 * * * *", (168, 1), (167, 2)),
            ("every 1h", (168, 1), (168, 1)),
        ] {
            let got =
                [("2024-03-25T23:00:00Z", "2024-04-01T23:00:00Z"), ("2024-10-21T22:00:00Z", "2024-10-28T22:00:00Z")]
                    .map(|(from, to)| runs(schedule, from, to));
            assert_eq!(got, [spring, autumn], "{schedule}");
        }
    }

    #[test]
    fn a_plan_that_was_begun_in_the_second_of_two_equal_hours_goes_on_after_it() {
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        let line = parse_schedule("*/5 * * * *").unwrap();
        let due = next_due(&line, at("2024-10-27T01:31:00Z"), &zone);
        assert_eq!(due, Some(at("2024-10-27T02:00:00Z")), "03:00 by the clock, which comes once");
    }

    #[test]
    fn jitter_differs_from_machine_to_machine_and_day_to_day_and_stays_within_its_bound() {
        let most = Duration::from_secs(600);
        let of = |machine: &str, due| jitter(machine, "docs", at(due), most);
        assert_eq!(of("a", "2024-05-01T02:30:00Z"), of("a", "2024-05-01T02:30:00Z"));
        assert_eq!(jitter("a", "docs", at("2024-05-01T02:30:00Z"), Duration::ZERO), Duration::ZERO);
        let all: Vec<Duration> = (0..100).map(|number| of(&format!("host-{number}"), "2024-05-01T02:30:00Z")).collect();
        assert!(all.iter().all(|jitter| *jitter < most));
        assert!(all.iter().collect::<BTreeSet<_>>().len() > 70, "{all:?}");
        let tenths: BTreeSet<u64> = all.iter().map(|jitter| jitter.as_secs() / 60).collect();
        assert_eq!(tenths.len(), 10, "all over the ten minutes");
        assert_ne!(of("a", "2024-05-01T02:30:00Z"), of("a", "2024-05-02T02:30:00Z"));
    }
}
