//! Owns the question where partitions may begin, asked of the brokers for the tasks: the committed offset, the ends, the
//! topic's id and number of partitions. Does not own what follows from the answer.

use super::{ConsumerThread, REQUEST_TIMEOUT};
use crate::error::{Failure, Stage};
use crate::failpoint::failpoint;
use crate::kafka::native::{Described, Description};
use crate::kafka::watermarks::{Watermarks, watermarks};
use crate::position::{Epoch, Offset, TopicPartition};
use crate::task::message::{Attempt, BrokerPosition, Input};
use rdkafka::consumer::Consumer as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::{Metadata, MetadataBroker, MetadataPartition, MetadataTopic};
use rdkafka::{Offset as KafkaOffset, TopicPartitionList};
use std::collections::BTreeSet;
use std::fmt::Display;
use std::time::Duration;

#[cfg(test)]
mod tests;

const DESCRIBE_TIMEOUT: Duration = Duration::from_secs(3);
/// A description that takes longer is waited for beside other work.
const DESCRIBE_WAIT: Duration = Duration::from_millis(50);

/// Which partition asks.
#[derive(Clone, Debug)]
pub(super) struct Read {
    pub(super) tp: TopicPartition,
    pub(super) epoch: Epoch,
    pub(super) attempt: Attempt,
}

/// Partitions whose offsets are known and whose topics are being described.
pub(super) struct Reading {
    description: Description,
    positions: Vec<(Read, BrokerPosition)>,
}

impl ConsumerThread {
    /// Each of `reads` is answered with [`Input::Committed`], now or by [`Self::look_at_readings`].
    pub(super) fn read_committed(&mut self, reads: Vec<Read>) {
        if reads.is_empty() {
            return;
        }
        match self.read_offsets(&reads) {
            Ok((list, ends)) => {
                let mut known = Vec::new();
                for read in reads {
                    match broker_position(&read.tp, &list, &ends) {
                        Ok(position) => known.push((read, position)),
                        Err(failure) => self.answer(read, Err(failure)),
                    }
                }
                self.describe(known);
                self.look_at_readings(DESCRIBE_WAIT);
            }
            Err(failure) => {
                for read in reads {
                    self.answer(read, Err(failure.clone()));
                }
            }
        }
    }

    fn read_offsets(&self, reads: &[Read]) -> Result<(TopicPartitionList, Watermarks), Failure> {
        let mut list = TopicPartitionList::with_capacity(reads.len());
        for read in reads {
            list.add_partition(&read.tp.topic, read.tp.partition);
        }
        failpoint!("recover.read.before");
        let committed = self
            .consumer
            .committed_offsets(list, REQUEST_TIMEOUT)
            .map_err(|error| position_failure(&error, "read the committed offsets"))?;
        let ends = watermarks(&self.consumer, reads.iter().map(|read| &read.tp), REQUEST_TIMEOUT)
            .map_err(|error| position_failure(&error, "read the first and last offsets"))?;
        failpoint!("recover.read.after");
        Ok((committed, ends))
    }

    /// Asks about the topics of partitions whose offsets are known: one request for all, not waited for.
    pub(super) fn describe(&mut self, positions: Vec<(Read, BrokerPosition)>) {
        let topics: BTreeSet<&str> = positions.iter().map(|(read, _)| &*read.tp.topic).collect();
        let Some(first) = topics.first() else { return };
        let asked = self
            .consumer
            .fetch_metadata(Some(first), DESCRIBE_TIMEOUT)
            .map_err(|error| description_failure(first, error.rdkafka_error_code(), &error))
            .and_then(|metadata| self.ask(&topics, &metadata));
        self.descriptions = self.descriptions.wrapping_add(1);
        match asked {
            Ok(description) => self.readings.push(Reading { description, positions }),
            Err(failure) => {
                for (read, _) in positions {
                    self.answer(read, Err(failure.clone()));
                }
            }
        }
    }

