//! `[conditions]`, `[plan.NAME.conditions]` and `[target.NAME.conditions]`: what the state of the machine means for
//! jobs.

use std::fmt;
use std::time::Duration;

use super::problem::Findings;
use super::section::{Located, Section, Vocabulary};
use super::units::parse_duration;
use super::window::{self, Window};
use backup_proto::limit::{parse_rate, rate};

/// What a section of conditions may hold.
pub(super) const VOCABULARY: Vocabulary = Vocabulary {
    known: &[
        "on-battery",
        "power-saver",
        "offline",
        "captive",
        "metered",
        "networks",
        "vpn",
        "load",
        "idle",
        "unknown",
        "window",
        "deadline",
    ],
    refused: &[],
};

/// What `networks` may hold.
pub(super) const NETWORKS: Vocabulary = Vocabulary { known: &["allow", "deny"], refused: &[] };

/// What one section says; what it leaves out is said elsewhere, or counts by itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConditionsConfig {
    /// On battery, below its limit if it has one.
    pub on_battery: Option<Rule>,
    /// While the machine is to save power.
    pub power_saver: Option<Rule>,
    /// Without a network.
    pub offline: Option<Rule>,
    /// On a network at which somebody has to sign in.
    pub captive: Option<Rule>,
    /// On a network on which data costs money.
    pub metered: Option<Rule>,
    /// Which networks may be used.
    pub networks: Option<Networks>,
    /// While there is a VPN, or is none.
    pub vpn: Option<VpnRule>,
    /// While other programs wait for the machine, above its limit.
    pub load: Option<Rule>,
    /// Whether jobs run only while nobody uses the machine.
    pub only_idle: Option<bool>,
    /// Whether jobs wait where a rule needs what nobody can tell.
    pub unknown_waits: Option<bool>,
    /// At which times of the week jobs run; none inside: always.
    pub window: Option<Option<Window>>,
    /// How long a job waits at most; none inside: for ever.
    pub deadline: Option<Option<Duration>>,
}

/// What happens in a certain state of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// What happens.
    pub act: Act,
    /// Below or above which percentage; none: in any case.
    pub limit: Option<u8>,
}

/// What jobs do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Run as always.
    Run,
    /// Run at so many bytes per second.
    Slow(u64),
    /// Wait.
    Pause,
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Run => f.write_str("run"),
            Self::Slow(bytes) => write!(f, "slow {}", rate(*bytes)),
            Self::Pause => f.write_str("pause"),
        }
    }
}

/// What a VPN means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VpnRule {
    /// Nothing.
    Run,
    /// Jobs wait while there is one.
    Pause,
    /// Jobs wait while there is none.
    Only,
}

/// Which networks may be used, by the names of their connections.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks {
    /// If there are any, no others are used.
    pub allow: Vec<String>,
    /// These are not used.
    pub deny: Vec<String>,
}

/// Reads the conditions in a plan or a target, or the general ones; notes what is wrong with them.
pub(super) fn of(outer: &Section<'_>, findings: &mut Findings<'_>) -> ConditionsConfig {
    let Some(table) = outer.table("conditions", findings) else { return ConditionsConfig::default() };
    let name = match outer.name().strip_suffix(']') {
        Some(name) => format!("{name}.conditions]"),
        None => "[conditions]".to_owned(),
    };
    let section = Section::open(name, table, &VOCABULARY, findings);
    let plain = |text: &str| rule(text, None);
    ConditionsConfig {
        on_battery: read_as(&section, "on-battery", |text| rule(text, Some("below")), findings),
        power_saver: read_as(&section, "power-saver", plain, findings),
        offline: read_as(&section, "offline", run_or_pause, findings),
        captive: read_as(&section, "captive", run_or_pause, findings),
        metered: read_as(&section, "metered", plain, findings),
        networks: networks(&section, findings),
        vpn: read_as(&section, "vpn", vpn, findings),
        load: read_as(&section, "load", |text| rule(text, Some("above")).and_then(with_limit), findings),
        only_idle: read_as(&section, "idle", |text| one_of(text, [("run", false), ("only", true)]), findings),
        unknown_waits: read_as(&section, "unknown", |text| one_of(text, [("run", false), ("pause", true)]), findings),
        window: window::read(&section, findings),
        deadline: read_as(&section, "deadline", deadline, findings),
    }
}

