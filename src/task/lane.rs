//! Owns one topic-partition while it is ours: where to start, which flush is open, which are on their way, and when
//! to hold records back. Does not own how records become files ([`super::flush`]) nor anything of other partitions.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::error::{Failure, Stage};
use crate::position::{Epoch, Offset, OffsetRange, SchemaId, TopicPartition};
use crate::record::RecordBlock;
use crate::task::backoff::Backoff;
use crate::task::clock::{Now, Tick};
use crate::task::delivery::{Delivery, DeliveryStage, Step};
use crate::task::flush::{Cut, FlushContext, OpenFlush, Taken};
use crate::task::intent::Intent;
use crate::task::message::{
    Attempt, BrokerPosition, CommitError, CommitId, Effect, Event, FlushId, PublishedFiles, StagingError,
};
use crate::task::names::name_overhead_bytes;
use crate::task::partitioner::Partitioner;
use crate::task::recovery::{self, Beginning};
use crate::task::rotation::{RotationReason, deadline, due};
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
    high: Offset,
    topic_id: Option<Arc<str>>,
    open: Option<OpenFlush>,
    /// Batches of dead letters of the open flush that are acknowledged.
    open_letters_acknowledged: usize,
    deliveries: VecDeque<Delivery>,
    held: VecDeque<Held>,
    held_bytes: usize,
    needs_schema: Option<SchemaId>,
    fetching_paused: bool,
    draining: Option<RotationReason>,
    /// The intent that is being replayed.
    replay: Option<Intent>,
    /// The reader schema in force at the end of the last flush.
    reader: Option<SchemaId>,
    backoff: Backoff,
    finished: bool,
    partitioner: Partitioner,
    pub(super) reserved_bytes: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum LaneState {
    /// Waits for the broker's position.
    Resolving,
    /// Waits for the list of published files.
    Listing(BrokerPosition),
    /// Waits to resolve again.
    BackingOff(Tick),
    /// Takes records.
    Running,
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
    /// Flushes on their way.
    pub deliveries: usize,
    /// Whether fetching is paused.
    pub paused: bool,
}

impl Lane {
    pub(super) fn new(tp: TopicPartition, epoch: Epoch, stop: Option<Offset>, shared: &mut Shared) -> Self {
        let partitioner = Partitioner::new(shared.settings.partition_by.clone(), name_overhead_bytes(&tp));
        let mut lane = Self {
            tp,
            epoch,
            attempt: Attempt(0),
            state: LaneState::Resolving,
            stop,
            tracker: OffsetTracker::starting_at(Offset::ZERO),
            high: Offset::ZERO,
            topic_id: None,
            open: None,
            open_letters_acknowledged: 0,
            deliveries: VecDeque::new(),
            held: VecDeque::new(),
            held_bytes: 0,
            needs_schema: None,
            fetching_paused: false,
            draining: None,
            replay: None,
            reader: None,
            backoff: Backoff::default(),
            finished: false,
            partitioner,
            reserved_bytes: 0,
        };
        lane.resolve(shared);
        lane
    }

    // Finding the start

    pub(super) fn on_committed(
        &mut self,
        attempt: Attempt,
        result: Result<BrokerPosition, Failure>,
        shared: &mut Shared,
        now: Now,
    ) -> Result<(), Failure> {
        if attempt != self.attempt || self.state != LaneState::Resolving {
            return Ok(());
        }
        let position = match result {
            Ok(position) => position,
            Err(failure) => return self.resolve_later(failure, shared, now),
        };
        self.high = position.high;
        self.topic_id.clone_from(&position.topic_id);
        if position.committed.is_none() {
            shared.effects.push_back(Effect::ListPublished {
                tp: self.tp.clone(),
                epoch: self.epoch,
                attempt: self.attempt,
            });
            self.state = LaneState::Listing(position);
            return Ok(());
        }
        let beginning = recovery::from_commit(&self.tp, &position, shared.settings.plan)?;
        self.begin(beginning, shared);
        Ok(())
    }

    pub(super) fn on_listed(
        &mut self,
        attempt: Attempt,
        result: Result<Vec<OffsetRange>, Failure>,
        shared: &mut Shared,
        now: Now,
    ) -> Result<(), Failure> {
        let LaneState::Listing(position) = &self.state else { return Ok(()) };
        if attempt != self.attempt {
            return Ok(());
        }
        match result {
            Ok(ranges) => {
                let beginning = recovery::from_files(&self.tp, position, &ranges, shared.settings.start)?;
                self.begin(beginning, shared);
                Ok(())
            }
            Err(failure) => self.resolve_later(failure, shared, now),
        }
    }

