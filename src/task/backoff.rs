//! Owns how long to wait before trying again. Does not own what is tried.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(30);

/// Bounded exponential backoff with jitter; the caller brings the randomness.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// Counts a failure and says how long to wait: 200 ms doubling to 30 s, of which the last half is
    /// spread by `random`; never less than `asked`, the service's own wish.
    pub fn next(&mut self, asked: Option<Duration>, random: u64) -> Duration {
        let ceiling = FIRST.saturating_mul(1 << self.failures.min(8)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        let half = ceiling / 2;
        let spread = half.as_millis() as u64 + 1;
        let wait = half + Duration::from_millis(random % spread);
        wait.max(asked.unwrap_or_default())
    }

    /// Failures since the last success.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Forgets the failures.
    pub fn succeed(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_bound_and_honour_the_service() {
        let mut backoff = Backoff::default();
        let waits: Vec<Duration> = (0..12).map(|_| backoff.next(None, u64::MAX / 3)).collect();
        assert!(waits[0] >= FIRST / 2 && waits[0] <= FIRST);
        assert!(waits.iter().all(|wait| *wait <= LONGEST));
        assert!(waits[11] >= LONGEST / 2);
        assert_eq!(backoff.next(Some(Duration::from_secs(120)), 0), Duration::from_secs(120));
        backoff.succeed();
        assert!(backoff.next(None, 0) <= FIRST);
    }
}
