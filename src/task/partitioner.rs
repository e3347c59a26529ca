//! Owns the storage partition of a row: the `k=v` directories that `partition_by` makes of it.
//! Does not own what is written there.

use std::collections::HashMap;
use std::fmt::Write as _;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, Date32Array, FixedSizeBinaryArray, RecordBatch, StringArray,
    TimestampMicrosecondArray, TimestampMillisecondArray, TimestampNanosecondArray,
};
use arrow::datatypes::{DataType, Int32Type, Int64Type, SchemaRef, TimeUnit};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use chrono::{DateTime, TimeZone as _, Utc};
use chrono_tz::Tz;

use crate::config::settings::{PartitionRule, TimeSource};
use crate::error::{Failure, Stage};
use crate::task::file_schema::file_schema;
use crate::task::names::{LONGEST_KEY_BYTES, LONGEST_SEGMENT_BYTES, NULL_PARTITION, escape_partition_value};

/// Applies the rules of `partition_by` to batches.
pub struct Partitioner {
    rules: Vec<PartitionRule>,
    /// Longest directory that leaves room for the file's name in a key.
    longest_directory_bytes: usize,
}

/// What of a row is not in its columns.
pub struct RowContext<'a> {
    /// Kafka timestamp of each row, ms.
    pub timestamps_ms: &'a [Option<i64>],
    /// Wall clock when the flush began, ms.
    pub flush_wall_ms: i64,
    /// Full name of the type of record that a row was written as; `None` where it had no value.
    pub record_name: &'a dyn Fn(usize) -> Option<&'a str>,
}

/// The directories of a batch's rows.
pub struct Partitioned {
    /// Distinct directories, in order of first appearance.
    pub directories: Vec<String>,
    /// For each row the index of its directory, or why it has none.
    pub rows: Vec<Result<u32, Failure>>,
}

impl Partitioner {
    /// `name_bytes` is the longest that all else of a key can be: output prefix, topic directory and file name.
    #[must_use]
    pub fn new(rules: Vec<PartitionRule>, name_bytes: usize) -> Self {
        Self { rules, longest_directory_bytes: LONGEST_KEY_BYTES.saturating_sub(name_bytes) }
    }

    /// The schema of the files of batches with this one: a column that a directory would hide has another name there.
    #[must_use]
    pub fn file_schema(&self, schema: &SchemaRef) -> SchemaRef {
        file_schema(&self.rules, schema)
    }

    /// Whether every row goes to the same, empty directory.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.rules.is_empty()
    }

    /// The directory of every row of `batch`. A row whose value cannot be a directory (a time outside the
    /// calendar, a name too long) is poison; a null or missing field is the null partition.
    #[must_use]
    pub fn partition(&self, batch: &RecordBatch, context: &RowContext<'_>) -> Partitioned {
        let rows = batch.num_rows();
        let mut combined: Vec<Result<u32, Failure>> = vec![Ok(0); rows];
        let mut directories = vec![String::new()];
        for rule in &self.rules {
            let parts = rule_parts(rule, batch, context);
            let mut joined: HashMap<(u32, u32), u32> = HashMap::new();
            let mut next: Vec<String> = Vec::new();
            for (row, part) in parts.rows.into_iter().enumerate() {
                let Ok(base) = combined[row] else { continue };
                combined[row] = part.map(|part| {
                    *joined.entry((base, part)).or_insert_with(|| {
                        next.push(join(&directories[base as usize], &parts.directories[part as usize]));
                        next.len() as u32 - 1
                    })
                });
            }
            directories = next;
        }
        let too_long: Vec<bool> =
            directories.iter().map(|directory| directory.len() > self.longest_directory_bytes).collect();
        for row in &mut combined {
            if let Ok(index) = row
                && too_long[*index as usize]
            {
                *row = Err(too_long_failure(directories[*index as usize].len()));
            }
        }
        Partitioned { directories, rows: combined }
    }
}

fn rule_parts(rule: &PartitionRule, batch: &RecordBatch, context: &RowContext<'_>) -> Partitioned {
    match rule {
        PartitionRule::Field { path, name } => field_parts(path, name, batch),
        PartitionRule::Time { source, pattern, timezone } => {
            let instants = instants(source, batch, context);
            time_parts(&instants, pattern, *timezone)
        }
        PartitionRule::Record { full, name } => record_parts(*full, name, batch.num_rows(), context),
    }
}

