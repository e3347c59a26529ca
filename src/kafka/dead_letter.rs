//! Owns the producer of dead letters: the original record, its position and what is wrong with it, acknowledged by all
//! in-sync replicas before anyone is told.

use std::sync::{Arc, Mutex, PoisonError};

use rdkafka::ClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};

use crate::config::settings::KafkaSettings;
use crate::error::{Failure, Stage};
use crate::kafka::consumer::TaskSender;
use crate::kafka::properties::{producer_config, refusal};
use crate::metrics::ConnectorMetrics;
use crate::position::TopicPartition;
use crate::task::budget::Reservation;
use crate::task::message::{DeadLetter, FlushId, Input};

/// Produces dead letters of one connector. Cheap to clone.
#[derive(Clone)]
pub struct DeadLetterProducer {
    producer: Arc<ThreadedProducer<Acknowledgements>>,
    topic: Arc<str>,
    connector: Arc<str>,
}

/// What comes back with the outcome of a letter.
struct Envelope {
    batch: Arc<Batch>,
    /// Counts the letter as long as the client holds it.
    counted: Reservation,
}

/// Letters of one effect: its task hears of it when the last is acknowledged or one has failed.
struct Batch {
    tp: TopicPartition,
    flush: FlushId,
    reply: TaskSender,
    state: Mutex<BatchState>,
}

struct BatchState {
    outstanding: usize,
    failure: Option<Failure>,
}

impl DeadLetterProducer {
    /// Creates the producer; nothing is sent yet.
    ///
    /// # Errors
    /// Fatal when the client refuses the properties.
    pub fn new(
        connector: &str,
        settings: &KafkaSettings,
        topic: &str,
        metrics: Arc<ConnectorMetrics>,
    ) -> Result<Self, Failure> {
        let acknowledgements = Acknowledgements { metrics, last_error: Mutex::default() };
        let producer = producer_config(settings).create_with_context(acknowledgements).map_err(|error| {
            let refusal = refusal(&error);
            Failure::fatal(
                Stage::DeadLetter,
                format!("the kafka client refuses: {refusal}; check kafka.properties"),
            )
        })?;
        Ok(Self { producer: Arc::new(producer), topic: topic.into(), connector: connector.into() })
    }

    /// Sends the letters of one flush; `reply` hears [`Input::DeadLettered`] once. Each letter counts against the memory
    /// budget until its outcome is known.
    pub fn send(&self, tp: &TopicPartition, flush: FlushId, letters: Vec<DeadLetter>, reply: TaskSender) {
        let state = BatchState { outstanding: letters.len(), failure: None };
        let batch = Arc::new(Batch { tp: tp.clone(), flush, reply, state: Mutex::new(state) });
        for letter in letters {
            self.send_one(tp, letter, &batch);
        }
    }

    /// Never waits: the client's queue has no bound of its own, the task has made room before it made the letter.
    fn send_one(&self, tp: &TopicPartition, letter: DeadLetter, batch: &Arc<Batch>) {
        let headers = self.headers(tp, &letter);
        let DeadLetter { key, value, counted, .. } = letter;
        let envelope = Box::new(Envelope { batch: batch.clone(), counted });
        let mut record: BaseRecord<'_, [u8], [u8], Box<Envelope>> =
            BaseRecord::with_opaque_to(&self.topic, envelope).headers(headers);
        if let Some(key) = &key {
            record = record.key(key);
        }
        if let Some(value) = &value {
            record = record.payload(value);
        }
        if let Err((error, record)) = self.producer.send(record) {
            record.delivery_opaque.settle(Err(self.failure(&error)));
        }
    }

