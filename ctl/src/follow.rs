//! Submitting jobs and following them to their end: a bar for a person, plain lines for a log, events for a program.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use backup_proto::error::Exit;
use backup_proto::event::{Event, EventBody, StateEvent, Topic};
use backup_proto::job::{Job, JobDetail, JobId, JobState, JobSummary, Progress, SUMMARY_FAILED_MAX};
use backup_proto::local::Update;
use backup_proto::page::PageRequest;
use backup_proto::params::{JobFailures, JobGet, JobSubmit};
use jiff::Timestamp;
use serde_json::{Value, json};
use signal_hook::consts::SIGINT;
use signal_hook::iterator::Signals;

use crate::exit::{Failure, worse};
use crate::planned::show_planned;
use crate::render::{Bar, interrupted};
use crate::report::{empty_summary, notice_line, outcome};
use crate::session::Session;
use crate::text;

/// The jobs that somebody who presses Ctrl-C is told of.
pub(crate) type Watched = Arc<Mutex<Vec<JobId>>>;

/// Seconds between two lines of progress in a log.
const LOG_SECONDS: i64 = 10;

/// Submits jobs, prints their ids, and follows them to their end unless asked not to.
pub(crate) fn run(
    session: &mut Session,
    submits: &[JobSubmit],
    detach: bool,
    watched: &Watched,
) -> Result<Exit, Failure> {
    if detach {
        for submit in submits {
            for job in session.call(submit)?.jobs {
                announce(session, &job, submit, true)?;
            }
        }
        return Ok(Exit::Success);
    }
    // Subscribed first, so that nothing that happens to the jobs can be missed.
    let topics = vec![Topic::State, Topic::Progress, Topic::ItemError, Topic::Notice];
    let events = session.client.events(None, topics)?;
    // What was followed before has ended.
    watched.lock().unwrap_or_else(PoisonError::into_inner).clear();
    let mut follower = Follower { jobs: BTreeMap::new(), order: Vec::new(), bar: session.out.bar(), logged: None };
    for submit in submits {
        for job in session.call(submit)?.jobs {
            watched.lock().unwrap_or_else(PoisonError::into_inner).push(job.clone());
            announce(session, &job, submit, false)?;
            follower.order.push(job.clone());
            follower.jobs.insert(job, Followed::default());
        }
    }
    for update in events {
        if let Err(failure) = follower.take(session, update?) {
            follower.bar.clear();
            return Err(failure);
        }
        if follower.is_done() {
            break;
        }
    }
    follower.finish(session)
}

/// Prints a job's id before anything else about it.
fn announce(session: &Session, job: &JobId, submit: &JobSubmit, detach: bool) -> Result<(), Failure> {
    let kind = submit.spec.kind();
    if session.out.is_json() {
        session.out.json(&json!({ "type": "state", "job": job, "kind": kind, "state": JobState::Queued }))?;
    } else if detach {
        session.out.line(job.as_str())?;
    } else {
        session.out.line(&format!("Job {job} ({}) is in the queue; Ctrl-C leaves it running.", kind.as_str()))?;
    }
    Ok(())
}

/// Ends the command with exit code 130 on Ctrl-C; the jobs go on.
pub(crate) fn watch_interrupt() -> Result<Watched, Failure> {
    let jobs = Watched::default();
    let mut signals = Signals::new([SIGINT])?;
    let known = Arc::clone(&jobs);
    std::thread::spawn(move || {
        if signals.forever().next().is_some() {
            interrupted(&known.lock().unwrap_or_else(PoisonError::into_inner));
            std::process::exit(i32::from(Exit::Interrupted as u8));
        }
    });
    Ok(jobs)
}

/// What was said of a job so far.
#[derive(Debug, Default)]
struct Followed {
    state: Option<JobState>,
    reason: String,
    notices: Vec<String>,
    condition: Option<String>,
}

impl Followed {
    fn is_done(&self) -> bool {
        self.state.is_some_and(JobState::is_final)
    }

    /// Returns the line for a change of state or reason, if it is news to a person.
    fn news(&mut self, job: &JobId, event: &StateEvent) -> Option<String> {
        let reason = event.verdict.as_ref().map(|verdict| verdict.sentence.clone()).unwrap_or_default();
        let condition = event.verdict.as_ref().and_then(|verdict| verdict.condition.clone());
        // The numbers in the sentence of a condition change all the time.
        let is_same = condition.is_some() && self.condition == condition;
        self.condition = condition;
        // A job that waits to be tried again says what went wrong in its reason already.
        let trouble = event.error.as_ref().filter(|error| !reason.contains(&error.message));
        let trouble = trouble.map(|error| text::sentence(&error.message));
        let is_news = self.state != Some(event.state) || (self.reason != reason && !is_same);
        self.state = Some(event.state);
        self.reason = reason;
        if !is_news || event.state.is_final() {
            return None;
        }
        match (event.state, self.reason.is_empty(), trouble) {
            (JobState::Queued, true, None) => None,
            (state, true, None) => Some(format!("Job {job} is {}.", state.as_str())),
            (state, true, Some(trouble)) => Some(format!("Job {job} is {}: {trouble}", state.as_str())),
            (state, false, None) => Some(format!("Job {job} is {}: {}", state.as_str(), text::sentence(&self.reason))),
            (state, false, Some(trouble)) => {
                Some(format!("Job {job} is {}: {trouble} {}", state.as_str(), text::sentence(&self.reason)))
            }
        }
    }
}