    fn begin(&mut self, beginning: Beginning, shared: &mut Shared) {
        self.state = LaneState::Running;
        self.backoff.succeed();
        self.tracker = OffsetTracker::starting_at(beginning.offset);
        self.reader = beginning.intent.as_ref().and_then(|intent| intent.schema);
        self.replay = beginning.intent;
        shared.effects.push_back(Effect::Report(Event::Started {
            tp: self.tp.clone(),
            offset: beginning.offset,
            replay: self.replay.as_ref().map(|intent| intent.end),
            found: beginning.found,
        }));
        if self.at_stop() {
            self.finish(shared);
            return;
        }
        self.fetching_paused = false;
        shared.effects.push_back(Effect::Start {
            tp: self.tp.clone(),
            epoch: self.epoch,
            attempt: self.attempt,
            offset: beginning.offset,
        });
    }

    fn resolve(&mut self, shared: &mut Shared) {
        self.state = LaneState::Resolving;
        shared.effects.push_back(Effect::ReadCommitted {
            tp: self.tp.clone(),
            epoch: self.epoch,
            attempt: self.attempt,
        });
    }

    fn resolve_later(&mut self, failure: Failure, shared: &mut Shared, now: Now) -> Result<(), Failure> {
        let Failure::Retriable { after, .. } = &failure else { return Err(failure) };
        let wait = self.backoff.next(*after, shared.random());
        self.state = LaneState::BackingOff(now.tick.after(wait));
        shared.effects.push_back(Effect::Report(Event::Retrying {
            tp: Some(self.tp.clone()),
            failure,
            after: wait,
        }));
        Ok(())
    }

    /// Recovery is deletion: drops everything unsettled and begins again at the committed offset.
    fn recover(&mut self, reason: String, shared: &mut Shared, now: Now) {
        self.drop_unsettled(shared);
        self.attempt = Attempt(self.attempt.0 + 1);
        let wait = self.backoff.next(None, shared.random());
        self.state = LaneState::BackingOff(now.tick.after(wait));
        if !self.fetching_paused {
            self.fetching_paused = true;
            shared.effects.push_back(Effect::Pause { tp: self.tp.clone(), epoch: self.epoch });
        }
        shared.effects.push_back(Effect::Report(Event::Dropped { tp: self.tp.clone(), reason }));
    }

    pub(super) fn drop_unsettled(&mut self, shared: &mut Shared) {
        let flushes = self.open.take().map(|open| open.id).into_iter();
        for flush in flushes.chain(self.deliveries.drain(..).map(|delivery| delivery.flush)) {
            shared.effects.push_back(Effect::Discard { flush });
        }
        self.open_letters_acknowledged = 0;
        self.held.clear();
        self.held_bytes = 0;
        self.needs_schema = None;
        self.replay = None;
    }

    // Taking records

    pub(super) fn on_records(&mut self, attempt: Attempt, block: RecordBlock) {
        if !self.takes(attempt) {
            return;
        }
        if let Some(last) = block.last_offset() {
            self.high = self.high.max(last.next());
        }
        self.held_bytes += block.payload_bytes();
        self.held.push_back(Held::Block { block, cursor: 0 });
    }

    pub(super) fn on_reached(&mut self, attempt: Attempt, position: Offset) {
        if self.takes(attempt) {
            self.high = self.high.max(position);
            self.held.push_back(Held::Reached(position));
        }
    }

    fn takes(&self, attempt: Attempt) -> bool {
        attempt == self.attempt
            && self.state == LaneState::Running
            && self.draining.is_none()
            && !self.finished
    }

