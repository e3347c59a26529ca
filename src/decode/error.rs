//! Owns what can be wrong with a datum. Does not own what is done about it.

use std::fmt;

use crate::error::{Failure, Stage};

/// Why a datum was not appended. The batch is as it was before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// The batch cannot take this row, but an empty one may: finish the batch and try again.
    BatchFull,
    /// The datum is not one of its writer schema, or no value of the reader schema.
    Datum {
        /// What is wrong.
        fault: Fault,
        /// Field where it was found, `a.b.element`; empty for the datum as a whole.
        path: String,
        /// Bytes of the datum read before it was found.
        position: usize,
    },
}

/// What is wrong with a datum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It ends inside a value.
    Truncated,
    /// It goes on after the last value.
    TrailingBytes,
    /// A varint of more than 5 (int) or 10 (long) bytes, or beyond the type's range.
    OverlongVarint,
    /// A boolean that is neither 0 nor 1.
    BadBoolean,
    /// A length or size below zero.
    NegativeLength,
    /// A length or count beyond what the rest of the datum can hold.
    LengthBeyondDatum,
    /// A block of items that does not take the bytes it says.
    BlockSizeMismatch,
    /// A string that is not UTF-8.
    BadUtf8,
    /// A branch number that the writer's union lacks.
    BadUnionIndex,
    /// A symbol number that the writer's enum lacks.
    BadEnumIndex,
    /// A symbol that the reader's enum lacks, without a default.
    UnknownSymbol,
    /// A branch of the writer's union that the reader schema cannot take.
    UnreadableBranch,
    /// More digits than the decimal's precision, or a big-decimal beyond 1,024 bytes.
    DecimalOverflow,
    /// A time of day below zero or of 24 hours and more.
    TimeOutOfRange,
    /// Text that is no UUID, where a column of UUIDs is asked for.
    BadUuid,
    /// Values nest deeper than 128 levels.
    TooDeep,
    /// Items that would take more than 16 MiB of memory and 256 bytes more for each byte of the datum.
    TooManyItems,
    /// A row too large for any batch.
    TooLarge,
    /// Not a fault of the datum: the batch's offsets have no room left. Becomes [`DecodeError::BatchFull`].
    #[doc(hidden)]
    NoRoom,
}

impl Fault {
    fn word_and_reason(self) -> (&'static str, &'static str) {
        match self {
            Self::Truncated => ("truncated", "the datum ends inside a value"),
            Self::TrailingBytes => {
                ("trailing_bytes", "bytes are left after the last value; was it written with another schema?")
            }
            Self::OverlongVarint => ("overlong_varint", "an integer takes too many bytes"),
            Self::BadBoolean => ("bad_boolean", "a boolean is neither 0 nor 1"),
            Self::NegativeLength => ("negative_length", "a length is negative"),
            Self::LengthBeyondDatum => ("length_beyond_datum", "a length goes beyond the end of the datum"),
            Self::BlockSizeMismatch => ("block_size_mismatch", "a block does not take the bytes it says"),
            Self::BadUtf8 => ("bad_utf8", "a string is not valid UTF-8"),
            Self::BadUnionIndex => ("bad_union_index", "the schema's union has no branch of this number"),
            Self::BadEnumIndex => ("bad_enum_index", "the schema's enum has no symbol of this number"),
            Self::UnknownSymbol => {
                ("unknown_symbol", "the reader schema's enum lacks the symbol and has no default")
            }
            Self::UnreadableBranch => {
                ("unreadable_branch", "the reader schema cannot take this branch of the union")
            }
            Self::DecimalOverflow => ("decimal_overflow", "a decimal has more digits than its type allows"),
            Self::TimeOutOfRange => ("time_out_of_range", "a time of day is not within 24 hours"),
            Self::BadUuid => {
                ("bad_uuid", "a text is no UUID of 36 characters, as `columns.uuid: uuid` needs")
            }
            Self::TooDeep => ("too_deep", "values nest too deeply"),
            Self::TooManyItems => (
                "too_many_items",
                "items of arrays and maps would take more memory than 16 MiB and 256 times the size of the datum",
            ),
            Self::TooLarge => ("too_large", "the row is too large for a batch"),
            Self::NoRoom => ("no_room", "the batch has no room left"),
        }
    }
}

impl DecodeError {
    /// Short constant word for metrics.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::BatchFull => "batch_full",
            Self::Datum { fault, .. } => fault.word_and_reason().0,
        }
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BatchFull => f.write_str("the batch is full; finish it and decode the record again"),
            Self::Datum { fault, path, position } => {
                let (_, reason) = fault.word_and_reason();
                let of = if path.is_empty() { "" } else { " of field " };
                write!(f, "{reason} (byte {position} of the datum{of}{path})")
            }
        }
    }
}

impl std::error::Error for DecodeError {}

/// A datum that cannot be decoded is poison. [`DecodeError::BatchFull`] is for the caller to act on; it should not
/// get here.
impl From<DecodeError> for Failure {
    fn from(error: DecodeError) -> Self {
        Self::poison(Stage::Decode, error.kind(), error.to_string())
    }
}
