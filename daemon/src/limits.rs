//! How fast bytes may go to targets and come from them: the rates in force, and the threads that wait for their turn.
//!
//! What the rates are is decided by the supervisor; here they are held to. A step of a transfer passes when every
//! limit that it falls under lets it: the one on everything, its target's and its job's. They are asked and paid
//! together under one lock, so that nothing is paid by whoever then waits for another one. A limit that is changed
//! counts for the next step, with what is owed or kept.

mod bucket;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use backup_engine::storage::{Pace, Way};
use backup_proto::job::JobId;
use backup_proto::limit::{Direction, LimitScope};

pub use bucket::Bucket;

use crate::clock::Clock;

/// The rates in force: bytes per second by direction and scope.
pub type Rates = BTreeMap<(Direction, LimitScope), u64>;

/// A thread is not woken sooner than this: what it misses it makes up for.
const WAIT_MIN: Duration = Duration::from_millis(5);

/// A thread looks again after this time, because the rate may have changed.
const WAIT_MAX: Duration = Duration::from_millis(100);

/// All limits of the daemon.
pub struct Limits {
    clock: Arc<dyn Clock>,
    up: Lane,
    down: Lane,
}

/// The limits of one direction.
#[derive(Default)]
struct Lane {
    /// Whether there is any limit: without one nothing is looked up.
    is_limited: AtomicBool,
    /// Bytes that have passed.
    passed: AtomicU64,
    buckets: Mutex<BTreeMap<LimitScope, Bucket>>,
}

impl Limits {
    /// Makes limits with no rate.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, up: Lane::default(), down: Lane::default() }
    }

    /// Sets the rates, also for transfers that are under way.
    pub fn apply(&self, rates: &Rates) {
        let now = self.clock.now().boot;
        for direction in Direction::ALL {
            let wanted = rates.iter().filter(|((of, _), _)| *of == direction).map(|((_, scope), rate)| (scope, *rate));
            self.lane(direction).apply(&wanted.collect(), now);
        }
    }

    /// Returns how many bytes have passed since the daemon started.
    #[must_use]
    pub fn passed(&self, direction: Direction) -> u64 {
        self.lane(direction).passed.load(Ordering::Relaxed)
    }

    /// Returns the pace of one target, for a job or for a question.
    #[must_use]
    pub fn pace(self: &Arc<Self>, target: &str, job: Option<&JobId>) -> Arc<dyn Pace> {
        let job = job.map(|job| LimitScope::Job(job.clone()));
        let scopes = [LimitScope::Everything, LimitScope::Target(target.to_owned())].into_iter().chain(job);
        Arc::new(TargetPace { limits: Arc::clone(self), scopes: scopes.collect() })
    }

    fn lane(&self, direction: Direction) -> &Lane {
        match direction {
            Direction::Upload => &self.up,
            Direction::Download => &self.down,
        }
    }
}

impl Lane {
    fn apply(&self, wanted: &BTreeMap<&LimitScope, u64>, now: Duration) {
        let mut buckets = self.lock();
        buckets.retain(|scope, _| wanted.contains_key(scope));
        for (scope, rate) in wanted {
            match buckets.get_mut(scope) {
                Some(bucket) => bucket.set_rate(*rate, now),
                None => {
                    buckets.insert((*scope).clone(), Bucket::new(*rate, now));
                }
            }
        }
        self.is_limited.store(!buckets.is_empty(), Ordering::Relaxed);
    }

    fn is_limited(&self) -> bool {
        self.is_limited.load(Ordering::Relaxed)
    }

    fn count(&self, bytes: usize) {
        self.passed.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<LimitScope, Bucket>> {
        // Each account is one number: a panic elsewhere leaves a step paid or not.
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The pace of whatever goes to one target, or comes from it, for one job.
struct TargetPace {
    limits: Arc<Limits>,
    /// From the widest to the narrowest.
    scopes: Vec<LimitScope>,
}

impl TargetPace {
    fn lane(&self, way: Way) -> &Lane {
        self.limits.lane(match way {
            Way::Up => Direction::Upload,
            Way::Down => Direction::Download,
        })
    }
}

impl Pace for TargetPace {
    fn step(&self, way: Way) -> Option<usize> {
        let lane = self.lane(way);
        if !lane.is_limited() {
            return None;
        }
        let buckets = lane.lock();
        self.scopes.iter().filter_map(|scope| buckets.get(scope)).map(Bucket::step).min()
    }

    fn take(&self, way: Way, bytes: usize) -> Result<(), Duration> {
        let lane = self.lane(way);
        if lane.is_limited() {
            let now = self.limits.clock.now().boot;
            let mut buckets = lane.lock();
            let waits = self.scopes.iter().filter_map(|scope| buckets.get_mut(scope)?.wait(now));
            if let Some(wait) = waits.max() {
                return Err(wait.clamp(WAIT_MIN, WAIT_MAX));
            }
            pay(&mut buckets, &self.scopes, bytes);
        }
        lane.count(bytes);
        Ok(())
    }

    fn charge(&self, way: Way, bytes: usize) {
        let lane = self.lane(way);
        if lane.is_limited() {
            pay(&mut lane.lock(), &self.scopes, bytes);
        }
        lane.count(bytes);
    }
}

fn pay(buckets: &mut BTreeMap<LimitScope, Bucket>, scopes: &[LimitScope], bytes: usize) {
    for scope in scopes {
        if let Some(bucket) = buckets.get_mut(scope) {
            bucket.pay(bytes);
        }
    }
}

#[cfg(test)]
mod tests;
