//! How long to wait before a job is tried again: longer each time, and not the same for all.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use backup_proto::error::Class;
use backup_proto::job::JobError;

use crate::job::Job;

/// The wait after the first failure; each further one doubles it. A network that changes over is back by then.
const FIRST: Duration = Duration::from_secs(15);

/// The longest wait, without jitter: a drive that is plugged in again, or room that was made, is noticed within the
/// hour or two.
const LONGEST: Duration = Duration::from_secs(3600);

/// The longest time that a target may ask for.
const ASKED_MAX: Duration = Duration::from_secs(24 * 3600);

/// Failures in a row after which a job is given up: with these waits after about one to two days, so that neither a
/// night without a network nor a disk that somebody clears out the next morning ends a job.
pub const FAILURES_MAX: u32 = 32;

/// Says whether what failed may go away without anybody touching the job: a network comes back, room is made.
///
/// Whoever typed a backup to a full target learns it at once and can make room; a plan's job has nobody who waits for
/// it, and goes on when there is room.
#[must_use]
pub fn may_go_away(job: &Job, error: &JobError) -> bool {
    let is_full = matches!(error.data.class, Class::Full | Class::Quota);
    error.data.retryable || (is_full && job.plan.is_some())
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
