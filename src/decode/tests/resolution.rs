//! Reading with another schema than the writer's: columns as the specification says, and as the oracle resolves.

use std::collections::HashMap;

use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value;
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Decimal128Type, Float32Type, Float64Type, Int32Type, Int64Type};

use super::{read_as, varint};
use crate::schema::{Absorption, AvroSchema, absorbs};

fn record(fields: &str) -> String {
    format!(r#"{{"type":"record","name":"R","fields":[{fields}]}}"#)
}

fn field(ty: &str) -> String {
    record(&format!(r#"{{"name":"f","type":{ty}}}"#))
}

/// The batch of one datum, which the oracle must be able to resolve too; the oracle's value of it.
fn resolve(writer: &str, reader: &str, datum: &[u8]) -> (RecordBatch, HashMap<String, Value>) {
    let (plan, mut batch) = read_as(writer, reader).unwrap();
    plan.decode(&mut batch, datum).unwrap();
    let parse = |json: &str| apache_avro::Schema::parse_str(json).unwrap();
    let (writer, reader) = (parse(writer), parse(reader));
    let oracle = GenericDatumReader::builder(&writer).reader_schema(&reader).build().unwrap();
    let mut rest = datum;
    let Value::Record(fields) = oracle.read_value(&mut rest).unwrap() else { panic!("not a record") };
    (batch.finish(), fields.into_iter().collect())
}

fn verdict(writer: &str, reader: &str) -> &'static str {
    let parse = |json: &str| AvroSchema::parse(json, &[]).unwrap();
    let compiles = read_as(writer, reader).is_ok();
    let verdict = absorbs(&parse(reader), &parse(writer));
    assert_eq!(
        compiles,
        !matches!(verdict, Absorption::Incompatible { .. }),
        "{writer} as {reader}: {verdict:?}"
    );
    match verdict {
        Absorption::Lossless => "lossless",
        Absorption::Lossy { .. } => "lossy",
        Absorption::Incompatible { .. } => "incompatible",
    }
}

#[test]
fn numbers_are_promoted() {
    let (batch, oracle) = resolve(&field(r#""int""#), &field(r#""long""#), &varint(-5));
    assert_eq!(batch.column(0).as_primitive::<Int64Type>().value(0), -5);
    assert_eq!(oracle["f"], Value::Long(-5));
    let (batch, oracle) = resolve(&field(r#""int""#), &field(r#""float""#), &varint(7));
    assert_eq!(oracle["f"], Value::Float(batch.column(0).as_primitive::<Float32Type>().value(0)));
    let (batch, oracle) = resolve(&field(r#""long""#), &field(r#""double""#), &varint(1 << 40));
    assert_eq!(oracle["f"], Value::Double(batch.column(0).as_primitive::<Float64Type>().value(0)));
    let (batch, oracle) = resolve(&field(r#""float""#), &field(r#""double""#), &1.5_f32.to_le_bytes());
    assert_eq!(oracle["f"], Value::Double(batch.column(0).as_primitive::<Float64Type>().value(0)));
}

#[test]
fn text_and_bytes_are_promoted_and_text_stays_valid() {
    let (batch, _) = resolve(&field(r#""string""#), &field(r#""bytes""#), &[4, b'h', b'i']);
    assert_eq!(batch.column(0).as_binary::<i32>().value(0), b"hi");
    let (batch, _) = resolve(&field(r#""bytes""#), &field(r#""string""#), &[4, b'h', b'i']);
    assert_eq!(batch.column(0).as_string::<i32>().value(0), "hi");
    let (plan, mut batch) = read_as(&field(r#""bytes""#), &field(r#""string""#)).unwrap();
    assert_eq!(plan.decode(&mut batch, &[2, 0xFF]).unwrap_err().kind(), "bad_utf8");
}

#[test]
fn fault_64_missing_fields_take_their_defaults_and_unknown_ones_are_skipped() {
    let writer = record(
        r#"{"name":"a","type":"int"},{"name":"gone","type":{"type":"map","values":"string"}},{"name":"b","type":"string"}"#,
    );
    let reader = record(
        r#"{"name":"b","type":"string"},
           {"name":"n","type":["null","string"],"default":null},
           {"name":"s","type":"string","default":"é"},
           {"name":"y","type":"bytes","default":"\u00ff\u0001"},
           {"name":"l","type":{"type":"array","items":"int"},"default":[1,2]},
           {"name":"r","type":{"type":"record","name":"S","fields":[{"name":"x","type":"int","default":3},{"name":"y","type":"double"}]},"default":{"y":0.5}},
           {"name":"e","type":{"type":"enum","name":"E","symbols":["A","B"]},"default":"B"},
           {"name":"a","type":"long"}"#,
    );
    let datum = [&varint(9)[..], &[2, 2, b'k', 2, b'v', 0], &[2, b'b']].concat();
    let (plan, mut batch) = read_as(&writer, &reader).unwrap();
    plan.decode(&mut batch, &datum).unwrap();
    assert!(plan.decode(&mut batch, &datum[..5]).is_err());
    plan.decode(&mut batch, &datum).unwrap();
    let batch = batch.finish();
    assert_eq!(batch.column(0).as_string::<i32>().value(1), "b");
    assert!(batch.column(1).is_null(1));
    assert_eq!(batch.column(2).as_string::<i32>().value(1), "é");
    assert_eq!(batch.column(3).as_binary::<i32>().value(1), [255, 1]);
    assert_eq!(batch.column(4).as_list::<i32>().value(1).as_primitive::<Int32Type>().values(), &[1, 2]);
    assert_eq!(batch.column(5).as_struct().column(0).as_primitive::<Int32Type>().value(1), 3);
    assert!(
        (batch.column(5).as_struct().column(1).as_primitive::<Float64Type>().value(1) - 0.5).abs() < 1e-9
    );
    assert_eq!(batch.column(6).as_string::<i32>().value(1), "B");
    assert_eq!(batch.column(7).as_primitive::<Int64Type>().value(1), 9);
    assert_eq!(verdict(&writer, &reader), "lossy");
}

#[test]
fn fields_and_types_are_found_by_alias() {
    let writer = record(
        r#"{"name":"old","type":"int"},{"name":"s","type":{"type":"record","name":"Old","fields":[{"name":"x","type":"int"}]}}"#,
    );
    let reader = record(
        r#"{"name":"s","type":{"type":"record","name":"New","aliases":["Old"],"fields":[{"name":"x","type":"int"}]}},
           {"name":"new","aliases":["older","old"],"type":"int"}"#,
    );
    let (plan, mut batch) = read_as(&writer, &reader).unwrap();
    plan.decode(&mut batch, &[4, 6]).unwrap();
    let batch = batch.finish();
    assert_eq!(batch.column(1).as_primitive::<Int32Type>().value(0), 2);
    assert_eq!(batch.column(0).as_struct().column(0).as_primitive::<Int32Type>().value(0), 3);
    assert_eq!(verdict(&writer, &reader), "lossless");
}

#[test]
fn unions_widen_and_narrow() {
    let (int, optional, three) =
        (field(r#""int""#), field(r#"["null","long"]"#), field(r#"["string","null","double"]"#));
    let (batch, oracle) = resolve(&int, &optional, &varint(4));
    assert_eq!(batch.column(0).as_primitive::<Int64Type>().value(0), 4);
    assert_eq!(oracle["f"], Value::Union(1, Box::new(Value::Long(4))));
    let (plan, mut batch) = read_as(&optional, &three).unwrap();
    plan.decode(&mut batch, &[0]).unwrap();
    plan.decode(&mut batch, &[2, 6]).unwrap();
    let found = batch.finish();
    assert!(found.column(0).is_null(0) && found.column(0).is_valid(1));
    let members = found.column(0).as_struct();
    assert!(members.column(0).is_null(1));
    assert!((members.column(1).as_primitive::<Float64Type>().value(1) - 3.0).abs() < 1e-9);
    let (plan, mut batch) = read_as(&optional, &field(r#""long""#)).unwrap();
    assert_eq!(plan.decode(&mut batch, &[0]).unwrap_err().kind(), "unreadable_branch");
    plan.decode(&mut batch, &[2, 6]).unwrap();
    assert_eq!(batch.finish().column(0).as_primitive::<Int64Type>().value(0), 3);
}

#[test]
fn the_branch_of_the_same_type_goes_before_a_promotion() {
    let (plan, mut batch) = read_as(&field(r#""int""#), &field(r#"["null","long","int"]"#)).unwrap();
    plan.decode(&mut batch, &[2]).unwrap();
    let found = batch.finish();
    let members = found.column(0).as_struct();
    assert!(members.column_by_name("long").unwrap().is_null(0));
    assert!(members.column_by_name("int").unwrap().is_valid(0));
}

#[test]
fn symbols_unknown_to_the_reader_take_its_default_or_are_poison() {
    let writer = field(r#"{"type":"enum","name":"E","symbols":["A","B","C"]}"#);
    let with_default = field(r#"{"type":"enum","name":"E","symbols":["B","Z"],"default":"Z"}"#);
    let (batch, oracle) = resolve(&writer, &with_default, &[4]);
    assert_eq!(batch.column(0).as_string::<i32>().value(0), "Z");
    assert!(matches!(&oracle["f"], Value::Enum(_, symbol) if symbol == "Z"));
    let without = field(r#"{"type":"enum","name":"E","symbols":["B"]}"#);
    let (plan, mut batch) = read_as(&writer, &without).unwrap();
    plan.decode(&mut batch, &[2]).unwrap();
    assert_eq!(plan.decode(&mut batch, &[0]).unwrap_err().kind(), "unknown_symbol");
    assert_eq!(batch.finish().column(0).as_string::<i32>().value(0), "B");
}

#[test]
fn fault_62_plans_of_several_writers_append_to_one_batch() {
    let (old, new) = (
        field(r#""int""#),
        record(r#"{"name":"f","type":"long"},{"name":"g","type":["null","int"],"default":null}"#),
    );
    let (newer, mut batch) = read_as(&new, &new).unwrap();
    let writer = std::sync::Arc::new(AvroSchema::parse(&old, &[]).unwrap());
    let older = crate::decode::DecodePlan::compile(&writer, batch.layout()).unwrap();
    older.decode(&mut batch, &[2]).unwrap();
    newer.decode(&mut batch, &[4, 2, 8]).unwrap();
    older.decode(&mut batch, &[6]).unwrap();
    let found = batch.finish();
    assert_eq!(found.column(0).as_primitive::<Int64Type>().values(), &[1, 2, 3]);
    assert_eq!(found.column(1).null_count(), 2);
}

#[test]
fn a_decimal_may_change_its_carrier_and_precision_but_not_its_scale() {
    let decimal = |precision, scale| {
        field(&format!(
            r#"{{"type":"bytes","logicalType":"decimal","precision":{precision},"scale":{scale}}}"#
        ))
    };
    let fixed =
        field(r#"{"type":"fixed","name":"D","size":4,"logicalType":"decimal","precision":9,"scale":2}"#);
    let (plan, mut batch) = read_as(&fixed, &decimal(10, 2)).unwrap();
    plan.decode(&mut batch, &[0xFF, 0xFF, 0xFF, 0x00]).unwrap();
    assert_eq!(batch.finish().column(0).as_primitive::<Decimal128Type>().value(0), -256);
    assert_eq!(verdict(&fixed, &decimal(10, 2)), "lossless");
    assert_eq!(verdict(&decimal(12, 2), &decimal(10, 2)), "lossy");
    assert_eq!(verdict(&decimal(10, 1), &decimal(10, 2)), "incompatible");
}

/// Java does so too: the old name's data goes with the alias when the name has a new life.
#[test]
fn an_alias_goes_before_a_new_field_of_the_old_name() {
    let writer = record(r#"{"name":"a","type":"int"}"#);
    let renamed = r#"{"name":"b","aliases":["a"],"type":"long"}"#;
    let reader = record(&format!(r#"{{"name":"a","type":"string","default":"new"}},{renamed}"#));
    let (plan, mut batch) = read_as(&writer, &reader).unwrap();
    plan.decode(&mut batch, &varint(5)).unwrap();
    let batch = batch.finish();
    assert_eq!(batch.column(0).as_string::<i32>().value(0), "new");
    assert_eq!(batch.column(1).as_primitive::<Int64Type>().value(0), 5);
    assert_eq!(verdict(&writer, &reader), "lossless");
    // Where the new field cannot do without, and where both names were written, names count.
    assert_eq!(
        verdict(&writer, &record(&format!(r#"{{"name":"a","type":"int"}},{renamed}"#))),
        "incompatible"
    );
    let both = record(r#"{"name":"a","type":"int"},{"name":"b","type":"int"}"#);
    let (plan, mut batch) =
        read_as(&both, &record(&format!(r#"{{"name":"a","type":"int"}},{renamed}"#))).unwrap();
    plan.decode(&mut batch, &[2, 4]).unwrap();
    assert_eq!(batch.finish().column(0).as_primitive::<Int32Type>().value(0), 1);
}

#[test]
fn an_alias_takes_nothing_that_a_field_needs_or_another_alias_has() {
    let writer = record(r#"{"name":"a","type":"int"}"#);
    let values = |reader: &str| {
        let (plan, mut batch) = read_as(&writer, reader).unwrap();
        plan.decode(&mut batch, &varint(7)).unwrap();
        let batch = batch.finish();
        [0, 1].map(|column| batch.column(column).as_primitive::<Int32Type>().value(0))
    };
    let needs = r#"{"name":"a","type":"int"},{"name":"b","type":"int","aliases":["a"],"default":1}"#;
    assert_eq!(values(&record(needs)), [7, 1]);
    let two = r#"{"name":"b","type":"int","aliases":["a"],"default":1},{"name":"c","type":"int","aliases":["a"],"default":2}"#;
    assert_eq!(values(&record(two)), [7, 2], "the first one");
}

#[test]
fn times_of_day_are_checked_when_an_int_becomes_one() {
    let micros = field(r#"{"type":"long","logicalType":"time-micros"}"#);
    let (plan, mut batch) = read_as(&field(r#""int""#), &micros).unwrap();
    plan.decode(&mut batch, &varint(5)).unwrap();
    assert_eq!(plan.decode(&mut batch, &varint(-1)).unwrap_err().kind(), "time_out_of_range");
}

#[test]
fn defaults_are_spelled_as_java_takes_them() {
    let reader = record(
        r#"{"name":"f","type":{"type":"fixed","name":"F","size":3},"default":"\u00ff"},
           {"name":"g","type":{"type":"fixed","name":"G","size":1},"default":"ab"},
           {"name":"d","type":"double","default":"-2.5e1"}"#,
    );
    let (plan, mut batch) = read_as(&record(""), &reader).unwrap();
    plan.decode(&mut batch, &[]).unwrap();
    let batch = batch.finish();
    assert_eq!(batch.column(0).as_fixed_size_binary().value(0), [0xFF, 0, 0]);
    assert_eq!(batch.column(1).as_fixed_size_binary().value(0), *b"a");
    assert_eq!(batch.column(2).as_primitive::<Float64Type>().value(0).to_string(), "-25");
    // In a union text is a number only where nothing takes it for text, however deep inside.
    let reader = record(
        r#"{"name":"s","type":["null","double","string"],"default":"007"},
           {"name":"n","type":["null","double"],"default":"007"},
           {"name":"r","type":["null",{"type":"record","name":"N","fields":[{"name":"x","type":["float","bytes"]}]}],
            "default":{"x":"1.5"}},
           {"name":"l","type":["null",{"type":"array","items":"double"}],"default":["NaN"]}"#,
    );
    let (plan, mut batch) = read_as(&record(""), &reader).unwrap();
    plan.decode(&mut batch, &[]).unwrap();
    let batch = batch.finish();
    let union = batch.column(0).as_struct();
    assert!(union.column(0).is_null(0));
    assert_eq!(union.column(1).as_string::<i32>().value(0), "007");
    assert_eq!(batch.column(1).as_primitive::<Float64Type>().value(0).to_string(), "7");
    assert_eq!(
        batch.column(2).as_struct().column(0).as_struct().column(1).as_binary::<i32>().value(0),
        b"1.5"
    );
    assert!(batch.column(3).as_list::<i32>().value(0).as_primitive::<Float64Type>().value(0).is_nan());
    let huge = record(r#"{"name":"f","type":{"type":"fixed","name":"F","size":2000000000},"default":""}"#);
    assert_eq!(verdict(&record(""), &huge), "incompatible");
}

#[test]
fn fault_63_verdicts_on_pairs() {
    let decimal = |precision: u32, scale: u32| {
        format!(r#"{{"type":"bytes","logicalType":"decimal","precision":{precision},"scale":{scale}}}"#)
    };
    let enum_of = |symbols: &str| format!(r#"{{"type":"enum","name":"E","symbols":[{symbols}]}}"#);
    let millis = r#"{"type":"long","logicalType":"timestamp-millis"}"#;
    let micros = r#"{"type":"long","logicalType":"timestamp-micros"}"#;
    let rows = [
        (r#""int""#, r#""int""#, "lossless"),
        (r#""int""#, r#""long""#, "lossless"),
        (r#""int""#, r#""double""#, "lossless"),
        (r#""int""#, r#""float""#, "lossy"),
        (r#""long""#, r#""float""#, "lossy"),
        (r#""long""#, r#""double""#, "lossy"),
        (r#""float""#, r#""double""#, "lossless"),
        (r#""string""#, r#""bytes""#, "lossy"),
        (r#""long""#, r#""int""#, "incompatible"),
        (r#""long""#, r#""string""#, "incompatible"),
        (r#""int""#, r#"["null","int"]"#, "lossless"),
        (r#"["null","int"]"#, r#"["int","null"]"#, "lossless"),
        (r#"["null","int"]"#, r#"["null","long","string"]"#, "lossless"),
        (r#"["null","int"]"#, r#""int""#, "lossy"),
        (r#"["int","string"]"#, r#"["null","int"]"#, "lossy"),
        (r#"["int","long"]"#, r#""long""#, "lossy"),
        (r#"["null","boolean"]"#, r#"["string"]"#, "incompatible"),
        (&enum_of(r#""A""#), &enum_of(r#""A","B""#), "lossless"),
        (&enum_of(r#""A","B""#), &enum_of(r#""A""#), "lossy"),
        (millis, millis, "lossless"),
        (millis, micros, "incompatible"),
        (millis, r#""long""#, "lossy"),
        (r#""long""#, millis, "lossy"),
        (r#""int""#, millis, "lossy"),
        (r#"{"type":"int","logicalType":"date"}"#, r#""long""#, "lossy"),
        (r#"{"type":"int","logicalType":"date"}"#, millis, "incompatible"),
        (r#"{"type":"string","logicalType":"uuid"}"#, r#""bytes""#, "lossy"),
        (r#""string""#, &decimal(10, 2), "incompatible"),
        (&decimal(10, 2), r#""string""#, "incompatible"),
        (
            r#"{"type":"fixed","name":"F","size":3}"#,
            r#"{"type":"fixed","name":"F","size":4}"#,
            "incompatible",
        ),
        (
            r#"{"type":"fixed","name":"F","size":3}"#,
            r#"{"type":"fixed","name":"G","size":3}"#,
            "incompatible",
        ),
        (r#"{"type":"array","items":"int"}"#, r#"{"type":"array","items":"float"}"#, "lossy"),
        (r#"{"type":"map","values":"int"}"#, r#"{"type":"map","values":"string"}"#, "incompatible"),
        (r#"{"type":"map","values":"int"}"#, r#"{"type":"array","items":"int"}"#, "incompatible"),
    ];
    for (writer, reader, expected) in rows {
        assert_eq!(verdict(&field(writer), &field(reader)), expected, "{writer} as {reader}");
    }
    let with = |more: &str| record(&format!(r#"{{"name":"f","type":"int"}}{more}"#));
    let bare = r#",{"name":"g","type":"int"}"#;
    let default = r#",{"name":"g","type":"int","default":1}"#;
    let bad_default = r#",{"name":"g","type":"int","default":"one"}"#;
    assert_eq!(verdict(&with(""), &with(default)), "lossless");
    assert_eq!(verdict(&with(""), &with(bare)), "incompatible");
    assert_eq!(verdict(&with(bare), &with("")), "lossy");
    assert_eq!(verdict(&with(bare), &with(bad_default)), "lossless");
    assert_eq!(verdict(&with(""), &with(bad_default)), "incompatible");
    assert_eq!(verdict(&with(""), &with("").replace("\"R\"", "\"Other\"")), "incompatible");
    assert_eq!(verdict(&with(""), &with("").replace("\"R\"", "\"ns.R\"")), "lossless");
}

#[test]
fn verdicts_on_types_that_contain_themselves_come_to_an_end() {
    let list = |value: &str| {
        let json = format!(
            r#"{{"type":"record","name":"L","fields":[{{"name":"v","type":{value}}},{{"name":"next","type":["null","L"]}}]}}"#
        );
        AvroSchema::parse(&json, &[]).unwrap()
    };
    assert_eq!(absorbs(&list(r#""long""#), &list(r#""int""#)), Absorption::Lossless);
    assert!(matches!(absorbs(&list(r#""float""#), &list(r#""int""#)), Absorption::Lossy { .. }));
    assert!(matches!(absorbs(&list(r#""int""#), &list(r#""long""#)), Absorption::Incompatible { .. }));
    let endless = r#"{"type":"record","name":"R","fields":[{"name":"a","type":["R","int"],"default":{}},{"name":"b","type":["R","int"],"default":{}}]}"#;
    let empty = r#"{"type":"record","name":"R","fields":[]}"#;
    let parse = |json: &str| AvroSchema::parse(json, &[]).unwrap();
    assert!(matches!(absorbs(&parse(endless), &parse(empty)), Absorption::Incompatible { .. }));
}

/// Each level of the writer has two types that are read as the reader's one, and both are compiled.
#[test]
fn unions_that_multiply_without_bound_are_refused() {
    fn writer(level: usize, space: &str) -> String {
        let inside = match level {
            0 => r#""int""#.to_owned(),
            _ if space == "b" => format!(r#"["a.R{0}","b.R{0}"]"#, level - 1),
            _ => format!("[{},{}]", writer(level - 1, "a"), writer(level - 1, "b")),
        };
        let fields = format!(r#"[{{"name":"f","type":{inside}}}]"#);
        format!(r#"{{"type":"record","name":"R{level}","namespace":"{space}","fields":{fields}}}"#)
    }
    fn reader(level: usize) -> String {
        let inside = if level == 0 { r#""int""#.to_owned() } else { reader(level - 1) };
        format!(r#"{{"type":"record","name":"R{level}","fields":[{{"name":"f","type":{inside}}}]}}"#)
    }
    assert!(read_as(&writer(8, "a"), &reader(8)).is_ok());
    let error = read_as(&writer(20, "a"), &reader(20)).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("more than 262144 steps"), "{error}");
}

#[test]
fn fault_57_a_type_that_contains_itself_is_read_to_the_depth_that_the_reader_unrolls() {
    let writer = r#"{"type":"record","name":"Node","fields":[{"name":"v","type":"int"},{"name":"next","type":["null","Node"]}]}"#;
    let reader = r#"{"type":"record","name":"Node","fields":[{"name":"v","type":"int"},{"name":"next","type":["null",
        {"type":"record","name":"Node2","aliases":["Node"],"fields":[{"name":"v","type":"int"}]}]}]}"#;
    let (plan, mut batch) = read_as(writer, reader).unwrap();
    for depth in 0..4 {
        let node = |v: i64| [varint(v), varint(1)].concat();
        let datum = [(0..depth).flat_map(node).collect(), varint(depth), varint(0)].concat();
        plan.decode(&mut batch, &datum).unwrap();
    }
    let batch = batch.finish();
    assert_eq!(batch.column(0).as_primitive::<Int32Type>().values(), &[0, 0, 0, 0]);
    let next = batch.column(1).as_struct();
    assert_eq!((0..4).map(|row| next.is_valid(row)).collect::<Vec<_>>(), [false, true, true, true]);
    assert_eq!(next.column(0).as_primitive::<Int32Type>().values()[1..], [1, 1, 1]);
}
