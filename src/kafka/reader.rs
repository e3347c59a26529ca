//! Owns what can be asked of a cluster without joining the group: its commits, and whether there is a record between two
//! offsets. Commits nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::metadata::MetadataTopic;
use rdkafka::{Offset as KafkaOffset, TopicPartitionList};

use crate::config::settings::KafkaSettings;
use crate::error::{Failure, Stage};
use crate::kafka::context::Context;
use crate::kafka::properties::{MOST_AHEAD_BYTES, consumer_config, refusal};
use crate::kafka::trouble::heard;
use crate::kafka::watermarks::watermarks;
use crate::position::{Offset, OffsetRange, TopicPartition};

const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// A reader of a cluster's records and of a group's commits.
pub struct ClusterReader {
    consumer: BaseConsumer<Context>,
    patience: Duration,
}

/// What there is between two offsets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Between {
    /// No record that a reader of committed transactions would see.
    Nothing,
    /// This is the first record with a value.
    Record(Offset),
    /// Only records without a value; this is the first.
    Tombstones(Offset),
    /// The broker begins after the first of the offsets.
    Deleted,
    /// The partition ends here, before the last of the offsets: it is not the one they come from.
    Beyond(Offset),
}

impl ClusterReader {
    /// Makes a client of the group in `settings` without joining it. Contacts nobody yet. Each question takes `patience` at
    /// most.
    ///
    /// # Errors
    /// Fatal when the properties are refused.
    pub fn new(settings: &KafkaSettings, patience: Duration) -> Result<Self, Failure> {
        // Polled one by one, so that the end of a partition is told where it is.
        let consumer = consumer_config(settings, MOST_AHEAD_BYTES)
            .set("enable.partition.eof", "true")
            .create_with_context(Context::new("reader", settings))
            .map_err(|error| {
                let reason = format!("the kafka client refuses: {}; check the properties", refusal(&error));
                Failure::fatal(Stage::Consume, reason)
            })?;
        Ok(Self { consumer, patience })
    }

    /// The partitions of a topic; none when the brokers have no such topic.
    ///
    /// # Errors
    /// Fatal when no broker answers.
    pub fn partitions(&self, topic: &str) -> Result<Vec<TopicPartition>, Failure> {
        let metadata = self.persist(|| self.consumer.fetch_metadata(Some(topic), REQUEST_TIMEOUT))?;
        let found = metadata.topics().iter().filter(|found| found.name() == topic);
        let partitions = found.flat_map(MetadataTopic::partitions);
        Ok(partitions.map(|partition| TopicPartition::new(topic, partition.id())).collect())
    }

    /// The first offset that the brokers have of each of `partitions`, or why they do not tell.
    ///
    /// # Errors
    /// Fatal when no broker answers.
    pub fn beginnings(
        &self,
        partitions: &BTreeSet<TopicPartition>,
    ) -> Result<BTreeMap<TopicPartition, Result<Offset, String>>, Failure> {
        let metadata = self.persist(|| self.consumer.fetch_metadata(None, REQUEST_TIMEOUT))?;
        let known: BTreeSet<(&str, i32)> = metadata
            .topics()
            .iter()
            .flat_map(|topic| topic.partitions().iter().map(|partition| (topic.name(), partition.id())))
            .collect();
        // A question for what is not there fails as a whole, after some seconds.
        let there = partitions.iter().filter(|tp| known.contains(&(&*tp.topic, tp.partition)));
        let mut found = self.persist(|| watermarks(&self.consumer, there.clone(), REQUEST_TIMEOUT))?;
        let mut told = |tp: &TopicPartition| match found.remove(tp) {
            Some(marks) => marks.map(|(low, _)| low).map_err(|error| error.to_string()),
            None => Err("it has no such partition, or the credentials may not describe it".to_owned()),
        };
        Ok(partitions.iter().map(|tp| (tp.clone(), told(tp))).collect())
    }

