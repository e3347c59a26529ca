//! Bytes that mean harm, one row of the fault list at a time. Each datum is refused in little time and memory, and
//! leaves nothing behind.

use arrow::array::{Array, AsArray};
use arrow::datatypes::Float64Type;

use super::{fault_of, read_as, same, varint};
use crate::decode::buffers::MAX_OFFSET;
use crate::decode::{DecodeError, DecodePlan};
use crate::error::{Failure, Stage};

const PAIR: &str = r#"{"type":"record","name":"P","fields":[
    {"name":"a","type":{"type":"array","items":"long"}},
    {"name":"b","type":["null",{"type":"record","name":"Q","fields":[{"name":"c","type":"string"}]}]}]}"#;

fn record(field: &str) -> String {
    format!(r#"{{"type":"record","name":"R","fields":[{{"name":"f","type":{field}}}]}}"#)
}

fn bytes(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

#[test]
fn fault_46_truncated_datum_is_rolled_back() {
    let good = bytes(&[&varint(2), &varint(5), &varint(-7), &[0], &varint(1), &varint(2), b"hi"]);
    let (plan, mut batch) = same(PAIR);
    plan.decode(&mut batch, &good).unwrap();
    plan.decode(&mut batch, &good).unwrap();
    let twice = batch.finish();
    plan.decode(&mut batch, &good).unwrap();
    for length in 0..good.len() {
        let before = batch.bytes();
        let error = plan.decode(&mut batch, &good[..length]).unwrap_err();
        assert!(matches!(error.kind(), "truncated" | "length_beyond_datum"), "{length}: {error}");
        assert_eq!(batch.bytes(), before);
    }
    plan.decode(&mut batch, &good).unwrap();
    assert_eq!(batch.finish(), twice);
}

#[test]
fn fault_47_trailing_bytes_are_poison() {
    assert_eq!(fault_of(&record(r#""long""#), &[2, 2]), "trailing_bytes");
}

#[test]
fn errors_name_the_field_and_become_poison() {
    let (plan, mut batch) = same(PAIR);
    let error = plan.decode(&mut batch, &bytes(&[&[0], &[2], &[4], &[0xFF, 0xFE]])).unwrap_err();
    let DecodeError::Datum { path, position, .. } = &error else { panic!("{error}") };
    assert_eq!((path.as_str(), *position), ("b.c", 5));
    let failure = Failure::from(error);
    assert!(matches!(failure, Failure::Poison { stage: Stage::Decode, kind: "bad_utf8", .. }));
    assert!(failure.to_string().contains("b.c"), "{failure}");
    let error = plan.decode(&mut batch, &[2, 0x80]).unwrap_err();
    assert!(error.to_string().contains("a.element"), "{error}");
}

#[test]
fn fault_48_lengths_beyond_the_datum_are_refused_before_allocation() {
    for field in [r#""bytes""#, r#""string""#] {
        assert_eq!(fault_of(&record(field), &varint(i64::MAX)), "length_beyond_datum");
        assert_eq!(fault_of(&record(field), &varint(100 << 20)), "length_beyond_datum");
        assert_eq!(fault_of(&record(field), &varint(-1)), "negative_length");
    }
    let fixed = r#"{"type":"fixed","name":"F","size":2000000000}"#;
    assert_eq!(fault_of(&record(fixed), &[1, 2, 3]), "truncated");
}

#[test]
fn fault_49_counts_beyond_reason_are_refused() {
    let longs = record(r#"{"type":"array","items":"long"}"#);
    let nulls = record(r#"{"type":"array","items":"null"}"#);
    let empties = record(r#"{"type":"array","items":{"type":"record","name":"E","fields":[]}}"#);
    let fixed = record(r#"{"type":"array","items":{"type":"fixed","name":"Z","size":0}}"#);
    let map = record(r#"{"type":"map","values":"null"}"#);
    for count in [i64::MAX, i64::MIN, i64::MIN + 1, 1 << 40, -(1 << 40)] {
        let datum = bytes(&[&varint(count), &varint(0)]);
        assert_eq!(fault_of(&longs, &datum), "length_beyond_datum", "{count}");
        assert_eq!(fault_of(&map, &datum), "length_beyond_datum", "{count}");
        for zero_width in [&nulls, &empties, &fixed] {
            assert_eq!(fault_of(zero_width, &datum), "too_many_items", "{count}");
        }
    }
    // Many blocks count together.
    let blocks = bytes(&[&varint(3_000_000), &varint(3_000_000), &[0]]);
    assert_eq!(fault_of(&nulls, &blocks), "too_many_items");
    // Within reason they are data.
    let (plan, mut batch) = same(&nulls);
    plan.decode(&mut batch, &bytes(&[&varint(1_000), &[0]])).unwrap();
    assert_eq!(batch.finish().column(0).as_list::<i32>().value(0).len(), 1_000);
}

#[test]
fn fault_49_small_items_of_wide_records_are_bounded() {
    let wide: Vec<String> =
        (0..2_000).map(|n| format!(r#"{{"name":"f{n}","type":["null","long"]}}"#)).collect();
    let item = format!(r#"["null",{{"type":"record","name":"W","fields":[{}]}}]"#, wide.join(","));
    let json = record(&format!(r#"{{"type":"array","items":{item}}}"#));
    let datum = bytes(&[&varint(100_000), &vec![0; 100_000], &[0]]);
    assert_eq!(fault_of(&json, &datum), "too_many_items");
    let wide = record(r#"{"type":"array","items":["null",{"type":"fixed","name":"F","size":4096}]}"#);
    assert_eq!(fault_of(&wide, &datum), "too_many_items");
}

#[test]
fn fault_49_counts_are_refused_in_skipped_fields_too() {
    let writer = r#"{"type":"record","name":"R","fields":[{"name":"n","type":{"type":"array","items":"null"}},{"name":"f","type":"int"}]}"#;
    let (plan, mut batch) = read_as(writer, &record(r#""int""#)).unwrap();
    for count in [i64::MAX, i64::MIN, 1 << 40] {
        let error = plan.decode(&mut batch, &bytes(&[&varint(count), &[0, 0, 0]])).unwrap_err();
        assert_eq!(error.kind(), "too_many_items");
    }
    plan.decode(&mut batch, &bytes(&[&varint(9), &[0], &varint(4)])).unwrap();
    assert_eq!(batch.rows(), 1);
}

#[test]
fn what_is_skipped_is_read_as_strictly_as_what_is_wanted() {
    let ends_in = |ty: &str, value: &[u8]| {
        let fields = format!(r#"[{{"name":"n","type":{ty}}},{{"name":"f","type":"int"}}]"#);
        let writer = format!(r#"{{"type":"record","name":"R","fields":{fields}}}"#);
        let (plan, mut batch) = read_as(&writer, &record(r#""int""#)).unwrap();
        plan.decode(&mut batch, &bytes(&[value, &[2]])).err().map(|error| error.kind())
    };
    let longs = r#"{"type":"array","items":"long"}"#;
    let doubles = r#"{"type":"array","items":"double"}"#;
    let map = r#"{"type":"map","values":"int"}"#;
    let symbols = r#"{"type":"enum","name":"E","symbols":["A","B"]}"#;
    for (ty, good, bad, kind) in [
        (symbols, &[2][..], &[4][..], "bad_enum_index"),
        (symbols, &[0], &[1], "bad_enum_index"),
        (r#""boolean""#, &[1], &[2], "bad_boolean"),
        (r#""string""#, &[4, b'o', b'k'], &[4, b'o', 0xFF], "bad_utf8"),
        (map, &[2, 2, b'k', 6, 0], &[2, 2, 0xFF, 6, 0], "bad_utf8"),
        (longs, &[3, 4, 2, 4, 0], &[3, 6, 2, 4, 0], "block_size_mismatch"),
        (longs, &[2, 2, 0], &[2, 2, 20, 1], "length_beyond_datum"),
        (doubles, &[0], &[4, 1, 1, 1, 1, 1, 1, 1, 1], "length_beyond_datum"),
        (r#"["null","int"]"#, &[2, 6], &[4, 6], "bad_union_index"),
    ] {
        assert_eq!(ends_in(ty, good), None, "{ty} {good:?}");
        assert_eq!(ends_in(ty, bad), Some(kind), "{ty} {bad:?}");
    }
}

#[test]
fn fault_49_records_without_bytes_do_not_multiply() {
    let mut nested = r#"{"type":"record","name":"R0","fields":[]}"#.to_owned();
    for level in 1..20 {
        nested = format!(
            r#"{{"type":"record","name":"R{level}","fields":[{{"name":"a","type":{nested}}},{{"name":"b","type":"R{}"}},{{"name":"c","type":"R{}"}}]}}"#,
            level - 1,
            level - 1
        );
    }
    let writer = format!(
        r#"{{"type":"record","name":"R","fields":[{{"name":"n","type":{nested}}},{{"name":"f","type":"int"}}]}}"#
    );
    let (plan, mut batch) = read_as(&writer, &record(r#""int""#)).unwrap();
    assert_eq!(plan.decode(&mut batch, &[0]).unwrap_err().kind(), "too_many_items");
}

#[test]
fn fault_50_blocks_with_their_size_are_read_and_lies_refused() {
    let json = record(r#"{"type":"array","items":"int"}"#);
    let (plan, mut batch) = same(&json);
    let datum =
        bytes(&[&varint(-2), &varint(2), &[2, 4], &varint(1), &[6], &varint(-1), &varint(1), &[8], &[0]]);
    plan.decode(&mut batch, &datum).unwrap();
    assert_eq!(batch.finish().column(0).as_list::<i32>().value(0).len(), 4);
    for (size, kind) in [
        (1, "block_size_mismatch"),
        (3, "block_size_mismatch"),
        (0, "block_size_mismatch"),
        (-1, "negative_length"),
        (i64::MIN, "negative_length"),
        (100, "length_beyond_datum"),
        (i64::MAX, "length_beyond_datum"),
    ] {
        let datum = bytes(&[&varint(-2), &varint(size), &[2, 4], &[0]]);
        assert_eq!(fault_of(&json, &datum), kind, "{size}");
    }
}

#[test]
fn fault_52_numbers_of_branches_and_symbols_are_checked() {
    let optional = record(r#"["null","int"]"#);
    let union = record(r#"["null","int","string"]"#);
    // The default is for symbols that the reader lacks, not for numbers that the writer lacks.
    let symbols = record(r#"{"type":"enum","name":"E","symbols":["A","B"],"default":"A"}"#);
    for number in [-1, 3, i64::MAX, i64::MIN] {
        assert_eq!(fault_of(&optional, &varint(number)), "bad_union_index", "{number}");
        assert_eq!(fault_of(&union, &varint(number)), "bad_union_index", "{number}");
    }
    assert_eq!(fault_of(&optional, &varint(2)), "bad_union_index");
    for number in [-1, 2, i64::from(i32::MAX), i64::from(i32::MIN)] {
        assert_eq!(fault_of(&symbols, &varint(number)), "bad_enum_index", "{number}");
    }
}

#[test]
fn fault_53_text_must_be_utf8() {
    for wrong in [&[0xFF][..], &[0xC3], &[0xED, 0xA0, 0x80], &[0xC0, 0x80]] {
        let datum = bytes(&[&varint(wrong.len() as i64), wrong]);
        assert_eq!(fault_of(&record(r#""string""#), &datum), "bad_utf8");
        let datum = bytes(&[&varint(1), &varint(wrong.len() as i64), wrong, &[0, 0]]);
        assert_eq!(fault_of(&record(r#"{"type":"map","values":"int"}"#), &datum), "bad_utf8");
    }
    // Each string by itself: halves of a letter in neighbours do not make a whole.
    let two = record(r#"{"type":"array","items":"string"}"#);
    assert_eq!(fault_of(&two, &[4, 2, 0xC3, 2, 0xA9, 0]), "bad_utf8");
}

#[test]
fn fault_54_decimals_out_of_range_are_poison() {
    let decimal = |precision| {
        record(&format!(r#"{{"type":"bytes","logicalType":"decimal","precision":{precision},"scale":0}}"#))
    };
    assert_eq!(fault_of(&decimal(2), &[2, 100]), "decimal_overflow");
    assert_eq!(fault_of(&decimal(38), &bytes(&[&varint(17), &[1; 17]])), "decimal_overflow");
    assert_eq!(fault_of(&decimal(76), &bytes(&[&varint(33), &[1; 33]])), "decimal_overflow");
    assert_eq!(fault_of(&decimal(77), &bytes(&[&varint(33), &[1; 33]])), "decimal_overflow");
    let (plan, mut batch) = same(&decimal(80));
    plan.decode(&mut batch, &bytes(&[&varint(33), &[0], &[0xFF; 32]])).unwrap();
    let text = batch.finish().column(0).as_string::<i32>().value(0).to_owned();
    assert_eq!(text, "115792089237316195423570985008687907853269984665640564039457584007913129639935");
}

#[test]
fn fault_55_times_are_of_one_day_and_dates_and_timestamps_any() {
    let millis = record(r#"{"type":"int","logicalType":"time-millis"}"#);
    let micros = record(r#"{"type":"long","logicalType":"time-micros"}"#);
    for (json, day) in [(&millis, 86_400_000), (&micros, 86_400_000_000)] {
        assert_eq!(fault_of(json, &varint(day)), "time_out_of_range");
        assert_eq!(fault_of(json, &varint(-1)), "time_out_of_range");
        let (plan, mut batch) = same(json);
        plan.decode(&mut batch, &varint(day - 1)).unwrap();
    }
    let (plan, mut batch) = same(&record(r#"{"type":"int","logicalType":"date"}"#));
    plan.decode(&mut batch, &varint(i32::MIN.into())).unwrap();
    let (plan, mut batch) = same(&record(r#"{"type":"long","logicalType":"timestamp-nanos"}"#));
    plan.decode(&mut batch, &varint(i64::MIN)).unwrap();
}

#[test]
fn fault_56_floats_keep_their_bits() {
    let (plan, mut batch) = same(&record(r#""double""#));
    let values = [f64::NAN, -f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, f64::MIN_POSITIVE / 2.0];
    for value in values {
        plan.decode(&mut batch, &value.to_le_bytes()).unwrap();
    }
    let batch = batch.finish();
    let found = batch.column(0).as_primitive::<Float64Type>().values().iter().map(|value| value.to_bits());
    assert!(found.eq(values.map(f64::to_bits)));
}

#[test]
fn fault_57_and_58_recursion_that_is_skipped_is_bounded() {
    let writer = r#"{"type":"record","name":"R","fields":[
        {"name":"list","type":["null",{"type":"record","name":"L","fields":[{"name":"next","type":["null","L"]}]}]},
        {"name":"f","type":"int"}]}"#;
    let (plan, mut batch) = read_as(writer, &record(r#""int""#)).unwrap();
    plan.decode(&mut batch, &[2, 2, 2, 0, 8]).unwrap();
    let deep = bytes(&[&vec![2; 100_000], &[0, 8]]);
    let error = plan.decode(&mut batch, &deep).unwrap_err();
    assert_eq!(error.kind(), "too_deep");
    assert_eq!(batch.rows(), 1);
}

#[test]
fn fault_59_thousands_of_columns_and_symbols() {
    let symbols: Vec<String> = (0..10_000).map(|n| format!("\"S{n}\"")).collect();
    let mut fields: Vec<String> =
        (0..2_500).map(|n| format!(r#"{{"name":"f{n}","type":["null","int"]}}"#)).collect();
    fields.push(format!(
        r#"{{"name":"e","type":{{"type":"enum","name":"E","symbols":[{}]}}}}"#,
        symbols.join(",")
    ));
    let (plan, mut batch) =
        same(&format!(r#"{{"type":"record","name":"R","fields":[{}]}}"#, fields.join(",")));
    let datum = bytes(&[&[2, 6].repeat(2_500), &varint(9_999)]);
    plan.decode(&mut batch, &datum).unwrap();
    assert!(plan.decode(&mut batch, &datum[1..]).is_err());
    let batch = batch.finish();
    assert_eq!(batch.column(2_500).as_string::<i32>().value(0), "S9999");
    assert_eq!((batch.num_columns(), batch.column(2_499).null_count()), (2_501, 0));
}

#[test]
fn fault_61_records_without_leaves_have_a_placeholder() {
    let empty = r#"{"type":"record","name":"E","fields":[]}"#;
    let (plan, mut batch) = same(empty);
    plan.decode(&mut batch, &[]).unwrap();
    plan.decode(&mut batch, &[]).unwrap();
    assert!(plan.decode(&mut batch, &[0]).is_err());
    let found = batch.finish();
    assert_eq!((found.num_rows(), found.num_columns(), found.column(0).null_count()), (2, 1, 2));
    let json = format!(
        r#"{{"type":"record","name":"R","fields":[{{"name":"a","type":{{"type":"array","items":{empty}}}}},
            {{"name":"m","type":{{"type":"map","values":"null"}}}},{{"name":"n","type":"null"}},
            {{"name":"o","type":["null"]}}]}}"#
    );
    let (plan, mut batch) = same(&json);
    plan.decode(&mut batch, &[4, 0, 2, 2, b'k', 0, 0]).unwrap();
    let found = batch.finish();
    assert_eq!(found.column(0).as_list::<i32>().value(0).len(), 2);
    assert_eq!(found.column(1).as_map().value(0).column(1).null_count(), 1);
    assert!(found.column(2).is_null(0) && found.column(3).is_null(0));
}

#[test]
fn fault_66_what_no_batch_can_hold_is_told_from_a_full_batch() {
    let (plan, mut batch) = same(&record(r#""bytes""#));
    let datum = |size: usize| bytes(&[&varint(size as i64), &vec![7; size]]);
    assert_eq!(plan.decode(&mut batch, &datum(MAX_OFFSET + 1)).unwrap_err().kind(), "too_large");
    plan.decode(&mut batch, &datum(MAX_OFFSET - 1)).unwrap();
    assert_eq!(plan.decode(&mut batch, &datum(2)), Err(DecodeError::BatchFull));
    plan.decode(&mut batch, &datum(1)).unwrap();
    assert_eq!(batch.finish().num_rows(), 2);
    plan.decode(&mut batch, &datum(2)).unwrap();

    let (plan, mut batch) = same(&record(r#"{"type":"array","items":"null"}"#));
    let items = bytes(&[&varint(1_000_000), &[0]]);
    let rows = (0..100).take_while(|_| plan.decode(&mut batch, &items).is_ok()).count();
    assert_eq!(
        (rows, plan.decode(&mut batch, &items)),
        (MAX_OFFSET / 1_000_000, Err(DecodeError::BatchFull))
    );
}

/// Arrow reckons positions of fixed columns with 32 bits, too.
#[test]
fn fault_66_a_batch_of_fixed_values_is_full_before_its_positions_overflow() {
    let (plan, mut batch) = same(r#"{"type":"fixed","name":"F","size":4096}"#);
    let datum = [7; 4096];
    for _ in 0..MAX_OFFSET / 4096 {
        plan.decode(&mut batch, &datum).unwrap();
    }
    assert_eq!(plan.decode(&mut batch, &datum), Err(DecodeError::BatchFull));
    assert_eq!(batch.finish().num_rows(), MAX_OFFSET / 4096);
    plan.decode(&mut batch, &datum).unwrap();
}

/// What was read of it before it proved bad, and room that was not needed, does not go on to the files' encoder.
#[test]
fn fault_46_a_batch_holds_no_bytes_of_a_row_that_was_taken_back() {
    let json =
        r#"{"type":"record","name":"R","fields":[{"name":"a","type":"string"},{"name":"b","type":"int"}]}"#;
    let (plan, mut batch) = same(json);
    let text = [varint(50), vec![b'x'; 50]].concat();
    plan.decode(&mut batch, &bytes(&[&text, &[2]])).unwrap();
    plan.decode(&mut batch, &text).unwrap_err();
    assert_eq!(batch.finish().column(0).as_string::<i32>().values().len(), 50);
}

#[test]
fn a_row_that_is_taken_back_leaves_nothing() {
    let (plan, mut batch) = same(PAIR);
    let row = |text: &[u8]| bytes(&[&[2, 10, 0], &[2], &varint(text.len() as i64), text]);
    for text in [&b"first"[..], b"gone", b"last"] {
        plan.decode(&mut batch, &row(text)).unwrap();
        if text == b"gone" {
            batch.remove_last_row();
        }
    }
    assert_eq!(batch.rows(), 2);
    let (_, mut expected) = same(PAIR);
    let again = DecodePlan::compile(plan.writer(), expected.layout()).unwrap();
    for text in [&b"first"[..], b"last"] {
        again.decode(&mut expected, &row(text)).unwrap();
    }
    assert_eq!(batch.finish(), expected.finish());
}

#[test]
fn fault_67_odd_maps_and_lists_go_through() {
    let json = r#"{"type":"record","name":"R","fields":[
        {"name":"m","type":{"type":"map","values":["null","int"]}},{"name":"a","type":{"type":"array","items":"int"}}]}"#;
    let (plan, mut batch) = same(json);
    let datum = [6, 2, b'k', 2, 2, 2, b'k', 0, 0, 2, 4, 0, 0];
    plan.decode(&mut batch, &datum).unwrap();
    let found = batch.finish();
    let map = found.column(0).as_map().value(0);
    let keys: Vec<&str> = map.column(0).as_string::<i32>().iter().map(Option::unwrap).collect();
    assert_eq!(keys, ["k", "k", ""]);
    assert!(map.column(1).is_null(1));
    assert_eq!(found.column(1).as_list::<i32>().value(0).len(), 0);
}
