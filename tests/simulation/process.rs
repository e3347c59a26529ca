//! Owns the model of one daemon: the real sink task between a consumer thread, staging, a registry client and a producer
//! of dead letters, whose answers reach it in any order that the real ones could have.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use sluice::error::{Failure, Stage};
use sluice::position::{Epoch, Offset, SchemaId, TopicPartition};
use sluice::task::SinkTask;
use sluice::task::alarm::Alarm;
use sluice::task::budget::MemoryBudget;
use sluice::task::claim::Claim;
use sluice::task::message::{Attempt, DeadLetter, Effect, Event, FlushId, Input, PublishedFiles};
use sluice::task::settings::TaskSettings;

use crate::consumer::{Command, Commit, Consumer};
use crate::control::Control;
use crate::coordinator::ProcessId;
use crate::outside::{Outside, Service, passing};
use crate::promise::Promise;
use crate::staging::Staging;
use crate::{records, tally};

pub(crate) struct Process {
    pub id: ProcessId,
    pub consumer: Consumer,
    task: SinkTask,
    budget: MemoryBudget,
    letters_bytes: u64,
    staging: Staging,
    chores: Vec<Chore>,
    /// Answers of all but the consumer thread.
    answers: Vec<Input>,
    /// Until when it does nothing: a stopped process, which may wake as a zombie.
    pub stalled_until: u64,
    pub failure: Option<(Option<TopicPartition>, Failure)>,
    /// Ticks on end that led to nothing.
    useless_ticks: u32,
    /// Inputs on end that came before a wake-up that was due.
    kept_waiting: u32,
    alarm: Alarm,
    /// For a control: the largest end of a flush of each partition.
    largest_ends: BTreeMap<TopicPartition, Offset>,
}

/// What runs beside each other in a process.
#[derive(Clone, Copy)]
enum Thread {
    Task,
    Consumer,
    Staging,
    Chores,
}

/// Small requests of other services than the store.
enum Chore {
    Claim(TopicPartition, Epoch, Attempt, String),
    Note(TopicPartition, Epoch, Attempt, String, String),
    List(TopicPartition, Epoch, Attempt),
    FetchSchema(SchemaId),
    Letters(TopicPartition, FlushId, VecDeque<DeadLetter>),
}

impl Process {
    pub(crate) fn new(
        id: ProcessId,
        settings: Arc<TaskSettings>,
        budget_bytes: u64,
        outside: &mut Outside,
    ) -> Self {
        let budget = MemoryBudget::new(budget_bytes);
        let seed = outside.rng.next();
        Self {
            letters_bytes: settings.letters_bytes as u64,
            id,
            consumer: Consumer::new(id, outside),
            task: SinkTask::new(settings, None, None, budget.clone(), seed).unwrap(),
            staging: Staging::new(id, budget.clone()),
            budget,
            chores: Vec::new(),
            answers: Vec::new(),
            stalled_until: 0,
            failure: None,
            useless_ticks: 0,
            kept_waiting: 0,
            alarm: Alarm::default(),
            largest_ends: BTreeMap::new(),
        }
    }

    pub(crate) fn is_awake(&self, outside: &Outside) -> bool {
        self.stalled_until <= outside.now
    }

    /// A little work of one of its threads that has something to do.
    pub(crate) fn turn(&mut self, outside: &mut Outside) {
        let work = self.work(outside);
        if !work.is_empty() {
            match work[outside.rng.below(work.len())] {
                Thread::Task => self.hear(outside),
                Thread::Consumer => self.consumer.turn(outside),
                Thread::Staging => {
                    let said = self.staging.turn(outside);
                    self.answers.extend(said);
                }
                Thread::Chores => self.do_chore(outside),
            }
            self.check_memory(outside);
        }
    }

    pub(crate) fn is_idle(&self, outside: &Outside) -> bool {
        self.work(outside).is_empty()
    }

    fn work(&self, outside: &Outside) -> Vec<Thread> {
        let heard = !self.answers.is_empty() || !self.consumer.told.is_empty();
        [
            (Thread::Task, heard || self.is_due(outside)),
            (Thread::Consumer, self.consumer.has_work() || self.consumer.can_fetch(outside)),
            (Thread::Staging, self.staging.has_work(outside)),
            (Thread::Chores, !self.chores.is_empty()),
        ]
        .into_iter()
        .filter_map(|(thread, has_work)| has_work.then_some(thread))
        .collect()
    }

    /// The clock or an operator.
    pub(crate) fn interrupt(&mut self, input: Input) {
        if matches!(input, Input::SetPaused(_)) {
            // An operator's wishes do not overtake each other.
            self.answers.retain(|answer| !matches!(answer, Input::SetPaused(_)));
        }
        self.answers.push(input);
    }

    fn is_due(&self, outside: &Outside) -> bool {
        self.task.poll_timeout().is_some_and(|until| until <= outside.clock().tick)
    }

    /// When it wants to be woken.
    pub(crate) fn deadline(&self) -> Option<u64> {
        self.task.poll_timeout().map(|until| until.0)
    }

