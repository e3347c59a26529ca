//! Owns what a connector reads: topics, group, properties of the client.

use std::collections::BTreeMap;

use super::Secret;

/// `kafka`: what a connector reads and as whom.
///
/// ```yaml
/// kafka:
///   topics: [orders, returns]
///   group: lake
///   start: latest
///   properties:
///     bootstrap.servers: kafka-1:9092,kafka-2:9092
///     security.protocol: SASL_SSL
///     sasl.password: ${file:/run/secrets/kafka-password}
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct KafkaSettings {
    /// `topics` or `topics_regex`, one of them required.
    pub topics: TopicSelection,
    /// `group`: the consumer group that keeps the offsets. Another name begins anew. Default `sluice-<name>`.
    pub group: String,
    /// `start`: where a group begins that has never committed: `earliest`, `latest` or `error`. Default `earliest`.
    pub start: StartPosition,
    /// `properties`: librdkafka's own, by name, passed through as written. `bootstrap.servers` is required and so
    /// always here. Values may be secrets. Numbers are plain, in the unit that the name says: `fetch.max.bytes: 10485760`
    /// and not `10MiB`, of which librdkafka would take the 10. What librdkafka does not know or take is refused at its line.
    ///
    /// Refused, because delivery depends on them: `enable.auto.commit`, `enable.auto.offset.store`,
    /// `auto.commit.interval.ms`, `offset.store.*`, `auto.offset.reset` (use `start`), `group.id` (use `group`),
    /// `enable.partition.eof`, `transactional.id`, `isolation.level` other than `read_committed`, `check.crcs` other than `true`,
    /// `partition.assignment.strategy` other than `cooperative-sticky`. With `group.protocol: consumer` librdkafka
    /// itself refuses `session.timeout.ms`, `heartbeat.interval.ms`, `partition.assignment.strategy` and
    /// `group.protocol.type`.
    pub properties: BTreeMap<String, Secret>,
}

/// Which topics a connector reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TopicSelection {
    /// `topics`: at least one name, each once.
    Names(Vec<String>),
    /// `topics_regex`: a pattern that starts with `^`, as librdkafka asks: `'^shop\..*'`. Topics made later join by
    /// themselves.
    Regex(String),
}

/// `kafka.start`: where a group begins that has never committed. It counts once: where a partition began is noted under the
/// output's `.sluice/claims`, and a group that lost its offsets goes on after its files, or begins there again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartPosition {
    /// `earliest`: the first offset the broker still has.
    Earliest,
    /// `latest`: only records produced from now on: the end is noted and committed before anything is read. Partitions that
    /// the topic gets later are read from their beginning. Not so a topic that is new to the group: it begins at the end that
    /// it has when it is seen first, also where it was made a moment ago and `topics_regex` matches it. What was written to it
    /// until then is left out; where that matters, use `earliest` with `topics_regex`.
    Latest,
    /// `error`: refuse to start without a committed offset.
    Error,
}
