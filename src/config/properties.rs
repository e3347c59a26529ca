//! Owns which of librdkafka's properties a connector may set, and that numbers are numbers. Does not own what the others do:
//! they are passed through, and librdkafka judges each ([`crate::kafka::PropertyJudge`]).

use std::collections::BTreeMap;
use std::net::Ipv6Addr;

use super::nearest::nearest;
use super::quantity;
use super::secret::Secret;
use super::section::Section;
use super::tree::{Content, Scalar};
use crate::kafka::PropertyJudge;

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
    (
        "transactional.id",
        "sluice's own producer, that of dead letters, makes no transactions; remove the line",
    ),
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

/// Pairs of names for one property: of two values, chance would choose.
const SAME: &[(&str, &str)] = &[
    ("acks", "request.required.acks"),
    ("compression.codec", "compression.type"),
    ("delivery.timeout.ms", "message.timeout.ms"),
    ("fetch.message.max.bytes", "max.partition.fetch.bytes"),
    ("linger.ms", "queue.buffering.max.ms"),
    ("max.in.flight", "max.in.flight.requests.per.connection"),
    ("message.send.max.retries", "retries"),
    ("sasl.mechanism", "sasl.mechanisms"),
];

/// What the producer of dead letters takes, which makes no duplicates of its own and waits for all in-sync replicas: names,
/// the rest of a sentence, and which values these are.
type Needed = (&'static [&'static str], &'static str, fn(&str) -> bool);
const OF_DEAD_LETTERS: &[Needed] = &[
    (&["acks", "request.required.acks"], "may only be `all`", |value| {
        value == "-1" || value.eq_ignore_ascii_case("all")
    }),
    (&["message.send.max.retries", "retries"], "must be 1 or more", |value| value.parse() != Ok(0_i64)),
    (&["max.in.flight", "max.in.flight.requests.per.connection"], "may be 5 at the most", |value| {
        !value.parse::<u32>().is_ok_and(|most| most > 5)
    }),
    (&["queuing.strategy"], "may only be `fifo`", |value| value.eq_ignore_ascii_case("fifo")),
    (&["queue.buffering.backpressure.threshold"], "may only be 1", |value| value == "1"),
];

/// Reads `kafka.properties`. Messages name keys and never show values: any of them may be a secret.
pub(super) fn read(section: &Section<'_>) -> BTreeMap<String, Secret> {
    let judge = PropertyJudge::new();
    let protocol = section.entries().iter().find(|entry| entry.key == "security.protocol");
    let protocol = protocol.and_then(|entry| entry.value.scalar()).map(|scalar| scalar.text.as_str());
    let mut properties = BTreeMap::new();
    for entry in section.entries() {
        if matches!(entry.value.content, Content::Map(_)) {
            let reason = "must be one key with its points, and a value: `bootstrap.servers: kafka:9092`";
            section.report_key(&entry.key, reason);
            continue;
        }
        let text = section.read_raw(&entry.key);
        let scalar = entry.value.scalar().filter(|_| text.is_some());
        let fault = match scalar {
            Some(scalar) => fault(&judge, &entry.key, scalar, protocol),
            None => judge.name_fault(&entry.key),
        };
        if let Some(fault) = fault {
            if judge.name_fault(&entry.key).is_none() {
                // However long it is, a name of the client's is shown whole.
                let path = section.path_of(&entry.key);
                section.problems().report(entry.key_place, format!("`{path}` {fault}"));
            } else {
                section.report_key(&entry.key, &fault);
            }
        }
        properties.extend(text.map(|text| (entry.key.clone(), Secret::new(text))));
    }
    require_servers(section, &properties);
    refuse_classic_only(section, &properties);
    refuse_two_names(section);
    properties
}

/// Reports what the producer of dead letters does not take.
pub(super) fn refuse_before_dead_letters(section: &Section<'_>) {
    for entry in section.entries() {
        let Some(scalar) = entry.value.scalar().filter(|_| section.node(&entry.key).is_some()) else {
            continue;
        };
        if let Some(fault) = dead_letter_fault(&entry.key, &scalar.text) {
            section.report_key(&entry.key, &fault);
        }
    }
}

/// Why `key` may not be `text` beside a topic of dead letters.
pub(crate) fn dead_letter_fault(key: &str, text: &str) -> Option<String> {
    let name = key.strip_prefix("topic.").unwrap_or(key);
    let (_, form, takes) = OF_DEAD_LETTERS.iter().find(|(names, ..)| names.contains(&name))?;
    let reason = "the producer of dead letters is idempotent";
    (!takes(text.trim())).then(|| format!("{form} beside `errors.dead_letter_topic`: {reason}"))
}

/// Why `key` may not have this value: the rest of a sentence that begins with the key.
fn fault(judge: &PropertyJudge, key: &str, scalar: &Scalar, protocol: Option<&str>) -> Option<String> {
    let text = &scalar.text;
    let number_fault = || number_fault(judge, key, text, scalar.referenced);
    refusal(key, text).or_else(number_fault).or_else(|| judge.fault(key, text, protocol))
}

/// Why `key` may not be `text`. What begins with `topic.` is given to the topics by the client, under the name that
/// remains.
fn refusal(key: &str, text: &str) -> Option<String> {
    let name = key.strip_prefix("topic.").unwrap_or(key);
    if let Some((_, reason)) = RESERVED.iter().find(|(reserved, _)| *reserved == name) {
        return Some(format!("is refused: {reason}"));
    }
    let (_, values, reason) = LIMITED.iter().find(|(limited, ..)| *limited == name)?;
    if values.contains(&text) {
        return None;
    }
    let values: Vec<_> = values.iter().map(|value| format!("`{value}`")).collect();
    Some(format!("may only be {}: {reason}", values.join(" or ")))
}

