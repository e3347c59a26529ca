//! Owns the way from a writer schema and a layout to the steps of a plan. The matching of types is
//! [`crate::schema`]'s; here it becomes what to do with each value.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use super::buffers::Fill;
use super::error::Fault;
use super::layout::{ColumnLayout, END_BYTES, LEVELS_BYTES, LayoutNode, Store};
use super::plan::{Carrier, DecodePlan, Items, Members, Step};
use crate::schema::{
    AvroSchema, EnumType, Logical, Node, NodeId, RecordType, SchemaError, Shape, best_branch, encode_default,
    match_fields, mismatch,
};

/// Steps of a plan. Unions against unions multiply, so the size of the schemas is no bound.
const MAX_STEPS: usize = 262_144;

pub(super) fn compile(
    writer: &Arc<AvroSchema>,
    layout: &Arc<ColumnLayout>,
) -> Result<DecodePlan, SchemaError> {
    let reader = layout.reader();
    let min_bytes = min_bytes(writer);
    let mut compiler = Compiler {
        writer,
        reader,
        min_bytes: &min_bytes,
        reader_bytes: None,
        path: Vec::new(),
        steps: 0,
        member_fills: HashMap::new(),
    };
    let place = if layout.spread { &layout.root } else { &layout.columns()[0] };
    let root = compiler.value(writer.root(), reader.root(), place)?;
    Ok(DecodePlan { layout: Arc::clone(layout), writer: Arc::clone(writer), root, min_bytes })
}

struct Compiler<'s> {
    writer: &'s AvroSchema,
    reader: &'s AvroSchema,
    min_bytes: &'s [u64],
    /// The same of the reader schema, once a default was met.
    reader_bytes: Option<Arc<[u64]>>,
    path: Vec<String>,
    steps: usize,
    /// By the place of a union column's members: their fills, and where each one's end.
    member_fills: HashMap<*const LayoutNode, (Arc<[Fill]>, Vec<u32>)>,
}

type Compiled = Result<Step, SchemaError>;

