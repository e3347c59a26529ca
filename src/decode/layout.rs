//! Owns which buffers each column of a reader schema has. Depends on the reader schema alone, so that the plans of
//! several writers append to one batch. Does not own the buffers ([`super::buffers`]).

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};

use super::buffers::{Bits, Buffers, ByteRuns, Fill, FixedBytes, Slot, last};
use crate::schema::{
    AvroSchema, Column, ColumnKind, ColumnOptions, SchemaError, Shape, columns, place_of, whole_column,
};

/// The columns that values of a reader schema make.
#[derive(Debug)]
pub struct ColumnLayout {
    reader: Arc<AvroSchema>,
    described: Vec<Column>,
    schema: SchemaRef,
    /// A struct of the columns.
    pub(super) root: LayoutNode,
    sizes: PoolSizes,
    row_bytes: u64,
    /// The fields of a record are the columns, rather than the whole value being one.
    pub(super) spread: bool,
}

/// Where one column is kept.
#[derive(Debug)]
pub(super) struct LayoutNode {
    /// Its bitmap of values that are there; `None` for a column that is never null.
    pub(super) validity: Option<Slot>,
    pub(super) store: Store,
    /// Columns of a file that it becomes.
    leaves: u32,
    /// Bytes that each value of it takes, null or not, beside those of text and of the items of lists and maps: in the
    /// buffers here, and for its levels when it is encoded.
    pub(super) value_bytes: u32,
}

/// Bytes that each value takes while it is encoded, in each column of the file below it: where it is null or an empty list,
/// and in which list it is.
pub(super) const LEVELS_BYTES: u32 = 4;
/// Bytes that an end of text or of a list takes.
pub(super) const END_BYTES: u32 = 4;

/// The buffers of one column's values.
#[derive(Debug)]
pub(super) enum Store {
    Null(Slot),
    Boolean(Slot),
    I32(Slot),
    I64(Slot),
    /// Like the integers, but of times of day, which end with the day.
    TimeMillis(Slot),
    TimeMicros(Slot),
    /// Microseconds of Avro's nanoseconds.
    FlooredMicros(Slot),
    F32(Slot),
    F64(Slot),
    I128(Slot),
    I256(Slot),
    Bytes(Slot),
    Fixed(Slot),
    Duration([Slot; 3]),
    /// A record, or a union of several branches.
    Struct(Vec<LayoutNode>),
    List {
        ends: Slot,
        element: Box<LayoutNode>,
    },
    Map {
        ends: Slot,
        keys: Slot,
        value: Box<LayoutNode>,
    },
}

#[derive(Debug, Default)]
struct PoolSizes {
    bits: Slot,
    i32s: Slot,
    i64s: Slot,
    f32s: Slot,
    f64s: Slot,
    i128s: Slot,
    i256s: Slot,
    bytes: Slot,
    ends: Slot,
    nulls: Slot,
    fixed: Vec<usize>,
}

impl ColumnLayout {
    /// Lays out the columns for values of `reader`.
    ///
    /// # Errors
    /// As [`columns()`]: [`SchemaError::Unsupported`] when the schema has no columnar form.
    pub fn new(reader: Arc<AvroSchema>, options: ColumnOptions) -> Result<Arc<Self>, SchemaError> {
        let columns = columns(&reader, options)?;
        let spread = matches!(reader.node(reader.root()).shape, Shape::Record(_));
        Ok(Self::of(reader, columns, spread))
    }

