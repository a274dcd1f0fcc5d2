//! `[maintenance]`: what is done by itself to keep targets healthy.

use std::time::Duration;

use toml::de::DeTable;

use super::plan::sentence;
use super::problem::Findings;
use super::section::{Located, Section, Vocabulary};
use super::units::parse_duration;

/// What the section may hold.
pub(super) const VOCABULARY: Vocabulary = Vocabulary { known: &["verify", "prune"], refused: &[] };

const DAY: Duration = Duration::from_secs(24 * 3600);

/// What is done by itself after the backups of plans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaintenanceConfig {
    /// Within which time all data of a target is read; none: it is not read by itself.
    pub verify: Option<Duration>,
    /// How long it is from one prune to the next at least; none: there is none by itself.
    pub prune: Option<Duration>,
}

impl Default for MaintenanceConfig {
    fn default() -> Self {
        Self { verify: Some(DAY * 30), prune: Some(DAY * 7) }
    }
}

/// Reads the section; notes what is wrong with it.
pub(super) fn read(table: Located<&DeTable<'_>>, findings: &mut Findings<'_>) -> MaintenanceConfig {
    let section = Section::open("[maintenance]", table, &VOCABULARY, findings);
    let usual = MaintenanceConfig::default();
    MaintenanceConfig {
        verify: rhythm(&section, "verify", findings).unwrap_or(usual.verify),
        prune: rhythm(&section, "prune", findings).unwrap_or(usual.prune),
    }
}

/// Reads a length of time of a day or more, or `never`.
fn rhythm(section: &Section<'_>, key: &'static str, findings: &mut Findings<'_>) -> Option<Option<Duration>> {
    let text = section.text(key, findings)?;
    let parsed = match text.value.trim() {
        "never" => Ok(None),
        length => parse_duration(length).and_then(|length| match length < DAY {
            true => Err(format!("`{}` is too often; write `1 day` or more, or `never`", text.value)),
            false => Ok(Some(length)),
        }),
    };
    let parsed = parsed.map_err(|problem| sentence(section, key, &problem));
    parsed.map_err(|(message, advice)| findings.add(text.line, message, advice)).ok()
}
