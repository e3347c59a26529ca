//! The sink task: pure state machines that decide what is written, published and committed. No clock, no I/O.
//!
//! [`SinkTask`] owns a set of topic-partitions. It is told things ([`message::Input`]), asks for things
//! ([`message::Effect`]) and says when it wants to be woken; time and randomness are arguments, so the whole core
//! runs in a simulation.

pub mod alarm;
pub mod backoff;
pub mod budget;
pub mod claim;
pub mod clock;
mod delivery;
mod file_schema;
mod flush;
pub mod intent;
mod lane;
pub mod message;
pub mod names;
pub mod note;
mod open_file;
pub mod partition_fields;
mod partition_value;
pub mod partitioner;
mod plan;
mod recovery;
pub mod rotation;
pub mod schemas;
pub mod settings;
mod tracker;
mod zone;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::error::Failure;
use crate::position::{Epoch, SchemaId, TopicPartition};
use crate::schema::ColumnOptions;
use crate::task::budget::MemoryBudget;
use crate::task::clock::{Now, Tick};
use crate::task::lane::Lane;
use crate::task::message::{CommitId, Effect, Event, FlushId, Input};
use crate::task::rotation::RotationReason;
use crate::task::schemas::SchemaBook;
use crate::task::settings::TaskSettings;

pub use lane::LaneSnapshot;

/// How long a task that waits for memory sleeps before it looks again.
const BUDGET_LOOK: Duration = Duration::from_millis(50);

/// Row groups are not closed early for less memory than this: small ones cost every reader.
const SMALLEST_EARLY_ROW_GROUP_BYTES: usize = 1 << 20;

/// Decides for a set of topic-partitions of one connector.
pub struct SinkTask {
    lanes: BTreeMap<TopicPartition, Lane>,
    shared: Shared,
    failed: bool,
}

/// What all lanes of a task use.
struct Shared {
    settings: Arc<TaskSettings>,
    schemas: SchemaBook,
    budget: MemoryBudget,
    /// The part of the budget for dead letters that are not acknowledged.
    letters: MemoryBudget,
    effects: VecDeque<Effect>,
    paused: bool,
    flushes: u64,
    commits: u64,
    random: u64,
    now: Tick,
    /// The partition that goes on although the budget is used up, so that no partitions wait for each other forever.
    exempt: Option<TopicPartition>,
    /// Bytes of the records that all lanes hold back.
    held_bytes: usize,
    /// Bytes that the lanes count against the budget.
    reserved_bytes: u64,
}

/// The earliest of several deadlines.
#[derive(Clone, Copy, Debug, Default)]
struct Wait(Option<Tick>);

impl SinkTask {
    /// A task without partitions. `value_schema` and `reader_schema` are the texts of the schema files, where the
    /// settings name any; `seed` feeds the jitter of waits.
    ///
    /// # Errors
    /// Fatal when a schema file cannot be used.
    pub fn new(
        settings: Arc<TaskSettings>,
        value_schema: Option<&str>,
        reader_schema: Option<&str>,
        budget: MemoryBudget,
        seed: u64,
    ) -> Result<Self, Failure> {
        let nullable = settings.errors.on_tombstone == crate::config::settings::OnTombstone::Row;
        let mut schemas =
            SchemaBook::new(ColumnOptions { nullable_top_level: nullable, types: settings.types });
        let files = [
            (SchemaId::ValueFile, value_schema, settings.readers.writers_may_read()),
            (SchemaId::ReaderFile, reader_schema, true),
        ];
        for (id, text, reads) in files {
            if let Some(text) = text {
                schemas.pin(id, text, reads)?;
            }
        }
        let letters = budget.part(settings.letters_bytes as u64);
        let shared = Shared {
            settings,
            letters,
            schemas,
            budget,
            effects: VecDeque::new(),
            paused: false,
            flushes: 0,
            commits: 0,
            random: seed | 1,
            now: Tick(0),
            exempt: None,
            held_bytes: 0,
            reserved_bytes: 0,
        };
        Ok(Self { lanes: BTreeMap::new(), shared, failed: false })
    }

    /// Makes the schema of a file known, for records that name it by its fingerprint.
    ///
    /// # Errors
    /// Fatal when it is not a usable schema.
    pub fn pin_fingerprint(&mut self, schema: &str) -> Result<(), Failure> {
        let reads = self.shared.settings.readers.writers_may_read();
        self.shared.schemas.pin_fingerprint(schema, reads)
    }

