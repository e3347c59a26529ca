//! Owns the hand-over of full buffers to Arrow, without copying values.

use std::mem;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, FixedSizeBinaryArray, ListArray, MapArray, PrimitiveArray,
    RecordBatch, RecordBatchOptions, StringArray, StructArray,
};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Decimal128Type, Decimal256Type, Field, Fields, Float32Type,
    Float64Type, Int32Type, Int64Type, Time32MillisecondType, Time64MicrosecondType, TimeUnit,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
};
use arrow::error::ArrowError;

use super::buffers::{Bits, Buffers, Slot, last};
use super::layout::{ColumnLayout, LayoutNode, Store};

type Made<T> = Result<T, ArrowError>;

/// Empties the buffers into a batch of `rows`; new ones get the capacity that these needed.
pub(super) fn record_batch(layout: &ColumnLayout, buffers: &mut Buffers, rows: usize) -> RecordBatch {
    let mut assembly = Assembly { buffers };
    let fields = layout.schema().fields();
    let columns = assembly.members(fields, layout.columns(), rows);
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    let batch = columns.and_then(|columns| {
        RecordBatch::try_new_with_options(Arc::clone(layout.schema()), columns, &options)
    });
    batch.unwrap_or_else(|error| panic!("columns of a batch do not fit together: {error}"))
}

struct Assembly<'b> {
    buffers: &'b mut Buffers,
}

