//! Looking at targets, snapshots, plans and the config, and the changes to them that touch no job.
//!
//! These calls open repositories and files, which may take as long as a drive takes to spin up. They are answered on
//! threads that may wait, never by the owner of the jobs nor by the thread that serves the socket.

mod config;
mod plan;
mod snapshot;
mod target;

use backup_proto::error::{ErrorKind, RpcError};
use backup_proto::job::JobId;
use backup_proto::message::Request;
use backup_proto::page::PageRequest;
use backup_proto::status::{Condition, Conditions};
use serde::Serialize;
use serde_json::Value;

use crate::context::Context;
use crate::worker::ledger::{self, List};

/// Answers a call, if it is one of those that are answered here.
///
/// After a change of the config (`target.add`, `plan.add`) the loop is to be told with
/// [`Event::Configured`](crate::inbox::Event::Configured).
#[must_use]
pub fn answer(request: &Request, context: &Context) -> Option<Result<Value, RpcError>> {
    Some(match request {
        Request::SnapshotList(params) => json(snapshot::list(params, context)),
        Request::TargetList(params) => json(Ok(target::list(params, context))),
        Request::TargetAdd(params) => json(target::add(params, context)),
        Request::TargetInit(params) => json(target::init(&params.name, context)),
        Request::TargetAdopt(params) => json(target::adopt(&params.name, context)),
        Request::TargetCheckNow(params) => json(target::check(&params.name, context)),
        Request::PlanList(params) => json(plan::list(params, context)),
        Request::PlanAdd(params) => json(plan::add(&params.plan, context)),
        Request::ConditionsGet(_) => json(Ok(conditions())),
        Request::ConfigShow(_) => json(config::show(context)),
        Request::ConfigCheckNow(_) => json(Ok(config::check_now(context))),
        _ => return None,
    })
}

/// Returns a page of one of a job's long lists. `job` is its whole id.
///
/// # Errors
/// A position that is none, or a list that cannot be read.
pub fn job_list(job: &JobId, list: List, page: &PageRequest, context: &Context) -> Result<Value, RpcError> {
    let path = ledger::path(context.targets.state(), job, list);
    match list {
        List::Failures => json(ledger::read_page::<backup_proto::job::FailedItem>(&path, page)),
        List::Planned => json(ledger::read_page::<backup_proto::job::PlannedItem>(&path, page)),
    }
}

fn json<T: Serialize>(result: Result<T, RpcError>) -> Result<Value, RpcError> {
    serde_json::to_value(result?).map_err(|error| {
        let message = format!("the answer cannot be written as JSON: {error}");
        RpcError::new(ErrorKind::Internal, message, "Report it with the daemon's log.")
    })
}

/// This version reads no condition of the machine, and says so.
fn conditions() -> Conditions {
    let names = ["power", "network", "load", "idle", "presence"];
    let unknown = |name: &str| Condition {
        name: name.to_owned(),
        reading: "unknown".to_owned(),
        policy: "none: jobs run whatever it is".to_owned(),
        allows: true,
    };
    Conditions { conditions: names.map(unknown).to_vec(), verdict: None }
}