    pub(crate) fn describe(&self) -> String {
        let mut text = format!(
            "process {}: {} lanes, told {}, answers {}, chores {}, memory {} of {}\n",
            self.id,
            self.consumer.lanes(),
            self.consumer.told.len(),
            self.answers.len(),
            self.chores.len(),
            self.budget.used_bytes(),
            self.budget.limit_bytes(),
        );
        for lane in self.task.snapshot() {
            text += &format!("  {lane:?}\n");
        }
        text
    }

    /// The task takes one input.
    fn hear(&mut self, outside: &mut Outside) {
        self.alarm.set(self.task.poll_timeout());
        let from_consumer = self.answers.is_empty() || outside.rng.chance(60);
        let input = if self.alarm.rings(outside.clock().tick) {
            Input::Tick
        } else if from_consumer && let Some(input) = self.consumer.told.pop_front() {
            input
        } else if !self.answers.is_empty() {
            self.answers.swap_remove(outside.rng.below(self.answers.len()))
        } else if self.is_due(outside) {
            Input::Tick
        } else {
            return;
        };
        outside.trace.note(self.id, &input);
        let tick = matches!(input, Input::Tick);
        self.useless_ticks = if tick { self.useless_ticks + 1 } else { 0 };
        self.kept_waiting = if tick || !self.is_due(outside) { 0 } else { self.kept_waiting + 1 };
        if self.kept_waiting > MOST_KEPT_WAITING {
            let what = format!("process {} hears everybody but the clock", self.id);
            outside.ledger.break_promise(Promise::K7, what);
        }
        self.task.handle(input, outside.clock());
        while let Some(effect) = self.task.poll_effect() {
            outside.trace.note(self.id, &effect);
            self.useless_ticks = 0;
            self.carry_out(effect, outside);
        }
        if self.useless_ticks > MOST_USELESS_TICKS && self.is_due(outside) {
            let what = format!("process {} is woken again and again for nothing", self.id);
            outside.ledger.break_promise(Promise::K7, what);
        }
    }

    fn carry_out(&mut self, effect: Effect, outside: &mut Outside) {
        match effect {
            Effect::ReadCommitted { tp, epoch, attempt } => {
                self.consumer.command(Command::ReadCommitted(tp, epoch, attempt));
            }
            Effect::Claim { tp, epoch, attempt, claim } => {
                self.chores.push(Chore::Claim(tp, epoch, attempt, claim.to_json()));
            }
            Effect::NoteBeginning { tp, epoch, attempt, path, note } => {
                self.chores.push(Chore::Note(tp, epoch, attempt, path, note.to_json()));
            }
            Effect::ListPublished { tp, epoch, attempt, .. } => {
                self.chores.push(Chore::List(tp, epoch, attempt));
            }
            Effect::Start { tp, epoch, attempt, offset } => {
                self.largest_ends.remove(&tp);
                self.consumer.command(Command::Start(tp, epoch, attempt, offset));
            }
            Effect::Pause { tp, epoch } => self.consumer.command(Command::Pause(tp, epoch, true)),
            Effect::Resume { tp, epoch } => self.consumer.command(Command::Pause(tp, epoch, false)),
            Effect::Commit { tp, epoch, commit, offset, metadata } => {
                self.commit(Commit { tp, epoch, commit, offset, metadata }, outside.control);
            }
            Effect::Release { tp, epoch } => self.consumer.command(Command::Release(tp, epoch)),
            Effect::Append { tp, flush, file, bytes } => self.staging.append(&tp, flush, file, bytes),
            Effect::Seal { tp, flush, files } => self.staging.seal(&tp, flush, files),
            Effect::Publish { tp, flush } => {
                if outside.control == Control::CommitBeforePublish {
                    let result = Ok(PublishedFiles::default());
                    self.answers.push(Input::Published { tp: tp.clone(), flush, result });
                }
                self.staging.publish(&tp, flush);
            }
            Effect::Discard { flush } => self.staging.discard(flush),
            Effect::FetchSchema { id } => self.chores.push(Chore::FetchSchema(id)),
            Effect::DeadLetter { tp, flush, letters } => {
                self.chores.push(Chore::Letters(tp, flush, letters.into()));
            }
            Effect::Fail { tp, failure } => self.failure = Some((tp, failure)),
            Effect::Finished { .. } => {}
            Effect::Report(event) => self.observe(event, outside),
        }
    }

    fn commit(&mut self, mut commit: Commit, control: Control) {
        if control == Control::CommitLargestEnd
            && let Some(end) = self.largest_ends.get(&commit.tp)
        {
            commit.offset = commit.offset.max(*end);
        }
        self.consumer.command(Command::Commit(commit));
    }

