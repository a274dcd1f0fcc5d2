//! The time, as the caller says it: the engine reads no clock.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

/// A moment on two clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// The time of day, which may be set forward and back.
    pub wall: Timestamp,
    /// Time since the machine was started, sleep included, which only grows.
    pub boot: Duration,
}

/// Tells the time.
pub type NowFn = Arc<dyn Fn() -> Now + Send + Sync>;