fn record_parts(full: bool, name: &str, rows: usize, context: &RowContext<'_>) -> Partitioned {
    let name = escape_partition_value(name);
    let mut interner = Interner::default();
    // Rows of one type come in runs.
    let mut last: Option<(Option<&str>, Result<u32, Failure>)> = None;
    let rows = (0..rows)
        .map(|row| {
            let record = (context.record_name)(row);
            match &last {
                Some((known, part)) if *known == record => part.clone(),
                _ => {
                    let value = match record {
                        None => NULL_PARTITION.to_owned(),
                        Some(record) if full => escape_partition_value(record),
                        Some(record) => escape_partition_value(record.rsplit('.').next().unwrap_or(record)),
                    };
                    let part = interner.intern(&format!("{name}={value}"));
                    last = Some((record, part.clone()));
                    part
                }
            }
        })
        .collect();
    Partitioned { directories: interner.directories, rows }
}

fn join(base: &str, part: &str) -> String {
    if base.is_empty() { part.to_owned() } else { format!("{base}/{part}") }
}

fn too_long_failure(bytes: usize) -> Failure {
    Failure::poison(
        Stage::Partition,
        "partition_too_long",
        format!(
            "the partition directory would be {bytes} bytes long; a path segment holds {LONGEST_SEGMENT_BYTES}, a whole key {LONGEST_KEY_BYTES}"
        ),
    )
}

/// Interns the directory text of each row.
#[derive(Default)]
struct Interner {
    known: HashMap<String, u32>,
    directories: Vec<String>,
}

impl Interner {
    fn intern(&mut self, text: &str) -> Result<u32, Failure> {
        if let Some(index) = self.known.get(text) {
            return Ok(*index);
        }
        if let Some(long) = text.split('/').find(|segment| segment.len() > LONGEST_SEGMENT_BYTES) {
            return Err(too_long_failure(long.len()));
        }
        let index = self.directories.len() as u32;
        self.known.insert(text.to_owned(), index);
        self.directories.push(text.to_owned());
        Ok(index)
    }
}

fn field_parts(path: &[String], name: &str, batch: &RecordBatch) -> Partitioned {
    let name = escape_partition_value(name);
    let mut interner = Interner::default();
    let rows = batch.num_rows();
    let mut text = String::new();
    let Some((array, is_null)) = find_column(batch, path) else {
        let all_null = interner.intern(&format!("{name}={NULL_PARTITION}"));
        return Partitioned { directories: interner.directories, rows: vec![all_null; rows] };
    };
    let value_of = value_writer(&array);
    let mut last: Option<(String, u32)> = None;
    let rows = (0..rows)
        .map(|row| {
            if is_null(row) {
                return interner.intern(&format!("{name}={NULL_PARTITION}"));
            }
            text.clear();
            value_of(row, &mut text)?;
            if let Some((known, index)) = &last
                && *known == text
            {
                return Ok(*index);
            }
            let index = interner.intern(&format!("{name}={}", escape_partition_value(&text)))?;
            last = Some((text.clone(), index));
            Ok(index)
        })
        .collect();
    Partitioned { directories: interner.directories, rows }
}

type IsNull = Box<dyn Fn(usize) -> bool>;

/// Follows field names into nested records. The second result says where the value or one of its parents is null.
fn find_column(batch: &RecordBatch, path: &[String]) -> Option<(ArrayRef, IsNull)> {
    let (first, rest) = path.split_first()?;
    let mut array = batch.column_by_name(first)?.clone();
    let mut chain = vec![array.clone()];
    for name in rest {
        let child = array.as_struct_opt()?.column_by_name(name)?.clone();
        chain.push(child.clone());
        array = child;
    }
    Some((array, Box::new(move |row| chain.iter().any(|level| level.is_null(row)))))
}

type WriteValue<'a> = Box<dyn Fn(usize, &mut String) -> Result<(), Failure> + 'a>;

