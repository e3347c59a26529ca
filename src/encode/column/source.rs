//! Owns which columns are encoded here, and reading their values out of Arrow arrays.

use std::ops::Range;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::buffer::{BooleanBuffer, Buffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Decimal128Type, TimeUnit};
use parquet::basic::Type;

/// How the values of a column are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SourceKind {
    /// Text and bytes.
    Bytes,
    /// Numbers, days and times of 32 bits.
    Int32,
    /// Numbers and times of 64 bits.
    Int64,
    /// Decimals that the file keeps in 32 bits.
    Decimal32,
    /// Decimals that the file keeps in 64 bits.
    Decimal64,
    /// True or false.
    Boolean,
}

/// The values of one array.
pub(super) enum Source {
    Bytes { ends: OffsetBuffer<i32>, data: Buffer },
    Int32(ScalarBuffer<i32>),
    Int64(ScalarBuffer<i64>),
    Boolean(BooleanBuffer),
}

/// Values to take from a source, in order.
#[derive(Clone)]
pub(super) enum Places<'a> {
    Run(Range<usize>),
    Listed(&'a [u32]),
}

impl SourceKind {
    /// The kind of a column, if columns like it are encoded here.
    pub(crate) fn of(data_type: &DataType, physical: Type) -> Option<Self> {
        Some(match (data_type, physical) {
            (DataType::Utf8 | DataType::Binary, Type::BYTE_ARRAY) => Self::Bytes,
            (DataType::Int32 | DataType::Date32 | DataType::Time32(TimeUnit::Millisecond), Type::INT32) => {
                Self::Int32
            }
            (DataType::Int64 | DataType::Time64(TimeUnit::Microsecond), Type::INT64) => Self::Int64,
            (DataType::Timestamp(unit, _), Type::INT64) if *unit != TimeUnit::Second => Self::Int64,
            (DataType::Decimal128(_, _), Type::INT32) => Self::Decimal32,
            (DataType::Decimal128(_, _), Type::INT64) => Self::Decimal64,
            (DataType::Boolean, Type::BOOLEAN) => Self::Boolean,
            _ => return None,
        })
    }

    /// The values of an array of the kind.
    pub(super) fn read(self, array: &ArrayRef) -> Source {
        match self {
            Self::Bytes => {
                let (ends, data) = match array.as_string_opt::<i32>() {
                    Some(text) => (text.offsets().clone(), text.values().clone()),
                    None => (
                        array.as_binary::<i32>().offsets().clone(),
                        array.as_binary::<i32>().values().clone(),
                    ),
                };
                Source::Bytes { ends, data }
            }
            Self::Int32 => Source::Int32(numbers(array)),
            Self::Int64 => Source::Int64(numbers(array)),
            Self::Decimal32 => Source::Int32(
                array.as_primitive::<Decimal128Type>().values().iter().map(|value| *value as i32).collect(),
            ),
            Self::Decimal64 => Source::Int64(
                array.as_primitive::<Decimal128Type>().values().iter().map(|value| *value as i64).collect(),
            ),
            Self::Boolean => Source::Boolean(array.as_boolean().values().clone()),
        }
    }
}

fn numbers<T: arrow::datatypes::ArrowNativeType>(array: &ArrayRef) -> ScalarBuffer<T> {
    let data = array.to_data();
    ScalarBuffer::new(data.buffers()[0].clone(), data.offset(), data.len())
}

impl Source {
    /// What the values take without dictionary, bytes; a little too much where there are nulls between them.
    pub(super) fn plain_bytes(&self, places: &Places<'_>) -> usize {
        let count = places.len();
        match self {
            Self::Bytes { ends, .. } => {
                let Some((first, last)) = places.ends() else { return 0 };
                (ends[last + 1] - ends[first]) as usize + count * size_of::<u32>()
            }
            Self::Int32(_) => count * size_of::<i32>(),
            Self::Int64(_) => count * size_of::<i64>(),
            Self::Boolean(_) => count.div_ceil(8),
        }
    }
}

impl Places<'_> {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Run(range) => range.len(),
            Self::Listed(places) => places.len(),
        }
    }

    /// The place of number `at` among them.
    #[inline]
    pub(super) fn get(&self, at: usize) -> usize {
        match self {
            Self::Run(range) => range.start + at,
            Self::Listed(places) => places[at] as usize,
        }
    }

    /// Calls `take` for each.
    #[inline]
    pub(super) fn each(self, mut take: impl FnMut(usize)) {
        match self {
            Self::Run(range) => range.for_each(take),
            Self::Listed(places) => places.iter().for_each(|place| take(*place as usize)),
        }
    }

    /// Calls `take` with at most `len` of them at a time, in order.
    #[inline]
    pub(super) fn pieces(self, len: usize, mut take: impl FnMut(Places<'_>)) {
        match self {
            Self::Run(Range { mut start, end }) => {
                while start < end {
                    let until = end.min(start + len);
                    take(Places::Run(start..until));
                    start = until;
                }
            }
            Self::Listed(places) => places.chunks(len).for_each(|some| take(Places::Listed(some))),
        }
    }

    fn ends(&self) -> Option<(usize, usize)> {
        match self {
            Self::Run(range) => (!range.is_empty()).then(|| (range.start, range.end - 1)),
            Self::Listed(places) => Some((*places.first()? as usize, *places.last()? as usize)),
        }
    }
}
