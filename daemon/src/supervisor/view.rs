//! What clients see of the state; every answer here comes from a published picture and never asks the loop.

use std::sync::Arc;

use backup_proto::error::{ErrorKind, RpcError};
use backup_proto::event::Cursor;
use backup_proto::job::{Job as JobView, JobDetail, JobId, JobState, Verdict, VerdictKind};
use backup_proto::page::{Page, PageBuilder};
use backup_proto::params::{JobList, JobReasons};
use backup_proto::path::WirePath;
use backup_proto::status::{JobCounts, PlanState, STATUS_JOBS_MAX, STATUS_PLANS_MAX, STATUS_RECENT_MAX, Status};
use jiff::Timestamp;

use super::{State, breakers, held, notice, plans, stale, verdict};
use crate::job::Job;
use crate::queue::rank;
use crate::{conditions, schedule};

/// Who this daemon is: what a status says beside the jobs.
#[derive(Clone, Debug)]
pub struct About {
    /// The daemon's version.
    pub version: String,
    /// Changes with each start.
    pub instance_id: String,
    /// Its process.
    pub pid: u32,
    /// The user it runs as.
    pub uid: u32,
    /// When it started.
    pub started: Timestamp,
    /// Its socket.
    pub socket: WirePath,
    /// Its state folder.
    pub state_dir: WirePath,
    /// Its configuration file.
    pub config: WirePath,
}

impl State {
    /// Returns a job as lists show it.
    pub(super) fn view(&self, job: &Job) -> JobView {
        let progress = self.live.get(&job.id).and_then(|live| live.progress.clone());
        job.view(self.shown_verdict(job), progress)
    }

    /// Returns why a job waits, if it does.
    pub(super) fn shown_verdict(&self, job: &Job) -> Option<Verdict> {
        let waits = matches!(job.state, JobState::Queued | JobState::Paused);
        self.verdicts.get(&job.id).filter(|_| waits).cloned()
    }
}

/// Finds a job by its id or a unique prefix of it.
///
/// # Errors
/// `job_not_found` or `ambiguous_id`.
pub fn find_job<'s>(state: &'s State, wanted: &JobId) -> Result<&'s Arc<Job>, RpcError> {
    if let Some(job) = state.job(wanted) {
        return Ok(job);
    }
    let prefix = wanted.as_str().to_ascii_lowercase();
    let mut found = state.active.values().chain(state.ended.values()).filter(|job| job.id.matches(&prefix));
    let Some(job) = found.next() else {
        let message = format!("there is no job `{wanted}`");
        return Err(RpcError::new(ErrorKind::JobNotFound, message, "`backupctl jobs --all` lists the jobs."));
    };
    if found.next().is_some() {
        let message = format!("several jobs begin with `{wanted}`");
        return Err(RpcError::new(ErrorKind::AmbiguousId, message, "Give more letters of the id."));
    }
    Ok(job)
}

/// Answers `job.get`.
///
/// # Errors
/// As [`find_job`].
pub fn job_detail(state: &State, wanted: &JobId) -> Result<JobDetail, RpcError> {
    let job = find_job(state, wanted)?;
    Ok(job.detail(state.view(job)))
}

/// Answers `job.list`: newest first.
#[must_use]
pub fn job_list(state: &State, params: &JobList) -> Page<JobView> {
    let mut page = PageBuilder::new(&params.page);
    let ended = state.ended.values().filter(|_| params.all || params.states.iter().any(|state| state.is_final()));
    let mut jobs: Vec<&Arc<Job>> = state
        .active
        .values()
        .chain(ended)
        .filter(|job| params.states.is_empty() || params.states.contains(&job.state))
        .filter(|job| params.page.after.as_ref().is_none_or(|after| job.id.as_str() < after.as_str()))
        .collect();
    jobs.sort_unstable_by(|a, b| b.id.cmp(&a.id));
    for job in jobs {
        if !page.push(job.id.as_str(), state.view(job)) {
            break;
        }
    }
    page.finish()
}

/// Answers `job.why`: what each decider says, in the order they are asked.
///
/// # Errors
/// As [`find_job`].
pub fn job_reasons(state: &State, wanted: &JobId, now: Timestamp) -> Result<JobReasons, RpcError> {
    let job = find_job(state, wanted)?;
    let mut verdicts = Vec::new();
    if !job.state.is_final() {
        let ready = |what: &str| verdict(VerdictKind::Ready, what.to_owned(), None);
        verdicts.push(schedule::decide(job, now).unwrap_or_else(|| ready("It is due.")));
        // What the queue said was decided among all jobs, and is kept.
        let queue =
            state.shown_verdict(job).filter(|verdict| verdict.kind == VerdictKind::Queue || job.paused.is_some());
        verdicts.push(queue.unwrap_or_else(|| ready("It is next.")));
        let conditions = conditions::decide(state.paused.as_ref(), state.shortage.as_ref(), now);
        let conditions = conditions.or_else(|| {
            // The one that is kept knows since when.
            let known = || state.shown_verdict(job).filter(|verdict| verdict.condition.is_some());
            held::decide(state, job, now).map(|no| known().unwrap_or(no))
        });
        verdicts.push(conditions.unwrap_or_else(|| ready("Nothing speaks against running jobs now.")));
        let breaker = breakers::decide(state, job, now);
        verdicts.push(breaker.unwrap_or_else(|| ready("Nothing is known against its target.")));
    }
    Ok(JobReasons { job: state.view(job), verdicts })
}

/// Makes the picture of the whole daemon; the caller adds the targets.
#[must_use]
pub fn status(state: &State, about: &About, cursor: Cursor) -> Status {
    let mut jobs: Vec<&Arc<Job>> = state.active.values().collect();
    jobs.sort_unstable_by_key(|job| {
        (job.state != JobState::Running, rank(job, state.live.contains_key(&job.id), state.decided))
    });
    let count = |wanted: JobState| jobs.iter().filter(|job| job.state == wanted).count() as u64;
    let counts = JobCounts {
        queued: count(JobState::Queued),
        running: count(JobState::Running),
        paused: count(JobState::Paused),
    };
    let mut recent: Vec<&Arc<Job>> = state.ended.values().collect();
    recent.sort_unstable_by(|a, b| (b.ended, &b.id).cmp(&(a.ended, &a.id)));
    Status {
        version: about.version.clone(),
        instance_id: about.instance_id.clone(),
        pid: about.pid,
        uid: about.uid,
        started: about.started,
        socket: about.socket.clone(),
        state_dir: about.state_dir.clone(),
        config: about.config.clone(),
        paused: state.paused.clone(),
        limits: state.in_force.to_vec(),
        counts,
        jobs: jobs.into_iter().take(STATUS_JOBS_MAX).map(|job| state.view(job)).collect(),
        recent: recent.into_iter().take(STATUS_RECENT_MAX).map(|job| state.view(job)).collect(),
        targets: Vec::new(),
        plans: state.config.plans.keys().take(STATUS_PLANS_MAX).map(|name| plan_state(state, name)).collect(),
        notices: state.shortage.iter().map(notice).chain(state.notices.iter().cloned()).collect(),
        cursor,
    }
}

fn plan_state(state: &State, name: &str) -> PlanState {
    PlanState {
        name: name.to_owned(),
        next_run: plans::next_run(state, &state.config, name, state.decided),
        last_success: state.successes.get(name).copied(),
        stale: stale::of_plan(state, name),
    }
}
