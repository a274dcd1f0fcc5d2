//! How long to wait before a job is tried again: longer each time, and not the same for all.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use backup_proto::error::Class;
use backup_proto::job::JobError;

use crate::job::Job;

/// The wait after the first failure; each further one doubles it. A network that changes over is back by then.
const FIRST: Duration = Duration::from_secs(15);

/// The longest wait, without jitter: a drive that is plugged in again is noticed within the hour or two.
const LONGEST: Duration = Duration::from_secs(3600);

/// The longest time that a target may ask for.
const ASKED_MAX: Duration = Duration::from_secs(24 * 3600);

/// Failures in a row after which a job is given up: with these waits after about one to two days, so that neither a
/// night without a network nor a drive that somebody plugs in again the next morning ends a job.
pub const FAILURES_MAX: u32 = 32;

/// Says whether a job whose error waiting does not mend is parked, and does not end.
///
/// Whoever named paths on the command line learns at once what is wrong. A plan's backup has nobody who waits for it; it
/// stays, with its reason for everybody to see, until the plan is due again or somebody has mended it. One that was asked
/// for by hand stays where only room is lacking: what it has stored is of use then.
#[must_use]
pub fn parks(job: &Job, error: &JobError) -> bool {
    use Class::{Auth, Damaged, Full, Permission, Quota};
    let is_lasting = match error.data.class {
        Quota | Full => true,
        Auth | Permission | Damaged => !job.by_hand,
        _ => false,
    };
    job.plan.is_some() && job.spec.stores_a_snapshot() && is_lasting && !error.data.retryable
}

/// Returns how long a job waits after its latest failure, the first of which is number 1; `None` when it is given up.
/// It is no less than what the target has asked for.
///
/// The jitter adds up to the wait itself, and comes from the job's id: jobs that failed together are not tried
/// together, and a test or a restart computes the same wait again.
#[must_use]
pub fn wait(job: &Job, error: &JobError) -> Option<Duration> {
    let seed = u64::from(crc32fast::hash(job.id.as_str().as_bytes()));
    let waits = ExponentialBuilder::new()
        .with_min_delay(FIRST)
        .with_max_delay(LONGEST)
        .with_factor(2.0)
        .with_max_times(usize::try_from(FAILURES_MAX - 1).unwrap_or(usize::MAX))
        .with_jitter()
        .with_jitter_seed(seed);
    let number = usize::try_from(job.failures.checked_sub(1)?).ok()?;
    let asked = error.data.retry_after_seconds.map(Duration::from_secs).unwrap_or_default().min(ASKED_MAX);
    waits.build().nth(number).map(|wait| wait.max(asked))
}
