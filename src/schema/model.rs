//! Owns the model of a parsed Avro schema: an arena of nodes, so that a type may refer to itself.
//! Does not own parsing ([`super::parse`]) or what a schema becomes in Arrow ([`super::columns`]).

use std::fmt;

/// A parsed Avro schema (Avro 1.12 specification), its named types resolved. Immutable.
#[derive(Clone, Debug)]
pub struct AvroSchema {
    pub(super) nodes: Vec<Node>,
    pub(super) root: NodeId,
}

/// Number of a type in its [`AvroSchema`]; meaningless in another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub(super) u32);

/// One type of a schema.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// What is on the wire.
    pub shape: Shape,
    /// What it means; only combinations that the specification allows for the shape.
    pub logical: Option<Logical>,
}

/// The encoding of a type.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// Zero bytes.
    Null,
    /// One byte.
    Boolean,
    /// Zig-zag varint of at most 5 bytes.
    Int,
    /// Zig-zag varint of at most 10 bytes.
    Long,
    /// Four bytes, little endian.
    Float,
    /// Eight bytes, little endian.
    Double,
    /// Length and bytes.
    Bytes,
    /// Length and UTF-8.
    String,
    /// Blocks of items.
    Array(NodeId),
    /// Blocks of string keys with values.
    Map(NodeId),
    /// Branch number and value; no branch is a union, and without any there is no value.
    Union(Vec<NodeId>),
    /// Fields one after the other.
    Record(RecordType),
    /// Symbol number.
    Enum(EnumType),
    /// Bytes of a fixed number.
    Fixed(FixedType),
}

/// A `record` (or `error`) type.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordType {
    /// Full name.
    pub name: Name,
    /// Full names it may have been written under.
    pub aliases: Vec<Name>,
    /// Fields in writing order; names are unique.
    pub fields: Vec<RecordField>,
}

/// A field of a record.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordField {
    /// Name as in the schema.
    pub name: String,
    /// Names it may have been written under.
    pub aliases: Vec<String>,
    /// Type of its values.
    pub node: NodeId,
    /// Default as in the schema; looked at only when it is needed.
    pub default: Option<serde_json::Value>,
}

/// An `enum` type.
#[derive(Clone, Debug, PartialEq)]
pub struct EnumType {
    /// Full name.
    pub name: Name,
    /// Full names it may have been written under.
    pub aliases: Vec<Name>,
    /// Symbols in order, each once; without any there is no value.
    pub symbols: Vec<String>,
    /// Position of the symbol that stands for those the reader does not know.
    pub default: Option<usize>,
}

/// A `fixed` type.
#[derive(Clone, Debug, PartialEq)]
pub struct FixedType {
    /// Full name.
    pub name: Name,
    /// Full names it may have been written under.
    pub aliases: Vec<Name>,
    /// Bytes of each value; at most `i32::MAX`.
    pub size: usize,
}

/// The logical types of the specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Logical {
    /// On bytes or fixed: two's complement big-endian unscaled value.
    Decimal {
        /// Digits, at least 1.
        precision: usize,
        /// Digits after the point, at most `precision`.
        scale: usize,
    },
    /// On bytes: unscaled value and scale, each value its own.
    BigDecimal,
    /// On string or fixed(16).
    Uuid,
    /// On int: days since 1970-01-01.
    Date,
    /// On int: since midnight.
    TimeMillis,
    /// On long: since midnight.
    TimeMicros,
    /// On long: instant since the epoch, UTC.
    Timestamp(TimeUnit),
    /// On long: wall clock of no stated zone, since 1970-01-01T00:00.
    LocalTimestamp(TimeUnit),
    /// On fixed(12): months, days and milliseconds, each 32 bits unsigned, little endian.
    Duration,
}

impl fmt::Display for Logical {
    /// As the specification writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = |unit: &TimeUnit| match unit {
            TimeUnit::Millis => "millis",
            TimeUnit::Micros => "micros",
            TimeUnit::Nanos => "nanos",
        };
        match self {
            Self::Decimal { precision, scale } => write!(f, "decimal({precision}, {scale})"),
            Self::BigDecimal => f.write_str("big-decimal"),
            Self::Uuid => f.write_str("uuid"),
            Self::Date => f.write_str("date"),
            Self::TimeMillis => f.write_str("time-millis"),
            Self::TimeMicros => f.write_str("time-micros"),
            Self::Timestamp(of) => write!(f, "timestamp-{}", unit(of)),
            Self::LocalTimestamp(of) => write!(f, "local-timestamp-{}", unit(of)),
            Self::Duration => f.write_str("duration"),
        }
    }
}

/// Unit of a timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeUnit {
    /// 10⁻³ s.
    Millis,
    /// 10⁻⁶ s.
    Micros,
    /// 10⁻⁹ s.
    Nanos,
}

/// Full name of a named type, `namespace.name` or `name`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Name(pub(super) String);

impl AvroSchema {
    /// The type of a whole datum.
    #[must_use]
    pub fn root(&self) -> NodeId {
        self.root
    }

    /// The type with this number.
    ///
    /// # Panics
    /// When `id` is of another, larger schema.
    #[must_use]
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0 as usize]
    }

    /// How many types there are; numbers run below it.
    #[must_use]
    pub fn node_count(&self) -> usize {
        self.nodes.len()
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = NodeId> + use<> {
        (0..self.nodes.len() as u32).map(NodeId)
    }
}

impl NodeId {
    /// Position for tables with one entry a node.
    #[must_use]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl Node {
    pub(super) fn null() -> Self {
        Self { shape: Shape::Null, logical: None }
    }

    /// Full name and aliases of a named type.
    #[must_use]
    pub fn names(&self) -> Option<(&Name, &[Name])> {
        match &self.shape {
            Shape::Record(RecordType { name, aliases, .. })
            | Shape::Enum(EnumType { name, aliases, .. })
            | Shape::Fixed(FixedType { name, aliases, .. }) => Some((name, aliases)),
            _ => None,
        }
    }

    /// The word for the type in messages and union members: the short name of a named type, else `long`, `array`, ….
    #[must_use]
    pub fn word(&self) -> &str {
        match self.names() {
            Some((name, _)) => name.unqualified(),
            None => self.shape.word(),
        }
    }
}

impl Shape {
    /// The specification's word for the shape.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Boolean => "boolean",
            Self::Int => "int",
            Self::Long => "long",
            Self::Float => "float",
            Self::Double => "double",
            Self::Bytes => "bytes",
            Self::String => "string",
            Self::Array(_) => "array",
            Self::Map(_) => "map",
            Self::Union(_) => "union",
            Self::Record(_) => "record",
            Self::Enum(_) => "enum",
            Self::Fixed(_) => "fixed",
        }
    }
}

impl Name {
    /// `namespace.name`, or `name` where there is no namespace.
    #[must_use]
    pub fn full(&self) -> &str {
        &self.0
    }

    /// The part after the last dot.
    #[must_use]
    pub fn unqualified(&self) -> &str {
        self.0.rsplit_once('.').map_or(&self.0, |(_, name)| name)
    }

    /// The part before the last dot; empty where there is none.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.0.rsplit_once('.').map_or("", |(namespace, _)| namespace)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
