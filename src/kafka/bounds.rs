//! Owns the end offsets of a bounded run: noted once at its beginning, and whether the group has committed them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::{Offset as KafkaOffset, TopicPartitionList};

use crate::config::settings::TopicSelection;
use crate::error::{Failure, Stage};
use crate::kafka::context::Context;
use crate::kafka::trouble::heard;
use crate::kafka::watermarks::watermarks;
use crate::position::{Offset, TopicPartition};

/// How long a bounded run waits for the brokers at its beginning.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long it waits when the trouble is one that only an operator ends.
const PATIENCE_WITH_REFUSAL: Duration = Duration::from_secs(5);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// The end of every partition when the run began. Partitions that were empty are not in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Bounds(BTreeMap<TopicPartition, Offset>);

impl Bounds {
    /// Asks the brokers for the ends.
    ///
    /// # Errors
    /// Fatal when they cannot be reached within half a minute, or a topic does not exist.
    pub(super) fn note(consumer: &BaseConsumer<Context>, topics: &TopicSelection) -> Result<Self, Failure> {
        let began = Instant::now();
        loop {
            match Self::ask(consumer, topics) {
                Ok(bounds) => return Ok(bounds),
                Err(failure @ Failure::Fatal { .. }) => return Err(failure),
                Err(failure) => {
                    let heard = heard(consumer, failure.reason());
                    let refused =
                        consumer.context().last_trouble().is_some_and(|trouble| trouble.is_refusal());
                    let waited = began.elapsed();
                    if waited >= PATIENCE || refused && waited >= PATIENCE_WITH_REFUSAL {
                        let reason =
                            format!("cannot reach the brokers within {} s: {heard}", waited.as_secs());
                        return Err(Failure::fatal(Stage::Consume, reason));
                    }
                }
            }
        }
    }

    /// Where to stop in `tp`: offset 0, that is at once, for a partition that was empty or not there.
    pub(super) fn stop(&self, tp: &TopicPartition) -> Offset {
        self.0.get(tp).copied().unwrap_or(Offset::ZERO)
    }

    /// Whether the group has committed every end.
    ///
    /// # Errors
    /// Retriable when the coordinator does not answer.
    pub(super) fn reached(&self, consumer: &BaseConsumer<Context>) -> Result<bool, Failure> {
        if self.0.is_empty() {
            return Ok(true);
        }
        let mut list = TopicPartitionList::with_capacity(self.0.len());
        for tp in self.0.keys() {
            list.add_partition(&tp.topic, tp.partition);
        }
        let committed =
            consumer.committed_offsets(list, REQUEST_TIMEOUT).map_err(|error| retriable(&error))?;
        Ok(committed.elements().iter().all(|element| {
            let tp = TopicPartition::new(element.topic(), element.partition());
            let end = self.stop(&tp);
            matches!(element.offset(), KafkaOffset::Offset(raw) if Offset::new(raw).is_some_and(|at| at >= end))
        }))
    }

    fn ask(consumer: &BaseConsumer<Context>, topics: &TopicSelection) -> Result<Self, Failure> {
        // Callbacks, which say why a broker cannot be reached, come with a poll.
        let _ = consumer.poll(Duration::ZERO);
        let metadata = consumer.fetch_metadata(None, REQUEST_TIMEOUT).map_err(|error| retriable(&error))?;
        let pattern = match topics {
            TopicSelection::Regex(pattern) => Some(regex::Regex::new(pattern).map_err(|error| {
                Failure::fatal(
                    Stage::Consume,
                    format!("kafka.topics_regex is no regular expression: {error}"),
                )
            })?),
            TopicSelection::Names(_) => None,
        };
        let mut bounds = BTreeMap::new();
        let mut wanted_partitions = Vec::new();
        for topic in metadata.topics() {
            let wanted = match (topics, &pattern) {
                (TopicSelection::Names(names), _) => names.iter().any(|name| name == topic.name()),
                (_, Some(pattern)) => pattern.is_match(topic.name()),
                _ => false,
            };
            if !wanted {
                continue;
            }
            wanted_partitions.extend(
                topic.partitions().iter().map(|partition| TopicPartition::new(topic.name(), partition.id())),
            );
        }
        for (tp, ends) in watermarks(consumer, wanted_partitions.iter(), REQUEST_TIMEOUT)
            .map_err(|error| retriable(&error))?
        {
            let (low, high) = ends.map_err(|error| retriable(&error))?;
            if high > low {
                bounds.insert(tp, high);
            }
        }
        if let TopicSelection::Names(names) = topics
            && let Some(missing) =
                names.iter().find(|name| !metadata.topics().iter().any(|topic| topic.name() == name.as_str()))
        {
            return Err(Failure::fatal(
                Stage::Consume,
                format!(
                    "topic {missing} does not exist, or the credentials may not describe it; create it or mend kafka.topics"
                ),
            ));
        }
        Ok(Self(bounds))
    }
}

fn retriable(error: &KafkaError) -> Failure {
    Failure::retriable(Stage::Consume, error.to_string())
}
