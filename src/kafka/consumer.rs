//! Owns the consumer thread: the only place that touches the consumer. Records go to the tasks, commits and seeks
//! are executed as the tasks ask, rebalances are acted on in order. It decides nothing, but checks every commit once more.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset as KafkaOffset, TopicPartitionList};

use crate::config::settings::{KafkaSettings, TopicSelection};
use crate::error::{Failure, Stage};
use crate::kafka::bounds::Bounds;
use crate::kafka::context::{Context, Rebalance};
use crate::kafka::native::{self, BatchQueue, OffsetToCommit, QueueWaker, Run};
use crate::kafka::properties::{consumer_config, refusal};
use crate::kafka::watermarks::{Watermarks, watermarks};
use crate::position::{Epoch, Offset, TopicPartition};
use crate::task::message::{Attempt, BrokerPosition, CommitError, CommitId, Input};

/// Messages of one batch at the most.
const BATCH_MESSAGES: usize = 10_000;
/// How long a batch may take to fill; commands wake the thread earlier.
const BATCH_WAIT: Duration = Duration::from_millis(20);
/// Bytes on their way to the tasks and held by them; beyond it nothing more is taken from the client.
const IN_FLIGHT_BYTES: usize = 32 << 20;
/// How long a revoked partition may take to flush before it is dropped.
const DRAIN_DEADLINE: Duration = Duration::from_secs(20);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
const SEEK_TIMEOUT: Duration = Duration::from_secs(2);
const TOPIC_ID_TIMEOUT: Duration = Duration::from_secs(3);
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
    /// The client's last trouble.
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
    let (sender, commands) = channel();
    let waker = Arc::new(Mutex::new(None));
    let consumer: BaseConsumer<Context> = consumer_config(&settings.kafka)
        .create_with_context(Context::new(&settings.connector))
        .map_err(|error| client_failure(&error))?;
    let queue = BatchQueue::new(&consumer, BATCH_MESSAGES)
        .ok_or_else(|| Failure::fatal(Stage::Consume, "cannot create a queue in the kafka client"))?;
    *waker.lock().unwrap_or_else(PoisonError::into_inner) = Some(queue.waker());
    let name = format!("consume-{}", settings.connector);
    let thread = ConsumerThread {
        queue: Some(queue),
        consumer,
        settings,
        tasks,
        status,
        commands,
        lanes: HashMap::new(),
        epochs: 0,
        revoking: None,
        starts: Vec::new(),
        bounds: None,
        next_bounds_look: Instant::now(),
        next_highs_look: Instant::now(),
        next_positions_look: Instant::now(),
        draining: false,
    };
    let handle = std::thread::Builder::new()
        .name(name)
        .spawn(move || thread.run())
        .map_err(|error| Failure::fatal(Stage::Consume, format!("cannot start a thread: {error}")))?;
    Ok((CommandSender { commands: sender, waker }, handle))
}

