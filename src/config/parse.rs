//! Owns reading YAML into [`Node`]s: duplicate keys, anchors, merge keys and the limits of a document. Does not own
//! what a key means.

use std::collections::HashMap;

use serde_yaml::granit_parser::{Event, Marker, Parser, ScalarStyle, Span, StrInput};

use super::problem::{Place, Problems};
use super::tree::{Content, Entry, Node, Scalar, Style, shown_key};

/// What a document may grow to when its aliases are expanded: bytes of text, plus [`NODE_COST`] for every value.
const DOCUMENT_COST_MAX: usize = 16 << 20;
/// What a value costs beside its text. A file of the size limit stays within [`DOCUMENT_COST_MAX`] without aliases.
const NODE_COST: usize = 16;

/// Reads the one document of `text`. Reports what is wrong; gives nothing if there is no tree to walk.
pub(super) fn parse(text: &str, source: usize, problems: &Problems) -> Option<Node> {
    let parser = Parser::new_from_str(text);
    let mut builder =
        Builder { parser, source, problems, anchors: HashMap::new(), cost_left: DOCUMENT_COST_MAX };
    match builder.document() {
        Ok(root) => Some(root),
        Err(Stop { place, message }) => {
            problems.report(place, format!("{message}{}", hint(text, place.line)));
            None
        }
    }
}

/// What makes going on with the document impossible.
struct Stop {
    place: Place,
    message: String,
}

struct Builder<'t, 'p> {
    parser: Parser<'t, StrInput<'t>>,
    source: usize,
    problems: &'p Problems,
    anchors: HashMap<usize, Node>,
    cost_left: usize,
}

