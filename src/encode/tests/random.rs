//! Owns made-up schemas and rows: every kind of column, nested in every way, with nulls and empty lists where they may be.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, FixedSizeBinaryArray, Float64Array,
    Int32Array, Int64Array, ListArray, MapArray, RecordBatch, StringArray, StructArray,
    Time32MillisecondArray, Time64MicrosecondArray, TimestampMicrosecondArray, TimestampMillisecondArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};

/// Reproducible draws.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(super) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 11) % limit.max(1) as u64) as usize
    }

    pub(super) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }
}

/// A schema of a few columns.
pub(super) fn schema(random: &mut Random) -> SchemaRef {
    let columns = 2 + random.below(5);
    Arc::new(Schema::new((0..columns).map(|at| field(random, &format!("c{at}"), 3)).collect::<Vec<_>>()))
}

fn field(random: &mut Random, name: &str, depth: usize) -> Field {
    let nullable = random.one_in(2);
    let data_type = match random.below(if depth == 0 { 13 } else { 19 }) {
        0 => DataType::Int32,
        1 => DataType::Int64,
        2 => DataType::Binary,
        3 => DataType::Boolean,
        4 => DataType::Date32,
        5 => DataType::Time32(TimeUnit::Millisecond),
        6 => DataType::Time64(TimeUnit::Microsecond),
        7 => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        8 => DataType::Timestamp(TimeUnit::Millisecond, None),
        9 => DataType::Decimal128(random.pick(&[7, 15, 30]), 2),
        10 => DataType::Float64,
        11 => DataType::FixedSizeBinary(4),
        13 | 14 => {
            let members = 1 + random.below(3);
            DataType::Struct((0..members).map(|at| field(random, &format!("m{at}"), depth - 1)).collect())
        }
        15 | 16 => DataType::List(Arc::new(field(random, "element", depth - 1))),
        17 => {
            let parts = Fields::from(vec![
                Field::new("key", DataType::Utf8, false),
                field(random, "value", depth - 1),
            ]);
            DataType::Map(Arc::new(Field::new("key_value", DataType::Struct(parts), false)), false)
        }
        _ => DataType::Utf8,
    };
    Field::new(name, data_type, nullable)
}

/// Rows of a schema, a slice of larger arrays now and then.
pub(super) fn batch(random: &mut Random, schema: &SchemaRef, rows: usize) -> RecordBatch {
    let (before, after) = if random.one_in(3) { (random.below(20), random.below(20)) } else { (0, 0) };
    let arrays = schema.fields().iter().map(|field| array(random, field, before + rows + after)).collect();
    RecordBatch::try_new(schema.clone(), arrays).unwrap().slice(before, rows)
}

