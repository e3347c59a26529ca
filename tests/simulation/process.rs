//! Owns the model of one daemon: the real sink task, and a consumer, storage and registry that do as the real rooms do,
//! with outcomes that wait in a pool until chance delivers them.

use std::collections::BTreeMap;
use std::sync::Arc;

use sluice::position::{Epoch, Offset, SchemaId, TopicPartition};
use sluice::task::SinkTask;
use sluice::task::budget::MemoryBudget;
use sluice::task::clock::Now;
use sluice::task::message::{Attempt, CommitId, Effect, FlushId, Input, SealedFile};
use sluice::task::settings::TaskSettings;

use crate::broker::ProcessId;

pub(crate) struct Process {
    pub id: ProcessId,
    pub task: SinkTask,
    pub budget: MemoryBudget,
    pub lanes: BTreeMap<TopicPartition, Lane>,
    /// Work asked for and not yet done, in no order but that within a partition's commits.
    pub work: Vec<Work>,
    /// Answers on their way to the task.
    pub answers: Vec<Input>,
    /// Files as staged: bytes by number.
    pub staged: BTreeMap<FlushId, Vec<Vec<u8>>>,
    pub sealed: BTreeMap<FlushId, Vec<SealedFile>>,
    /// Until when it does nothing: a stopped process, which may wake as a zombie.
    pub stalled_until: u64,
    pub failure: Option<String>,
    pub replayed: u64,
    pub rotations: u64,
    pub dropped: u64,
}

/// The consumer's view of a partition.
pub(crate) struct Lane {
    pub epoch: Epoch,
    pub generation: u64,
    pub attempt: Option<Attempt>,
    pub position: i64,
    pub paused: bool,
    pub eof_told: i64,
    /// Asked back by the group.
    pub revoking: bool,
}

/// What the task asked for.
#[derive(Debug)]
pub(crate) enum Work {
    ReadCommitted(TopicPartition, Epoch, Attempt),
    Claim(TopicPartition, Epoch, Attempt, String),
    List(TopicPartition, Epoch, Attempt),
    Commit { tp: TopicPartition, epoch: Epoch, commit: CommitId, offset: Offset, metadata: String },
    Seal(TopicPartition, FlushId, Vec<SealedFile>),
    Publish(TopicPartition, FlushId),
    FetchSchema(SchemaId),
}

impl Process {
    pub(crate) fn new(id: ProcessId, settings: Arc<TaskSettings>, seed: u64, budget_bytes: u64) -> Self {
        let budget = MemoryBudget::new(budget_bytes);
        Self {
            id,
            task: SinkTask::new(settings, None, None, budget.clone(), seed).unwrap(),
            budget,
            lanes: BTreeMap::new(),
            work: Vec::new(),
            answers: Vec::new(),
            staged: BTreeMap::new(),
            sealed: BTreeMap::new(),
            stalled_until: 0,
            failure: None,
            replayed: 0,
            rotations: 0,
            dropped: 0,
        }
    }

    pub(crate) fn handle(&mut self, input: Input, now: Now) {
        self.task.handle(input, now);
        while let Some(effect) = self.task.poll_effect() {
            self.take(effect);
        }
    }

    fn take(&mut self, effect: Effect) {
        match effect {
            Effect::ReadCommitted { tp, epoch, attempt } => {
                self.work.push(Work::ReadCommitted(tp, epoch, attempt))
            }
            Effect::Claim { tp, epoch, attempt, claim } => {
                self.work.push(Work::Claim(tp, epoch, attempt, claim.to_json()));
            }
            Effect::ListPublished { tp, epoch, attempt, .. } => {
                self.work.push(Work::List(tp, epoch, attempt));
            }
            Effect::Start { tp, epoch, attempt, offset } => self.with_lane(&tp, epoch, |lane| {
                lane.attempt = Some(attempt);
                lane.position = offset.as_i64();
                lane.eof_told = -1;
                lane.paused = false;
            }),
            Effect::Pause { tp, epoch } => self.with_lane(&tp, epoch, |lane| lane.paused = true),
            Effect::Resume { tp, epoch } => self.with_lane(&tp, epoch, |lane| lane.paused = false),
            Effect::Commit { tp, epoch, commit, offset, metadata } => {
                self.work.push(Work::Commit { tp, epoch, commit, offset, metadata });
            }
            Effect::Release { tp, epoch } => {
                if self.lanes.get(&tp).is_some_and(|lane| lane.epoch == epoch) {
                    self.lanes.remove(&tp);
                }
            }
            Effect::Append { flush, file, bytes, .. } => {
                let files = self.staged.entry(flush).or_default();
                files.resize(files.len().max(file + 1), Vec::new());
                files[file].extend_from_slice(&bytes);
            }
            Effect::Seal { tp, flush, files } => self.work.push(Work::Seal(tp, flush, files)),
            Effect::Publish { tp, flush } => self.work.push(Work::Publish(tp, flush)),
            Effect::Discard { flush } => {
                self.staged.remove(&flush);
                self.sealed.remove(&flush);
            }
            Effect::FetchSchema { id } => self.work.push(Work::FetchSchema(id)),
            Effect::Fail { failure, .. } => self.failure = Some(failure.to_string()),
            Effect::Finished { .. } | Effect::DeadLetter { .. } => {}
            Effect::Report(event) => self.count(&event),
        }
    }

    fn count(&mut self, event: &sluice::task::message::Event) {
        use sluice::task::message::Event;
        match event {
            Event::Published { replayed: true, .. } => self.replayed += 1,
            Event::Rotated { .. } => self.rotations += 1,
            Event::Dropped { .. } => self.dropped += 1,
            _ => {}
        }
    }

    fn with_lane(&mut self, tp: &TopicPartition, epoch: Epoch, act: impl FnOnce(&mut Lane)) {
        if let Some(lane) = self.lanes.get_mut(tp).filter(|lane| lane.epoch == epoch) {
            act(lane);
        }
    }
}