    /// Does whatever can be done now: takes held records, ends flushes that are due, moves deliveries on.
    pub(super) fn pump(&mut self, shared: &mut Shared, now: Now) -> Result<(), Failure> {
        if let LaneState::BackingOff(until) = self.state
            && now.tick >= until
        {
            self.resolve(shared);
        }
        while self.may_take(shared) {
            let Some(mut held) = self.held.pop_front() else { break };
            let taken = self.take(&mut held, shared, now)?;
            match (taken, held) {
                (Taken::All, Held::Block { block, .. }) => self.held_bytes -= block.payload_bytes(),
                (Taken::All, Held::Reached(_)) => {}
                (Taken::NeedSchema(id), held) => {
                    self.held.push_front(held);
                    self.needs_schema = Some(id);
                    shared.request_schema(id, now);
                }
                (Taken::Rotate(reason), held) => {
                    self.held.push_front(held);
                    self.rotate(reason, shared, now)?;
                }
                (Taken::Cut, held) => {
                    self.held.push_front(held);
                    self.rotate(self.cut_reason(), shared, now)?;
                }
            }
            if self.at_stop_rotated() {
                self.held.clear();
                self.held_bytes = 0;
            }
        }
        self.rotate_when_due(shared, now)?;
        self.advance_deliveries(shared, now);
        self.regulate_fetching(shared);
        Ok(())
    }

    fn may_take(&self, shared: &Shared) -> bool {
        self.state == LaneState::Running
            && !self.held.is_empty()
            && self.needs_schema.is_none()
            && self.deliveries.len() < DELIVERIES
            && self.draining.is_none()
            && !shared.paused
            && !shared.budget.exhausted()
            && !self.at_stop_rotated()
    }

    fn take(&mut self, held: &mut Held, shared: &mut Shared, now: Now) -> Result<Taken, Failure> {
        if self.open.is_none() {
            self.open = Some(self.open_flush(shared, now));
            self.open_letters_acknowledged = 0;
        }
        let Some(open) = &mut self.open else { return Ok(Taken::All) };
        match held {
            Held::Reached(position) => {
                self.tracker.deliver(*position);
                open.advance(*position);
                Ok(if open.reached_cut() { Taken::Cut } else { Taken::All })
            }
            Held::Block { block, cursor } => {
                if let Some(last) = block.last_offset() {
                    self.tracker.deliver(last.next());
                }
                let mut context = FlushContext {
                    tp: &self.tp,
                    topic_id: self.topic_id.as_deref(),
                    settings: &shared.settings,
                    partitioner: &self.partitioner,
                    schemas: &mut shared.schemas,
                    effects: &mut shared.effects,
                };
                let taken = open.take(block, cursor, &mut context, now)?;
                // A cut reached by the last record of a block counts at once, not with the next record.
                Ok(if taken == Taken::All && open.reached_cut() { Taken::Cut } else { taken })
            }
        }
    }

    fn open_flush(&self, shared: &mut Shared, now: Now) -> OpenFlush {
        let (cut, wall_ms) = match &self.replay {
            Some(intent) => (Cut::Replay(intent.end), intent.wall_ms),
            None => (self.stop.map_or(Cut::None, Cut::Stop), now.wall_ms),
        };
        let id = shared.next_flush();
        OpenFlush::new(id, self.tracker.rotated(), cut, self.reader, &shared.settings, wall_ms, now.tick)
    }

    fn cut_reason(&self) -> RotationReason {
        if self.replay.is_some() { RotationReason::Replay } else { RotationReason::End }
    }

    fn at_stop(&self) -> bool {
        self.replay.is_none() && self.stop.is_some_and(|stop| self.tracker.settled() >= stop)
    }

    fn at_stop_rotated(&self) -> bool {
        self.replay.is_none() && self.stop.is_some_and(|stop| self.tracker.rotated() >= stop)
    }

    // Ending flushes

    fn rotate_when_due(&mut self, shared: &mut Shared, now: Now) -> Result<(), Failure> {
        if self.replay.is_some() || self.deliveries.len() >= DELIVERIES {
            return Ok(());
        }
        let Some(open) = &self.open else { return Ok(()) };
        match due(&shared.settings.rotate, &open.size(), now.tick) {
            Some(reason) => self.rotate(reason, shared, now),
            None => Ok(()),
        }
    }