fn value_writer(array: &ArrayRef) -> WriteValue<'_> {
    match array.data_type() {
        DataType::Utf8 => {
            let values: &StringArray = array.as_string();
            Box::new(|row, text| {
                text.push_str(values.value(row));
                Ok(())
            })
        }
        DataType::Int64 => {
            let values = array.as_primitive::<Int64Type>();
            Box::new(|row, text| {
                write_text(text, values.value(row));
                Ok(())
            })
        }
        DataType::Int32 => {
            let values = array.as_primitive::<Int32Type>();
            Box::new(|row, text| {
                write_text(text, values.value(row));
                Ok(())
            })
        }
        DataType::Binary => {
            let values: &BinaryArray = array.as_binary();
            Box::new(|row, text| {
                write_hex(text, values.value(row));
                Ok(())
            })
        }
        DataType::FixedSizeBinary(_) => match array.as_any().downcast_ref::<FixedSizeBinaryArray>() {
            Some(values) => Box::new(|row, text| {
                write_hex(text, values.value(row));
                Ok(())
            }),
            None => Box::new(|_, _| Err(not_scalar(&DataType::Null))),
        },
        other if other.is_nested() => Box::new(move |_, _| Err(not_scalar(other))),
        other => formatted(array, other),
    }
}

fn formatted<'a>(array: &'a ArrayRef, data_type: &'a DataType) -> WriteValue<'a> {
    const OPTIONS: FormatOptions<'static> = FormatOptions::new();
    match ArrayFormatter::try_new(array.as_ref(), &OPTIONS) {
        Ok(formatter) => Box::new(move |row, text| {
            formatter.value(row).write(text).map_err(|error| {
                Failure::poison(
                    Stage::Partition,
                    "partition_value",
                    format!("the partition value of type {data_type} has no text: {error}"),
                )
            })
        }),
        Err(_) => Box::new(move |_, _| Err(not_scalar(data_type))),
    }
}

fn write_text(text: &mut String, value: impl std::fmt::Display) {
    // Writing to a string cannot fail.
    let _ = write!(text, "{value}");
}

fn write_hex(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
}

fn not_scalar(data_type: &DataType) -> Failure {
    Failure::fatal(
        Stage::Partition,
        format!(
            "partition_by names a field of type {data_type}, which has no single value; name a field inside it or another one"
        ),
    )
}

/// Milliseconds since the epoch for each row, `None` for null.
fn instants(
    source: &TimeSource,
    batch: &RecordBatch,
    context: &RowContext<'_>,
) -> Vec<Result<Option<i64>, Failure>> {
    match source {
        TimeSource::Record => context.timestamps_ms.iter().map(|timestamp| Ok(*timestamp)).collect(),
        TimeSource::Wallclock => vec![Ok(Some(context.flush_wall_ms)); batch.num_rows()],
        TimeSource::Field(path) => field_instants(path, batch),
    }
}

fn field_instants(path: &[String], batch: &RecordBatch) -> Vec<Result<Option<i64>, Failure>> {
    let Some((array, is_null)) = find_column(batch, path) else { return vec![Ok(None); batch.num_rows()] };
    let any = array.as_any();
    let value_ms: Box<dyn Fn(usize) -> Option<i64>> = match array.data_type() {
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            let values = any.downcast_ref::<TimestampMillisecondArray>();
            Box::new(move |row| values.map(|values| values.value(row)))
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            let values = any.downcast_ref::<TimestampMicrosecondArray>();
            Box::new(move |row| values.map(|values| values.value(row).div_euclid(1000)))
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            let values = any.downcast_ref::<TimestampNanosecondArray>();
            Box::new(move |row| values.map(|values| values.value(row).div_euclid(1_000_000)))
        }
        DataType::Date32 => {
            let values = any.downcast_ref::<Date32Array>();
            Box::new(move |row| values.map(|values| i64::from(values.value(row)) * 86_400_000))
        }
        other => {
            let failure = Failure::fatal(
                Stage::Partition,
                format!(
                    "partition_by takes the time from `{}`, which is of type {other}; name a date or timestamp field, or use `time: record`",
                    path.join(".")
                ),
            );
            return vec![Err(failure); batch.num_rows()];
        }
    };
    (0..batch.num_rows()).map(|row| Ok(if is_null(row) { None } else { value_ms(row) })).collect()
}

