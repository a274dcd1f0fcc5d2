//! `config`: what the configuration says and whether it is right.

use std::path::{Path, PathBuf};
use std::process::Command;

use backup_proto::client::ClientError;
use backup_proto::endpoint::{Environment, Overrides, places};
use backup_proto::error::Exit;
use backup_proto::params::{ConfigCheckNow, ConfigShow, DaemonStatus};
use backup_proto::path::WirePath;
use backup_proto::status::{ConfigCheck, ConfigProblem};
use clap::Subcommand;
use serde_json::json;

use crate::exit::Failure;
use crate::render::Output;
use crate::session::Session;
use crate::text;

/// See and check the configuration.
#[derive(Debug, Subcommand)]
pub(crate) enum Config {
    /// Say what is wrong with the configuration file; works without a daemon.
    Check,
    /// Print the configuration file.
    Show,
    /// Print where the configuration file is; works without a daemon.
    Path,
}

impl Config {
    /// Runs with a daemon if there is one, because only it knows which file it was started with.
    pub(crate) fn run(&self, socket: Option<&Path>, out: Output) -> (Result<Exit, Failure>, Output) {
        match Session::connect(socket, out) {
            Ok(mut session) => (self.ask(&mut session), session.out),
            Err((Failure::Client(ClientError::NoDaemon { tried }), out)) => {
                let outcome = match self {
                    Self::Check => check_without_daemon(&out),
                    Self::Path => path_without_daemon(&out),
                    Self::Show => Err(ClientError::NoDaemon { tried }.into()),
                };
                (outcome, out)
            }
            Err((failure, out)) => (Err(failure), out),
        }
    }

    fn ask(&self, session: &mut Session) -> Result<Exit, Failure> {
        match self {
            Self::Check => {
                let check = session.call(&ConfigCheckNow {})?;
                show_check(&session.out, &check)
            }
            Self::Show => {
                session.show(&ConfigShow {}, |config, _| match config.exists {
                    true => config.text.lines().map(str::to_owned).collect(),
                    false => vec![format!("# {} does not exist; everything is as by default", config.path)],
                })?;
                Ok(Exit::Success)
            }
            Self::Path => {
                let config = session.call(&DaemonStatus {})?.config;
                show_path(&session.out, &config)
            }
        }
    }
}

fn show_path(out: &Output, path: &WirePath) -> Result<Exit, Failure> {
    if out.is_json() {
        out.json(&json!({ "path": path }))?;
    } else {
        out.line(&path.to_string())?;
    }
    Ok(Exit::Success)
}

fn show_check(out: &Output, check: &ConfigCheck) -> Result<Exit, Failure> {
    if out.is_json() {
        out.json(check)?;
    } else {
        out.lines(check_lines(check))?;
    }
    Ok(if check.problems.is_empty() { Exit::Success } else { Exit::Failed })
}

fn check_lines(check: &ConfigCheck) -> Vec<String> {
    if check.problems.is_empty() {
        let word = if check.exists { "is right" } else { "does not exist, which is fine" };
        return vec![format!("{} {word}.", check.path)];
    }
    let place = |problem: &ConfigProblem| problem.line.map(|line| format!(":{line}")).unwrap_or_default();
    check
        .problems
        .iter()
        .map(|problem| format!("{}{}: {}", check.path, place(problem), text::sentence(&problem.message)))
        .collect()
}

fn own_path() -> Result<PathBuf, Failure> {
    let places = places(&Environment::of_process(), &Overrides::default());
    Ok(places.map_err(|error| Failure::Usage(error.to_string()))?.config)
}

fn path_without_daemon(out: &Output) -> Result<Exit, Failure> {
    show_path(out, &own_path()?.into())
}

/// Lets the daemon's program check its configuration: the code that will read it is the one that knows.
fn check_without_daemon(out: &Output) -> Result<Exit, Failure> {
    let beside = std::env::current_exe().ok().map(|exe| exe.with_file_name("backupd")).filter(|path| path.exists());
    let program = beside.unwrap_or_else(|| PathBuf::from("backupd"));
    let answer = Command::new(&program)
        .arg("--check-config")
        .output()
        .map_err(|source| Failure::File { path: program.clone(), source })?;
    let path = own_path()?;
    let exists = path.exists();
    let text = String::from_utf8_lossy(&answer.stderr).trim().to_owned();
    let problems = if answer.status.success() { Vec::new() } else { vec![ConfigProblem { line: None, message: text }] };
    show_check(out, &ConfigCheck { path: path.into(), exists, problems })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_are_told_like_a_compilers() {
        let problem = ConfigProblem { line: Some(3), message: "unknown key `tagret`".to_owned() };
        let mut check = ConfigCheck { path: "/c.toml".into(), exists: true, problems: vec![problem] };
        assert_eq!(check_lines(&check), ["/c.toml:3: Unknown key `tagret`."]);
        check.problems.clear();
        assert_eq!(check_lines(&check), ["/c.toml is right."]);
    }
}
