//! Owns the form and defaults of `kafka:`. Does not own which of librdkafka's properties are refused
//! ([`super::properties`]).

use regex::Regex;

use super::problem::Place;
use super::properties;
use super::section::Section;
use super::settings::{KafkaSettings, StartPosition, TopicSelection};
use super::tree::{Content, Node, Scalar, shown};
use super::value;
use crate::task::names::topic_fault;

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

/// As [`topic`], of a topic whose files must have names.
fn read_topic(scalar: &Scalar) -> Result<String, String> {
    let name = topic(scalar)?;
    match topic_fault(&name, 0) {
        Some(fault) => Err(format!("must leave files a name: {fault}; copy it to a topic of another name")),
        None => Ok(name),
    }
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
        return section.read("topics", read_topic).map(|name| vec![name]);
    }
    let found = section.read_list("topics", read_topic)?;
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
    let pattern = value::text(scalar)?;
    if !pattern.starts_with('^') || pattern.len() == 1 {
        return Err(format!("must begin with `^`, such as `'^shop\\..*'`; found {}", scalar.shown()));
    }
    if let Some(reason) = not_portable(&pattern) {
        return Err(format!("{reason}; found {}", scalar.shown()));
    }
    match Regex::new(&pattern) {
        Ok(_) => Ok(pattern),
        Err(error) => Err(format!("is not a regular expression: {}", last_line(&error))),
    }
}

/// Why the Kafka client would read the pattern otherwise than we do: it knows POSIX extended expressions only.
fn not_portable(pattern: &str) -> Option<&'static str> {
    let mut letters = pattern.chars().peekable();
    let mut in_brackets = false;
    while let Some(letter) = letters.next() {
        let next = letters.peek().copied();
        match (letter, in_brackets) {
            ('\\', true) => return Some("must not hold a backslash within `[ ]`; write the character alone"),
            ('\\', false)
                if next.is_none_or(|c| c.is_alphanumeric() || matches!(c, '<' | '>' | '`' | '\'')) =>
            {
                return Some("must not hold classes such as `\\d`; write `[0-9]`");
            }
            ('\\', false) => drop(letters.next()),
            ('[', false) => {
                in_brackets = true;
                letters.next_if_eq(&'^');
                // Here it stands for itself.
                letters.next_if_eq(&']');
            }
            ('[', true) if next == Some(':') => while letters.next().is_some_and(|c| c != ']') {},
            ('[', true) => return Some("must not hold `[` within `[ ]`"),
            ('&' | '~' | '-', true) if next == Some(letter) => {
                return Some("must not hold `&&`, `~~` or `--` within `[ ]`");
            }
            (']', true) => in_brackets = false,
            ('(', false) if next == Some('?') => {
                return Some("must not hold groups such as `(?:…)`; write `(…)`");
            }
            ('*' | '+' | '?' | '}', false) if matches!(next, Some('*' | '+' | '?')) => {
                return Some("must not hold two repetitions in a row, such as `.*?`");
            }
            _ => {}
        }
    }
    None
}

/// What is wrong, without the picture of where.
fn last_line(error: &regex::Error) -> String {
    let text = error.to_string();
    text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::tree::Style;
    use super::*;

    #[test]
    fn topics_whose_files_can_have_no_name_are_refused_to_be_read() {
        let scalar = |text: String| Scalar { text, style: Style::Plain, referenced: false };
        assert!(read_topic(&scalar("t".repeat(199))).is_ok());
        for name in ["t".repeat(200), "t".repeat(249), ".hidden".to_owned()] {
            let refused = read_topic(&scalar(name.clone())).unwrap_err();
            assert!(refused.contains("another name"), "{refused}");
            assert_eq!(topic(&scalar(name.clone())), Ok(name), "dead letters may go there");
        }
    }

    #[test]
    fn patterns_mean_the_same_to_us_and_to_the_client() {
        for portable in
            ["^shop\\..*$", "^(a|b)[0-9]+$", "^[^]a-z]x{2,3}$", "^[[:alpha:]_-]+$", "^a\\*b", "^[.]x*"]
        {
            assert_eq!(not_portable(portable), None, "{portable}");
            assert!(Regex::new(portable).is_ok(), "{portable}");
        }
        for other in [
            "^\\d+$",
            "^(?:a|b)$",
            "^.*?x",
            "^a+?",
            "^[\\d]",
            "^[a&&b]",
            "^[a[b]]",
            "^\\p{L}",
            "^x\\",
            "^a{2}?",
            "^\\<a",
        ] {
            assert!(not_portable(other).is_some(), "{other}");
        }
    }
}
