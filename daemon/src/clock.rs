//! The clock: the only place in the daemon that reads the time.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub use backup_engine::now::Now;
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Reads the time.
pub trait Clock: Send + Sync {
    /// Returns both clocks as they are now.
    fn now(&self) -> Now;

    /// Returns the zone in which "daily 02:30" is meant.
    fn time_zone(&self) -> TimeZone;
}

/// The clock of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
    fn now(&self) -> Now {
        Now { wall: Timestamp::now(), boot: boot_time() }
    }

    fn time_zone(&self) -> TimeZone {
        TimeZone::system()
    }
}

/// Time since the machine started, including the time it slept.
fn boot_time() -> Duration {
    // macOS has no CLOCK_BOOTTIME; its monotonic clock goes on while the machine sleeps.
    #[cfg(target_os = "linux")]
    let id = rustix::time::ClockId::Boottime;
    #[cfg(not(target_os = "linux"))]
    let id = rustix::time::ClockId::Monotonic;
    let time = rustix::time::clock_gettime(id);
    // Both clocks start at zero and count upwards, so neither part is ever negative or too large.
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// A clock that stands still until it is told to move: for tests.
#[derive(Debug)]
pub struct ManualClock {
    now: Mutex<Now>,
    zone: TimeZone,
}

impl ManualClock {
    /// Makes a clock that shows this time in a zone.
    #[must_use]
    pub fn new(wall: Timestamp, zone: TimeZone) -> Self {
        Self { now: Mutex::new(Now { wall, boot: Duration::from_secs(1_000) }), zone }
    }

    /// Moves both clocks forwards.
    pub fn advance(&self, by: Duration) {
        let mut now = self.lock();
        now.wall = now.wall.saturating_add(by).unwrap_or(now.wall);
        now.boot += by;
    }

    /// Sets the time of day alone, as somebody who corrects a clock does.
    pub fn set_wall(&self, wall: Timestamp) {
        self.lock().wall = wall;
    }

    fn lock(&self) -> MutexGuard<'_, Now> {
        // The guarded value is plain data: a panic elsewhere cannot leave it half changed.
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Now {
        *self.lock()
    }

    fn time_zone(&self) -> TimeZone {
        self.zone.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manual_clock_moves_only_when_told() {
        let clock = ManualClock::new(Timestamp::UNIX_EPOCH, TimeZone::UTC);
        let before = clock.now();
        assert_eq!(before, clock.now());
        clock.advance(Duration::from_secs(60));
        assert_eq!(clock.now().boot - before.boot, Duration::from_secs(60));
        clock.set_wall(Timestamp::UNIX_EPOCH);
        assert_eq!(clock.now().wall, Timestamp::UNIX_EPOCH);
        assert_eq!(clock.now().boot - before.boot, Duration::from_secs(60), "setting the clock leaves boot time alone");
    }

    #[test]
    fn the_boot_clock_of_the_machine_never_goes_back() {
        let first = SystemClock.now();
        assert!(SystemClock.now().boot >= first.boot);
    }
}
