//! Owns which failed connectors are started again by themselves, and when. Does not own starting them.

use std::time::Duration;

use crate::error::Failure;

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(5 * 60);
/// A connector that ran this long has recovered: its next failure is its first.
const RECOVERED_AFTER: Duration = Duration::from_secs(10 * 60);

/// Whether it may help to start the connector again. What will not pass by itself (no access, another file under our
/// name, lost offsets, poison) waits for a person, who restarts it or reloads the configuration.
pub(super) fn may_help(failure: &Failure) -> bool {
    matches!(failure, Failure::Retriable { .. })
}

/// Bounded exponential backoff between the lives of one connector.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RestartBackoff {
    failures: u32,
}

impl RestartBackoff {
    /// How long to wait after a life of `lived`: 1 s doubling to 5 min, of which the last half is spread by `random`, so
    /// that what failed together does not come back together.
    pub(super) fn next(&mut self, lived: Duration, random: u64) -> Duration {
        if lived >= RECOVERED_AFTER {
            self.failures = 0;
        }
        let ceiling = FIRST.saturating_mul(1 << self.failures.min(16)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        let half = ceiling / 2;
        half + Duration::from_millis(random % (half.as_millis() as u64 + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Stage;

    #[test]
    fn only_what_may_pass_is_started_again() {
        assert!(may_help(&Failure::retriable(Stage::Consume, "x")));
        assert!(!may_help(&Failure::fatal(Stage::Consume, "x")));
        assert!(!may_help(&Failure::poison(Stage::Decode, "x", "x")));
    }

    #[test]
    fn waits_grow_to_a_bound_and_are_forgotten_after_a_long_life() {
        let mut backoff = RestartBackoff::default();
        let waits: Vec<_> = (0..12).map(|_| backoff.next(Duration::ZERO, u64::MAX / 3)).collect();
        assert!(waits[0] >= FIRST / 2 && waits[0] <= FIRST);
        assert!(waits[11] >= LONGEST / 2 && waits[11] <= LONGEST);
        assert!(backoff.next(RECOVERED_AFTER, 0) <= FIRST);
    }
}
