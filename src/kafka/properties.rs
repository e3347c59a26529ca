//! Owns the librdkafka properties of a connector: the user's, and those that delivery stands on. Does not own which
//! of the user's are refused: the configuration did that.

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;

use crate::config::settings::KafkaSettings;

/// For the consumer of the group.
pub(super) fn consumer_config(settings: &KafkaSettings) -> ClientConfig {
    let mut config = client_config(settings);
    let defaults = [
        // Records wait in the client in memory that the budget does not see; this bounds it. Each takes about twice its
        // size there, and one answer of the broker comes on top.
        ("queued.max.messages.kbytes", "8192"),
        ("fetch.max.bytes", "8388608"),
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
    config.set("enable.idempotence", "true").set("linger.ms", "5").set("message.timeout.ms", "60000");
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
            let reason =
                if value.is_empty() { reason.clone() } else { reason.replace(value.as_str(), "***") };
            format!("property {key}: {reason}")
        }
        other => other.to_string(),
    }
}

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
