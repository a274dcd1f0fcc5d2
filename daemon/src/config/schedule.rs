//! When a plan is due: `every 1h`, `daily 02:30`, a cron line, or `continuous`.

use std::time::Duration;

use jiff::civil::Time;

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
    /// At the minutes that match a cron line, by the local clock.
    Cron(Cron),
    /// Whenever something changed.
    Continuous,
}

/// The minutes that a cron line names, each field as a set of bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cron {
    /// Minutes of the hour, 0 to 59.
    pub minutes: u64,
    /// Hours of the day, 0 to 23.
    pub hours: u64,
    /// Days of the month, 1 to 31.
    pub days: u64,
    /// Months of the year, 1 to 12.
    pub months: u64,
    /// Days of the week, 0 (Sunday) to 6.
    pub weekdays: u64,
    /// Whether a day must match both day fields (one of them is `*`) or only one of them, as cron has it.
    pub both_days: bool,
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
        [minutes, hours, days, months, weekdays] => {
            parse_cron([minutes, hours, days, months, weekdays]).map(Schedule::Cron)
        }
        _ => Err(format!(
            "`{text}` is not a schedule; write `every 1h`, `daily 02:30`, `continuous` or a cron line such as `30 2 * * *`"
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

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// One field of a cron line: what it is called, what it may hold, and the names it may be written by.
struct Field {
    name: &'static str,
    min: u32,
    max: u32,
    names: &'static [&'static str],
}

fn parse_cron([minutes, hours, days, months, weekdays]: [&str; 5]) -> Result<Cron, String> {
    let field = |name, min, max, names| Field { name, min, max, names };
    // Sunday is 0, and 7 as well.
    let week = parse_field(weekdays, &field("day of the week", 0, 7, &WEEKDAYS))?;
    Ok(Cron {
        minutes: parse_field(minutes, &field("minute", 0, 59, &[]))?,
        hours: parse_field(hours, &field("hour", 0, 23, &[]))?,
        days: parse_field(days, &field("day of the month", 1, 31, &[]))?,
        months: parse_field(months, &field("month", 1, 12, &MONTHS))?,
        weekdays: (week | week >> 7) & 0x7f,
        both_days: days.starts_with('*') || weekdays.starts_with('*'),
    })
}

fn parse_field(text: &str, field: &Field) -> Result<u64, String> {
    let mut set = 0;
    for part in text.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, step.parse::<usize>().ok().filter(|step| *step > 0)),
            None => (part, Some(1)),
        };
        let bounds = match range.split_once('-') {
            _ if range == "*" => Some((field.min, field.max)),
            Some((first, last)) => parse_value(first, field).zip(parse_value(last, field)),
            // `5/10` means from 5 on, as in cron.
            None if part.contains('/') => parse_value(range, field).map(|first| (first, field.max)),
            None => parse_value(range, field).map(|only| (only, only)),
        };
        match (bounds, step) {
            (Some((first, last)), Some(step)) if first <= last => {
                set |= (first..=last).step_by(step).fold(0, |set, value| set | 1 << value);
            }
            _ => {
                let Field { name, min, max, .. } = field;
                return Err(format!(
                    "`{part}` is not a {name} of a cron line; it takes {min} to {max}, `*`, `a-b`, `a,b` and `*/n`"
                ));
            }
        }
    }
    Ok(set)
}

fn parse_value(text: &str, field: &Field) -> Option<u32> {
    let by_name = field.names.iter().position(|name| text.eq_ignore_ascii_case(name));
    let value = match by_name {
        Some(position) => field.min + u32::try_from(position).ok()?,
        None if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok()?,
        None => return None,
    };
    (field.min..=field.max).contains(&value).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cron(text: &str) -> Cron {
        match parse_schedule(text) {
            Ok(Schedule::Cron(cron)) => cron,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn reads_the_four_forms() {
        assert_eq!(parse_schedule("every 1h"), Ok(Schedule::Every(Duration::from_secs(3600))));
        assert_eq!(parse_schedule("daily 02:30"), Ok(Schedule::Daily(Time::constant(2, 30, 0, 0))));
        assert_eq!(parse_schedule("continuous"), Ok(Schedule::Continuous));
        assert_eq!(cron("30 2 * * *").minutes, 1 << 30);
    }

    #[test]
    fn cron_fields_take_ranges_steps_lists_and_names() {
        let line = cron("*/20 8-10 1,15 jan-mar Mon,7");
        assert_eq!(line.minutes, 1 | 1 << 20 | 1 << 40);
        assert_eq!(line.hours, 1 << 8 | 1 << 9 | 1 << 10);
        assert_eq!(line.days, 1 << 1 | 1 << 15);
        assert_eq!(line.months, 1 << 1 | 1 << 2 | 1 << 3);
        assert_eq!(line.weekdays, 1 << 0 | 1 << 1);
        assert!(!line.both_days);
        assert!(cron("0 0 1 * *").both_days);
    }

    #[test]
    fn refuses_what_is_no_schedule() {
        for (text, part) in [
            ("hourly", "is not a schedule"),
            ("every 5 s", "too often"),
            ("every", "empty"),
            ("daily 25:00", "time of day"),
            ("daily 2", "time of day"),
            ("60 * * * *", "`60` is not a minute"),
            ("* * 0 * *", "`0` is not a day of the month"),
            ("5-1 * * * *", "`5-1` is not a minute"),
            ("*/0 * * * *", "`*/0` is not a minute"),
            ("+5 * * * *", "`+5` is not a minute"),
        ] {
            let error = parse_schedule(text).expect_err(text);
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
