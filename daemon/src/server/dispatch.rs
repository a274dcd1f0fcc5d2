//! Which part of the daemon answers a call: the published picture, the loop, the ledger, or a query on a thread.

use std::sync::Arc;

use backup_proto::error::{ErrorKind, RpcError};
use backup_proto::job::{FailedItem, JobId, PlannedItem};
use backup_proto::limit::{Direction, LimitList};
use backup_proto::message::Request;
use backup_proto::page::PageRequest;
use backup_proto::schema::openrpc;
use backup_proto::status::Status;
use serde::Serialize;
use serde_json::Value;

use super::{Server, rights};
use crate::inbox::{Caller, Event};
use crate::ledger::Entry;
use crate::run::Published;
use crate::supervisor::State;
use crate::{query, supervisor};

/// Says whether a call is answered at once or soon, so that the calls of a connection keep their order.
pub(super) fn is_quick(request: &Request) -> bool {
    matches!(
        request,
        Request::RpcDiscover(_)
            | Request::DaemonStatus(_)
            | Request::DaemonPause(_)
            | Request::DaemonResume(_)
            | Request::JobSubmit(_)
            | Request::JobGet(_)
            | Request::JobList(_)
            | Request::JobWhy(_)
            | Request::JobPause(_)
            | Request::JobResume(_)
            | Request::JobCancel(_)
            | Request::JobRetry(_)
            | Request::JobSetPriority(_)
            | Request::LimitSet(_)
            | Request::TargetBreaker(_)
            | Request::LimitGet(_)
            | Request::SnapshotCat(_)
    )
}

/// Answers a call.
pub(super) async fn answer(server: &Arc<Server>, caller: Caller, request: Request) -> Result<Value, RpcError> {
    let method = request.method();
    rights::check(caller, server, method)?;
    if method.is_change {
        tracing::info!(uid = caller.uid, pid = caller.pid, method = method.name, "asked for a change");
    }
    let state = || Arc::clone(&server.published.borrow().state);
    match &request {
        Request::RpcDiscover(_) => Ok(openrpc()),
        Request::DaemonStatus(_) => to_value(&status(server)),
        Request::JobGet(params) => to_value(&supervisor::job_detail(&state(), &params.job)?),
        Request::JobList(params) => to_value(&supervisor::job_list(&state(), params)),
        Request::JobWhy(params) => {
            let now = server.context.clock.now();
            to_value(&supervisor::job_reasons(&state(), &params.job, now.wall)?)
        }
        Request::LimitGet(_) => to_value(&limits(server, &state())),
        Request::SnapshotCat(params) => {
            to_value(&server.shared.tokens.give(caller, params.clone(), server.context.clock.now())?)
        }
        Request::JobFailures(params) => page::<FailedItem>(server, &params.job, params.page.clone()).await,
        Request::JobPlanned(params) => page::<PlannedItem>(server, &params.job, params.page.clone()).await,
        Request::PlanList(params) => {
            let (params, context, state) = (params.clone(), Arc::clone(&server.context), state());
            on_thread(server, move || to_value(&query::plans(&params, &context, &state))).await
        }
        Request::ConditionsGet(_) => conditions(server).await,
        Request::JobSubmit(_) => {
            configure(server).await;
            server.desk.ask(&server.inbox, caller, request).await
        }
        changed if method.is_change && is_quick(changed) => server.desk.ask(&server.inbox, caller, request).await,
        _ => query(server, caller, request).await,
    }
}

/// Makes the picture of the daemon as it is now.
pub(super) fn status(server: &Server) -> Status {
    let Published { state, cursor } = server.published.borrow().clone();
    let mut status = supervisor::status(&state, &server.about, cursor);
    status.targets = server.context.targets.overview();
    status.notices.extend(state.config.notices.iter().cloned());
    // Who edited the config and looks here should not believe that the edit is in force.
    if let Err(error) = server.context.config_file().current() {
        status.notices.push(format!("The config has a mistake; the one before stays in force. {error}"));
    }
    status
}

/// Says which limits of speed are in force, and how much has passed.
fn limits(server: &Server, state: &State) -> LimitList {
    let (config, now) = (server.context.config(), server.context.clock.now().wall);
    let passed = |direction| Some(server.context.targets.limits().passed(direction));
    let (uploaded, downloaded) = (passed(Direction::Upload), passed(Direction::Download));
    LimitList { uploaded, downloaded, ..supervisor::limit_list(state, &config, now) }
}

/// Looks at the machine, and lets jobs be judged by what somebody is shown.
async fn conditions(server: &Arc<Server>) -> Result<Value, RpcError> {
    let (context, state) = (Arc::clone(&server.context), Arc::clone(&server.published.borrow().state));
    let (answer, readings) = on_thread(server, move || {
        let (conditions, readings) = query::conditions(&context, &state);
        Ok((to_value(&conditions)?, readings))
    })
    .await?;
    server.inbox.post(Event::Readings(Box::new(readings))).await;
    Ok(answer)
}

/// Lets the loop know of a configuration that somebody has edited.
async fn configure(server: &Server) {
    let config = server.context.config();
    if *config != *server.published.borrow().state.config {
        server.inbox.post(Event::Configured(config)).await;
    }
}

/// Answers on a thread; a change is remembered like one of the loop's.
async fn query(server: &Arc<Server>, caller: Caller, request: Request) -> Result<Value, RpcError> {
    let Some(id) = request.request_id().cloned() else { return ask(server, request).await };
    let Some(_changing) = server.shared.begin_change(&id) else {
        let message = "a change with this `request_id` is being made";
        return Err(RpcError::new(ErrorKind::Busy, message, "Ask again with the same one for the answer."));
    };
    let known = server.published.borrow().state.remembered(caller, &request);
    if let Some(answer) = known {
        return answer;
    }
    let answer = ask(server, request.clone()).await?;
    configure(server).await;
    server.desk.remember(&server.inbox, caller, request, answer).await
}

async fn ask(server: &Arc<Server>, request: Request) -> Result<Value, RpcError> {
    let context = Arc::clone(&server.context);
    on_thread(server, move || query::answer(&context, &request)).await
}

async fn page<T: Entry + Send + 'static>(
    server: &Arc<Server>,
    wanted: &JobId,
    request: PageRequest,
) -> Result<Value, RpcError> {
    let state = Arc::clone(&server.published.borrow().state);
    let job = Arc::clone(supervisor::find_job(&state, wanted)?);
    let context = Arc::clone(&server.context);
    on_thread(server, move || {
        let page = context.ledger.page::<T>(&job.id, job.attempt_count(), &request);
        to_value(&page.map_err(|error| RpcError::new(ErrorKind::Storage, error.to_string(), error.advice()))?)
    })
    .await
}

/// Does something that may take its time on one of the threads there are for that.
async fn on_thread<T: Send + 'static>(
    server: &Server,
    work: impl FnOnce() -> Result<T, RpcError> + Send + 'static,
) -> Result<T, RpcError> {
    let _permit = server.shared.queries.acquire().await;
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
        tracing::error!(%error, "a question was not answered");
        let message = "the daemon made a mistake while it looked";
        Err(RpcError::new(ErrorKind::Internal, message, "Report it with the daemon's log."))
    })
}

pub(super) fn to_value<T: Serialize>(answer: &T) -> Result<Value, RpcError> {
    serde_json::to_value(answer)
        .map_err(|error| RpcError::new(ErrorKind::Internal, error.to_string(), "Report this mistake of the daemon."))
}