impl Assembly<'_> {
    fn members(&mut self, fields: &Fields, nodes: &[LayoutNode], len: usize) -> Made<Vec<ArrayRef>> {
        fields.iter().zip(nodes).map(|(field, node)| self.array(field, node, len)).collect()
    }

    fn array(&mut self, field: &Field, node: &LayoutNode, len: usize) -> Made<ArrayRef> {
        let nulls = node.validity.map(|slot| NullBuffer::new(self.bits(slot)));
        let nulls = nulls.filter(|nulls| nulls.null_count() > 0);
        match &node.store {
            Store::Null(slot) => {
                mem::take(&mut self.buffers.nulls[*slot as usize]);
                let absent = NullBuffer::new_null(len);
                Ok(Arc::new(BooleanArray::new(BooleanBuffer::new_unset(len), Some(absent))))
            }
            Store::Boolean(slot) => Ok(Arc::new(BooleanArray::new(self.bits(*slot), nulls))),
            Store::I32(slot) | Store::TimeMillis(slot) => {
                let values = renew(&mut self.buffers.i32s[*slot as usize]);
                match field.data_type() {
                    DataType::Date32 => primitive::<Date32Type>(field, values, nulls),
                    DataType::Time32(_) => primitive::<Time32MillisecondType>(field, values, nulls),
                    _ => primitive::<Int32Type>(field, values, nulls),
                }
            }
            Store::I64(slot) | Store::TimeMicros(slot) | Store::FlooredMicros(slot) => {
                let values = renew(&mut self.buffers.i64s[*slot as usize]);
                match field.data_type() {
                    DataType::Time64(_) => primitive::<Time64MicrosecondType>(field, values, nulls),
                    DataType::Timestamp(TimeUnit::Millisecond, _) => {
                        primitive::<TimestampMillisecondType>(field, values, nulls)
                    }
                    DataType::Timestamp(TimeUnit::Microsecond, _) => {
                        primitive::<TimestampMicrosecondType>(field, values, nulls)
                    }
                    DataType::Timestamp(..) => primitive::<TimestampNanosecondType>(field, values, nulls),
                    _ => primitive::<Int64Type>(field, values, nulls),
                }
            }
            Store::F32(slot) => {
                primitive::<Float32Type>(field, renew(&mut self.buffers.f32s[*slot as usize]), nulls)
            }
            Store::F64(slot) => {
                primitive::<Float64Type>(field, renew(&mut self.buffers.f64s[*slot as usize]), nulls)
            }
            Store::I128(slot) => {
                primitive::<Decimal128Type>(field, renew(&mut self.buffers.i128s[*slot as usize]), nulls)
            }
            Store::I256(slot) => {
                primitive::<Decimal256Type>(field, renew(&mut self.buffers.i256s[*slot as usize]), nulls)
            }
            Store::Bytes(slot) => self.bytes(*slot, field.data_type(), nulls),
            Store::Fixed(slot) => {
                let fixed = &mut self.buffers.fixed[*slot as usize];
                let (size, values) = (fixed.size as i32, renew(&mut fixed.data));
                Ok(Arc::new(FixedSizeBinaryArray::try_new(size, Buffer::from_vec(values), nulls)?))
            }
            Store::Duration(slots) => {
                let DataType::Struct(fields) = field.data_type() else { return Err(misfit(field)) };
                let parts = fields.iter().zip(slots).map(|(part, slot)| {
                    primitive::<Int64Type>(part, renew(&mut self.buffers.i64s[*slot as usize]), None)
                });
                let parts = parts.collect::<Made<Vec<_>>>()?;
                Ok(Arc::new(StructArray::try_new_with_length(fields.clone(), parts, nulls, len)?))
            }
            Store::Struct(members) => {
                let DataType::Struct(fields) = field.data_type() else { return Err(misfit(field)) };
                let parts = self.members(fields, members, len)?;
                Ok(Arc::new(StructArray::try_new_with_length(fields.clone(), parts, nulls, len)?))
            }
            Store::List { ends, element } => {
                let DataType::List(inner) = field.data_type() else { return Err(misfit(field)) };
                let (offsets, items) = self.offsets(*ends);
                let values = self.array(inner, element, items)?;
                Ok(Arc::new(ListArray::try_new(Arc::clone(inner), offsets, values, nulls)?))
            }
            Store::Map { ends, keys, value } => {
                let DataType::Map(entry, ordered) = field.data_type() else { return Err(misfit(field)) };
                let DataType::Struct(parts) = entry.data_type() else { return Err(misfit(field)) };
                let (offsets, items) = self.offsets(*ends);
                let keys = self.bytes(*keys, &DataType::Utf8, None)?;
                let values = self.array(&parts[1], value, items)?;
                let entries = StructArray::try_new(parts.clone(), vec![keys, values], None)?;
                Ok(Arc::new(MapArray::try_new(Arc::clone(entry), offsets, entries, nulls, *ordered)?))
            }
        }
    }

    fn bits(&mut self, slot: Slot) -> BooleanBuffer {
        let bits: &mut Bits = &mut self.buffers.bits[slot as usize];
        let (words, len) = bits.take();
        bits.reserve(len);
        // Words are little endian in memory on every platform that Arrow supports, which is the order of a bitmap.
        BooleanBuffer::new(Buffer::from_vec(words), 0, len)
    }

    fn bytes(&mut self, slot: Slot, data_type: &DataType, nulls: Option<NullBuffer>) -> Made<ArrayRef> {
        let runs = &mut self.buffers.bytes[slot as usize];
        let values = Buffer::from_vec(runs.take_data());
        let offsets = renew_ends(&mut runs.ends);
        Ok(match data_type {
            DataType::Utf8 => Arc::new(StringArray::try_new(offsets, values, nulls)?),
            _ => Arc::new(BinaryArray::try_new(offsets, values, nulls)?),
        })
    }

    fn offsets(&mut self, slot: Slot) -> (OffsetBuffer<i32>, usize) {
        let ends = &mut self.buffers.ends[slot as usize];
        let items = last(ends) as usize;
        (renew_ends(ends), items)
    }
}

fn primitive<T: ArrowPrimitiveType>(
    field: &Field,
    values: Vec<T::Native>,
    nulls: Option<NullBuffer>,
) -> Made<ArrayRef> {
    let array = PrimitiveArray::<T>::try_new(ScalarBuffer::from(values), nulls)?;
    // `with_data_type` panics on a type of another width, which the layout rules out.
    let array = array.with_data_type(field.data_type().clone());
    debug_assert_eq!(array.data_type(), field.data_type());
    Ok(Arc::new(array))
}

fn renew<T>(buffer: &mut Vec<T>) -> Vec<T> {
    let fresh = Vec::with_capacity(buffer.len());
    mem::replace(buffer, fresh)
}

fn renew_ends(ends: &mut Vec<i32>) -> OffsetBuffer<i32> {
    let full = renew(ends);
    ends.push(0);
    OffsetBuffer::new(ScalarBuffer::from(full))
}

fn misfit(field: &Field) -> ArrowError {
    ArrowError::SchemaError(format!("column {} is not laid out as {}", field.name(), field.data_type()))
}