fn array(random: &mut Random, field: &Field, len: usize) -> ArrayRef {
    let nulls = nulls(random, field.is_nullable(), len);
    let wide = random.one_in(2);
    let number = |random: &mut Random| {
        let value = if wide { random.below(1 << 40) } else { random.below(9) } as i64;
        if random.one_in(3) { -value } else { value }
    };
    let mut numbers = || (0..len).map(|_| number(random)).collect::<Vec<i64>>();
    match field.data_type() {
        DataType::Int32 => Arc::new(Int32Array::new(narrow(&numbers()).into(), nulls)),
        DataType::Date32 => Arc::new(Date32Array::new(narrow(&numbers()).into(), nulls)),
        DataType::Time32(_) => Arc::new(Time32MillisecondArray::new(narrow(&numbers()).into(), nulls)),
        DataType::Int64 => Arc::new(Int64Array::new(numbers().into(), nulls)),
        DataType::Time64(_) => Arc::new(Time64MicrosecondArray::new(numbers().into(), nulls)),
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            Arc::new(TimestampMicrosecondArray::new(numbers().into(), nulls).with_timezone_opt(zone.clone()))
        }
        DataType::Timestamp(_, zone) => {
            Arc::new(TimestampMillisecondArray::new(numbers().into(), nulls).with_timezone_opt(zone.clone()))
        }
        DataType::Decimal128(precision, scale) => {
            let values: Vec<i128> = numbers().iter().map(|value| i128::from(*value % 10_000_000)).collect();
            Arc::new(
                Decimal128Array::new(values.into(), nulls)
                    .with_precision_and_scale(*precision, *scale)
                    .unwrap(),
            )
        }
        DataType::Float64 => {
            let values: Vec<f64> = numbers().iter().map(|value| *value as f64 / 4.0).collect();
            Arc::new(Float64Array::new(values.into(), nulls))
        }
        DataType::Boolean => {
            Arc::new(BooleanArray::new(numbers().iter().map(|value| value % 2 == 0).collect(), nulls))
        }
        DataType::FixedSizeBinary(size) => {
            let bytes: Vec<u8> = (0..len * *size as usize).map(|_| random.below(3) as u8).collect();
            Arc::new(FixedSizeBinaryArray::new(*size, bytes.into(), nulls))
        }
        DataType::Utf8 => {
            let values: Vec<String> = texts(random, len);
            let values = StringArray::from_iter_values(values);
            Arc::new(StringArray::new(values.offsets().clone(), values.values().clone(), nulls))
        }
        DataType::Binary => {
            let values: Vec<Vec<u8>> =
                texts(random, len).into_iter().map(|text| text.replace('a', "\0").into_bytes()).collect();
            let values = BinaryArray::from_iter_values(values);
            Arc::new(BinaryArray::new(values.offsets().clone(), values.values().clone(), nulls))
        }
        DataType::Struct(members) => Arc::new(structs(random, members, len, nulls)),
        DataType::List(element) => {
            let ends = lists(random, len, nulls.as_ref());
            let values = array(random, element, ends[len] as usize);
            Arc::new(ListArray::new(element.clone(), ends, values, nulls))
        }
        DataType::Map(entry, _) => {
            let ends = lists(random, len, nulls.as_ref());
            let DataType::Struct(parts) = entry.data_type() else { unreachable!() };
            let entries = structs(random, parts, ends[len] as usize, None);
            Arc::new(MapArray::new(entry.clone(), ends, entries, nulls, false))
        }
        other => unreachable!("{other}"),
    }
}

fn structs(random: &mut Random, members: &Fields, len: usize, nulls: Option<NullBuffer>) -> StructArray {
    let arrays = members.iter().map(|member| array(random, member, len)).collect();
    StructArray::new(members.clone(), arrays, nulls)
}

fn narrow(numbers: &[i64]) -> Vec<i32> {
    numbers.iter().map(|number| (*number % (1 << 30)) as i32).collect()
}

fn nulls(random: &mut Random, nullable: bool, len: usize) -> Option<NullBuffer> {
    let rare = random.pick(&[0, 1, 2, 2, 10, 500]);
    (nullable && rare > 0).then(|| (0..len).map(|_| rare > 1 && !random.one_in(rare)).collect())
}

/// Ends of lists: now and then all have elements, now and then a null one has some that nobody sees.
fn lists(random: &mut Random, len: usize, nulls: Option<&NullBuffer>) -> OffsetBuffer<i32> {
    let (fewest, hidden) = (usize::from(random.one_in(2)), random.one_in(3));
    let lengths = (0..len).map(|at| {
        let visible = nulls.is_none_or(|nulls| nulls.is_valid(at));
        if visible || hidden { fewest + random.below(4) } else { 0 }
    });
    OffsetBuffer::from_lengths(lengths.collect::<Vec<_>>())
}

/// Few or many different texts, of lengths around those that are treated differently.
fn texts(random: &mut Random, len: usize) -> Vec<String> {
    let (distinct, longest) = (random.pick(&[1, 7, 300, 1 << 30]), random.pick(&[9, 20, 40, 90, 4000]));
    let longest = if len > 2000 { longest.min(90) } else { longest };
    let letters = ["a", "b", "ß", "字", "\u{10ffff}", "z"];
    let one = |seed: usize| {
        let mut own = Random::new(seed as u64 + 1);
        let mut text = String::new();
        let bytes = own.below(longest + 1);
        while text.len() < bytes {
            text.push_str(if own.one_in(4) { letters[own.below(letters.len())] } else { "a" });
        }
        text
    };
    (0..len).map(|_| one(random.below(distinct))).collect()
}
