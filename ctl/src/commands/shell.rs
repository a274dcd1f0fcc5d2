//! `schema` and `completions`: what other programs need to know of this one; neither needs a daemon.

use backup_proto::error::Exit;
use backup_proto::schema::openrpc;
use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::args::Cli;
use crate::exit::Failure;
use crate::render::Output;

/// Print the OpenRPC document of the daemon's protocol.
#[derive(Debug, Args)]
pub(crate) struct Schema {}

impl Schema {
    pub(crate) fn run(&self, out: &Output) -> Result<Exit, Failure> {
        out.line(&serde_json::to_string_pretty(&openrpc()).map_err(std::io::Error::other)?)?;
        Ok(Exit::Success)
    }
}

/// Print completions for a shell.
#[derive(Debug, Args)]
#[command(after_long_help = "Example:
  backupctl completions bash > ~/.local/share/bash-completion/completions/backupctl")]
pub(crate) struct Completions {
    /// The shell.
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(&self, out: &Output) -> Result<Exit, Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "backupctl", &mut script);
        std::io::Write::write_all(&mut out.raw(), &script)?;
        Ok(Exit::Success)
    }
}
