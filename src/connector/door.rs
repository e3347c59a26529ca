//! Owns the loop of one worker thread: input in, effects out, each carried out by the room it belongs to.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::connector::containment::Containment;
use crate::connector::listing::{Listings, Question};
use crate::connector::observer::Observer;
use crate::connector::staging::Staging;
use crate::connector::status::ConnectorStatus;
use crate::connector::timing::Timing;
use crate::error::{Failure, Stage};
use crate::failpoint::failpoint;
use crate::kafka::{Command, CommandSender, DeadLetterProducer, TaskSender};
use crate::position::{Epoch, SchemaId, TopicPartition};
use crate::registry::Registry;
use crate::storage::Store;
use crate::task::SinkTask;
use crate::task::alarm::Alarm;
use crate::task::claim::Claim;
use crate::task::clock::{Now, Tick};
use crate::task::message::{Attempt, Effect, Event, Input, SchemaText};

/// How often the task's state is shown to people, and the longest sleep.
const SHOW_EVERY: Duration = Duration::from_millis(500);

pub(super) struct Door {
    pub(super) number: usize,
    pub(super) task: SinkTask,
    pub(super) inputs: Receiver<Input>,
    pub(super) reply: TaskSender,
    pub(super) commands: CommandSender,
    pub(super) staging: Staging,
    pub(super) store: Store,
    pub(super) listings: Arc<Listings>,
    pub(super) registry: Option<Registry>,
    pub(super) producer: Option<DeadLetterProducer>,
    pub(super) containment: Containment,
    pub(super) timing: Timing,
    pub(super) observer: Observer,
    pub(super) status: Arc<ConnectorStatus>,
    pub(super) stop: Arc<AtomicBool>,
}

impl Door {
    pub(super) fn run(mut self) {
        let began = Instant::now();
        let mut shown = began;
        let mut alarm = Alarm::default();
        loop {
            alarm.set(self.task.poll_timeout());
            let Some(input) = self.next_input(&mut alarm, now(began).tick) else { break };
            if self.stop.load(Ordering::SeqCst) {
                break;
            }
            failpoint!("task.input");
            self.timing.answered(&input);
            self.task.handle(input, self::now(began));
            while let Some(effect) = self.task.poll_effect() {
                self.timing.asked(&effect);
                self.carry_out(effect);
            }
            if shown.elapsed() >= SHOW_EVERY {
                shown = Instant::now();
                self.status.show(self.number, self.task.snapshot(), began);
            }
        }
        self.status.leave(self.number);
    }

