//! The first decider: is it due?

use backup_proto::job::{Verdict, VerdictKind};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

use crate::config::Schedule;
use crate::job::Job;
use crate::supervisor::verdict;

/// Says whether a job is due: one that failed for a while waits before it is tried again.
#[must_use]
pub fn decide(job: &Job, now: Timestamp) -> Option<Verdict> {
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

/// Returns when a plan is due next after it was last due; `None` when its schedule never makes it due by time.
///
/// A time that does not exist on the day the clocks go forward is taken as much later as the clocks were set, and of
/// a time that exists twice the first counts.
#[must_use]
pub fn next_due(schedule: &Schedule, last: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
    match schedule {
        Schedule::Every(every) => last.checked_add(*every).ok(),
        Schedule::Daily(time) => {
            let mut day = last.to_zoned(zone.clone()).date();
            loop {
                let due = zone.to_ambiguous_zoned(day.to_datetime(*time)).compatible().ok()?.timestamp();
                if due > last {
                    return Some(due);
                }
                day = day.checked_add(1.day()).ok()?;
            }
        }
        Schedule::Cron(_) | Schedule::Continuous => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::civil::time;

    use super::*;

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
}
