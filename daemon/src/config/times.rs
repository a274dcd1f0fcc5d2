//! The times of a plan: when it is due, by how much later it may begin, and for how long nothing may come of it.

use std::time::Duration;

use super::plan::{flatten, note, sentence};
use super::problem::Findings;
use super::schedule::{Schedule, parse_schedule};
use super::section::Section;
use super::units::parse_duration;

/// Where nobody has said after how long without a success that is said, it is no sooner than this.
const STALE_MIN: Duration = Duration::from_secs(3 * 24 * 3600);

/// By how much later than it is due a plan may begin at most; more would be another schedule.
const JITTER_MAX: Duration = Duration::from_secs(12 * 3600);

/// What a plan says about them.
pub(super) struct Times {
    pub(super) schedule: Option<Schedule>,
    pub(super) schedule_text: Option<String>,
    pub(super) jitter: Duration,
    pub(super) stale_after: Option<Duration>,
}

/// Reads them; notes what is wrong.
pub(super) fn read(section: &Section<'_>, findings: &mut Findings<'_>) -> Option<Times> {
    let schedule = section.text("schedule", findings);
    let schedule_text = schedule.as_ref().map(|text| text.value.clone());
    let schedule = schedule.map(|text| {
        let parsed = parse_schedule(&text.value).map_err(|problem| sentence(section, "schedule", &problem));
        note(text.line, parsed, findings)
    });
    let jitter = read_jitter(section, findings);
    let stale_after = read_stale_after(section, findings);
    let schedule = flatten(schedule)?;
    let stale_after = stale_after?.unwrap_or_else(|| schedule.as_ref().and_then(stale_after_of));
    Some(Times { schedule, schedule_text, jitter: jitter?, stale_after })
}

/// Reads by how much later a plan may begin.
fn read_jitter(section: &Section<'_>, findings: &mut Findings<'_>) -> Option<Duration> {
    let Some(text) = section.text("jitter", findings) else { return Some(Duration::ZERO) };
    let parsed = parse_duration(&text.value).and_then(|jitter| match jitter > JITTER_MAX {
        true => Err(format!("`{}` is too long; write at most `12h`", text.value)),
        false => Ok(jitter),
    });
    note(text.line, parsed.map_err(|problem| sentence(section, "jitter", &problem)), findings)
}

/// Reads after how long without a success that is said, if it is given; none inside: never.
fn read_stale_after(section: &Section<'_>, findings: &mut Findings<'_>) -> Option<Option<Option<Duration>>> {
    let Some(text) = section.text("stale-after", findings) else { return Some(None) };
    let parsed = match text.value.trim() {
        "never" => Ok(None),
        length => parse_duration(length).map(Some),
    };
    let parsed = parsed.map_err(|problem| sentence(section, "stale-after", &problem));
    note(text.line, parsed, findings).map(Some)
}

/// After how long without a success that is said where nobody has said it: a plan that has missed twice, and not after a
/// weekend.
fn stale_after_of(schedule: &Schedule) -> Option<Duration> {
    schedule.distance().map(|distance| STALE_MIN.max(distance * 2))
}
