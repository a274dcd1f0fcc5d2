//! The config: TOML to [`Config`], every mistake found and said with its line.
//!
//! A missing file is an empty one, and an empty one works: the daemon then has its default target and no plans. A
//! setting that is not known is refused by name, never ignored: a backup that silently does less than its config
//! seems to say is found out on the wrong day.

mod commands;
mod conditions;
mod edit;
mod file;
mod jobs;
mod keep;
mod limits;
mod maintenance;
mod place;
mod plan;
mod problem;
mod schedule;
mod section;
mod socket;
mod target;
mod times;
mod units;
mod window;

use std::collections::BTreeMap;
use std::path::Path;

use toml::de::DeTable;

pub use commands::{PlanCommand, PlanCommands};
pub use conditions::{Act, ConditionsConfig, Networks, Rule, VpnRule};
pub use edit::{EditError, NewPlan, NewTarget, add_plan, add_target};
pub use file::{ConfigFile, check, read_text};
pub use jobs::JobsConfig;
pub use keep::{keep_of, policy_of, tag_lists};
pub use limits::{LimitsConfig, RateRule};
pub use maintenance::MaintenanceConfig;
pub use place::Surroundings;
pub use plan::PlanConfig;
pub use problem::{ConfigError, Problem};
pub use schedule::{Cron, Schedule, parse_schedule};
pub use section::did_you_mean;
pub use socket::SocketConfig;
pub use target::{PasswordSource, TargetConfig};
pub use units::parse_duration;
pub use window::Window;

use problem::Findings;
use section::{Located, Section, Vocabulary};

/// Name of the target that is there without any config.
pub const DEFAULT_TARGET: &str = "local";

/// The longest name of a target or plan, in bytes; it becomes part of a tag and of file names.
const NAME_MAX: usize = 64;

/// What the config may hold.
const VOCABULARY: Vocabulary =
    Vocabulary { known: &["target", "plan", "socket", "jobs", "limits", "conditions", "maintenance"], refused: &[] };

/// What the config says; an empty one is a working one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// The configured targets by name. The default target is among them only if the config redefines it.
    pub targets: BTreeMap<String, TargetConfig>,
    /// The plans by name.
    pub plans: BTreeMap<String, PlanConfig>,
    /// Who may use the socket; read when the daemon starts.
    pub socket: SocketConfig,
    /// What jobs may take of the machine.
    pub jobs: JobsConfig,
    /// How fast bytes may go, to all targets together and from them.
    pub limits: LimitsConfig,
    /// What the state of the machine means for jobs.
    pub conditions: ConditionsConfig,
    /// What is done by itself to keep targets healthy.
    pub maintenance: MaintenanceConfig,
    /// What is understood but not yet acted upon by this version: a sentence each.
    pub notices: Vec<String>,
}

impl Config {
    /// Reads a config from its text. `path` is for the messages.
    ///
    /// # Errors
    /// Every mistake that was found, with its line.
    pub fn parse(text: &str, path: &Path, surroundings: &Surroundings) -> Result<Self, ConfigError> {
        let mut findings = Findings::new(text);
        let config = match DeTable::parse(text) {
            Ok(root) => read(root.get_ref(), surroundings, &mut findings),
            Err(error) => {
                let line = findings.line_of(error.span().map_or(0, |span| span.start));
                let message = format!("This is not TOML: {}.", error.message().replace('\n', ", "));
                findings.add(line, message, "Correct this line.");
                Self::default()
            }
        };
        let problems = findings.finish();
        if problems.is_empty() { Ok(config) } else { Err(ConfigError { path: path.to_path_buf(), problems }) }
    }
}

fn read(root: &DeTable<'_>, surroundings: &Surroundings, findings: &mut Findings<'_>) -> Config {
    let section = Section::open("the config", Located { value: root, line: 1 }, &VOCABULARY, findings);
    let mut config = Config::default();
    let mut names = vec![DEFAULT_TARGET.to_owned()];
    for (name, table) in section.named_tables("target", findings) {
        check_name(&name, findings);
        // A target that is there but wrong is still known by name: one mistake, one message.
        names.push(name.value.clone());
        if let Some(target) = target::read(&name, table, surroundings, findings) {
            note_same_folder(&config, &name, &target, findings);
            config.targets.insert(name.value, target);
        }
    }
    if let Some(table) = section.table("socket", findings) {
        config.socket = socket::read(table, findings);
    }
    if let Some(table) = section.table("jobs", findings) {
        config.jobs = jobs::read(table, findings);
    }
    if let Some(table) = section.table("limits", findings) {
        config.limits = limits::read("[limits]".to_owned(), table, findings);
    }
    config.conditions = conditions::of(&section, findings);
    if let Some(table) = section.table("maintenance", findings) {
        config.maintenance = maintenance::read(table, findings);
    }
    for (name, table) in section.named_tables("plan", findings) {
        check_name(&name, findings);
        if let Some(plan) = plan::read(&name, table, &names, surroundings, findings) {
            config.notices.extend(notices_of(&name.value, &plan));
            config.plans.insert(name.value, plan);
        }
    }
    config
}

fn check_name(name: &Located<String>, findings: &mut Findings<'_>) {
    if let Err(problem) = valid_name(&name.value) {
        findings.add(
            name.line,
            format!("{problem}."),
            "Use letters, digits, `-`, `_` and `.`, and begin with a letter or digit.",
        );
    }
}

/// Says what is wrong with the name of a target or plan, if anything.
fn valid_name(name: &str) -> Result<(), String> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.len() > NAME_MAX {
        return Err(format!("`{name}` is longer than {NAME_MAX} letters"));
    }
    if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) || !name.chars().all(legal) {
        return Err(format!("`{name}` cannot be a name"));
    }
    Ok(())
}

fn note_same_folder(config: &Config, name: &Located<String>, target: &TargetConfig, findings: &mut Findings<'_>) {
    let twin = config.targets.iter().find(|(_, other)| other.folder == target.folder);
    if let Some((other, _)) = twin {
        let message = format!("The targets `{other}` and `{}` are the same folder.", name.value);
        findings.add(name.line, message, "Two copies in one place are one copy: remove one or change its `url`.");
    }
}

fn notices_of(name: &str, plan: &PlanConfig) -> Vec<String> {
    let mut notices = Vec::new();
    if let Some(Schedule::Continuous) = plan.schedule {
        notices.push(format!(
            "The plan `{name}` is continuous, which this version does not start by itself: write `every 1 min`, or run `backupctl backup {name}`."
        ));
    }
    notices
}

#[cfg(test)]
mod page_tests;
