//! Owns the first part of a lane's life: finding where to begin, and beginning again after trouble.

use std::time::Duration;

use super::{Claimed, Comparison, Lane, LaneState, Replay};
use crate::error::{Failure, Stage};
use crate::position::Offset;
use crate::task::Shared;
use crate::task::claim::Claim;
use crate::task::clock::Now;
use crate::task::message::{Attempt, BrokerPosition, CommitError, CommitId, Effect, Event, PublishedFlush};
use crate::task::note::BeginningNote;
use crate::task::recovery;
use crate::task::recovery::Beginning;
use crate::task::tracker::OffsetTracker;

/// When files that could not be listed beside everything else are asked for again.
const COMPARE_AGAIN: Duration = Duration::from_secs(30);

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
        if position.committed.is_none() {
            self.first_end.get_or_insert(position.high);
        }
        let BrokerPosition { topic_id, partitions, .. } = &position;
        let settings = &shared.settings;
        let (group, connector) = (settings.group.clone(), settings.connector.clone());
        let claim = Claim::new(&group, topic_id.as_deref(), *partitions, &connector, shared.random());
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
        let standing = match result {
            Ok(standing) => claim.hold_against(&standing, &self.tp.topic)?,
            Err(failure) => return self.resolve_later(failure, shared, now),
        };
        if standing.id == claim.id && position.committed.is_some() {
            self.claimed = Claimed::Anew;
        }
        self.note_path = standing.id.as_ref().map(|id| BeginningNote::path(&self.tp, id));
        if position.committed.is_none() {
            self.list_published(true, shared);
            self.state = LaneState::Listing(position, standing);
            return Ok(());
        }
        let beginning = recovery::from_commit(&self.tp, &position, shared.settings.plan)?;
        // In the background: there may be many files, and nothing of this attempt depends on them.
        if beginning.intent.is_some() {
            self.comparison = Comparison::Done;
        } else if self.comparison != Comparison::Done {
            self.comparison = Comparison::Asked(self.attempt);
            self.list_published(false, shared);
        }
        let announced = beginning.intent.is_some();
        self.begin(beginning, shared);
        if announced {
            // The plan holds storage.url, and what was announced under it had a claim before.
            self.tell_of_empty_output(shared);
        }
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
            (LaneState::Listing(position, _), Ok(Some(last))) if self.doubts(last.range.end, position) => {
                return self.ask_again(last.range.end, "files end", shared, now);
            }
            (LaneState::Listing(position, standing), Ok(last)) => {
                let (plan, start) = (shared.settings.plan, shared.settings.start);
                let mut beginning =
                    recovery::from_files(&self.tp, position, last.as_ref(), plan, start, standing)?;
                if beginning.found == "latest" {
                    let first = self.first_end.unwrap_or(beginning.offset);
                    beginning.offset = beginning.offset.min(first).max(position.low);
                    beginning.file_start = beginning.offset;
                }
                if beginning.first && self.note_path.is_some() {
                    self.ask_to_note(beginning.offset, shared);
                    self.state = LaneState::Noting(position.clone(), beginning);
                } else if beginning.first || self.is_reached_by(&beginning) {
                    self.confirm(beginning, shared);
                } else {
                    self.begin(beginning, shared);
                }
            }
            (LaneState::Listing(..), Err(failure)) => return self.resolve_later(failure, shared, now),
            (_, result) => self.on_listed_beside(result, shared, now),
        }
        Ok(())
    }

    /// What the files say of an offset that the group had committed.
    fn on_listed_beside(
        &mut self,
        result: Result<Option<PublishedFlush>, Failure>,
        shared: &mut Shared,
        now: Now,
    ) {
        if self.comparison != Comparison::Asked(self.attempt) {
            return;
        }
        self.comparison = Comparison::Done;
        match result {
            // What was rotated since may be there by now.
            Ok(Some(last)) if last.range.end > self.began_at.max(self.tracker.rotated()) => {
                shared.effects.push_back(Effect::Report(Event::SetBack {
                    tp: self.tp.clone(),
                    offset: self.began_at,
                    published: last.range.end,
                }));
            }
            Ok(Some(_)) => {}
            Ok(None) => self.begun_without_files(shared),
            Err(failure) => {
                self.comparison = Comparison::Again(now.tick.after(COMPARE_AGAIN));
                shared.retrying(&self.tp, failure, COMPARE_AGAIN);
            }
        }
    }

    pub(super) fn compare_again(&mut self, shared: &mut Shared, now: Now) {
        if let Comparison::Again(at) = self.comparison
            && now.tick >= at
            && self.state == LaneState::Running
        {
            self.comparison = Comparison::Asked(self.attempt);
            self.list_published(false, shared);
        }
    }

    /// The group has committed, and no file of it is there. Its offsets may be gone the next time.
    fn begun_without_files(&mut self, shared: &mut Shared) {
        if self.began_at > Offset::ZERO {
            self.tell_of_empty_output(shared);
        }
        self.ask_to_note(self.began_at, shared);
    }

    /// Once, and only where nobody had claimed it before.
    fn tell_of_empty_output(&mut self, shared: &mut Shared) {
        if std::mem::replace(&mut self.claimed, Claimed::Before) == Claimed::Anew {
            let (tp, offset) = (self.tp.clone(), self.began_at);
            shared.effects.push_back(Effect::Report(Event::OutputEmpty { tp, offset }));
        }
    }

    /// Notes where reading begins beside the claim: the group may lose its offsets before any file tells how far it was.
    fn ask_to_note(&self, offset: Offset, shared: &mut Shared) {
        let Some(path) = self.note_path.clone() else { return };
        shared.effects.push_back(Effect::NoteBeginning {
            tp: self.tp.clone(),
            epoch: self.epoch,
            attempt: self.attempt,
            path,
            note: BeginningNote::new(offset),
        });
    }

    pub(in crate::task) fn on_noted(
        &mut self,
        attempt: Attempt,
        result: Result<String, Failure>,
        shared: &mut Shared,
        now: Now,
    ) -> Result<(), Failure> {
        // Where it began at a commit, nothing waits for the note.
        let LaneState::Noting(position, beginning) = &self.state else { return Ok(()) };
        if attempt != self.attempt {
            return Ok(());
        }
        let noted = match result {
            Ok(standing) => BeginningNote::read(&standing, self.note_path.as_deref().unwrap_or_default())?,
            Err(failure) => return self.resolve_later(failure, shared, now),
        };
        if self.doubts(noted, position) {
            return self.ask_again(noted, "the group began", shared, now);
        }
        let beginning = recovery::from_note(&self.tp, position, beginning, noted)?;
        self.confirm(beginning, shared);
        Ok(())
    }

    /// Whether an offset lies past the partition's end, and the broker was not asked again because of it.
    fn doubts(&self, offset: Offset, position: &BrokerPosition) -> bool {
        offset > position.high && self.doubted != Some(offset)
    }

    /// Perhaps only what the broker said is old by now: asks it once more before giving up.
    fn ask_again(
        &mut self,
        offset: Offset,
        what: &str,
        shared: &mut Shared,
        now: Now,
    ) -> Result<(), Failure> {
        self.doubted = Some(offset);
        let reason = format!("{}: {what} at {offset}, past the partition's end", self.tp);
        self.resolve_later(Failure::retriable(Stage::Recover, reason), shared, now)
    }

    fn list_published(&self, with_footer: bool, shared: &mut Shared) {
        shared.effects.push_back(Effect::ListPublished {
            tp: self.tp.clone(),
            epoch: self.epoch,
            attempt: self.attempt,
            with_footer,
        });
    }

    /// Whether nothing is left to be read before the stop of a bounded run. It ends when every stop is committed, and no
    /// flush would commit this one.
    fn is_reached_by(&self, beginning: &Beginning) -> bool {
        let stop = self.stop.filter(|stop| *stop > Offset::ZERO);
        beginning.intent.is_none() && stop.is_some_and(|stop| beginning.offset >= stop)
    }

    /// Commits where reading is to begin, before anything is read: what begins again before the first flush is settled must
    /// not begin later, or what lies between would be passed over.
    fn confirm(&mut self, beginning: Beginning, shared: &mut Shared) {
        let commit = shared.next_commit();
        self.ask_to_commit(commit, beginning.offset, String::new(), shared);
        self.state = LaneState::Confirming(beginning, commit);
    }

    /// The answer to the commit of [`Self::confirm`].
    pub(super) fn on_confirmed(
        &mut self,
        commit: CommitId,
        result: Result<(), CommitError>,
        shared: &mut Shared,
        now: Now,
    ) -> Result<(), Failure> {
        let LaneState::Confirming(beginning, pending) = &self.state else { return Ok(()) };
        if *pending != commit {
            return Ok(());
        }
        let told = |reason: String| format!("{}: the commit of where to begin: {reason}", self.tp);
        match result {
            Ok(()) => {
                let beginning = beginning.clone();
                self.begin(beginning, shared);
                Ok(())
            }
            Err(CommitError::Denied(reason)) => Err(Failure::fatal(Stage::Recover, told(reason))),
            // It may have been made: the broker is asked again.
            Err(CommitError::Refused(reason) | CommitError::Unknown(reason)) => {
                let failure = Failure::retriable(Stage::Recover, told(reason));
                self.resolve_later(failure, shared, now)
            }
        }
    }

    pub(super) fn begin(&mut self, beginning: Beginning, shared: &mut Shared) {
        self.state = LaneState::Running;
        self.not_begun_because = None;
        self.backoff.succeed();
        self.tracker = OffsetTracker::starting_at(beginning.offset);
        self.file_start = beginning.file_start;
        self.began_at = beginning.offset;
        self.ages.clear();
        self.readers =
            beginning.intent.as_ref().map(|intent| intent.basis.readers.clone()).unwrap_or_default();
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
        self.not_begun_because = Some(failure.clone());
        shared.effects.push_back(Effect::Report(Event::Retrying {
            tp: Some(self.tp.clone()),
            failure,
            after: wait,
        }));
        Ok(())
    }

    /// As [`Self::recover`], because of trouble that may last: it is shown until such a step works again.
    pub(super) fn recover_from(&mut self, failure: Failure, shared: &mut Shared, now: Now) {
        let reason = failure.to_string();
        self.spoiled_by = Some(failure);
        self.recover(reason, shared, now);
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
        self.wants = None;
        self.failing = None;
        self.replay = None;
    }
}