    /// Takes one input. Whatever follows from it is then to be had from [`Self::poll_effect`].
    pub fn handle(&mut self, input: Input, now: Now) {
        self.shared.now = now.tick;
        if self.failed {
            return;
        }
        if let Err((tp, failure)) = self.dispatch(input, now) {
            self.fail(tp, failure);
        }
    }

    /// The next thing to be done, in order.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.shared.effects.pop_front()
    }

    /// When [`Input::Tick`] is wanted at the latest; `None`: not before another input.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Tick> {
        let mut wait = Wait::default();
        for lane in self.lanes.values() {
            wait.join(lane.deadline(&self.shared));
            if lane.waits_for_budget(&self.shared) {
                wait.until(self.shared.now.after(BUDGET_LOOK));
            }
        }
        wait.0
    }

    /// What people may see.
    #[must_use]
    pub fn snapshot(&self) -> Vec<LaneSnapshot> {
        self.lanes.values().map(|lane| lane.snapshot(&self.shared)).collect()
    }

    fn dispatch(&mut self, input: Input, now: Now) -> Result<(), (Option<TopicPartition>, Failure)> {
        match input {
            Input::Assigned { tp, epoch, stop } => {
                if let Some(old) = self.lanes.remove(&tp) {
                    forget(old, &mut self.shared);
                }
                names::check_topic(&tp, self.shared.settings.prefix_bytes)
                    .map_err(|failure| (Some(tp.clone()), failure))?;
                let lane = Lane::new(tp.clone(), epoch, stop, &mut self.shared);
                self.lanes.insert(tp, lane);
                Ok(())
            }
            Input::Committed { tp, epoch, attempt, result } => {
                self.with_lane(&tp, Some(epoch), now, |lane, shared| {
                    lane.on_committed(attempt, result, shared, now)
                })
            }
            Input::Claimed { tp, epoch, attempt, result } => {
                self.with_lane(&tp, Some(epoch), now, |lane, shared| {
                    lane.on_claimed(attempt, result, shared, now)
                })
            }
            Input::Noted { tp, epoch, attempt, result } => {
                self.with_lane(&tp, Some(epoch), now, |lane, shared| {
                    lane.on_noted(attempt, result, shared, now)
                })
            }
            Input::Listed { tp, epoch, attempt, result } => {
                self.with_lane(&tp, Some(epoch), now, |lane, shared| {
                    lane.on_listed(attempt, result, shared, now)
                })
            }
            Input::Records { tp, epoch, attempt, block } => {
                self.with_lane(&tp, Some(epoch), now, |lane, _| {
                    lane.on_records(attempt, block);
                    Ok(())
                })
            }
            Input::Reached { tp, epoch, attempt, position } => {
                self.with_lane(&tp, Some(epoch), now, |lane, _| {
                    lane.on_reached(attempt, position);
                    Ok(())
                })
            }
            Input::ReadFailed { tp, epoch, failure } => match failure {
                Failure::Retriable { .. } => {
                    let event = Event::Retrying { tp: Some(tp), failure, after: Duration::ZERO };
                    self.shared.effects.push_back(Effect::Report(event));
                    Ok(())
                }
                failure => self.with_lane(&tp, Some(epoch), now, |_, _| Err(failure)),
            },
            Input::CommitDone { tp, commit, result } => self
                .with_lane(&tp, None, now, |lane, shared| lane.on_commit_done(commit, result, shared, now)),
            Input::Sealed { tp, flush, result } => {
                self.with_lane(&tp, None, now, |lane, shared| lane.on_sealed(flush, result, shared, now))
            }
            Input::Published { tp, flush, result } => {
                self.with_lane(&tp, None, now, |lane, shared| lane.on_published(flush, result, shared, now))
            }
            Input::DeadLettered { tp, flush, result } => {
                self.with_lane(&tp, None, now, |lane, shared| {
                    lane.on_dead_lettered(flush, result, shared, now)
                })?;
                self.wake_for_letters(now)
            }
            Input::SchemaFetched { id, result } => self.on_schema(id, result, now),
            Input::Revoked { tp, epoch } => self.with_lane(&tp, Some(epoch), now, |lane, shared| {
                lane.drain(RotationReason::Revoke, shared, now)
            }),
            Input::Lost { tp, epoch } => {
                if self.lanes.get(&tp).is_some_and(|lane| lane.epoch == epoch)
                    && let Some(lane) = self.lanes.remove(&tp)
                {
                    forget(lane, &mut self.shared);
                }
                Ok(())
            }
            Input::Drain => {
                self.with_every_lane(now, |lane, shared| lane.drain(RotationReason::Shutdown, shared, now))
            }
            Input::FlushNow => {
                self.with_every_lane(now, |lane, shared| lane.rotate(RotationReason::Operator, shared, now))
            }
            Input::SetPaused(paused) => {
                self.shared.paused = paused;
                self.with_every_lane(now, |_, _| Ok(()))
            }
            Input::Tick => self.with_every_lane(now, |lane, shared| {
                lane.request_schema(shared, now);
                Ok(())
            }),
        }
    }

    fn on_schema(
        &mut self,
        id: SchemaId,
        result: Result<message::SchemaText, Failure>,
        now: Now,
    ) -> Result<(), (Option<TopicPartition>, Failure)> {
        let failure = result.as_ref().err().cloned();
        let random = self.shared.random();
        let wait =
            self.shared.schemas.fetched(id, result, now.tick, random).map_err(|failure| (None, failure))?;
        if let (Some(after), Some(failure)) = (wait, failure) {
            self.shared.effects.push_back(Effect::Report(Event::Retrying { tp: None, failure, after }));
        }
        self.with_every_lane(now, |lane, shared| {
            lane.on_schema(id, shared);
            Ok(())
        })
    }

    /// Letters were acknowledged or given up: those that wait for room may go on, whosever letters they were.
    fn wake_for_letters(&mut self, now: Now) -> Result<(), (Option<TopicPartition>, Failure)> {
        let waiting = self.lanes.values().filter(|lane| lane.waits_for_letters());
        let tps: Vec<TopicPartition> = waiting.map(|lane| lane.tp.clone()).collect();
        for tp in tps {
            self.with_lane(&tp, None, now, |_, _| Ok(()))?;
        }
        Ok(())
    }

    fn with_every_lane(
        &mut self,
        now: Now,
        mut act: impl FnMut(&mut Lane, &mut Shared) -> Result<(), Failure>,
    ) -> Result<(), (Option<TopicPartition>, Failure)> {
        let tps: Vec<TopicPartition> = self.lanes.keys().cloned().collect();
        for tp in tps {
            self.with_lane(&tp, None, now, &mut act)?;
        }
        Ok(())
    }

    /// Acts on a lane (of that epoch, if one is given), pumps it, keeps its books, and gives it up when it is drained.
    fn with_lane(
        &mut self,
        tp: &TopicPartition,
        epoch: Option<Epoch>,
        now: Now,
        act: impl FnOnce(&mut Lane, &mut Shared) -> Result<(), Failure>,
    ) -> Result<(), (Option<TopicPartition>, Failure)> {
        let located = |failure| (Some(tp.clone()), failure);
        self.shared.exempt = self.find_exempt();
        let Some(lane) = self.lanes.get_mut(tp).filter(|lane| epoch.is_none_or(|epoch| epoch == lane.epoch))
        else {
            return Ok(());
        };
        act(lane, &mut self.shared).map_err(located)?;
        lane.pump(&mut self.shared, now).map_err(located)?;
        keep_books(lane, &mut self.shared);
        if lane.is_drained() {
            self.shared.effects.push_back(Effect::Release { tp: tp.clone(), epoch: lane.epoch });
            if let Some(lane) = self.lanes.remove(tp) {
                forget(lane, &mut self.shared);
            }
            return Ok(());
        }
        self.ease_row_groups().map_err(located)?;
        self.ease_memory(now).map_err(located)
    }

    /// A replay cannot be ended early to free memory, so the first one goes on in any case. Without one, memory comes back by
    /// ending flushes and by those on their way; where there is neither, all of it is in records held back, and only taking
    /// them makes a flush of them.
    fn find_exempt(&self) -> Option<TopicPartition> {
        if !self.shared.budget.exhausted() {
            return None;
        }
        let mut ready = self.lanes.values().filter(|lane| lane.could_take());
        if let Some(lane) = ready.clone().find(|lane| lane.is_replaying()) {
            return Some(lane.tp.clone());
        }
        let frees = |lane: &Lane| lane.rotatable_bytes() > 0 || lane.is_delivering();
        if self.lanes.values().any(frees) {
            return None;
        }
        ready.find(|lane| lane.holds()).map(|lane| lane.tp.clone())
    }

    /// Ends the largest open row group when all of them hold too much together. Their bytes go to storage and the flushes
    /// stay as they are.
    fn ease_row_groups(&mut self) -> Result<(), Failure> {
        let share = self.shared.budget.limit_bytes() / 4;
        let limit_bytes = share.min(self.shared.settings.open_row_groups_bytes as u64);
        if self.shared.reserved_bytes <= limit_bytes {
            return Ok(());
        }
        let Some(lane) = self.lanes.values_mut().max_by_key(|lane| lane.largest_file_bytes()) else {
            return Ok(());
        };
        if lane.largest_file_bytes() >= SMALLEST_EARLY_ROW_GROUP_BYTES {
            lane.close_largest_row_group(&mut self.shared)?;
            keep_books(lane, &mut self.shared);
        }
        Ok(())
    }

    /// Over three quarters of the budget, ends the largest open flush: only that frees memory.
    fn ease_memory(&mut self, now: Now) -> Result<(), Failure> {
        if !self.shared.budget.tight() {
            return Ok(());
        }
        let Some(lane) = self.lanes.values_mut().max_by_key(|lane| lane.rotatable_bytes()) else {
            return Ok(());
        };
        // Ending small flushes early would make small files for little memory; past the limit there is no choice.
        let worth_it = lane.rotatable_bytes() as u64 >= self.shared.budget.limit_bytes() / 64;
        if lane.rotatable_bytes() > 0 && (worth_it || self.shared.budget.exhausted()) {
            lane.rotate(RotationReason::Memory, &mut self.shared, now)?;
            lane.pump(&mut self.shared, now)?;
            keep_books(lane, &mut self.shared);
        }
        Ok(())
    }

    fn fail(&mut self, tp: Option<TopicPartition>, failure: Failure) {
        self.failed = true;
        for (_, lane) in std::mem::take(&mut self.lanes) {
            forget(lane, &mut self.shared);
        }
        self.shared.effects.push_back(Effect::Fail { tp, failure });
    }
}

