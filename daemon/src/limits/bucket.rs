//! One limit, exactly: an account that is filled at a rate, from which each step is paid when it passes.
//!
//! A step passes when nothing is owed, and may leave a debt of less than itself. What was not used is kept up to a
//! small sum, so that a thread that is woken late makes up for it. In any second no more can pass than the rate, that
//! sum and one step.

use std::time::Duration;

use backup_engine::limits::WRITE_STEP;

/// Nanoseconds in a second: the account is in bytes times nanoseconds, so that no rate is rounded.
const SECOND: i128 = 1_000_000_000;

/// What may be kept at any rate, in bytes. With one step it stays below the 64 KiB that may pass beyond the rate.
const KEPT: u64 = 32 * 1024;

/// The part of a second's bytes that may be kept besides: one twentieth, which makes up for 50 ms.
const KEPT_PART: u64 = 20;

/// The part of a second's bytes that a step may have: one fortieth, for rates at which small steps cost too much.
const STEP_PART: u64 = 40;

/// Longer times count as this one, so that no product is too large.
const ELAPSED_MAX: Duration = Duration::from_secs(3600);

/// One limit.
#[derive(Clone, Debug)]
pub struct Bucket {
    /// Bytes per second.
    rate: u64,
    /// Bytes times nanoseconds; below zero when something is owed.
    account: i128,
    /// When the account was filled last, in boot time.
    filled: Duration,
}

impl Bucket {
    /// Makes a limit that keeps nothing and owes nothing.
    #[must_use]
    pub fn new(bytes_per_second: u64, now: Duration) -> Self {
        Self { rate: bytes_per_second.max(1), account: 0, filled: now }
    }

    /// Returns the bytes per second.
    #[must_use]
    pub fn rate(&self) -> u64 {
        self.rate
    }

    /// Changes the rate. What is owed stays owed, and what is kept is cut to what may be kept: there is no burst.
    pub fn set_rate(&mut self, bytes_per_second: u64, now: Duration) {
        self.fill(now);
        self.rate = bytes_per_second.max(1);
        self.account = self.account.min(self.kept_max());
    }

    /// Returns how long to wait until a step may pass; `None` when it may.
    #[must_use]
    pub fn wait(&mut self, now: Duration) -> Option<Duration> {
        self.fill(now);
        if self.account >= 0 {
            return None;
        }
        let nanos = (-self.account).unsigned_abs().div_ceil(u128::from(self.rate));
        Some(Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)))
    }

    /// Pays for bytes that pass.
    pub fn pay(&mut self, bytes: usize) {
        let bytes = i128::try_from(bytes).unwrap_or(i128::MAX);
        self.account = self.account.saturating_sub(bytes.saturating_mul(SECOND));
    }

    /// Returns the largest step, in bytes.
    #[must_use]
    pub fn step(&self) -> usize {
        usize::try_from(self.rate / STEP_PART).unwrap_or(usize::MAX).max(WRITE_STEP)
    }

    fn kept_max(&self) -> i128 {
        i128::from(KEPT + self.rate / KEPT_PART) * SECOND
    }

    fn fill(&mut self, now: Duration) {
        let elapsed = now.saturating_sub(self.filled).min(ELAPSED_MAX);
        self.filled = self.filled.max(now);
        let nanos = i128::try_from(elapsed.as_nanos()).unwrap_or(i128::MAX);
        self.account = self.account.saturating_add(nanos * i128::from(self.rate)).min(self.kept_max());
    }
}