    /// Ends the open flush, unless it is a replay whose cut is not reached.
    pub(super) fn rotate(
        &mut self,
        reason: RotationReason,
        shared: &mut Shared,
        now: Now,
    ) -> Result<(), Failure> {
        if self.replay.is_some() && !self.open.as_ref().is_some_and(OpenFlush::reached_cut) {
            return Ok(());
        }
        let Some(open) = self.open.take() else { return Ok(()) };
        if open.range().is_empty() {
            return Ok(());
        }
        let flush = open.id;
        self.reader = open.reader();
        let mut context = FlushContext {
            tp: &self.tp,
            topic_id: self.topic_id.as_deref(),
            settings: &shared.settings,
            partitioner: &self.partitioner,
            schemas: &mut shared.schemas,
            effects: &mut shared.effects,
        };
        let sealing = open.seal(&mut context)?;
        self.tracker.rotate(sealing.range);
        shared.effects.push_back(Effect::Report(Event::Rotated {
            tp: self.tp.clone(),
            range: sealing.range,
            reason,
            rows: sealing.rows,
            files: sealing.files.len(),
            bytes: sealing.bytes,
        }));
        let replayed = self.replay.take().is_some();
        let acknowledged = std::mem::take(&mut self.open_letters_acknowledged);
        self.deliveries.push_back(Delivery::new(flush, sealing, acknowledged, replayed, now.tick));
        Ok(())
    }

    /// Ends or drops what is open and gives the partition up once what is on its way is settled.
    pub(super) fn drain(
        &mut self,
        reason: RotationReason,
        shared: &mut Shared,
        now: Now,
    ) -> Result<(), Failure> {
        if self.draining.is_some() {
            return Ok(());
        }
        self.draining = Some(reason);
        self.held.clear();
        self.held_bytes = 0;
        if self.state == LaneState::Running {
            self.rotate(reason, shared, now)?;
        }
        if let Some(open) = self.open.take() {
            shared.effects.push_back(Effect::Discard { flush: open.id });
        }
        Ok(())
    }

    /// Whether a drained lane has nothing left to settle.
    pub(super) fn is_drained(&self) -> bool {
        self.draining.is_some() && self.deliveries.is_empty()
    }

    // Delivering

    fn advance_deliveries(&mut self, shared: &mut Shared, now: Now) {
        for delivery in &mut self.deliveries {
            if let DeliveryStage::Retrying(Step::Seal, until) = delivery.stage
                && now.tick >= until
            {
                delivery.stage = DeliveryStage::Sealing;
                shared.effects.push_back(Effect::Seal {
                    tp: self.tp.clone(),
                    flush: delivery.flush,
                    files: delivery.files.clone(),
                });
            }
        }
        let Some(front) = self.deliveries.front() else { return };
        match front.stage {
            DeliveryStage::Sealed if front.files.is_empty() => self.settle_when_ready(shared),
            DeliveryStage::Sealed if front.is_intended() => self.publish(shared),
            DeliveryStage::Sealed => self.intend(shared),
            DeliveryStage::Published => self.settle_when_ready(shared),
            DeliveryStage::Retrying(step, until) if now.tick >= until => match step {
                Step::Seal => {}
                Step::Intend => self.intend(shared),
                Step::Publish => self.publish(shared),
                Step::Settle => self.settle_when_ready(shared),
            },
            _ => {}
        }
    }

    fn intend(&mut self, shared: &mut Shared) {
        let plan = shared.settings.plan;
        let Some(front) = self.deliveries.front_mut() else { return };
        let commit = shared.next_commit();
        front.stage = DeliveryStage::Intending(commit);
        let (offset, metadata) = (front.range.start, front.intent(plan).to_metadata());
        self.commit(commit, offset, metadata, shared);
    }

    fn publish(&mut self, shared: &mut Shared) {
        let Some(front) = self.deliveries.front_mut() else { return };
        assert!(front.is_intended(), "range {} would be published without its intent", front.range);
        front.stage = DeliveryStage::Publishing;
        shared.effects.push_back(Effect::Publish { tp: self.tp.clone(), flush: front.flush });
    }

    fn settle_when_ready(&mut self, shared: &mut Shared) {
        let plan = shared.settings.plan;
        // One commit a flush on a busy partition: the next intent travels with this end.
        let next =
            self.deliveries.get(1).filter(|next| next.may_be_announced()).map(|next| next.intent(plan));
        let Some(front) = self.deliveries.front_mut() else { return };
        if !front.may_settle() {
            return;
        }
        let commit = shared.next_commit();
        front.stage = DeliveryStage::Settling(commit);
        let end = front.range.end;
        if next.is_some() {
            self.deliveries[1].stage = DeliveryStage::Intending(commit);
        }
        self.commit(commit, end, next.map_or_else(String::new, |intent| intent.to_metadata()), shared);
    }

