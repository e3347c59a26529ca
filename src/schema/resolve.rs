//! Owns which writer type can be read as which reader type (Avro 1.12 specification, "Schema Resolution"), and whether
//! anything is lost by it. Does not own how it is read: [`crate::decode`] compiles that from the matches found here.
//!
//! Where the specification leaves room: logical types that both sides state must be the same (a decimal may differ
//! in precision and in what carries it, not in scale); one that only one side states counts as the reader says, and
//! numbers are promoted with it. Within a union the branch of the same type goes before one that needs a promotion.

use std::collections::{HashMap, HashSet};

use super::default::encode_default;
use super::model::{AvroSchema, Logical, Name, Node, NodeId, RecordType, Shape};

/// Types inside types, named ones followed.
const MAX_DEPTH: usize = 128;

/// What becomes of values of a writer schema when they are read with a reader schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Absorption {
    /// Nothing is lost: every value can be read, and told from every other.
    Lossless,
    /// It can be read, but some values change, lose a part, or cannot be read.
    Lossy {
        /// The first loss found, with its path.
        why: String,
    },
    /// It cannot be read.
    Incompatible {
        /// The first conflict found, with its path.
        why: String,
    },
}

/// Whether `reader` can take in what `writer` wrote, and with what loss.
#[must_use]
pub fn absorbs(reader: &AvroSchema, writer: &AvroSchema) -> Absorption {
    let mut judge = Judge { reader, writer, path: Vec::new(), judged: HashMap::new(), loss: None };
    match judge.pair(writer.root(), reader.root()) {
        Err(why) => Absorption::Incompatible { why },
        Ok(()) => match judge.loss {
            Some(why) => Absorption::Lossy { why },
            None => Absorption::Lossless,
        },
    }
}

/// Why values of type `writer` cannot be read as `reader`, looking at these two types only, not inside them; neither
/// is a union.
pub(crate) fn mismatch(writer: &Node, reader: &Node) -> Option<String> {
    if let (Some(Logical::Decimal { scale: w, .. }), Some(Logical::Decimal { scale: r, .. })) =
        (writer.logical, reader.logical)
    {
        return (w != r).then(|| format!("a decimal of scale {w} cannot be read with scale {r}"));
    }
    if let (Some(w), Some(r)) = (writer.logical, reader.logical)
        && w != r
    {
        return Some(format!("{w} cannot be read as {r}"));
    }
    let same_name = || match (writer.names(), reader.names()) {
        (Some((writer, _)), Some((reader, aliases))) => names_match(writer, reader, aliases),
        _ => true,
    };
    let matches = match (&writer.shape, &reader.shape) {
        (Shape::Fixed(w), Shape::Fixed(r)) => w.size == r.size && same_name(),
        (w, r) if w.word() == r.word() => same_name(),
        (Shape::Int, Shape::Long | Shape::Float | Shape::Double)
        | (Shape::Long, Shape::Float | Shape::Double)
        | (Shape::Float, Shape::Double) => true,
        (Shape::String, Shape::Bytes) | (Shape::Bytes, Shape::String) => {
            // The bytes of a decimal are no text, and text no decimal.
            [writer, reader].iter().all(|side| matches!(side.logical, None | Some(Logical::Uuid)))
        }
        _ => false,
    };
    (!matches).then(|| format!("{} cannot be read as {}", writer.word(), reader.word()))
}

/// Which branch of a reader's union takes values of `writer`, which is not a union: the first of the same full name or
/// built-in type, else the first that matches at all.
pub(crate) fn best_branch(writer: &Node, schema: &AvroSchema, branches: &[NodeId]) -> Option<usize> {
    let exact = |branch: &NodeId| {
        let branch = schema.node(*branch);
        let same = match (writer.names(), branch.names()) {
            (Some((writer, _)), Some((reader, _))) => writer == reader,
            (None, None) => writer.shape.word() == branch.shape.word(),
            _ => false,
        };
        same && mismatch(writer, branch).is_none()
    };
    let matching = |branch: &NodeId| mismatch(writer, schema.node(*branch)).is_none();
    branches.iter().position(exact).or_else(|| branches.iter().position(matching))
}

/// Which fields of a writer's record feed which of the reader's.
pub(crate) struct FieldMatch {
    /// For each field of the writer the position of the reader's, or `None` for one to skip.
    pub(crate) reader_of: Vec<Option<usize>>,
    /// Positions of the reader's fields that nothing feeds, ascending.
    pub(crate) missing: Vec<usize>,
}

/// Matches fields by name, then the reader's remaining ones by their aliases. As in Java, where a field was renamed and
/// its old name given to a new field with a default, the old data goes by the alias.
pub(crate) fn match_fields(writer: &RecordType, reader: &RecordType) -> FieldMatch {
    let positions: HashMap<&str, usize> =
        writer.fields.iter().enumerate().map(|(position, field)| (field.name.as_str(), position)).collect();
    let by_name = |index: usize| positions.contains_key(reader.fields[index].name.as_str());
    let mut reader_of = vec![None; writer.fields.len()];
    let mut missing = Vec::new();
    for (index, field) in reader.fields.iter().enumerate() {
        match positions.get(field.name.as_str()) {
            Some(position) => reader_of[*position] = Some(index),
            None => missing.push(index),
        }
    }
    let unnamed = std::mem::take(&mut missing);
    for index in unnamed {
        let aliases = reader.fields[index].aliases.iter();
        let mut positions = aliases.filter_map(|alias| positions.get(alias.as_str()));
        let takes =
            |by: Option<usize>| by.is_none_or(|by| by_name(by) && reader.fields[by].default.is_some());
        match positions.find(|position| takes(reader_of[**position])) {
            Some(position) => missing.extend(reader_of[*position].replace(index)),
            None => missing.push(index),
        }
    }
    missing.sort_unstable();
    FieldMatch { reader_of, missing }
}

