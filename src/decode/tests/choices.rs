//! How types are written for which engines disagree: the same values in other columns.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Int32Type, Int64Type, TimestampMicrosecondType};

use super::{schema, varint};
use crate::config::settings::{ColumnTypes, NanosAs, TimeAs, UuidAs, WideDecimalAs};
use crate::decode::{BatchBuilder, ColumnLayout, DecodeError, DecodePlan};
use crate::schema::ColumnOptions;

const ALL: ColumnTypes = ColumnTypes {
    timestamp_nanos: NanosAs::Micros,
    time: TimeAs::Number,
    wide_decimal: WideDecimalAs::Text,
    uuid: UuidAs::Uuid,
};
const UUID: &[u8] = b"00112233-4455-6677-8899-AABBCCDDEEFF";
const UUID_BYTES: [u8; 16] =
    [0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xAA, 0xBB, 0xCC, 0xDD, 0xEE, 0xFF];

fn record(ty: &str) -> String {
    format!(r#"{{"type":"record","name":"R","fields":[{{"name":"f","type":{ty}}}]}}"#)
}

/// Datums of a writer's field in the column that `types` makes of a reader's.
fn read(
    types: ColumnTypes,
    writer: &str,
    reader: &str,
    datums: &[Vec<u8>],
) -> Result<RecordBatch, DecodeError> {
    let options = ColumnOptions { types, ..ColumnOptions::default() };
    let layout = ColumnLayout::new(schema(&record(reader)), options).unwrap();
    let plan = DecodePlan::compile(&schema(&record(writer)), &layout).unwrap();
    let mut batch = BatchBuilder::new(&layout);
    datums.iter().try_for_each(|datum| plan.decode(&mut batch, datum))?;
    Ok(batch.finish())
}

fn kind(types: ColumnTypes, ty: &str, datum: Vec<u8>) -> &'static str {
    read(types, ty, ty, &[datum]).unwrap_err().kind()
}

