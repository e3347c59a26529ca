//! Owns offset arithmetic of one topic-partition: what was taken, what is settled, what may be committed.
//! Offsets have gaps, so only comparisons are made, never counts.

use crate::position::{Offset, OffsetRange};

/// Positions of one topic-partition within one attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OffsetTracker {
    settled: Offset,
    rotated: Offset,
    /// Next offset not yet handed over by the consumer.
    delivered: Offset,
}

impl OffsetTracker {
    pub(super) fn starting_at(offset: Offset) -> Self {
        Self { settled: offset, rotated: offset, delivered: offset }
    }

    /// Everything below is committed.
    pub(super) fn settled(&self) -> Offset {
        self.settled
    }

    /// Where the open flush begins.
    pub(super) fn rotated(&self) -> Offset {
        self.rotated
    }

    /// The consumer's position.
    pub(super) fn delivered(&self) -> Offset {
        self.delivered
    }

    /// The consumer handed over everything below `position`.
    pub(super) fn deliver(&mut self, position: Offset) {
        self.delivered = self.delivered.max(position);
    }

    /// A flush ended.
    pub(super) fn rotate(&mut self, range: OffsetRange) {
        assert_eq!(self.rotated, range.start, "flush {range} does not begin where the one before it ended");
        assert!(
            range.end <= self.delivered,
            "flush {range} ends beyond what was delivered, {}",
            self.delivered
        );
        self.rotated = range.end;
    }

    /// Checks a commit before it is asked for: K3, and never beyond what a flush covers.
    pub(super) fn check_commit(&self, offset: Offset) {
        assert!(
            self.settled <= offset && offset <= self.rotated,
            "commit of {offset} outside [{}, {}]",
            self.settled,
            self.rotated
        );
    }

    /// A flush is committed.
    pub(super) fn settle(&mut self, range: OffsetRange) {
        assert_eq!(self.settled, range.start, "flush {range} was settled out of order");
        self.check_commit(range.end);
        self.settled = range.end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offset: i64) -> Offset {
        Offset::new(offset).unwrap()
    }

    #[test]
    fn flushes_are_contiguous_and_settle_in_order() {
        let mut tracker = OffsetTracker::starting_at(at(5));
        tracker.deliver(at(20));
        tracker.rotate(OffsetRange::new(at(5), at(12)));
        tracker.rotate(OffsetRange::new(at(12), at(20)));
        tracker.settle(OffsetRange::new(at(5), at(12)));
        assert_eq!((tracker.settled(), tracker.rotated(), tracker.delivered()), (at(12), at(20), at(20)));
    }

    #[test]
    #[should_panic(expected = "settled out of order")]
    fn a_flush_cannot_overtake_another() {
        let mut tracker = OffsetTracker::starting_at(at(0));
        tracker.deliver(at(20));
        tracker.rotate(OffsetRange::new(at(0), at(12)));
        tracker.rotate(OffsetRange::new(at(12), at(20)));
        tracker.settle(OffsetRange::new(at(12), at(20)));
    }

    #[test]
    #[should_panic(expected = "outside")]
    fn fault_29_a_commit_never_goes_back() {
        OffsetTracker::starting_at(at(5)).check_commit(at(4));
    }

    #[test]
    #[should_panic(expected = "beyond what was delivered")]
    fn a_flush_never_covers_what_was_not_delivered() {
        OffsetTracker::starting_at(at(0)).rotate(OffsetRange::new(at(0), at(1)));
    }
}
