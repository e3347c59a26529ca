//! Owns one topic-partition while it is ours: where to start, which flush is open, which are on their way, and when
//! to hold records back. Does not own how records become files ([`super::flush`]) nor anything of other partitions.

mod beginning;
mod intake;
mod protocol;

use std::collections::VecDeque;
use std::sync::Arc;

use crate::error::Failure;
use crate::position::{Epoch, Offset, SchemaId, TopicPartition};
use crate::record::RecordBlock;
use crate::task::backoff::Backoff;
use crate::task::claim::Claim;
use crate::task::clock::{Now, Tick};
use crate::task::delivery::{Delivery, DeliveryStage};
use crate::task::flush::OpenFlush;
use crate::task::intent::{Intent, Readers};
use crate::task::message::{Attempt, BrokerPosition, CommitId, Effect};
use crate::task::names::name_overhead_bytes;
use crate::task::partitioner::Partitioner;
use crate::task::recovery::Beginning;
use crate::task::rotation::{RotationReason, deadline};
use crate::task::tracker::OffsetTracker;
use crate::task::{Shared, Wait};

/// Flushes on their way at the most: one in the protocol, one sealed behind it.
const DELIVERIES: usize = 2;

pub(super) struct Lane {
    pub(super) tp: TopicPartition,
    pub(super) epoch: Epoch,
    attempt: Attempt,
    state: LaneState,
    stop: Option<Offset>,
    tracker: OffsetTracker,
    /// Where the names of the open flush's files begin: at the end of the last file, though more may be settled since.
    file_start: Offset,
    /// Where reading began in this attempt.
    began_at: Offset,
    high: Offset,
    topic_id: Option<Arc<str>>,
    open: Option<OpenFlush>,
    /// Batches of dead letters of the open flush that are acknowledged.
    open_letters_acknowledged: usize,
    deliveries: VecDeque<Delivery>,
    held: VecDeque<Held>,
    pub(super) held_bytes: usize,
    wants: Option<Want>,
    fetching_paused: bool,
    draining: Option<RotationReason>,
    /// Why the connector stops, once what is on its way is settled.
    failing: Option<Failure>,
    /// The intent that is being replayed.
    replay: Option<Replay>,
    comparison: Comparison,
    claimed: Claimed,
    /// Where the note of its beginning is kept; `None` under a claim of a version that kept none.
    note_path: Option<String>,
    /// An offset past the partition's end, for which the broker was asked again.
    doubted: Option<Offset>,
    /// The partition's end when the lane first found the group without a commit: `latest` stays there.
    first_end: Option<Offset>,
    /// Why it has not found yet where to begin.
    not_begun_because: Option<Failure>,
    /// Why unsettled records were dropped, until a step works again.
    spoiled_by: Option<Failure>,
    /// The reader schemas in force at the end of the last flush.
    readers: Readers,
    backoff: Backoff,
    finished: bool,
    partitioner: Partitioner,
    pub(super) reserved_bytes: u64,
    /// What the task's count of held bytes has of this lane.
    pub(super) counted_held_bytes: usize,
    /// Offsets and Kafka timestamps of some of the records that are not settled, in order.
    ages: VecDeque<(Offset, i64)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum LaneState {
    /// Waits for the broker's position.
    Resolving,
    /// Waits for the claim that stands on the topic's directory.
    Claiming(BrokerPosition, Claim),
    /// Waits for the list of published files. With the claim that stands.
    Listing(BrokerPosition, Claim),
    /// Waits for the note of where it began that stands.
    Noting(BrokerPosition, Beginning),
    /// Waits for the commit of where it begins.
    Confirming(Beginning, CommitId),
    /// Waits to resolve again.
    BackingOff(Tick),
    /// Takes records.
    Running,
}

/// What the next record of a lane waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Want {
    Schema(SchemaId),
    /// Room for a dead letter: too many bytes of them are not acknowledged.
    Letters,
}

/// When the topic's directory was claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Claimed {
    Before,
    /// By this lane, whose group has committed before: not at this output, as far as one sees, and that is not told yet.
    Anew,
}

/// Whether the group's offset was held against the files. Once is enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    /// Not asked for yet.
    Due,
    /// The files are being listed, beside everything else.
    Asked(Attempt),
    /// They could not be listed; they are asked for again.
    Again(Tick),
    /// Done, or of no use.
    Done,
}

/// A flush that is made again with the same cut.
struct Replay {
    intent: Intent,
    /// Whether the broker holds the intent.
    intended: bool,
}

