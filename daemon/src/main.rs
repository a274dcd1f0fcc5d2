//! The backup daemon: arguments, logging, run.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use backup_proto::endpoint::Overrides;
use backupd::error::Result;
use backupd::{memory, service, start};
use clap::Parser;
use tracing_subscriber::EnvFilter;

/// Keeps a queue of backup and restore jobs and runs them.
#[derive(Parser)]
#[command(name = "backupd", version, about)]
struct Arguments {
    /// The configuration file.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The folder of queue, caches and keys.
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// The socket to listen on.
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Check the configuration and end.
    #[arg(long)]
    check_config: bool,
    /// What to log: error, warn, info, debug or trace.
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    log: String,
}

fn main() -> ExitCode {
    memory::prefer_the_system();
    let outcome = service::take_signals().and_then(|signals| {
        let arguments = Arguments::parse();
        let Arguments { config, state_dir, socket, check_config, log } = arguments;
        let filter = EnvFilter::try_new(&log).unwrap_or_else(|_| EnvFilter::new("info"));
        let has_colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        tracing_subscriber::fmt().with_env_filter(filter).with_ansi(has_colour).with_writer(std::io::stderr).init();
        let places = Overrides { config, state_dir, socket };
        if check_config { start::check_config(&places).map(|_| ()) } else { start::run(&places, signals) }
    });
    finish(outcome)
}

fn finish(outcome: Result<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Where the sentence cannot be written there is nobody to read it.
            let _ = writeln!(std::io::stderr(), "backupd: {error}\n{}", error.advice());
            ExitCode::from(error.exit_code())
        }
    }
}