struct ConsumerThread {
    /// Dropped before the consumer, whichever way the thread ends.
    queue: Option<BatchQueue>,
    consumer: BaseConsumer<Context>,
    settings: ConsumerSettings,
    tasks: Vec<TaskSender>,
    status: Arc<ConsumerStatus>,
    commands: Receiver<Command>,
    lanes: HashMap<TopicPartition, Lane>,
    epochs: u64,
    revoking: Option<Revocation>,
    starts: Vec<(TopicPartition, Epoch, Attempt, Offset)>,
    bounds: Option<Bounds>,
    next_bounds_look: Instant,
    next_highs_look: Instant,
    next_positions_look: Instant,
    draining: bool,
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
    finished: bool,
    doubt: Doubt,
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
        let end = self.run_until_end();
        if end.is_err() {
            self.drop_all();
        }
        // Nothing may wake or fill the queue any more when the client goes.
        self.queue = None;
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
            self.start_waiting();
            self.finish_revocation()?;
            self.look_at_highs();
            self.look_at_positions();
            if self.draining && self.lanes.is_empty() && self.revoking.is_none() {
                return Ok(ConsumerEnd::Drained);
            }
            if self.reached_bounds() {
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
        while let Some(result) = self.consumer.poll(Duration::ZERO) {
            let Err(error) = result else { continue };
            if let Some((code, reason)) = self.consumer.client().fatal_error() {
                return Err(Failure::fatal(
                    Stage::Consume,
                    format!(
                        "the kafka client cannot go on: {code}: {reason}; if it was fenced, another process uses the same group.instance.id"
                    ),
                ));
            }
            self.on_client_error(&error)?;
        }
        if let Some(trouble) = self.consumer.context().last_error() {
            *self.status.trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some(trouble);
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
                format!(
                    "the broker refuses us: {code}; check the credentials in kafka.properties and the access rules of topic and group {}",
                    self.settings.kafka.group
                ),
            )),
            Some(RDKafkaErrorCode::PartitionEOF) => Ok(()),
            _ => {
                tracing::warn!(connector = self.settings.connector, "kafka: {error}");
                Ok(())
            }
        }
    }

    // Assignment

    fn act_on_rebalances(&mut self) -> Result<(), Failure> {
        // One at a time: while partitions are being given up, the group waits for us anyway.
        while self.revoking.is_none() {
            let Some(event) = self.consumer.context().next_rebalance() else { break };
            self.status.rebalances.fetch_add(1, Ordering::Relaxed);
            match event {
                Rebalance::Assign(partitions) => self.assign(&partitions)?,
                Rebalance::Revoke(partitions) => self.revoke(&partitions),
                Rebalance::Lost(partitions) => self.lose(&partitions)?,
            }
        }
        Ok(())
    }

    /// Takes partitions over, paused and at their end: where each really begins is the task's decision.
    fn assign(&mut self, partitions: &[(String, i32)]) -> Result<(), Failure> {
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        if !self.draining {
            for (topic, partition) in partitions {
                list.add_partition_offset(topic, *partition, KafkaOffset::End)
                    .map_err(|e| client_failure(&e))?;
            }
        }
        self.consumer.incremental_assign(&list).map_err(|error| client_failure(&error))?;
        self.status.assigned.store(true, Ordering::Relaxed);
        if list.count() == 0 {
            return Ok(());
        }
        self.consumer.pause(&list).map_err(|error| client_failure(&error))?;
        tracing::info!(
            connector = self.settings.connector,
            partitions = spell(partitions),
            "partitions assigned"
        );
        for (topic, partition) in partitions {
            self.epochs += 1;
            let (tp, epoch) = (TopicPartition::new(topic.as_str(), *partition), Epoch(self.epochs));
            let lane = Lane {
                epoch,
                task: self.least_loaded_task(),
                attempt: None,
                committed: Offset::ZERO,
                delivered: Offset::ZERO,
                finished: false,
                doubt: Doubt::None,
            };
            let stop = self.bounds.as_ref().map(|bounds| bounds.stop(&tp));
            self.tell(lane.task, Input::Assigned { tp: tp.clone(), epoch, stop });
            self.lanes.insert(tp, lane);
        }
        Ok(())
    }

    fn revoke(&mut self, partitions: &[(String, i32)]) {
        tracing::info!(
            connector = self.settings.connector,
            partitions = spell(partitions),
            "partitions revoked: flushing them first"
        );
        let partitions: Vec<TopicPartition> = partitions
            .iter()
            .map(|(topic, partition)| TopicPartition::new(topic.as_str(), *partition))
            .collect();
        for tp in &partitions {
            if let Some(lane) = self.lanes.get(tp) {
                self.tell(lane.task, Input::Revoked { tp: tp.clone(), epoch: lane.epoch });
            }
        }
        self.revoking = Some(Revocation { partitions, deadline: Instant::now() + DRAIN_DEADLINE });
    }

    /// Gives revoked partitions up once the tasks have released them, or at the deadline. No commit is in flight
    /// here: each is answered before the thread goes on.
    fn finish_revocation(&mut self) -> Result<(), Failure> {
        let Some(revocation) = &self.revoking else { return Ok(()) };
        let waiting: Vec<TopicPartition> =
            revocation.partitions.iter().filter(|tp| self.lanes.contains_key(*tp)).cloned().collect();
        if !waiting.is_empty() && Instant::now() < revocation.deadline {
            return Ok(());
        }
        for tp in waiting {
            tracing::warn!(
                connector = self.settings.connector,
                topic = &*tp.topic,
                partition = tp.partition,
                "not flushed within {} s of its revocation: dropped, its records will be read again",
                DRAIN_DEADLINE.as_secs()
            );
            self.drop_lane(&tp);
        }
        let Some(revocation) = self.revoking.take() else { return Ok(()) };
        let partitions: Vec<(String, i32)> =
            revocation.partitions.iter().map(|tp| (tp.topic.to_string(), tp.partition)).collect();
        self.unassign(&partitions)
    }

    fn lose(&mut self, partitions: &[(String, i32)]) -> Result<(), Failure> {
        tracing::warn!(
            connector = self.settings.connector,
            partitions = spell(partitions),
            "partitions lost (the group went on without us): their unsettled records will be read again"
        );
        for (topic, partition) in partitions {
            self.drop_lane(&TopicPartition::new(topic.as_str(), *partition));
        }
        self.unassign(partitions)
    }

    fn unassign(&self, partitions: &[(String, i32)]) -> Result<(), Failure> {
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for (topic, partition) in partitions {
            list.add_partition(topic, *partition);
        }
        self.consumer.incremental_unassign(&list).map_err(|error| client_failure(&error))
    }

    /// For what is still queued when the thread ends.
    fn give_up_now(&mut self, event: &Rebalance) {
        let result = match event {
            Rebalance::Assign(_) => self
                .consumer
                .incremental_assign(&TopicPartitionList::new())
                .map_err(|error| client_failure(&error)),
            Rebalance::Revoke(partitions) | Rebalance::Lost(partitions) => self.unassign(partitions),
        };
        if let Err(failure) = result {
            tracing::debug!(connector = self.settings.connector, "{failure}");
        }
    }

    fn drop_lane(&mut self, tp: &TopicPartition) {
        if let Some(lane) = self.lanes.remove(tp) {
            self.tell(lane.task, Input::Lost { tp: tp.clone(), epoch: lane.epoch });
        }
    }

    fn drop_all(&mut self) {
        let tps: Vec<TopicPartition> = self.lanes.keys().cloned().collect();
        for tp in tps {
            self.drop_lane(&tp);
        }
    }

    fn least_loaded_task(&self) -> usize {
        let mut loads = vec![0_usize; self.tasks.len()];
        for lane in self.lanes.values() {
            loads[lane.task] += 1;
        }
        loads.iter().enumerate().min_by_key(|(_, load)| **load).map_or(0, |(task, _)| task)
    }

    // Commands

    fn obey(&mut self) -> Result<(), Failure> {
        let mut reads = Vec::new();
        let mut commits = Vec::new();
        loop {
            match self.commands.try_recv() {
                Ok(Command::ReadCommitted(tp, epoch, attempt)) => reads.push((tp, epoch, attempt)),
                Ok(Command::Commit { tp, epoch, commit, offset, metadata }) => {
                    commits.push((tp, epoch, commit, offset, metadata));
                }
                Ok(Command::Start(tp, epoch, attempt, offset)) => {
                    self.starts.push((tp, epoch, attempt, offset));
                }
                Ok(Command::Pause(tp, epoch)) => self.set_paused(&tp, epoch, true),
                Ok(Command::Resume(tp, epoch)) => self.set_paused(&tp, epoch, false),
                Ok(Command::Release(tp, epoch)) => {
                    if self.lanes.get(&tp).is_some_and(|lane| lane.epoch == epoch) {
                        self.lanes.remove(&tp);
                    }
                }
                Ok(Command::Finished(tp, epoch)) => {
                    if let Some(lane) = self.lanes.get_mut(&tp).filter(|lane| lane.epoch == epoch) {
                        lane.finished = true;
                    }
                }
                Ok(Command::Drain) => self.drain(),
                Ok(Command::Fail(failure)) => return Err(failure),
                Ok(Command::Tell(announcement)) => self.announce(announcement),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => {
                    return Err(Failure::fatal(Stage::Consume, "every task of the connector has ended"));
                }
            }
        }
        self.commit(commits);
        self.read_committed(&reads);
        Ok(())
    }

    fn drain(&mut self) {
        if !self.draining {
            self.draining = true;
            for task in &self.tasks {
                let _ = task.send(Input::Drain);
            }
        }
    }

    fn announce(&self, announcement: Announcement) {
        for task in &self.tasks {
            let _ = task.send(match announcement {
                Announcement::FlushNow => Input::FlushNow,
                Announcement::SetPaused(paused) => Input::SetPaused(paused),
            });
        }
    }

    /// Commits what passes the guards, all in one request, and tells each task what became of its commit.
    fn commit(&mut self, commits: Vec<(TopicPartition, Epoch, CommitId, Offset, String)>) {
        let (mut passed, mut refused) = (Vec::new(), Vec::new());
        for commit in commits {
            match self.guard(&commit.0, commit.1, commit.3) {
                Ok(()) => passed.push(commit),
                Err(reason) => refused.push((commit, reason)),
            }
        }
        for ((tp, _, commit, offset, _), reason) in refused {
            tracing::debug!(connector = self.settings.connector, %tp, %offset, "commit held back: {reason}");
            if let Some(lane) = self.lanes.get(&tp) {
                self.tell(
                    lane.task,
                    Input::CommitDone { tp, commit, result: Err(CommitError::Refused(reason)) },
                );
            }
        }
        if passed.is_empty() {
            return;
        }
        let offsets: Vec<OffsetToCommit<'_>> = passed
            .iter()
            .map(|(tp, _, _, offset, metadata)| OffsetToCommit {
                topic: &tp.topic,
                partition: tp.partition,
                offset: *offset,
                metadata,
            })
            .collect();
        let results = native::commit(&self.consumer, &offsets);
        for ((tp, _, commit, offset, _), result) in passed.into_iter().zip(results) {
            let Some(lane) = self.lanes.get_mut(&tp) else { continue };
            if result.is_ok() {
                lane.committed = offset;
            }
            let task = lane.task;
            self.tell(task, Input::CommitDone { tp, commit, result: result.map_err(commit_error) });
        }
    }

    /// Never for a partition that this epoch does not own, never backwards, never beyond what was handed over.
    fn guard(&self, tp: &TopicPartition, epoch: Epoch, offset: Offset) -> Result<(), String> {
        let Some(lane) = self.lanes.get(tp).filter(|lane| lane.epoch == epoch) else {
            return Err("the partition is no longer ours".to_owned());
        };
        if offset < lane.committed {
            return Err(format!("offset {offset} lies before {}, which is committed", lane.committed));
        }
        if offset > lane.delivered {
            return Err(format!("offset {offset} lies beyond {}, which was handed over", lane.delivered));
        }
        Ok(())
    }

    fn read_committed(&mut self, reads: &[(TopicPartition, Epoch, Attempt)]) {
        if reads.is_empty() {
            return;
        }
        let mut list = TopicPartitionList::with_capacity(reads.len());
        for (tp, _, _) in reads {
            list.add_partition(&tp.topic, tp.partition);
        }
        let committed = self
            .consumer
            .committed_offsets(list, REQUEST_TIMEOUT)
            .map_err(|error| position_failure(&error, "read the committed offsets"));
        let ends = watermarks(&self.consumer, reads.iter().map(|(tp, _, _)| tp), REQUEST_TIMEOUT)
            .map_err(|error| position_failure(&error, "read the first and last offsets"));
        let mut topic_ids: HashMap<Arc<str>, Option<Arc<str>>> = HashMap::new();
        for (tp, epoch, attempt) in reads {
            let topic_id = topic_ids
                .entry(tp.topic.clone())
                .or_insert_with(|| {
                    native::topic_id(&self.consumer, &tp.topic, TOPIC_ID_TIMEOUT).map(Arc::from)
                })
                .clone();
            let result = match (&committed, &ends) {
                (Ok(list), Ok(ends)) => broker_position(tp, list, ends, topic_id),
                (Err(failure), _) | (_, Err(failure)) => Err(failure.clone()),
            };
            if let (Ok(position), Some(lane)) = (&result, self.lanes.get_mut(tp)) {
                lane.committed = position.committed.unwrap_or(Offset::ZERO);
            }
            if let Some(lane) = self.lanes.get(tp).filter(|lane| lane.epoch == *epoch) {
                let input = Input::Committed { tp: tp.clone(), epoch: *epoch, attempt: *attempt, result };
                self.tell(lane.task, input);
            }
        }
    }

    /// Begins to deliver where the tasks decided; what the client is not ready for yet waits for the next round.
    fn start_waiting(&mut self) {
        let starts = std::mem::take(&mut self.starts);
        for (tp, epoch, attempt, offset) in starts {
            if self.lanes.get(&tp).is_none_or(|lane| lane.epoch != epoch) {
                continue;
            }
            if let Err(error) = self.start_one(&tp, offset) {
                tracing::debug!(connector = self.settings.connector, %tp, %offset, "not started yet: {error}");
                self.starts.push((tp, epoch, attempt, offset));
                continue;
            }
            if let Some(lane) = self.lanes.get_mut(&tp) {
                lane.attempt = Some(attempt);
                lane.delivered = offset;
                lane.doubt = Doubt::None;
            }
        }
    }

    fn start_one(&self, tp: &TopicPartition, offset: Offset) -> Result<(), KafkaError> {
        let Some(queue) = &self.queue else { return Ok(()) };
        let mut list = TopicPartitionList::with_capacity(1);
        list.add_partition_offset(&tp.topic, tp.partition, KafkaOffset::Offset(offset.as_i64()))?;
        // Sought while paused: what is fetched from here on lies at or behind the offset.
        let sought = self.consumer.seek_partitions(list.clone(), SEEK_TIMEOUT)?;
        for element in sought.elements() {
            element.error()?;
        }
        if !queue.forward(&self.consumer, &tp.topic, tp.partition) {
            return Err(KafkaError::Seek("the client does not know the partition".to_owned()));
        }
        self.consumer.resume(&list)
    }

    fn set_paused(&self, tp: &TopicPartition, epoch: Epoch, paused: bool) {
        if self.lanes.get(tp).is_none_or(|lane| lane.epoch != epoch) {
            return;
        }
        let mut list = TopicPartitionList::with_capacity(1);
        list.add_partition(&tp.topic, tp.partition);
        let result = if paused { self.consumer.pause(&list) } else { self.consumer.resume(&list) };
        if let Err(error) = result {
            tracing::warn!(connector = self.settings.connector, %tp, "cannot pause or resume: {error}");
        }
    }

    // Records

    fn consume(&mut self) -> Result<(), Failure> {
        let in_flight = self.status.in_flight_bytes.clone();
        if in_flight.load(Ordering::Relaxed) >= IN_FLIGHT_BYTES {
            // The tasks are behind. Only they can change that, and they wake us when they want something.
            std::thread::park_timeout(Duration::from_millis(2));
            return Ok(());
        }
        let Some(queue) = &mut self.queue else { return Ok(()) };
        let runs = queue.consume(BATCH_WAIT, self.settings.with_headers, &in_flight);
        let mut sought = Vec::new();
        for run in runs {
            self.hand_over(run, &mut sought)?;
        }
        Ok(())
    }

    /// `sought` are the partitions sought back within this batch: what else it holds of them is fetched again.
    fn hand_over(&mut self, run: Run, sought: &mut Vec<TopicPartition>) -> Result<(), Failure> {
        let (topic, partition) = run.place();
        if topic.is_empty() {
            return match run {
                Run::Error { code, .. } => self.on_client_error(&KafkaError::MessageConsumption(code)),
                Run::Records { .. } => Ok(()),
            };
        }
        let tp = TopicPartition { topic, partition };
        let Some(lane) = self.lanes.get_mut(&tp) else { return Ok(()) };
        let (task, epoch) = (lane.task, lane.epoch);
        let Some(attempt) = lane.attempt.filter(|_| !sought.contains(&tp)) else { return Ok(()) };
        match run {
            Run::Records { block, .. } => {
                let (Some(first), Some(last)) = (block.first_offset(), block.last_offset()) else {
                    return Ok(());
                };
                if lane.doubt == Doubt::Open && first > lane.delivered {
                    sought.push(tp.clone());
                    self.seek_back(&tp);
                    return Ok(());
                }
                lane.doubt = Doubt::None;
                lane.delivered = lane.delivered.max(last.next());
                self.tell(task, Input::Records { tp, epoch, attempt, block });
            }
            Run::Error { code, reason, .. } => {
                lane.doubt = Doubt::Open;
                let failure = self.read_failure(&tp, code, &reason);
                self.tell(task, Input::ReadFailed { tp, epoch, failure });
            }
        }
        Ok(())
    }

    /// Makes the client fetch from where we are; nothing is taken of the partition until it does.
    fn seek_back(&mut self, tp: &TopicPartition) {
        let Some(lane) = self.lanes.get_mut(tp) else { return };
        let (epoch, attempt, offset) = (lane.epoch, lane.attempt, lane.delivered);
        tracing::debug!(connector = self.settings.connector, %tp, %offset, "sought back after an error");
        lane.doubt = Doubt::Sought;
        let mut list = TopicPartitionList::with_capacity(1);
        let listed = list.add_partition_offset(&tp.topic, tp.partition, KafkaOffset::Offset(offset.as_i64()));
        let sought = listed.and_then(|()| self.consumer.seek_partitions(list, SEEK_TIMEOUT));
        let done = sought.is_ok_and(|list| list.elements().iter().all(|element| element.error().is_ok()));
        if !done && let (Some(lane), Some(attempt)) = (self.lanes.get_mut(tp), attempt) {
            lane.attempt = None;
            self.starts.push((tp.clone(), epoch, attempt, offset));
        }
    }

    fn read_failure(&self, tp: &TopicPartition, code: RDKafkaErrorCode, reason: &str) -> Failure {
        match code {
            RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange => {
                let begins =
                    self.consumer.fetch_watermarks(&tp.topic, tp.partition, REQUEST_TIMEOUT).map_or_else(
                        |_| "an unknown offset".to_owned(),
                        |(low, high)| format!("[{low}, {high})"),
                    );
                Failure::fatal(
                    Stage::Consume,
                    format!(
                        "{tp}: the offset to be read is out of range ({reason}); the broker has {begins}: what lies before it is gone; to go on without it, reset the group's offset"
                    ),
                )
            }
            RDKafkaErrorCode::TopicAuthorizationFailed | RDKafkaErrorCode::GroupAuthorizationFailed => {
                Failure::fatal(
                    Stage::Consume,
                    format!(
                        "{tp}: {reason}; allow READ on the topic and the group, then restart the connector"
                    ),
                )
            }
            _ => Failure::retriable(Stage::Consume, format!("{tp}: {reason}")),
        }
    }

    fn tell(&self, task: usize, input: Input) {
        // A task that has ended has said why; its connector is about to stop.
        let _ = self.tasks[task].send(input);
    }

    // Ends

    fn look_at_highs(&mut self) {
        if Instant::now() < self.next_highs_look {
            return;
        }
        self.next_highs_look = Instant::now() + Duration::from_secs(1);
        let highs: BTreeMap<TopicPartition, Offset> = self
            .lanes
            .keys()
            .filter_map(|tp| {
                Some((tp.clone(), native::cached_high(&self.consumer, &tp.topic, tp.partition)?))
            })
            .collect();
        *self.status.highs.lock().unwrap_or_else(PoisonError::into_inner) = highs;
    }

    /// Passes on positions that have moved without a record: behind transaction markers and aborted records.
    fn look_at_positions(&mut self) {
        if Instant::now() < self.next_positions_look {
            return;
        }
        self.next_positions_look = Instant::now() + POSITIONS_LOOK;
        let Ok(list) = self.consumer.position() else { return };
        for element in list.elements() {
            let KafkaOffset::Offset(raw) = element.offset() else { continue };
            let Some(position) = Offset::new(raw) else { continue };
            let tp = TopicPartition::new(element.topic(), element.partition());
            let Some(lane) = self.lanes.get_mut(&tp) else { continue };
            let Some(attempt) = lane.attempt.filter(|_| lane.doubt == Doubt::None) else { continue };
            // The position moves only as this thread takes batches, and every record of those is handed over.
            if position > lane.delivered {
                lane.delivered = position;
                let (task, epoch) = (lane.task, lane.epoch);
                self.tell(task, Input::Reached { tp, epoch, attempt, position });
            }
        }
    }

    fn reached_bounds(&mut self) -> bool {
        let Some(bounds) = &self.bounds else { return false };
        let idle = self.revoking.is_none() && self.lanes.values().all(|lane| lane.finished);
        if !idle || Instant::now() < self.next_bounds_look {
            return false;
        }
        self.next_bounds_look = Instant::now() + BOUNDS_LOOK;
        match bounds.reached(&self.consumer) {
            Ok(reached) => reached,
            Err(failure) => {
                tracing::warn!(connector = self.settings.connector, "{failure}");
                false
            }
        }
    }
}

