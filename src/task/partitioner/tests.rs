//! Rows of every kind to directories, and what no directory can hold.

use std::sync::Arc;

use arrow::array::{
    BinaryArray, BooleanArray, Date32Array, Decimal128Array, FixedSizeBinaryArray, Int64Array, StringArray,
    StructArray, TimestampMicrosecondArray, TimestampMillisecondArray, TimestampNanosecondArray,
};
use arrow::datatypes::{DataType, Field, TimeUnit};
use chrono_tz::Tz;

use super::*;
use crate::config::settings::TimeSource;

fn partition(rules: Vec<PartitionRule>, columns: Vec<(&str, ArrayRef)>) -> Vec<Result<String, Failure>> {
    let batch =
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, a)| (n, a, true))).unwrap();
    let timestamps = vec![Some(1_700_000_000_000); batch.num_rows()];
    let names = [Some("shop.Order"), None, Some("Refund")];
    let context =
        RowContext { timestamps_ms: &timestamps, flush_wall_ms: 0, record_name: &|row| names[row % 3] };
    let partitioner = Partitioner::new(rules, 100);
    let places = partitioner.place_fields(&batch.schema(), None, None);
    let partitioned = partitioner.partition(&batch, &places, &context);
    partitioned.rows.into_iter().map(|row| row.map(|i| partitioned.directories[i as usize].clone())).collect()
}

fn field(path: &str) -> PartitionRule {
    let path: Vec<String> = path.split('.').map(str::to_owned).collect();
    PartitionRule::Field { name: path.last().unwrap().clone(), path }
}

fn time(source: TimeSource, pattern: &str, timezone: Tz) -> PartitionRule {
    PartitionRule::Time { source, pattern: pattern.into(), timezone }
}

#[test]
fn rules_combine_in_order_and_nested_fields_are_found() {
    let country: ArrayRef = Arc::new(StringArray::from(vec![Some("PT"), None, Some("a/b")]));
    let shipping: ArrayRef =
        Arc::new(StructArray::from(vec![(Arc::new(Field::new("country", DataType::Utf8, true)), country)]));
    let at: ArrayRef =
        Arc::new(TimestampMicrosecondArray::from(vec![Some(0), Some(-1), None]).with_timezone("UTC"));
    let rows = partition(
        vec![
            field("shipping.country"),
            time(TimeSource::Field(vec!["at".into()]), "dt=%Y-%m-%d/hour=%H", Tz::UTC),
        ],
        vec![("shipping", shipping), ("at", at)],
    );
    let rows: Vec<String> = rows.into_iter().map(Result::unwrap).collect();
    assert_eq!(
        rows,
        [
            "country=PT/dt=1970-01-01/hour=00",
            "country=__HIVE_DEFAULT_PARTITION__/dt=1969-12-31/hour=23",
            "country=a%2Fb/dt=__HIVE_DEFAULT_PARTITION__/hour=__HIVE_DEFAULT_PARTITION__",
        ]
    );
}

fn texts(values: Vec<Option<&str>>) -> ArrayRef {
    Arc::new(StringArray::from(values))
}

fn directories(rules: Vec<PartitionRule>, columns: Vec<(&str, ArrayRef)>) -> Vec<String> {
    partition(rules, columns).into_iter().map(Result::unwrap).collect()
}

#[test]
fn equal_values_of_one_rule_stay_apart_by_the_other() {
    let columns = vec![
        ("a", texts(vec![Some("1"), Some("2"), Some("1"), Some("2")])),
        ("b", texts(vec![Some("x"), Some("x"), Some("y"), Some("x")])),
    ];
    let expected = ["a=1/b=x", "a=2/b=x", "a=1/b=y", "a=2/b=x"];
    assert_eq!(directories(vec![field("a"), field("b")], columns), expected);
}

#[test]
fn fault_69_names_of_columns_are_escaped_as_values_are() {
    let path = vec!["s".to_owned()];
    let rules = vec![
        PartitionRule::Field { name: "a/b".into(), path },
        PartitionRule::Record { full: true, name: "c=d".into() },
    ];
    let rows = directories(rules, vec![("s", texts(vec![Some("v")]))]);
    assert_eq!(rows, ["a%2Fb=v/c%3Dd=shop.Order"]);
}

