//! Owns the consumer thread: the only place that touches the consumer. Records go to the tasks, commits and seeks
//! are executed as the tasks ask, rebalances are acted on in order. It decides nothing, but checks every commit once more.

mod assignment;
mod commands;
mod connection;
mod positions;
mod reading;
mod records;
mod starts;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::config::settings::{KafkaSettings, TopicSelection};
use crate::error::{Failure, Stage, panic_text};
use crate::kafka::bounds::Bounds;
use crate::kafka::consumer::reading::Reading;
use crate::kafka::consumer::starts::Starts;
use crate::kafka::context::Context;
use crate::kafka::native::{BatchQueue, QueueWaker};
use crate::kafka::properties::{consumer_config, refusal};
use crate::kafka::trouble::denial;
use crate::position::{Epoch, Offset, TopicPartition};
use crate::task::message::{Attempt, CommitError, CommitId, Input};

/// Messages of one batch at the most.
const BATCH_MESSAGES: usize = 10_000;
/// How long a batch may take to fill; commands wake the thread earlier.
const BATCH_WAIT: Duration = Duration::from_millis(20);
/// How long to wait for a first message when there was none; rebalances wait as long.
const CALM_WAIT: Duration = Duration::from_millis(100);
/// Bytes on their way to the tasks and held by them; beyond it nothing more is taken from the client.
const IN_FLIGHT_BYTES: usize = 16 << 20;
/// How long a revoked partition may take to flush before it is dropped.
const DRAIN_DEADLINE: Duration = Duration::from_secs(20);
/// Callbacks that are served before other work gets its turn: a client that is told to `debug` always has more to say.
const CALLBACKS_A_TURN: usize = 1_000;
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
const SEEK_TIMEOUT: Duration = Duration::from_secs(2);
/// How often positions are looked at for moves without a record.
const POSITIONS_LOOK: Duration = Duration::from_millis(200);
/// How often a bounded run looks whether other members have finished.
const BOUNDS_LOOK: Duration = Duration::from_millis(500);

/// Where a task takes its inputs.
pub type TaskSender = Sender<Input>;

/// What the tasks and the daemon ask of the consumer thread.
#[derive(Debug)]
pub enum Command {
    /// See [`crate::task::message::Effect::ReadCommitted`].
    ReadCommitted(TopicPartition, Epoch, Attempt),
    /// See [`crate::task::message::Effect::Start`].
    Start(TopicPartition, Epoch, Attempt, Offset),
    /// See [`crate::task::message::Effect::Pause`].
    Pause(TopicPartition, Epoch),
    /// See [`crate::task::message::Effect::Resume`].
    Resume(TopicPartition, Epoch),
    /// See [`crate::task::message::Effect::Commit`].
    Commit {
        /// Which partition.
        tp: TopicPartition,
        /// Of this assignment.
        epoch: Epoch,
        /// To be given back.
        commit: CommitId,
        /// The offset.
        offset: Offset,
        /// Its metadata.
        metadata: String,
    },
    /// See [`crate::task::message::Effect::Release`].
    Release(TopicPartition, Epoch),
    /// See [`crate::task::message::Effect::Finished`].
    Finished(TopicPartition, Epoch),
    /// Flush everything, commit, leave the group.
    Drain,
    /// Leave at once, for this reason; nothing more is committed.
    Fail(Failure),
    /// For every task.
    Tell(Announcement),
}

/// What the daemon wants every task to hear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Announcement {
    /// See [`Input::FlushNow`].
    FlushNow,
    /// See [`Input::SetPaused`].
    SetPaused(bool),
}

/// Sends commands and wakes the thread. Cheap to clone.
#[derive(Clone)]
pub struct CommandSender {
    commands: Sender<Command>,
    waker: Arc<Mutex<Option<QueueWaker>>>,
}

impl CommandSender {
    /// One whose commands the test reads.
    #[cfg(test)]
    pub(crate) fn detached() -> (Self, Receiver<Command>) {
        let (commands, heard) = channel();
        (Self { commands, waker: Arc::default() }, heard)
    }

