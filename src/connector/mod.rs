//! The door between what decides and what does: inputs go to the tasks, effects are carried out. No decisions here.
//!
//! A connector is one consumer thread, `tasks` worker threads with a [`crate::task::SinkTask`] each, and the storage,
//! registry and producer work that runs on the shared runtime.

mod containment;
mod crew;
mod door;
mod listing;
mod observer;
mod staging;
mod status;
mod sweeping;
mod timing;
mod watching;

use std::hash::{BuildHasher as _, RandomState};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use crate::config::settings::{ConnectorSettings, Evolution, ValueFormat};
use crate::connector::containment::{Containment, spawn_contained};
use crate::connector::crew::Crew;
use crate::connector::door::Door;
use crate::connector::listing::Listings;
use crate::connector::observer::Observer;
use crate::connector::staging::Staging;
use crate::connector::sweeping::Sweeper;
use crate::connector::timing::Timing;
use crate::connector::watching::Watcher;
use crate::error::{Failure, Stage};
use crate::failpoint::failpoint;
use crate::kafka::{
    self, Announcement, Command, CommandSender, ConsumerEnd, ConsumerSettings, DeadLetterProducer, TaskSender,
};
use crate::metrics::ConnectorMetrics;
use crate::registry::Registry;
use crate::storage::{StorageError, Store, UploadRoom};
use crate::task::SinkTask;
use crate::task::budget::MemoryBudget;
use crate::task::message::Input;
use crate::task::settings::TaskSettings;

pub use observer::FileWritten;
pub use status::ConnectorStatus;

/// How long a bounded run waits at its beginning for a service that does not answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// Pause between two looks at a service that does not answer at the beginning.
const START_PAUSE: Duration = Duration::from_secs(2);
/// The wait is told of at most this often.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// What all connectors of the process share.
#[derive(Clone)]
pub struct Process {
    /// Runs storage and registry work.
    pub runtime: Handle,
    /// Counts buffered bytes.
    pub budget: MemoryBudget,
    /// How many connectors there were at the start: what they fetch ahead together is a part of the budget.
    pub connectors: usize,
    /// Room for uploads to object stores.
    pub uploads: UploadRoom,
    /// Where encoded bytes wait for an object store.
    pub scratch_dir: PathBuf,
    /// `--until-end`.
    pub until_end: bool,
    /// Hears of every file that becomes visible; for the demo.
    pub files: Option<std::sync::mpsc::Sender<FileWritten>>,
}

/// A running connector.
pub struct Connector {
    commands: CommandSender,
    supervisor: JoinHandle<Result<ConsumerEnd, Failure>>,
}

