//! `[target.NAME]`: where a repository is and what opens it.

use std::path::PathBuf;

use toml::de::DeTable;

use super::conditions::{self, ConditionsConfig};
use super::limits::{self, LimitsConfig};
use super::place::{Surroundings, split_command};
use super::problem::Findings;
use super::section::{Located, Section, Vocabulary};

/// What a target may hold.
pub(super) const VOCABULARY: Vocabulary = Vocabulary {
    known: &[
        "url",
        "password-file",
        "password-command",
        "systemd-credential",
        "limits",
        "conditions",
        "over-network",
        "pruned-by",
    ],
    refused: &[(
        "password",
        "puts a password into the config",
        "Write it into a file of mode 0600 and name that in `password-file`.",
    )],
};

/// A configured target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetConfig {
    /// Where it is, as the user wrote it.
    pub url: String,
    /// The folder that the url names.
    pub folder: PathBuf,
    /// What opens it.
    pub password: PasswordSource,
    /// How fast bytes may go there and come from there.
    pub limits: LimitsConfig,
    /// What the state of the machine means for jobs on it; before the general conditions.
    pub conditions: ConditionsConfig,
    /// Whether its folder lies on another machine: a network drive.
    pub over_network: bool,
    /// The name of the one machine that prunes it by itself; none: each that has a plan for it.
    pub pruned_by: Option<String>,
}

/// Where a target's password comes from; it is read anew whenever the target is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PasswordSource {
    /// The first line of a file.
    File(PathBuf),
    /// What a program prints: its name and arguments.
    Command(Vec<String>),
    /// A credential of this name that the service manager hands over.
    Credential(String),
}

/// Reads one target; notes what is wrong with it.
pub(super) fn read(
    name: &Located<String>,
    table: Located<&DeTable<'_>>,
    surroundings: &Surroundings,
    findings: &mut Findings<'_>,
) -> Option<TargetConfig> {
    let section = Section::open(format!("[target.{}]", name.value), table, &VOCABULARY, findings);
    let url = section.text("url", findings);
    if section.lacks("url") {
        let advice = "Add `url = \"/path/to/the/repository\"`.";
        findings.add(section.line(), format!("{} does not say where it is.", section.name()), advice);
    }
    let folder = url.as_ref().and_then(|url| {
        let folder = surroundings.target_folder(&url.value);
        folder.map_err(|(message, advice)| findings.add(url.line, message, advice)).ok()
    });
    let password = read_password(&section, surroundings, findings);
    let limits = section.table("limits", findings);
    let limits = limits.map(|table| limits::read(format!("[target.{}.limits]", name.value), table, findings));
    let limits = limits.unwrap_or_default();
    let conditions = conditions::of(&section, findings);
    let over_network = section.flag("over-network", findings);
    let pruned_by = section.text("pruned-by", findings).map(|host| host.value);
    let (url, folder, password) = (url?.value, folder?, password?);
    Some(TargetConfig { url, folder, password, limits, conditions, over_network, pruned_by })
}

fn read_password(
    section: &Section<'_>,
    surroundings: &Surroundings,
    findings: &mut Findings<'_>,
) -> Option<PasswordSource> {
    let file = section.text("password-file", findings);
    let command = section.text("password-command", findings);
    let credential = section.text("systemd-credential", findings);
    let given =
        ["password-file", "password-command", "systemd-credential"].iter().filter(|key| section.has(key)).count();
    if given == 0 && !section.lacks("password-file") {
        return None;
    }
    if given != 1 {
        let message = match given {
            0 => format!("{} has no password.", section.name()),
            _ => format!("{} has more than one source for its password.", section.name()),
        };
        let advice = "Give it one of `password-file`, `password-command` and `systemd-credential`.";
        findings.add(section.line(), message, advice);
        return None;
    }
    let (line, source) = match (file, command, credential) {
        (Some(file), ..) => (file.line, surroundings.beside(&file.value).map(PasswordSource::File)),
        (_, Some(command), _) => (command.line, split_command(&command.value).map(PasswordSource::Command)),
        (.., Some(credential)) => (credential.line, credential_name(credential.value)),
        // The one that is there is of the wrong type, which was noted when it was read.
        _ => return None,
    };
    source.map_err(|(message, advice)| findings.add(line, message, advice)).ok()
}

fn credential_name(name: String) -> Result<PasswordSource, (String, String)> {
    if name.is_empty() || name.contains('/') || name == "." || name == ".." {
        let advice = "Write the name that the unit's `LoadCredential=` gives it.";
        return Err((format!("`{name}` is not the name of a credential."), advice.to_owned()));
    }
    Ok(PasswordSource::Credential(name))
}