enum Held {
    Block { block: RecordBlock, cursor: usize },
    Reached(Offset),
}

/// What people may see of a lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneSnapshot {
    /// Which one.
    pub tp: TopicPartition,
    /// Whether records flow: the start is found.
    pub running: bool,
    /// Committed.
    pub settled: Offset,
    /// Next offset to be taken.
    pub position: Offset,
    /// End of the partition as last heard of.
    pub high: Offset,
    /// Rows of the open flush.
    pub open_rows: u64,
    /// Memory of the open flush and records held back.
    pub buffered_bytes: u64,
    /// When the oldest record not yet settled arrived.
    pub oldest_unsettled: Option<Tick>,
    /// Kafka timestamp of about the oldest record not yet settled, ms since the epoch: it is at least as old as said here by
    /// less than a batch. `None` where none was read or none has a timestamp.
    pub oldest_timestamp_ms: Option<i64>,
    /// Flushes on their way.
    pub deliveries: usize,
    /// Whether fetching is paused.
    pub paused: bool,
    /// Why a step of it is tried again; `None` while nothing fails.
    pub trouble: Option<Failure>,
}

impl Lane {
    pub(super) fn new(tp: TopicPartition, epoch: Epoch, stop: Option<Offset>, shared: &mut Shared) -> Self {
        let name_bytes = shared.settings.prefix_bytes + name_overhead_bytes(&tp);
        let partitioner = Partitioner::new(shared.settings.partition_by.clone(), name_bytes);
        let mut lane = Self {
            tp,
            epoch,
            attempt: Attempt(0),
            state: LaneState::Resolving,
            stop,
            tracker: OffsetTracker::starting_at(Offset::ZERO),
            file_start: Offset::ZERO,
            began_at: Offset::ZERO,
            high: Offset::ZERO,
            topic_id: None,
            open: None,
            open_letters_acknowledged: 0,
            deliveries: VecDeque::new(),
            held: VecDeque::new(),
            held_bytes: 0,
            wants: None,
            fetching_paused: false,
            draining: None,
            failing: None,
            replay: None,
            comparison: Comparison::Due,
            claimed: Claimed::Before,
            note_path: None,
            doubted: None,
            first_end: None,
            not_begun_because: None,
            spoiled_by: None,
            readers: Readers::default(),
            backoff: Backoff::default(),
            finished: false,
            partitioner,
            reserved_bytes: 0,
            counted_held_bytes: 0,
            ages: VecDeque::new(),
        };
        lane.resolve(shared);
        lane
    }

    pub(super) fn on_schema(&mut self, id: SchemaId, shared: &Shared) {
        if self.wants == Some(Want::Schema(id)) && !shared.is_waiting_for(id) {
            self.wants = None;
        }
    }

    /// Asks again for a schema that was not to be had.
    pub(super) fn request_schema(&self, shared: &mut Shared, now: Now) {
        if let Some(Want::Schema(id)) = self.wants {
            shared.request_schema(id, now);
        }
    }

    fn regulate_fetching(&mut self, shared: &mut Shared) {
        if self.state != LaneState::Running || self.draining.is_some() || self.finished {
            return;
        }
        // Lanes that cannot take must not use up, together, what may be on its way to all of them: then the consumer thread
        // would fetch for nobody, also not for the one lane that could go on.
        let together = shared.held_bytes - self.counted_held_bytes + self.held_bytes;
        let crowded = !self.held.is_empty() && together > shared.settings.held_together_bytes;
        let hold = crowded || self.held_bytes > shared.settings.held_bytes || self.at_stop_rotated();
        if hold && !self.fetching_paused {
            self.fetching_paused = true;
            shared.effects.push_back(Effect::Pause { tp: self.tp.clone(), epoch: self.epoch });
        } else if self.fetching_paused && self.held.is_empty() && !self.at_stop_rotated() {
            self.fetching_paused = false;
            shared.effects.push_back(Effect::Resume { tp: self.tp.clone(), epoch: self.epoch });
        }
    }

    /// When the lane wants to be pumped again without further input.
    pub(super) fn deadline(&self, shared: &Shared) -> Wait {
        let mut wait = Wait::default();
        if let LaneState::BackingOff(until) = self.state {
            wait.until(until);
        }
        if let Comparison::Again(until) = self.comparison
            && self.state == LaneState::Running
        {
            wait.until(until);
        }
        // Only what somebody waits for: a schema that nobody needs any more is not asked for, and would wake us forever.
        if let Some(Want::Schema(id)) = self.wants
            && let Some(until) = shared.schemas.retry_at(id)
        {
            wait.until(until);
        }
        for delivery in &self.deliveries {
            if let DeliveryStage::Retrying(_, until) = delivery.stage {
                wait.until(until);
            }
        }
        if self.replay.is_none()
            && self.deliveries.len() < DELIVERIES
            && let Some(open) = &self.open
            && let Some(until) = deadline(&shared.settings.rotate, &open.size())
        {
            wait.until(until);
        }
        wait
    }