#[test]
fn fault_70_what_is_inside_a_null_is_null() {
    let inner = texts(vec![Some("hidden"), Some("seen")]);
    let fields = arrow::datatypes::Fields::from(vec![Field::new("x", DataType::Utf8, true)]);
    let around = StructArray::new(fields, vec![inner], Some(vec![false, true].into()));
    let rows = directories(vec![field("r.x")], vec![("r", Arc::new(around) as ArrayRef)]);
    assert_eq!(rows, ["x=__HIVE_DEFAULT_PARTITION__", "x=seen"]);
}

#[test]
fn bytes_are_written_in_two_digits_each() {
    let bytes: ArrayRef = Arc::new(BinaryArray::from(vec![&[0x0a, 0xbc][..], &[0xab, 0x0c]]));
    let fixed = FixedSizeBinaryArray::try_from_iter([[0, 1], [0x10, 0]].into_iter()).unwrap();
    let rows =
        directories(vec![field("b"), field("f")], vec![("b", bytes), ("f", Arc::new(fixed) as ArrayRef)]);
    assert_eq!(rows, ["b=0abc/f=0001", "b=ab0c/f=1000"]);
}

#[test]
fn times_before_the_epoch_belong_to_the_day_before() {
    let last = |unit: DataType, value: i64| {
        let array: ArrayRef = Arc::new(Int64Array::from(vec![value]));
        let array = arrow::compute::cast(&array, &unit).unwrap();
        let rule = time(TimeSource::Field(vec!["at".into()]), "%Y-%m-%d", Tz::UTC);
        directories(vec![rule], vec![("at", array)]).remove(0)
    };
    for unit in [TimeUnit::Millisecond, TimeUnit::Microsecond, TimeUnit::Nanosecond] {
        assert_eq!(last(DataType::Timestamp(unit, None), -1), "1969-12-31", "{unit:?}");
        assert_eq!(last(DataType::Timestamp(unit, None), 0), "1970-01-01", "{unit:?}");
    }
}

#[test]
fn a_null_time_replaces_what_the_pattern_would_fill_in() {
    let at: ArrayRef = Arc::new(TimestampMillisecondArray::from(vec![None, Some(0)]));
    let rule = time(TimeSource::Field(vec!["at".into()]), "year/%Y/fixed=x/m=%m", Tz::UTC);
    let rows = directories(vec![rule], vec![("at", at)]);
    let null = NULL_PARTITION;
    assert_eq!(rows, [format!("year/{null}/fixed=x/m={null}"), "year/1970/fixed=x/m=01".to_owned()]);
}

#[test]
fn the_time_of_the_flush_is_told_from_that_of_the_record() {
    let rules = [TimeSource::Wallclock, TimeSource::Record].map(|source| time(source, "%Y", Tz::UTC));
    assert_eq!(directories(rules.into(), vec![("i", texts(vec![None]))]), ["1970/2023"]);
}

#[test]
fn fault_18_records_without_a_timestamp_share_the_directory_of_null() {
    let rules = vec![time(TimeSource::Record, "dt=%Y-%m-%d", Tz::UTC)];
    let batch = RecordBatch::try_from_iter([("i", texts(vec![Some("a"), Some("b"), Some("c")]))]).unwrap();
    let partitioner = Partitioner::new(rules, 100);
    let places = partitioner.place_fields(&batch.schema(), None, None);
    let timestamps_ms = &[None, Some(0), None];
    let context = RowContext { timestamps_ms, flush_wall_ms: 0, record_name: &|_| None };
    let partitioned = partitioner.partition(&batch, &places, &context);
    assert_eq!(partitioned.directories, ["dt=__HIVE_DEFAULT_PARTITION__", "dt=1970-01-01"]);
    assert_eq!(partitioned.rows.into_iter().map(Result::unwrap).collect::<Vec<_>>(), [0, 1, 0]);
}

#[test]
fn fault_71_a_key_too_long_for_a_store_is_poison() {
    let value = "x".repeat(200);
    let columns = || ["a", "b", "c", "d", "e"].map(|name| (name, texts(vec![Some(&value)]))).to_vec();
    let rules = |count: usize| ["a", "b", "c", "d", "e"][..count].iter().map(|name| field(name)).collect();
    assert!(partition(rules(4), columns())[0].is_ok());
    let row = partition(rules(5), columns()).remove(0);
    assert!(matches!(row, Err(Failure::Poison { kind: "partition_too_long", .. })), "{row:?}");
}

