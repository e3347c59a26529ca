//! Owns what librdkafka tells by callback: rebalances are recorded for the consumer thread to act on in its own
//! loop, errors and log lines are passed on. Decides nothing.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, TopicPartitionList};

use crate::config::settings::KafkaSettings;
use crate::kafka::native;
use crate::kafka::trouble::Trouble;

/// One change of the assignment, in the order it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Rebalance {
    /// These are ours now.
    Assign(Vec<(String, i32)>),
    /// These are asked back.
    Revoke(Vec<(String, i32)>),
    /// These are gone already.
    Lost(Vec<(String, i32)>),
}

/// Callbacks of the consumer.
#[derive(Default)]
pub(super) struct Context {
    connector: String,
    /// `bootstrap.servers`
    brokers: String,
    rebalances: Mutex<VecDeque<Rebalance>>,
    closing: AtomicBool,
    last_trouble: Mutex<Option<Trouble>>,
    callbacks: AtomicU64,
}

impl Context {
    pub(super) fn new(connector: &str, settings: &KafkaSettings) -> Self {
        let brokers = settings.properties.get("bootstrap.servers").map_or("", |value| value.expose());
        Self { connector: connector.to_owned(), brokers: brokers.to_owned(), ..Self::default() }
    }

    /// Where the brokers are said to be.
    pub(super) fn brokers(&self) -> &str {
        &self.brokers
    }

    pub(super) fn next_rebalance(&self) -> Option<Rebalance> {
        self.rebalances.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    /// How often it was called back.
    pub(super) fn callbacks(&self) -> u64 {
        self.callbacks.load(Ordering::Relaxed)
    }

    /// From now on partitions are given up within the callback: the loop that would do it has ended.
    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::SeqCst);
    }

    /// The last trouble the client told of.
    pub(super) fn last_trouble(&self) -> Option<Trouble> {
        self.last_trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The brokers answer: that trouble is over, and worth telling of when it comes again.
    pub(super) fn forget_trouble(&self, trouble: &Trouble) {
        let mut last = self.last_trouble.lock().unwrap_or_else(PoisonError::into_inner);
        if last.as_ref() == Some(trouble) {
            *last = None;
        }
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.callbacks.fetch_add(1, Ordering::Relaxed);
        match level {
            RDKafkaLogLevel::Emerg
            | RDKafkaLogLevel::Alert
            | RDKafkaLogLevel::Critical
            | RDKafkaLogLevel::Error
            | RDKafkaLogLevel::Warning => {
                tracing::debug!(connector = self.connector, facility, "kafka client: {message}");
            }
            _ => tracing::trace!(connector = self.connector, facility, "kafka client: {message}"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let trouble = Trouble::new(error.rdkafka_error_code(), reason);
        let mut last = self.last_trouble.lock().unwrap_or_else(PoisonError::into_inner);
        if last.as_ref().is_none_or(|last| last.yields_to(&trouble)) {
            tracing::warn!(connector = self.connector, "kafka: {trouble}");
            *last = Some(trouble);
        }
    }
}

impl ConsumerContext for Context {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, code: RDKafkaRespErr, list: &mut TopicPartitionList) {
        self.callbacks.fetch_add(1, Ordering::Relaxed);
        let partitions: Vec<(String, i32)> =
            list.elements().iter().map(|element| (element.topic().to_owned(), element.partition())).collect();
        let closing = self.closing.load(Ordering::SeqCst);
        let event = match code {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS if closing => {
                let _ = consumer.incremental_assign(&TopicPartitionList::new());
                return;
            }
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => Rebalance::Assign(partitions),
            _ if closing => return native::unassign_now(consumer, list),
            _ if consumer.assignment_lost() => Rebalance::Lost(partitions),
            _ => Rebalance::Revoke(partitions),
        };
        self.rebalances.lock().unwrap_or_else(PoisonError::into_inner).push_back(event);
    }
}
