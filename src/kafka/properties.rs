//! Owns the librdkafka properties of a connector: the user's, and those that delivery stands on. Does not own which
//! of the user's are refused: the configuration did that.

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;

use crate::config::settings::{KafkaSettings, Secret, TopicSelection};

/// Most that one consumer fetches ahead, bytes: enough for a broker that is near.
pub(super) const MOST_AHEAD_BYTES: u64 = 8 << 20;
/// With less a consumer would stop and go.
const LEAST_AHEAD_BYTES: u64 = 1 << 20;

/// What each of `connectors` may fetch ahead, bytes. Records wait in the client in memory that the budget does not see:
/// each takes about twice its size there, and one answer of the broker comes on top. So they take a quarter of the budget
/// together, unless that would be very little.
#[must_use]
pub fn ahead_bytes(budget_bytes: u64, connectors: usize) -> u64 {
    (budget_bytes / 16 / connectors.max(1) as u64).clamp(LEAST_AHEAD_BYTES, MOST_AHEAD_BYTES)
}

/// For the consumer of the group, which fetches this much ahead unless the properties say otherwise.
pub(super) fn consumer_config(settings: &KafkaSettings, ahead_bytes: u64) -> ClientConfig {
    let mut config = client_config(settings);
    // The client refuses to start when a message of the largest size would not fit into an answer.
    let largest_message = config.get(MESSAGE_LIMIT).and_then(|limit| limit.parse().ok()).unwrap_or(0);
    let (ahead_kib, answer_bytes) =
        ((ahead_bytes >> 10).to_string(), ahead_bytes.max(largest_message).to_string());
    let defaults = [
        ("queued.max.messages.kbytes", ahead_kib.as_str()),
        ("fetch.max.bytes", answer_bytes.as_str()),
        ("fetch.queue.backoff.ms", "10"),
        // Questions about offsets wait behind a fetch that waits for records.
        ("fetch.wait.max.ms", "200"),
        ("check.crcs", "true"),
        ("client.id", "sluice"),
        // New partitions and topics are found within this time.
        ("topic.metadata.refresh.interval.ms", "60000"),
    ];
    for (key, value) in defaults {
        if config.get(key).is_none() {
            config.set(key, value);
        }
    }
    let protocol_consumer = config.get("group.protocol") == Some("consumer");
    if !protocol_consumer {
        config.set("partition.assignment.strategy", "cooperative-sticky");
    }
    config
        .set("group.id", &settings.group)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "error")
        // The end of a partition, taken in a batch, would move the client's position one offset too far; what it would
        // tell is read off the position instead.
        .set("enable.partition.eof", "false")
        .set("isolation.level", "read_committed");
    config
}

/// For the producer of dead letters: acknowledged by all in-sync replicas, without duplicates of its own making.
pub(super) fn producer_config(settings: &KafkaSettings) -> ClientConfig {
    let mut config = client_config(settings);
    for key in CONSUMER_ONLY {
        config.remove(key);
    }
    if config.get(MESSAGE_LIMIT).is_none() {
        // The broker and the topic know what they take; a dead letter is a record that some topic took.
        config.set(MESSAGE_LIMIT, "1000000000");
    }
    // Of two names for one property chance would choose.
    for key in OTHER_NAMES {
        config.remove(key);
    }
    config.set("enable.idempotence", "true").set("linger.ms", "5").set("message.timeout.ms", "60000");
    // What may wait there is counted against the memory budget before it is handed over. A limit of the client's own would
    // only make it refuse what was already admitted.
    config.set("queue.buffering.max.messages", "0").set("queue.buffering.max.kbytes", "2147483647");
    config
}

/// For asking about topics and offsets without joining the group.
pub(super) fn client_config(settings: &KafkaSettings) -> ClientConfig {
    let mut config = ClientConfig::new();
    for (key, value) in &settings.properties {
        config.set(key, value.expose());
    }
    if tracing::enabled!(target: "sluice::kafka::context", tracing::Level::TRACE) {
        // What `debug` among the user's properties asks for.
        config.set_log_level(RDKafkaLogLevel::Debug);
    }
    if matches!(settings.topics, TopicSelection::Regex(_)) && config.get(IGNORED_TOPICS).is_none() {
        // A pattern is not meant for the broker's own topics.
        config.set(IGNORED_TOPICS, "^__consumer_offsets$,^__transaction_state$,^__share_group_state$");
    }
    // Everything about connections is told through callbacks; lines of librdkafka's own on stderr are not.
    config.set("log.connection.close", "false");
    if config.get("socket.connection.setup.timeout.ms").is_none() {
        // A server that takes connections and says nothing is told of within this time.
        config.set("socket.connection.setup.timeout.ms", "10000");
    }
    config
}

/// Why the client refuses its properties. The library's own words would repeat the value, which may be a password.
pub(super) fn refusal(error: &KafkaError) -> String {
    match error {
        KafkaError::ClientConfig(_, reason, key, value) => {
            format!(
                "property {key}: {}",
                Secret::new(value).masked_with_parts_in(reason.trim_end_matches(['\n', '\0', ' ']))
            )
        }
        other => other.to_string(),
    }
}

/// Topics that are as if they were not there: a list of patterns.
const IGNORED_TOPICS: &str = "topic.blacklist";

/// Bytes of a message that the client lets pass.
const MESSAGE_LIMIT: &str = "message.max.bytes";

/// Other names of what the producer of dead letters sets itself.
const OTHER_NAMES: [&str; 4] = [
    "queue.buffering.max.ms",
    "delivery.timeout.ms",
    "topic.delivery.timeout.ms",
    "topic.message.timeout.ms",
];

