//! When a plan is due: `every 1h`, `daily 02:30`, `weekly sunday 03:00`, a cron line, or `continuous`.

use std::time::Duration;

use cronexpr::{Crontab, FallbackTimezoneOption, MakeTimestamp, ParseOptions, parse_crontab_with};
use jiff::civil::{DateTime, Time, Weekday, date};
use jiff::tz::TimeZone;

use super::units::parse_duration;

/// The shortest distance between two runs of a plan; anything nearer is what `continuous` is for.
const EVERY_MIN: Duration = Duration::from_secs(60);

/// When a plan is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// This long after the last run.
    Every(Duration),
    /// Each day at this time of the local clock.
    Daily(Time),
    /// Each week on this day, at this time of the local clock.
    Weekly(Weekday, Time),
    /// At the minutes that match a cron line, by the local clock.
    Cron(Cron),
    /// Whenever something changed.
    Continuous,
}

impl Schedule {
    /// Returns how long it is from one time to the next, at most or nearly so; none for one without times.
    #[must_use]
    pub fn distance(&self) -> Option<Duration> {
        const DAY: Duration = Duration::from_secs(24 * 3600);
        match self {
            Self::Every(every) => Some(*every),
            Self::Daily(_) => Some(DAY),
            Self::Weekly(..) => Some(DAY * 7),
            Self::Cron(cron) => cron.distance(),
            Self::Continuous => None,
        }
    }
}

/// The minutes that a cron line names.
#[derive(Clone, Debug)]
pub struct Cron {
    line: String,
    minutes: Crontab,
}

impl PartialEq for Cron {
    fn eq(&self, other: &Self) -> bool {
        self.line == other.line
    }
}

impl Eq for Cron {}

impl Cron {
    /// So many times of a line are looked at to find the longest distance between two of them.
    const SAMPLES: usize = 200;

    /// The last year in which a next time is looked for. The library adds years to what it is given, and there are
    /// none after 9999.
    const YEAR_MAX: i16 = 9_990;

    /// Returns the first minute it names after a time, both as the local clock shows them; none if no such minute
    /// comes within four years.
    ///
    /// The library is asked in UTC, which has every minute once: what a minute is that the local clock skips or shows
    /// twice is for the caller to say, and the same for every kind of schedule.
    #[must_use]
    pub fn next_after(&self, local: DateTime) -> Option<DateTime> {
        if local.year() > Self::YEAR_MAX {
            return None;
        }
        let local = local.to_zoned(TimeZone::UTC).ok()?.timestamp();
        self.minutes.find_next(MakeTimestamp(local)).ok().map(|next| next.datetime())
    }

    /// Returns the longest distance between two times that follow each other, among the first of a year.
    fn distance(&self) -> Option<Duration> {
        let times =
            std::iter::successors(self.next_after(date(2023, 1, 1).at(0, 0, 0, 0)), |time| self.next_after(*time));
        let times: Vec<DateTime> = times.take(Self::SAMPLES).collect();
        times.windows(2).filter_map(|two| Duration::try_from(two[1].duration_since(two[0])).ok()).max()
    }
}

/// Reads a schedule.
///
/// # Errors
/// A sentence that says what is wrong and what is understood.
pub fn parse_schedule(text: &str) -> Result<Schedule, String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    match words.as_slice() {
        ["continuous"] => Ok(Schedule::Continuous),
        ["every", rest @ ..] => {
            let every = parse_duration(&rest.join(" "))?;
            if every < EVERY_MIN {
                return Err(format!("`{text}` is too often; the shortest is `every 1 min`, or write `continuous`"));
            }
            Ok(Schedule::Every(every))
        }
        ["daily", time] => Ok(Schedule::Daily(parse_time(time)?)),
        ["weekly", day, time] => Ok(Schedule::Weekly(parse_weekday(day)?, parse_time(time)?)),
        [_, _, _, _, _] => parse_cron(&words).map(Schedule::Cron),
        _ => Err(format!(
            "`{text}` is not a schedule; write `every 1h`, `daily 02:30`, `weekly sunday 03:00`, `continuous` or a cron line such as `30 2 * * *`"
        )),
    }
}

pub(super) fn parse_time(text: &str) -> Result<Time, String> {
    let wrong = || format!("`{text}` is not a time of day; write hours and minutes, as in `02:30`");
    let (hours, minutes) = text.split_once(':').ok_or_else(wrong)?;
    if minutes.len() != 2 || hours.is_empty() || hours.len() > 2 {
        return Err(wrong());
    }
    let (hours, minutes) = (hours.parse().map_err(|_| wrong())?, minutes.parse().map_err(|_| wrong())?);
    Time::new(hours, minutes, 0, 0).map_err(|_| wrong())
}

/// Reads a day of the week: its English name, or the first three letters of it.
pub(super) fn parse_weekday(text: &str) -> Result<Weekday, String> {
    const NAMES: [&str; 7] = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
    let is_meant = |name: &&str| {
        name.eq_ignore_ascii_case(text) || name.get(..3).is_some_and(|three| three.eq_ignore_ascii_case(text))
    };
    let day = (1..)
        .zip(NAMES)
        .find(|(_, name)| is_meant(name))
        .and_then(|(day, _)| Weekday::from_monday_one_offset(day).ok());
    day.ok_or_else(|| format!("`{text}` is not a day of the week; write `monday` or `mon`"))
}

/// What the fields of a cron line are called.
const FIELDS: [&str; 5] = ["minute", "hour", "day of the month", "month", "day of the week"];