impl Drop for SinkTask {
    fn drop(&mut self) {
        for lane in self.lanes.values() {
            self.shared.budget.release(lane.reserved_bytes);
        }
    }
}

/// Drops a lane and what is counted of it.
fn forget(mut lane: Lane, shared: &mut Shared) {
    lane.drop_unsettled(shared);
    shared.held_bytes -= lane.counted_held_bytes;
    shared.reserved_bytes -= lane.reserved_bytes;
    shared.budget.release(lane.reserved_bytes);
}

fn keep_books(lane: &mut Lane, shared: &mut Shared) {
    shared.held_bytes = shared.held_bytes - lane.counted_held_bytes + lane.held_bytes;
    lane.counted_held_bytes = lane.held_bytes;
    let bytes = lane.memory_bytes();
    shared.reserved_bytes = shared.reserved_bytes - lane.reserved_bytes + bytes;
    if bytes > lane.reserved_bytes {
        shared.budget.reserve(bytes - lane.reserved_bytes);
    } else {
        shared.budget.release(lane.reserved_bytes - bytes);
    }
    lane.reserved_bytes = bytes;
}

impl Shared {
    fn next_flush(&mut self) -> FlushId {
        self.flushes += 1;
        FlushId(self.flushes)
    }

    fn next_commit(&mut self) -> CommitId {
        self.commits += 1;
        CommitId(self.commits)
    }

    /// xorshift64: jitter needs no more.
    fn random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }

    fn request_schema(&mut self, id: SchemaId, now: Now) {
        if self.schemas.request(id, now.tick) {
            self.effects.push_back(Effect::FetchSchema { id });
        }
    }

    /// Whether records of `id` must still wait for it.
    fn is_waiting_for(&self, id: SchemaId) -> bool {
        self.schemas.is_pending(id)
    }

    fn retrying(&mut self, tp: &TopicPartition, failure: Failure, after: Duration) {
        self.effects.push_back(Effect::Report(Event::Retrying { tp: Some(tp.clone()), failure, after }));
    }
}

impl Wait {
    fn until(&mut self, tick: Tick) {
        self.0 = Some(self.0.map_or(tick, |known| known.min(tick)));
    }

    fn join(&mut self, other: Self) {
        if let Some(tick) = other.0 {
            self.until(tick);
        }
    }
}