    /// Lays out one column `name` for whole values of `reader`, which may be null, as keys may.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn whole(
        reader: Arc<AvroSchema>,
        name: &str,
        options: ColumnOptions,
    ) -> Result<Arc<Self>, SchemaError> {
        let column = whole_column(&reader, name, options)?;
        Ok(Self::of(reader, vec![column], false))
    }

    fn of(reader: Arc<AvroSchema>, columns: Vec<Column>, spread: bool) -> Arc<Self> {
        let mut sizes = PoolSizes::default();
        let nodes: Vec<LayoutNode> = columns.iter().map(|column| sizes.place(column)).collect();
        let row_bytes = nodes.iter().map(|node| u64::from(node.value_bytes)).sum();
        let root = LayoutNode { validity: None, store: Store::Struct(nodes), leaves: 0, value_bytes: 0 };
        let schema = Arc::new(Schema::new(columns.iter().map(Column::field).collect::<Vec<_>>()));
        Arc::new(Self { reader, described: columns, schema, root, sizes, row_bytes, spread })
    }

    /// The Arrow schema of the batches.
    #[must_use]
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The reader schema.
    #[must_use]
    pub fn reader(&self) -> &Arc<AvroSchema> {
        &self.reader
    }

    /// The place of the column that a path of field names leads to, as [`place_of`].
    #[must_use]
    pub fn place_of(&self, path: &[String]) -> Option<Vec<usize>> {
        place_of(&self.described, path)
    }

    /// About what a row takes in memory whose lists and maps are empty, bytes.
    pub(super) fn row_bytes(&self) -> u64 {
        self.row_bytes
    }

    pub(super) fn columns(&self) -> &[LayoutNode] {
        match &self.root.store {
            Store::Struct(columns) => columns,
            _ => &[],
        }
    }

    pub(super) fn buffers(&self) -> Buffers {
        fn pool<T: Clone + Default>(size: Slot) -> Vec<T> {
            vec![T::default(); size as usize]
        }
        let sizes = &self.sizes;
        Buffers {
            bits: pool::<Bits>(sizes.bits),
            i32s: pool(sizes.i32s),
            i64s: pool(sizes.i64s),
            f32s: pool(sizes.f32s),
            f64s: pool(sizes.f64s),
            i128s: pool(sizes.i128s),
            i256s: pool(sizes.i256s),
            bytes: pool::<ByteRuns>(sizes.bytes),
            fixed: sizes.fixed.iter().map(|size| FixedBytes { data: Vec::new(), size: *size }).collect(),
            ends: vec![vec![0]; sizes.ends as usize],
            nulls: pool(sizes.nulls),
        }
    }
}

impl PoolSizes {
    fn place(&mut self, column: &Column) -> LayoutNode {
        // A column of nulls needs no bitmap.
        let nullable = column.nullable && column.kind != ColumnKind::Null;
        let validity = nullable.then(|| next(&mut self.bits));
        let store = self.store(&column.kind);
        let (leaves, bytes) = self.weight(&store);
        LayoutNode { validity, store, leaves, value_bytes: bytes + u32::from(nullable) }
    }

    /// Columns of a file that a store becomes, and the bytes that each of its values takes.
    fn weight(&self, store: &Store) -> (u32, u32) {
        let leaf = |bytes: u32| (1, bytes + LEVELS_BYTES);
        // An empty list stands in every column below it.
        let list = |leaves: u32| (leaves, END_BYTES + leaves * LEVELS_BYTES);
        match store {
            Store::Null(_) => leaf(0),
            Store::Boolean(_) => leaf(1),
            Store::I32(_) | Store::TimeMillis(_) | Store::F32(_) => leaf(4),
            Store::I64(_) | Store::TimeMicros(_) | Store::FlooredMicros(_) | Store::F64(_) => leaf(8),
            Store::I128(_) => leaf(16),
            Store::I256(_) => leaf(32),
            Store::Bytes(_) => leaf(END_BYTES),
            Store::Fixed(slot) => leaf(self.fixed[*slot as usize] as u32),
            Store::Duration(_) => (3, 3 * (8 + LEVELS_BYTES)),
            Store::Struct(members) => members
                .iter()
                .fold((0, 0), |(leaves, bytes), member| (leaves + member.leaves, bytes + member.value_bytes)),
            Store::List { element, .. } => list(element.leaves),
            Store::Map { value, .. } => list(1 + value.leaves),
        }
    }

    fn store(&mut self, kind: &ColumnKind) -> Store {
        match kind {
            ColumnKind::Null => Store::Null(next(&mut self.nulls)),
            ColumnKind::Boolean => Store::Boolean(next(&mut self.bits)),
            ColumnKind::Int32 | ColumnKind::Date => Store::I32(next(&mut self.i32s)),
            ColumnKind::Int64 | ColumnKind::Timestamp { .. } => Store::I64(next(&mut self.i64s)),
            ColumnKind::TimeMillis => Store::TimeMillis(next(&mut self.i32s)),
            ColumnKind::TimeMicros => Store::TimeMicros(next(&mut self.i64s)),
            ColumnKind::NanosAsMicros { .. } => Store::FlooredMicros(next(&mut self.i64s)),
            ColumnKind::Float32 => Store::F32(next(&mut self.f32s)),
            ColumnKind::Float64 => Store::F64(next(&mut self.f64s)),
            ColumnKind::Decimal128 { .. } => Store::I128(next(&mut self.i128s)),
            ColumnKind::Decimal256 { .. } => Store::I256(next(&mut self.i256s)),
            ColumnKind::Binary | ColumnKind::Utf8 => Store::Bytes(next(&mut self.bytes)),
            ColumnKind::Uuid => self.fixed(16),
            ColumnKind::FixedBinary(size) => self.fixed(*size as usize),
            ColumnKind::Duration => {
                Store::Duration([next(&mut self.i64s), next(&mut self.i64s), next(&mut self.i64s)])
            }
            ColumnKind::Record(members) | ColumnKind::Union(members) => {
                Store::Struct(members.iter().map(|member| self.place(member)).collect())
            }
            ColumnKind::List(element) => {
                Store::List { ends: next(&mut self.ends), element: Box::new(self.place(element)) }
            }
            ColumnKind::Map(value) => Store::Map {
                ends: next(&mut self.ends),
                keys: next(&mut self.bytes),
                value: Box::new(self.place(value)),
            },
        }
    }