    /// Whether an intent is being replayed whose cut is not reached.
    pub(super) fn is_replaying(&self) -> bool {
        self.replay.is_some()
    }

    /// Whether the next record would become a dead letter, and there is no room for one.
    pub(super) fn waits_for_letters(&self) -> bool {
        self.wants == Some(Want::Letters)
    }

    /// Whether records are held back.
    pub(super) fn holds(&self) -> bool {
        !self.held.is_empty()
    }

    /// Whether a flush is on its way.
    pub(super) fn is_delivering(&self) -> bool {
        !self.deliveries.is_empty()
    }

    /// Whether the lane holds records only because of the memory budget.
    pub(super) fn waits_for_budget(&self, shared: &Shared) -> bool {
        !self.held.is_empty() && shared.budget.exhausted()
    }

    pub(super) fn memory_bytes(&self) -> u64 {
        (self.held_bytes + self.open.as_ref().map_or(0, OpenFlush::memory_bytes)) as u64
    }

    /// Memory of the largest open file.
    pub(super) fn largest_file_bytes(&self) -> usize {
        self.open.as_ref().map_or(0, OpenFlush::largest_file_memory_bytes)
    }

    /// Memory that ending the open flush would free, where it can be ended.
    pub(super) fn rotatable_bytes(&self) -> usize {
        if self.replay.is_some() || self.deliveries.len() >= DELIVERIES {
            return 0;
        }
        self.open
            .as_ref()
            .map_or(0, |open| if open.range().is_empty() { 0 } else { open.memory_bytes().max(1) })
    }

    /// Keeps the age of a batch for people to see: about one a second, and not without bound.
    fn note_age(&mut self, offset: Offset, timestamp_ms: i64) {
        const NOTES_MAX: usize = 1024;
        let settled = self.tracker.settled();
        while self.ages.get(1).is_some_and(|(next, _)| *next <= settled) {
            self.ages.pop_front();
        }
        if self.ages.back().is_some_and(|(_, last)| last.abs_diff(timestamp_ms) < 1000) {
            return;
        }
        if self.ages.len() >= NOTES_MAX {
            let mut keep = false;
            self.ages.retain(|_| {
                keep = !keep;
                keep
            });
        }
        self.ages.push_back((offset, timestamp_ms));
    }

    fn oldest_timestamp_ms(&self) -> Option<i64> {
        let settled = self.tracker.settled();
        if self.tracker.delivered().max(self.high) <= settled {
            return None;
        }
        let before = self.ages.iter().rev().find(|(offset, _)| *offset <= settled);
        before.or(self.ages.front()).map(|(_, timestamp_ms)| *timestamp_ms)
    }

    /// Why a step is tried again.
    fn trouble(&self, shared: &Shared) -> Option<Failure> {
        let of_schema = match self.wants {
            Some(Want::Schema(id)) => shared.schemas.trouble(id),
            _ => None,
        };
        let of_deliveries = self.deliveries.iter().find_map(|delivery| delivery.trouble.as_ref());
        let lasting = [self.not_begun_because.as_ref(), of_deliveries, of_schema, self.spoiled_by.as_ref()];
        lasting.into_iter().flatten().next().cloned()
    }

    pub(super) fn snapshot(&self, shared: &Shared) -> LaneSnapshot {
        let oldest = self.deliveries.front().map(|delivery| delivery.rotated_at);
        let open = self.open.as_ref().filter(|open| !open.range().is_empty());
        LaneSnapshot {
            tp: self.tp.clone(),
            running: self.state == LaneState::Running,
            settled: self.tracker.settled(),
            position: self.open.as_ref().map_or(self.tracker.rotated(), |open| open.range().end),
            high: self.high.max(self.tracker.delivered()),
            open_rows: self.open.as_ref().map_or(0, OpenFlush::rows),
            buffered_bytes: self.memory_bytes(),
            oldest_unsettled: oldest.or(open.map(OpenFlush::opened_at)),
            oldest_timestamp_ms: self.oldest_timestamp_ms(),
            deliveries: self.deliveries.len(),
            paused: self.fetching_paused,
            trouble: self.trouble(shared),
        }
    }
}