#[test]
fn fault_71_the_longest_name_and_the_longest_key_are_taken() {
    let named =
        |bytes: usize| partition(vec![field("s")], vec![("s", texts(vec![Some(&"x".repeat(bytes))]))]);
    assert!(named(LONGEST_SEGMENT_BYTES - 2)[0].is_ok(), "with `s=` before it");
    assert!(named(LONGEST_SEGMENT_BYTES - 1)[0].is_err());
    let partitioner = Partitioner::new(vec![field("s")], LONGEST_KEY_BYTES - 10);
    let of = |value: &str| {
        let batch = RecordBatch::try_from_iter([("s", texts(vec![Some(value)]))]).unwrap();
        let places = partitioner.place_fields(&batch.schema(), None, None);
        let context = RowContext { timestamps_ms: &[None], flush_wall_ms: 0, record_name: &|_| None };
        partitioner.partition(&batch, &places, &context).rows.remove(0)
    };
    assert!(of("12345678").is_ok() && of("123456789").is_err());
}

#[test]
fn values_that_come_again_after_others_keep_their_directories() {
    let values = [1, 2, 2, 1, 1, 3, 3, 2].map(|value| Some(value.to_string()));
    let column = texts(values.iter().map(Option::as_deref).collect());
    let expected = values.each_ref().map(|value| format!("s={}", value.as_ref().unwrap()));
    assert_eq!(directories(vec![field("s")], vec![("s", column)]), expected);
}

#[test]
fn more_pairs_than_a_table_holds_stay_apart() {
    // 300 times 300 pairs, of which these come.
    let pairs: Vec<(i64, i64)> = (0..900).map(|row| (row % 300, row / 3)).collect();
    let column = |of: fn(&(i64, i64)) -> i64| -> ArrayRef {
        Arc::new(Int64Array::from(pairs.iter().map(of).collect::<Vec<_>>()))
    };
    let rows = directories(
        vec![field("a"), field("b")],
        vec![("a", column(|pair| pair.0)), ("b", column(|pair| pair.1))],
    );
    let expected: Vec<String> = pairs.iter().map(|(a, b)| format!("a={a}/b={b}")).collect();
    assert_eq!(rows, expected);
}

#[test]
fn scalars_of_every_kind_have_a_text() {
    let rows = partition(
        vec![field("b"), field("i"), field("d")],
        vec![
            ("b", Arc::new(BooleanArray::from(vec![true])) as ArrayRef),
            ("i", Arc::new(Int64Array::from(vec![-5]))),
            ("d", Arc::new(Decimal128Array::from(vec![-12_345]).with_precision_and_scale(10, 2).unwrap())),
        ],
    );
    assert_eq!(rows[0].as_deref().unwrap(), "b=true/i=-5/d=-123.45");
}

#[test]
fn each_type_of_record_has_its_directory() {
    let full = PartitionRule::Record { full: true, name: "record".into() };
    let short = PartitionRule::Record { full: false, name: "type".into() };
    let column: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3, 4]));
    let rows = partition(vec![full, short], vec![("i", column)]);
    let rows: Vec<String> = rows.into_iter().map(Result::unwrap).collect();
    assert_eq!(
        rows,
        [
            "record=shop.Order/type=Order",
            "record=__HIVE_DEFAULT_PARTITION__/type=__HIVE_DEFAULT_PARTITION__",
            "record=Refund/type=Refund",
            "record=shop.Order/type=Order",
        ]
    );
}

#[test]
fn a_time_zone_moves_the_hour() {
    let rows = partition(
        vec![time(TimeSource::Record, "%Y/%m/%d/%H", chrono_tz::Asia::Kolkata)],
        vec![("i", Arc::new(Int64Array::from(vec![1])) as ArrayRef)],
    );
    assert_eq!(rows[0].as_deref().unwrap(), "2023/11/15/03");
}

