//! What of the events is written into the daemon's log.

use backup_proto::event::EventBody;

/// Writes how a job has ended, and that a plan has no success or has one again.
pub(super) fn log(body: &EventBody) {
    match body {
        EventBody::State(event) if event.state.is_final() => {
            let error = event.error.as_ref().map(|error| error.message.as_str());
            tracing::info!(job = %event.job, state = event.state.as_str(), error, "job ended");
        }
        EventBody::Plan(event) => {
            let last = event.last_success.map(|time| time.to_string());
            match event.is_stale {
                true => tracing::warn!(plan = event.plan, target = event.target, last, "no success for too long"),
                false => tracing::info!(plan = event.plan, target = event.target, last, "success again"),
            }
        }
        _ => {}
    }
}
