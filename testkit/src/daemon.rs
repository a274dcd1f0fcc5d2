//! A real `backupd` with its state, socket and repository in a temporary home, and `backupctl` to talk to it.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::answer::Answer;
use crate::restic::Restic;
use crate::{must, programs, tree, unprivileged, wait};

/// What a daemon is started with.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The text of its config; none is the usual case.
    pub config: Option<String>,
    /// Whether it runs without root's rights even if the tests have them.
    pub unprivileged: bool,
    /// Further variables of its environment.
    pub environment: Vec<(String, String)>,
}

/// A daemon and its home; dropping it kills the one and removes the other.
#[derive(Debug)]
pub struct Daemon {
    home: TempDir,
    options: Options,
    child: Option<Child>,
}

impl Daemon {
    /// Starts a daemon without any config, and waits until it answers.
    ///
    /// # Panics
    /// When it does not come up, with what it logged.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(Options::default())
    }

    /// Starts a daemon, and waits until it answers.
    ///
    /// # Panics
    /// When it does not come up, with what it logged.
    #[must_use]
    pub fn start_with(options: Options) -> Self {
        let mut daemon = Self::prepare(options);
        daemon.launch();
        daemon
    }

    /// Makes a home and starts nothing in it yet.
    #[must_use]
    pub fn prepare(options: Options) -> Self {
        // In /tmp whatever TMPDIR says: the path of a socket may have about 100 bytes in all.
        let home = must("create", "/tmp/backupd…", tempfile::Builder::new().prefix("backupd").tempdir_in("/tmp"));
        let daemon = Self { home, options, child: None };
        for folder in ["config/backupd", "state", "data", "run", "cache", "bin"] {
            must("create", folder, fs::create_dir_all(daemon.home().join(folder)));
        }
        must("close", daemon.home(), fs::set_permissions(daemon.home(), fs::Permissions::from_mode(0o755)));
        if let Some(text) = &daemon.options.config {
            must("write", "the config", fs::write(daemon.config(), text));
        }
        if daemon.options.unprivileged {
            // The build folder may lie where that user cannot go.
            for program in [programs::backupd(), programs::backupctl()] {
                let name = program.file_name().unwrap_or(program.as_os_str());
                must("copy", &program, fs::copy(&program, daemon.home().join("bin").join(name)));
            }
            unprivileged::give(daemon.home());
        }
        daemon
    }

    /// Starts the program and waits until it answers.
    ///
    /// # Panics
    /// When it ends instead, with what it logged.
    #[track_caller]
    pub fn launch(&mut self) {
        let child = self.spawn();
        let child = self.child.insert(child);
        let ended = wait::until("the daemon answers or ends", || {
            // `try_wait` fails only for a process that is not ours.
            child.try_wait().ok().flatten().map(Some).or_else(|| answers(&self.home.path().join("s")).then_some(None))
        });
        if let Some(status) = ended {
            self.child = None;
            panic!("backupd ended ({status}) instead of answering:\n{}", self.log());
        }
    }

    /// Starts the program and kills it after this time, wherever it is then.
    pub fn launch_and_kill(&mut self, after: Duration) {
        self.child = Some(self.spawn());
        wait::for_chosen(after);
        self.kill();
    }

    fn spawn(&self) -> Child {
        assert!(self.child.is_none(), "the daemon runs already");
        let log = must("open", self.log_path(), File::options().append(true).create(true).open(self.log_path()));
        let mut command = self.command(&programs::backupd());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        must("start", "backupd", command.spawn())
    }

    /// Returns the home.
    #[must_use]
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Returns the socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.home().join("s")
    }

    /// Returns the config file, which need not exist.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.home().join("config/backupd/config.toml")
    }

    /// Returns the state folder.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.home().join("state/backupd")
    }

    /// Returns the password file of the default target.
    #[must_use]
    pub fn password_file(&self) -> PathBuf {
        self.state().join("keys/local.password")
    }

    /// Returns the folder of the default target.
    #[must_use]
    pub fn repository(&self) -> PathBuf {
        // Root's default target lies beside its state, everyone else's among their data.
        match rustix::process::geteuid().is_root() && !self.options.unprivileged {
            true => self.state().join("repository"),
            false => self.home().join("data/backupd/repository"),
        }
    }

    /// Returns the default target as restic sees it.
    #[must_use]
    pub fn restic(&self) -> Restic {
        Restic::new(&self.repository(), &self.password_file())
    }

    /// Returns the process id of the running daemon.
    ///
    /// # Panics
    /// When it does not run.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.as_ref().unwrap_or_else(|| panic!("the daemon does not run")).id()
    }

    /// Returns what the daemon has logged so far, over all its starts.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read(self.log_path()).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// Starts a command line of a program in the daemon's surroundings: its home, its socket, nobody else's settings.
    #[must_use]
    pub fn command(&self, program: &Path) -> Command {
        let mut command = if self.options.unprivileged {
            let name = program.file_name().unwrap_or(program.as_os_str());
            unprivileged::command(self.home().join("bin").join(name))
        } else {
            Command::new(program)
        };
        command.current_dir(self.home()).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", self.home()).env("LANG", "C.UTF-8").env("RUST_BACKTRACE", "1");
        for (variable, folder) in [
            ("XDG_CONFIG_HOME", "config"),
            ("XDG_STATE_HOME", "state"),
            ("XDG_DATA_HOME", "data"),
            ("XDG_CACHE_HOME", "cache"),
            ("XDG_RUNTIME_DIR", "run"),
        ] {
            command.env(variable, self.home().join(folder));
        }
        // Root would otherwise use the system's places.
        command.env("BACKUPD_CONFIG", self.config()).env("BACKUPD_STATE_DIR", self.state());
        command.env("BACKUPD_SOCKET", self.socket());
        // Of the machine that the tests run on it knows nothing: a developer's battery may be low.
        command.env("BACKUPD_MACHINE_ROOT", self.home().join("machine"));
        command.envs(self.options.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs `backupctl` and returns how it ended and what it printed.
    #[track_caller]
    pub fn ctl<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Answer {
        let mut command = self.command(&programs::backupctl());
        Answer(must("run", "backupctl", command.args(arguments).stdin(Stdio::null()).output()))
    }

    /// Asks the daemon to stop with SIGTERM and waits until it has.
    ///
    /// # Panics
    /// When it does not run.
    pub fn stop(&mut self) -> ExitStatus {
        self.end(Signal::TERM)
    }

    /// Kills the daemon with SIGKILL, as a crash would end it.
    ///
    /// # Panics
    /// When it does not run.
    pub fn kill(&mut self) -> ExitStatus {
        self.end(Signal::KILL)
    }

    fn end(&mut self, signal: Signal) -> ExitStatus {
        let Some(mut child) = self.child.take() else { panic!("the daemon does not run") };
        let pid = Pid::from_child(&child);
        // It may have ended by itself just now; then there is nobody to signal.
        let _ = kill_process(pid, signal);
        wait::until("the daemon has ended", || child.try_wait().ok().flatten())
    }

    fn log_path(&self) -> PathBuf {
        self.home().join("log")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        tree::open_up(self.home.path());
    }
}

/// Says whether somebody listens on the socket.
fn answers(socket: &Path) -> bool {
    std::os::unix::net::UnixStream::connect(socket).is_ok()
}
