//! Values with their unit inside: how long, as people write it.

use std::time::Duration;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// Reads a length of time: one or more numbers, each with its unit, as in `15 min` or `1h 30min`.
///
/// # Errors
/// A sentence that says what is wrong and what is understood.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err("it is empty; write a length of time such as `15 min`, `6h` or `30 days`".to_owned());
    }
    let mut seconds: u64 = 0;
    while !rest.is_empty() {
        let (number, after) = split_at_first(rest, |c| !c.is_ascii_digit());
        let (unit, after) = split_at_first(after.trim_start(), |c| !c.is_alphabetic());
        let number: u64 = number
            .parse()
            .map_err(|_| format!("`{text}` is not a length of time; write one such as `15 min`, `6h` or `30 days`"))?;
        let scale = seconds_of(unit, number)?;
        seconds = number
            .checked_mul(scale)
            .and_then(|part| seconds.checked_add(part))
            .filter(|total| *total <= 1000 * 365 * DAY)
            .ok_or_else(|| format!("`{text}` is longer than a thousand years"))?;
        rest = after.trim_start();
    }
    if seconds == 0 {
        return Err(format!("`{text}` is no time at all; write at least `1 s`"));
    }
    Ok(Duration::from_secs(seconds))
}

fn seconds_of(unit: &str, number: u64) -> Result<u64, String> {
    Ok(match unit {
        "s" | "sec" | "second" | "seconds" => 1,
        "min" | "minute" | "minutes" => MINUTE,
        "h" | "hour" | "hours" => HOUR,
        "d" | "day" | "days" => DAY,
        "w" | "week" | "weeks" => 7 * DAY,
        "y" | "year" | "years" => 365 * DAY,
        "" => {
            return Err(format!(
                "`{number}` has no unit; write `{number} s`, `{number} min`, `{number} h` or `{number} d`"
            ));
        }
        "m" => return Err(format!("`{number}m` could be minutes or months; write `{number} min` or a number of days")),
        other => return Err(format!("`{other}` is not a unit of time; use `s`, `min`, `h`, `d`, `w` or `y`")),
    })
}

fn split_at_first(text: &str, stop: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(stop).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_numbers_with_units() {
        for (text, seconds) in
            [("15 min", 900), ("1h", 3600), ("1h 30min", 5400), ("30 days", 30 * DAY), ("2w", 14 * DAY)]
        {
            assert_eq!(parse_duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
    }

    #[test]
    fn refuses_what_has_no_one_meaning() {
        for (text, part) in [
            ("", "empty"),
            ("60", "has no unit"),
            ("5m", "minutes or months"),
            ("3 fortnights", "`fortnights` is not a unit"),
            ("soon", "is not a length of time"),
            ("-1 h", "is not a length of time"),
            ("0 s", "no time at all"),
            ("99999999999999999999 s", "is not a length of time"),
            ("9999999999999999 y", "thousand years"),
        ] {
            let error = parse_duration(text).expect_err(text);
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
