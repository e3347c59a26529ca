//! Our plan against the `apache-avro` crate: the same bytes must give the same cells, and bad bytes no row.

use std::collections::HashMap;
use std::sync::Arc;

use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;
use arrow::array::{Array, AsArray};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Decimal256Type, Float32Type, Float64Type, Int32Type, Int64Type,
    Time32MillisecondType, Time64MicrosecondType, TimeUnit as ArrowUnit, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, i256,
};
use serde_json::Value as Json;

use super::random::{self, Random};
use crate::decode::{BatchBuilder, ColumnLayout, DecodePlan};
use crate::schema::{AvroSchema, ColumnOptions, NodeId, Shape};

struct Case {
    /// The oracle's schema.
    oracle: apache_avro::Schema,
    /// The same without logical types: the oracle then writes exactly the bytes that are asked for.
    plain: apache_avro::Schema,
    schema: Arc<AvroSchema>,
    plan: DecodePlan,
    batch: BatchBuilder,
}

impl Case {
    fn new(json: &Json) -> Self {
        Self::read_as(json, json)
    }

    fn read_as(writer: &Json, reader: &Json) -> Self {
        let text = writer.to_string();
        let mut plain = writer.clone();
        strip(&mut plain);
        let schema = Arc::new(AvroSchema::parse(&text, &[]).unwrap());
        let reader = Arc::new(AvroSchema::parse(&reader.to_string(), &[]).unwrap());
        let layout = ColumnLayout::new(reader, ColumnOptions::default()).unwrap();
        Self {
            oracle: apache_avro::Schema::parse_str(&text).unwrap(),
            plain: apache_avro::Schema::parse_str(&plain.to_string()).unwrap(),
            plan: DecodePlan::compile(&schema, &layout).unwrap(),
            batch: BatchBuilder::new(&layout),
            schema,
        }
    }

    /// A random datum; now and then in many small blocks with their sizes in front.
    fn datum(&self, random: &mut Random) -> Vec<u8> {
        let value = random::value(random, &self.schema, self.schema.root());
        let small_blocks = (random.below(3) == 0).then_some(1);
        let writer = GenericDatumWriter::builder(&self.plain).maybe_target_block_size(small_blocks);
        writer.build().unwrap().write_value_to_vec(value).unwrap()
    }

    fn oracle_value(&self, datum: &[u8]) -> Result<Value, apache_avro::Error> {
        let mut rest = datum;
        GenericDatumReader::builder(&self.oracle).build()?.read_value(&mut rest)
    }
}

fn strip(json: &mut Json) {
    match json {
        Json::Object(object) => {
            object.retain(|key, _| key != "logicalType");
            object.values_mut().for_each(strip);
        }
        Json::Array(list) => list.iter_mut().for_each(strip),
        _ => {}
    }
}

#[test]
fn random_datums_decode_as_the_oracle_decodes_them() {
    for seed in 0..400 {
        let mut random = Random::new(seed);
        let json = random::schema(&mut random);
        let mut case = Case::new(&json);
        let datums: Vec<Vec<u8>> = (0..12).map(|_| case.datum(&mut random)).collect();
        for datum in &datums {
            let outcome = case.plan.decode(&mut case.batch, datum);
            assert_eq!(outcome, Ok(()), "seed {seed}: {json}");
        }
        let batch = case.batch.finish();
        assert_eq!(batch.num_rows(), datums.len(), "seed {seed}");
        for (row, datum) in datums.iter().enumerate() {
            let value = case.oracle_value(datum).unwrap();
            check_row(&case, &batch, row, &value, &format!("seed {seed}, row {row}: {json}"));
        }
    }
}

