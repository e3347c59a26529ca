//! Owns whether the brokers answer: asked as soon as the client tells of trouble, shown until they answer again. Does not
//! own what the client does to reach them.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer as _;

use super::ConsumerThread;
use crate::config::settings::TopicSelection;

/// How long a broker may take to answer while the client tells of trouble. The thread does nothing else meanwhile.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);
/// Between two questions.
const ASK_EVERY: Duration = Duration::from_secs(3);

impl ConsumerThread {
    /// After trouble: asks any broker for something small, and shows the trouble if none answers.
    pub(super) fn look_at_connection(&mut self) {
        let Some(trouble) = self.consumer.context().last_trouble() else { return };
        if Instant::now() < self.next_connection_look {
            return;
        }
        let topic = match &self.settings.kafka.topics {
            TopicSelection::Names(names) => names.first().map(String::as_str),
            TopicSelection::Regex(_) => None,
        };
        let answer = self.consumer.fetch_metadata(topic, ANSWER_TIMEOUT);
        self.next_connection_look = Instant::now() + ASK_EVERY;
        let mut shown = self.status.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        if answer.is_ok() {
            self.consumer.context().forget_trouble(&trouble);
            if shown.take().is_some() {
                tracing::info!(connector = self.settings.connector, "the brokers answer again");
            }
            return;
        }
        *shown = Some(trouble.to_string());
    }
}