impl Compiler<'_> {
    fn value(&mut self, writer: NodeId, reader: NodeId, place: &LayoutNode) -> Compiled {
        self.steps += 1;
        if self.steps > MAX_STEPS {
            let reason = format!("reading it takes more than {MAX_STEPS} steps");
            return Err(SchemaError::unsupported(&self.path, reason));
        }
        if let Shape::Union(branches) = &self.writer.node(writer).shape {
            return self.writer_union(branches, reader, place);
        }
        let Shape::Union(branches) = &self.reader.node(reader).shape else {
            let step = self.plain(writer, reader, &place.store)?;
            return Ok(present(place, step));
        };
        let w = self.writer.node(writer);
        let Some(index) = best_branch(w, self.reader, branches) else {
            return Err(self.mismatch(format!("no branch of the reader's union takes {}", w.word())));
        };
        let is_null = |id: NodeId| self.reader.node(id).shape == Shape::Null;
        if is_null(branches[index]) {
            return Ok(Step::Absent(place.fills().into()));
        }
        let values = branches.iter().filter(|id| !is_null(**id)).count();
        let step = if values == 1 {
            self.plain(writer, branches[index], &place.store)?
        } else {
            let member = branches[..index].iter().filter(|id| !is_null(**id)).count();
            self.member(writer, branches[index], member, &place.store)?
        };
        Ok(present(place, step))
    }

    fn writer_union(&mut self, branches: &[NodeId], reader: NodeId, place: &LayoutNode) -> Compiled {
        let mut steps = Vec::with_capacity(branches.len());
        let mut first_conflict = None;
        for branch in branches {
            let depth = self.path.len();
            steps.push(match self.value(*branch, reader, place) {
                Err(conflict @ SchemaError::Incompatible { .. }) => {
                    self.path.truncate(depth);
                    first_conflict.get_or_insert(conflict);
                    Step::Fail(Fault::UnreadableBranch)
                }
                step => step?,
            });
        }
        match first_conflict {
            Some(conflict) if steps.iter().all(|step| matches!(step, Step::Fail(_))) => Err(conflict),
            _ => Ok(optional(steps)),
        }
    }

    /// One branch of several that have a member each.
    fn member(&mut self, writer: NodeId, branch: NodeId, index: usize, store: &Store) -> Compiled {
        let Store::Struct(members) = store else { return Err(self.misplaced()) };
        let (fills, own) = self.member_fills(members, index);
        let validity = members[index].validity.ok_or_else(|| self.misplaced())?;
        let step = Box::new(self.plain(writer, branch, &members[index].store)?);
        Ok(Step::Member { fills, own, validity, step })
    }

    /// The fills of all members of a union column, made once, and where those of one are.
    fn member_fills(&mut self, members: &[LayoutNode], index: usize) -> (Arc<[Fill]>, Range<u32>) {
        let (fills, ends) = self.member_fills.entry(members.as_ptr()).or_insert_with(|| {
            let mut fills = Vec::new();
            let mut ends = Vec::with_capacity(members.len());
            for member in members {
                fills.extend(member.fills());
                ends.push(fills.len() as u32);
            }
            (fills.into(), ends)
        });
        let start = index.checked_sub(1).map_or(0, |before| ends[before]);
        (Arc::clone(fills), start..ends[index])
    }

    /// Neither side is a union.
    fn plain(&mut self, writer: NodeId, reader: NodeId, store: &Store) -> Compiled {
        let (w, r) = (self.writer.node(writer), self.reader.node(reader));
        if let Some(reason) = mismatch(w, r) {
            return Err(self.mismatch(reason));
        }
        match (&w.shape, &r.shape, store) {
            (Shape::Record(w), Shape::Record(r), Store::Struct(members)) => self.record(w, r, members),
            (Shape::Array(w), Shape::Array(r), Store::List { ends, element }) => {
                let items = self.items("element", *w, *r, element, 0)?;
                Ok(Step::Array { ends: *ends, items })
            }
            (Shape::Map(w), Shape::Map(r), Store::Map { ends, keys, value }) => {
                let items = self.items("value", *w, *r, value, 1)?;
                Ok(Step::Map { ends: *ends, keys: *keys, items })
            }
            (Shape::Enum(w), Shape::Enum(r), Store::Bytes(to)) => {
                Ok(Step::Enum { to: *to, symbols: symbols(w, r) })
            }
            _ => scalar(w, r, store).ok_or_else(|| self.misplaced()),
        }
    }

    fn record(&mut self, w: &RecordType, r: &RecordType, members: &[LayoutNode]) -> Compiled {
        let fields = match_fields(w, r);
        let mut steps = Vec::with_capacity(w.fields.len() + fields.missing.len());
        let mut names: Vec<Box<str>> = Vec::with_capacity(steps.capacity());
        for (field, target) in w.fields.iter().zip(&fields.reader_of) {
            names.push(field.name.as_str().into());
            steps.push(match target {
                None => Step::Skip(field.node),
                Some(target) => {
                    self.path.push(field.name.clone());
                    let step = self.value(field.node, r.fields[*target].node, &members[*target])?;
                    self.path.pop();
                    step
                }
            });
        }
        for index in fields.missing {
            let field = &r.fields[index];
            names.push(field.name.as_str().into());
            self.path.push(field.name.clone());
            steps.push(self.default(field.node, field.default.as_ref(), &members[index])?);
            self.path.pop();
        }
        if r.fields.is_empty() {
            names.push("".into());
            steps.push(Step::Absent(members.iter().flat_map(LayoutNode::fills).collect()));
        }
        Ok(Step::Struct(Box::new(Members { steps: steps.into(), names: names.into() })))
    }

    /// A field that the writer lacks: its default as a datum, and the steps to read that as the reader wrote it.
    fn default(
        &mut self,
        reader: NodeId,
        default: Option<&serde_json::Value>,
        place: &LayoutNode,
    ) -> Compiled {
        let Some(default) = default else {
            return Err(self.mismatch("the writer lacks this field and the reader has no default for it"));
        };
        let datum = encode_default(self.reader, reader, default).map_err(|reason| self.mismatch(reason))?;
        let min_bytes = self.reader_bytes.get_or_insert_with(|| min_bytes(self.reader).into()).clone();
        let mut own = Compiler {
            writer: self.reader,
            reader: self.reader,
            min_bytes: &min_bytes,
            reader_bytes: None,
            path: self.path.clone(),
            steps: self.steps,
            member_fills: std::mem::take(&mut self.member_fills),
        };
        let step = own.value(reader, reader, place)?;
        (self.steps, self.member_fills) = (own.steps, own.member_fills);
        Ok(Step::Constant { datum: datum.into(), step: Box::new(step) })
    }

    fn items(
        &mut self,
        name: &str,
        writer: NodeId,
        reader: NodeId,
        place: &LayoutNode,
        key: u32,
    ) -> Result<Box<Items>, SchemaError> {
        self.path.push(name.to_owned());
        let step = self.value(writer, reader, place)?;
        self.path.pop();
        let min_bytes = self.min_bytes[writer.index()] + u64::from(key);
        let key_bytes = key * (END_BYTES + LEVELS_BYTES);
        Ok(Box::new(Items { step, min_bytes, item_bytes: u64::from(place.value_bytes + key_bytes) }))
    }

    fn mismatch(&self, reason: impl Into<String>) -> SchemaError {
        SchemaError::incompatible(&self.path, reason)
    }

    /// Not reached as long as columns are laid out for the reader schema that is compiled against.
    fn misplaced(&self) -> SchemaError {
        SchemaError::unsupported(&self.path, "the column is laid out for another type")
    }
}

