//! What is kept: `keep` in a plan, and the same words of a client, become the engine's policy.

use backup_engine::retention::{Age, Policy};
use backup_proto::target::Keep;
use toml::de::DeTable;

use super::plan::sentence;
use super::problem::Findings;
use super::section::{Located, Section, Vocabulary};
use super::units::parse_duration;

/// What `keep` may hold.
pub(super) const VOCABULARY: Vocabulary = Vocabulary {
    known: &[
        "last",
        "hourly",
        "daily",
        "weekly",
        "monthly",
        "yearly",
        "within",
        "within-hourly",
        "within-daily",
        "within-weekly",
        "within-monthly",
        "within-yearly",
        "tags",
    ],
    refused: &[],
};

/// Reads the `keep` of a plan; notes what is wrong with it.
pub(super) fn read(plan: &Section<'_>, table: Located<&DeTable<'_>>, findings: &mut Findings<'_>) -> Option<Policy> {
    let section = Section::open(format!("`keep` in {}", plan.name()), table, &VOCABULARY, findings);
    if table.value.is_empty() {
        let advice = "Say what is kept, as in `keep = { last = 5, daily = 7 }`, or remove it to keep all.";
        findings.add(section.line(), format!("{} keeps nothing.", section.name()), advice);
        return None;
    }
    let mut reader = Reader { section, is_wrong: false };
    let policy = Policy {
        last: reader.count("last", findings),
        hourly: reader.count("hourly", findings),
        daily: reader.count("daily", findings),
        weekly: reader.count("weekly", findings),
        monthly: reader.count("monthly", findings),
        yearly: reader.count("yearly", findings),
        within: reader.age("within", findings),
        within_hourly: reader.age("within-hourly", findings),
        within_daily: reader.age("within-daily", findings),
        within_weekly: reader.age("within-weekly", findings),
        within_monthly: reader.age("within-monthly", findings),
        within_yearly: reader.age("within-yearly", findings),
        tags: tag_lists(reader.section.texts("tags", findings).into_iter().map(|text| text.value)),
    };
    (!reader.is_wrong).then_some(policy)
}

struct Reader<'t> {
    section: Section<'t>,
    is_wrong: bool,
}

impl Reader<'_> {
    fn count(&mut self, key: &'static str, findings: &mut Findings<'_>) -> Option<u32> {
        let number = self.section.number(key, findings)?;
        let count = u32::try_from(number.value).ok().filter(|count| *count > 0);
        if count.is_none() {
            let message = format!("`{key}` in {} is {}.", self.section.name(), number.value);
            findings.add(number.line, message, "Write a number from 1 on, or remove it.");
            self.is_wrong = true;
        }
        count
    }

    fn age(&mut self, key: &'static str, findings: &mut Findings<'_>) -> Option<Age> {
        let text = self.section.text(key, findings)?;
        let age = match (parse_duration(&text.value), text.value.parse::<Age>()) {
            // restic's months are another program's minutes; in a file that is read for years this is said in full.
            (Err(problem), _) if problem.contains("minutes or months") => Err(sentence(&self.section, key, &problem)),
            (_, Ok(age)) => Ok(age),
            (_, Err(_)) => {
                let message = format!("`{key}` in {}: `{}` is not an age.", self.section.name(), text.value);
                Err((message, "Write one such as `30 days`, `6 months` or `1 year`.".to_owned()))
            }
        };
        self.is_wrong |= age.is_err();
        age.map_err(|(message, advice)| findings.add(text.line, message, advice)).ok()
    }
}

/// Writes an age as the config has it.
pub(super) fn age_in_words(text: &str) -> String {
    let Ok(Age { years, months, days, hours }) = text.parse() else { return text.to_owned() };
    let parts = [(years, "y"), (months, " months"), (days, "d"), (hours, "h")];
    let parts = parts.iter().filter(|(number, _)| *number > 0).map(|(number, unit)| format!("{number}{unit}"));
    parts.collect::<Vec<_>>().join(" ")
}

/// Makes a policy of what a client says.
///
/// # Errors
/// A sentence that says which age is none.
pub fn policy_of(keep: &Keep) -> Result<Policy, String> {
    let age = |text: &Option<String>| {
        text.as_ref().map(|text| text.parse::<Age>()).transpose().map_err(|error| error.to_string())
    };
    Ok(Policy {
        last: keep.last,
        hourly: keep.hourly,
        daily: keep.daily,
        weekly: keep.weekly,
        monthly: keep.monthly,
        yearly: keep.yearly,
        within: age(&keep.within)?,
        within_hourly: age(&keep.within_hourly)?,
        within_daily: age(&keep.within_daily)?,
        within_weekly: age(&keep.within_weekly)?,
        within_monthly: age(&keep.within_monthly)?,
        within_yearly: age(&keep.within_yearly)?,
        tags: tag_lists(keep.tags.iter().cloned()),
    })
}

/// Returns a policy as clients see it.
#[must_use]
pub fn keep_of(policy: &Policy) -> Keep {
    let text = |age: Option<Age>| age.map(|age| age.to_string());
    Keep {
        last: policy.last,
        hourly: policy.hourly,
        daily: policy.daily,
        weekly: policy.weekly,
        monthly: policy.monthly,
        yearly: policy.yearly,
        within: text(policy.within),
        within_hourly: text(policy.within_hourly),
        within_daily: text(policy.within_daily),
        within_weekly: text(policy.within_weekly),
        within_monthly: text(policy.within_monthly),
        within_yearly: text(policy.within_yearly),
        tags: policy.tags.iter().map(|tags| tags.join(",")).collect(),
    }
}

/// Splits lists of tags at their commas, as restic does.
#[must_use]
pub fn tag_lists(texts: impl Iterator<Item = String>) -> Vec<Vec<String>> {
    texts.map(|text| text.split(',').map(str::trim).map(str::to_owned).collect()).collect()
}