#[test]
fn a_time_zone_moves_neither_dates_nor_local_timestamps() {
    let midnight_ms = 1_709_251_200_000; // 2024-03-01T00:00
    let date: ArrayRef = Arc::new(Date32Array::from(vec![(midnight_ms / 86_400_000) as i32]));
    let local: ArrayRef = Arc::new(TimestampMillisecondArray::from(vec![midnight_ms]));
    let instant: ArrayRef = Arc::new(TimestampMillisecondArray::from(vec![midnight_ms]).with_timezone("UTC"));
    let rule = |field: &str| {
        let pattern = format!("{field}=%Y-%m-%d.%H");
        time(TimeSource::Field(vec![field.into()]), &pattern, chrono_tz::America::New_York)
    };
    let rows = partition(
        vec![rule("date"), rule("local"), rule("instant")],
        vec![("date", date), ("local", local), ("instant", instant)],
    );
    assert_eq!(rows[0].as_deref().unwrap(), "date=2024-03-01.00/local=2024-03-01.00/instant=2024-02-29.19");
}

#[test]
fn timestamps_are_the_text_that_engines_take_for_one() {
    let ms = |value| Arc::new(TimestampMillisecondArray::from(vec![Some(value)])) as ArrayRef;
    let rows = partition(
        ["utc", "local", "micros", "nanos", "before"].map(field).into(),
        vec![
            (
                "utc",
                Arc::new(TimestampMillisecondArray::from(vec![1_709_251_200_000]).with_timezone("UTC"))
                    as ArrayRef,
            ),
            ("local", ms(1_709_251_200_120)),
            (
                "micros",
                Arc::new(TimestampMicrosecondArray::from(vec![1_709_251_200_000_001]).with_timezone("UTC")),
            ),
            ("nanos", Arc::new(TimestampNanosecondArray::from(vec![1_709_251_200_500_000_000]))),
            ("before", ms(-1)),
        ],
    );
    assert_eq!(
        rows[0].as_deref().unwrap(),
        "utc=2024-03-01 00%3A00%3A00/local=2024-03-01 00%3A00%3A00.12/micros=2024-03-01 00%3A00%3A00.000001/\
         nanos=2024-03-01 00%3A00%3A00.5/before=1969-12-31 23%3A59%3A59.999"
    );
    for outside in [i64::MAX, i64::MIN, 253_402_300_800_000] {
        let row = partition(vec![field("at")], vec![("at", ms(outside))]).remove(0);
        assert!(matches!(row, Err(Failure::Poison { kind: "time_out_of_range", .. })), "{row:?}");
    }
}

#[test]
fn fault_55_times_outside_the_calendar_are_poison_not_a_panic() {
    let at: ArrayRef = Arc::new(
        TimestampMillisecondArray::from(vec![i64::MAX, i64::MIN, 253_402_300_800_000, 0])
            .with_timezone("UTC"),
    );
    let rows = partition(vec![time(TimeSource::Field(vec!["at".into()]), "y=%Y", Tz::UTC)], vec![("at", at)]);
    for row in &rows[..3] {
        assert!(matches!(row, Err(Failure::Poison { kind: "time_out_of_range", .. })), "{row:?}");
    }
    assert_eq!(rows[3].as_deref().unwrap(), "y=1970");
}

#[test]
fn fault_70_null_missing_and_empty_are_told_apart() {
    let s: ArrayRef = Arc::new(StringArray::from(vec![None, Some("")]));
    let rows = partition(vec![field("s"), field("gone")], vec![("s", s)]);
    let rows: Vec<String> = rows.into_iter().map(Result::unwrap).collect();
    assert_eq!(rows[0], "s=__HIVE_DEFAULT_PARTITION__/gone=__HIVE_DEFAULT_PARTITION__");
    assert_eq!(rows[1], "s=/gone=__HIVE_DEFAULT_PARTITION__");
}

#[test]
fn fault_71_a_value_too_long_for_a_name_is_poison() {
    let s: ArrayRef = Arc::new(StringArray::from(vec!["x".repeat(1024), "y".repeat(200), "/".repeat(100)]));
    let rows = partition(vec![field("s")], vec![("s", s)]);
    assert!(matches!(rows[0], Err(Failure::Poison { kind: "partition_too_long", .. })));
    assert!(rows[1].is_ok());
    assert!(matches!(rows[2], Err(Failure::Poison { kind: "partition_too_long", .. })));
}

#[test]
fn fault_70_a_nested_value_is_refused_for_good() {
    let inner: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    let record: ArrayRef =
        Arc::new(StructArray::from(vec![(Arc::new(Field::new("x", DataType::Int64, true)), inner)]));
    let rows = partition(vec![field("r")], vec![("r", record)]);
    assert!(matches!(rows[0], Err(Failure::Fatal { .. })));
}