/// Covers rows 46 to 54 of the fault list at random: whatever the bytes, no panic, and a row or nothing.
#[test]
fn fault_46_mutated_datums_leave_no_trace_or_a_true_row() {
    let (mut refused, mut taken) = (0, 0);
    for seed in 0..300 {
        let mut random = Random::new(1_000_000 + seed);
        let json = random::schema(&mut random);
        let mut case = Case::new(&json);
        let good: Vec<Vec<u8>> = (0..4).map(|_| case.datum(&mut random)).collect();
        let mut kept: Vec<Vec<u8>> = Vec::new();
        for _ in 0..40 {
            let bad = random::mutate(&mut random, &random_of(&good, seed));
            match case.plan.decode(&mut case.batch, &bad) {
                Ok(()) => kept.push(bad),
                Err(error) => {
                    assert_ne!(error.kind(), "batch_full");
                    refused += 1;
                }
            }
            let next = random.pick(&good);
            case.plan.decode(&mut case.batch, &next).unwrap();
            kept.push(next);
        }
        let batch = case.batch.finish();
        for datum in &kept {
            case.plan.decode(&mut case.batch, datum).unwrap();
        }
        assert_eq!(batch, case.batch.finish(), "seed {seed}: {json}");
        for (row, datum) in kept.iter().enumerate() {
            // The oracle is stricter with UUIDs.
            if let Ok(value) = case.oracle_value(datum) {
                taken += 1;
                check_row(&case, &batch, row, &value, &format!("seed {seed}, row {row}: {json}"));
            } else {
                assert!(json.to_string().contains("uuid"), "seed {seed}, row {row}: {json}");
            }
        }
    }
    assert!(refused > 1_000 && taken > 1_000, "{refused} refused, {taken} taken: the mutations prove little");
}

/// The oracle reads with the writer's schema here: resolving, it takes any record for any other with the same fields.
#[test]
fn random_datums_read_with_another_schema_keep_what_both_have() {
    let mut dropped = 0;
    for seed in 0..300 {
        let mut random = Random::new(2_000_000 + seed);
        let writer = random::schema(&mut random);
        let reader = random::evolve(&mut random, &writer);
        let mut case = Case::read_as(&writer, &reader);
        let fields = |json: &Json| json["fields"].as_array().unwrap().len();
        dropped += usize::from(fields(&reader) < fields(&writer));
        let datums: Vec<Vec<u8>> = (0..6).map(|_| case.datum(&mut random)).collect();
        for datum in &datums {
            assert_eq!(case.plan.decode(&mut case.batch, datum), Ok(()), "seed {seed}: {writer} as {reader}");
        }
        let batch = case.batch.finish();
        for (row, datum) in datums.iter().enumerate() {
            let value = project(case.oracle_value(datum).unwrap(), &reader);
            check_row(&case, &batch, row, &value, &format!("seed {seed}, row {row}: {writer} as {reader}"));
        }
    }
    assert!(dropped > 50, "fields were skipped in {dropped} schemas only");
}

/// A record's value as [`random::evolve`] has changed its schema.
fn project(value: Value, reader: &Json) -> Value {
    let Value::Record(fields) = value else { panic!("not a record") };
    let mut fields: HashMap<String, Value> = fields.into_iter().collect();
    fields.insert("n1".into(), Value::Union(0, Box::new(Value::Null)));
    let texts = ["a", "é"].map(|text| Value::String(text.into()));
    fields.insert("n2".into(), Value::Array(texts.into()));
    let kept = reader["fields"].as_array().unwrap().iter().map(|field| {
        let name = field["name"].as_str().unwrap().to_owned();
        let value = match (fields.remove(&name).unwrap(), &field["type"]) {
            (value @ Value::Union(..), _) => value,
            (value, Json::Array(_)) => Value::Union(1, Box::new(value)),
            (Value::Float(value), ty) if ty == "double" => Value::Double(value.into()),
            (value, _) => value,
        };
        (name, value)
    });
    Value::Record(kept.collect())
}

/// Parquet must hold whatever schemas make: placeholders, empty types, unions, maps of everything.
#[test]
fn fault_61_random_batches_go_through_parquet() {
    use parquet::arrow::ArrowWriter;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

    for seed in 0..150 {
        let mut random = Random::new(3_000_000 + seed);
        let json = random::schema(&mut random);
        let mut case = Case::new(&json);
        for _ in 0..8 {
            let datum = case.datum(&mut random);
            case.plan.decode(&mut case.batch, &datum).unwrap();
        }
        let batch = case.batch.finish();
        let mut file = Vec::new();
        let mut writer = ArrowWriter::try_new(&mut file, batch.schema(), None).unwrap();
        writer.write(&batch).unwrap_or_else(|error| panic!("seed {seed}: {error}: {json}"));
        writer.close().unwrap();
        let reader =
            ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(file)).unwrap().build().unwrap();
        let read: Vec<_> = reader.map(Result::unwrap).collect();
        assert_eq!(read.len(), 1, "seed {seed}");
        assert_eq!(read[0].columns(), batch.columns(), "seed {seed}: {json}");
    }
}

