//! Numbers, sizes, times and tables as people read them; pure functions to strings.

use backup_proto::job::{Progress, Verdict};
use backup_proto::path::WirePath;
pub(crate) use backup_proto::size::size;
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Says a duration in its two largest units: `6 s`, `2 min 5 s`, `1 h 3 min`, `2 d 4 h`.
pub(crate) fn duration(seconds: u64) -> String {
    const UNITS: [(u64, &str); 4] = [(86400, "d"), (3600, "h"), (60, "min"), (1, "s")];
    let largest = UNITS.iter().position(|(unit, _)| seconds >= *unit).unwrap_or(UNITS.len() - 1);
    let (unit, name) = UNITS[largest];
    let first = format!("{} {name}", seconds / unit);
    match UNITS.get(largest + 1).map(|(smaller, name)| (seconds % unit / smaller, name)) {
        Some((number, name)) if number > 0 => format!("{first} {number} {name}"),
        _ => first,
    }
}

/// Says a time in the given zone, to the minute.
pub(crate) fn time(time: Timestamp, zone: &TimeZone) -> String {
    time.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M").to_string()
}

/// Says a time in the given zone, to the second: for what is about to happen.
pub(crate) fn time_to_second(time: Timestamp, zone: &TimeZone) -> String {
    time.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// Says how many of something: `1 file`, `3 files`.
pub(crate) fn count(number: u64, singular: &str, plural: &str) -> String {
    format!("{number} {}", if number == 1 { singular } else { plural })
}

/// Says how far a job is, in one line: `25 %, 4.8 MiB of 19.1 MiB, 120 files, 2.4 MiB/s, 6 s left`.
pub(crate) fn progress(progress: &Progress) -> String {
    let mut parts = Vec::new();
    match progress.bytes_total {
        Some(total) if total > 0 => {
            parts.push(format!("{} %", percent(progress.bytes, total)));
            parts.push(format!("{} of {}", size(progress.bytes), size(total)));
        }
        _ => parts.push(size(progress.bytes)),
    }
    parts.push(count(progress.files, "file", "files"));
    if let Some(rate) = progress.bytes_per_second {
        parts.push(format!("{}/s", size(rate)));
    }
    if let Some(eta) = progress.eta_seconds {
        parts.push(format!("{} left", duration(eta)));
    }
    if progress.failed_count > 0 {
        parts.push(format!("{} could not be read", count(progress.failed_count, "item", "items")));
    }
    parts.join(", ")
}

/// Returns how much is done in whole percent; 100 only when all is.
pub(crate) fn percent(done: u64, total: u64) -> u64 {
    let percent = u128::from(done.min(total)) * 100 / u128::from(total.max(1));
    u64::try_from(percent).unwrap_or(100)
}

/// Lines up the columns of a table, two spaces apart; the last column is not padded.
pub(crate) fn table(rows: &[Vec<String>]) -> Vec<String> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width =
        |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| width(cell)).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    rows.iter().map(|row| row_line(row, &widths)).collect()
}

fn row_line(row: &[String], widths: &[usize]) -> String {
    let mut line = String::new();
    for (column, cell) in row.iter().enumerate() {
        line.push_str(cell);
        if column + 1 < row.len() {
            line.extend(std::iter::repeat_n(' ', widths[column] - width(cell) + 2));
        }
    }
    line.trim_end().to_owned()
}

fn width(cell: &str) -> usize {
    cell.chars().count()
}

/// Returns as much of an id as people type.
pub(crate) fn short_id(id: &str) -> &str {
    id.get(..8).unwrap_or(id)
}

/// Shows what would disturb a terminal as an escape: messages carry names of files, and those can hold anything.
pub(crate) fn plain(message: &str) -> String {
    WirePath::from(message).to_string()
}

/// Says why a job waits: of a condition of the machine also since when, and when the job runs all the same.
pub(crate) fn verdict(verdict: &Verdict, zone: &TimeZone) -> String {
    let said = sentence(&verdict.sentence);
    if verdict.condition.is_none() {
        return said;
    }
    let (first, rest) = said.split_once(". ").unwrap_or((said.trim_end_matches('.'), ""));
    let (what, details) =
        first.split_once(" (").map_or((first, String::new()), |(what, rest)| (what, format!(" ({rest}")));
    let since = verdict.since.map_or_else(String::new, |since| format!(" since {}", time(since, zone)));
    let by = verdict.runs_by.map(|by| by.to_zoned(zone.clone()).strftime("%A %Y-%m-%d %H:%M").to_string());
    let by = by.map_or_else(String::new, |by| format!("; runs anyway by {by}"));
    format!("{what}{since}{details}{by}. {rest}").trim_end().to_owned()
}

/// Makes a sentence of a message: a capital first, a full stop last.
pub(crate) fn sentence(message: &str) -> String {
    let message = plain(message.trim_end());
    let mut letters = message.chars();
    let first = letters.next().map(char::to_uppercase).into_iter().flatten();
    let mut text: String = first.chain(letters).collect();
    if !text.is_empty() && !text.ends_with(['.', '!', '?', '…']) {
        text.push('.');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_one_digit_behind_the_point_and_never_1024_of_a_unit() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (1024 * 1024 - 1, "1.0 MiB"),
            (20 * 1024 * 1024, "20.0 MiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn durations_have_two_units_at_most() {
        for (seconds, text) in [
            (0, "0 s"),
            (6, "6 s"),
            (60, "1 min"),
            (125, "2 min 5 s"),
            (3780, "1 h 3 min"),
            (3605, "1 h"),
            (187_200, "2 d 4 h"),
        ] {
            assert_eq!(duration(seconds), text);
        }
    }

    #[test]
    fn percent_is_never_100_before_the_end_nor_above() {
        assert_eq!(percent(999, 1000), 99);
        assert_eq!(percent(1000, 1000), 100);
        assert_eq!(percent(2000, 1000), 100);
        assert_eq!(percent(0, 0), 0);
    }

    #[test]
    fn progress_says_only_what_is_known() {
        let mut now = Progress { bytes: 512, files: 1, ..Progress::default() };
        assert_eq!(progress(&now), "512 B, 1 file");
        now.bytes_total = Some(1024);
        now.bytes_per_second = Some(256);
        now.eta_seconds = Some(2);
        now.failed_count = 2;
        assert_eq!(progress(&now), "50 %, 512 B of 1.0 KiB, 1 file, 256 B/s, 2 s left, 2 items could not be read");
    }

    #[test]
    fn columns_line_up() {
        let rows = [vec!["a".into(), "bb".into(), "c".into()], vec!["äää".into(), "b".into(), String::new()]];
        assert_eq!(table(&rows), ["a    bb  c", "äää  b"]);
    }

    #[test]
    fn a_message_becomes_one_sentence() {
        assert_eq!(sentence("cannot read /x"), "Cannot read /x.");
        assert_eq!(sentence("Done!"), "Done!");
        assert_eq!(sentence(""), "");
        assert_eq!(sentence("cannot read a\u{1b}[2J"), "Cannot read a\\u{1b}[2J.");
    }
}
