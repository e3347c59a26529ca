//! Owns the look at a cluster that `sluice check` takes: reachable, topics there, without joining the group.

use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};

use crate::config::settings::{KafkaSettings, TopicSelection};
use crate::error::{Failure, Stage};
use crate::kafka::context::Context;
use crate::kafka::properties::{client_config, refusal};
use crate::kafka::trouble::heard;

/// What a probe found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicProbe {
    /// Number of brokers.
    pub brokers: usize,
    /// Name and number of partitions of each topic that will be read.
    pub topics: Vec<(String, usize)>,
    /// Topics named in the configuration (or the dead-letter topic) that are not there.
    pub missing: Vec<String>,
}

/// Asks the cluster for its topics, at most for `patience`.
///
/// # Errors
/// Fatal when the properties are refused or the cluster does not answer; the message carries the client's own words.
pub fn probe(
    connector: &str,
    settings: &KafkaSettings,
    dead_letter_topic: Option<&str>,
    patience: Duration,
) -> Result<TopicProbe, Failure> {
    let fatal = |reason: String| Failure::fatal(Stage::Consume, reason);
    let consumer: BaseConsumer<Context> =
        client_config(settings).create_with_context(Context::new(connector, settings)).map_err(|error| {
            fatal(format!("the kafka client refuses: {}; check kafka.properties", refusal(&error)))
        })?;
    let began = Instant::now();
    let metadata = loop {
        let _ = consumer.poll(Duration::ZERO);
        match consumer.fetch_metadata(None, Duration::from_secs(2)) {
            Ok(metadata) => break metadata,
            Err(_) if began.elapsed() < patience => {}
            Err(error) => {
                let heard = heard(&consumer, &error.to_string());
                return Err(fatal(format!("cannot reach the brokers: {heard}")));
            }
        }
    };
    let pattern = match &settings.topics {
        TopicSelection::Regex(pattern) => Some(
            regex::Regex::new(pattern)
                .map_err(|error| fatal(format!("kafka.topics_regex is no regular expression: {error}")))?,
        ),
        TopicSelection::Names(_) => None,
    };
    let there =
        |name: &str| metadata.topics().iter().find(|topic| topic.name() == name && topic.error().is_none());
    let mut found = TopicProbe { brokers: metadata.brokers().len(), topics: Vec::new(), missing: Vec::new() };
    if let Some(pattern) = pattern {
        let matching = metadata.topics().iter().filter(|topic| pattern.is_match(topic.name()));
        found.topics = matching.map(|topic| (topic.name().to_owned(), topic.partitions().len())).collect();
    } else if let TopicSelection::Names(names) = &settings.topics {
        for name in names {
            match there(name) {
                Some(topic) => found.topics.push((name.clone(), topic.partitions().len())),
                None => found.missing.push(name.clone()),
            }
        }
    }
    found.missing.extend(dead_letter_topic.filter(|name| there(name).is_none()).map(str::to_owned));
    Ok(found)
}
