//! Owns the partitions that are to be started and that the client is not ready for yet: at most one start for each, the
//! newest. Does not own the start itself.

use crate::position::{Epoch, Offset, TopicPartition};
use crate::task::message::Attempt;
use std::time::{Duration, Instant};

/// A start that takes longer than this is told of, and again as often.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// Where and as what a partition is to begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Start {
    pub(super) tp: TopicPartition,
    pub(super) epoch: Epoch,
    pub(super) attempt: Attempt,
    pub(super) offset: Offset,
}

#[derive(Default)]
pub(super) struct Starts(Vec<Waiting>);

pub(super) struct Waiting {
    pub(super) start: Start,
    told: Instant,
}

impl Starts {
    /// Takes a start, in the place of an older one of the same partition. An older one than is there already is dropped.
    pub(super) fn add(&mut self, start: Start) {
        let age = |start: &Start| (start.epoch, start.attempt);
        let known = self.0.iter().position(|known| known.start.tp == start.tp);
        let told = Instant::now();
        match known {
            Some(at) if age(&self.0[at].start) > age(&start) => {}
            Some(at) => self.0[at] = Waiting { start, told },
            None => self.0.push(Waiting { start, told }),
        }
    }

    /// All of them, to be tried.
    pub(super) fn take(&mut self) -> Vec<Waiting> {
        std::mem::take(&mut self.0)
    }

    /// Takes back one that could not be made yet. True when it is time to tell of it.
    pub(super) fn put_back(&mut self, mut waiting: Waiting) -> bool {
        let late = waiting.told.elapsed() >= TELL_EVERY;
        if late {
            waiting.told = Instant::now();
        }
        self.0.push(waiting);
        late
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(partition: i32, epoch: u64, attempt: u32) -> Start {
        let tp = TopicPartition::new("t", partition);
        Start { tp, epoch: Epoch(epoch), attempt: Attempt(attempt), offset: Offset::ZERO }
    }

    #[test]
    fn an_older_start_never_overtakes_a_newer_one() {
        let mut starts = Starts::default();
        for (partition, epoch, attempt) in [(0, 1, 0), (0, 1, 2), (0, 1, 1), (1, 2, 0), (1, 1, 9)] {
            starts.add(start(partition, epoch, attempt));
        }
        let left: Vec<Start> = starts.take().into_iter().map(|waiting| waiting.start).collect();
        assert_eq!(left, [start(0, 1, 2), start(1, 2, 0)]);
    }

    #[test]
    fn a_start_that_never_comes_is_told_of_now_and_then() {
        let mut starts = Starts::default();
        let told = Instant::now().checked_sub(TELL_EVERY).unwrap();
        assert!(starts.put_back(Waiting { start: start(0, 1, 0), told }));
        let waiting = starts.take().pop().unwrap();
        assert!(!starts.put_back(waiting));
    }
}