fn present(place: &LayoutNode, step: Step) -> Step {
    match place.validity {
        Some(validity) => Step::Present { validity, step: Box::new(step) },
        None => step,
    }
}

/// The common union of null and one type gets a step of its own.
fn optional(mut steps: Vec<Step>) -> Step {
    let null_branch = match steps[..] {
        [Step::Absent(_), Step::Present { .. }] => 0,
        [Step::Present { .. }, Step::Absent(_)] => 1,
        _ => return Step::Union(steps.into()),
    };
    if null_branch == 1 {
        steps.swap(0, 1);
    }
    match (steps.pop(), steps.pop()) {
        (Some(Step::Present { validity, step }), Some(Step::Absent(fills))) => {
            Step::Optional { null_branch, validity, fills, step }
        }
        _ => unreachable!("both steps were looked at above"),
    }
}

fn symbols(w: &EnumType, r: &EnumType) -> Box<[Option<Box<[u8]>>]> {
    let known: std::collections::HashSet<&String> = r.symbols.iter().collect();
    let text = |symbol: &String| -> Box<[u8]> { symbol.as_bytes().into() };
    let default = r.default.map(|position| text(&r.symbols[position]));
    let read = |symbol| if known.contains(symbol) { Some(text(symbol)) } else { default.clone() };
    w.symbols.iter().map(read).collect()
}

