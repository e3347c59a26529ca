//! Owns what an Avro type becomes as a column, and so the Arrow schema of a reader schema; `docs/types.md` is its
//! table. Does not own how columns are filled ([`crate::decode`]).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, Schema, TimeUnit as ArrowUnit};

use crate::config::settings::{ColumnTypes, NanosAs, TimeAs, UuidAs, WideDecimalAs};

use super::error::SchemaError;
use super::model::{AvroSchema, Logical, NodeId, RecordType, Shape, TimeUnit};

/// Name of the one column of a schema that is not a record.
pub const VALUE_COLUMN: &str = "value";
/// Name of the member that stands in for those of an empty record: Parquet has no group without members.
pub const PLACEHOLDER: &str = "_empty";
/// Column names that belong to record metadata; value columns of these names are renamed.
pub const RESERVED: [&str; 6] = ["_topic", "_partition", "_offset", "_timestamp", "_key", "_headers"];
/// Arrow's name of the extension type that a column of UUIDs has, under the key that fields have for such names.
pub const UUID_EXTENSION: (&str, &str) = ("ARROW:extension:name", "arrow.uuid");
/// Columns of columns. As many as types in a schema text, plus what references add; beyond it stacks are at risk.
const MAX_DEPTH: usize = 128;
/// Columns of a schema, inner ones included. Records used in many places multiply, so the text's size is no bound.
const MAX_COLUMNS: usize = 65_536;
/// Widest fixed kept as such: a null in a fixed column takes the whole width in memory.
const MAX_FIXED_BYTES: usize = 4_096;

/// Choices about columns that the schema does not make.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ColumnOptions {
    /// Whether every top-level column may be null, as rows for tombstones need.
    pub nullable_top_level: bool,
    /// How types are written for which engines disagree.
    pub types: ColumnTypes,
}

/// One column, or a column inside one.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// Name in Arrow and Parquet: the Avro name unless it collided.
    pub name: String,
    /// Name of the field in Avro; of a union's member the branch's word or name.
    pub avro_name: String,
    /// Whether values may be null.
    pub nullable: bool,
    /// What its values are.
    pub kind: ColumnKind,
}

/// What the values of a column are. Each kind but those with columns inside is one Parquet leaf.
#[derive(Clone, Debug, PartialEq)]
pub enum ColumnKind {
    /// Avro null: a boolean column that is always null, as engines stumble over Parquet columns without a type.
    Null,
    /// `Boolean`.
    Boolean,
    /// `Int32`.
    Int32,
    /// `Int64`.
    Int64,
    /// `Float32`.
    Float32,
    /// `Float64`.
    Float64,
    /// `Binary`: bytes, and fixed of 0 or more than 4,096 bytes.
    Binary,
    /// `Utf8`: string, enum symbols, UUIDs, big-decimals, and decimals of more than 76 digits.
    Utf8,
    /// `FixedSizeBinary(16)` of the extension type `arrow.uuid`, which is Parquet's UUID.
    Uuid,
    /// `FixedSizeBinary` of so many bytes.
    FixedBinary(i32),
    /// `Decimal128`.
    Decimal128 {
        /// Digits, 1 to 38.
        precision: u8,
        /// Digits after the point.
        scale: i8,
    },
    /// `Decimal256`.
    Decimal256 {
        /// Digits, 39 to 76.
        precision: u8,
        /// Digits after the point.
        scale: i8,
    },
    /// `Date32`.
    Date,
    /// `Time32`, milliseconds.
    TimeMillis,
    /// `Time64`, microseconds.
    TimeMicros,
    /// `Timestamp`, adjusted to UTC or not.
    Timestamp {
        /// Unit as in Avro.
        unit: TimeUnit,
        /// Whether it is an instant (`UTC`) rather than a wall clock of no zone.
        utc: bool,
    },
    /// `Timestamp`, microseconds, of Avro's nanoseconds: rounded down.
    NanosAsMicros {
        /// Whether it is an instant.
        utc: bool,
    },
    /// `Struct` of `months`, `days` and `milliseconds`, each `Int64`: many engines lack unsigned integers.
    Duration,
    /// `Struct`: the fields of a record in the order of the schema; for an empty record the placeholder.
    Record(Vec<Column>),
    /// `Struct` with one nullable member for each branch of a union that is not null, in order.
    Union(Vec<Column>),
    /// `List`; the column inside is named `element`.
    List(Box<Column>),
    /// `Map` of `key_value` entries with `key` (UTF-8) and the column inside, named `value`.
    Map(Box<Column>),
}