fn random_of(good: &[Vec<u8>], seed: u64) -> Vec<u8> {
    good[seed as usize % good.len()].clone()
}

fn check_row(case: &Case, batch: &arrow::array::RecordBatch, row: usize, value: &Value, context: &str) {
    let Value::Record(fields) = value else { panic!("{context}: not a record") };
    let reader = case.plan.layout().reader();
    let Shape::Record(record) = &reader.node(reader.root()).shape else { panic!("{context}") };
    for ((field, (name, value)), column) in record.fields.iter().zip(fields).zip(batch.columns()) {
        check(reader, field.node, column, row, value, &format!("{name} of {context}"));
    }
}

fn check(schema: &AvroSchema, node: NodeId, array: &dyn Array, row: usize, value: &Value, context: &str) {
    if let Value::Union(index, value) = value {
        let Shape::Union(branches) = &schema.node(node).shape else { panic!("{context}: no union") };
        let branch = branches[*index as usize];
        let is_null = |id: &NodeId| schema.node(*id).shape == Shape::Null;
        if is_null(&branch) {
            assert!(array.is_null(row), "{context}: not null");
            return;
        }
        assert!(array.is_valid(row), "{context}: null");
        if branches.iter().filter(|id| !is_null(id)).count() == 1 {
            return check(schema, branch, array, row, value, context);
        }
        let place = branches.iter().filter(|id| !is_null(id)).position(|id| *id == branch).unwrap();
        for (member, column) in array.as_struct().columns().iter().enumerate() {
            assert_eq!(column.is_valid(row), member == place, "{context}: member {member}");
        }
        return check(schema, branch, array.as_struct().column(place), row, value, context);
    }
    match value {
        Value::Array(items) => {
            let Shape::Array(item) = schema.node(node).shape else { panic!("{context}: no array") };
            let list = array.as_list::<i32>().value(row);
            assert_eq!(list.len(), items.len(), "{context}");
            for (index, value) in items.iter().enumerate() {
                check(schema, item, &list, index, value, context);
            }
        }
        Value::Map(entries) => {
            let Shape::Map(item) = schema.node(node).shape else { panic!("{context}: no map") };
            let found = array.as_map().value(row);
            let keys = found.column(0).as_string::<i32>();
            // The oracle keeps the last of equal keys.
            let places: HashMap<&str, usize> =
                (0..found.len()).map(|index| (keys.value(index), index)).collect();
            assert_eq!(places.len(), entries.len(), "{context}");
            for (key, value) in entries {
                check(schema, item, found.column(1), places[key.as_str()], value, context);
            }
        }
        Value::Record(fields) => {
            let Shape::Record(record) = &schema.node(node).shape else { panic!("{context}: no record") };
            assert!(array.is_valid(row), "{context}");
            if fields.is_empty() {
                assert!(array.as_struct().column(0).is_null(row), "{context}: placeholder");
            }
            for ((field, (name, value)), column) in
                record.fields.iter().zip(fields).zip(array.as_struct().columns())
            {
                check(schema, field.node, column, row, value, &format!("{name}.{context}"));
            }
        }
        Value::Uuid(uuid) => {
            // The text of a string is kept as it was written, which may be in another case.
            let text = array.as_string::<i32>().value(row);
            assert_eq!(apache_avro::Uuid::parse_str(text).as_ref(), Ok(uuid), "{context}");
        }
        value => assert_eq!(cell(array, row), expected(value), "{context}"),
    }
}

/// A scalar in a form that both sides can be brought to. Floats by their bits, so that NaN equals itself.
#[derive(Debug, PartialEq)]
enum Cell {
    Null,
    Integer(i64),
    Bits(u64),
    Bytes(Vec<u8>),
    Wide(i256),
    Parts([i64; 3]),
}