/// The step for a pair without types inside; `None` when the column is of another kind.
fn scalar(w: &Node, r: &Node, store: &Store) -> Option<Step> {
    if let Some(Logical::Decimal { precision, scale }) = r.logical {
        let carrier = match &w.shape {
            Shape::Fixed(fixed) => Carrier::Fixed(fixed.size as u32),
            _ => Carrier::Bytes,
        };
        return match *store {
            Store::I128(to) => Some(Step::Decimal128 { to, precision: precision as u8, carrier }),
            Store::I256(to) => Some(Step::Decimal256 { to, precision: precision as u8, carrier }),
            Store::Bytes(to) => {
                Some(Step::LongDecimal { to, precision: precision as u32, scale: scale as u32, carrier })
            }
            _ => None,
        };
    }
    Some(match (&w.shape, r.logical, store) {
        (Shape::Null, _, Store::Null(to)) => Step::Null { to: *to },
        (Shape::Boolean, _, Store::Boolean(to)) => Step::Boolean { to: *to },
        (Shape::Int, _, Store::TimeMillis(to)) => Step::TimeMillis { to: *to },
        (Shape::Int, _, Store::I32(to)) => Step::Int { to: *to },
        (Shape::Int | Shape::Long, _, Store::TimeMicros(to)) => Step::TimeMicros { to: *to },
        (Shape::Int | Shape::Long, _, Store::FlooredMicros(to)) => {
            Step::FlooredMicros { to: *to, narrow: w.shape == Shape::Int }
        }
        (Shape::Int, _, Store::I64(to)) => Step::IntToLong { to: *to },
        (Shape::Int, _, Store::F32(to)) => Step::IntToFloat { to: *to },
        (Shape::Int, _, Store::F64(to)) => Step::IntToDouble { to: *to },
        (Shape::Long, _, Store::I64(to)) => Step::Long { to: *to },
        (Shape::Long, _, Store::F32(to)) => Step::LongToFloat { to: *to },
        (Shape::Long, _, Store::F64(to)) => Step::LongToDouble { to: *to },
        (Shape::Float, _, Store::F32(to)) => Step::Float { to: *to },
        (Shape::Float, _, Store::F64(to)) => Step::FloatToDouble { to: *to },
        (Shape::Double, _, Store::F64(to)) => Step::Double { to: *to },
        (Shape::Bytes, Some(Logical::BigDecimal), Store::Bytes(to)) => Step::BigDecimal { to: *to },
        (Shape::Bytes | Shape::String, _, Store::Bytes(to)) => match r.shape {
            Shape::String => Step::Text { to: *to },
            _ => Step::Bytes { to: *to },
        },
        (Shape::Bytes | Shape::String, Some(Logical::Uuid), Store::Fixed(to)) => Step::UuidOfText { to: *to },
        (Shape::Fixed(_), Some(Logical::Uuid), Store::Bytes(to)) => Step::Uuid { to: *to },
        (Shape::Fixed(_), Some(Logical::Duration), Store::Duration(to)) => Step::Duration { to: *to },
        (Shape::Fixed(fixed), _, Store::Fixed(to)) => Step::Fixed { to: *to, size: fixed.size as u32 },
        (Shape::Fixed(fixed), _, Store::Bytes(to)) => Step::FixedAsBytes { to: *to, size: fixed.size as u32 },
        _ => return None,
    })
}

/// For each type the fewest bytes a value of it takes; too low, never too high, for types nested very deeply or in
/// circles.
fn min_bytes(schema: &AvroSchema) -> Vec<u64> {
    let mut known = vec![None; schema.node_count()];
    for id in schema.ids() {
        fewest(schema, id, &mut known, 0);
    }
    known.into_iter().map(|bytes| bytes.unwrap_or(0)).collect()
}

fn fewest(schema: &AvroSchema, id: NodeId, known: &mut [Option<u64>], depth: usize) -> u64 {
    if let Some(bytes) = known[id.index()] {
        return bytes;
    }
    if depth == 64 {
        return 0;
    }
    // Holds while the type is looked at from within itself.
    known[id.index()] = Some(0);
    let bytes = match &schema.node(id).shape {
        Shape::Null => 0,
        Shape::Float => 4,
        Shape::Double => 8,
        Shape::Fixed(fixed) => fixed.size as u64,
        Shape::Union(branches) => {
            let branches = branches.iter().map(|branch| fewest(schema, *branch, known, depth + 1));
            branches.min().unwrap_or(0).saturating_add(1)
        }
        Shape::Record(record) => {
            let fields = record.fields.iter().map(|field| fewest(schema, field.node, known, depth + 1));
            fields.fold(0, u64::saturating_add)
        }
        _ => 1,
    };
    // Far beyond any datum, and safe to add to.
    let bytes = bytes.min(u64::from(u32::MAX));
    known[id.index()] = Some(bytes);
    bytes
}
