//! One file a command: its arguments, its call, its text.

pub(crate) mod backup;
pub(crate) mod cat;
pub(crate) mod config;
pub(crate) mod control;
pub(crate) mod copy;
pub(crate) mod diff;
pub(crate) mod events;
pub(crate) mod find;
pub(crate) mod forget;
pub(crate) mod hold;
pub(crate) mod jobs;
pub(crate) mod key;
pub(crate) mod limit;
pub(crate) mod ls;
pub(crate) mod mount;
pub(crate) mod plan;
pub(crate) mod prune;
pub(crate) mod repair;
pub(crate) mod restore;
pub(crate) mod rpc;
pub(crate) mod shell;
pub(crate) mod snapshots;
pub(crate) mod stats;
pub(crate) mod status;
pub(crate) mod target;
pub(crate) mod targets;
pub(crate) mod verify;
pub(crate) mod why;

use backup_proto::error::Exit;
use backup_proto::spec::SnapshotQuery;

use crate::args::{Cli, Command, Latest};
use crate::exit::Failure;
use crate::input::Base;
use crate::render::Output;
use crate::session::Session;

/// Runs a command, says why it failed if it did, and returns the exit code.
pub(crate) fn run(cli: Cli) -> Exit {
    let out = Output::new(cli.common.json);
    let (outcome, out) = match cli.command {
        Command::Schema(command) => (command.run(&out), out),
        Command::Completions(command) => (command.run(&out), out),
        // Whether the configuration is right is asked most when the daemon does not start because of it.
        Command::Config(command) => command.run(cli.common.socket.as_deref(), out),
        command => match Session::connect(cli.common.socket.as_deref(), out) {
            Ok(mut session) => (dispatch(command, &mut session), session.out),
            Err((failure, out)) => (Err(failure), out),
        },
    };
    match outcome {
        Ok(exit) => exit,
        Err(failure) if failure.is_closed_pipe() => Exit::Success,
        Err(failure) => {
            out.failure(&failure);
            failure.exit()
        }
    }
}

fn dispatch(command: Command, session: &mut Session) -> Result<Exit, Failure> {
    match command {
        Command::Backup(command) => command.run(session),
        Command::Restore(command) => command.run(session),
        Command::Verify(command) => command.run(session),
        Command::Forget(command) => command.run(session),
        Command::Prune(command) => command.run(session),
        Command::Repair(command) => command.run(session),
        Command::Copy(command) => command.run(session),
        Command::Status(command) => command.run(session),
        Command::Jobs(command) => command.run(session),
        Command::Job(command) => command.run(session),
        Command::Why(command) => command.run(session),
        Command::Pause(command) => command.run(session),
        Command::Resume(command) => command.run(session),
        Command::Cancel(command) => command.run(session),
        Command::Retry(command) => command.run(session),
        Command::Priority(command) => command.run(session),
        Command::Limit(command) => command.run(session),
        Command::Snapshots(command) => command.run(session),
        Command::Ls(command) => command.run(session),
        Command::Find(command) => command.run(session),
        Command::Diff(command) => command.run(session),
        Command::Cat(command) => command.run(session),
        Command::Mount(command) => command.run(session),
        Command::Stats(command) => command.run(session),
        Command::Hold(command) => command.run(session),
        Command::Target(command) => command.run(session),
        Command::Targets(command) => command.run(session),
        Command::Key(command) => command.run(session),
        Command::Plan(command) => command.run(session),
        Command::Conditions(command) => command.run(session),
        Command::Events(command) => command.run(session),
        Command::Rpc(command) => command.run(session),
        Command::Config(_) | Command::Schema(_) | Command::Completions(_) => {
            unreachable!("these run without a session")
        }
    }
}

/// Names a snapshot for the daemon.
fn query(snapshot: String, latest: &Latest, base: &Base) -> SnapshotQuery {
    SnapshotQuery {
        snapshot,
        target: latest.target.clone(),
        plan: latest.plan.clone(),
        host: latest.host.clone(),
        path: latest.path.as_deref().map(|path| base.wire(path)),
    }
}