    /// One that leads a partition is connected already; another one is asked the next time.
    fn ask(&self, topics: &BTreeSet<&str>, metadata: &Metadata) -> Result<Description, Failure> {
        let partitions = metadata.topics().iter().flat_map(MetadataTopic::partitions);
        let leaders: BTreeSet<i32> =
            partitions.map(MetadataPartition::leader).filter(|leader| *leader >= 0).collect();
        let brokers: Vec<i32> = if leaders.is_empty() {
            metadata.brokers().iter().map(MetadataBroker::id).collect()
        } else {
            leaders.into_iter().collect()
        };
        let broker = brokers.get(self.descriptions % brokers.len().max(1)).copied();
        failpoint!("recover.describe.before");
        broker
            .and_then(|broker| Description::ask(&self.consumer, topics, broker, DESCRIBE_TIMEOUT))
            .ok_or_else(|| Failure::retriable(Stage::Recover, "cannot describe topics: no broker is known"))
    }

    /// Answers the partitions whose topics have been described, after up to `wait`.
    pub(super) fn look_at_readings(&mut self, wait: Duration) {
        for reading in std::mem::take(&mut self.readings) {
            let Some(described) = reading.description.answer(wait) else {
                self.readings.push(reading);
                continue;
            };
            for (read, position) in reading.positions {
                let result = with_description(position, &read.tp.topic, &described);
                self.answer(read, result);
            }
        }
    }

    fn answer(&mut self, read: Read, result: Result<BrokerPosition, Failure>) {
        let Read { tp, epoch, attempt } = read;
        let Some(lane) = self.lanes.get_mut(&tp).filter(|lane| lane.epoch == epoch) else { return };
        if let Ok(position) = &result {
            lane.committed = position.committed.unwrap_or(Offset::ZERO);
            lane.vacant_until = if position.committed.is_none() { position.high } else { Offset::ZERO };
        }
        let task = lane.task;
        self.tell(task, Input::Committed { tp, epoch, attempt, result });
    }
}

fn broker_position(
    tp: &TopicPartition,
    list: &TopicPartitionList,
    ends: &Watermarks,
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
        Some(Ok((low, high))) => Ok(BrokerPosition {
            committed,
            metadata,
            low: *low,
            high: *high,
            topic_id: None,
            partitions: None,
        }),
        Some(Err(error)) => Err(position_failure(error, "read the first and last offset")),
        None => {
            Err(Failure::retriable(Stage::Recover, format!("{tp}: the broker does not tell where it ends")))
        }
    }
}

/// Only a broker that has no ids may leave the id out: files without one could not be told from those of another topic of
/// that name.
fn with_description(
    position: BrokerPosition,
    topic: &str,
    described: &Result<Described, RDKafkaErrorCode>,
) -> Result<BrokerPosition, Failure> {
    let told = match described {
        Ok(described) => described.get(topic).unwrap_or(&Err(RDKafkaErrorCode::UnknownTopicOrPartition)),
        Err(code) => &Err(*code),
    };
    match told {
        Ok(description) => Ok(BrokerPosition {
            topic_id: description.id.clone(),
            partitions: Some(description.partitions),
            ..position
        }),
        Err(RDKafkaErrorCode::UnsupportedVersion | RDKafkaErrorCode::UnsupportedFeature) => Ok(position),
        Err(code) => Err(description_failure(topic, Some(*code), code)),
    }
}

fn description_failure(topic: &str, code: Option<RDKafkaErrorCode>, error: &dyn Display) -> Failure {
    failure_of(code, error, &format!("describe topic {topic}"))
}

fn position_failure(error: &KafkaError, what: &str) -> Failure {
    failure_of(error.rdkafka_error_code(), error, what)
}

fn failure_of(code: Option<RDKafkaErrorCode>, error: &dyn Display, what: &str) -> Failure {
    match code {
        Some(
            code @ (RDKafkaErrorCode::GroupAuthorizationFailed | RDKafkaErrorCode::TopicAuthorizationFailed),
        ) => Failure::fatal(
            Stage::Recover,
            format!("cannot {what}: {code}; allow READ on the topic and the group"),
        ),
        _ => Failure::retriable(Stage::Recover, format!("cannot {what}: {error}")),
    }
}