    fn headers(&self, tp: &TopicPartition, letter: &DeadLetter) -> OwnedHeaders {
        let mut headers = OwnedHeaders::new();
        for header in &letter.headers {
            headers = headers.insert(Header { key: &header.key, value: header.value.as_deref() });
        }
        let timestamp = letter.timestamp_ms.map(|ms| ms.to_string());
        let schema = letter.schema.map(|id| id.to_string());
        let facts = [
            ("sluice.connector", Some(self.connector.to_string())),
            ("sluice.topic", Some(tp.topic.to_string())),
            ("sluice.partition", Some(tp.partition.to_string())),
            ("sluice.offset", Some(letter.offset.to_string())),
            ("sluice.timestamp", timestamp),
            ("sluice.stage", Some(letter.stage.to_string())),
            ("sluice.kind", Some(letter.kind.to_owned())),
            ("sluice.reason", Some(letter.reason.clone())),
            ("sluice.schema_id", schema),
        ];
        for (key, value) in &facts {
            if let Some(value) = value {
                headers = headers.insert(Header { key, value: Some(value) });
            }
        }
        headers
    }

    fn failure(&self, error: &KafkaError) -> Failure {
        self.producer.client().context().failure(error, &self.topic)
    }
}

fn delivery_failure(error: &KafkaError, topic: &str) -> Failure {
    let why = format!("cannot produce to the dead-letter topic {topic}: {error}; offsets are held");
    let fatal = |advice: &str| Failure::fatal(Stage::DeadLetter, format!("{why}: {advice}"));
    let retriable = |advice: &str| Failure::retriable(Stage::DeadLetter, format!("{why}{advice}"));
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::TopicAuthorizationFailed | RDKafkaErrorCode::ClusterAuthorizationFailed) => {
            fatal("allow WRITE on it")
        }
        Some(RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::InvalidMessageSize) => fatal(
            "a dead letter is the record with a few headers more: raise the topic's max.message.bytes above that of \
             the topic it comes from",
        ),
        Some(RDKafkaErrorCode::InvalidTopic) => fatal("choose another errors.dead_letter_topic"),
        Some(
            RDKafkaErrorCode::UnknownTopic
            | RDKafkaErrorCode::UnknownTopicOrPartition
            | RDKafkaErrorCode::UnknownPartition,
        ) => retriable(" until it is there: create it"),
        _ => retriable(""),
    }
}

impl Envelope {
    /// The letter is gone from memory before anybody hears of it: who waits for room finds it.
    fn settle(self, result: Result<(), Failure>) {
        drop(self.counted);
        self.batch.settle(result);
    }
}

impl Batch {
    fn settle(&self, result: Result<(), Failure>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.outstanding -= 1;
        if let Err(failure) = result {
            state.failure.get_or_insert(failure);
        }
        if state.outstanding == 0 {
            let result = state.failure.take().map_or(Ok(()), Err);
            let _ = self.reply.send(Input::DeadLettered { tp: self.tp.clone(), flush: self.flush, result });
        }
    }
}

/// Callbacks of the producer.
struct Acknowledgements {
    metrics: Arc<ConnectorMetrics>,
    /// What the client told last: a fatal error comes without its cause.
    last_error: Mutex<Option<String>>,
}

impl Acknowledgements {
    /// After a fatal error this producer sends nothing any more: only a new one may, so the connector has to stop.
    fn failure(&self, error: &KafkaError, topic: &str) -> Failure {
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::Fatal) {
            return delivery_failure(error, topic);
        }
        let told = self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let reason = told.unwrap_or_else(|| error.to_string());
        Failure::fatal(
            Stage::DeadLetter,
            format!(
                "cannot produce to the dead-letter topic {topic}: {reason}; allow WRITE on it, then restart the connector"
            ),
        )
    }
}

impl ClientContext for Acknowledgements {
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!("dead-letter producer: {error}: {reason}");
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason.to_owned());
    }
}

impl ProducerContext for Acknowledgements {
    type DeliveryOpaque = Box<Envelope>;

    fn delivery(&self, result: &DeliveryResult<'_>, envelope: Self::DeliveryOpaque) {
        envelope.settle(match result {
            Ok(_) => {
                self.metrics.dead_letters.add(1);
                Ok(())
            }
            Err((error, message)) => Err(self.failure(error, rdkafka::Message::topic(message))),
        });
    }
}
