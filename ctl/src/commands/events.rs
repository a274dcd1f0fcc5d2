//! `events`: what happens, as it happens.

use backup_proto::error::Exit;
use backup_proto::event::{Cursor, Event, EventBody, PlanEvent};
use backup_proto::local::Update;
use backup_proto::status::Status;
use clap::Args;
use serde_json::json;

use crate::exit::Failure;
use crate::render::Output;
use crate::report::failed_item;
use crate::session::Session;
use crate::text;

/// Show events as they happen, until interrupted.
#[derive(Debug, Args)]
pub(crate) struct Events {
    /// Start after this cursor; every event carries one [default: from now on].
    #[arg(long, value_name = "CURSOR")]
    since: Option<u64>,
}

impl Events {
    pub(crate) fn run(&self, session: &mut Session) -> Result<Exit, Failure> {
        for update in session.client.events(self.since.map(Cursor), Vec::new())? {
            match update? {
                Update::State(status) => show_status(&session.out, &status)?,
                Update::Event(event) if session.out.is_json() => session.out.json(&event)?,
                Update::Event(event) => session.out.line(&line(&event, &session.out))?,
                Update::Lost => session.out.note("The daemon went away; waiting up to 60 s for it to come back."),
                Update::Back => session.out.note("The daemon is back."),
            }
        }
        Ok(Exit::Success)
    }
}

/// Shows the picture that stands before the events, and again when some may have been missed.
fn show_status(out: &Output, status: &Status) -> Result<(), Failure> {
    if out.is_json() {
        return Ok(out.json(&json!({ "type": "status", "cursor": status.cursor, "status": status }))?);
    }
    let counts = &status.counts;
    Ok(out.line(&format!(
        "{}: {} running, {} queued, {} paused",
        status.cursor, counts.running, counts.queued, counts.paused
    ))?)
}

fn stale(event: &PlanEvent, out: &Output) -> String {
    let PlanEvent { plan, target, is_stale, last_success } = event;
    match (is_stale, last_success) {
        (false, _) => format!("plan {plan} has saved to {target} again"),
        (true, Some(last)) => {
            format!("plan {plan} has saved NOTHING to {target} since {}", text::time(*last, out.zone()))
        }
        (true, None) => format!("plan {plan} has never saved anything to {target}"),
    }
}

fn line(event: &Event, out: &Output) -> String {
    let what = match &event.body {
        EventBody::State(state) => {
            let reason = state.verdict.as_ref().map(|verdict| format!(": {}", verdict.sentence)).unwrap_or_default();
            let error = state.error.as_ref().map(|error| format!(": {}", error.message)).unwrap_or_default();
            format!("{} {} is {}{error}{reason}", state.kind.as_str(), state.job, out.state(state.state))
        }
        EventBody::Progress(progress) => format!("job {}: {}", progress.job, text::progress(&progress.progress)),
        EventBody::ItemError(item) => format!("job {}: {}", item.job, failed_item(&item.item)),
        EventBody::Notice(notice) => notice.sentence.clone(),
        EventBody::Daemon(daemon) if daemon.stopping => "the daemon is stopping".to_owned(),
        EventBody::Daemon(daemon) if daemon.paused.is_some() => "the daemon is paused".to_owned(),
        EventBody::Daemon(_) => "the daemon is not paused".to_owned(),
        EventBody::Target(target) => {
            format!("target {} is {}", target.target.name, super::target::state_word(&target.target))
        }
        EventBody::Limits(event) if event.limits.is_empty() => "no limit of speed is in force".to_owned(),
        EventBody::Limits(event) => {
            let limits: Vec<String> = event.limits.iter().map(|limit| super::limit::line(limit, out)).collect();
            format!("limits of speed: {}", limits.join("; "))
        }
        EventBody::Plan(event) => stale(event, out),
        EventBody::Unknown => "something this version has no words for".to_owned(),
    };
    format!("{} {} {what}", event.cursor, text::time(event.time, out.zone()))
}