fn expected(value: &Value) -> Cell {
    match value {
        Value::Null => Cell::Null,
        Value::Boolean(value) => Cell::Integer((*value).into()),
        Value::Int(value) | Value::Date(value) | Value::TimeMillis(value) => Cell::Integer((*value).into()),
        Value::Long(value)
        | Value::TimeMicros(value)
        | Value::TimestampMillis(value)
        | Value::TimestampMicros(value)
        | Value::TimestampNanos(value)
        | Value::LocalTimestampMillis(value)
        | Value::LocalTimestampMicros(value)
        | Value::LocalTimestampNanos(value) => Cell::Integer(*value),
        Value::Float(value) => Cell::Bits(value.to_bits().into()),
        Value::Double(value) => Cell::Bits(value.to_bits()),
        Value::Bytes(value) | Value::Fixed(_, value) => Cell::Bytes(value.clone()),
        Value::String(value) | Value::Enum(_, value) => Cell::Bytes(value.clone().into_bytes()),
        Value::Decimal(value) => {
            let bytes: Vec<u8> = value.clone().try_into().unwrap();
            let sign = if bytes.first().is_some_and(|first| first & 0x80 != 0) { 0xFF } else { 0 };
            let mut wide = vec![sign; 32];
            wide.extend(bytes);
            Cell::Wide(i256::from_be_bytes(wide[wide.len() - 32..].try_into().unwrap()))
        }
        Value::Duration(value) => {
            let raw: [u8; 12] = (*value).into();
            let part = |at: usize| u32::from_le_bytes(raw[at..at + 4].try_into().unwrap()).into();
            Cell::Parts([part(0), part(4), part(8)])
        }
        other => panic!("no scalar: {other:?}"),
    }
}

fn cell(array: &dyn Array, row: usize) -> Cell {
    if array.is_null(row) {
        return Cell::Null;
    }
    match array.data_type() {
        DataType::Boolean => Cell::Integer(array.as_boolean().value(row).into()),
        DataType::Int32 => Cell::Integer(array.as_primitive::<Int32Type>().value(row).into()),
        DataType::Date32 => Cell::Integer(array.as_primitive::<Date32Type>().value(row).into()),
        DataType::Time32(_) => Cell::Integer(array.as_primitive::<Time32MillisecondType>().value(row).into()),
        DataType::Int64 => Cell::Integer(array.as_primitive::<Int64Type>().value(row)),
        DataType::Time64(_) => Cell::Integer(array.as_primitive::<Time64MicrosecondType>().value(row)),
        DataType::Timestamp(unit, _) => Cell::Integer(match unit {
            ArrowUnit::Millisecond => array.as_primitive::<TimestampMillisecondType>().value(row),
            ArrowUnit::Microsecond => array.as_primitive::<TimestampMicrosecondType>().value(row),
            _ => array.as_primitive::<TimestampNanosecondType>().value(row),
        }),
        DataType::Float32 => Cell::Bits(array.as_primitive::<Float32Type>().value(row).to_bits().into()),
        DataType::Float64 => Cell::Bits(array.as_primitive::<Float64Type>().value(row).to_bits()),
        DataType::Binary => Cell::Bytes(array.as_binary::<i32>().value(row).to_vec()),
        DataType::FixedSizeBinary(_) => Cell::Bytes(array.as_fixed_size_binary().value(row).to_vec()),
        DataType::Utf8 => Cell::Bytes(array.as_string::<i32>().value(row).as_bytes().to_vec()),
        DataType::Decimal128(..) => {
            Cell::Wide(i256::from_i128(array.as_primitive::<Decimal128Type>().value(row)))
        }
        DataType::Decimal256(..) => Cell::Wide(array.as_primitive::<Decimal256Type>().value(row)),
        DataType::Struct(_) => {
            let part = |at: usize| array.as_struct().column(at).as_primitive::<Int64Type>().value(row);
            Cell::Parts([part(0), part(1), part(2)])
        }
        other => panic!("no scalar: {other}"),
    }
}
