//! Looking at targets, snapshots, plans and the config, and the changes to them that touch no job.
//!
//! These calls open repositories and files, which may take as long as a drive takes to spin up. They are answered on
//! threads that may wait, never by the owner of the jobs nor by the thread that serves the socket.

mod browse;
mod config;
mod find;
mod key;
mod looks;
mod note;
mod plan;
mod snapshot;
mod target;
mod walk;

use std::io;
use std::sync::Arc;

use backup_proto::error::{ErrorKind, RpcError};
use backup_proto::message::Request;
use backup_proto::page::Page;
use backup_proto::params::{PlanList, SnapshotCat};
use backup_proto::status::Conditions;
use backup_proto::target::Plan;
use serde::Serialize;
use serde_json::Value;

use crate::conditions::Readings;
use crate::context::Context;
use crate::supervisor::{self, State};

pub use looks::Looks;

/// Answers a call. It may take its time: the caller has a thread for it.
///
/// # Errors
/// What the client is to be told.
pub fn answer(context: &Arc<Context>, request: &Request) -> Result<Value, RpcError> {
    match request {
        Request::SnapshotList(params) => json(snapshot::list(params, context)),
        Request::SnapshotLs(params) => json(browse::ls(params, context)),
        Request::SnapshotFind(params) => json(find::find(params, context)),
        Request::SnapshotDiff(params) => json(browse::diff(params, context)),
        Request::SnapshotStats(params) => json(note::stats(params, context)),
        Request::SnapshotHold(params) => json(note::hold(params, context)),
        Request::TargetList(params) => json(Ok(target::list(params, context))),
        Request::TargetAdd(params) => json(target::add(params, context)),
        Request::TargetInit(params) => json(target::init(params, context)),
        Request::TargetAdopt(params) => json(target::adopt(&params.name, context)),
        Request::TargetCheckNow(params) => json(target::check(&params.name, context)),
        Request::KeyList(params) => json(key::list(params, context)),
        Request::KeyAdd(params) => json(key::add(params, context)),
        Request::KeyRemove(params) => json(key::remove(params, context)),
        Request::KeyChange(params) => json(key::change(params, context)),
        Request::PlanAdd(params) => json(plan::add(&params.plan, context)),
        Request::ConfigShow(_) => json(config::show(context)),
        Request::ConfigCheckNow(_) => json(Ok(config::check_now(context))),
        other => Err(not_asked_here(other.method().name)),
    }
}

/// Answers `plan.list`: the plans of the configuration, with what the owner of the jobs knows of them.
#[must_use]
pub fn plans(params: &PlanList, context: &Context, state: &State) -> Page<Plan> {
    plan::list(params, context, state)
}

/// Answers `conditions.get`: how the machine is now, and what that means. Also returns the readings.
#[must_use]
pub fn conditions(context: &Context, state: &State) -> (Conditions, Readings) {
    let now = context.clock.now().wall;
    let state = State { config: context.config(), ..state.clone() };
    let readings = context.probe.read(now);
    (supervisor::conditions(&state, readings.clone(), now), readings)
}

/// Writes the contents of a file in a snapshot to `out`, piece by piece.
///
/// # Errors
/// What the client is to be told; an error of `out` ends it as `cancelled`.
pub fn cat(
    context: &Arc<Context>,
    params: &SnapshotCat,
    out: &mut dyn FnMut(&[u8]) -> io::Result<()>,
) -> Result<(), RpcError> {
    browse::cat(params, context, out)
}

fn not_asked_here(method: &str) -> RpcError {
    let message = format!("`{method}` is not answered on a thread of its own");
    RpcError::new(ErrorKind::Internal, message, "Report it with the daemon's log.")
}

fn json<T: Serialize>(result: Result<T, RpcError>) -> Result<Value, RpcError> {
    serde_json::to_value(result?).map_err(|error| {
        let message = format!("the answer cannot be written as JSON: {error}");
        RpcError::new(ErrorKind::Internal, message, "Report it with the daemon's log.")
    })
}
