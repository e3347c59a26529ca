//! Owns how a lane takes records into its open flush, ends the flush, and drains.

use super::{DELIVERIES, Held, Lane, LaneState, Want};
use crate::error::Failure;
use crate::position::{Offset, OffsetRange, SchemaId};
use crate::record::RecordBlock;
use crate::task::Shared;
use crate::task::clock::Now;
use crate::task::delivery::Delivery;
use crate::task::flush::{Cut, FlushContext, OpenFlush, Taken};
use crate::task::intent::Basis;
use crate::task::message::{Attempt, Effect, Event};
use crate::task::rotation::{RotationReason, due};

impl Lane {
    pub(in crate::task) fn on_records(&mut self, attempt: Attempt, block: RecordBlock) {
        if !self.takes(attempt) {
            return;
        }
        if let Some(last) = block.last_offset() {
            self.high = self.high.max(last.next());
        }
        if let Some(first) = block.get(0)
            && let Some(timestamp_ms) = first.timestamp_ms
        {
            let offset = first.offset;
            self.note_age(offset, timestamp_ms);
        }
        self.held_bytes += block.memory_bytes();
        self.held.push_back(Held::Block { block, cursor: 0 });
    }

    pub(in crate::task) fn on_reached(&mut self, attempt: Attempt, position: Offset) {
        if self.takes(attempt) {
            self.high = self.high.max(position);
            self.held.push_back(Held::Reached(position));
        }
    }

    pub(super) fn takes(&self, attempt: Attempt) -> bool {
        attempt == self.attempt
            && self.state == LaneState::Running
            && self.draining.is_none()
            && !self.finished
            // What lies beyond the end of a bounded run is nobody's here, and held it would keep the client from closing.
            && !self.at_stop_rotated()
    }

    /// Does whatever can be done now: takes held records, ends flushes that are due, moves deliveries on.
    pub(in crate::task) fn pump(&mut self, shared: &mut Shared, now: Now) -> Result<(), Failure> {
        if let LaneState::BackingOff(until) = self.state
            && now.tick >= until
        {
            self.resolve(shared);
        }
        self.compare_again(shared, now);
        if self.waits_for_letters() && !shared.letters.exhausted() {
            self.wants = None;
        }
        while self.may_take(shared) {
            let Some(mut held) = self.held.pop_front() else { break };
            let taken = self.take(&mut held, shared, now)?;
            match (taken, held) {
                (Taken::All, Held::Block { block, .. }) => self.held_bytes -= block.memory_bytes(),
                (Taken::All, Held::Reached(_)) => {}
                (Taken::NeedSchema(id), held) => {
                    self.held.push_front(held);
                    self.wants = Some(Want::Schema(id));
                    shared.request_schema(id, now);
                }
                (Taken::LettersFull, held) => {
                    self.held.push_front(held);
                    self.wants = Some(Want::Letters);
                }
                (Taken::Rotate(reason), held) => {
                    self.held.push_front(held);
                    self.rotate(reason, shared, now)?;
                }
                (Taken::Cut, held) => {
                    self.held.push_front(held);
                    self.rotate(self.cut_reason(), shared, now)?;
                }
                (Taken::Stop(failure), held) => {
                    self.held.push_front(held);
                    self.failing = Some(failure);
                    self.rotate(RotationReason::Failure, shared, now)?;
                }
            }
        }
        self.rotate_when_due(shared, now)?;
        if self.at_stop_rotated() {
            self.held.clear();
            self.held_bytes = 0;
        }
        self.advance_deliveries(shared, now);
        self.regulate_fetching(shared);
        // What is complete is delivered first, or it would be read again by every start, for nothing.
        match self.failing.take_if(|_| self.deliveries.is_empty()) {
            Some(failure) => Err(failure),
            None => Ok(()),
        }
    }

    pub(super) fn may_take(&self, shared: &Shared) -> bool {
        self.could_take()
            && !self.held.is_empty()
            && !shared.paused
            && (!shared.budget.exhausted() || shared.exempt.as_ref() == Some(&self.tp))
            && !self.at_stop_rotated()
    }

    /// Whether nothing but the memory budget or an operator may keep it from taking records.
    pub(in crate::task) fn could_take(&self) -> bool {
        self.state == LaneState::Running
            && self.wants.is_none()
            && self.failing.is_none()
            && self.deliveries.len() < DELIVERIES
            && self.draining.is_none()
    }