/// The Arrow schema for values of `schema`.
///
/// # Errors
/// As [`columns()`].
pub fn arrow_schema(schema: &AvroSchema, options: ColumnOptions) -> Result<Schema, SchemaError> {
    Ok(Schema::new(columns(schema, options)?.iter().map(Column::field).collect::<Vec<_>>()))
}

/// The columns for values of `schema`: the fields of a record, or one column `value`.
///
/// # Errors
/// [`SchemaError::Unsupported`] when a type contains itself, columns nest deeper than 128, or there are more than
/// 65,536 of them, inner ones counted.
pub fn columns(schema: &AvroSchema, options: ColumnOptions) -> Result<Vec<Column>, SchemaError> {
    let mut mapper = Mapper { schema, types: options.types, path: Vec::new(), within: Vec::new(), count: 0 };
    let root = schema.root();
    let mut columns = match &schema.node(root).shape {
        Shape::Record(record) => {
            mapper.within.push(root);
            mapper.members(record, &RESERVED)?
        }
        _ => vec![mapper.column(VALUE_COLUMN.to_owned(), VALUE_COLUMN, root)?],
    };
    if options.nullable_top_level {
        for column in &mut columns {
            column.nullable = true;
        }
    }
    Ok(columns)
}

/// One column `name` for whole values of `schema`, a struct where it is a record. It may always be null.
///
/// # Errors
/// As [`columns()`].
pub fn whole_column(schema: &AvroSchema, name: &str, options: ColumnOptions) -> Result<Column, SchemaError> {
    let mut mapper = Mapper { schema, types: options.types, path: Vec::new(), within: Vec::new(), count: 0 };
    let column = mapper.column(name.to_owned(), name, schema.root())?;
    Ok(Column { nullable: true, ..column })
}

/// Where `path`, names of fields from the outside in, leads: the index among `columns`, then among the members of each
/// struct on the way. Names are those of Avro; where none has the name, that of the column counts. `None` where nothing has,
/// or the path leads through something without members.
#[must_use]
pub fn place_of(columns: &[Column], path: &[String]) -> Option<Vec<usize>> {
    let (mut members, mut place) = (columns, Vec::with_capacity(path.len()));
    for (level, name) in path.iter().enumerate() {
        let by_field = members.iter().position(|column| column.avro_name == *name);
        let at = by_field.or_else(|| members.iter().position(|column| column.name == *name))?;
        place.push(at);
        members = match &members[at].kind {
            ColumnKind::Record(inner) | ColumnKind::Union(inner) => inner,
            _ if level + 1 == path.len() => break,
            _ => return None,
        };
    }
    (!place.is_empty()).then_some(place)
}

impl Column {
    /// The column as an Arrow field.
    #[must_use]
    pub fn field(&self) -> Field {
        let field = Field::new(&self.name, self.kind.data_type(), self.nullable);
        if self.kind != ColumnKind::Uuid {
            return field;
        }
        let (key, name) = UUID_EXTENSION;
        field.with_metadata([(key.to_owned(), name.to_owned())])
    }
}

