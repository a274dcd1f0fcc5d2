//! What the supervisor knows: jobs, which of them run, pauses, plans and the answers it has given.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use backup_proto::job::{JobId, Progress, Verdict};
use backup_proto::limit::Limit;
use backup_proto::status::Pause;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{HandLimit, Lived, Slowdown, Step, Upkeep, Watch};
use crate::conditions::Seen;
use crate::config::Config;
use crate::job::Job;
use crate::store::{Change, Shortage};
use crate::targets::Breakers;

/// Everything the daemon decides by. Cloning is cheap, so that a step whose changes cannot be stored is dropped and
/// the state before it is kept.
#[derive(Clone, Debug)]
pub struct State {
    /// The configuration in force.
    pub config: Arc<Config>,
    /// The zone of "daily 02:30".
    pub zone: TimeZone,
    /// What tells this machine from others: its name.
    pub machine: String,
    /// The daemon's own user.
    pub uid: u32,
    /// Jobs that have not ended.
    pub active: BTreeMap<JobId, Arc<Job>>,
    /// Jobs that have ended, the latest of them.
    pub ended: Arc<BTreeMap<JobId, Arc<Job>>>,
    /// Jobs that have a worker.
    pub live: BTreeMap<JobId, Live>,
    /// Why jobs that wait do so.
    pub verdicts: BTreeMap<JobId, Verdict>,
    /// The pause of the whole daemon.
    pub paused: Option<Pause>,
    /// The limits of speed that somebody has set.
    pub hand_limits: Vec<HandLimit>,
    /// The jobs that the conditions ask to go slowly.
    pub slowed: BTreeMap<JobId, Slowdown>,
    /// The limits of speed that are in force.
    pub in_force: Arc<Vec<Limit>>,
    /// What is known of the machine.
    pub seen: Arc<Seen>,
    /// The breakers of targets that have failed.
    pub breakers: Arc<Breakers>,
    /// The number the newest job's id was made from.
    pub last_number: u64,
    /// When each plan was last due.
    pub plans: BTreeMap<String, Timestamp>,
    /// When a job of each plan last left a usable snapshot; under `PLAN/TARGET`, on that target.
    pub successes: BTreeMap<String, Timestamp>,
    /// What is watched for having no success, by `PLAN/TARGET`.
    pub watched: BTreeMap<String, Watch>,
    /// What is kept of each target so that it is checked and pruned by itself.
    pub upkeep: BTreeMap<String, Upkeep>,
    /// Changes that were made on request, by the request's id.
    pub requests: Answers,
    /// How long the daemon has lived.
    pub lived: Lived,
    /// When requests that are too old were last forgotten, in boot time.
    pub swept: Option<Duration>,
    /// What is wrong with the room on the disk that holds the state, if anything is: no job runs then.
    pub shortage: Option<Shortage>,
    /// Whether the daemon is to end.
    pub is_stopping: bool,
    /// When the deciders were last asked.
    pub decided: Timestamp,
    /// Sentences about the daemon that a person should read.
    pub notices: Vec<String>,
}

/// A worker at work.
#[derive(Clone, Debug)]
pub struct Live {
    /// The attempt it works on.
    pub attempt: u32,
    /// What it was told last.
    pub wish: Wish,
    /// How far it is.
    pub progress: Option<Progress>,
}

/// What a worker was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Go on.
    Run,
    /// Wait, since this boot time.
    Pause(Duration),
    /// End at a checkpoint.
    Suspend,
    /// End for good.
    Cancel,
}

/// The answers that were given, by the request's id: many old ones that are shared between states, and a few new ones,
/// so that a state with tens of thousands of them is still cheap to clone and to add to.
#[derive(Clone, Debug, Default)]
pub struct Answers {
    old: Arc<BTreeMap<String, Arc<Remembered>>>,
    new: BTreeMap<String, Arc<Remembered>>,
}

impl Answers {
    /// New answers that are kept apart; then they join the old ones.
    const NEW_MAX: usize = 256;

    /// Returns the answer that was given to a request.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&Arc<Remembered>> {
        self.new.get(id).or_else(|| self.old.get(id))
    }

    /// Adds an answer.
    pub fn insert(&mut self, id: String, remembered: Remembered) {
        self.new.insert(id, Arc::new(remembered));
        if self.new.len() > Self::NEW_MAX {
            Arc::make_mut(&mut self.old).append(&mut self.new);
        }
    }

    /// Returns how many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.old.len() + self.new.len()
    }

    /// Returns the age of each, in no order.
    #[must_use]
    pub fn ages(&self) -> Vec<(u64, Timestamp)> {
        self.old.values().chain(self.new.values()).map(|remembered| remembered.age()).collect()
    }

    /// Removes the answers that are old enough, and returns their requests' ids.
    pub fn sweep(&mut self, is_old: impl Fn(&Remembered) -> bool) -> Vec<String> {
        let mut ids = Vec::new();
        if self.old.values().chain(self.new.values()).any(|remembered| is_old(remembered)) {
            let mut keep = |id: &String, remembered: &mut Arc<Remembered>| {
                let goes = is_old(remembered);
                if goes {
                    ids.push(id.clone());
                }
                !goes
            };
            Arc::make_mut(&mut self.old).retain(&mut keep);
            self.new.retain(&mut keep);
        }
        ids
    }
}

