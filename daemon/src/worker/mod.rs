//! Workers: one plain thread for each job that runs.

mod again;
mod around;
mod attempt;
mod backup;
mod copy;
mod estimate;
pub mod find;
mod forget;
pub mod packs;
mod prune;
mod repair;
pub mod reporter;
mod restore;
mod verify;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use backup_engine::Gate;
use backup_proto::error::{Class, ErrorData, ErrorKind};
use backup_proto::job::JobError;

use crate::context::Context;
use crate::inbox::{Event, Inbox, News};
use crate::job::{Ended, Job};
use crate::memory;

/// Starts a thread that runs one attempt of a job. Whatever happens in it, the inbox gets exactly one
/// [`News::Finished`] as the last word.
pub fn spawn(job: Job, context: Arc<Context>, gate: Gate, inbox: Inbox) {
    let (id, attempt) = (job.id.clone(), job.attempt_count());
    let name = format!("job-{id}");
    let report = inbox.clone();
    let event = move |ended: Ended| Event::Worker { job: id, attempt, news: News::Finished(Box::new(ended)) };
    let failed = event.clone();
    let body = move || {
        context.size_memory();
        let ended = catch_unwind(AssertUnwindSafe(|| attempt::run(&job, &context, &gate, &inbox)))
            .unwrap_or_else(|_| Ended::failed(broken("the job stopped at a mistake in this program")));
        inbox.send(event(ended));
        memory::give_back();
    };
    if let Err(error) = std::thread::Builder::new().name(name).spawn(body) {
        // The inbox is filled from a thread of its own: the caller is the loop, which empties it.
        let ended = Ended::failed(broken(&format!("no thread could be started: {error}")));
        tokio::spawn(async move { report.post(failed(ended)).await });
    }
}

fn broken(message: &str) -> JobError {
    let advice = "Try again; if it happens again, report it with the daemon's log.".to_owned();
    let data = ErrorData {
        kind: ErrorKind::Internal,
        class: Class::Transient,
        retryable: false,
        advice,
        retry_after_seconds: None,
    };
    JobError { message: message.to_owned(), data }
}