impl ColumnKind {
    /// The Arrow type of the column.
    #[must_use]
    pub fn data_type(&self) -> DataType {
        match self {
            Self::Null | Self::Boolean => DataType::Boolean,
            Self::Int32 => DataType::Int32,
            Self::Int64 => DataType::Int64,
            Self::Float32 => DataType::Float32,
            Self::Float64 => DataType::Float64,
            Self::Binary => DataType::Binary,
            Self::Utf8 => DataType::Utf8,
            Self::Uuid => DataType::FixedSizeBinary(16),
            Self::FixedBinary(size) => DataType::FixedSizeBinary(*size),
            Self::Decimal128 { precision, scale } => DataType::Decimal128(*precision, *scale),
            Self::Decimal256 { precision, scale } => DataType::Decimal256(*precision, *scale),
            Self::Date => DataType::Date32,
            Self::TimeMillis => DataType::Time32(ArrowUnit::Millisecond),
            Self::TimeMicros => DataType::Time64(ArrowUnit::Microsecond),
            Self::Timestamp { unit, utc } => {
                let unit = match unit {
                    TimeUnit::Millis => ArrowUnit::Millisecond,
                    TimeUnit::Micros => ArrowUnit::Microsecond,
                    TimeUnit::Nanos => ArrowUnit::Nanosecond,
                };
                DataType::Timestamp(unit, utc.then(|| "UTC".into()))
            }
            Self::NanosAsMicros { utc } => {
                DataType::Timestamp(ArrowUnit::Microsecond, utc.then(|| "UTC".into()))
            }
            Self::Duration => {
                let part = |name: &str| Field::new(name, DataType::Int64, false);
                DataType::Struct(Fields::from(vec![part("months"), part("days"), part("milliseconds")]))
            }
            Self::Record(members) | Self::Union(members) => {
                DataType::Struct(members.iter().map(Column::field).collect())
            }
            Self::List(element) => DataType::List(Arc::new(element.field())),
            Self::Map(value) => {
                let key = Field::new("key", DataType::Utf8, false);
                let entry = DataType::Struct(Fields::from(vec![key, value.field()]));
                DataType::Map(Arc::new(Field::new("key_value", entry, false)), false)
            }
        }
    }
}

struct Mapper<'s> {
    schema: &'s AvroSchema,
    types: ColumnTypes,
    path: Vec<String>,
    /// Records that the path runs through.
    within: Vec<NodeId>,
    count: usize,
}

impl Mapper<'_> {
    fn column(&mut self, name: String, avro_name: &str, id: NodeId) -> Result<Column, SchemaError> {
        self.count += 1;
        if self.path.len() == MAX_DEPTH || self.count > MAX_COLUMNS {
            let reason = if self.count > MAX_COLUMNS {
                format!("more than {MAX_COLUMNS} columns")
            } else {
                format!("columns nest deeper than {MAX_DEPTH}")
            };
            return Err(SchemaError::unsupported(&self.path, reason));
        }
        self.path.push(name.clone());
        let node = self.schema.node(id);
        let (nullable, kind) = match &node.shape {
            Shape::Union(branches) => self.union(branches)?,
            Shape::Null => (true, ColumnKind::Null),
            _ => (false, self.kind(id)?),
        };
        self.path.pop();
        Ok(Column { name, avro_name: avro_name.to_owned(), nullable, kind })
    }

    fn union(&mut self, branches: &[NodeId]) -> Result<(bool, ColumnKind), SchemaError> {
        let is_null = |id: &NodeId| self.schema.node(*id).shape == Shape::Null;
        let values: Vec<NodeId> = branches.iter().copied().filter(|id| !is_null(id)).collect();
        // A union without branches has no values; its column is one of nulls.
        let nullable = values.len() < branches.len() || branches.is_empty();
        let kind = match values[..] {
            [] => ColumnKind::Null,
            [only] => self.kind(only)?,
            _ => {
                let schema = self.schema;
                let words = values.iter().map(|id| schema.node(*id).word());
                let names = distinct_names(words.clone(), &[]);
                let members = names.into_iter().zip(words).zip(&values);
                let members = members.map(|((name, word), id)| self.column(name, word, *id));
                let mut members = members.collect::<Result<Vec<_>, _>>()?;
                for member in &mut members {
                    member.nullable = true;
                }
                ColumnKind::Union(members)
            }
        };
        Ok((nullable, kind))
    }

    fn kind(&mut self, id: NodeId) -> Result<ColumnKind, SchemaError> {
        let node = self.schema.node(id);
        if let Some(logical) = node.logical {
            return Ok(logical_kind(logical, self.types));
        }
        Ok(match &node.shape {
            Shape::Null | Shape::Union(_) => {
                unreachable!("a column's own null or union is taken by the caller")
            }
            Shape::Boolean => ColumnKind::Boolean,
            Shape::Int => ColumnKind::Int32,
            Shape::Long => ColumnKind::Int64,
            Shape::Float => ColumnKind::Float32,
            Shape::Double => ColumnKind::Float64,
            Shape::String | Shape::Enum(_) => ColumnKind::Utf8,
            Shape::Fixed(fixed) if (1..=MAX_FIXED_BYTES).contains(&fixed.size) => {
                ColumnKind::FixedBinary(fixed.size as i32)
            }
            Shape::Bytes | Shape::Fixed(_) => ColumnKind::Binary,
            Shape::Array(items) => {
                ColumnKind::List(Box::new(self.column("element".to_owned(), "element", *items)?))
            }
            Shape::Map(values) => {
                ColumnKind::Map(Box::new(self.column("value".to_owned(), "value", *values)?))
            }
            Shape::Record(record) => {
                if self.within.contains(&id) {
                    let reason = format!(
                        "record {} contains itself, which no Parquet file can hold; read it with a schema that leaves \
                         this field out, or unrolls it (schema.evolution: fixed, schema.reader_schema_file)",
                        record.name
                    );
                    return Err(SchemaError::unsupported(&self.path, reason));
                }
                self.within.push(id);
                let members = self.members(record, &[])?;
                self.within.pop();
                ColumnKind::Record(members)
            }
        })
    }

    fn members(&mut self, record: &RecordType, reserved: &[&str]) -> Result<Vec<Column>, SchemaError> {
        if record.fields.is_empty() {
            self.count += 1;
            let (name, avro_name) = (PLACEHOLDER.to_owned(), PLACEHOLDER.to_owned());
            return Ok(vec![Column { name, avro_name, nullable: true, kind: ColumnKind::Null }]);
        }
        let names = distinct_names(record.fields.iter().map(|field| field.name.as_str()), reserved);
        let columns = names.into_iter().zip(&record.fields);
        columns.map(|(name, field)| self.column(name, &field.name, field.node)).collect()
    }
}

