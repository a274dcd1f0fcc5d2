//! `[plan.NAME]`: which sources go to which targets, when, and how long they are kept.

use std::path::PathBuf;
use std::time::Duration;

use backup_engine::retention::Policy;
use toml::de::DeTable;

use super::commands::{self, PlanCommands};
use super::conditions::{self, ConditionsConfig};
use super::keep;
use super::place::{Refusal, Surroundings};
use super::problem::Findings;
use super::schedule::Schedule;
use super::section::{Located, Section, Vocabulary, did_you_mean};
use super::times::{self, Times};

/// What a plan may hold.
pub(super) const VOCABULARY: Vocabulary = Vocabulary {
    known: &[
        "sources",
        "critical",
        "exclude",
        "exclude-file",
        "before",
        "after",
        "targets",
        "schedule",
        "jitter",
        "stale-after",
        "keep",
        "pinned",
        "one-file-system",
        "exclude-caches",
        "tags",
        "conditions",
    ],
    refused: &[(
        "window",
        "is a condition",
        "Write it below `[plan.NAME.conditions]`, or below `[conditions]` for all plans.",
    )],
};

/// A configured plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanConfig {
    /// What is backed up: full paths, at least one.
    pub sources: Vec<PathBuf>,
    /// What of it is saved before the rest: full paths at or below the sources.
    pub critical: Vec<PathBuf>,
    /// Patterns of what is left out, by restic's rules.
    pub exclude: Vec<String>,
    /// A file with one more such pattern a line.
    pub exclude_file: Option<PathBuf>,
    /// What is run around each of its backups.
    pub commands: PlanCommands,
    /// Names of the targets it goes to; at least one.
    pub targets: Vec<String>,
    /// When it is due; none: only when asked for.
    pub schedule: Option<Schedule>,
    /// The same as the user wrote it.
    pub schedule_text: Option<String>,
    /// By how much later than its schedule says it may begin.
    pub jitter: Duration,
    /// After how long without a success on a target that is said; none: never.
    pub stale_after: Option<Duration>,
    /// What is kept of its snapshots; none: all.
    pub keep: Option<Policy>,
    /// Beginnings of the ids of snapshots that are never forgotten.
    pub pinned: Vec<String>,
    /// Whether folders on other devices are left out.
    pub one_file_system: bool,
    /// Whether folders with a `CACHEDIR.TAG` are left out.
    pub exclude_caches: bool,
    /// Tags of its snapshots.
    pub tags: Vec<String>,
    /// What the state of the machine means for its jobs; before the conditions of a target and the general ones.
    pub conditions: ConditionsConfig,
}

/// Reads one plan; notes what is wrong with it. `targets` are the names that may be used.
pub(super) fn read(
    name: &Located<String>,
    table: Located<&DeTable<'_>>,
    targets: &[String],
    surroundings: &Surroundings,
    findings: &mut Findings<'_>,
) -> Option<PlanConfig> {
    let section = Section::open(format!("[plan.{}]", name.value), table, &VOCABULARY, findings);
    let sources = read_sources(&section, surroundings, findings);
    let critical = read_critical(&section, sources.as_deref().unwrap_or_default(), surroundings, findings);
    let exclude = section.texts("exclude", findings).into_iter().map(|pattern| pattern.value).collect();
    let exclude_file = read_exclude_file(&section, surroundings, findings);
    let commands = commands::read(&section, findings);
    let targets = read_targets(&section, targets, findings);
    let times = times::read(&section, findings);
    let keep = section.table("keep", findings).map(|table| keep::read(&section, table, findings));
    let pinned = read_pinned(&section, findings);
    let flags = ["one-file-system", "exclude-caches"].map(|flag| section.flag(flag, findings));
    let tags = read_tags(&section, findings);
    let conditions = conditions::of(&section, findings);
    let Times { schedule, schedule_text, jitter, stale_after } = times?;
    Some(PlanConfig {
        sources: sources?,
        critical: critical?,
        exclude,
        exclude_file: exclude_file?,
        commands: commands?,
        targets: targets?,
        schedule,
        schedule_text,
        jitter,
        stale_after,
        keep: flatten(keep)?,
        pinned: pinned?,
        one_file_system: flags[0],
        exclude_caches: flags[1],
        tags: tags?,
        conditions,
    })
}

/// Turns "given, and maybe wrong" into "wrong, or maybe given".
pub(super) fn flatten<T>(given: Option<Option<T>>) -> Option<Option<T>> {
    match given {
        Some(None) => None,
        Some(Some(value)) => Some(Some(value)),
        None => Some(None),
    }
}

pub(super) fn note<T>(line: usize, result: Result<T, Refusal>, findings: &mut Findings<'_>) -> Option<T> {
    result.map_err(|(message, advice)| findings.add(line, message, advice)).ok()
}

