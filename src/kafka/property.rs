//! Owns what librdkafka says of one property by itself: its name, its type, its range. Does not own which of them break
//! delivery (the configuration knows), nor how they go together (the client says so when it is made).

use rdkafka::ClientConfig;
use rdkafka::config::NativeClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaConfRes;

use crate::config::settings::Secret;
use crate::config::suggestion;

/// Judges properties without connecting to anybody.
pub struct PropertyJudge {
    /// With what the client takes where nothing is said.
    defaults: NativeClientConfig,
}

impl PropertyJudge {
    /// Asks the client for its defaults.
    ///
    /// # Panics
    /// When the client refuses a property of its own.
    #[must_use]
    pub fn new() -> Self {
        let mut config = ClientConfig::new();
        // One property of topics makes the client tell the defaults of all of them.
        config.set("auto.offset.reset", "error");
        let defaults = config.create_native_config();
        Self { defaults: defaults.expect("the client takes a property of its own") }
    }

    /// Why the client does not take `value` for `key`, where `security.protocol` is `protocol`: the rest of a sentence that
    /// begins with the key. The value is not shown.
    #[must_use]
    pub fn fault(&self, key: &str, value: &str, protocol: Option<&str>) -> Option<String> {
        if let Some(fault) = self.name_fault(key) {
            return Some(fault);
        }
        if value.contains('\0') {
            return Some("must not hold a NUL character".to_owned());
        }
        if matches!(key, "sasl.mechanism" | "sasl.mechanisms") {
            // Nobody reads it beside another protocol.
            let is_read =
                protocol.is_some_and(|protocol| protocol.trim().to_ascii_lowercase().starts_with("sasl_"));
            return if is_read { self.mechanism_fault(value) } else { None };
        }
        match ClientConfig::new().set(key, value).create_native_config().err()? {
            KafkaError::ClientConfig(_, reason, ..) => Some(self.refusal(key, value, &reason)),
            other => Some(format!("is refused by librdkafka: {other}")),
        }
    }

    /// As [`Self::fault`], whatever the value is.
    #[must_use]
    pub fn name_fault(&self, key: &str) -> Option<String> {
        if let Some((_, advice)) = OF_JAVA.iter().find(|(name, _)| *name == key) {
            return Some(format!("is a property of Java clients: {advice}"));
        }
        let unknown = match ClientConfig::new().set(key, "").create_native_config().err()? {
            KafkaError::ClientConfig(result, ..) => result == RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN,
            // A NUL in the name.
            _ => true,
        };
        unknown.then(|| format!("is no property of librdkafka{}", suggestion(key, NAMES.iter().copied())))
    }

    /// Whether the client reads the value as a number: a whole one of 32 bits unless [`Self::is_fraction`]. It takes the
    /// digits that a text begins with, and leaves the rest out without a word.
    #[must_use]
    pub fn is_number(&self, key: &str) -> bool {
        self.default_number(key).is_some()
    }

    /// Whether the client reads the value as a number that may have a fraction.
    #[must_use]
    pub fn is_fraction(&self, key: &str) -> bool {
        let Some(default) = self.default_number(key) else { return false };
        // Of a whole number the client leaves the fraction out.
        let config = ClientConfig::new().set(key, format!("{default}.5")).create_native_config();
        config.and_then(|config| config.get(key)).is_ok_and(|value| value.contains('.'))
    }

    fn default_number(&self, key: &str) -> Option<i64> {
        let default = self.defaults.get(key).or_else(|error| match key.strip_prefix("topic.") {
            // The client takes it away from properties of topics, and from no others.
            Some(name) if self.name_fault(key).is_none() => self.defaults.get(name),
            _ => Err(error),
        });
        default.ok()?.parse().ok()
    }

    /// The client takes any text here, and refuses it when it is made.
    fn mechanism_fault(&self, value: &str) -> Option<String> {
        let features = self.defaults.get("builtin.features").unwrap_or_default();
        let known =
            MECHANISMS.iter().filter(|(_, feature)| features.split(',').any(|has| has.trim() == *feature));
        let known: Vec<_> = known.map(|(mechanism, _)| *mechanism).collect();
        if known.contains(&value.trim_start()) {
            return None;
        }
        let listed: Vec<_> = known.iter().map(|mechanism| format!("`{mechanism}`")).collect();
        Some(format!("must be one of {}", listed.join(", ")))
    }

