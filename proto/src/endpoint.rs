//! Where things are: configuration, state, socket and default repository, for both sides and every platform.
//!
//! Everything here is a pure function of an [`Environment`], so that tests can ask "what would root on a Mac see".
//! The order is always: flag, then variable, then what the service manager set, then the table of the platform.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The system this runs on, as far as its folders differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Platform {
    /// Linux and everything else that follows the XDG base directories.
    Linux,
    /// macOS.
    MacOs,
}

/// What decides where things are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Environment {
    /// The system.
    pub platform: Platform,
    /// The user; 0 uses the system's paths, everyone else their own.
    pub uid: u32,
    /// The environment variables.
    pub variables: BTreeMap<OsString, OsString>,
}

impl Environment {
    /// Returns that of this process.
    #[must_use]
    pub fn of_process() -> Self {
        Self {
            platform: if cfg!(target_os = "macos") { Platform::MacOs } else { Platform::Linux },
            uid: rustix::process::geteuid().as_raw(),
            variables: std::env::vars_os().collect(),
        }
    }

    /// Returns a variable that is set and not empty.
    fn variable(&self, name: &str) -> Option<PathBuf> {
        self.variables.get(std::ffi::OsStr::new(name)).filter(|value| !value.is_empty()).map(PathBuf::from)
    }

    /// Returns a variable that must be an absolute path; the XDG rules say to ignore any other value.
    fn absolute(&self, name: &str) -> Option<PathBuf> {
        self.variable(name).filter(|path| path.is_absolute())
    }

    /// Returns the first folder of a list that the service manager made, such as `STATE_DIRECTORY`.
    fn service_folder(&self, name: &str) -> Option<PathBuf> {
        let list = self.variable(name)?;
        std::env::split_paths(&list).next().filter(|path| path.is_absolute())
    }
}

/// What the command line says about places.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// `--config`.
    pub config: Option<PathBuf>,
    /// `--state-dir`.
    pub state_dir: Option<PathBuf>,
    /// `--socket`.
    pub socket: Option<PathBuf>,
}

/// Where a daemon has its things.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// The configuration file; it need not exist.
    pub config: PathBuf,
    /// The folder of queue and caches.
    pub state_dir: PathBuf,
    /// The folder of generated passwords.
    pub keys: PathBuf,
    /// The socket.
    pub socket: PathBuf,
    /// The repository of the default target.
    pub repository: PathBuf,
}

