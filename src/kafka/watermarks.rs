//! Owns the question where partitions begin and end: two requests a broker, however many partitions.

use std::collections::HashMap;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::{Offset as KafkaOffset, TopicPartitionList};

use crate::kafka::context::Context;
use crate::position::{Offset, TopicPartition};

/// First offset and the one after the last that can be read, or what kept the broker from telling.
pub(super) type Watermarks = HashMap<TopicPartition, Result<(Offset, Offset), KafkaError>>;

/// Asks for the watermarks of all `partitions`, as seen with the consumer's isolation level.
///
/// # Errors
/// When a broker does not answer in time.
pub(super) fn watermarks<'a>(
    consumer: &BaseConsumer<Context>,
    partitions: impl Iterator<Item = &'a TopicPartition> + Clone,
    timeout: Duration,
) -> Result<Watermarks, KafkaError> {
    let lows = ask(consumer, partitions.clone(), KafkaOffset::Beginning, timeout)?;
    let mut highs = ask(consumer, partitions, KafkaOffset::End, timeout)?;
    Ok(lows
        .into_iter()
        .filter_map(|(tp, low)| {
            let high = highs.remove(&tp)?;
            Some((tp, low.and_then(|low| high.map(|high| (low, high)))))
        })
        .collect())
}

fn ask<'a>(
    consumer: &BaseConsumer<Context>,
    partitions: impl Iterator<Item = &'a TopicPartition>,
    which: KafkaOffset,
    timeout: Duration,
) -> Result<HashMap<TopicPartition, Result<Offset, KafkaError>>, KafkaError> {
    let mut list = TopicPartitionList::new();
    for tp in partitions {
        // The request takes the logical offsets in the place of a timestamp.
        list.add_partition_offset(&tp.topic, tp.partition, which)?;
    }
    if list.count() == 0 {
        return Ok(HashMap::new());
    }
    let answer = consumer.offsets_for_times(list, timeout)?;
    Ok(answer
        .elements()
        .iter()
        .map(|element| {
            let offset = match element.offset() {
                KafkaOffset::Offset(raw) => Offset::new(raw).unwrap_or_default(),
                _ => Offset::ZERO,
            };
            let tp = TopicPartition::new(element.topic(), element.partition());
            (tp, element.error().map(|()| offset))
        })
        .collect())
}