    /// In our words where the client's are known.
    fn refusal(&self, key: &str, value: &str, reason: &str) -> String {
        let reason = reason.trim_end_matches(['\n', '\0', ' ']);
        if let Some((_, words)) = WORDS.iter().find(|(name, _)| *name == key) {
            let listed: Vec<_> = words.iter().map(|word| format!("`{word}`")).collect();
            return format!("must be one of {}", listed.join(", "));
        }
        if let Some((least, most)) = range(reason) {
            let whole = if self.is_fraction(key) { "" } else { "whole " };
            return format!("must be a {whole}number from {least} to {most}");
        }
        if reason.contains("Expected bool value") {
            return "must be `true` or `false`".to_owned();
        }
        if reason.contains("dedicated") {
            return "is for programs: no file can set it; remove the line".to_owned();
        }
        if self.is_number(key) {
            return format!("must be a {}number", if self.is_fraction(key) { "" } else { "whole " });
        }
        if reason.starts_with("Invalid value") {
            // The client would show the one of several that it does not know.
            return "has a value that librdkafka does not know".to_owned();
        }
        format!("is refused by librdkafka: {}", Secret::new(value).masked_with_parts_in(reason))
    }
}

impl Default for PropertyJudge {
    fn default() -> Self {
        Self::new()
    }
}

/// The limits in `… is outside allowed range 1..100`.
fn range(reason: &str) -> Option<(&str, &str)> {
    reason.split_once("outside allowed range ")?.1.split_once("..")
}

/// What properties that take one of a few words take; the client does not tell.
const WORDS: &[(&str, &[&str])] = &[
    ("broker.address.family", &["any", "v4", "v6"]),
    ("client.dns.lookup", &["use_all_dns_ips", "resolve_canonical_bootstrap_servers_only"]),
    ("metadata.recovery.strategy", &["none", "rebootstrap"]),
    ("sasl.oauthbearer.grant.type", &["client_credentials", "urn:ietf:params:oauth:grant-type:jwt-bearer"]),
    ("sasl.oauthbearer.method", &["default", "oidc"]),
    ("security.protocol", &["plaintext", "ssl", "sasl_plaintext", "sasl_ssl"]),
    ("ssl.endpoint.identification.algorithm", &["none", "https"]),
];

/// SASL mechanisms, each with the feature of a build that has it.
const MECHANISMS: &[(&str, &str)] = &[
    ("GSSAPI", "sasl_gssapi"),
    ("PLAIN", "sasl_plain"),
    ("SCRAM-SHA-256", "sasl_scram"),
    ("SCRAM-SHA-512", "sasl_scram"),
    ("OAUTHBEARER", "sasl_oauthbearer"),
];

/// Names that people bring along from Java clients, whose counterpart is not of a similar name.
const OF_JAVA: &[(&str, &str)] = &[
    ("exclude.internal.topics", "use `topic.blacklist`, or a narrower `kafka.topics_regex`"),
    ("fetch.max.wait.ms", "here it is `fetch.wait.max.ms`"),
    ("key.deserializer", "say what keys are with `key.format`"),
    ("max.poll.records", "sluice takes as many as there is memory for; remove the line"),
    ("sasl.client.callback.handler.class", "use `sasl.mechanism` and `sasl.oauthbearer.…`"),
    ("sasl.login.callback.handler.class", "use `sasl.mechanism` and `sasl.oauthbearer.…`"),
    ("schema.registry.url", "the registry is a section of its own; use `registry.url`"),
    ("ssl.keystore.type", "a keystore here is PKCS#12; remove the line"),
    ("ssl.truststore.certificates", "use `ssl.ca.pem`"),
    ("ssl.truststore.password", "use `ssl.ca.location` with a PEM file, which needs no password"),
    ("ssl.truststore.type", "use `ssl.ca.location` with a PEM file"),
    ("value.deserializer", "say what values are with `value.format`"),
];