    pub(super) fn take(&mut self, held: &mut Held, shared: &mut Shared, now: Now) -> Result<Taken, Failure> {
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
                    letters: &shared.letters,
                    effects: &mut shared.effects,
                };
                let taken = open.take(block, cursor, &mut context, now)?;
                // A cut reached by the last record of a block counts at once, not with the next record.
                Ok(if taken == Taken::All && open.reached_cut() { Taken::Cut } else { taken })
            }
        }
    }

    pub(super) fn open_flush(&self, shared: &mut Shared, now: Now) -> OpenFlush {
        let (cut, basis) = if let Some(replay) = &self.replay {
            (Cut::Replay(replay.intent.end), replay.intent.basis.clone())
        } else {
            let mut readers = self.readers.clone();
            // One that is not at hand any more is not worth asking for: its type may never come again.
            readers.others.retain(|id| shared.schemas.is_ready(*id));
            // One that cannot be had reads nothing any more: the next record's schema takes its place.
            let at_hand = |id: &SchemaId| !shared.schemas.is_unusable(*id, now.tick);
            readers.value = readers.value.filter(at_hand);
            readers.key = readers.key.filter(at_hand);
            let basis =
                Basis { readers, wall_ms: now.wall_ms, refused: Vec::new(), prints: Some(Vec::new()) };
            (self.stop.map_or(Cut::None, Cut::Stop), basis)
        };
        let id = shared.next_flush();
        OpenFlush::new(id, self.tracker.rotated(), cut, basis, &shared.settings, now.tick)
            .named_from(self.file_start)
    }

    /// Ends the largest open row group; its bytes leave at once.
    pub(in crate::task) fn close_largest_row_group(&mut self, shared: &mut Shared) -> Result<(), Failure> {
        let Some(open) = &mut self.open else { return Ok(()) };
        let mut context = FlushContext {
            tp: &self.tp,
            topic_id: self.topic_id.as_deref(),
            settings: &shared.settings,
            partitioner: &self.partitioner,
            schemas: &mut shared.schemas,
            letters: &shared.letters,
            effects: &mut shared.effects,
        };
        open.close_largest_row_group(&mut context)
    }

    pub(super) fn cut_reason(&self) -> RotationReason {
        if self.replay.is_some() { RotationReason::Replay } else { RotationReason::End }
    }

    pub(super) fn at_stop(&self) -> bool {
        self.replay.is_none() && self.stop.is_some_and(|stop| self.tracker.settled() >= stop)
    }

    pub(super) fn at_stop_rotated(&self) -> bool {
        self.replay.is_none() && self.stop.is_some_and(|stop| self.tracker.rotated() >= stop)
    }

    pub(super) fn rotate_when_due(&mut self, shared: &mut Shared, now: Now) -> Result<(), Failure> {
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
    pub(in crate::task) fn rotate(
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
        self.readers = open.readers();
        let mut context = FlushContext {
            tp: &self.tp,
            topic_id: self.topic_id.as_deref(),
            settings: &shared.settings,
            partitioner: &self.partitioner,
            schemas: &mut shared.schemas,
            letters: &shared.letters,
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
        let replay = self.replay.take();
        let acknowledged = std::mem::take(&mut self.open_letters_acknowledged);
        let intended = replay.as_ref().is_some_and(|replay| replay.intended);
        let delivery = Delivery::new(flush, sealing, acknowledged, replay.is_some(), intended, now.tick);
        self.file_start = delivery.next_file_start();
        self.deliveries.push_back(delivery);
        Ok(())
    }

    /// Ends or drops what is open and gives the partition up once what is on its way is settled.
    pub(in crate::task) fn drain(
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
        if let Some(replay) = &self.replay {
            let range = OffsetRange::new(self.tracker.rotated(), replay.intent.end);
            let tp = self.tp.clone();
            shared.effects.push_back(Effect::Report(Event::LeftPending { tp, range }));
        }
        Ok(())
    }

    /// Whether a drained lane has nothing left to settle.
    pub(in crate::task) fn is_drained(&self) -> bool {
        self.draining.is_some() && self.deliveries.is_empty()
    }
}