    /// Sends a command. After the thread has ended nothing happens: there is nothing left to command.
    pub fn send(&self, command: Command) {
        let _ = self.commands.send(command);
        if let Some(waker) = &*self.waker.lock().unwrap_or_else(PoisonError::into_inner) {
            waker.wake();
        }
    }
}

/// What the thread needs.
pub struct ConsumerSettings {
    /// Name of the connector, for threads and messages.
    pub connector: String,
    /// `kafka:`
    pub kafka: KafkaSettings,
    /// Whether somebody reads headers.
    pub with_headers: bool,
    /// `--until-end`.
    pub until_end: bool,
    /// What the client may fetch ahead, unless the properties say so, bytes; see [`crate::kafka::ahead_bytes`].
    pub ahead_bytes: u64,
}

/// What people may see of the thread.
#[derive(Debug, Default)]
pub struct ConsumerStatus {
    /// Assignments received.
    pub rebalances: AtomicU64,
    /// Whether the group has given an assignment, even an empty one.
    pub assigned: std::sync::atomic::AtomicBool,
    /// Bytes of records on their way to the tasks or held by them.
    pub in_flight_bytes: Arc<AtomicUsize>,
    /// End of each partition as last fetched.
    pub highs: Mutex<BTreeMap<TopicPartition, Offset>>,
    /// Why no broker answers, and what to do; `None` while one does.
    pub trouble: Mutex<Option<String>>,
}

/// How the thread ended well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConsumerEnd {
    /// As [`Command::Drain`] asked.
    Drained,
    /// Everything below the noted ends is committed.
    ReachedEnd,
}

/// Starts the thread. Its result comes when it has left the group.
///
/// # Errors
/// Fatal when the client cannot be made of the properties.
pub fn start(
    settings: ConsumerSettings,
    tasks: Vec<TaskSender>,
    status: Arc<ConsumerStatus>,
) -> Result<(CommandSender, JoinHandle<Result<ConsumerEnd, Failure>>), Failure> {
    let name = format!("consume-{}", settings.connector);
    let (commands, thread) = prepare(settings, tasks, status)?;
    let handle = std::thread::Builder::new()
        .name(name)
        .spawn(move || thread.run())
        .map_err(|error| Failure::retriable(Stage::Consume, format!("cannot start a thread: {error}")))?;
    Ok((commands, handle))
}

fn prepare(
    settings: ConsumerSettings,
    tasks: Vec<TaskSender>,
    status: Arc<ConsumerStatus>,
) -> Result<(CommandSender, ConsumerThread), Failure> {
    let (sender, commands) = channel();
    let waker = Arc::new(Mutex::new(None));
    let consumer: BaseConsumer<Context> = consumer_config(&settings.kafka, settings.ahead_bytes)
        .create_with_context(Context::new(&settings.connector, &settings.kafka))
        .map_err(|error| client_failure(&error))?;
    let queue = BatchQueue::new(&consumer, BATCH_MESSAGES)
        .ok_or_else(|| Failure::fatal(Stage::Consume, "cannot create a queue in the kafka client"))?;
    *waker.lock().unwrap_or_else(PoisonError::into_inner) = Some(queue.waker());
    let thread = ConsumerThread {
        queue: Some(queue),
        readings: Vec::new(),
        consumer,
        settings,
        tasks,
        status,
        commands,
        lanes: HashMap::new(),
        epochs: 0,
        member: String::new(),
        revoking: None,
        descriptions: 0,
        starts: Starts::default(),
        bounds: None,
        next_bounds_look: Instant::now(),
        next_highs_look: Instant::now(),
        next_positions_look: Instant::now(),
        next_connection_look: Instant::now(),
        draining: false,
        calm: false,
    };
    Ok((CommandSender { commands: sender, waker }, thread))
}

