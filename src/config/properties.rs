//! Owns which of librdkafka's properties a connector may set. Does not own what the others do: they are passed
//! through, and librdkafka judges them.

use std::collections::BTreeMap;

use super::nearest::nearest;
use super::secret::Secret;
use super::section::Section;

const SERVERS: &str = "bootstrap.servers";

/// Properties that sluice sets itself, each with the reason and what to use instead.
const RESERVED: &[(&str, &str)] = &[
    ("enable.auto.commit", COMMITS),
    ("auto.commit.enable", COMMITS),
    ("enable.auto.offset.store", COMMITS),
    ("auto.commit.interval.ms", COMMITS),
    ("offset.store.method", COMMITS),
    ("offset.store.path", COMMITS),
    ("offset.store.sync.interval.ms", COMMITS),
    ("auto.offset.reset", "an offset that is gone must be noticed and not jumped over; use `kafka.start`"),
    ("group.id", "the group is a setting of its own; use `kafka.group`"),
    ("enable.partition.eof", "sluice decides it by itself; remove the line"),
    ("metadata.broker.list", "it is another name of `bootstrap.servers`; use that one"),
];

const COMMITS: &str = "an offset is committed only when its records are in the lake, which sluice does by itself; remove the line";

/// Properties of which only some values keep delivery right: key, the values, the reason.
const LIMITED: &[(&str, &[&str], &str)] = &[
    ("isolation.level", &["read_committed"], "records of aborted transactions must not reach the lake"),
    ("check.crcs", &["true"], "a damaged batch must be noticed"),
    (
        "partition.assignment.strategy",
        &["cooperative-sticky"],
        "sluice keeps the partitions that stay with it through a rebalance",
    ),
    ("group.protocol", &["classic", "consumer"], "these are the protocols that librdkafka has"),
];

/// Refused by librdkafka beside `group.protocol: consumer`, where the broker decides.
const CLASSIC_ONLY: &[(&str, &str)] = &[
    ("session.timeout.ms", "set `group.consumer.session.timeout.ms` on the broker"),
    ("heartbeat.interval.ms", "set `group.consumer.heartbeat.interval.ms` on the broker"),
    ("partition.assignment.strategy", "use `group.remote.assignor`"),
    ("group.protocol.type", "remove it"),
];

/// Reads `kafka.properties`. Messages name keys and never show values: any of them may be a secret.
pub(super) fn read(section: &Section<'_>) -> BTreeMap<String, Secret> {
    let mut properties = BTreeMap::new();
    for entry in section.entries() {
        if let Some(text) = section.read_raw(&entry.key) {
            if let Some(reason) = refusal(&entry.key, &text) {
                let path = section.path_of(&entry.key);
                section.problems().report(entry.key_place, format!("`{path}` {reason}"));
            }
            properties.insert(entry.key.clone(), Secret::new(text));
        }
    }
    require_servers(section, &properties);
    refuse_classic_only(section, &properties);
    properties
}

/// Why `key` may not be `text`.
fn refusal(key: &str, text: &str) -> Option<String> {
    if let Some((_, reason)) = RESERVED.iter().find(|(reserved, _)| *reserved == key) {
        return Some(format!("is refused: {reason}"));
    }
    let (_, values, reason) = LIMITED.iter().find(|(limited, ..)| *limited == key)?;
    if values.contains(&text) {
        return None;
    }
    let values: Vec<_> = values.iter().map(|value| format!("`{value}`")).collect();
    Some(format!("may only be {}: {reason}", values.join(" or ")))
}

fn require_servers(section: &Section<'_>, properties: &BTreeMap<String, Secret>) {
    match properties.get(SERVERS) {
        Some(servers) if servers.expose().trim().is_empty() => section.report(SERVERS, "must not be empty"),
        Some(_) => {}
        None => {
            let like = properties.keys().find(|key| nearest(key, [SERVERS]).is_some());
            let advice = like.map_or_else(
                || ": the brokers to begin with, such as `kafka-1:9092,kafka-2:9092`".to_owned(),
                |key| format!("; is `{key}` meant to be it?"),
            );
            section.report_missing(SERVERS, &advice);
        }
    }
}

fn refuse_classic_only(section: &Section<'_>, properties: &BTreeMap<String, Secret>) {
    if properties.get("group.protocol").is_none_or(|protocol| protocol.expose() != "consumer") {
        return;
    }
    for (key, advice) in CLASSIC_ONLY {
        if let Some(entry) = section.entries().iter().find(|entry| entry.key == *key && section.has(key)) {
            let path = section.path_of(key);
            let message = format!("`{path}` cannot stand beside `group.protocol: consumer`: {advice}");
            section.problems().report(entry.key_place, message);
        }
    }
}
