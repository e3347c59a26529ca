//! Owns the order of the protocol between a lane's flushes: seal, intend, publish, settle, each tried again where that may
//! help.

use super::{Lane, LaneState};
use crate::error::{Failure, Stage};
use crate::position::Offset;
use crate::task::Shared;
use crate::task::clock::Now;
use crate::task::delivery::{Delivery, DeliveryStage, Step};
use crate::task::message::{CommitError, CommitId, Effect, Event, FlushId, PublishedFiles, StagingError};
use std::time::Duration;

impl Lane {
    pub(super) fn advance_deliveries(&mut self, shared: &mut Shared, now: Now) {
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
            DeliveryStage::Sealed if !front.is_intended() => self.intend(shared),
            // Once files are visible and the group's offset is lost, nobody would read the range again for its letters.
            DeliveryStage::Sealed if front.letters_are_acknowledged() => self.publish(shared),
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

    pub(super) fn intend(&mut self, shared: &mut Shared) {
        let Some(front) = self.deliveries.front_mut() else { return };
        let commit = shared.next_commit();
        front.stage = DeliveryStage::Intending(commit);
        let (offset, metadata) = (front.range.start, front.intent().to_owned());
        self.commit(commit, offset, metadata, shared);
    }

    pub(super) fn publish(&mut self, shared: &mut Shared) {
        let Some(front) = self.deliveries.front_mut() else { return };
        assert!(front.is_intended(), "range {} would be published without its intent", front.range);
        front.stage = DeliveryStage::Publishing;
        shared.effects.push_back(Effect::Publish { tp: self.tp.clone(), flush: front.flush });
    }

    pub(super) fn settle_when_ready(&mut self, shared: &mut Shared) {
        // One commit a flush on a busy partition: the next intent travels with this end.
        let next = self.deliveries.get(1).filter(|next| next.may_be_announced());
        let next = next.map(|next| next.intent().to_owned());
        let Some(front) = self.deliveries.front_mut() else { return };
        if !front.may_settle() {
            return;
        }
        let commit = shared.next_commit();
        front.stage = DeliveryStage::Settling(commit);
        let (end, settled) = (front.range.end, front.settled_metadata());
        if next.is_some() {
            self.deliveries[1].stage = DeliveryStage::Intending(commit);
        }
        self.commit(commit, end, next.unwrap_or(settled), shared);
    }

    pub(super) fn commit(&self, commit: CommitId, offset: Offset, metadata: String, shared: &mut Shared) {
        self.tracker.check_commit(offset);
        self.ask_to_commit(commit, offset, metadata, shared);
    }

    /// Without the check: also for a lane whose tracker has not begun.
    pub(super) fn ask_to_commit(
        &self,
        commit: CommitId,
        offset: Offset,
        metadata: String,
        shared: &mut Shared,
    ) {
        shared.effects.push_back(Effect::Commit {
            tp: self.tp.clone(),
            epoch: self.epoch,
            commit,
            offset,
            metadata,
        });
    }

    pub(in crate::task) fn on_commit_done(
        &mut self,
        commit: CommitId,
        result: Result<(), CommitError>,
        shared: &mut Shared,
        now: Now,
    ) -> Result<(), Failure> {
        if let LaneState::Confirming(..) = self.state {
            return self.on_confirmed(commit, result, shared, now);
        }
        let Some(front) = self.deliveries.front_mut() else { return Ok(()) };
        let settling = match front.stage {
            DeliveryStage::Settling(pending) if pending == commit => true,
            DeliveryStage::Intending(pending) if pending == commit => false,
            _ => return Ok(()),
        };
        match result {
            Ok(()) => {
                front.succeed();
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
                format!("{}: the commit is denied: {reason}", self.tp),
            )),
            Err(CommitError::Unknown(reason)) => {
                let (stage, step) =
                    if settling { (Stage::Settle, Step::Settle) } else { (Stage::Intend, Step::Intend) };
                let failure = Failure::retriable(stage, format!("{}: commit: {reason}", self.tp));
                let wait = front.backoff.next(None, shared.random());
                front.stage = DeliveryStage::Retrying(step, now.tick.after(wait));
                front.trouble = Some(failure.clone());
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

    pub(super) fn on_intended(&mut self) {
        if let Some(front) = self.deliveries.front_mut() {
            front.set_intended();
            front.stage = DeliveryStage::Sealed;
        }
    }

    pub(super) fn on_settled(&mut self, commit: CommitId, shared: &mut Shared) {
        let Some(settled) = self.deliveries.pop_front() else { return };
        assert!(settled.may_settle(), "range {} was committed before it was settled", settled.range);
        self.tracker.settle(settled.range);
        self.backoff.succeed();
        self.spoiled_by = None;
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

    pub(super) fn finish(&mut self, shared: &mut Shared) {
        if !self.finished {
            self.finished = true;
            shared.effects.push_back(Effect::Finished { tp: self.tp.clone(), epoch: self.epoch });
        }
    }

    pub(in crate::task) fn on_sealed(
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
                    self.recover_from(failure, shared, now);
                    Ok(())
                }
            };
        }
        let Some(delivery) = self.deliveries.iter_mut().find(|delivery| delivery.flush == flush) else {
            return Ok(());
        };
        match result {
            Ok(()) if delivery.stage == DeliveryStage::Sealing => {
                delivery.succeed();
                delivery.stage = DeliveryStage::Sealed;
                self.spoiled_by = None;
                Ok(())
            }
            Ok(()) => Ok(()),
            Err(StagingError::Fatal(failure)) => Err(failure),
            Err(StagingError::Spoiled(failure)) => {
                self.recover_from(failure, shared, now);
                Ok(())
            }
            Err(StagingError::Retriable(failure)) => {
                let wait = retry(delivery, Step::Seal, &failure, shared.random(), now);
                shared.retrying(&self.tp, failure, wait);
                Ok(())
            }
        }
    }

    pub(in crate::task) fn on_published(
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
                delivery.succeed();
                delivery.set_published();
                shared.effects.push_back(Effect::Report(Event::Published {
                    tp: self.tp.clone(),
                    range: delivery.range,
                    names: delivery.files.iter().map(|file| file.name.clone()).collect(),
                    sizes_bytes: delivery.files.iter().map(|file| file.size_bytes).collect(),
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
                self.recover_from(failure, shared, now);
                Ok(())
            }
            Err(StagingError::Retriable(failure)) => {
                let wait = retry(delivery, Step::Publish, &failure, shared.random(), now);
                shared.retrying(&self.tp, failure, wait);
                Ok(())
            }
        }
    }

    pub(in crate::task) fn on_dead_lettered(
        &mut self,
        flush: FlushId,
        result: Result<(), Failure>,
        shared: &mut Shared,
        now: Now,
    ) -> Result<(), Failure> {
        let open = self.open.as_ref().is_some_and(|open| open.id == flush);
        let delivery = self.deliveries.iter_mut().find(|delivery| delivery.flush == flush);
        match result {
            Ok(()) => {
                self.spoiled_by = None;
                if open {
                    self.open_letters_acknowledged += 1;
                } else if let Some(delivery) = delivery {
                    delivery.acknowledge_letters();
                }
                Ok(())
            }
            Err(failure @ Failure::Fatal { .. }) => Err(failure),
            // Of a flush that was dropped: its records are read again anyway.
            Err(_) if !open && delivery.is_none() => Ok(()),
            Err(failure) => {
                self.recover_from(failure, shared, now);
                Ok(())
            }
        }
    }
}

fn retry(delivery: &mut Delivery, step: Step, failure: &Failure, random: u64, now: Now) -> Duration {
    let asked = if let Failure::Retriable { after, .. } = failure { *after } else { None };
    let wait = delivery.backoff.next(asked, random);
    delivery.stage = DeliveryStage::Retrying(step, now.tick.after(wait));
    delivery.trouble = Some(failure.clone());
    wait
}
