//! Owns the time the task is told. The task never reads a clock; whoever calls it says what time it is.

use std::time::Duration;

/// Milliseconds on a monotonic clock with an arbitrary zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Tick(pub u64);

impl Tick {
    /// The tick `wait` later.
    #[must_use]
    pub fn after(self, wait: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)))
    }

    /// Time since `earlier`; zero when that lies ahead.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

/// The time of one call: monotonic for waiting, wall clock for naming.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Monotonic time: all rotation and backoff.
    pub tick: Tick,
    /// Wall clock, milliseconds since the epoch: only `time: wallclock` partitions.
    pub wall_ms: i64,
}