    fn fixed(&mut self, size: usize) -> Store {
        self.fixed.push(size);
        Store::Fixed(self.fixed.len() as Slot - 1)
    }
}

fn next(size: &mut Slot) -> Slot {
    *size += 1;
    *size - 1
}

impl LayoutNode {
    /// Placeholders for one value of the column, null where it may be.
    pub(super) fn fills(&self) -> Vec<Fill> {
        let mut fills = Vec::new();
        self.add_fills(&mut fills);
        fills
    }

    fn add_fills(&self, fills: &mut Vec<Fill>) {
        fills.extend(self.validity.map(Fill::Bit));
        match &self.store {
            Store::Null(slot) => fills.push(Fill::Null(*slot)),
            Store::Boolean(slot) => fills.push(Fill::Bit(*slot)),
            Store::I32(slot) | Store::TimeMillis(slot) => fills.push(Fill::I32(*slot)),
            Store::I64(slot) | Store::TimeMicros(slot) | Store::FlooredMicros(slot) => {
                fills.push(Fill::I64(*slot));
            }
            Store::F32(slot) => fills.push(Fill::F32(*slot)),
            Store::F64(slot) => fills.push(Fill::F64(*slot)),
            Store::I128(slot) => fills.push(Fill::I128(*slot)),
            Store::I256(slot) => fills.push(Fill::I256(*slot)),
            Store::Bytes(slot) => fills.push(Fill::Bytes(*slot)),
            Store::Fixed(slot) => fills.push(Fill::Fixed(*slot)),
            Store::Duration(slots) => fills.extend(slots.map(Fill::I64)),
            Store::Struct(members) => members.iter().for_each(|member| member.add_fills(fills)),
            Store::List { ends, .. } | Store::Map { ends, .. } => fills.push(Fill::Ends(*ends)),
        }
    }

    /// Cuts the column back to its first `len` values.
    pub(super) fn truncate(&self, len: usize, buffers: &mut Buffers) {
        if let Some(slot) = self.validity {
            buffers.bits[slot as usize].truncate(len);
        }
        match &self.store {
            Store::Null(slot) => buffers.nulls[*slot as usize] = len,
            Store::Boolean(slot) => buffers.bits[*slot as usize].truncate(len),
            Store::I32(slot) | Store::TimeMillis(slot) => buffers.i32s[*slot as usize].truncate(len),
            Store::I64(slot) | Store::TimeMicros(slot) | Store::FlooredMicros(slot) => {
                buffers.i64s[*slot as usize].truncate(len);
            }
            Store::F32(slot) => buffers.f32s[*slot as usize].truncate(len),
            Store::F64(slot) => buffers.f64s[*slot as usize].truncate(len),
            Store::I128(slot) => buffers.i128s[*slot as usize].truncate(len),
            Store::I256(slot) => buffers.i256s[*slot as usize].truncate(len),
            Store::Bytes(slot) => buffers.bytes[*slot as usize].truncate(len),
            Store::Fixed(slot) => {
                let fixed = &mut buffers.fixed[*slot as usize];
                fixed.data.truncate(len * fixed.size);
            }
            Store::Duration(slots) => {
                for slot in slots {
                    buffers.i64s[*slot as usize].truncate(len);
                }
            }
            Store::Struct(members) => members.iter().for_each(|member| member.truncate(len, buffers)),
            Store::List { ends, element } => {
                let items = cut(&mut buffers.ends[*ends as usize], len);
                element.truncate(items, buffers);
            }
            Store::Map { ends, keys, value } => {
                let items = cut(&mut buffers.ends[*ends as usize], len);
                buffers.bytes[*keys as usize].truncate(items);
                value.truncate(items, buffers);
            }
        }
    }
}

fn cut(ends: &mut Vec<i32>, len: usize) -> usize {
    ends.truncate(len + 1);
    last(ends) as usize
}