fn names_match(writer: &Name, reader: &Name, reader_aliases: &[Name]) -> bool {
    let matches = |name: &Name| name.unqualified() == writer.unqualified();
    matches(reader) || reader_aliases.iter().any(matches)
}

struct Judge<'s> {
    reader: &'s AvroSchema,
    writer: &'s AvroSchema,
    path: Vec<String>,
    /// Pairs judged, and those being judged as matching: a type may contain itself.
    judged: HashMap<(NodeId, NodeId), Result<(), String>>,
    loss: Option<String>,
}

impl Judge<'_> {
    /// Notes losses; `Err` with the reason when the pair does not match.
    fn pair(&mut self, writer: NodeId, reader: NodeId) -> Result<(), String> {
        if let Some(verdict) = self.judged.get(&(writer, reader)) {
            return verdict.clone();
        }
        if self.path.len() > MAX_DEPTH {
            return Err(self.at(&format!("types nest deeper than {MAX_DEPTH}")));
        }
        self.judged.insert((writer, reader), Ok(()));
        let (w, r) = (self.writer.node(writer), self.reader.node(reader));
        let verdict = match (&w.shape, &r.shape) {
            (Shape::Union(branches), _) => self.writer_union(branches, reader),
            (_, Shape::Union(branches)) => match best_branch(w, self.reader, branches) {
                Some(branch) => self.pair(writer, branches[branch]),
                None => Err(self.at(&format!("no branch of the reader's union takes {}", w.word()))),
            },
            _ => self.plain(w, r),
        };
        self.judged.insert((writer, reader), verdict.clone());
        verdict
    }

    fn writer_union(&mut self, branches: &[NodeId], reader: NodeId) -> Result<(), String> {
        let mut first_conflict = None;
        let mut taken = HashSet::new();
        for branch in branches {
            let target = match &self.reader.node(reader).shape {
                Shape::Union(targets) => best_branch(self.writer.node(*branch), self.reader, targets),
                _ => Some(0),
            };
            match self.pair(*branch, reader) {
                Ok(()) if !taken.insert(target) => {
                    self.lose(&format!(
                        "two branches of the writer's union become one ({})",
                        self.writer_word(*branch)
                    ));
                }
                Ok(()) => {}
                Err(why) => {
                    self.lose(&format!("values of branch {} cannot be read", self.writer_word(*branch)));
                    first_conflict.get_or_insert(why);
                }
            }
        }
        match first_conflict {
            Some(why) if taken.is_empty() => Err(why),
            _ => Ok(()),
        }
    }

    fn plain(&mut self, w: &Node, r: &Node) -> Result<(), String> {
        if let Some(why) = mismatch(w, r) {
            return Err(self.at(&why));
        }
        self.judge_logical(w, r);
        match (&w.shape, &r.shape) {
            (Shape::Int, Shape::Float) | (Shape::Long, Shape::Float | Shape::Double) => {
                self.lose(&format!("{} as {} may round", w.word(), r.word()));
            }
            (Shape::String, Shape::Bytes) | (Shape::Bytes, Shape::String) => {
                self.lose(&format!("{} becomes {}", w.word(), r.word()));
            }
            (Shape::Enum(w), Shape::Enum(r)) => {
                if let Some(symbol) = w.symbols.iter().find(|symbol| !r.symbols.contains(symbol)) {
                    self.lose(&format!("the reader's enum lacks symbol {symbol}"));
                }
            }
            (Shape::Array(w), Shape::Array(r)) => self.inside("element", *w, *r)?,
            (Shape::Map(w), Shape::Map(r)) => self.inside("value", *w, *r)?,
            (Shape::Record(w), Shape::Record(r)) => self.records(w, r)?,
            _ => {}
        }
        Ok(())
    }

    fn judge_logical(&mut self, w: &Node, r: &Node) {
        match (w.logical, r.logical) {
            (Some(Logical::Decimal { precision: w, .. }), Some(Logical::Decimal { precision: r, .. }))
                if w > r =>
            {
                self.lose(&format!("{w} digits do not fit into {r}"));
            }
            (Some(Logical::Decimal { .. }), Some(Logical::Decimal { .. })) => {}
            (w, r) if w != r => self.lose("the logical type changes"),
            _ => {}
        }
    }

    fn records(&mut self, w: &RecordType, r: &RecordType) -> Result<(), String> {
        let fields = match_fields(w, r);
        for (field, target) in w.fields.iter().zip(&fields.reader_of) {
            match target {
                None => self.lose(&format!("the reader lacks field {}", field.name)),
                Some(target) => self.inside(&field.name, field.node, r.fields[*target].node)?,
            }
        }
        for index in fields.missing {
            let field = &r.fields[index];
            let Some(default) = &field.default else {
                return Err(self.at(&format!("the writer lacks field {}, which has no default", field.name)));
            };
            encode_default(self.reader, field.node, default)
                .map_err(|why| self.at(&format!("field {} is missing and its {why}", field.name)))?;
        }
        Ok(())
    }

    fn inside(&mut self, step: &str, writer: NodeId, reader: NodeId) -> Result<(), String> {
        self.path.push(step.to_owned());
        let outcome = self.pair(writer, reader);
        self.path.pop();
        outcome
    }

    fn lose(&mut self, why: &str) {
        let why = self.at(why);
        self.loss.get_or_insert(why);
    }

    fn at(&self, why: &str) -> String {
        if self.path.is_empty() { why.to_owned() } else { format!("{}: {why}", self.path.join(".")) }
    }

    fn writer_word(&self, id: NodeId) -> String {
        self.writer.node(id).word().to_owned()
    }
}