/// What is no number although it begins like one. The client would take the digits at its beginning: `10MiB` as 10 bytes,
/// `1e5` as 1, `010` as 8. What a `hidden` text means is not shown.
pub(crate) fn number_fault(judge: &PropertyJudge, key: &str, text: &str, hidden: bool) -> Option<String> {
    let text = text.trim();
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if !unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.') || !judge.is_number(key) {
        return None;
    }
    if judge.is_fraction(key) && text.parse::<f64>().is_ok_and(f64::is_finite) {
        return None;
    }
    let number = quantity::whole(unsigned);
    if number.is_some_and(|number| i32::try_from(number).is_ok()) {
        return None;
    }
    let (unit, meant) = meant_number(key, text);
    if number.is_some() {
        return Some(format!("takes a plain number{unit}, at most {}", i32::MAX));
    }
    // What a reference gave is not shown, nor what follows from it.
    let advice = match meant.filter(|meant| !hidden && *meant > 0) {
        Some(meant) => format!("write {meant}"),
        None => "write it in plain digits, such as 1000".to_owned(),
    };
    Some(format!("is librdkafka's own and takes a plain number{unit}: {advice}"))
}

/// What the number of a property counts, and the number that `text` means with its unit; none of a text with a sign.
fn meant_number(key: &str, text: &str) -> (&'static str, Option<u64>) {
    let milliseconds = || quantity::duration(text).ok().and_then(|time| u64::try_from(time.as_millis()).ok());
    let bytes = || quantity::byte_size(text).ok().map(|size| size.0);
    match key.rsplit('.').next() {
        Some("ms") => (" of milliseconds", milliseconds()),
        Some("seconds") => (" of seconds", milliseconds().map(|milliseconds| milliseconds / 1000)),
        Some("bytes") => (" of bytes", bytes()),
        Some("kbytes") => (" of kibibytes", bytes().map(|bytes| bytes >> 10)),
        _ => ("", None),
    }
}

fn require_servers(section: &Section<'_>, properties: &BTreeMap<String, Secret>) {
    let Some(servers) = properties.get(SERVERS) else {
        // One that looks like it has a message of its own.
        let written = section.entries().iter().map(|entry| entry.key.as_str());
        if !written.clone().any(|key| key == "bootstrap" || nearest(key, [SERVERS]).is_some()) {
            let advice = ": the brokers to begin with, such as `kafka-1:9092,kafka-2:9092`";
            section.report_missing(SERVERS, advice);
        }
        return;
    };
    let servers = servers.expose();
    if servers.trim().is_empty() {
        return section.report(SERVERS, "must not be empty");
    }
    let mut each = servers.split(',').map(str::trim).enumerate();
    if let Some((at, _)) = each.find(|(_, server)| !server.is_empty() && !is_server(server)) {
        let form = "must be brokers such as `kafka-1:9092`, with commas between them";
        section.report(SERVERS, &format!("{form}; number {} is none", at + 1));
    }
}

/// `[PROTOCOL://]HOST[:PORT]`, as librdkafka has it. What else there is it leaves out with a line in its log.
fn is_server(text: &str) -> bool {
    const PROTOCOLS: [&str; 4] = ["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"];
    let address = match text.split_once("://") {
        Some((protocol, address)) if PROTOCOLS.contains(&protocol.to_ascii_lowercase().as_str()) => {
            // A path means nothing to the client.
            address.split_once('/').map_or(address, |(address, _)| address)
        }
        Some(_) => return false,
        None => text,
    };
    if is_ipv6(address) {
        return true;
    }
    let (host, port) = match address.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, port)) if is_ipv6(host) => (host, port.strip_prefix(':').or(Some(""))),
        Some(_) => return false,
        None => address.split_once(':').map_or((address, None), |(host, port)| (host, Some(port))),
    };
    let is_host =
        !host.is_empty() && !host.contains(|c: char| c.is_whitespace() || c.is_control() || c == '/');
    let is_port = |port: &str| port.is_empty() || port.parse::<u16>().is_ok_and(|port| port > 0);
    is_host && port.is_none_or(is_port)
}

/// With or without a zone: `fe80::1%eth0`.
fn is_ipv6(host: &str) -> bool {
    let (address, zone) = host.split_once('%').map_or((host, None), |(address, zone)| (address, Some(zone)));
    let is_zone = |zone: &str| {
        !zone.is_empty() && zone.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '@'))
    };
    address.parse::<Ipv6Addr>().is_ok() && zone.is_none_or(is_zone)
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

fn refuse_two_names(section: &Section<'_>) {
    let entry = |name: &str| section.entries().iter().find(|entry| entry.key == name && section.has(name));
    for (one, other) in SAME {
        let (Some(one), Some(other)) = (entry(one), entry(other)) else { continue };
        let (first, second) = if one.key_place < other.key_place { (one, other) } else { (other, one) };
        let path = section.path_of(&second.key);
        let at = section.problems().refer_to(first.key_place, second.key_place);
        let message = format!("`{path}` is another name of `{}`, on {at}; keep one of them", first.key);
        section.problems().report(second.key_place, message);
    }
}
