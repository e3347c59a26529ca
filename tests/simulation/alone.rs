//! Owns a task of one connector without a world around it: a test says what it is told, and sees what it asks for.

use std::collections::BTreeMap;
use std::sync::Arc;

use sluice::position::{Epoch, Offset, TopicPartition};
use sluice::record::{OwnedRecord, RecordBlock};
use sluice::task::SinkTask;
use sluice::task::budget::MemoryBudget;
use sluice::task::clock::{Now, Tick};
use sluice::task::message::{Attempt, BrokerPosition, CommitId, Effect, Input, PublishedFlush};
use sluice::task::settings::TaskSettings;

pub(crate) const EPOCH: Epoch = Epoch(1);
pub(crate) const ATTEMPT: Attempt = Attempt(0);

pub(crate) struct Alone {
    pub task: SinkTask,
    pub now: u64,
    /// The claim that stands.
    pub claim: Option<String>,
    /// Notes of where it began, by path.
    pub notes: BTreeMap<String, String>,
}

impl Alone {
    pub(crate) fn new(settings: TaskSettings, budget: MemoryBudget) -> Self {
        Self {
            task: SinkTask::new(Arc::new(settings), None, None, budget, 1).unwrap(),
            now: 1_000,
            claim: None,
            notes: BTreeMap::new(),
        }
    }

    /// Tells one thing; gives what is asked for then.
    pub(crate) fn tell(&mut self, input: Input) -> Vec<Effect> {
        self.task.handle(input, Now { tick: Tick(self.now), wall_ms: 0 });
        std::iter::from_fn(|| self.task.poll_effect()).collect()
    }

    /// Assigns a partition and answers up to the listing, where there is one.
    pub(crate) fn assign(
        &mut self,
        tp: &TopicPartition,
        position: BrokerPosition,
        stop: Option<i64>,
        listed: Option<PublishedFlush>,
    ) -> Vec<Effect> {
        self.tell(Input::Assigned { tp: tp.clone(), epoch: EPOCH, stop: stop.and_then(Offset::new) });
        self.find_beginning(tp, position, listed)
    }

    /// The answers to a lane that asks where to begin.
    pub(crate) fn find_beginning(
        &mut self,
        tp: &TopicPartition,
        position: BrokerPosition,
        listed: Option<PublishedFlush>,
    ) -> Vec<Effect> {
        let (tp, epoch, attempt) = (tp.clone(), EPOCH, ATTEMPT);
        let asked = self.tell(Input::Committed { tp: tp.clone(), epoch, attempt, result: Ok(position) });
        let claim = asked.into_iter().find_map(|effect| {
            if let Effect::Claim { claim, .. } = effect { Some(claim.to_json()) } else { None }
        });
        let claim = self.claim.get_or_insert(claim.unwrap()).clone();
        let claimed = Input::Claimed { tp: tp.clone(), epoch, attempt, result: Ok(claim) };
        let mut asked = self.tell(claimed);
        if asked.iter().any(|effect| matches!(effect, Effect::ListPublished { .. })) {
            asked.extend(self.tell(Input::Listed { tp: tp.clone(), epoch, attempt, result: Ok(listed) }));
        }
        let note = asked.iter().find_map(|effect| match effect {
            Effect::NoteBeginning { path, note, .. } => Some((path.clone(), note.to_json())),
            _ => None,
        });
        if let Some((path, note)) = note {
            let standing = self.notes.entry(path).or_insert(note).clone();
            asked.extend(self.tell(Input::Noted { tp, epoch, attempt, result: Ok(standing) }));
        }
        asked
    }

    /// Hands over values at offsets from `first` on.
    pub(crate) fn records(&mut self, tp: &TopicPartition, first: i64, values: Vec<Vec<u8>>) -> Vec<Effect> {
        let records = values.into_iter().enumerate().map(|(at, value)| OwnedRecord {
            offset: Offset::new(first + at as i64).unwrap(),
            value: Some(value),
            ..OwnedRecord::default()
        });
        let block = RecordBlock::from_owned(records.collect());
        self.tell(Input::Records { tp: tp.clone(), epoch: EPOCH, attempt: ATTEMPT, block })
    }
}

pub(crate) fn position(committed: Option<i64>, low: i64, high: i64) -> BrokerPosition {
    BrokerPosition {
        committed: committed.and_then(Offset::new),
        metadata: String::new(),
        low: Offset::new(low).unwrap(),
        high: Offset::new(high).unwrap(),
        topic_id: None,
        partitions: Some(1),
    }
}

/// The commit among what is asked for: offset and metadata.
pub(crate) fn commit_of(effects: &[Effect]) -> Option<(CommitId, i64, String)> {
    effects.iter().find_map(|effect| match effect {
        Effect::Commit { commit, offset, metadata, .. } => Some((*commit, offset.as_i64(), metadata.clone())),
        _ => None,
    })
}

/// Where reading is begun, if it is.
pub(crate) fn start_of(effects: &[Effect]) -> Option<i64> {
    effects.iter().find_map(|effect| match effect {
        Effect::Start { offset, .. } => Some(offset.as_i64()),
        _ => None,
    })
}