impl<'t> Builder<'t, '_> {
    fn document(&mut self) -> Result<Node, Stop> {
        let empty = || "the file is empty; begin with `version: 1`".to_owned();
        let root = loop {
            match self.next()? {
                Some((Event::StreamStart | Event::DocumentStart(..), _)) => {}
                Some((Event::StreamEnd, _)) | None => {
                    return Err(Stop { place: self.place(Marker::new(0, 1, 0)), message: empty() });
                }
                Some((event, span)) => {
                    let root = self.node(event, span)?;
                    if root.is_absent() {
                        return Err(Stop { place: root.place, message: empty() });
                    }
                    break root;
                }
            }
        };
        loop {
            match self.next()? {
                Some((Event::StreamEnd, _)) | None => return Ok(root),
                Some((Event::DocumentEnd, _)) => {}
                Some((_, span)) => {
                    return Err(self.stop(span, "a second document (`---`); write one document in a file"));
                }
            }
        }
    }

    fn next(&mut self) -> Result<Option<(Event<'t>, Span)>, Stop> {
        self.parser.next_event().transpose().map_err(|error| Stop {
            place: self.place(*error.marker()),
            message: format!("not YAML: {}", error.info().replace('\n', ", ")),
        })
    }

    fn node(&mut self, event: Event<'t>, span: Span) -> Result<Node, Stop> {
        let place = self.place(span.start);
        if event.tag().is_some() {
            self.problems
                .report(place, "a YAML tag (`!…`) means nothing here; remove it, or quote the value");
        }
        let anchor = event.anchor_id();
        let content = match event {
            Event::Alias(id) => return self.alias(id, span),
            Event::Scalar(text, style, ..) => {
                let style = match style {
                    ScalarStyle::Plain if span.start.index() == span.end.index() => Style::Absent,
                    ScalarStyle::Plain => Style::Plain,
                    _ => Style::Quoted,
                };
                Content::Scalar(Scalar { text: text.into_owned(), style, referenced: false })
            }
            Event::SequenceStart(..) => Content::List(self.list()?),
            Event::MappingStart(..) => Content::Map(self.map()?),
            _ => return Err(self.stop(span, "not YAML: a value is expected here")),
        };
        let node = Node { place, content };
        self.charge(own_cost(&node), span)?;
        if let Some(id) = anchor {
            self.charge(cost(&node), span)?;
            self.anchors.insert(id, node.clone());
        }
        Ok(node)
    }

    fn alias(&mut self, id: usize, span: Span) -> Result<Node, Stop> {
        let Some(target) = self.anchors.get(&id) else {
            return Err(self.stop(span, "an alias inside the very value that it names"));
        };
        let (cost, target) = (cost(target), target.clone());
        self.charge(cost, span)?;
        Ok(target)
    }

    fn list(&mut self) -> Result<Vec<Node>, Stop> {
        let mut items = Vec::new();
        while let Some((event, span)) = self.next()? {
            if event == Event::SequenceEnd {
                break;
            }
            items.push(self.node(event, span)?);
        }
        Ok(items)
    }

    fn map(&mut self) -> Result<Vec<Entry>, Stop> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut places: HashMap<String, Place> = HashMap::new();
        let mut merged: Vec<Node> = Vec::new();
        while let Some((event, span)) = self.next()? {
            if event == Event::MappingEnd {
                break;
            }
            let key_node = self.node(event, span)?;
            let key_place = self.place(span.start);
            let Some((event, span)) = self.next()? else {
                return Err(self.stop(span, "not YAML: a key without a value"));
            };
            let value = self.node(event, span)?;
            let Some(Scalar { text: key, style, .. }) = key_node.scalar() else {
                self.problems
                    .report(key_place, format!("a key must be a single value, not {}", key_node.shape()));
                continue;
            };
            if key == "<<" && *style == Style::Plain {
                merged.push(value);
            } else if let Some(first) = places.get(key) {
                let first = self.problems.refer_to(*first, key_place);
                self.problems
                    .report(key_place, format!("duplicate key {}; first on {first}", shown_key(key)));
            } else {
                places.insert(key.clone(), key_place);
                entries.push(Entry { key: key.clone(), key_place, value });
            }
        }
        for node in merged {
            self.merge(node, &mut entries, &mut places);
        }
        Ok(entries)
    }

    /// YAML's merge key: what the map says itself stands; of several sources the earlier wins.
    fn merge(&self, node: Node, entries: &mut Vec<Entry>, places: &mut HashMap<String, Place>) {
        let place = node.place;
        let sources = match node.content {
            Content::List(items) => items,
            content => vec![Node { place, content }],
        };
        for source in sources {
            let Content::Map(inherited) = source.content else {
                self.problems.report(place, "`<<` takes a mapping or a list of mappings");
                return;
            };
            for entry in inherited {
                if !places.contains_key(&entry.key) {
                    places.insert(entry.key.clone(), entry.key_place);
                    entries.push(entry);
                }
            }
        }
    }

    fn charge(&mut self, cost: usize, span: Span) -> Result<(), Stop> {
        match self.cost_left.checked_sub(cost) {
            Some(left) => {
                self.cost_left = left;
                Ok(())
            }
            None => Err(self.stop(span, "the aliases up to here make the document too large; write fewer")),
        }
    }

    fn stop(&self, span: Span, message: &str) -> Stop {
        Stop { place: self.place(span.start), message: message.to_owned() }
    }

    fn place(&self, marker: Marker) -> Place {
        Place { source: self.source, line: marker.line().max(1), column: marker.col() + 1 }
    }
}

/// The cost of a value without those inside it, which have been paid for.
fn own_cost(node: &Node) -> usize {
    match &node.content {
        Content::Scalar(scalar) => NODE_COST + scalar.text.len(),
        Content::List(_) => NODE_COST,
        Content::Map(entries) => NODE_COST + entries.iter().map(|entry| entry.key.len()).sum::<usize>(),
    }
}

fn cost(node: &Node) -> usize {
    let inside: usize = match &node.content {
        Content::Scalar(_) => 0,
        Content::List(items) => items.iter().map(cost).sum(),
        Content::Map(entries) => entries.iter().map(|entry| cost(&entry.value)).sum(),
    };
    own_cost(node) + inside
}

/// References and flow style share the braces, which is the usual reason why a line with a reference is not YAML.
fn hint(text: &str, line: usize) -> &'static str {
    let has_reference = text.lines().nth(line - 1).is_some_and(|line| line.contains("${"));
    if has_reference { "; inside `{ }` and `[ ]` a reference needs quotes: \"${NAME}\"" } else { "" }
}

#[cfg(test)]
mod tests {
    use super::super::problem::Source;
    use super::*;

