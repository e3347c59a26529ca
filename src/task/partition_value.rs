//! Owns what the values of a column are in a directory's name: their text, and the moments that patterns of times show. Does
//! not own which column it is ([`super::partition_fields`]) nor the directories ([`super::partitioner`]).

use std::fmt::Write as _;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, FixedSizeBinaryArray, StringArray, TimestampMicrosecondArray,
    TimestampMillisecondArray, TimestampNanosecondArray, TimestampSecondArray,
};
use arrow::datatypes::{DataType, Date32Type, Int32Type, Int64Type, TimeUnit};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use chrono::{DateTime, Datelike as _};

use crate::error::{Failure, Stage};

/// The moments that a field gives a rule of times.
pub(super) struct Instants {
    /// Milliseconds since the epoch for each row, `None` for null.
    pub(super) ms: Vec<Result<Option<i64>, Failure>>,
    /// Whether they are moments, which a time zone shows; dates and local timestamps are what they are in every zone.
    pub(super) zoned: bool,
}

/// The moments of the column that `path` names.
pub(super) fn instants(path: &[String], array: &ArrayRef, is_null: &dyn Fn(usize) -> bool) -> Instants {
    let rows = array.len();
    let (zoned, value_ms): (bool, Box<dyn Fn(usize) -> Option<i64> + '_>) = match array.data_type() {
        DataType::Timestamp(unit, zone) => {
            let value_of = raw_timestamps(array, *unit);
            let unit = *unit;
            let ms = move |value: i64| match unit {
                TimeUnit::Second => value.saturating_mul(1_000),
                TimeUnit::Millisecond => value,
                TimeUnit::Microsecond => value.div_euclid(1_000),
                TimeUnit::Nanosecond => value.div_euclid(1_000_000),
            };
            (zone.is_some(), Box::new(move |row| value_of(row).map(ms)))
        }
        DataType::Date32 => {
            let values = array.as_primitive::<Date32Type>();
            (false, Box::new(move |row| Some(i64::from(values.value(row)) * 86_400_000)))
        }
        other => {
            let failure = Failure::fatal(
                Stage::Partition,
                format!(
                    "partition_by takes the time from `{}`, which is of type {other}; name a date or timestamp field, or use `time: record`",
                    path.join(".")
                ),
            );
            let of_row = |row| if is_null(row) { Ok(None) } else { Err(failure.clone()) };
            return Instants { ms: (0..rows).map(of_row).collect(), zoned: true };
        }
    };
    let ms = (0..rows).map(|row| Ok(if is_null(row) { None } else { value_ms(row) })).collect();
    Instants { ms, zoned }
}

/// Writes the text of a row's value, which is not null.
pub(super) type WriteValue<'a> = Box<dyn Fn(usize, &mut String) -> Result<(), Failure> + 'a>;

/// The text of values: exact, so that the value can be had back. Bytes are hexadecimal digits.
pub(super) fn value_writer(array: &ArrayRef) -> WriteValue<'_> {
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
        DataType::Timestamp(unit, _) => timestamps(array, *unit),
        other if other.is_nested() => Box::new(move |_, _| Err(not_scalar(other))),
        other => formatted(array, other),
    }
}

/// The failure of a row whose time no directory can show.
pub(super) fn outside_calendar(second: i64) -> Failure {
    Failure::poison(
        Stage::Partition,
        "time_out_of_range",
        format!("the partition time, {second} s from the epoch, lies outside the years 0 to 9999"),
    )
}

/// As Hive and Spark write a timestamp: what is below a second only where there is something.
fn timestamps(array: &ArrayRef, unit: TimeUnit) -> WriteValue<'_> {
    let value_of = raw_timestamps(array, unit);
    let per_second = match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    };
    Box::new(move |row, text| {
        let Some(value) = value_of(row) else { return Err(not_scalar(&DataType::Null)) };
        let second = value.div_euclid(per_second);
        let nanos = value.rem_euclid(per_second) * (1_000_000_000 / per_second);
        let time = DateTime::from_timestamp(second, 0).ok_or_else(|| outside_calendar(second))?;
        // More digits or a sign would be no timestamp to those who read the directories.
        if !(0..=9999).contains(&time.year()) {
            return Err(outside_calendar(second));
        }
        write_text(text, time.format("%Y-%m-%d %H:%M:%S"));
        if nanos > 0 {
            text.push_str(format!(".{nanos:09}").trim_end_matches('0'));
        }
        Ok(())
    })
}

fn raw_timestamps(array: &ArrayRef, unit: TimeUnit) -> Box<dyn Fn(usize) -> Option<i64> + '_> {
    let any = array.as_any();
    match unit {
        TimeUnit::Second => {
            let values = any.downcast_ref::<TimestampSecondArray>();
            Box::new(move |row| values.map(|values| values.value(row)))
        }
        TimeUnit::Millisecond => {
            let values = any.downcast_ref::<TimestampMillisecondArray>();
            Box::new(move |row| values.map(|values| values.value(row)))
        }
        TimeUnit::Microsecond => {
            let values = any.downcast_ref::<TimestampMicrosecondArray>();
            Box::new(move |row| values.map(|values| values.value(row)))
        }
        TimeUnit::Nanosecond => {
            let values = any.downcast_ref::<TimestampNanosecondArray>();
            Box::new(move |row| values.map(|values| values.value(row)))
        }
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