fn logical_kind(logical: Logical, types: ColumnTypes) -> ColumnKind {
    match logical {
        Logical::Decimal { precision, scale } => match precision {
            ..=38 => ColumnKind::Decimal128 { precision: precision as u8, scale: scale as i8 },
            39..=76 if types.wide_decimal == WideDecimalAs::Decimal => {
                ColumnKind::Decimal256 { precision: precision as u8, scale: scale as i8 }
            }
            _ => ColumnKind::Utf8,
        },
        Logical::Uuid if types.uuid == UuidAs::Uuid => ColumnKind::Uuid,
        Logical::BigDecimal | Logical::Uuid => ColumnKind::Utf8,
        Logical::Date => ColumnKind::Date,
        Logical::TimeMillis if types.time == TimeAs::Number => ColumnKind::Int32,
        Logical::TimeMicros if types.time == TimeAs::Number => ColumnKind::Int64,
        Logical::TimeMillis => ColumnKind::TimeMillis,
        Logical::TimeMicros => ColumnKind::TimeMicros,
        Logical::Timestamp(unit) => timestamp(unit, true, types),
        Logical::LocalTimestamp(unit) => timestamp(unit, false, types),
        Logical::Duration => ColumnKind::Duration,
    }
}

fn timestamp(unit: TimeUnit, utc: bool, types: ColumnTypes) -> ColumnKind {
    match (unit, types.timestamp_nanos) {
        (TimeUnit::Nanos, NanosAs::Micros) => ColumnKind::NanosAsMicros { utc },
        (TimeUnit::Nanos, NanosAs::Number) => ColumnKind::Int64,
        _ => ColumnKind::Timestamp { unit, utc },
    }
}

/// Names that differ also where case does not count, as in Hive, Spark and DuckDB. The first of its kind keeps its
/// name; the later ones get `_2`, `_3`, … , passing over names that are there.
fn distinct_names<'n>(names: impl Iterator<Item = &'n str>, reserved: &[&str]) -> Vec<String> {
    let names: Vec<&str> = names.collect();
    let mut taken: HashSet<String> = reserved.iter().map(|name| (*name).to_owned()).collect();
    let first_come: Vec<bool> = names.iter().map(|name| taken.insert(name.to_lowercase())).collect();
    // Numbers below it are taken: with many columns of one name, none is tried twice.
    let mut next: HashMap<String, u32> = HashMap::new();
    let mut rename = |name: &str| {
        let number = next.entry(name.to_lowercase()).or_insert(2);
        loop {
            let candidate = format!("{name}_{number}");
            *number += 1;
            if taken.insert(candidate.to_lowercase()) {
                return candidate;
            }
        }
    };
    let renamed = names.iter().zip(first_come);
    renamed.map(|(name, first)| if first { (*name).to_owned() } else { rename(name) }).collect()
}
