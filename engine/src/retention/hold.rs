//! What must not be removed, whoever asks: held and pinned snapshots.

use jiff::civil::Date;
use jiff::{Timestamp, ToSpan};
use serde_json::Value;

use super::{Candidate, Rules};

/// Says why a snapshot must stay; empty when nothing holds it.
pub(super) fn reasons(candidate: &Candidate, rules: &Rules) -> Vec<String> {
    let mut reasons = Vec::new();
    if let Some(prefix) = &rules.hold_tag {
        let dates = candidate.snapshot.tags.iter().filter_map(|tag| tag.strip_prefix(prefix.as_str()));
        reasons.extend(dates.filter_map(|date| held_until(date, rules.now)));
    }
    let id = candidate.id.to_string();
    if rules.pinned.iter().any(|pinned| !pinned.is_empty() && id.starts_with(&pinned.to_ascii_lowercase())) {
        reasons.push("pinned by the configuration".to_owned());
    }
    reasons.extend(protection(candidate.snapshot.others.get("delete"), rules.now));
    reasons
}

/// Says until when a tag holds a snapshot, unless that is over. A date that cannot be read holds for good: whoever
/// wrote it wanted the snapshot to stay.
fn held_until(date: &str, now: Timestamp) -> Option<String> {
    let over = match (date.parse::<Timestamp>(), date.parse::<Date>()) {
        (Ok(time), _) => Some(time),
        // A day is over when it is over everywhere, which is at noon of the next one in Greenwich.
        (_, Ok(day)) => {
            day.at(12, 0, 0, 0).checked_add(1.day()).ok().and_then(|noon| jiff::tz::Offset::UTC.to_timestamp(noon).ok())
        }
        _ => return Some(format!("held: `{date}` is no date")),
    };
    over.is_none_or(|over| over >= now).then(|| format!("held until {date}"))
}

/// Says whether rustic's protection holds a snapshot: `"Never"`, or `{"After": TIME}` before that time. Any other form
/// is a protection that is not known yet.
fn protection(delete: Option<&Value>, now: Timestamp) -> Option<String> {
    match delete? {
        Value::Null => None,
        Value::String(text) if text == "NotSet" => None,
        Value::String(text) if text == "Never" => Some("protected by rustic".to_owned()),
        Value::Object(object) => {
            let after = object.get("After").and_then(Value::as_str)?;
            // rustic writes a zone's name behind the time, in brackets.
            let time = after.split_once('[').map_or(after, |(time, _)| time);
            match time.parse::<Timestamp>() {
                Ok(time) if time < now => None,
                _ => Some(format!("protected by rustic until {time}")),
            }
        }
        other => Some(format!("protected by a rule that is not known: {other}")),
    }
}
