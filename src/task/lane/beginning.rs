//! Owns the first part of a lane's life: finding where to begin, and beginning again after trouble.

use super::{Lane, LaneState, Replay};
use crate::error::Failure;
use crate::task::Shared;
use crate::task::claim::Claim;
use crate::task::clock::Now;
use crate::task::message::{Attempt, BrokerPosition, Effect, Event, PublishedFlush};
use crate::task::recovery;
use crate::task::recovery::Beginning;
use crate::task::tracker::OffsetTracker;

impl Lane {
    pub(in crate::task) fn on_committed(
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
        let claim =
            Claim::new(&shared.settings.group, position.topic_id.as_deref(), &shared.settings.connector);
        shared.effects.push_back(Effect::Claim {
            tp: self.tp.clone(),
            epoch: self.epoch,
            attempt: self.attempt,
            claim: claim.clone(),
        });
        self.state = LaneState::Claiming(position, claim);
        Ok(())
    }

    pub(in crate::task) fn on_claimed(
        &mut self,
        attempt: Attempt,
        result: Result<String, Failure>,
        shared: &mut Shared,
        now: Now,
    ) -> Result<(), Failure> {
        let LaneState::Claiming(position, claim) = &self.state else { return Ok(()) };
        if attempt != self.attempt {
            return Ok(());
        }
        let position = position.clone();
        match result {
            Ok(standing) => claim.hold_against(&standing, &self.tp.topic)?,
            Err(failure) => return self.resolve_later(failure, shared, now),
        }
        if position.committed.is_none() {
            self.list_published(true, shared);
            self.state = LaneState::Listing(position);
            return Ok(());
        }
        let beginning = recovery::from_commit(&self.tp, &position, shared.settings.plan)?;
        // In the background: it only tells people, and there may be many files.
        if !self.compared && beginning.intent.is_none() {
            self.list_published(false, shared);
        }
        self.compared = true;
        self.begin(beginning, shared);
        Ok(())
    }

    pub(in crate::task) fn on_listed(
        &mut self,
        attempt: Attempt,
        result: Result<Option<PublishedFlush>, Failure>,
        shared: &mut Shared,
        now: Now,
    ) -> Result<(), Failure> {
        if attempt != self.attempt {
            return Ok(());
        }
        match (&self.state, result) {
            (LaneState::Listing(position), Ok(last)) => {
                let settings = &shared.settings;
                let beginning =
                    recovery::from_files(&self.tp, position, last.as_ref(), settings.plan, settings.start)?;
                self.begin(beginning, shared);
            }
            (LaneState::Listing(_), Err(failure)) => return self.resolve_later(failure, shared, now),
            (_, Ok(Some(last))) if last.range.end > self.began_at => {
                shared.effects.push_back(Effect::Report(Event::SetBack {
                    tp: self.tp.clone(),
                    offset: self.began_at,
                    published: last.range.end,
                }));
            }
            _ => {}
        }
        Ok(())
    }

    fn list_published(&self, with_footer: bool, shared: &mut Shared) {
        shared.effects.push_back(Effect::ListPublished {
            tp: self.tp.clone(),
            epoch: self.epoch,
            attempt: self.attempt,
            with_footer,
        });
    }

    pub(super) fn begin(&mut self, beginning: Beginning, shared: &mut Shared) {
        self.state = LaneState::Running;
        self.backoff.succeed();
        self.tracker = OffsetTracker::starting_at(beginning.offset);
        self.began_at = beginning.offset;
        self.ages.clear();
        self.reader = beginning.intent.as_ref().and_then(|intent| intent.schema);
        let intended = beginning.intended;
        self.replay = beginning.intent.map(|intent| Replay { intent, intended });
        shared.effects.push_back(Effect::Report(Event::Started {
            tp: self.tp.clone(),
            offset: beginning.offset,
            replay: self.replay.as_ref().map(|replay| replay.intent.end),
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

    pub(super) fn resolve(&mut self, shared: &mut Shared) {
        self.state = LaneState::Resolving;
        shared.effects.push_back(Effect::ReadCommitted {
            tp: self.tp.clone(),
            epoch: self.epoch,
            attempt: self.attempt,
        });
    }

    pub(super) fn resolve_later(
        &mut self,
        failure: Failure,
        shared: &mut Shared,
        now: Now,
    ) -> Result<(), Failure> {
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
    pub(super) fn recover(&mut self, reason: String, shared: &mut Shared, now: Now) {
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

    pub(in crate::task) fn drop_unsettled(&mut self, shared: &mut Shared) {
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
}