struct Follower {
    jobs: BTreeMap<JobId, Followed>,
    /// The jobs in the order they were submitted.
    order: Vec<JobId>,
    bar: Bar,
    /// When progress was last written to a log.
    logged: Option<Timestamp>,
}

impl Follower {
    fn is_done(&self) -> bool {
        self.jobs.values().all(Followed::is_done)
    }

    fn take(&mut self, session: &mut Session, update: Update) -> Result<(), Failure> {
        match update {
            Update::Event(event) => self.take_event(session, &event),
            Update::State(_) => self.catch_up(session),
            Update::Lost => {
                self.say(session, "The daemon went away; the job is safe. Waiting up to 60 s for it to come back.")
            }
            Update::Back => self.say(session, "The daemon is back."),
        }
    }

    fn take_event(&mut self, session: &Session, event: &Event) -> Result<(), Failure> {
        let Some((job, followed)) = event.body.job().and_then(|job| self.jobs.get_mut(job).map(|known| (job, known)))
        else {
            return Ok(());
        };
        let news = match &event.body {
            EventBody::State(state) => followed.news(job, state),
            _ => None,
        };
        if session.out.is_json() {
            return Ok(session.out.json(&line_of(event)?)?);
        }
        match (&event.body, news) {
            (EventBody::Progress(progress), _) => self.show_progress(session, event.time, &progress.progress),
            (EventBody::Notice(notice), _) => {
                // Said at once, when something can still be done about it, and not again at the end.
                let line = notice_line(&notice.sentence);
                followed.notices.push(notice.sentence.clone());
                self.say(session, &line)
            }
            (_, Some(news)) => self.say(session, &news),
            _ => Ok(()),
        }
    }

    /// Asks for each job anew, after events may have been missed.
    fn catch_up(&mut self, session: &mut Session) -> Result<(), Failure> {
        for (id, followed) in self.jobs.iter_mut().filter(|(_, followed)| !followed.is_done()) {
            let job = session.call(&JobGet { job: id.clone() })?.job;
            followed.state = Some(job.state);
        }
        Ok(())
    }

    fn show_progress(&mut self, session: &Session, now: Timestamp, progress: &Progress) -> Result<(), Failure> {
        if session.out.is_live() {
            self.bar.show(progress);
        } else if self.logged.is_none_or(|last| now.as_second() - last.as_second() >= LOG_SECONDS) {
            self.logged = Some(now);
            session.out.line(&text::progress(progress))?;
        }
        Ok(())
    }

    fn say(&self, session: &Session, sentence: &str) -> Result<(), Failure> {
        if session.out.is_json() {
            return Ok(());
        }
        if session.out.is_live() {
            self.bar.say(sentence);
            return Ok(());
        }
        Ok(session.out.line(sentence)?)
    }

    /// Tells how each job ended; the summaries are the last lines.
    fn finish(self, session: &mut Session) -> Result<Exit, Failure> {
        self.bar.clear();
        let mut exit = Exit::Success;
        let mut summaries = Vec::new();
        for id in &self.order {
            let detail = session.call(&JobGet { job: id.clone() })?;
            let summary = whole_summary(session, &detail)?;
            let is_dry = show_planned(session, &detail)?;
            exit = worse(exit, Exit::of_state(summary.state));
            if session.out.is_json() {
                summaries.push(summary);
            } else if is_dry && summary.state == JobState::Succeeded {
                session.out.line("That was a dry run: nothing was changed.")?;
            } else {
                let said = self.jobs.get(id).map(|followed| &*followed.notices).unwrap_or_default();
                let unsaid: Vec<_> = detail.notices.into_iter().filter(|notice| !said.contains(notice)).collect();
                session.out.lines(outcome(&detail.job, &summary, &unsaid))?;
            }
        }
        for summary in &summaries {
            session.out.json(&summary_line(summary)?)?;
        }
        Ok(exit)
    }
}

/// Returns an event as `--json` prints it; the summary has a line of its own at the end.
fn line_of(event: &Event) -> Result<Value, Failure> {
    let mut value = serde_json::to_value(event).map_err(std::io::Error::other)?;
    if let Some(fields) = value.as_object_mut() {
        fields.remove("summary");
    }
    Ok(value)
}

fn summary_line(summary: &JobSummary) -> Result<Value, Failure> {
    let mut value = serde_json::to_value(summary).map_err(std::io::Error::other)?;
    value["type"] = "summary".into();
    Ok(value)
}

/// Returns a job's summary with as many failed items as it may have; the wire may have had room for fewer.
fn whole_summary(session: &mut Session, detail: &JobDetail) -> Result<JobSummary, Failure> {
    let Job { id, state, .. } = &detail.job;
    let mut summary = detail.summary.clone().unwrap_or_else(|| empty_summary(id, *state));
    let wanted = SUMMARY_FAILED_MAX.min(usize::try_from(summary.failed_count).unwrap_or(usize::MAX));
    let mut after = None;
    if summary.failed.len() < wanted {
        summary.failed.clear();
    }
    while summary.failed.len() < wanted {
        let limit = u32::try_from(wanted - summary.failed.len()).ok();
        let page = session.call(&JobFailures { job: id.clone(), page: PageRequest { limit, after } })?;
        summary.failed.extend(page.items);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    summary.failed.truncate(SUMMARY_FAILED_MAX);
    let listed = u64::try_from(summary.failed.len()).unwrap_or(u64::MAX);
    summary.failed_more = summary.failed_count > listed;
    Ok(summary)
}
