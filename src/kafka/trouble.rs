//! Owns the words for trouble with the brokers: what the client told, without what changes from one try to the next, and
//! what to do about it. Does not own what becomes of it.

use std::fmt;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::RDKafkaErrorCode;

use crate::config::settings::{KafkaSettings, TopicSelection};
use crate::kafka::context::Context;

/// Trouble that the client told of by callback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    said: String,
    advice: &'static str,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// The broker does not let us in, or we do not trust it.
    Refusal,
    /// A broker cannot be reached.
    Network,
    /// No broker at all: what comes before says why.
    Vague,
}

impl Trouble {
    pub(super) fn new(code: Option<RDKafkaErrorCode>, reason: &str) -> Self {
        let said = without_timing(reason).to_owned();
        let (kind, advice) = verdict(code, reason);
        Self { said, advice, kind }
    }

    /// Whether only an operator can end it.
    pub(super) fn is_refusal(&self) -> bool {
        self.kind == Kind::Refusal
    }

    /// Whether `later` tells more than this does.
    pub(super) fn yields_to(&self, later: &Self) -> bool {
        // A refusal is told in several wordings at every try; what to do about it is what counts.
        let same = self == later || self.is_refusal() && later.is_refusal() && self.advice == later.advice;
        !same && later.kind != Kind::Vague
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.said, self.advice)
    }
}

/// Why the brokers cannot be reached: the client's last trouble, or else `otherwise`.
pub(super) fn heard(consumer: &BaseConsumer<Context>, otherwise: &str) -> String {
    // Callbacks come with a poll, and behind other events.
    let _ = consumer.poll(Duration::from_millis(200));
    match consumer.context().last_trouble() {
        Some(trouble) => trouble.to_string(),
        None => format!("{}: {otherwise}; {NETWORK}", consumer.context().brokers()),
    }
}

/// What a broker's refusal means, and which rule is missing.
pub(super) fn denial(code: RDKafkaErrorCode, settings: &KafkaSettings) -> String {
    let topics = match &settings.topics {
        TopicSelection::Names(names) => names.join(", "),
        TopicSelection::Regex(pattern) => pattern.clone(),
    };
    let advice = match code {
        RDKafkaErrorCode::TopicAuthorizationFailed => format!("allow READ on the topic {topics}"),
        RDKafkaErrorCode::GroupAuthorizationFailed => format!("allow READ on the group {}", settings.group),
        _ => "check the credentials in kafka.properties".to_owned(),
    };
    format!("{code}; {advice}, then restart the connector")
}

const NETWORK: &str = "check kafka.properties.bootstrap.servers and the network";

fn verdict(code: Option<RDKafkaErrorCode>, reason: &str) -> (Kind, &'static str) {
    let says = |words: &str| reason.contains(words);
    let refused = |advice| (Kind::Refusal, advice);
    match code {
        _ if says("OAUTHBEARER token") => refused(
            "check sasl.oauthbearer.client.id, sasl.oauthbearer.client.secret and \
             sasl.oauthbearer.token.endpoint.url in kafka.properties, and https.ca.location for its certificate",
        ),
        _ if says("supported mechanisms") => {
            refused("set sasl.mechanism in kafka.properties to one that the broker has")
        }
        Some(RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SaslAuthenticationFailed) => {
            if says("OAUTHBEARER") || says("invalid_token") {
                refused("check that the broker accepts the issuer and audience of the token, and both clocks")
            } else {
                refused("check sasl.username, sasl.password and sasl.mechanism in kafka.properties")
            }
        }
        _ if says("certificate verify failed") || says("verify broker certificate") => refused(
            "check that the broker's certificate has not expired, that it names the host in \
             kafka.properties.bootstrap.servers, and that ssl.ca.location holds the authority that signed it",
        ),
        _ if says("certificate required") || (says("alert") && says("certificate")) => refused(
            "the broker refuses our certificate: check that ssl.certificate.location and ssl.key.location in \
             kafka.properties are set, that the certificate has not expired, and that the broker trusts who signed it",
        ),
        Some(RDKafkaErrorCode::SSL) | None if says("SSL") || says("ssl") => {
            refused("check security.protocol and the ssl.* settings in kafka.properties")
        }
        _ if says("SSL handshake") || says("PLAINTEXT broker") || says("APIVERSION_QUERY") => (
            Kind::Network,
            "check that the port in kafka.properties.bootstrap.servers and security.protocol belong together",
        ),
        _ if says("uthorization failed") => refused("allow READ on the topic and the group"),
        Some(RDKafkaErrorCode::AllBrokersDown) => (Kind::Vague, NETWORK),
        _ => (Kind::Network, NETWORK),
    }
}

