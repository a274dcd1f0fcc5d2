//! `backupctl`: arguments, one call to the daemon, text or JSON.

mod args;
mod commands;
mod exit;
mod follow;
mod input;
mod keep;
mod mount;
mod patterns;
mod planned;
mod render;
mod report;
mod session;
mod text;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = args::Cli::parse();
    ExitCode::from(commands::run(cli) as u8)
}
