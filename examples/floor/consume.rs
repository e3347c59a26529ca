//! Owns consuming a topic from its beginning to its present end in large batches and doing nothing else.

use std::ffi::CString;
use std::ptr;
use std::slice;
use std::time::Duration;

use rdkafka::bindings as sys;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Offset, TopicPartitionList};
use sluice::config::settings::KafkaSettings;

use crate::Fallible;

const BATCH: usize = 10_000;

/// One consumed record.
pub(crate) struct Message<'a> {
    pub(crate) partition: usize,
    pub(crate) offset: i64,
    pub(crate) timestamp_ms: i64,
    pub(crate) value: &'a [u8],
}

/// A record that owns its value.
#[derive(Clone)]
pub(crate) struct OwnedMessage {
    pub(crate) offset: i64,
    pub(crate) timestamp_ms: i64,
    pub(crate) value: Vec<u8>,
}

pub(crate) struct Consumed {
    pub(crate) records: u64,
    pub(crate) value_bytes: u64,
    pub(crate) partitions: usize,
}

impl Message<'_> {
    pub(crate) fn to_owned(&self) -> OwnedMessage {
        OwnedMessage { offset: self.offset, timestamp_ms: self.timestamp_ms, value: self.value.to_vec() }
    }
}

/// Gives every record of `topic` up to the ends of this moment to `take`.
pub(crate) fn consume(
    settings: &KafkaSettings,
    topic: &str,
    mut take: impl FnMut(&Message<'_>),
) -> Fallible<Consumed> {
    let mut config = ClientConfig::new();
    config
        .set("group.id", "floor")
        .set("enable.auto.commit", "false")
        .set("isolation.level", "read_committed");
    config.set("check.crcs", "true").set("queued.max.messages.kbytes", "32768");
    for (key, value) in &settings.properties {
        config.set(key, value.expose());
    }
    let consumer: BaseConsumer = config.create()?;
    let metadata = consumer.fetch_metadata(Some(topic), Duration::from_secs(30))?;
    let partitions = metadata.topics()[0].partitions().len();
    let mut ends = Vec::new();
    let mut list = TopicPartitionList::new();
    for partition in 0..partitions as i32 {
        ends.push(consumer.fetch_watermarks(topic, partition, Duration::from_secs(30))?.1);
        list.add_partition_offset(topic, partition, Offset::Beginning)?;
    }
    consumer.assign(&list)?;
    let total: i64 = ends.iter().sum();
    let mut consumed = Consumed { records: 0, value_bytes: 0, partitions };
    let name = CString::new(topic)?;
    let client = consumer.client().native_ptr();
    let mut slots = vec![ptr::null_mut::<sys::rd_kafka_message_t>(); BATCH];
    // SAFETY: client, topic and slots are valid for the calls; each message is destroyed once, after its last use.
    unsafe {
        let queue = sys::rd_kafka_queue_new(client);
        for partition in 0..partitions as i32 {
            let source = sys::rd_kafka_queue_get_partition(client, name.as_ptr(), partition);
            sys::rd_kafka_queue_forward(source, queue);
            sys::rd_kafka_queue_destroy(source);
        }
        while (consumed.records as i64) < total {
            let count = sys::rd_kafka_consume_batch_queue(queue, 20, slots.as_mut_ptr(), BATCH);
            for slot in &slots[..usize::try_from(count)?] {
                let message = &**slot;
                if message.err == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
                    consumed.records += 1;
                    consumed.value_bytes += message.len as u64;
                    let value = if message.payload.is_null() {
                        &[]
                    } else {
                        slice::from_raw_parts(message.payload.cast::<u8>(), message.len)
                    };
                    let timestamp_ms = sys::rd_kafka_message_timestamp(*slot, ptr::null_mut());
                    take(&Message {
                        partition: message.partition as usize,
                        offset: message.offset,
                        timestamp_ms,
                        value,
                    });
                }
                sys::rd_kafka_message_destroy(*slot);
            }
            consumer.poll(Duration::ZERO);
        }
        sys::rd_kafka_queue_destroy(queue);
    }
    Ok(consumed)
}
