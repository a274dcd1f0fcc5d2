//! `[limits]` and `[target.NAME.limits]`: how fast bytes may go, always or by time of day.

use backup_proto::limit::parse_rate;
use jiff::civil::Time;
use toml::de::DeTable;

use super::problem::Findings;
use super::schedule::parse_time;
use super::section::{Located, OneOrTables, Section, Vocabulary};

/// What a section of limits may hold.
pub(super) const VOCABULARY: Vocabulary = Vocabulary { known: &["upload", "download"], refused: &[] };

/// What one entry of a list of rates may hold.
pub(super) const ENTRY: Vocabulary = Vocabulary { known: &["from", "to", "rate"], refused: &[] };

/// How fast bytes may go each way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LimitsConfig {
    /// To targets.
    pub upload: Vec<RateRule>,
    /// From targets.
    pub download: Vec<RateRule>,
}

/// A rate and when it counts. Of several rules the first that fits counts; where none fits there is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateRule {
    /// From when to when, by the local clock; the second may be earlier, on the next day. Absent: always.
    pub between: Option<(Time, Time)>,
    /// Bytes per second; absent: no limit.
    pub rate: Option<u64>,
}

impl RateRule {
    /// Says whether it counts at a time of day.
    #[must_use]
    pub fn fits(&self, time: Time) -> bool {
        match self.between {
            None => true,
            Some((from, to)) if from < to => from <= time && time < to,
            Some((from, to)) => from <= time || time < to,
        }
    }
}

/// Reads a section; notes what is wrong with it.
pub(super) fn read(name: String, table: Located<&DeTable<'_>>, findings: &mut Findings<'_>) -> LimitsConfig {
    let section = Section::open(name, table, &VOCABULARY, findings);
    let upload = rules(&section, "upload", findings);
    LimitsConfig { upload, download: rules(&section, "download", findings) }
}

fn rules(section: &Section<'_>, key: &'static str, findings: &mut Findings<'_>) -> Vec<RateRule> {
    match section.text_or_tables(key, findings) {
        None => Vec::new(),
        Some(OneOrTables::Text(text)) => {
            let rate = rate(&text, findings);
            rate.map(|rate| RateRule { between: None, rate }).into_iter().collect()
        }
        Some(OneOrTables::Tables(tables)) => {
            let name = format!("`{key}` in {}", section.name());
            let lines: Vec<usize> = tables.iter().map(|table| table.line).collect();
            let read: Vec<Option<RateRule>> = tables.into_iter().map(|table| entry(&name, table, findings)).collect();
            let always = read.iter().position(|rule| rule.is_some_and(|rule| rule.between.is_none()));
            if let Some(line) = always.and_then(|at| lines.get(at + 1)) {
                let message = format!("An entry before this one of {name} counts at any time.");
                findings.add(*line, message, "Write the entry without `from` and `to` as the last one.");
            }
            read.into_iter().flatten().collect()
        }
    }
}

fn entry(name: &str, table: Located<&DeTable<'_>>, findings: &mut Findings<'_>) -> Option<RateRule> {
    let section = Section::open(format!("an entry of {name}"), table, &ENTRY, findings);
    let text = section.text("rate", findings);
    if section.lacks("rate") {
        let advice = "Add `rate = \"1 MiB/s\"`, or `rate = \"off\"`.";
        findings.add(section.line(), format!("An entry of {name} has no rate."), advice);
    }
    let between = match (section.text("from", findings), section.text("to", findings)) {
        (Some(from), Some(to)) => {
            let (line, same) = (to.line, from.value.trim() == to.value.trim());
            let (from, to) = (time(&from, findings), time(&to, findings));
            if same && from.is_some() {
                findings.add(line, "An entry begins when it ends.", "Leave both out for a rate that always counts.");
            }
            Some((from?, to?))
        }
        (None, None) if !section.has("from") && !section.has("to") => None,
        (from, to) => {
            // One of a wrong type was noted when it was read.
            if from.is_some() && section.lacks("to") || to.is_some() && section.lacks("from") {
                let message = format!("An entry of {name} has only one of `from` and `to`.");
                findings.add(section.line(), message, "Give it both, or neither for a rate that always counts.");
            }
            return None;
        }
    };
    rate(&text?, findings).map(|rate| RateRule { between, rate })
}

fn time(text: &Located<String>, findings: &mut Findings<'_>) -> Option<Time> {
    let advice = "Write a time of the local clock from `00:00` to `23:59`.";
    parse_time(&text.value).map_err(|problem| findings.add(text.line, format!("{problem}."), advice)).ok()
}

/// Reads a rate: bytes per second, or none for `off`.
fn rate(text: &Located<String>, findings: &mut Findings<'_>) -> Option<Option<u64>> {
    if text.value == "off" {
        return Some(None);
    }
    let advice = "Units are KiB/s, MiB/s and GiB/s.";
    parse_rate(&text.value).map(Some).map_err(|problem| findings.add(text.line, format!("{problem}."), advice)).ok()
}