    fn commit(&self, commit: CommitId, offset: Offset, metadata: String, shared: &mut Shared) {
        self.tracker.check_commit(offset);
        shared.effects.push_back(Effect::Commit {
            tp: self.tp.clone(),
            epoch: self.epoch,
            commit,
            offset,
            metadata,
        });
    }

    pub(super) fn on_commit_done(
        &mut self,
        commit: CommitId,
        result: Result<(), CommitError>,
        shared: &mut Shared,
        now: Now,
    ) -> Result<(), Failure> {
        let Some(front) = self.deliveries.front_mut() else { return Ok(()) };
        let settling = match front.stage {
            DeliveryStage::Settling(pending) if pending == commit => true,
            DeliveryStage::Intending(pending) if pending == commit => false,
            _ => return Ok(()),
        };
        match result {
            Ok(()) => {
                front.backoff.succeed();
                if settling {
                    self.on_settled(commit, shared);
                } else {
                    self.on_intended();
                }
                Ok(())
            }
            Err(CommitError::Refused(reason)) => {
                self.recover(format!("the commit was refused: {reason}"), shared, now);
                Ok(())
            }
            Err(CommitError::Denied(reason)) => Err(Failure::fatal(
                if settling { Stage::Settle } else { Stage::Intend },
                format!(
                    "{}: the commit is denied: {reason}; allow the group to commit (READ on the group)",
                    self.tp
                ),
            )),
            Err(CommitError::Unknown(reason)) => {
                let (stage, step) =
                    if settling { (Stage::Settle, Step::Settle) } else { (Stage::Intend, Step::Intend) };
                let failure = Failure::retriable(stage, format!("{}: commit: {reason}", self.tp));
                let wait = front.backoff.next(None, shared.random());
                front.stage = DeliveryStage::Retrying(step, now.tick.after(wait));
                // An announced intent goes out again with the repeated commit.
                if let Some(next) = self.deliveries.get_mut(1)
                    && next.stage == DeliveryStage::Intending(commit)
                {
                    next.stage = DeliveryStage::Sealed;
                }
                shared.retrying(&self.tp, failure, wait);
                Ok(())
            }
        }
    }

    fn on_intended(&mut self) {
        if let Some(front) = self.deliveries.front_mut() {
            front.set_intended();
            front.stage = DeliveryStage::Sealed;
        }
    }

    fn on_settled(&mut self, commit: CommitId, shared: &mut Shared) {
        let Some(settled) = self.deliveries.pop_front() else { return };
        assert!(settled.may_settle(), "range {} was committed before it was settled", settled.range);
        self.tracker.settle(settled.range);
        self.backoff.succeed();
        shared.effects.push_back(Effect::Discard { flush: settled.flush });
        shared
            .effects
            .push_back(Effect::Report(Event::Settled { tp: self.tp.clone(), range: settled.range }));
        if let Some(next) = self.deliveries.front_mut()
            && next.stage == DeliveryStage::Intending(commit)
        {
            next.set_intended();
            next.stage = DeliveryStage::Sealed;
        }
        if self.at_stop() {
            self.finish(shared);
        }
    }

    fn finish(&mut self, shared: &mut Shared) {
        if !self.finished {
            self.finished = true;
            shared.effects.push_back(Effect::Finished { tp: self.tp.clone(), epoch: self.epoch });
        }
    }

    pub(super) fn on_sealed(
        &mut self,
        flush: FlushId,
        result: Result<(), StagingError>,
        shared: &mut Shared,
        now: Now,
    ) -> Result<(), Failure> {
        if self.open.as_ref().is_some_and(|open| open.id == flush) {
            // Staging failed while the flush was still open.
            return match result {
                Ok(()) => Ok(()),
                Err(StagingError::Fatal(failure)) => Err(failure),
                Err(StagingError::Retriable(failure) | StagingError::Spoiled(failure)) => {
                    self.recover(failure.to_string(), shared, now);
                    Ok(())
                }
            };
        }
        let Some(delivery) = self.deliveries.iter_mut().find(|delivery| delivery.flush == flush) else {
            return Ok(());
        };
        match result {
            Ok(()) if delivery.stage == DeliveryStage::Sealing => {
                delivery.backoff.succeed();
                delivery.stage = DeliveryStage::Sealed;
                Ok(())
            }
            Ok(()) => Ok(()),
            Err(StagingError::Fatal(failure)) => Err(failure),
            Err(StagingError::Spoiled(failure)) => {
                self.recover(failure.to_string(), shared, now);
                Ok(())
            }
            Err(StagingError::Retriable(failure)) => {
                let wait = retry(delivery, Step::Seal, &failure, shared.random(), now);
                shared.retrying(&self.tp, failure, wait);
                Ok(())
            }
        }
    }

