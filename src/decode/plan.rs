//! Owns [`DecodePlan`] and the steps it is made of: what to do with each value of a writer schema, in writing order.
//! Does not own how steps come about ([`super::compile`]) or how they are done ([`super::run`]).

use std::ops::Range;
use std::sync::Arc;

use super::batch::BatchBuilder;
use super::buffers::{Fill, Slot};
use super::error::{DecodeError, Fault};
use super::layout::ColumnLayout;
use super::run::Run;
use crate::schema::{AvroSchema, NodeId, SchemaError};

/// How to append datums of one writer schema to batches of one layout. Compiled once, used for every record.
#[derive(Debug)]
pub struct DecodePlan {
    pub(super) layout: Arc<ColumnLayout>,
    pub(super) writer: Arc<AvroSchema>,
    pub(super) root: Step,
    /// Fewest bytes a value of each of the writer's types can take.
    pub(super) min_bytes: Vec<u64>,
}

impl DecodePlan {
    /// Compiles the plan that reads datums of `writer` as values of the layout's reader schema (Avro 1.12, "Schema
    /// Resolution").
    ///
    /// # Errors
    /// [`SchemaError::Incompatible`] when no datum of `writer` could be read, [`SchemaError::Unsupported`] when
    /// resolving unions against unions makes the plan unreasonably large.
    pub fn compile(writer: &Arc<AvroSchema>, layout: &Arc<ColumnLayout>) -> Result<Self, SchemaError> {
        super::compile::compile(writer, layout)
    }

    /// The layout of the batches it appends to.
    #[must_use]
    pub fn layout(&self) -> &Arc<ColumnLayout> {
        &self.layout
    }

    /// The schema of the datums it reads.
    #[must_use]
    pub fn writer(&self) -> &Arc<AvroSchema> {
        &self.writer
    }

    /// Appends `datum` as one row. All of it must be used up. After an error the batch is exactly as before.
    ///
    /// # Errors
    /// [`DecodeError::BatchFull`] when the batch has to be finished first, [`DecodeError::Datum`] when the datum is bad.
    ///
    /// # Panics
    /// When `batch` was made with another layout.
    pub fn decode(&self, batch: &mut BatchBuilder, datum: &[u8]) -> Result<(), DecodeError> {
        assert!(Arc::ptr_eq(&self.layout, &batch.layout), "a plan appends only to batches of its own layout");
        let mut run = Run::new(self, datum);
        match run.datum(&mut batch.buffers) {
            Ok(()) => {
                batch.rows += 1;
                batch.weight_bytes += self.layout.row_bytes() + run.weight_bytes(datum.len());
                Ok(())
            }
            Err(fault) => {
                batch.roll_back();
                Err(run.explain(fault, datum.len(), batch.rows))
            }
        }
    }
}

/// What to do with the next value of a datum. `to` is where it goes.
#[derive(Debug)]
pub(super) enum Step {
    Null {
        to: Slot,
    },
    Boolean {
        to: Slot,
    },
    Int {
        to: Slot,
    },
    IntToLong {
        to: Slot,
    },
    IntToFloat {
        to: Slot,
    },
    IntToDouble {
        to: Slot,
    },
    Long {
        to: Slot,
    },
    LongToFloat {
        to: Slot,
    },
    LongToDouble {
        to: Slot,
    },
    Float {
        to: Slot,
    },
    FloatToDouble {
        to: Slot,
    },
    Double {
        to: Slot,
    },
    Bytes {
        to: Slot,
    },
    Text {
        to: Slot,
    },
    /// The text of each of the writer's symbols; `None` where the reader has neither it nor a default.
    Enum {
        to: Slot,
        symbols: Box<[Option<Box<[u8]>>]>,
    },
    Fixed {
        to: Slot,
        size: u32,
    },
    FixedAsBytes {
        to: Slot,
        size: u32,
    },
    Uuid {
        to: Slot,
    },
    /// Text of a UUID into its 16 bytes.
    UuidOfText {
        to: Slot,
    },
    /// Nanoseconds into microseconds, rounded down.
    FlooredMicros {
        to: Slot,
        /// An int is read rather than a long.
        narrow: bool,
    },
    Decimal128 {
        to: Slot,
        precision: u8,
        carrier: Carrier,
    },
    Decimal256 {
        to: Slot,
        precision: u8,
        carrier: Carrier,
    },
    LongDecimal {
        to: Slot,
        precision: u32,
        scale: u32,
        carrier: Carrier,
    },
    BigDecimal {
        to: Slot,
    },
    Duration {
        to: [Slot; 3],
    },
    TimeMillis {
        to: Slot,
    },
    TimeMicros {
        to: Slot,
    },
    /// The writer's fields in order, then what the writer lacks.
    Struct(Box<Members>),
    Array {
        ends: Slot,
        items: Box<Items>,
    },
    Map {
        ends: Slot,
        keys: Slot,
        items: Box<Items>,
    },
    /// A union of null and one other branch, read into a nullable column.
    Optional {
        null_branch: i64,
        validity: Slot,
        fills: Box<[Fill]>,
        step: Box<Step>,
    },
    /// A branch number of the writer, then that branch.
    Union(Box<[Step]>),
    /// A value for a nullable column.
    Present {
        validity: Slot,
        step: Box<Step>,
    },
    /// A null for a nullable column.
    Absent(Box<[Fill]>),
    /// A value for one member of a union column: `fills` are those of all members, `own` of this one.
    Member {
        fills: Arc<[Fill]>,
        own: Range<u32>,
        validity: Slot,
        step: Box<Step>,
    },
    /// A value that the writer lacks, from a datum made of its default.
    Constant {
        datum: Box<[u8]>,
        step: Box<Step>,
    },
    /// A value that the reader lacks.
    Skip(NodeId),
    /// A branch that cannot be read.
    Fail(Fault),
}

/// What the bytes of a decimal come in.
#[derive(Clone, Copy, Debug)]
pub(super) enum Carrier {
    Bytes,
    Fixed(u32),
}

#[derive(Debug)]
pub(super) struct Members {
    pub(super) steps: Box<[Step]>,
    /// Names of the fields, for messages.
    pub(super) names: Box<[Box<str>]>,
}

#[derive(Debug)]
pub(super) struct Items {
    pub(super) step: Step,
    /// Fewest bytes an item can take, its key included.
    pub(super) min_bytes: u64,
    /// Bytes that each item takes in memory, beside what its own text and items take.
    pub(super) item_bytes: u64,
}
