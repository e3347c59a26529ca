//! Owns the rules between connectors: names, groups and places in the lake. Does not own any connector's own rules.

use std::collections::HashMap;

use super::problem::{Place, Problems};
use super::settings::{ConnectorSettings, StorageSettings, TopicSelection, WrittenAt};
use super::tree::Scalar;

/// A connector with what messages about it need.
pub(super) struct Labelled {
    pub(super) settings: ConnectorSettings,
    /// The name for a message, which hides it if a reference gave it.
    pub(super) shown_name: String,
    /// Where its name stands.
    pub(super) place: Place,
    pub(super) kafka_place: Place,
    pub(super) storage_place: Place,
    /// Of `registry`, or of the connector where there is none.
    pub(super) registry_place: Place,
    /// Of the keys whose values a service judges, by their whole path.
    pub(super) key_places: Vec<(String, Place)>,
}

impl Labelled {
    /// The settings, with the places that messages about running services name.
    pub(super) fn located(mut self, problems: &Problems) -> ConnectorSettings {
        self.settings.written_at = WrittenAt {
            connector: problems.spelled(self.place),
            kafka: problems.spelled(self.kafka_place),
            registry: problems.spelled(self.registry_place),
            storage: problems.spelled(self.storage_place),
            keys: self.key_places.drain(..).map(|(key, place)| (key, problems.spelled(place))).collect(),
        };
        self.settings
    }
}

/// A connector's name as written.
pub(super) struct Name<'t> {
    pub(super) scalar: &'t Scalar,
    pub(super) place: Place,
}