/// Makes a refusal of "what is wrong; what to do instead".
pub(super) fn sentence(section: &Section<'_>, key: &str, problem: &str) -> Refusal {
    let (what, advice) = problem.split_once("; ").unwrap_or((problem, "correct it"));
    let mut advice = advice.to_owned();
    advice[..1].make_ascii_uppercase();
    (format!("`{key}` in {}: {what}.", section.name()), format!("{advice}."))
}

fn read_sources(
    section: &Section<'_>,
    surroundings: &Surroundings,
    findings: &mut Findings<'_>,
) -> Option<Vec<PathBuf>> {
    let texts = section.texts("sources", findings);
    let empty = section.empty_list("sources", findings);
    if texts.is_empty() && (section.lacks("sources") || empty.is_some()) {
        let advice = "Add `sources = [\"~/Documents\"]` with what it is to protect.";
        findings.add(empty.unwrap_or(section.line()), format!("{} has no sources.", section.name()), advice);
        return None;
    }
    let paths: Vec<_> =
        texts.into_iter().map(|text| note(text.line, surroundings.absolute(&text.value), findings)).collect();
    // Collected twice, so that every wrong one is noted and not only the first.
    paths.into_iter().collect()
}

fn read_critical(
    section: &Section<'_>,
    sources: &[PathBuf],
    surroundings: &Surroundings,
    findings: &mut Findings<'_>,
) -> Option<Vec<PathBuf>> {
    let check = |text: Located<String>, findings: &mut Findings<'_>| {
        let path = note(text.line, surroundings.absolute(&text.value), findings)?;
        let is_saved = sources.is_empty() || sources.iter().any(|source| path.starts_with(source));
        if !is_saved {
            let message = format!("`{}` in `critical` of {} is in none of its sources.", text.value, section.name());
            findings.add(text.line, message, "Name a source, or what is below one.");
        }
        is_saved.then_some(path)
    };
    let paths: Vec<_> = section.texts("critical", findings).into_iter().map(|text| check(text, findings)).collect();
    paths.into_iter().collect()
}

fn read_exclude_file(
    section: &Section<'_>,
    surroundings: &Surroundings,
    findings: &mut Findings<'_>,
) -> Option<Option<PathBuf>> {
    let file = section.text("exclude-file", findings);
    flatten(file.map(|file| note(file.line, surroundings.beside(&file.value), findings)))
}

fn read_targets(section: &Section<'_>, known: &[String], findings: &mut Findings<'_>) -> Option<Vec<String>> {
    if !section.has("targets") {
        return Some(vec![super::DEFAULT_TARGET.to_owned()]);
    }
    let texts = section.texts("targets", findings);
    if let Some(line) = section.empty_list("targets", findings) {
        let advice = "Name at least one target, or remove the setting for the default one.";
        findings.add(line, format!("{} goes nowhere.", section.name()), advice);
        return None;
    }
    let mut targets: Vec<String> = Vec::new();
    let mut all_known = true;
    for Located { value, line } in texts {
        if !known.contains(&value) {
            let advice = did_you_mean(&value, known.iter().map(String::as_str));
            findings.add(line, format!("{} goes to `{value}`, which is no target.", section.name()), advice);
            all_known = false;
        } else if !targets.contains(&value) {
            targets.push(value);
        }
    }
    all_known.then_some(targets)
}

fn read_tags(section: &Section<'_>, findings: &mut Findings<'_>) -> Option<Vec<String>> {
    let check = |tag: Located<String>, findings: &mut Findings<'_>| {
        let problem = if tag.value.is_empty() || tag.value.contains(',') {
            Some("Tags are not empty and have no comma, which other programs split them at.")
        } else if tag.value.starts_with("backupd:") {
            Some("Tags that begin with `backupd:` are set by the daemon itself.")
        } else {
            None
        };
        match problem {
            Some(advice) => {
                findings.add(tag.line, format!("`{}` cannot be a tag of {}.", tag.value, section.name()), advice);
                None
            }
            None => Some(tag.value),
        }
    };
    let tags: Vec<_> = section.texts("tags", findings).into_iter().map(|tag| check(tag, findings)).collect();
    tags.into_iter().collect()
}

fn read_pinned(section: &Section<'_>, findings: &mut Findings<'_>) -> Option<Vec<String>> {
    let check = |id: Located<String>, findings: &mut Findings<'_>| {
        let is_id = (8..=64).contains(&id.value.len()) && id.value.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_id {
            let message = format!("`{}` in `pinned` of {} is no snapshot's id.", id.value, section.name());
            findings.add(id.line, message, "Write at least the first 8 digits, as `backupctl snapshots` shows them.");
        }
        is_id.then_some(id.value)
    };
    let ids: Vec<_> = section.texts("pinned", findings).into_iter().map(|id| check(id, findings)).collect();
    ids.into_iter().collect()
}