fn time_parts(instants: &[Result<Option<i64>, Failure>], pattern: &str, timezone: Tz) -> Partitioned {
    let mut interner = Interner::default();
    let mut by_second: HashMap<i64, Result<u32, Failure>> = HashMap::new();
    let rows = instants
        .iter()
        .map(|instant| match instant {
            Err(failure) => Err(failure.clone()),
            Ok(None) => interner.intern(&null_time_directory(pattern)),
            Ok(Some(ms)) => {
                let second = ms.div_euclid(1000);
                by_second
                    .entry(second)
                    .or_insert_with(|| {
                        let text = format_time(second, pattern, timezone)?;
                        interner.intern(&text)
                    })
                    .clone()
            }
        })
        .collect();
    Partitioned { directories: interner.directories, rows }
}

fn format_time(second: i64, pattern: &str, timezone: Tz) -> Result<String, Failure> {
    let outside = || {
        Failure::poison(
            Stage::Partition,
            "time_out_of_range",
            format!("the partition time, {second} s from the epoch, lies outside the calendar"),
        )
    };
    let utc: DateTime<Utc> = DateTime::from_timestamp(second, 0).ok_or_else(outside)?;
    // Years beyond four digits (or before 0) would break the pattern's order and some engines.
    if !(0..=9999).contains(&chrono::Datelike::year(&utc)) {
        return Err(outside());
    }
    let mut text = String::new();
    write!(text, "{}", timezone.from_utc_datetime(&utc.naive_utc()).format(pattern))
        .map_err(|_| outside())?;
    Ok(text)
}

/// The pattern with every value replaced by the null marker: `dt=%Y-%m-%d/hour=%H` becomes `dt=…/hour=…`.
fn null_time_directory(pattern: &str) -> String {
    let segments: Vec<String> = pattern
        .split('/')
        .map(|segment| match segment.split_once('=') {
            Some((name, value)) if value.contains('%') => format!("{name}={NULL_PARTITION}"),
            None if segment.contains('%') => NULL_PARTITION.to_owned(),
            _ => segment.to_owned(),
        })
        .collect();
    segments.join("/")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{BooleanArray, Decimal128Array, Int64Array, StructArray};
    use arrow::datatypes::Field;

    use super::*;

    fn partition(rules: Vec<PartitionRule>, columns: Vec<(&str, ArrayRef)>) -> Vec<Result<String, Failure>> {
        let batch =
            RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, a)| (n, a, true))).unwrap();
        let timestamps = vec![Some(1_700_000_000_000); batch.num_rows()];
        let names = [Some("shop.Order"), None, Some("Refund")];
        let context =
            RowContext { timestamps_ms: &timestamps, flush_wall_ms: 0, record_name: &|row| names[row % 3] };
        let partitioned = Partitioner::new(rules, 100).partition(&batch, &context);
        partitioned
            .rows
            .into_iter()
            .map(|row| row.map(|i| partitioned.directories[i as usize].clone()))
            .collect()
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
        let shipping: ArrayRef = Arc::new(StructArray::from(vec![(
            Arc::new(Field::new("country", DataType::Utf8, true)),
            country,
        )]));
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

    #[test]
    fn scalars_of_every_kind_have_a_text() {
        let rows = partition(
            vec![field("b"), field("i"), field("d")],
            vec![
                ("b", Arc::new(BooleanArray::from(vec![true])) as ArrayRef),
                ("i", Arc::new(Int64Array::from(vec![-5]))),
                (
                    "d",
                    Arc::new(Decimal128Array::from(vec![-12_345]).with_precision_and_scale(10, 2).unwrap()),
                ),
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
    fn fault_55_times_outside_the_calendar_are_poison_not_a_panic() {
        let at: ArrayRef = Arc::new(
            TimestampMillisecondArray::from(vec![i64::MAX, i64::MIN, 253_402_300_800_000, 0])
                .with_timezone("UTC"),
        );
        let rows =
            partition(vec![time(TimeSource::Field(vec!["at".into()]), "y=%Y", Tz::UTC)], vec![("at", at)]);
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
        let s: ArrayRef =
            Arc::new(StringArray::from(vec!["x".repeat(1024), "y".repeat(200), "/".repeat(100)]));
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
}