struct ConsumerThread {
    /// Dropped before the consumer, whichever way the thread ends.
    queue: Option<BatchQueue>,
    /// Dropped before the consumer too.
    readings: Vec<Reading>,
    consumer: BaseConsumer<Context>,
    settings: ConsumerSettings,
    tasks: Vec<TaskSender>,
    status: Arc<ConsumerStatus>,
    commands: Receiver<Command>,
    lanes: HashMap<TopicPartition, Lane>,
    epochs: u64,
    /// The member id under which the lanes were taken over.
    member: String,
    revoking: Option<Revocation>,
    /// How often topics were described.
    descriptions: usize,
    starts: Starts,
    bounds: Option<Bounds>,
    next_bounds_look: Instant,
    next_highs_look: Instant,
    next_positions_look: Instant,
    next_connection_look: Instant,
    draining: bool,
    /// The last batch was empty.
    calm: bool,
}

/// What the thread knows of a partition that is ours.
struct Lane {
    epoch: Epoch,
    task: usize,
    /// Set while records flow.
    attempt: Option<Attempt>,
    /// Highest offset committed in this epoch: the guard against going back.
    committed: Offset,
    /// Position after the last record handed over: the guard against going ahead.
    delivered: Offset,
    /// The partition's end while the group has no commit and nothing is read: the task may commit up to there where it
    /// begins.
    vacant_until: Offset,
    finished: bool,
    doubt: Doubt,
    /// Nothing more is fetched until the task says so.
    paused: bool,
    /// Bytes of records on their way to the task or held by it.
    in_flight_bytes: Arc<AtomicUsize>,
}

impl Lane {
    fn new(epoch: Epoch, task: usize) -> Self {
        Self {
            epoch,
            task,
            attempt: None,
            committed: Offset::ZERO,
            delivered: Offset::ZERO,
            vacant_until: Offset::ZERO,
            finished: false,
            doubt: Doubt::None,
            paused: true,
            in_flight_bytes: Arc::default(),
        }
    }
}

/// Whether the client's position may lie behind where we think it is.
///
/// A batch that holds an error of a partition moves the client's position behind the offset the error names, and a pause
/// makes it fetch from there: records would be passed over in silence. So what comes after an error must begin exactly
/// where we are, or is fetched again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doubt {
    /// The last thing was a record.
    None,
    /// The last thing was an error.
    Open,
    /// Sought back since: what comes now is right, gaps and all.
    Sought,
}

struct Revocation {
    partitions: Vec<TopicPartition>,
    deadline: Instant,
}

impl ConsumerThread {
    fn run(mut self) -> Result<ConsumerEnd, Failure> {
        // What follows must happen after a panic too: the client has lent its memory to the tasks.
        let end = catch_unwind(AssertUnwindSafe(|| self.run_until_end())).unwrap_or_else(|panic| {
            let text = panic_text(&*panic);
            let reason =
                format!("the consumer thread panicked: {text}; the offsets are held; please report this");
            Err(Failure::retriable(Stage::Consume, reason))
        });
        // Whatever the tasks still hold of them: records that they keep would keep the client.
        self.drop_all();
        // Nothing may wake or fill the queue any more when the client goes.
        self.queue = None;
        self.readings.clear();
        while let Some(event) = self.consumer.context().next_rebalance() {
            self.give_up_now(&event);
        }
        self.consumer.context().close();
        self.await_records();
        end
    }

