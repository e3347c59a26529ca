//! Owns how long commits and storage steps take, between asking and the answer. Does not own what the answers mean.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use crate::metrics::ConnectorMetrics;
use crate::position::TopicPartition;
use crate::task::message::{CommitError, CommitId, Effect, FlushId, Input};

/// What a task has asked for and not heard of yet.
pub(super) struct Timing {
    metrics: Arc<ConnectorMetrics>,
    commits: HashMap<CommitId, (TopicPartition, Instant)>,
    seals: HashMap<FlushId, Instant>,
    publications: HashMap<FlushId, Instant>,
}

impl Timing {
    pub(super) fn new(metrics: Arc<ConnectorMetrics>) -> Self {
        Self { metrics, commits: HashMap::new(), seals: HashMap::new(), publications: HashMap::new() }
    }

    /// Notes what is asked for now.
    pub(super) fn asked(&mut self, effect: &Effect) {
        match effect {
            Effect::Commit { tp, commit, .. } => {
                self.commits.insert(*commit, (tp.clone(), Instant::now()));
            }
            Effect::Seal { flush, .. } => {
                self.seals.insert(*flush, Instant::now());
            }
            Effect::Publish { flush, .. } => {
                self.publications.insert(*flush, Instant::now());
            }
            Effect::Discard { flush } => {
                self.seals.remove(flush);
                self.publications.remove(flush);
            }
            _ => {}
        }
    }

    /// Counts what is answered here.
    pub(super) fn answered(&mut self, input: &Input) {
        match input {
            Input::CommitDone { commit, result, .. } => {
                if let Some((_, asked)) = self.commits.remove(commit) {
                    self.metrics.commit_time.observe_duration(asked.elapsed());
                    self.metrics.commits.add(outcome(result), 1);
                }
            }
            Input::Sealed { flush, .. } => {
                if let Some(asked) = self.seals.remove(flush) {
                    self.metrics.seal_time.observe_duration(asked.elapsed());
                }
            }
            Input::Published { flush, .. } => {
                if let Some(asked) = self.publications.remove(flush) {
                    self.metrics.publish_step_time.observe_duration(asked.elapsed());
                }
            }
            // Commits of a partition that went away are not answered.
            Input::Lost { tp, .. } | Input::Assigned { tp, .. } => {
                self.commits.retain(|_, (of, _)| of != tp);
            }
            _ => {}
        }
    }
}

fn outcome(result: &Result<(), CommitError>) -> &'static str {
    match result {
        Ok(()) => "ok",
        Err(CommitError::Refused(_)) => "refused",
        Err(CommitError::Unknown(_)) => "unknown",
        Err(CommitError::Denied(_)) => "denied",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::position::{Epoch, Offset};

    #[test]
    fn what_is_answered_is_timed_and_what_is_lost_is_forgotten() {
        let metrics = Arc::new(ConnectorMetrics::default());
        let mut timing = Timing::new(metrics.clone());
        let tp = TopicPartition::new("orders", 0);
        let commit = |number| Effect::Commit {
            tp: tp.clone(),
            epoch: Epoch(1),
            commit: CommitId(number),
            offset: Offset::ZERO,
            metadata: String::new(),
        };
        let done = |number, result| Input::CommitDone { tp: tp.clone(), commit: CommitId(number), result };
        timing.asked(&commit(1));
        timing.asked(&commit(2));
        timing.asked(&commit(3));
        timing.answered(&done(1, Ok(())));
        timing.answered(&done(2, Err(CommitError::Refused("zombie".to_owned()))));
        timing.answered(&Input::Lost { tp: tp.clone(), epoch: Epoch(1) });
        timing.answered(&done(3, Ok(())));
        assert_eq!(metrics.commits.snapshot(), [("ok", 1), ("refused", 1)]);
        timing.asked(&Effect::Seal { tp: tp.clone(), flush: FlushId(7), files: Vec::new() });
        timing.asked(&Effect::Publish { tp: tp.clone(), flush: FlushId(7) });
        timing.answered(&Input::Sealed { tp: tp.clone(), flush: FlushId(7), result: Ok(()) });
        assert_eq!(metrics.seal_time.count(), 1);
        assert_eq!(metrics.publish_step_time.count(), 0);
        assert_eq!(metrics.commit_time.count(), 2);
    }
}