/// Reads a text that has a meaning; a mistake is "what is wrong; what to do instead".
fn read_as<T>(
    section: &Section<'_>,
    key: &'static str,
    meaning: impl Fn(&str) -> Result<T, String>,
    findings: &mut Findings<'_>,
) -> Option<T> {
    let text = section.text(key, findings)?;
    let refused = |problem: String| {
        let (message, advice) = super::plan::sentence(section, key, &problem);
        findings.add(text.line, message, advice);
    };
    meaning(text.value.trim()).map_err(refused).ok()
}

/// Reads `run`, `pause` or `slow RATE`, and behind it `below 40%` where there may be a limit.
fn rule(text: &str, word: Option<&str>) -> Result<Rule, String> {
    let (act, limit) = match word.and_then(|word| text.split_once(&format!(" {word} "))) {
        Some((act, limit)) => (act.trim_end(), Some(percent(limit)?)),
        None => (text, None),
    };
    let act = match (act, act.strip_prefix("slow ")) {
        ("run", _) if limit.is_none() => Act::Run,
        ("pause", _) => Act::Pause,
        (_, Some(speed)) => Act::Slow(parse_rate(speed)?),
        _ => {
            let limit = word.map_or_else(String::new, |word| format!(", and behind the last two `{word} 40%`"));
            return Err(format!("`{text}` is not understood; write `run`, `pause` or `slow 2 MiB/s`{limit}"));
        }
    };
    Ok(Rule { act, limit })
}

fn percent(text: &str) -> Result<u8, String> {
    let number = text.trim().strip_suffix('%').and_then(|number| number.trim_end().parse().ok());
    number
        .filter(|number| (1..=99).contains(number))
        .ok_or_else(|| format!("`{text}` is no limit; write a percentage from `1%` to `99%`"))
}

/// Some load there is always.
fn with_limit(rule: Rule) -> Result<Rule, String> {
    match rule {
        Rule { act: Act::Run, .. } | Rule { limit: Some(_), .. } => Ok(rule),
        Rule { act, limit: None } => Err(format!("`{act}` has no limit; write `{act} above 80%`")),
    }
}

/// Without a network there is nothing that could be slow.
fn run_or_pause(text: &str) -> Result<Rule, String> {
    one_of(text, [("run", Rule { act: Act::Run, limit: None }), ("pause", Rule { act: Act::Pause, limit: None })])
}

fn vpn(text: &str) -> Result<VpnRule, String> {
    one_of(text, [("run", VpnRule::Run), ("pause", VpnRule::Pause), ("only", VpnRule::Only)])
}

fn one_of<T, const N: usize>(text: &str, words: [(&str, T); N]) -> Result<T, String> {
    let list = words.iter().map(|(word, _)| format!("`{word}`")).collect::<Vec<_>>().join(" or ");
    let found = words.into_iter().find(|(word, _)| *word == text);
    found.map(|(_, meaning)| meaning).ok_or_else(|| format!("`{text}` is not understood; write {list}"))
}

fn deadline(text: &str) -> Result<Option<Duration>, String> {
    match text {
        "never" => Ok(None),
        _ => parse_duration(text).map(Some),
    }
}

fn networks(section: &Section<'_>, findings: &mut Findings<'_>) -> Option<Networks> {
    let table = section.table("networks", findings)?;
    let lists = Section::open(format!("`networks` of {}", section.name()), table, &NETWORKS, findings);
    let (allow, deny) = (lists.texts("allow", findings), lists.texts("deny", findings));
    if let Some(twice) = deny.iter().find(|name| allow.iter().any(|allowed| allowed.value == name.value)) {
        let message = format!("`{}` is allowed and denied in {}.", twice.value, lists.name());
        findings.add(twice.line, message, "Name it once.");
    }
    if let Some(line) = lists.empty_list("allow", findings) {
        let advice = "Name one, or remove the setting to allow any.";
        findings.add(line, format!("{} allows no network.", lists.name()), advice);
    }
    let names = |list: Vec<Located<String>>| list.into_iter().map(|name| name.value).collect();
    Some(Networks { allow: names(allow), deny: names(deny) })
}