#[test]
fn nanoseconds_become_microseconds_rounded_down_or_numbers() {
    let values = [0, 999, 1_000, -1, -1_000, -1_001, i64::MAX, i64::MIN];
    let datums = values.map(varint);
    let floored = values.map(|nanos| (i128::from(nanos)).div_euclid(1_000) as i64);
    for (word, zone) in [("timestamp-nanos", Some("UTC")), ("local-timestamp-nanos", None)] {
        let ty = format!(r#"{{"type":"long","logicalType":"{word}"}}"#);
        let batch = read(ALL, &ty, &ty, &datums).unwrap();
        let column = batch.column(0).as_primitive::<TimestampMicrosecondType>();
        assert_eq!((&column.values()[..], column.timezone()), (&floored[..], zone));
        // Also of a writer without the logical type, and of a narrower one.
        let batch = read(ALL, "\"long\"", &ty, &datums).unwrap();
        assert_eq!(&batch.column(0).as_primitive::<TimestampMicrosecondType>().values()[..], &floored[..]);
        let batch = read(ALL, "\"int\"", &ty, &[varint(-1_500), varint(2_999)]).unwrap();
        assert_eq!(&batch.column(0).as_primitive::<TimestampMicrosecondType>().values()[..], [-2, 2]);
        assert_eq!(read(ALL, "\"int\"", &ty, &[varint(1 << 40)]).unwrap_err().kind(), "overlong_varint");
        let numbers = ColumnTypes { timestamp_nanos: NanosAs::Number, ..ALL };
        let batch = read(numbers, &ty, &ty, &datums).unwrap();
        assert_eq!(&batch.column(0).as_primitive::<Int64Type>().values()[..], values);
    }
    // Other units stay as they are.
    let micros = r#"{"type":"long","logicalType":"timestamp-micros"}"#;
    let batch = read(ALL, micros, micros, &datums).unwrap();
    assert_eq!(&batch.column(0).as_primitive::<TimestampMicrosecondType>().values()[..], values);
}

#[test]
fn times_become_numbers_of_any_size() {
    let millis = r#"{"type":"int","logicalType":"time-millis"}"#;
    let micros = r#"{"type":"long","logicalType":"time-micros"}"#;
    let batch = read(ALL, millis, millis, &[varint(86_399_999)]).unwrap();
    assert_eq!(batch.column(0).as_primitive::<Int32Type>().value(0), 86_399_999);
    let batch = read(ALL, micros, micros, &[varint(86_399_999_999)]).unwrap();
    assert_eq!(batch.column(0).as_primitive::<Int64Type>().value(0), 86_399_999_999);
    let batch = read(ALL, millis, millis, &[varint(86_400_000)]).unwrap();
    assert_eq!(batch.column(0).as_primitive::<Int32Type>().value(0), 86_400_000);
    let batch = read(ALL, micros, micros, &[varint(-1)]).unwrap();
    assert_eq!(batch.column(0).as_primitive::<Int64Type>().value(0), -1);
    let times = ColumnTypes { time: TimeAs::Time, ..ALL };
    assert_eq!(kind(times, millis, varint(86_400_000)), "time_out_of_range");
    assert_eq!(kind(times, micros, varint(-1)), "time_out_of_range");
}

#[test]
fn wide_decimals_become_text_with_every_digit() {
    let decimal = |precision: usize| {
        format!(r#"{{"type":"bytes","logicalType":"decimal","precision":{precision},"scale":2}}"#)
    };
    let most = |digits: &[u8]| [varint(digits.len() as i64), digits.to_vec()].concat();
    let minus_257 = most(&[0xFE, 0xFF]);
    for precision in [39, 76] {
        let batch =
            read(ALL, &decimal(precision), &decimal(precision), std::slice::from_ref(&minus_257)).unwrap();
        assert_eq!(batch.column(0).as_string::<i32>().value(0), "-2.57");
    }
    assert_eq!(kind(ALL, &decimal(39), most(&[0x7F; 17])), "decimal_overflow");
    // Up to 38 digits they stay decimals.
    let batch = read(ALL, &decimal(38), &decimal(38), &[minus_257]).unwrap();
    assert!(matches!(batch.column(0).data_type(), arrow::datatypes::DataType::Decimal128(38, 2)));
}

#[test]
fn uuids_become_sixteen_bytes_or_poison() {
    let text = r#"{"type":"string","logicalType":"uuid"}"#;
    let fixed = r#"{"type":"fixed","name":"F","size":16,"logicalType":"uuid"}"#;
    let datum = [varint(36), UUID.to_vec()].concat();
    // Text may come as bytes, too.
    for writer in [text, "\"string\"", "\"bytes\""] {
        let batch = read(ALL, writer, text, std::slice::from_ref(&datum)).unwrap();
        assert_eq!(batch.column(0).as_fixed_size_binary().value(0), UUID_BYTES);
    }
    let batch = read(ALL, fixed, fixed, &[UUID_BYTES.to_vec()]).unwrap();
    assert_eq!(batch.column(0).as_fixed_size_binary().value(0), UUID_BYTES);
    assert_eq!(kind(ALL, text, [varint(3), b"abc".to_vec()].concat()), "bad_uuid");
    let nullable = format!(r#"["null",{text}]"#);
    let batch = read(ALL, &nullable, &nullable, &[vec![0], [vec![2], datum].concat()]).unwrap();
    assert!(batch.column(0).is_null(0));
    assert_eq!(batch.column(0).as_fixed_size_binary().value(1), UUID_BYTES);
}

#[test]
fn choices_reach_into_keys_and_what_is_inside() {
    let ty = r#"{"type":"array","items":["null",{"type":"map","values":["int",{"type":"string","logicalType":"uuid"}]}]}"#;
    let options = ColumnOptions { types: ALL, ..ColumnOptions::default() };
    let layout = ColumnLayout::whole(schema(ty), "_key", options).unwrap();
    let plan = DecodePlan::compile(&schema(ty), &layout).unwrap();
    let mut batch = BatchBuilder::new(&layout);
    let datum = [vec![2, 2, 2, 2, b'k', 2], varint(36), UUID.to_vec(), vec![0, 0]].concat();
    plan.decode(&mut batch, &datum).unwrap();
    assert!(plan.decode(&mut batch, &datum[..20]).is_err());
    let batch = batch.finish();
    let values = batch.column(0).as_list::<i32>().value(0);
    let values = values.as_map().value(0);
    let uuids = values.column(1).as_struct().column(1).as_fixed_size_binary();
    assert_eq!((uuids.len(), uuids.value(0)), (1, &UUID_BYTES[..]));
}
