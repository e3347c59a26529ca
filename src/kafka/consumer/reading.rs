//! Owns the question where partitions may begin, asked of the brokers for the tasks: the committed offset, the ends, the
//! topic's id and number of partitions. Does not own what follows from the answer.

use super::asking::Told;
use super::{ConsumerThread, Lane};
use crate::error::{Failure, Stage};
use crate::failpoint::failpoint;
use crate::kafka::native::{Described, Description};
use crate::kafka::watermarks::Watermarks;
use crate::position::{Epoch, Offset, TopicPartition};
use crate::task::message::{Attempt, BrokerPosition, Input};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::{Metadata, MetadataBroker, MetadataPartition, MetadataTopic};
use rdkafka::{Offset as KafkaOffset, TopicPartitionList};
use std::collections::BTreeSet;
use std::fmt::Display;
use std::time::Duration;

#[cfg(test)]
mod tests;

pub(super) const DESCRIBE_TIMEOUT: Duration = Duration::from_secs(3);

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
    /// Each of `reads` is answered with [`Input::Committed`] by [`Self::look_at_readings`].
    pub(super) fn read_committed(&mut self, reads: Vec<Read>) -> Result<(), Failure> {
        if reads.is_empty() || self.asker.ask(reads) {
            return Ok(());
        }
        Err(Failure::retriable(Stage::Consume, "the thread that asks the brokers has ended"))
    }

    /// Asks about the topics of partitions whose offsets are known: one request for all, not waited for.
    pub(super) fn describe(
        &mut self,
        positions: Vec<(Read, BrokerPosition)>,
        metadata: Result<Metadata, KafkaError>,
    ) {
        let topics: BTreeSet<&str> = positions.iter().map(|(read, _)| &*read.tp.topic).collect();
        let Some(first) = topics.first() else { return };
        let asked = metadata
            .map_err(|error| description_failure(first, error.rdkafka_error_code(), &error))
            .and_then(|metadata| self.ask(&topics, &metadata));
        match asked {
            Ok(description) => self.readings.push(Reading { description, positions }),
            Err(failure) => {
                for (read, _) in positions {
                    self.answer(read, Err(failure.clone()));
                }
            }
        }
    }

    fn ask(&mut self, topics: &BTreeSet<&str>, metadata: &Metadata) -> Result<Description, Failure> {
        self.brokers = brokers_of(metadata);
        failpoint!("recover.describe.before");
        self.next_broker()
            .and_then(|broker| Description::ask(&self.consumer, topics, broker, DESCRIBE_TIMEOUT))
            .ok_or_else(|| Failure::retriable(Stage::Recover, "cannot describe topics: no broker is known"))
    }

    /// Whom to ask about topics: another one each time, as one may not answer.
    pub(super) fn next_broker(&mut self) -> Option<i32> {
        let at = self.descriptions % self.brokers.len().max(1);
        self.descriptions = self.descriptions.wrapping_add(1);
        self.brokers.get(at).copied()
    }

    /// Answers the partitions of which everything is known, after up to `wait`.
    pub(super) fn look_at_readings(&mut self, wait: Duration) {
        for Told { positions, failures, metadata } in self.asker.told().collect::<Vec<_>>() {
            for (read, failure) in failures {
                self.answer(read, Err(failure));
            }
            if let Some(metadata) = metadata {
                self.describe(positions, metadata);
            }
        }
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
        // What an earlier attempt had asked may be answered late: since then more was committed.
        let asks = |lane: &&mut Lane| lane.epoch == epoch && lane.attempt.is_none_or(|begun| begun < attempt);
        let Some(lane) = self.lanes.get_mut(&tp).filter(asks) else { return };
        if let Ok(position) = &result {
            lane.topic_id.clone_from(&position.topic_id);
            lane.committed = position.committed.unwrap_or(Offset::ZERO);
            lane.vacant_until = if position.committed.is_none() { position.high } else { Offset::ZERO };
        }
        let task = lane.task;
        self.tell(task, Input::Committed { tp, epoch, attempt, result });
    }
}

/// Whom to ask: those that lead partitions are connected already.
fn brokers_of(metadata: &Metadata) -> Vec<i32> {
    let partitions = metadata.topics().iter().flat_map(MetadataTopic::partitions);
    let leaders: BTreeSet<i32> =
        partitions.map(MetadataPartition::leader).filter(|leader| *leader >= 0).collect();
    if leaders.is_empty() {
        metadata.brokers().iter().map(MetadataBroker::id).collect()
    } else {
        leaders.into_iter().collect()
    }
}

pub(super) fn broker_position(
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

pub(super) fn position_failure(error: &KafkaError, what: &str) -> Failure {
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