    /// The group's commits: offset (`None` where it has committed nothing) and metadata.
    ///
    /// # Errors
    /// Fatal when the coordinator does not answer, or refuses.
    pub fn commits(
        &self,
        partitions: &[TopicPartition],
    ) -> Result<BTreeMap<TopicPartition, (Option<Offset>, String)>, Failure> {
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for tp in partitions {
            list.add_partition(&tp.topic, tp.partition);
        }
        let answer = self.persist(|| self.consumer.committed_offsets(list.clone(), REQUEST_TIMEOUT))?;
        let mut commits = BTreeMap::new();
        for element in answer.elements() {
            let tp = TopicPartition::new(element.topic(), element.partition());
            element.error().map_err(|error| {
                Failure::fatal(Stage::Recover, format!("{tp}: cannot read the group's commit: {error}"))
            })?;
            let offset =
                if let KafkaOffset::Offset(raw) = element.offset() { Offset::new(raw) } else { None };
            let metadata = offset.map_or_else(String::new, |_| element.metadata().to_owned());
            commits.insert(tp, (offset, metadata));
        }
        Ok(commits)
    }

    /// Looks for a record of `tp` in `range`.
    ///
    /// # Errors
    /// Fatal when the broker does not answer.
    pub fn look(&self, tp: &TopicPartition, range: OffsetRange) -> Result<Between, Failure> {
        let (low, high) =
            self.persist(|| self.consumer.fetch_watermarks(&tp.topic, tp.partition, REQUEST_TIMEOUT))?;
        if low > range.start.as_i64() {
            return Ok(Between::Deleted);
        }
        if high < range.end.as_i64() {
            return Ok(Between::Beyond(Offset::new(high).unwrap_or_default()));
        }
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&tp.topic, tp.partition, KafkaOffset::Offset(range.start.as_i64()))
            .and_then(|()| self.consumer.assign(&list))
            .map_err(|error| unreachable(&error.to_string()))?;
        let found = self.first_record(range);
        let _ = self.consumer.unassign();
        found
    }

    fn first_record(&self, range: OffsetRange) -> Result<Between, Failure> {
        let mut tombstone = None;
        let mut heard_at = Instant::now();
        while heard_at.elapsed() < self.patience {
            match self.consumer.poll(Duration::from_millis(200)) {
                Some(Ok(message)) => {
                    match Offset::new(message.offset()).filter(|offset| range.contains(*offset)) {
                        Some(offset) if message.payload().is_some() => return Ok(Between::Record(offset)),
                        Some(offset) => {
                            tombstone.get_or_insert(offset);
                            heard_at = Instant::now();
                        }
                        None => return Ok(tombstone.map_or(Between::Nothing, Between::Tombstones)),
                    }
                }
                Some(Err(KafkaError::PartitionEOF(_))) => {
                    return Ok(tombstone.map_or(Between::Nothing, Between::Tombstones));
                }
                Some(Err(KafkaError::MessageConsumption(RDKafkaErrorCode::AutoOffsetReset))) => {
                    return Ok(Between::Deleted);
                }
                Some(Err(_)) | None => {}
            }
        }
        Err(unreachable(&heard(&self.consumer, "no answer")))
    }

    /// Asks until there is an answer or patience ends.
    fn persist<T>(&self, ask: impl Fn() -> Result<T, KafkaError>) -> Result<T, Failure> {
        let began = Instant::now();
        loop {
            // Callbacks, which say why a broker cannot be reached, come with a poll.
            let _ = self.consumer.poll(Duration::ZERO);
            match ask() {
                Ok(answer) => return Ok(answer),
                Err(_) if began.elapsed() < self.patience => {}
                Err(error) => return Err(unreachable(&heard(&self.consumer, &error.to_string()))),
            }
        }
    }
}

fn unreachable(heard: &str) -> Failure {
    Failure::fatal(Stage::Recover, format!("the brokers do not answer: {heard}"))
}