/// Reports names that are there already.
pub(super) fn report_duplicate_names(names: &[Name<'_>], problems: &Problems) {
    let mut firsts: HashMap<&str, &Name<'_>> = HashMap::new();
    for second in names {
        let first = *firsts.entry(&second.scalar.text).or_insert(second);
        if !std::ptr::eq(first, second) {
            let at = problems.refer_to(first.place, second.place);
            let name = second.scalar.shown();
            problems.report(second.place, format!("duplicate connector name {name}; first on {at}"));
        }
    }
}

/// Reports what two connectors cannot share, at the later one.
pub(super) fn report(connectors: &[Labelled], problems: &Problems) {
    // Of thousands only a few can have a topic in common: those that name it, and patterns.
    let mut by_topic: HashMap<&str, Vec<usize>> = HashMap::new();
    let mut patterns = Vec::new();
    for (index, second) in connectors.iter().enumerate() {
        let mut earlier: Vec<usize> = match &second.settings.kafka.topics {
            TopicSelection::Names(names) => {
                let named = names.iter().filter_map(|name| by_topic.get(name.as_str())).flatten().copied();
                named.chain(patterns.iter().copied()).collect()
            }
            TopicSelection::Regex(_) => (0..index).collect(),
        };
        earlier.sort_unstable();
        earlier.dedup();
        for first in earlier {
            if let Some((place, message)) = conflict(&connectors[first], second, problems) {
                problems.report(place, message);
            }
        }
        match &second.settings.kafka.topics {
            TopicSelection::Names(names) => {
                for name in names {
                    by_topic.entry(name).or_default().push(index);
                }
            }
            TopicSelection::Regex(_) => patterns.push(index),
        }
    }
}

/// Whether a topic may be in both selections. Of a pattern only the literal beginning is understood, so the answer
/// errs on the side of yes.
pub(super) fn may_share_a_topic(a: &TopicSelection, b: &TopicSelection) -> bool {
    use TopicSelection::{Names, Regex};
    match (a, b) {
        (Names(a), Names(b)) => a.iter().any(|name| b.contains(name)),
        (Names(names), Regex(regex)) | (Regex(regex), Names(names)) => {
            let prefix = literal_prefix(regex);
            names.iter().any(|name| name.starts_with(&prefix))
        }
        (Regex(a), Regex(b)) => {
            let (a, b) = (literal_prefix(a), literal_prefix(b));
            a.starts_with(&b) || b.starts_with(&a)
        }
    }
}

fn conflict(first: &Labelled, second: &Labelled, problems: &Problems) -> Option<(Place, String)> {
    let (a, b) = (&first.settings, &second.settings);
    let names = (&second.shown_name, &first.shown_name);
    // Of two with one name, one is to go: that has been said.
    if a.name == b.name || !may_share_a_topic(&a.kafka.topics, &b.kafka.topics) {
        return None;
    }
    let at = problems.refer_to(first.place, second.place);
    if a.kafka.group == b.kafka.group && share_a_broker(a, b) {
        let message = format!(
            "the connectors {} and {} ({at}) have the same group and may read the same topic, of which each would \
             get a part; give each a `group` of its own",
            names.0, names.1
        );
        return Some((second.kafka_place, message));
    }
    if is_same_place(&a.storage, &b.storage) {
        let message = format!(
            "the connectors {} and {} ({at}) may write the same topic under the same `storage.url`, where their \
             files would collide; give each a URL of its own",
            names.0, names.1
        );
        return Some((second.storage_place, message));
    }
    None
}

fn share_a_broker(a: &ConnectorSettings, b: &ConnectorSettings) -> bool {
    let servers = |connector: &ConnectorSettings| -> Vec<String> {
        let text =
            connector.kafka.properties.get("bootstrap.servers").map(|servers| servers.expose().to_owned());
        text.unwrap_or_default().split(',').map(|server| server.trim().to_ascii_lowercase()).collect()
    };
    let others = servers(b);
    servers(a).iter().any(|server| others.contains(server))
}

fn is_same_place(a: &StorageSettings, b: &StorageSettings) -> bool {
    let url = |storage: &StorageSettings| storage.url.as_str().trim_end_matches('/').to_owned();
    let endpoints = |storage: &StorageSettings| -> Vec<String> {
        let is_endpoint = |key: &str| key.ends_with("endpoint") || key.ends_with("endpoint_url");
        let options = storage.options.iter().filter(|(key, _)| is_endpoint(&key.to_ascii_lowercase()));
        options.map(|(_, value)| value.expose().trim_end_matches('/').to_owned()).collect()
    };
    url(a) == url(b) && endpoints(a) == endpoints(b)
}

/// What every topic that matches begins with.
fn literal_prefix(regex: &str) -> String {
    let mut prefix = String::new();
    if regex.contains('|') {
        return prefix;
    }
    let mut chars = regex.trim_start_matches('^').chars();
    while let Some(c) = chars.next() {
        match c {
            // Makes the character before it optional.
            '*' | '?' | '{' => {
                prefix.pop();
                return prefix;
            }
            '\\' => match chars.next() {
                Some(escaped) if !escaped.is_ascii_alphanumeric() => prefix.push(escaped),
                _ => return prefix,
            },
            c if c.is_ascii_alphanumeric() || matches!(c, '-' | '_') => prefix.push(c),
            _ => return prefix,
        }
    }
    prefix
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_literal_beginning_of_a_pattern() {
        for (regex, prefix) in [
            (r"^shop\..*", "shop."),
            (r"^shop.*", "shop"),
            (r"^shops?", "shop"),
            (r"^shop*", "sho"),
            (r"^a{0,1}b", ""),
            (r"^a|^b", ""),
            (r"^\d+", ""),
            (r"^orders$", "orders"),
            (r"^(a)", ""),
            (r"^a+b", "a"),
        ] {
            assert_eq!(literal_prefix(regex), prefix, "{regex}");
        }
    }

    #[test]
    fn selections_with_different_beginnings_are_apart() {
        let regex = |text: &str| TopicSelection::Regex(text.to_owned());
        let names = |name: &str| TopicSelection::Names(vec![name.to_owned()]);
        assert!(!may_share_a_topic(&regex(r"^a\..*"), &regex(r"^b\..*")));
        assert!(may_share_a_topic(&regex(r"^a\..*"), &regex(r"^a\.b\..*")));
        assert!(may_share_a_topic(&regex(r"^a\..*"), &names("a.x")));
        assert!(!may_share_a_topic(&regex(r"^a\..*"), &names("b.x")));
        assert!(!may_share_a_topic(&names("a"), &names("b")));
    }
}
