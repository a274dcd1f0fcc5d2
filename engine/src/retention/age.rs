//! How long ago, in years, months, days and hours: the lengths of months and years are the calendar's.

use std::fmt;
use std::str::FromStr;

use jiff::ToSpan;
use jiff::civil::{Date, DateTime};

use crate::error::Error;

/// A length of time as restic's `--keep-within` has it: `2y5m7d3h`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Age {
    /// Years.
    pub years: u32,
    /// Months.
    pub months: u32,
    /// Days.
    pub days: u32,
    /// Hours.
    pub hours: u32,
}

impl Age {
    /// Returns whether it is no time at all.
    #[must_use]
    pub fn is_zero(self) -> bool {
        self == Self::default()
    }

    /// Returns the time that was so long before another; `None` when that is before all calendars.
    ///
    /// A day that the month does not have is so many days into the next one: a month before 31 March is 3 March, or
    /// the 2nd in a leap year. That is what Go's calendar says, and so restic.
    #[must_use]
    pub fn before(self, time: DateTime) -> Option<DateTime> {
        let months = i64::from(time.year()) * 12 + i64::from(time.month()) - 1;
        let months = months - i64::from(self.years) * 12 - i64::from(self.months);
        let year = i16::try_from(months.div_euclid(12)).ok()?;
        let month = i8::try_from(months.rem_euclid(12) + 1).ok()?;
        let days = i64::from(time.day()) - 1 - i64::from(self.days);
        let date = Date::new(year, month, 1).ok()?.checked_add(days.days()).ok()?;
        date.to_datetime(time.time()).checked_sub(i64::from(self.hours).hours()).ok()
    }
}

impl fmt::Display for Age {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [(self.years, 'y'), (self.months, 'm'), (self.days, 'd'), (self.hours, 'h')];
        parts.iter().filter(|(number, _)| *number > 0).try_for_each(|(number, unit)| write!(f, "{number}{unit}"))
    }
}

impl FromStr for Age {
    type Err = Error;

    /// Reads restic's form, and units that are written out: `30 days`, `6 months`, `2w`.
    fn from_str(text: &str) -> Result<Self, Error> {
        let refuse = |why: &str| Error::misuse(format!("`{text}` is no age: {why}; write one such as `30d` or `1y6m`"));
        let mut age = Self::default();
        let mut rest = text.trim();
        while !rest.is_empty() {
            let (number, after) = split_at_first(rest, |c| !c.is_ascii_digit());
            let (unit, after) = split_at_first(after.trim_start(), |c| !c.is_ascii_alphabetic());
            let number: u32 = number.parse().map_err(|_| refuse("a number is missing or too large"))?;
            let (place, number) = match unit {
                "y" | "year" | "years" => (&mut age.years, Some(number)),
                "m" | "month" | "months" => (&mut age.months, Some(number)),
                "w" | "week" | "weeks" => (&mut age.days, number.checked_mul(7)),
                "d" | "day" | "days" => (&mut age.days, Some(number)),
                "h" | "hour" | "hours" => (&mut age.hours, Some(number)),
                _ => return Err(refuse("it is counted in years, months, weeks, days and hours")),
            };
            let sum = number.and_then(|number| place.checked_add(number));
            *place = sum.ok_or_else(|| refuse("a number is too large"))?;
            rest = after.trim_start();
        }
        if age.is_zero() { Err(refuse("it is no time at all")) } else { Ok(age) }
    }
}

fn split_at_first(text: &str, stop: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(stop).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_read_and_written_as_restic_does() {
        for (text, written) in
            [("2y5m7d3h", "2y5m7d3h"), ("30 days", "30d"), ("1 year 6 months", "1y6m"), ("2w", "14d")]
        {
            assert_eq!(text.parse::<Age>().unwrap().to_string(), written);
        }
        for text in ["", "0d", "7", "d", "-1d", "3 s", "1.5y", "99999999999y", "4294967295d1d", "1000000000w"] {
            assert!(text.parse::<Age>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_day_that_a_month_does_not_have_is_in_the_next_one() {
        for (age, time, before) in [
            ("1m", "2023-03-31T10:00", "2023-03-03T10:00"),
            ("1m", "2024-03-31T10:00", "2024-03-02T10:00"),
            ("1y", "2024-02-29T10:00", "2023-03-01T10:00"),
            ("14m", "2024-01-15T10:00", "2022-11-15T10:00"),
            ("1d25h", "2024-01-01T00:30", "2023-12-29T23:30"),
        ] {
            let time: DateTime = time.parse().unwrap();
            assert_eq!(age.parse::<Age>().unwrap().before(time), Some(before.parse().unwrap()), "{age} before {time}");
        }
        assert_eq!(Age { years: u32::MAX, ..Age::default() }.before(DateTime::MAX), None);
    }
}