impl Connector {
    /// Prepares storage and schemas, then starts the threads. Blocks until that is done: call it from a thread of
    /// its own. `give_up` ends the wait for services early.
    ///
    /// # Errors
    /// Fatal when a setting cannot work, or in a bounded run a service does not answer within half a minute.
    pub fn start(
        settings: &ConnectorSettings,
        process: &Process,
        metrics: &Arc<ConnectorMetrics>,
        status: &Arc<ConnectorStatus>,
        give_up: &AtomicBool,
    ) -> Result<Self, Failure> {
        let value_schema = match &settings.value {
            ValueFormat::AvroSchemaFile(path) => Some(read_schema(path)?),
            ValueFormat::AvroRegistry(_) | ValueFormat::AvroSchemaFiles(_) => None,
        };
        let named_schemas = named_schemas(&settings.value)?;
        let reader_schema = match &settings.schema.evolution {
            Evolution::Fixed(path) => Some(read_schema(path)?),
            _ => None,
        };
        let registry = match &settings.registry {
            Some(registry) => Some(Registry::new(registry).map_err(Failure::from)?),
            None => None,
        };
        if let Some(registry) = &registry {
            metrics.watch_registry(registry.clone());
        }
        let ready = Readiness { settings, process, status, give_up };
        let store = ready.open_store()?;
        ready.reach_registry(registry.as_ref())?;
        let producer = match &settings.errors.dead_letter_topic {
            Some(topic) => {
                Some(DeadLetterProducer::new(&settings.name, &settings.kafka, topic, metrics.clone())?)
            }
            None => None,
        };
        let task_settings = TaskSettings::of(settings, value_schema.as_deref(), reader_schema.as_deref())
            .within(process.budget.limit_bytes(), process.connectors);
        let task_settings = Arc::new(task_settings);
        let (senders, tasks) = tasks_of(
            settings,
            &task_settings,
            [value_schema.as_deref(), reader_schema.as_deref()],
            &named_schemas,
            &process.budget,
        )?;
        let consumer_settings = ConsumerSettings {
            connector: settings.name.clone(),
            kafka: settings.kafka.clone(),
            with_headers: task_settings.wants_headers(),
            until_end: process.until_end,
            ahead_bytes: kafka::ahead_bytes(process.budget.limit_bytes(), process.connectors),
        };
        let (commands, consumer) = kafka::start(consumer_settings, senders.clone(), status.consumer.clone())?;
        metrics.watch_store(store.clone());
        // From here on the consumer may join the group: whatever fails must end it.
        let mut crew = Crew::new(commands.clone(), consumer, senders);
        let containment = Containment::new(process.runtime.clone(), commands.clone());
        let listings = Listings::new(store.clone(), containment.clone());
        let sweeper = Sweeper::start(&settings.name, &settings.kafka.topics, store.clone(), &containment);
        let watcher = Watcher::start(&settings.name, store.clone(), status.clone(), &containment);
        for (number, (task, inputs)) in tasks.into_iter().enumerate() {
            let reply = crew.tasks[number].clone();
            let door = Door {
                number,
                task,
                inputs,
                reply: reply.clone(),
                commands: commands.clone(),
                staging: Staging::new(store.clone(), containment.clone(), process.budget.clone(), reply),
                store: store.clone(),
                listings: listings.clone(),
                registry: registry.clone(),
                producer: producer.clone(),
                containment: containment.clone(),
                timing: Timing::new(metrics.clone()),
                observer: Observer::new(
                    &settings.name,
                    metrics.clone(),
                    status.clone(),
                    process.files.clone(),
                ),
                status: status.clone(),
                stop: crew.stop.clone(),
            };
            let name = format!("task-{}-{number}", settings.name);
            crew.workers.push(spawn_contained(name, commands.clone(), move || door.run())?);
        }
        let supervisor = std::thread::Builder::new()
            .name(format!("connector-{}", settings.name))
            .spawn(move || {
                let _at_work = (sweeper, watcher);
                crew.supervise()
            })
            .map_err(|error| Failure::retriable(Stage::Consume, format!("cannot start a thread: {error}")))?;
        Ok(Self { commands, supervisor })
    }

    /// Asks for a drain: flush, publish, commit, leave the group.
    pub fn drain(&self) {
        self.commands.send(Command::Drain);
    }

    /// Gives up a drain that does not end: leaves the group at once, what is not committed will be read again.
    pub fn abandon(&self) {
        self.commands.send(Command::Fail(Failure::retriable(
            Stage::Settle,
            "the drain did not end within daemon.shutdown_timeout; what is not committed will be read again",
        )));
    }

    /// Ends every open flush.
    pub fn flush(&self) {
        self.commands.send(Command::Tell(Announcement::FlushNow));
    }

    /// Stops or resumes taking records; the assignment is kept.
    pub fn set_paused(&self, paused: bool) {
        self.commands.send(Command::Tell(Announcement::SetPaused(paused)));
    }

    /// Whether it has ended.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.supervisor.is_finished()
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// The failure that stopped it.
    pub fn join(self) -> Result<ConsumerEnd, Failure> {
        self.supervisor.join().unwrap_or_else(|_| {
            Err(Failure::retriable(Stage::Consume, "the connector's supervisor panicked"))
        })
    }

    /// One whose end the test decides.
    #[cfg(test)]
    pub(crate) fn of(commands: CommandSender, supervisor: JoinHandle<Result<ConsumerEnd, Failure>>) -> Self {
        Self { commands, supervisor }
    }
}

/// The texts of the files whose schemas records name by fingerprint.
fn named_schemas(value: &ValueFormat) -> Result<Vec<String>, Failure> {
    match value {
        ValueFormat::AvroSchemaFiles(paths) => paths.iter().map(|path| read_schema(path)).collect(),
        ValueFormat::AvroSchemaFile(_) | ValueFormat::AvroRegistry(_) => Ok(Vec::new()),
    }
}