/// A user without a home has no places.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "HOME is not set to an absolute path, so there is no place for {0}; set HOME, or BACKUPD_CONFIG, BACKUPD_STATE_DIR and BACKUPD_SOCKET"
)]
pub struct NoHome(&'static str);

/// Returns where the daemon of this environment has its things.
///
/// # Errors
/// [`NoHome`] when a place is needed that is below the home folder, and there is none.
pub fn places(environment: &Environment, overrides: &Overrides) -> Result<Places, NoHome> {
    let table = if environment.uid == 0 { Table::system(environment) } else { Table::user(environment) };
    let config = overrides
        .config
        .clone()
        .or_else(|| environment.variable("BACKUPD_CONFIG"))
        .or_else(|| environment.service_folder("CONFIGURATION_DIRECTORY").map(|folder| folder.join("config.toml")))
        .or(table.config)
        .ok_or(NoHome("the configuration"))?;
    let state_dir = overrides
        .state_dir
        .clone()
        .or_else(|| environment.variable("BACKUPD_STATE_DIR"))
        .or_else(|| environment.service_folder("STATE_DIRECTORY"))
        .or(table.state_dir)
        .ok_or(NoHome("the state"))?;
    let socket = overrides
        .socket
        .clone()
        .or_else(|| environment.variable("BACKUPD_SOCKET"))
        .or_else(|| environment.service_folder("RUNTIME_DIRECTORY").map(|folder| folder.join(SOCKET)))
        .or(table.socket)
        .unwrap_or_else(|| state_dir.join(SOCKET));
    // The system's repository is part of its state; a user's is data and has a place of its own.
    let repository = table.repository.unwrap_or_else(|| state_dir.join("repository"));
    Ok(Places { config, keys: state_dir.join("keys"), state_dir, socket, repository })
}

const SOCKET: &str = "backupd.sock";

/// One column of the table of places; what is absent follows from the state folder or is an error.
#[derive(Default)]
struct Table {
    config: Option<PathBuf>,
    state_dir: Option<PathBuf>,
    socket: Option<PathBuf>,
    repository: Option<PathBuf>,
}

impl Table {
    fn system(environment: &Environment) -> Self {
        match environment.platform {
            Platform::Linux => Self {
                config: Some("/etc/backupd/config.toml".into()),
                state_dir: Some("/var/lib/backupd".into()),
                socket: Some("/run/backupd/backupd.sock".into()),
                repository: None,
            },
            Platform::MacOs => Self {
                socket: Some(Path::new(MACOS_SYSTEM).join(SOCKET)),
                ..Self::one_folder(PathBuf::from(MACOS_SYSTEM))
            },
        }
    }

    fn user(environment: &Environment) -> Self {
        let home = environment.absolute("HOME");
        match environment.platform {
            Platform::Linux => {
                let base = |variable: &str, below_home: &str| {
                    environment.absolute(variable).or_else(|| home.as_ref().map(|home| home.join(below_home)))
                };
                Self {
                    config: base("XDG_CONFIG_HOME", ".config").map(|base| base.join("backupd/config.toml")),
                    state_dir: base("XDG_STATE_HOME", ".local/state").map(|base| base.join("backupd")),
                    socket: environment.absolute("XDG_RUNTIME_DIR").map(|base| base.join("backupd").join(SOCKET)),
                    repository: base("XDG_DATA_HOME", ".local/share").map(|base| base.join("backupd/repository")),
                }
            }
            Platform::MacOs => {
                home.map(|home| Self::one_folder(home.join("Library/Application Support/backupd"))).unwrap_or_default()
            }
        }
    }

    fn one_folder(folder: PathBuf) -> Self {
        Self {
            config: Some(folder.join("config.toml")),
            repository: Some(folder.join("repository")),
            socket: None,
            state_dir: Some(folder),
        }
    }
}

const MACOS_SYSTEM: &str = "/Library/Application Support/backupd";

/// Whose daemon listens on a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// Somebody named the socket.
    Named,
    /// The user's own.
    User,
    /// The system's.
    System,
}

/// A socket to try, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The socket.
    pub socket: PathBuf,
    /// Whose daemon listens there.
    pub owner: Owner,
}

/// Returns the sockets a client tries, in this order: the named one alone, or the user's and then the system's.
#[must_use]
pub fn candidates(environment: &Environment, flag: Option<&Path>) -> Vec<Candidate> {
    let named = flag.map(Path::to_path_buf).or_else(|| environment.variable("BACKUPD_SOCKET"));
    let system = Table::system(environment).socket;
    if let Some(socket) = named {
        // Who names the system's socket means the system's daemon, and trusts the same user behind it.
        let owner = if Some(&socket) == system.as_ref() { Owner::System } else { Owner::Named };
        return vec![Candidate { socket, owner }];
    }
    let mut list = Vec::new();
    if environment.uid != 0 {
        // What a service manager set is for the service it started, which may be any other program that calls this
        // one; only the daemon itself looks at it.
        let table = Table::user(environment);
        let state_dir = environment.variable("BACKUPD_STATE_DIR").or(table.state_dir);
        let socket = table.socket.or_else(|| state_dir.map(|folder| folder.join(SOCKET)));
        list.extend(socket.map(|socket| Candidate { socket, owner: Owner::User }));
    }
    list.extend(system.map(|socket| Candidate { socket, owner: Owner::System }));
    list
}

#[cfg(test)]
mod tests;
