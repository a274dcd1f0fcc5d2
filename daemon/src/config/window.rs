//! Windows: the times of the week at which jobs may run, as in `22:00-06:00` or `sat,sun`.

use std::time::Duration;

use jiff::civil::{DateTime, Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};

use super::problem::Findings;
use super::schedule::{parse_time, parse_weekday};
use super::section::Section;

const MINUTE: u64 = 60;
const DAY_MINUTES: u16 = 24 * 60;
const WEEK_MINUTES: u16 = 7 * DAY_MINUTES;

/// Times that one window may have; more is a timetable.
const SPANS_MAX: usize = 32;

/// How far a next opening or closing is looked for: a week, and what the clocks may add.
const HORIZON: SignedDuration = SignedDuration::from_hours(9 * 24);

/// The times of the week at which jobs may run, by the local clock.
///
/// It is open whenever the local clock shows one of its times: on the day the clocks go back an hour that comes twice
/// counts twice, and what is skipped when they go forward is missed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    text: String,
    spans: Vec<Span>,
    closed: Duration,
}

/// A part of certain days; a night belongs to the day on which it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    /// Which days, from Monday on.
    days: [bool; 7],
    /// From which minute of the day.
    from: u16,
    /// To which minute; below `from`: of the next day.
    to: u16,
}

impl Span {
    /// Says whether it has a minute of a day of the week, counted from Monday as 0.
    fn has(&self, day: usize, minute: u16) -> bool {
        let (today, yesterday) = (self.days[day % 7], self.days[(day + 6) % 7]);
        match self.from < self.to {
            true => today && (self.from..self.to).contains(&minute),
            false => (today && minute >= self.from) || (yesterday && minute < self.to),
        }
    }
}

impl Window {
    /// Returns it as the user wrote it.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns how long it stays closed at most, in a week whose clocks do not change.
    #[must_use]
    pub fn closed_for(&self) -> Duration {
        self.closed
    }

    /// Says whether it is open.
    #[must_use]
    pub fn is_open(&self, now: Timestamp, zone: &TimeZone) -> bool {
        let local = now.to_zoned(zone.clone()).datetime();
        self.has(usize::from(local.weekday().to_monday_zero_offset().unsigned_abs()), minute_of(local))
    }

    /// Returns when it opens next, of a window that is closed.
    #[must_use]
    pub fn opens(&self, now: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        self.next(now, zone, true)
    }

    /// Returns when it closes next, of a window that is open; none: not for a week.
    #[must_use]
    pub fn closes(&self, now: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        self.next(now, zone, false)
    }

    fn has(&self, day: usize, minute: u16) -> bool {
        self.spans.iter().any(|span| span.has(day, minute))
    }

    /// Returns the first moment after now at which it is open, or is not. Only where a time begins or ends, and where
    /// the clocks change, can it become so.
    fn next(&self, now: Timestamp, zone: &TimeZone, open: bool) -> Option<Timestamp> {
        let last = now.checked_add(HORIZON).ok()?;
        let yesterday = now.to_zoned(zone.clone()).date().yesterday().ok()?;
        let days = (0..11_i64).filter_map(|days| yesterday.checked_add(days.days()).ok());
        let minutes = || self.spans.iter().flat_map(|span| [span.from, span.to % DAY_MINUTES]);
        let edges = days.flat_map(|day| minutes().map(move |minute| day.to_datetime(time_of(minute))));
        let moments = edges.flat_map(|edge| {
            let twice = zone.to_ambiguous_zoned(edge);
            [twice.clone().earlier(), twice.later()].into_iter().flatten().map(|zoned| zoned.timestamp())
        });
        let changes = zone.following(now).map(|change| change.timestamp()).take_while(|at| *at <= last);
        moments.chain(changes).filter(|at| *at > now && *at <= last && self.is_open(*at, zone) == open).min()
    }
}

fn minute_of(local: DateTime) -> u16 {
    u16::from(local.hour().unsigned_abs()) * 60 + u16::from(local.minute().unsigned_abs())
}