fn parse_cron(words: &[&str]) -> Result<Cron, String> {
    let mut options = ParseOptions::default();
    options.fallback_timezone_option = FallbackTimezoneOption::UTC;
    let line = words.join(" ");
    for (place, (word, field)) in words.iter().zip(FIELDS).enumerate() {
        // Each field by itself, so that the message names it.
        let mut alone = ["*"; FIELDS.len()];
        alone[place] = word;
        if let Err(error) = parse_crontab_with(&alone.join(" "), options) {
            let error = error.to_string();
            let problem = error.rsplit("^ ").next().unwrap_or_default().replace("; ", ", ");
            return Err(format!("`{word}` is not a {field} of a cron line ({problem}); write it as in `30 2 * * *`"));
        }
    }
    let minutes =
        parse_crontab_with(&line, options).map_err(|error| format!("`{line}` is not a cron line ({error})"))?;
    let cron = Cron { line, minutes };
    // Four years from here on there is every date that there is.
    match cron.next_after(date(2023, 1, 1).at(0, 0, 0, 0)) {
        Some(_) => Ok(cron),
        None => Err(format!("`{}` names a day that never comes; correct day or month", cron.line)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the next times of a cron line.
    fn next(line: &str, after: &str, count: usize) -> Vec<String> {
        let Ok(Schedule::Cron(cron)) = parse_schedule(line) else { panic!("{line} is a cron line") };
        let after: DateTime = after.parse().unwrap();
        let times = std::iter::successors(cron.next_after(after), |time| cron.next_after(*time));
        times.take(count).map(|time| time.strftime("%a %d %b %H:%M").to_string()).collect()
    }

    #[test]
    fn reads_the_five_forms() {
        let time = Time::constant(2, 30, 0, 0);
        assert_eq!(parse_schedule("every 1h"), Ok(Schedule::Every(Duration::from_secs(3600))));
        assert_eq!(parse_schedule("daily 02:30"), Ok(Schedule::Daily(time)));
        assert_eq!(parse_schedule("weekly Sunday 02:30"), Ok(Schedule::Weekly(Weekday::Sunday, time)));
        assert_eq!(parse_schedule("weekly mon 02:30"), Ok(Schedule::Weekly(Weekday::Monday, time)));
        assert_eq!(parse_schedule("continuous"), Ok(Schedule::Continuous));
        assert_eq!(parse_schedule("30  2 * * *"), parse_schedule("30 2 * * *"));
        assert_ne!(parse_schedule("30 2 * * *"), parse_schedule("31 2 * * *"));
    }

    /// The library is theirs; that it means the same as cron by these lines is for us to know.
    #[test]
    fn cron_lines_mean_what_they_mean_to_cron() {
        // 1 May 2024 is a Wednesday.
        for (line, expected) in [
            ("30 2 * * *", ["Wed 01 May 02:30", "Thu 02 May 02:30"]),
            ("*/20 8-9 * * *", ["Wed 01 May 08:00", "Wed 01 May 08:20"]),
            ("0 12 1,15 * *", ["Wed 01 May 12:00", "Wed 15 May 12:00"]),
            ("0 12 * jun-aug *", ["Sat 01 Jun 12:00", "Sun 02 Jun 12:00"]),
            ("0 12 * * Mon,7", ["Sun 05 May 12:00", "Mon 06 May 12:00"]),
            // One of two days is enough, unless a field begins with `*`.
            ("0 12 3 * mon", ["Fri 03 May 12:00", "Mon 06 May 12:00"]),
            ("0 12 */2 * sat", ["Sat 11 May 12:00", "Sat 25 May 12:00"]),
            ("0 0 29 2 *", ["Tue 29 Feb 00:00", "Sun 29 Feb 00:00"]),
        ] {
            assert_eq!(next(line, "2024-05-01T00:00:00", 2), expected, "{line}");
        }
        assert_eq!(next("* * * * *", "9995-01-01T00:00:00", 1), Vec::<String>::new(), "and no panic");
    }

    #[test]
    fn the_distance_from_one_time_to_the_next_is_the_longest_there_is() {
        let hours = |text: &str| parse_schedule(text).unwrap().distance().map(|distance| distance.as_secs() / 3600);
        for (text, expected) in [
            ("every 6h", Some(6)),
            ("daily 02:30", Some(24)),
            ("weekly sun 02:30", Some(168)),
            ("30 2 * * mon-fri", Some(72)),
            ("0 */6 * * *", Some(6)),
            ("0 0 1 * *", Some(31 * 24)),
            ("continuous", None),
        ] {
            assert_eq!(hours(text), expected, "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_schedule() {
        for (text, part) in [
            ("hourly", "is not a schedule"),
            ("every 5 s", "too often"),
            ("every", "empty"),
            ("daily 25:00", "time of day"),
            ("daily 2", "time of day"),
            ("weekly 02:30", "is not a schedule"),
            ("weekly s 02:30", "day of the week"),
            ("weekly sun 2", "time of day"),
            ("60 * * * *", "`60` is not a minute"),
            ("* * 0 * *", "`0` is not a day of the month"),
            ("5-1 * * * *", "`5-1` is not a minute"),
            ("*/0 * * * *", "`*/0` is not a minute"),
            ("+5 * * * *", "`+5` is not a minute"),
            ("0 0 * 13 *", "`13` is not a month of a cron line (value must be in range 1..=12, found 13)"),
            ("0 0 30 2 *", "never comes"),
        ] {
            let error = parse_schedule(text).expect_err(text);
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