    pub(super) fn on_published(
        &mut self,
        flush: FlushId,
        result: Result<PublishedFiles, StagingError>,
        shared: &mut Shared,
        now: Now,
    ) -> Result<(), Failure> {
        let Some(delivery) = self.deliveries.front_mut().filter(|front| front.flush == flush) else {
            return Ok(());
        };
        if delivery.stage != DeliveryStage::Publishing {
            return Ok(());
        }
        match result {
            Ok(published) => {
                delivery.backoff.succeed();
                delivery.set_published();
                shared.effects.push_back(Effect::Report(Event::Published {
                    tp: self.tp.clone(),
                    range: delivery.range,
                    names: delivery.files.iter().map(|file| file.name.clone()).collect(),
                    rows: delivery.rows,
                    bytes: delivery.bytes,
                    adopted: published.adopted,
                    replayed: delivery.replayed,
                    took: now.tick.since(delivery.rotated_at),
                }));
                Ok(())
            }
            Err(StagingError::Fatal(failure)) => Err(failure),
            Err(StagingError::Spoiled(failure)) => {
                self.recover(failure.to_string(), shared, now);
                Ok(())
            }
            Err(StagingError::Retriable(failure)) => {
                let wait = retry(delivery, Step::Publish, &failure, shared.random(), now);
                shared.retrying(&self.tp, failure, wait);
                Ok(())
            }
        }
    }

    pub(super) fn on_dead_lettered(
        &mut self,
        flush: FlushId,
        result: Result<(), Failure>,
        shared: &mut Shared,
        now: Now,
    ) -> Result<(), Failure> {
        match result {
            Ok(()) => {
                if self.open.as_ref().is_some_and(|open| open.id == flush) {
                    self.open_letters_acknowledged += 1;
                } else if let Some(delivery) =
                    self.deliveries.iter_mut().find(|delivery| delivery.flush == flush)
                {
                    delivery.acknowledge_letters();
                }
                Ok(())
            }
            Err(failure @ Failure::Fatal { .. }) => Err(failure),
            Err(failure) => {
                self.recover(failure.to_string(), shared, now);
                Ok(())
            }
        }
    }

    // Holding back

    pub(super) fn on_schema(&mut self, id: SchemaId, shared: &Shared) {
        if self.needs_schema == Some(id) && !shared.is_waiting_for(id) {
            self.needs_schema = None;
        }
    }

    /// Asks again for a schema that was not to be had.
    pub(super) fn request_schema(&self, shared: &mut Shared, now: Now) {
        if let Some(id) = self.needs_schema {
            shared.request_schema(id, now);
        }
    }

    fn regulate_fetching(&mut self, shared: &mut Shared) {
        if self.state != LaneState::Running || self.draining.is_some() || self.finished {
            return;
        }
        let hold = self.held_bytes > shared.settings.held_bytes || self.at_stop_rotated();
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

    /// Whether the lane holds records only because of the memory budget.
    pub(super) fn waits_for_budget(&self, shared: &Shared) -> bool {
        !self.held.is_empty() && shared.budget.exhausted()
    }

    pub(super) fn memory_bytes(&self) -> u64 {
        (self.held_bytes + self.open.as_ref().map_or(0, OpenFlush::memory_bytes)) as u64
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

    pub(super) fn snapshot(&self) -> LaneSnapshot {
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
            deliveries: self.deliveries.len(),
            paused: self.fetching_paused,
        }
    }
}

fn retry(delivery: &mut Delivery, step: Step, failure: &Failure, random: u64, now: Now) -> Duration {
    let asked = if let Failure::Retriable { after, .. } = failure { *after } else { None };
    let wait = delivery.backoff.next(asked, random);
    delivery.stage = DeliveryStage::Retrying(step, now.tick.after(wait));
    wait
}