fn broker_position(
    tp: &TopicPartition,
    list: &TopicPartitionList,
    ends: &Watermarks,
    topic_id: Option<Arc<str>>,
) -> Result<BrokerPosition, Failure> {
    let elements = list.elements_for_topic(&tp.topic);
    let element = elements.iter().find(|element| element.partition() == tp.partition);
    let (committed, metadata) = match element {
        Some(element) => {
            element.error().map_err(|error| position_failure(&error, "read the committed offset"))?;
            let offset =
                if let KafkaOffset::Offset(raw) = element.offset() { Offset::new(raw) } else { None };
            (offset, if offset.is_some() { element.metadata().to_owned() } else { String::new() })
        }
        None => (None, String::new()),
    };
    match ends.get(tp) {
        Some(Ok((low, high))) => Ok(BrokerPosition { committed, metadata, low: *low, high: *high, topic_id }),
        Some(Err(error)) => Err(position_failure(error, "read the first and last offset")),
        None => {
            Err(Failure::retriable(Stage::Recover, format!("{tp}: the broker does not tell where it ends")))
        }
    }
}

fn commit_error(code: RDKafkaErrorCode) -> CommitError {
    let reason = code.to_string();
    match code {
        RDKafkaErrorCode::UnknownMemberId
        | RDKafkaErrorCode::IllegalGeneration
        | RDKafkaErrorCode::FencedInstanceId
        | RDKafkaErrorCode::StaleMemberEpoch
        | RDKafkaErrorCode::FencedMemberEpoch
        | RDKafkaErrorCode::AssignmentLost
        | RDKafkaErrorCode::UnknownTopicOrPartition => CommitError::Refused(reason),
        RDKafkaErrorCode::GroupAuthorizationFailed
        | RDKafkaErrorCode::TopicAuthorizationFailed
        | RDKafkaErrorCode::OffsetMetadataTooLarge
        | RDKafkaErrorCode::InvalidGroupId => CommitError::Denied(reason),
        _ => CommitError::Unknown(reason),
    }
}

fn position_failure(error: &KafkaError, what: &str) -> Failure {
    match error.rdkafka_error_code() {
        Some(
            code @ (RDKafkaErrorCode::GroupAuthorizationFailed | RDKafkaErrorCode::TopicAuthorizationFailed),
        ) => Failure::fatal(Stage::Recover, format!("cannot {what}: {code}; allow READ on topic and group")),
        _ => Failure::retriable(Stage::Recover, format!("cannot {what}: {error}")),
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