/// A change that was made on request, so that the same request again cannot make it twice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remembered {
    /// SHA-256 of method and parameters, in hex.
    pub hash: String,
    /// Who asked.
    pub uid: u32,
    /// When.
    pub at: Timestamp,
    /// How long the daemon had lived then, in seconds.
    #[serde(default)]
    pub lived_seconds: u64,
    /// What was answered.
    pub answer: Value,
}

impl Remembered {
    /// Returns what sorts answers by age: the time of life, and within a second of it the clock.
    #[must_use]
    pub fn age(&self) -> (u64, Timestamp) {
        (self.lived_seconds, self.at)
    }
}

/// What is stored about the daemon as a whole.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct DaemonRecord {
    pub(super) paused: Option<Pause>,
    pub(super) last_number: u64,
    pub(super) lived_seconds: u64,
}

/// Where a job is stored.
pub(super) const JOB: &str = "job/";
/// Where the daemon as a whole is stored.
pub(super) const DAEMON: &str = "daemon";
/// Where the limits are stored that somebody has set.
pub(super) const LIMITS: &str = "limits";
/// Where the breaker of a target is stored.
pub(super) const BREAKER: &str = "breaker/";
/// Where a plan's last due time is stored.
pub(super) const PLAN: &str = "plan/";
/// Where a plan's last success is stored.
pub(super) const SUCCESS: &str = "success/";
/// Where it is stored since when a plan is watched on a target.
pub(super) const WATCH: &str = "watch/";
/// Where it is stored when a target was checked and pruned.
pub(super) const UPKEEP: &str = "upkeep/";
/// Where an answered request is stored.
pub(super) const REQUEST: &str = "request/";

/// Jobs that have ended and are remembered; of older ones only their snapshots are left.
const ENDED_MAX: usize = 1_000;

impl State {
    /// Returns a job, ended or not.
    #[must_use]
    pub fn job(&self, id: &JobId) -> Option<&Arc<Job>> {
        self.active.get(id).or_else(|| self.ended.get(id))
    }

    /// Changes a job that has not ended, and stores it.
    pub(super) fn change_job(&mut self, step: &mut Step, id: &JobId, change: impl FnOnce(&mut Job)) {
        let Some(job) = self.active.get_mut(id) else { return };
        change(Arc::make_mut(job));
        step.changes.push(Change::set(format!("{JOB}{id}"), json(&**job)));
        if job.state.is_final() {
            self.move_to_ended(step, id);
        }
    }

    /// Adds a new job.
    pub(super) fn add_job(&mut self, step: &mut Step, job: Job) {
        step.changes.push(Change::set(format!("{JOB}{}", job.id), json(&job)));
        self.active.insert(job.id.clone(), Arc::new(job));
        self.store_daemon(step);
    }

    /// Takes an ended job back among those that have not ended.
    pub(super) fn revive(&mut self, id: &JobId) {
        if let Some(job) = Arc::make_mut(&mut self.ended).remove(id) {
            self.active.insert(id.clone(), job);
        }
    }

    fn move_to_ended(&mut self, step: &mut Step, id: &JobId) {
        let ended = Arc::make_mut(&mut self.ended);
        ended.extend(self.active.remove_entry(id));
        self.verdicts.remove(id);
        while ended.len() > ENDED_MAX {
            let Some((oldest, _)) = ended.pop_first() else { break };
            step.changes.push(Change::remove(format!("{JOB}{oldest}")));
            step.actions.push(super::Action::Forget(oldest));
        }
    }

    /// Stores what concerns the daemon as a whole.
    pub(super) fn store_daemon(&self, step: &mut Step) {
        let (paused, last_number) = (self.paused.clone(), self.last_number);
        let record = DaemonRecord { paused, last_number, lived_seconds: self.lived.seconds() };
        step.changes.push(Change::set(DAEMON, json(&record)));
    }

    /// Makes the id of a new job: eight letters that sort by age, from the second and a count within it.
    pub(super) fn new_id(&mut self, now: Timestamp) -> JobId {
        /// 2024-01-01, so that thirty bits of seconds last until 2058.
        const EPOCH: i64 = 1_704_067_200;
        const LETTERS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
        /// However far the clock is ahead, numbers for a billion further jobs are left.
        const CLOCK_MAX: u64 = (1 << 40) - (1 << 30);
        let seconds = u64::try_from(now.as_second() - EPOCH).unwrap_or(0).min(1 << 30);
        // A clock that went back must not make an id that sorts before, or equals, one that was given.
        self.last_number = (seconds << 10).min(CLOCK_MAX).max(self.last_number + 1);
        let letter =
            |place: u32| char::from(LETTERS[usize::try_from(self.last_number >> (5 * place) & 31).unwrap_or(0)]);
        JobId((0..8).rev().map(letter).collect())
    }
}

/// The stored form of a value.
pub(super) fn json<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).expect("the daemon's own records have text keys and no failing serializers")
}