    fn observe(&mut self, event: Event, outside: &mut Outside) {
        match event {
            Event::Started { replay, found, .. } => {
                outside.tally.count(match (found, replay) {
                    ("files", None) => "starts after the last file",
                    ("noted", _) => "starts at a note",
                    ("files", Some(_)) => "starts within a flush half published",
                    (_, Some(_)) => "intents found",
                    (_, None) => "starts without an intent",
                });
            }
            Event::Rotated { tp, range, reason, .. } => {
                outside.tally.count(tally::rotation(reason));
                self.largest_ends.insert(tp, range.end);
            }
            Event::Published { replayed: true, .. } => outside.tally.count("intents replayed"),
            Event::Refused { tp, offset, stage, outcome, .. } => {
                if stage == Stage::Partition {
                    outside.tally.count("records without a directory");
                }
                if outcome == "skipped" {
                    outside.tally.count("records skipped");
                    outside.ledger.skipped(&tp, offset.as_i64());
                }
            }
            Event::Dropped { .. } => outside.tally.count("lanes begun again"),
            _ => {}
        }
    }

    fn do_chore(&mut self, outside: &mut Outside) {
        if self.chores.is_empty() {
            return;
        }
        let chore = self.chores.swap_remove(outside.rng.below(self.chores.len()));
        match chore {
            Chore::Claim(tp, epoch, attempt, claim) => {
                let standing = outside.store.write_once(&Claim::path(&tp.topic), claim);
                let result =
                    if outside.trouble(Service::Store) { Err(passing(Stage::Recover)) } else { Ok(standing) };
                self.answers.push(Input::Claimed { tp, epoch, attempt, result });
            }
            Chore::Note(tp, epoch, attempt, path, note) => {
                let ours = note.clone();
                let mut standing = outside.store.write_once(&path, note);
                if outside.control == Control::ForgetNotes {
                    standing = ours;
                }
                let result =
                    if outside.trouble(Service::Store) { Err(passing(Stage::Recover)) } else { Ok(standing) };
                self.answers.push(Input::Noted { tp, epoch, attempt, result });
            }
            Chore::List(tp, epoch, attempt) => {
                let result = if outside.trouble(Service::Store) {
                    Err(passing(Stage::Recover))
                } else {
                    Ok(outside.store.last_flush(&tp))
                };
                self.answers.push(Input::Listed { tp, epoch, attempt, result });
            }
            Chore::FetchSchema(id) => {
                let trouble = outside.trouble(Service::Registry);
                if trouble {
                    outside.tally.count("registry failures");
                }
                let result = if trouble { Err(passing(Stage::Schema)) } else { records::schema(id) };
                self.answers.push(Input::SchemaFetched { id, result });
            }
            Chore::Letters(tp, flush, letters) => self.send_letters(tp, flush, letters, outside),
        }
    }

    /// Letters are acknowledged one by one; the batch is answered once.
    fn send_letters(
        &mut self,
        tp: TopicPartition,
        flush: FlushId,
        mut letters: VecDeque<DeadLetter>,
        outside: &mut Outside,
    ) {
        let failed = outside.trouble(Service::DeadLetters);
        for _ in 0..if failed { outside.rng.below(letters.len() + 1) } else { 1 + outside.rng.below(4) } {
            let Some(letter) = letters.pop_front() else { break };
            outside.tally.count("dead letters");
            if outside.ledger.lettered(&tp, letter.offset.as_i64()) {
                outside.tally.count("dead letters that came again");
            }
        }
        if failed {
            self.answers.push(Input::DeadLettered { tp, flush, result: Err(passing(Stage::DeadLetter)) });
        } else if letters.is_empty() {
            self.answers.push(Input::DeadLettered { tp, flush, result: Ok(()) });
        } else {
            self.chores.push(Chore::Letters(tp, flush, letters));
        }
    }

    /// K5: memory stays within the budget plus a batch of each partition; letters within theirs plus one.
    fn check_memory(&self, outside: &mut Outside) {
        let letters = self.chores.iter().filter_map(|chore| match chore {
            Chore::Letters(_, _, letters) => Some(letters),
            _ => None,
        });
        let letters: Vec<u64> = letters.flatten().map(|letter| letter.counted.bytes()).collect();
        let (waiting, largest) = (letters.iter().sum::<u64>(), letters.iter().max().copied().unwrap_or(0));
        if waiting >= self.letters_bytes {
            outside.tally.count("steps without room for letters");
        }
        if waiting >= self.letters_bytes + largest.max(1) {
            let what = format!("{waiting} bytes of letters wait, {} may", self.letters_bytes);
            outside.ledger.break_promise(Promise::K5, what);
        }
        let (used, limit) = (self.budget.used_bytes(), self.budget.limit_bytes());
        if used <= limit {
            return;
        }
        outside.tally.count("steps over the budget");
        // The task may still hold partitions that the consumer has given up.
        let most = limit + BATCH_BYTES * (self.task.snapshot().len() as u64 + 1);
        if used > most {
            outside.ledger.break_promise(Promise::K5, format!("{used} bytes used of {limit}"));
        }
    }
}

/// A task that wants to be woken at once more often than this without doing anything spins.
const MOST_USELESS_TICKS: u32 = 100;
/// Inputs that may come before a wake-up that is due.
const MOST_KEPT_WAITING: u32 = 3;
/// What a batch of 40 of these records may take in Arrow, over all its files.
const BATCH_BYTES: u64 = 128 << 10;
