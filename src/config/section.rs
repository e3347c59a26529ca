//! Owns reading one mapping of the tree: which keys are there, unknown, missing or of the wrong shape. Does not own
//! what a value must be ([`super::value`]).

use std::path::PathBuf;

use super::nearest::suggestion;
use super::problem::{Place, Problems};
use super::tree::{Content, Entry, Node, Scalar, shown_key};

/// A mapping whose keys are known. What is wrong is reported once, and then read as if it were not there.
pub(super) struct Section<'t> {
    path: String,
    place: Place,
    entries: &'t [Entry],
    known: &'static [&'static str],
    /// The value was there and no mapping: what it lacks is not worth a message of its own.
    broken: bool,
    problems: &'t Problems,
}

impl<'t> Section<'t> {
    /// Reads `node`, which messages call `path` (empty: nothing). Reports unknown keys and keys without a value.
    pub(super) fn open(
        node: &'t Node,
        place: Place,
        path: &str,
        known: &'static [&'static str],
        problems: &'t Problems,
    ) -> Self {
        let (entries, broken) = match &node.content {
            Content::Map(entries) => (entries.as_slice(), false),
            Content::Scalar(_) | Content::List(_) => (&[][..], true),
        };
        let section = Self { path: path.to_owned(), place, entries, known, broken, problems };
        if broken && !node.is_unresolved() {
            let subject = if path.is_empty() { "this".to_owned() } else { format!("`{path}`") };
            problems.report(
                node.place,
                format!("{subject} must be a mapping (`key: value`), not {}", node.shape()),
            );
        }
        section.report_unknown_keys();
        section
    }

    /// Where the section begins.
    pub(super) fn place(&self) -> Place {
        self.place
    }

    /// Where the value of `key` stands, or the section if the key is not there.
    pub(super) fn place_of(&self, key: &str) -> Place {
        self.entry(key).map_or(self.place, |entry| entry.value.place)
    }

    /// Whether `key` is written, with whatever value.
    pub(super) fn has(&self, key: &str) -> bool {
        self.entry(key).is_some()
    }

    /// All keys and values; for mappings whose keys the user chooses.
    pub(super) fn entries(&self) -> &'t [Entry] {
        self.entries
    }

    /// Every key by its whole path, and where it stands.
    pub(super) fn key_places(&self) -> Vec<(String, Place)> {
        self.entries.iter().map(|entry| (self.path_of(&entry.key), entry.key_place)).collect()
    }

    /// How messages call `key`.
    pub(super) fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// The collector, for rules of the section's owner.
    pub(super) fn problems(&self) -> &'t Problems {
        self.problems
    }

    /// Reports about the value of `key`, or about the section if the key is not there.
    pub(super) fn report(&self, key: &str, message: &str) {
        self.problems.report(self.place_of(key), format!("`{}` {message}", self.path_of(key)));
    }

    /// Reports at `key` itself, which may be one that nobody knows.
    pub(super) fn report_key(&self, key: &str, message: &str) {
        let place =
            self.entries.iter().find(|entry| entry.key == key).map_or(self.place, |entry| entry.key_place);
        self.problems.report(place, format!("{} {message}", shown_key(&self.path_of(key))));
    }

    /// Reports that `key` is not there. Not if it is there and wrong, nor if the section itself was wrong.
    pub(super) fn report_missing(&self, key: &str, advice: &str) {
        if !self.broken && !self.has(key) && !self.problems.forgives_missing() {
            let path = self.path_of(key);
            self.problems.report(self.place, format!("missing required key `{path}`{advice}"));
        }
    }

    /// The value of `key` of any shape.
    pub(super) fn node(&self, key: &str) -> Option<&'t Node> {
        self.entry(key).map(|entry| &entry.value).filter(|node| !node.is_absent() && !node.is_unresolved())
    }

    /// A single value, made into a `T` by `parse`, whose error continues "`key` …".
    pub(super) fn read<T>(&self, key: &str, parse: impl FnOnce(&Scalar) -> Result<T, String>) -> Option<T> {
        let node = self.node(key)?;
        match read_scalar(node, parse) {
            Ok(value) => Some(value),
            Err(message) => {
                self.report(key, &message);
                None
            }
        }
    }

    /// Whatever single value is written, as text: for settings whose meaning another program owns.
    pub(super) fn read_raw(&self, key: &str) -> Option<String> {
        self.read(key, |scalar| Ok(scalar.text.clone()))
    }

    /// As [`Self::read`]; reports if the key is not there.
    pub(super) fn require<T>(
        &self,
        key: &str,
        parse: impl FnOnce(&Scalar) -> Result<T, String>,
    ) -> Option<T> {
        self.report_missing(key, "");
        self.read(key, parse)
    }

    /// `path`, written as the value of `key`, which is relative to the directory of its file.
    pub(super) fn resolve_path(&self, key: &str, path: &str) -> PathBuf {
        self.problems.resolve_path(self.place_of(key), path)
    }

    /// The path of a file that exists; relative to the directory of the configuration file.
    pub(super) fn read_file(&self, key: &str) -> Option<PathBuf> {
        let text = self.read(key, super::value::text)?;
        let path = self.resolve_path(key, &text);
        if path.is_file() {
            return Some(path);
        }
        let shown = self.node(key).and_then(Node::scalar).map_or_else(String::new, Scalar::shown);
        self.report(key, &format!("must be a file that exists; found {shown}, relative to this file"));
        None
    }

    /// The mapping under `key`; an empty one if it is not there.
    pub(super) fn section(&self, key: &str, known: &'static [&'static str]) -> Section<'t> {
        let path = self.path_of(key);
        match self.entry(key) {
            // `node` leaves out what has been reported already.
            Some(entry) => match self.node(key) {
                Some(node) => Section::open(node, entry.key_place, &path, known, self.problems),
                None => self.empty(path, entry.key_place, known, true),
            },
            None => self.empty(path, self.place, known, self.broken),
        }
    }

    /// The items of the list under `key`; `None` if the key is not there or no list.
    pub(super) fn list(&self, key: &str) -> Option<&'t [Node]> {
        let node = self.node(key)?;
        if let Content::List(items) = &node.content {
            return Some(items);
        }
        self.report(key, &format!("must be a list (`[a, b]`), not {}", node.shape()));
        None
    }

    /// The items of the list under `key`, each made into a `T`; wrong ones are reported and left out.
    pub(super) fn read_list<T>(
        &self,
        key: &str,
        parse: impl Fn(&Scalar) -> Result<T, String>,
    ) -> Option<Vec<(&'t Node, T)>> {
        let items = self.list(key)?;
        Some(
            items
                .iter()
                .filter_map(|node| self.read_item(key, node, &parse).map(|value| (node, value)))
                .collect(),
        )
    }

    /// The items of the list under `key` as texts; one that is there already is reported.
    pub(super) fn distinct_texts(&self, key: &str) -> Vec<String> {
        self.distinct(key, super::value::text)
    }

    /// As [`Self::distinct_texts`], with texts that `parse` takes.
    pub(super) fn distinct(
        &self,
        key: &str,
        parse: impl Fn(&Scalar) -> Result<String, String>,
    ) -> Vec<String> {
        let mut texts: Vec<String> = Vec::new();
        for (node, text) in self.read_list(key, parse).unwrap_or_default() {
            if texts.contains(&text) {
                self.problems.report(node.place, format!("`{}` holds this twice", self.path_of(key)));
            } else {
                texts.push(text);
            }
        }
        texts
    }

    /// One single value, which messages call `key`.
    pub(super) fn read_item<T>(
        &self,
        key: &str,
        node: &Node,
        parse: impl FnOnce(&Scalar) -> Result<T, String>,
    ) -> Option<T> {
        if node.is_unresolved() {
            return None;
        }
        match read_scalar(node, parse) {
            Ok(value) => Some(value),
            Err(message) => {
                self.problems.report(node.place, format!("`{}` {message}", self.path_of(key)));
                None
            }
        }
    }

    fn entry(&self, key: &str) -> Option<&'t Entry> {
        debug_assert!(self.known.is_empty() || self.known.contains(&key), "{key} is a known key");
        self.entries.iter().find(|entry| entry.key == key).filter(|entry| !entry.value.is_null())
    }

    fn empty(&self, path: String, place: Place, known: &'static [&'static str], broken: bool) -> Section<'t> {
        Section { path, place, entries: &[], known, broken, problems: self.problems }
    }

    fn report_unknown_keys(&self) {
        for entry in self.entries {
            let is_known = self.known.is_empty() || self.known.contains(&entry.key.as_str());
            if !is_known {
                let meant = suggestion(&entry.key, self.known.iter().copied());
                let advice = if meant.is_empty() { self.advice(&entry.key) } else { meant };
                let message = format!("unknown key {}{advice}", shown_key(&self.path_of(&entry.key)));
                self.problems.report(entry.key_place, message);
            } else if entry.value.is_absent() {
                let path = shown_key(&self.path_of(&entry.key));
                let message = format!("{path} has no value; write one, or remove the key");
                self.problems.report(entry.key_place, message);
            }
        }
    }

    fn advice(&self, key: &str) -> String {
        if self.path == "kafka" && key.contains('.') {
            return "; librdkafka's properties belong under `kafka.properties`".to_owned();
        }
        let known: Vec<_> = self.known.iter().map(|key| format!("`{key}`")).collect();
        format!("; the keys here are {}", known.join(", "))
    }
}

fn read_scalar<T>(node: &Node, parse: impl FnOnce(&Scalar) -> Result<T, String>) -> Result<T, String> {
    match node.scalar() {
        Some(_) if node.is_absent() || node.is_null() => Err("must have a value".to_owned()),
        Some(scalar) => parse(scalar),
        None => Err(format!("must be a single value, not {}", node.shape())),
    }
}