    /// What the task hears next; `None` when nobody will say anything any more.
    fn next_input(&self, alarm: &mut Alarm, now: Tick) -> Option<Input> {
        if alarm.rings(now) {
            return Some(Input::Tick);
        }
        let sleep = alarm.due().map_or(SHOW_EVERY, |due| due.since(now).min(SHOW_EVERY));
        match self.inputs.recv_timeout(sleep) {
            Ok(input) => Some(input),
            Err(RecvTimeoutError::Timeout) => Some(Input::Tick),
            Err(RecvTimeoutError::Disconnected) => None,
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::ReadCommitted { tp, epoch, attempt } => {
                self.commands.send(Command::ReadCommitted(tp, epoch, attempt));
            }
            Effect::Claim { tp, epoch, attempt, claim } => self.claim(tp, epoch, attempt, &claim),
            Effect::NoteBeginning { tp, epoch, attempt, path, note } => {
                self.note_beginning(tp, epoch, attempt, path, note.to_json());
            }
            Effect::ListPublished { tp, epoch, attempt, with_footer } => {
                let reply = self.reply.clone();
                self.listings.ask(Question { tp, epoch, attempt, with_footer, reply });
            }
            Effect::Start { tp, epoch, attempt, offset } => {
                self.commands.send(Command::Start(tp, epoch, attempt, offset));
            }
            Effect::Pause { tp, epoch } => self.commands.send(Command::Pause(tp, epoch)),
            Effect::Resume { tp, epoch } => self.commands.send(Command::Resume(tp, epoch)),
            Effect::Commit { tp, epoch, commit, offset, metadata } => {
                self.commands.send(Command::Commit { tp, epoch, commit, offset, metadata });
            }
            Effect::Release { tp, epoch } => {
                failpoint!("release.before");
                self.status.note_released(self.number, &tp);
                self.commands.send(Command::Release(tp, epoch));
            }
            Effect::Finished { tp, epoch } => self.commands.send(Command::Finished(tp, epoch)),
            Effect::Append { tp, flush, file, bytes } => self.staging.append(&tp, flush, file, bytes),
            Effect::Seal { tp, flush, files } => self.staging.seal(&tp, flush, files),
            Effect::Publish { tp, flush } => self.staging.publish(&tp, flush),
            Effect::Discard { flush } => self.staging.discard(flush),
            Effect::FetchSchema { id } => self.fetch_schema(id),
            Effect::DeadLetter { tp, flush, letters } => match &self.producer {
                Some(producer) => producer.send(&tp, flush, letters, self.reply.clone()),
                None => self.commands.send(Command::Fail(Failure::fatal(
                    Stage::DeadLetter,
                    "a record is to be dead-lettered, but errors.dead_letter_topic is not set",
                ))),
            },
            Effect::Fail { tp, failure } => {
                self.observer.failed(tp.as_ref());
                self.commands.send(Command::Fail(failure));
            }
            Effect::Report(event) => {
                if let Event::Settled { tp, range } = &event {
                    self.status.note_committed(self.number, tp, range.end);
                } else if let Event::Started { tp, offset, .. } = &event {
                    self.status.note_committed(self.number, tp, *offset);
                }
                self.observer.observe(event);
            }
        }
    }

    fn claim(&self, tp: TopicPartition, epoch: Epoch, attempt: Attempt, claim: &Claim) {
        let (store, reply) = (self.store.clone(), self.reply.clone());
        let content = claim.to_json();
        self.containment.spawn(Stage::Recover, async move {
            failpoint!("claim.before");
            let result = write_once(&store, &Claim::path(&tp.topic), content).await;
            failpoint!("claim.after");
            let _ = reply.send(Input::Claimed { tp, epoch, attempt, result });
        });
    }

    fn note_beginning(
        &self,
        tp: TopicPartition,
        epoch: Epoch,
        attempt: Attempt,
        path: String,
        content: String,
    ) {
        let (store, reply) = (self.store.clone(), self.reply.clone());
        self.containment.spawn(Stage::Recover, async move {
            failpoint!("note.before");
            let result = write_once(&store, &path, content).await;
            failpoint!("note.after");
            let _ = reply.send(Input::Noted { tp, epoch, attempt, result });
        });
    }

    fn fetch_schema(&self, id: SchemaId) {
        let reply = self.reply.clone();
        let Some(registry) = self.registry.clone() else {
            let failure = Failure::poison(Stage::Schema, "no_registry", "the connector has no registry");
            let _ = reply.send(Input::SchemaFetched { id, result: Err(failure) });
            return;
        };
        self.containment.spawn(Stage::Schema, async move {
            let result = match registry.schema(id).await {
                Ok(schema) => Ok(SchemaText {
                    json: schema.json.clone(),
                    references: schema
                        .references
                        .iter()
                        .map(|reference| (reference.name.clone(), reference.json.clone()))
                        .collect(),
                }),
                Err(error) => Err(error.into()),
            };
            let _ = reply.send(Input::SchemaFetched { id, result });
        });
    }
}

/// Makes a small file unless it is there; gives what stands.
async fn write_once(store: &Store, path: &str, content: String) -> Result<String, Failure> {
    match store.claim(path, content.into()).await {
        Ok(standing) => Ok(String::from_utf8_lossy(&standing).into_owned()),
        Err(error) => Err(error.into_failure(Stage::Recover)),
    }
}

fn now(began: Instant) -> Now {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Now {
        tick: Tick(u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX)),
        wall_ms: i64::try_from(wall.as_millis()).unwrap_or(i64::MAX),
    }
}
