//! `before` and `after` of a plan: what is run around each of its backups.

use std::time::Duration;

use toml::de::DeTable;

use super::plan::{flatten, note, sentence};
use super::problem::Findings;
use super::section::{Located, Section, Vocabulary};
use super::units::parse_duration;

/// How long a command may take where nobody says it: enough to stop a server or write a dump.
const LIMIT: Duration = Duration::from_secs(10 * 60);

/// The longest that can be said. Whatever hangs longer is noticed the next day at the latest.
const LIMIT_MAX: Duration = Duration::from_secs(24 * 3600);

/// What `before` may hold when it is a table.
pub(super) const BEFORE: Vocabulary =
    Vocabulary { known: &["command", "shell", "timeout", "on-failure"], refused: &[] };

/// What `after` may hold when it is a table.
pub(super) const AFTER: Vocabulary = Vocabulary {
    known: &["command", "shell", "timeout"],
    refused: &[("on-failure", "has no meaning", "The backup is over by then: a failed `after` is always a warning.")],
};

/// A command of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanCommand {
    /// The program and its arguments; at least the program.
    pub words: Vec<String>,
    /// After this time it is stopped with everything it has started.
    pub limit: Duration,
    /// Whether there is no backup when it fails.
    pub stops_backup: bool,
}

/// What a plan has run around each of its backups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlanCommands {
    /// Before anything is read.
    pub before: Option<PlanCommand>,
    /// When it is over, however it ended.
    pub after: Option<PlanCommand>,
}

/// Reads both; notes what is wrong.
pub(super) fn read(section: &Section<'_>, findings: &mut Findings<'_>) -> Option<PlanCommands> {
    let before = flatten(one(section, "before", &BEFORE, findings));
    let after = flatten(one(section, "after", &AFTER, findings));
    Some(PlanCommands { before: before?, after: after? })
}

/// Reads one, if it is there: a list of words, or a table with more to say.
fn one(
    section: &Section<'_>,
    key: &'static str,
    vocabulary: &'static Vocabulary,
    findings: &mut Findings<'_>,
) -> Option<Option<PlanCommand>> {
    if !section.has(key) {
        return None;
    }
    if section.is_list(key) {
        let words = words_of(section, key, findings);
        return Some(words.map(|words| PlanCommand { words, limit: LIMIT, stops_backup: true }));
    }
    let wanted = "a list of texts, as in `[\"program\", \"argument\"]`, or a table, as in `{ shell = \"…\" }`";
    let table = section.table_as(key, wanted, findings);
    Some(table.and_then(|table| of_table(&format!("`{key}` of {}", section.name()), table, vocabulary, findings)))
}

fn of_table(
    name: &str,
    table: Located<&DeTable<'_>>,
    vocabulary: &'static Vocabulary,
    findings: &mut Findings<'_>,
) -> Option<PlanCommand> {
    let inner = Section::open(name, table, vocabulary, findings);
    let words = what(&inner, findings);
    let limit = read_limit(&inner, findings);
    let may_fail = vocabulary.known.contains(&"on-failure");
    let stops_backup = if may_fail { read_policy(&inner, findings) } else { Some(true) };
    Some(PlanCommand { words: words?, limit: limit?, stops_backup: stops_backup? })
}

/// Reads what is to be run: `command` without a shell, or `shell` with one.
fn what(inner: &Section<'_>, findings: &mut Findings<'_>) -> Option<Vec<String>> {
    match (inner.has("command"), inner.has("shell")) {
        (true, true) => {
            let message = format!("{} has a `command` and a `shell`.", inner.name());
            findings.add(inner.line(), message, "Keep the one that is to be run.");
            None
        }
        (_, true) => {
            let text = inner.text("shell", findings)?;
            Some(["/bin/sh", "-c", text.value.as_str()].map(str::to_owned).to_vec())
        }
        (true, _) => words_of(inner, "command", findings),
        _ => {
            if inner.lacks("command") {
                let advice = "Add `command = [\"program\", \"argument\"]`, or `shell = \"…\"` for a line of shell.";
                findings.add(inner.line(), format!("{} runs nothing.", inner.name()), advice);
            }
            None
        }
    }
}

fn words_of(section: &Section<'_>, key: &'static str, findings: &mut Findings<'_>) -> Option<Vec<String>> {
    let texts = section.texts(key, findings);
    let nameless = texts.first().filter(|text| text.value.is_empty()).map(|text| text.line);
    if let Some(line) = section.empty_list(key, findings).or(nameless) {
        let message = format!("`{key}` in {} names no program.", section.name());
        findings.add(line, message, "Write the program first, then its arguments, each a text of its own.");
        return None;
    }
    if let Some(line) = texts.iter().find(|text| text.value.contains('\0')).map(|text| text.line) {
        let message = format!("`{key}` in {} has a zero byte in a text.", section.name());
        findings.add(line, message, "No argument of a program can hold one; remove it.");
        return None;
    }
    (!texts.is_empty()).then(|| texts.into_iter().map(|text| text.value).collect())
}

fn read_limit(inner: &Section<'_>, findings: &mut Findings<'_>) -> Option<Duration> {
    let Some(text) = inner.text("timeout", findings) else { return Some(LIMIT) };
    let parsed = parse_duration(&text.value).and_then(|limit| match limit > LIMIT_MAX {
        true => Err(format!("`{}` is too long; write at most `24h`", text.value)),
        false => Ok(limit),
    });
    note(text.line, parsed.map_err(|problem| sentence(inner, "timeout", &problem)), findings)
}

/// Reads what a failure means: whether there is no backup then.
fn read_policy(inner: &Section<'_>, findings: &mut Findings<'_>) -> Option<bool> {
    let Some(text) = inner.text("on-failure", findings) else { return Some(true) };
    let parsed = match text.value.as_str() {
        "stop" => Ok(true),
        "warn" => Ok(false),
        other => Err(format!("`{other}` is not known; write `stop` for no backup then, or `warn`")),
    };
    note(text.line, parsed.map_err(|problem| sentence(inner, "on-failure", &problem)), findings)
}
