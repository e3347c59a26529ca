//! Owns the form and defaults of `kafka:`. Does not own which of librdkafka's properties are refused
//! ([`super::properties`]).

use super::problem::Place;
use super::properties;
use super::section::Section;
use super::settings::{KafkaSettings, StartPosition, TopicSelection};
use super::tree::{Content, Node, Scalar, shown};
use super::value;

pub(super) const KEYS: &[&str] = &["topics", "topics_regex", "group", "start", "properties"];

/// Kafka's own limit on the name of a topic.
const TOPIC_CHARS_MAX: usize = 249;

/// Reads `kafka:` of the connector called `name`.
pub(super) fn read(section: &Section<'_>, name: &str) -> Option<KafkaSettings> {
    let topics = selection(section);
    let starts = [
        ("earliest", StartPosition::Earliest),
        ("latest", StartPosition::Latest),
        ("error", StartPosition::Error),
    ];
    let group = section.read("group", value::text).unwrap_or_else(|| format!("sluice-{name}"));
    let start = section.read("start", value::choice(&starts)).unwrap_or(StartPosition::Earliest);
    let properties = properties::read(&section.section("properties", &[]));
    Some(KafkaSettings { topics: topics?, group, start, properties })
}

/// A topic's name as Kafka allows it: `[a-zA-Z0-9._-]{1,249}`, not `.` or `..`.
pub(super) fn topic(scalar: &Scalar) -> Result<String, String> {
    let name = value::text(scalar)?;
    if name.starts_with('^') {
        return Err("must hold names; a pattern belongs in `topics_regex`".to_owned());
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if !name.chars().all(allowed) || name.len() > TOPIC_CHARS_MAX || name == "." || name == ".." {
        return Err(format!(
            "must be a topic name: at most {TOPIC_CHARS_MAX} ASCII letters, digits, `.`, `_` and `-`; found {}",
            scalar.shown()
        ));
    }
    Ok(name)
}

fn selection(section: &Section<'_>) -> Option<TopicSelection> {
    match (section.has("topics"), section.has("topics_regex")) {
        (true, true) => {
            section.report("topics_regex", "cannot stand beside `topics`; write one of them");
            None
        }
        (false, true) => section.read("topics_regex", regex).map(TopicSelection::Regex),
        (false, false) => {
            section.report_missing("topics", " (or `topics_regex`)");
            None
        }
        (true, false) => names(section).map(TopicSelection::Names),
    }
}

fn names(section: &Section<'_>) -> Option<Vec<String>> {
    // One name without brackets says clearly enough what is meant.
    if let Some(Node { content: Content::Scalar(_), .. }) = section.node("topics") {
        return section.read("topics", topic).map(|name| vec![name]);
    }
    let found = section.read_list("topics", topic)?;
    if section.list("topics").is_some_and(<[Node]>::is_empty) {
        section.report("topics", "must name at least one topic");
    }
    let mut names: Vec<(String, Place)> = Vec::new();
    for (node, name) in found {
        if let Some((_, first)) = names.iter().find(|(earlier, _)| *earlier == name) {
            let first = section.problems().refer_to(*first, node.place);
            let shown = node.scalar().map_or_else(|| shown(&name), Scalar::shown);
            section.problems().report(node.place, format!("the topic {shown} twice; first on {first}"));
        } else {
            names.push((name, node.place));
        }
    }
    Some(names.into_iter().map(|(name, _)| name).collect())
}

fn regex(scalar: &Scalar) -> Result<String, String> {
    let regex = value::text(scalar)?;
    if regex.starts_with('^') && regex.len() > 1 {
        Ok(regex)
    } else {
        Err(format!("must begin with `^`, such as `'^shop\\..*'`; found {}", scalar.shown()))
    }
}