/// Properties of the user's that a producer does not know.
const CONSUMER_ONLY: [&str; 27] = [
    "allow.auto.create.topics",
    "check.crcs",
    "coordinator.query.interval.ms",
    "fetch.error.backoff.ms",
    "fetch.max.bytes",
    "fetch.message.max.bytes",
    "fetch.min.bytes",
    "fetch.queue.backoff.ms",
    "fetch.wait.max.ms",
    "group.instance.id",
    "group.protocol",
    "group.protocol.type",
    "group.remote.assignor",
    "heartbeat.interval.ms",
    "isolation.level",
    "max.partition.fetch.bytes",
    "max.poll.interval.ms",
    "partition.assignment.strategy",
    "queued.max.messages.kbytes",
    "queued.min.messages",
    "session.timeout.ms",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "auto.offset.reset",
    "enable.partition.eof",
    "auto.commit.interval.ms",
    "group.id",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::settings::StartPosition;

    fn settings(properties: &[(&str, &str)]) -> KafkaSettings {
        let own = properties.iter().map(|(key, value)| ((*key).to_owned(), Secret::new(*value)));
        KafkaSettings {
            topics: TopicSelection::Names(vec!["t".to_owned()]),
            group: "g".to_owned(),
            start: StartPosition::Earliest,
            properties: own.collect(),
        }
    }

    fn config(properties: &[(&str, &str)], ahead_bytes: u64) -> ClientConfig {
        consumer_config(&settings(properties), ahead_bytes)
    }

    #[test]
    fn no_other_name_stands_against_what_dead_letters_need() {
        let names = OTHER_NAMES.iter().map(|name| (*name, "7"));
        let properties: Vec<_> = names.chain([("linger.ms", "7"), ("message.timeout.ms", "7")]).collect();
        let config = producer_config(&settings(&properties));
        for name in OTHER_NAMES {
            assert_eq!(config.get(name), None, "{name}");
        }
        let native = config.create_native_config().unwrap();
        assert_eq!(native.get("linger.ms").unwrap(), "5");
        assert_eq!(native.get("message.timeout.ms").unwrap(), "60000");
    }

    #[test]
    fn what_the_configuration_refuses_beside_dead_letters_is_what_their_producer_refuses() {
        use rdkafka::producer::BaseProducer;
        for (key, bad, good) in [
            ("acks", "0", "all"),
            ("acks", "1", "-1"),
            ("topic.acks", "0", "ALL"),
            ("request.required.acks", "1", "all"),
            ("retries", "0", "1"),
            ("message.send.max.retries", "0", "2147483647"),
            ("max.in.flight", "6", "5"),
            ("max.in.flight.requests.per.connection", "6", "1"),
            ("queuing.strategy", "lifo", "fifo"),
            ("queue.buffering.backpressure.threshold", "2", "1"),
        ] {
            for (value, taken) in [(bad, false), (good, true)] {
                let made: Result<BaseProducer, _> = producer_config(&settings(&[(key, value)])).create();
                assert_eq!(made.is_ok(), taken, "{key}: {value}");
                let fault = crate::config::dead_letter_fault(key, value);
                assert_eq!(fault.is_none(), taken, "{key}: {value}: {fault:?}");
            }
        }
    }

    #[test]
    fn fault_98_what_connectors_fetch_ahead_is_a_part_of_the_budget() {
        for (budget_mib, connectors, mib) in
            [(16_000, 1, 8), (256, 1, 8), (64, 1, 4), (256, 4, 4), (256, 100, 1), (1, 1, 1)]
        {
            let ahead = ahead_bytes(budget_mib << 20, connectors);
            assert_eq!(ahead >> 20, mib, "{budget_mib} MiB, {connectors} connectors");
        }
    }

    #[test]
    fn a_pattern_leaves_the_topics_of_the_broker_out() {
        let settings = |topics, properties: &[(&str, &str)]| KafkaSettings {
            topics,
            group: "g".to_owned(),
            start: StartPosition::Earliest,
            properties: properties
                .iter()
                .map(|(key, value)| ((*key).to_owned(), Secret::new(*value)))
                .collect(),
        };
        let pattern = || TopicSelection::Regex("^.*".to_owned());
        let ignored = |settings| client_config(&settings).get(IGNORED_TOPICS).map(str::to_owned);
        assert!(ignored(settings(pattern(), &[])).unwrap().contains("__consumer_offsets"));
        assert_eq!(ignored(settings(pattern(), &[(IGNORED_TOPICS, "^x")])).as_deref(), Some("^x"));
        assert_eq!(ignored(settings(TopicSelection::Names(vec!["__own".to_owned()]), &[])), None);
    }

    #[test]
    fn what_is_fetched_ahead_yields_to_the_properties_and_to_the_largest_message() {
        let get = |properties: &[(&str, &str)], key: &str| {
            let config = config(properties, 2 << 20);
            assert!(config.create_native_config().is_ok());
            config.get(key).map(str::to_owned)
        };
        assert_eq!(get(&[], "queued.max.messages.kbytes").as_deref(), Some("2048"));
        assert_eq!(get(&[], "fetch.max.bytes").as_deref(), Some("2097152"));
        assert_eq!(get(&[("message.max.bytes", "5000000")], "fetch.max.bytes").as_deref(), Some("5000000"));
        assert_eq!(get(&[("fetch.max.bytes", "3000000")], "fetch.max.bytes").as_deref(), Some("3000000"));
        let client: Result<rdkafka::consumer::BaseConsumer, _> =
            config(&[("message.max.bytes", "50000000"), ("bootstrap.servers", "localhost:9")], 1 << 20)
                .create();
        assert!(client.is_ok());
    }
}