    /// Waits until the tasks have dropped every record: the client must outlive what it handed out.
    fn await_records(&self) {
        while self.status.in_flight_bytes.load(Ordering::Relaxed) > 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn run_until_end(&mut self) -> Result<ConsumerEnd, Failure> {
        if self.settings.until_end {
            self.bounds = Some(Bounds::note(&self.consumer, &self.settings.kafka.topics)?);
        }
        self.subscribe()?;
        loop {
            self.poll_client()?;
            self.act_on_rebalances()?;
            self.obey()?;
            self.look_at_readings(Duration::ZERO);
            self.start_waiting();
            self.finish_revocation()?;
            self.look_at_highs();
            self.look_at_positions();
            self.look_at_connection();
            if self.draining && self.lanes.is_empty() && self.revoking.is_none() {
                return Ok(ConsumerEnd::Drained);
            }
            if self.reached_bounds()? {
                return Ok(ConsumerEnd::ReachedEnd);
            }
            self.consume()?;
        }
    }

    fn subscribe(&self) -> Result<(), Failure> {
        let topics: Vec<&str> = match &self.settings.kafka.topics {
            TopicSelection::Names(names) => names.iter().map(String::as_str).collect(),
            TopicSelection::Regex(pattern) => vec![pattern.as_str()],
        };
        self.consumer.subscribe(&topics).map_err(|error| client_failure(&error))
    }

    /// Serves callbacks. Records do not come this way once their partition feeds our queue.
    fn poll_client(&mut self) -> Result<(), Failure> {
        for _ in 0..CALLBACKS_A_TURN {
            let callbacks = self.consumer.context().callbacks();
            let error = match self.consumer.poll(Duration::ZERO) {
                Some(Err(error)) => error,
                Some(Ok(_)) => continue,
                // A line of its log or a rebalance is no result, and more may wait behind it.
                None if self.consumer.context().callbacks() != callbacks => continue,
                None => break,
            };
            if let Some((code, reason)) = self.consumer.client().fatal_error() {
                self.on_client_error(&KafkaError::MessageConsumptionFatal(code))?;
                return Err(Failure::fatal(
                    Stage::Consume,
                    format!(
                        "the kafka client cannot go on: {code}: {reason}; if it was fenced, another process uses the same group.instance.id"
                    ),
                ));
            }
            self.on_client_error(&error)?;
        }
        Ok(())
    }

    fn on_client_error(&self, error: &KafkaError) -> Result<(), Failure> {
        match error.rdkafka_error_code() {
            Some(
                code @ (RDKafkaErrorCode::GroupAuthorizationFailed
                | RDKafkaErrorCode::TopicAuthorizationFailed
                | RDKafkaErrorCode::SaslAuthenticationFailed
                | RDKafkaErrorCode::UnsupportedSASLMechanism),
            ) => Err(Failure::fatal(
                Stage::Consume,
                format!("the broker refuses us: {}", denial(code, &self.settings.kafka)),
            )),
            Some(RDKafkaErrorCode::PartitionEOF) => Ok(()),
            // The error callback tells these once, with their cause; here they come again and again without it.
            Some(
                RDKafkaErrorCode::BrokerTransportFailure
                | RDKafkaErrorCode::SSL
                | RDKafkaErrorCode::Authentication
                | RDKafkaErrorCode::Resolve
                | RDKafkaErrorCode::AllBrokersDown,
            ) => {
                tracing::debug!(connector = self.settings.connector, "kafka: {error}");
                Ok(())
            }
            _ => {
                tracing::warn!(connector = self.settings.connector, "kafka: {error}");
                Ok(())
            }
        }
    }
}

/// What a commit's error means for its flush.
fn commit_error(code: RDKafkaErrorCode, settings: &KafkaSettings) -> CommitError {
    let reason = code.to_string();
    match code {
        RDKafkaErrorCode::IllegalGeneration
        | RDKafkaErrorCode::UnknownMemberId
        | RDKafkaErrorCode::StaleMemberEpoch
        | RDKafkaErrorCode::FencedInstanceId
        | RDKafkaErrorCode::FencedMemberEpoch
        | RDKafkaErrorCode::AssignmentLost
        | RDKafkaErrorCode::UnknownTopicOrPartition => CommitError::Refused(reason),
        RDKafkaErrorCode::GroupAuthorizationFailed | RDKafkaErrorCode::TopicAuthorizationFailed => {
            CommitError::Denied(denial(code, settings))
        }
        RDKafkaErrorCode::OffsetMetadataTooLarge | RDKafkaErrorCode::InvalidGroupId => CommitError::Denied(
            format!("{reason}; check kafka.group, and offset.metadata.max.bytes of the brokers"),
        ),
        _ => CommitError::Unknown(reason),
    }
}

fn client_failure(error: &KafkaError) -> Failure {
    Failure::fatal(
        Stage::Consume,
        format!("the kafka client refuses: {}; check kafka.properties", refusal(error)),
    )
}

fn spell(partitions: &[(String, i32)]) -> String {
    let names: Vec<String> =
        partitions.iter().map(|(topic, partition)| format!("{topic}[{partition}]")).collect();
    names.join(" ")
}