/// Names worth suggesting: those of a consumer and of a producer that may be set.
const NAMES: &[&str] = &[
    "allow.auto.create.topics",
    "api.version.fallback.ms",
    "api.version.request",
    "api.version.request.timeout.ms",
    "batch.num.messages",
    "batch.size",
    "bootstrap.servers",
    "broker.address.family",
    "broker.address.ttl",
    "broker.version.fallback",
    "check.crcs",
    "client.dns.lookup",
    "client.id",
    "client.rack",
    "compression.codec",
    "compression.level",
    "compression.type",
    "connections.max.idle.ms",
    "coordinator.query.interval.ms",
    "debug",
    "delivery.timeout.ms",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.metrics.push",
    "enable.partition.eof",
    "enable.random.seed",
    "enable.sasl.oauthbearer.unsecure.jwt",
    "enable.ssl.certificate.verification",
    "fetch.error.backoff.ms",
    "fetch.max.bytes",
    "fetch.message.max.bytes",
    "fetch.min.bytes",
    "fetch.queue.backoff.ms",
    "fetch.wait.max.ms",
    "group.instance.id",
    "group.protocol",
    "group.remote.assignor",
    "heartbeat.interval.ms",
    "https.ca.location",
    "https.ca.pem",
    "isolation.level",
    "linger.ms",
    "log_level",
    "max.in.flight.requests.per.connection",
    "max.partition.fetch.bytes",
    "max.poll.interval.ms",
    "message.copy.max.bytes",
    "message.max.bytes",
    "message.send.max.retries",
    "message.timeout.ms",
    "metadata.max.age.ms",
    "metadata.recovery.rebootstrap.trigger.ms",
    "metadata.recovery.strategy",
    "partition.assignment.strategy",
    "partitioner",
    "queued.max.messages.kbytes",
    "queued.min.messages",
    "receive.message.max.bytes",
    "reconnect.backoff.max.ms",
    "reconnect.backoff.ms",
    "request.timeout.ms",
    "retries",
    "retry.backoff.max.ms",
    "retry.backoff.ms",
    "sasl.kerberos.keytab",
    "sasl.kerberos.kinit.cmd",
    "sasl.kerberos.min.time.before.relogin",
    "sasl.kerberos.principal",
    "sasl.kerberos.service.name",
    "sasl.mechanism",
    "sasl.mechanisms",
    "sasl.oauthbearer.assertion.algorithm",
    "sasl.oauthbearer.assertion.claim.aud",
    "sasl.oauthbearer.assertion.claim.exp.seconds",
    "sasl.oauthbearer.assertion.claim.iss",
    "sasl.oauthbearer.assertion.claim.sub",
    "sasl.oauthbearer.assertion.file",
    "sasl.oauthbearer.assertion.private.key.file",
    "sasl.oauthbearer.assertion.private.key.passphrase",
    "sasl.oauthbearer.assertion.private.key.pem",
    "sasl.oauthbearer.client.id",
    "sasl.oauthbearer.client.secret",
    "sasl.oauthbearer.config",
    "sasl.oauthbearer.extensions",
    "sasl.oauthbearer.grant.type",
    "sasl.oauthbearer.method",
    "sasl.oauthbearer.scope",
    "sasl.oauthbearer.token.endpoint.url",
    "sasl.password",
    "sasl.username",
    "security.protocol",
    "session.timeout.ms",
    "socket.connection.setup.timeout.ms",
    "socket.keepalive.enable",
    "socket.max.fails",
    "socket.nagle.disable",
    "socket.receive.buffer.bytes",
    "socket.send.buffer.bytes",
    "socket.timeout.ms",
    "ssl.ca.location",
    "ssl.ca.pem",
    "ssl.certificate.location",
    "ssl.certificate.pem",
    "ssl.cipher.suites",
    "ssl.crl.location",
    "ssl.curves.list",
    "ssl.endpoint.identification.algorithm",
    "ssl.engine.id",
    "ssl.engine.location",
    "ssl.key.location",
    "ssl.key.password",
    "ssl.key.pem",
    "ssl.keystore.location",
    "ssl.keystore.password",
    "ssl.providers",
    "ssl.sigalgs.list",
    "statistics.interval.ms",
    "topic.blacklist",
    "topic.metadata.propagation.max.ms",
    "topic.metadata.refresh.fast.interval.ms",
    "topic.metadata.refresh.interval.ms",
    "topic.metadata.refresh.sparse",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(key: &str, value: &str) -> String {
        PropertyJudge::new().fault(key, value, Some("SASL_SSL")).unwrap_or_default()
    }

    #[test]
    fn every_name_that_is_suggested_is_one_of_the_clients() {
        let judge = PropertyJudge::new();
        let known = |key: &str| {
            let result = ClientConfig::new().set(key, "").create_native_config();
            !matches!(result, Err(KafkaError::ClientConfig(RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN, ..)))
        };
        assert!(!known("fetch.max.byte") && judge.name_fault("fetch.max.byte").is_some());
        let unknown: Vec<_> = NAMES.iter().filter(|name| !known(name)).collect();
        assert!(unknown.is_empty(), "{unknown:?}");
        let of_java: Vec<_> = OF_JAVA.iter().filter(|(name, _)| known(name)).collect();
        assert!(of_java.is_empty(), "{of_java:?}");
    }

    #[test]
    fn every_word_that_is_listed_is_taken_and_no_other() {
        for (key, words) in WORDS {
            for word in *words {
                assert_eq!(fault(key, word), "", "{key}: {word}");
            }
            assert!(fault(key, "hunter2").starts_with("must be one of `"), "{key}");
        }
    }

    #[test]
    fn fault_108_an_unknown_property_names_the_nearest() {
        for (wrong, right) in [
            ("fetch.max.byte", "fetch.max.bytes"),
            ("sasl.pasword", "sasl.password"),
            ("security_protocol", "security.protocol"),
            ("Bootstrap.Servers", "bootstrap.servers"),
            ("session.timeout", "session.timeout.ms"),
        ] {
            let expected = format!("is no property of librdkafka; did you mean `{right}`?");
            assert_eq!(fault(wrong, "1"), expected);
        }
        assert_eq!(fault("blah.blub.blubber", "1"), "is no property of librdkafka");
    }

    #[test]
    fn what_the_client_refuses_is_said_in_words_without_the_value() {
        assert_eq!(fault("fetch.min.bytes", "0"), "must be a whole number from 1 to 100000000");
        assert_eq!(fault("fetch.min.bytes", "some"), "must be a whole number");
        assert_eq!(fault("enable.ssl.certificate.verification", "no"), "must be `true` or `false`");
        assert!(fault("security.protocol", "sasl_tls").ends_with("`sasl_plaintext`, `sasl_ssl`"));
        assert!(fault("opaque", "x").starts_with("is for programs"));
        assert!(fault("sasl.jaas.config", "x").contains("JAAS"), "the client's own advice");
        assert!(fault("max.poll.records", "5").contains("remove the line"));
        assert!(fault("client.id", "a\0b").contains("NUL"));
        assert_eq!(fault("debug", "broker,hunter2"), "has a value that librdkafka does not know");
        let pattern = fault("topic.blacklist", "^hunter2(");
        assert!(pattern.contains("***") && !pattern.contains("hunter2"), "{pattern}");
        for value in ["^a,^hunter2(", "^a,^hunter2(,^hunter2", "^a,,hunter2("] {
            let pattern = fault("topic.blacklist", value);
            assert!(pattern.contains("***") && !pattern.contains("hunter2"), "{pattern}");
        }
        assert_eq!(fault("security.protocol", "SASL_SSL"), "");
        assert_eq!(fault("sasl.mechanism", "SCRAM-SHA-512"), "");
        assert!(
            fault("sasl.mechanisms", "SCRAM-SHA-265").contains("`PLAIN`, `SCRAM-SHA-256`, `SCRAM-SHA-512`")
        );
    }

    #[test]
    fn a_mechanism_counts_beside_sasl_alone() {
        let judge = PropertyJudge::new();
        for value in ["", "none"] {
            for protocol in [None, Some("plaintext"), Some("SSL"), Some("")] {
                assert_eq!(judge.fault("sasl.mechanism", value, protocol), None, "{value} {protocol:?}");
            }
            assert!(judge.fault("sasl.mechanism", value, Some("sasl_plaintext")).is_some(), "{value}");
        }
    }

    #[test]
    fn fractions_are_told_from_whole_numbers() {
        let judge = PropertyJudge::new();
        let names = NAMES.iter().chain([&"queue.buffering.max.ms"]);
        let fractions: Vec<_> = names.filter(|key| judge.is_fraction(key)).collect();
        assert_eq!(fractions, [&"linger.ms", &"queue.buffering.max.ms"]);
        for key in ["acks", "topic.acks", "client.id", "no.such"] {
            assert!(!judge.is_fraction(key), "{key}");
        }
        assert_eq!(fault("linger.ms", "0.5"), "");
        assert_eq!(fault("linger.ms", "-1"), "must be a number from 0 to 900000");
    }

    #[test]
    fn numbers_are_told_from_words() {
        let judge = PropertyJudge::new();
        for key in ["fetch.max.bytes", "session.timeout.ms", "queued.max.messages.kbytes", "retries", "acks"]
        {
            assert!(judge.is_number(key), "{key}");
        }
        for key in ["topic.request.timeout.ms", "topic.acks", "topic.metadata.refresh.interval.ms"] {
            assert!(judge.is_number(key), "{key}");
        }
        // The last is one of the client's without `topic.` alone.
        for key in [
            "client.id",
            "sasl.password",
            "security.protocol",
            "check.crcs",
            "no.such",
            "debug",
            "topic.retries",
        ] {
            assert!(!judge.is_number(key), "{key}");
        }
    }
}