/// The client adds how long it took and how often the same was not told; with them nothing is ever the same.
fn without_timing(reason: &str) -> &str {
    let end = reason.rfind(" (after ").filter(|at| reason[*at..].contains("ms in state "));
    reason[..end.unwrap_or(reason.len())].trim_end()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(code: RDKafkaErrorCode, reason: &str) -> Trouble {
        Trouble::new(Some(code), reason)
    }

    #[test]
    fn the_same_trouble_is_the_same_whenever_it_comes() {
        let words = "sasl_ssl://a:1/bootstrap: SASL authentication error: invalid credentials";
        let first = told(RDKafkaErrorCode::Authentication, &format!("{words} (after 5ms in state AUTH_REQ)"));
        let again = format!("{words} (after 314ms in state AUTH_REQ, 1 identical error(s) suppressed)");
        assert_eq!(first, told(RDKafkaErrorCode::Authentication, &again));
        assert!(!first.yields_to(&told(RDKafkaErrorCode::Authentication, &again)));
        assert!(first.to_string().starts_with(&format!("{words}; check sasl.username")), "{first}");
    }

    #[test]
    fn two_wordings_of_one_refusal_are_told_once() {
        let told = |reason| told(RDKafkaErrorCode::SSL, reason);
        let first = told(
            "SSL handshake failed: error:0A000086:SSL routines::certificate verify failed: broker certificate could not be verified",
        );
        let again = told("error:0A000086:SSL routines::certificate verify failed");
        assert!(!first.yields_to(&again) && !again.yields_to(&first));
        assert!(first.yields_to(&told("error:0A000412:SSL routines::ssl/tls alert bad certificate")));
    }

    #[test]
    fn that_all_brokers_are_down_does_not_hide_why() {
        let why = told(RDKafkaErrorCode::Resolve, "Failed to resolve 'a:1'");
        assert!(!why.yields_to(&told(RDKafkaErrorCode::AllBrokersDown, "1/1 brokers are down")));
        assert!(why.yields_to(&told(RDKafkaErrorCode::Resolve, "Failed to resolve 'b:1'")));
    }

    #[test]
    fn fault_15_each_refusal_names_the_setting_to_look_at() {
        let cases = [
            (
                RDKafkaErrorCode::Authentication,
                "Failed to acquire SASL OAUTHBEARER token: {}",
                "oauthbearer.client.secret",
            ),
            (
                RDKafkaErrorCode::Authentication,
                "SASL SCRAM-SHA-256 mechanism handshake failed: broker's supported mechanisms: PLAIN",
                "set sasl.mechanism",
            ),
            (
                RDKafkaErrorCode::Authentication,
                "SASL authentication error: invalid credentials",
                "sasl.password",
            ),
            (
                RDKafkaErrorCode::SSL,
                "error:0A000086:SSL routines::certificate verify failed",
                "ssl.ca.location",
            ),
            (
                RDKafkaErrorCode::BrokerTransportFailure,
                "Receive failed: error:0A000416:SSL routines::ssl/tls alert certificate unknown",
                "ssl.certificate.location",
            ),
        ];
        for (code, reason, setting) in cases {
            let trouble = told(code, reason);
            assert!(trouble.is_refusal() && trouble.to_string().contains(setting), "{trouble}");
        }
        let trouble = told(RDKafkaErrorCode::BrokerTransportFailure, "Connect failed: Connection refused");
        assert!(!trouble.is_refusal() && trouble.to_string().contains("bootstrap.servers"), "{trouble}");
    }
}