    fn parsed(text: &str) -> (Option<Node>, String) {
        let problems = Problems::new(vec![Source { file: "c.yaml".into(), directory: ".".into() }]);
        let node = parse(text, 0, &problems);
        (node, problems.into_errors().map(|errors| errors.to_string()).unwrap_or_default())
    }

    fn at<'t>(node: &'t Node, key: &str) -> &'t Node {
        let Content::Map(entries) = &node.content else { panic!("not a map") };
        &entries.iter().find(|entry| entry.key == key).unwrap().value
    }

    #[test]
    fn values_keep_text_quotes_and_place() {
        let (node, errors) = parsed("a: 017\nb: \"no\"\nc:\nd: ~\ne:\n  - x\n  - {f: 'it''s'}\n");
        assert_eq!(errors, "");
        let node = node.unwrap();
        let a = at(&node, "a");
        assert_eq!((a.place.line, a.place.column, a.scalar().unwrap().text.as_str()), (1, 4, "017"));
        assert_eq!(at(&node, "b").scalar().unwrap().style, Style::Quoted);
        assert!(at(&node, "c").is_absent());
        assert!(at(&node, "d").is_null() && !at(&node, "d").is_absent());
        let Content::List(items) = &at(&node, "e").content else { panic!("not a list") };
        assert_eq!((items[1].place.line, at(&items[1], "f").place.column), (7, 9));
        assert_eq!(at(&items[1], "f").scalar().unwrap().text, "it's");
    }

    #[test]
    fn fault_110_a_duplicate_key_names_both_places() {
        let (_, errors) = parsed("a: 1\nb:\n  c: 1\n  'c': 2\na: 3\n");
        assert_eq!(
            errors,
            "c.yaml:4:3: duplicate key `c`; first on line 3\nc.yaml:5:1: duplicate key `a`; first on line 1"
        );
    }

    #[test]
    fn anchors_aliases_and_merge_keys_work() {
        let (node, errors) =
            parsed("base: &b {x: 1, y: 2}\nmore: &m {y: 3, z: 4}\nc:\n  <<: [*b, *m]\n  x: 9\nd: *b\n");
        assert_eq!(errors, "");
        let node = node.unwrap();
        let text = |key| at(at(&node, "c"), key).scalar().unwrap().text.clone();
        assert_eq!((text("x"), text("y"), text("z")), ("9".into(), "2".into(), "4".into()));
        assert_eq!(at(&node, "d"), at(&node, "base"));
    }

    #[test]
    fn a_billion_laughs_are_refused() {
        let mut text = "a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]\n".to_owned();
        for level in 1..=9 {
            let inside = vec![format!("*a{}", level - 1); 10].join(", ");
            text = format!("{text}a{level}: &a{level} [{inside}]\n");
        }
        let (node, errors) = parsed(&text);
        assert!(node.is_none());
        assert!(errors.contains("too large"), "{errors}");
    }

    #[test]
    fn what_is_not_one_plain_document_is_refused() {
        for (text, expected) in [
            ("", "is empty"),
            ("# nothing\n", "is empty"),
            ("---\n", "is empty"),
            ("a: 1\n---\nb: 2\n", "second document"),
            ("a: &a [*a]\n", "inside the very value"),
            ("a: *b\n", "not YAML"),
            ("a: !!int '1'\n", "YAML tag"),
            ("? [a]\n: 1\n", "must be a single value, not a list"),
            ("a: [1, 2\nb: 3\n", "not YAML"),
            ("a: { b: ${C} }\n", "needs quotes"),
            ("<<: 1\n", "takes a mapping"),
        ] {
            let (_, errors) = parsed(text);
            assert!(errors.contains(expected), "{text:?}: {errors}");
        }
        assert!(parsed(&"[".repeat(100_000)).0.is_none());
        assert!(parsed(&"- ".repeat(100_000)).0.is_none());
    }

    #[test]
    fn a_byte_order_mark_and_crlf_are_no_matter() {
        let (node, errors) = parsed("\u{feff}a: 1\r\nb: x\r\n");
        assert_eq!(errors, "");
        assert_eq!(at(&node.unwrap(), "b").scalar().unwrap().text, "x");
    }
}