/// The services a connector needs before it joins its group: a connector without them would only hold partitions.
struct Readiness<'a> {
    settings: &'a ConnectorSettings,
    process: &'a Process,
    status: &'a ConnectorStatus,
    give_up: &'a AtomicBool,
}

impl Readiness<'_> {
    fn open_store(&self) -> Result<Store, Failure> {
        self.patiently(&format!("the output prefix {}", self.settings.storage.place()), || {
            self.process
                .runtime
                .block_on(async {
                    let store = Store::open(
                        &self.settings.storage,
                        &self.settings.name,
                        &self.process.scratch_dir,
                        &self.process.uploads,
                    )
                    .await?;
                    store.probe().await?;
                    failpoint!("sweep.before");
                    let swept = store.sweep().await?;
                    failpoint!("sweep.after");
                    if swept != crate::storage::Swept::default() {
                        tracing::info!(
                            connector = self.settings.name,
                            directories = swept.directories,
                            files = swept.files,
                            bytes = swept.bytes,
                            "leftovers of ended processes removed"
                        );
                    }
                    Ok::<Store, StorageError>(store)
                })
                .map_err(|error| error.into_failure(Stage::Seal))
        })
    }

    fn reach_registry(&self, registry: Option<&Registry>) -> Result<(), Failure> {
        // A daemon may start while the registry is down: it asks when the first record needs it.
        let Some(registry) = registry.filter(|_| self.process.until_end) else { return Ok(()) };
        self.patiently("the schema registry", || {
            self.process.runtime.block_on(registry.probe()).map_err(Failure::from)
        })
    }

    fn patiently<T>(
        &self,
        what: &str,
        mut attempt: impl FnMut() -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let began = Instant::now();
        let mut told: Option<Instant> = None;
        loop {
            let failure = match attempt() {
                Ok(value) => {
                    self.status.set_not_started(None);
                    return Ok(value);
                }
                Err(failure @ Failure::Retriable { .. }) => failure,
                Err(failure) => return Err(failure),
            };
            self.status.note_failure(&failure);
            let reason = failure.reason();
            let waits = Failure::retriable(failure.stage(), format!("waiting for {what}: {reason}"));
            self.status.set_not_started(Some(waits));
            if self.give_up.load(Ordering::SeqCst) {
                return Err(Failure::fatal(
                    failure.stage(),
                    format!("stopped while waiting for {what}: {reason}"),
                ));
            }
            if self.process.until_end && began.elapsed() >= PATIENCE {
                return Err(Failure::fatal(
                    failure.stage(),
                    format!("{what} did not answer within {} s: {reason}", PATIENCE.as_secs()),
                ));
            }
            if told.is_none_or(|told| told.elapsed() >= TELL_EVERY) {
                told = Some(Instant::now());
                tracing::warn!(connector = self.settings.name, "waiting for {what}: {reason}");
            }
            std::thread::sleep(START_PAUSE);
        }
    }
}

/// Where each task takes its inputs, and the tasks with the other ends.
type Tasks = (Vec<TaskSender>, Vec<(SinkTask, Receiver<Input>)>);

/// The tasks of a connector; `schemas` are the texts of the value's and the reader's schema files.
fn tasks_of(
    settings: &ConnectorSettings,
    task_settings: &Arc<TaskSettings>,
    schemas: [Option<&str>; 2],
    named_schemas: &[String],
    budget: &MemoryBudget,
) -> Result<Tasks, Failure> {
    let (mut senders, mut tasks) = (Vec::new(), Vec::new());
    for number in 0..settings.tasks.get() {
        // Of the process's own random keys: tasks and replicas must not wait in step.
        let seed = RandomState::new().hash_one(number);
        let mut task = SinkTask::new(task_settings.clone(), schemas[0], schemas[1], budget.clone(), seed)?;
        for schema in named_schemas {
            task.pin_fingerprint(schema)?;
        }
        let (sender, inputs) = channel();
        senders.push(sender);
        tasks.push((task, inputs));
    }
    Ok((senders, tasks))
}

fn read_schema(path: &std::path::Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|error| {
        Failure::fatal(Stage::Schema, format!("cannot read the schema file {}: {error}", path.display()))
    })
}