fn time_of(minute: u16) -> Time {
    let part = |number: u16| i8::try_from(number).unwrap_or_default();
    Time::new(part(minute / 60 % 24), part(minute % 60), 0, 0).unwrap_or(Time::midnight())
}

/// Reads a window: one text or a list of them; none inside for `always`. Notes what is wrong.
pub(super) fn read(section: &Section<'_>, findings: &mut Findings<'_>) -> Option<Option<Window>> {
    let texts = section.text_or_texts("window", findings)?;
    if let Some(line) = section.empty_list("window", findings) {
        let advice = "Name a time such as `22:00-06:00`, or write `always`.";
        findings.add(line, format!("`window` in {} never opens.", section.name()), advice);
        return None;
    }
    if matches!(&texts[..], [text] if text.value.trim() == "always") {
        return Some(None);
    }
    let mut spans = Vec::new();
    for text in &texts {
        match parse_span(&text.value) {
            Ok(span) => spans.push(span),
            Err(problem) => {
                let (message, advice) = super::plan::sentence(section, "window", &problem);
                findings.add(text.line, message, advice);
            }
        }
    }
    if let Some(text) = texts.get(SPANS_MAX) {
        let message = format!("`window` in {} has more than {SPANS_MAX} times.", section.name());
        findings.add(text.line, message, "Put days that are alike into one, as in `mon-fri 22:00-06:00`.");
        return None;
    }
    if spans.len() != texts.len() || spans.is_empty() {
        return None;
    }
    let text = texts.iter().map(|text| text.value.trim()).collect::<Vec<_>>().join(" and ");
    let closed = longest_closed(&spans);
    Some(Some(Window { text, spans, closed }))
}

/// Reads `22:00-06:00`, `sat,sun` or `mon-fri 22:00-06:00`.
fn parse_span(text: &str) -> Result<Span, String> {
    let wrong =
        || format!("`{text}` is not understood; write `22:00-06:00`, `sat,sun`, `mon-fri 22:00-06:00` or `always`");
    let words: Vec<&str> = text.split_whitespace().collect();
    let (days, times) = match words.as_slice() {
        [times] if times.contains(':') => (None, Some(*times)),
        [days] if !days.starts_with(|first: char| first.is_ascii_digit()) => (Some(*days), None),
        [days, times] if times.contains(':') => (Some(*days), Some(*times)),
        _ => return Err(wrong()),
    };
    let days = days.map_or(Ok([true; 7]), parse_days)?;
    let Some(times) = times else { return Ok(Span { days, from: 0, to: DAY_MINUTES }) };
    let (from, to) = times.split_once('-').ok_or_else(wrong)?;
    let minute = |text: &str| parse_time(text).map(|time| minute_of(time.on(2024, 1, 1)));
    let from = minute(from)?;
    let to = if to == "24:00" { DAY_MINUTES } else { minute(to)? };
    if from == to {
        return Err(format!("`{text}` ends when it begins; leave the times out for whole days"));
    }
    Ok(Span { days, from, to })
}

/// Reads days of the week: `sat`, `sat,sun`, `mon-fri`, `fri-mon`.
fn parse_days(text: &str) -> Result<[bool; 7], String> {
    let mut days = [false; 7];
    let index = |day: Weekday| usize::from(day.to_monday_zero_offset().unsigned_abs());
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (index(parse_weekday(first)?), index(parse_weekday(last)?));
        let count = (last + 7 - first) % 7;
        (first..=first + count).for_each(|day| days[day % 7] = true);
    }
    Ok(days)
}

/// Returns how long nothing is open at most.
fn longest_closed(spans: &[Span]) -> Duration {
    let (mut longest, mut current) = (0_u64, 0_u64);
    // Twice a week, for what begins on a Sunday and ends on a Monday.
    for minute in (0..WEEK_MINUTES).chain(0..WEEK_MINUTES) {
        let day = usize::from(minute / DAY_MINUTES);
        let is_open = spans.iter().any(|span| span.has(day, minute % DAY_MINUTES));
        current = if is_open { 0 } else { current + 1 };
        longest = longest.max(current);
    }
    Duration::from_secs(longest * MINUTE)
}

#[cfg(test)]
mod tests;
