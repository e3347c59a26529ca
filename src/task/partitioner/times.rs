//! Owns directories that are made of a time: where the time comes from, and what a pattern makes of it.

use std::collections::HashMap;

use arrow::array::{
    Array, Date32Array, RecordBatch, TimestampMicrosecondArray, TimestampMillisecondArray,
    TimestampNanosecondArray,
};
use arrow::datatypes::{DataType, TimeUnit};
use chrono::format::{Item, Numeric, StrftimeItems};
use chrono::{DateTime, Utc};
use chrono_tz::Tz;

use super::{Interner, Partitioned, RowContext, find_column};
use crate::config::settings::TimeSource;
use crate::error::{Failure, Stage};
use crate::task::names::NULL_PARTITION;

/// Milliseconds since the epoch for each row, `None` for null.
pub(super) fn instants(
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

pub(super) fn time_parts(
    instants: &[Result<Option<i64>, Failure>],
    pattern: &str,
    timezone: Tz,
) -> Partitioned {
    let mut interner = Interner::default();
    let granule = granule_seconds(pattern);
    // By the wall clock: whatever moves it, the same time there is the same directory.
    let mut by_time: HashMap<i64, Result<u32, Failure>> = HashMap::new();
    let mut last: Option<(i64, Result<u32, Failure>)> = None;
    let rows = instants
        .iter()
        .map(|instant| {
            let Some(ms) = instant.as_ref().map_err(Failure::clone)? else {
                return interner.intern(&null_time_directory(pattern));
            };
            let local = local_time(ms.div_euclid(1000), timezone)?;
            let granule = local.naive_local().and_utc().timestamp().div_euclid(granule);
            if let Some((known, part)) = &last
                && *known == granule
            {
                return part.clone();
            }
            let part = by_time
                .entry(granule)
                .or_insert_with(|| interner.intern(&local.format(pattern).to_string()))
                .clone();
            last = Some((granule, part.clone()));
            part
        })
        .collect();
    Partitioned { directories: interner.directories, rows }
}

/// Within how many seconds of the wall clock the pattern makes the same text, as far as that is certain.
fn granule_seconds(pattern: &str) -> i64 {
    const MINUTE: i64 = 60;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    let of = |item: Item<'_>| match item {
        Item::Literal(_)
        | Item::Space(_)
        | Item::Numeric(Numeric::Year | Numeric::Month | Numeric::Day | Numeric::Ordinal, _) => DAY,
        Item::Numeric(Numeric::Hour, _) => HOUR,
        Item::Numeric(Numeric::Minute, _) => MINUTE,
        _ => 1,
    };
    StrftimeItems::new(pattern).map(of).min().unwrap_or(1)
}

fn local_time(second: i64, timezone: Tz) -> Result<DateTime<Tz>, Failure> {
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
    Ok(utc.with_timezone(&timezone))
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
    use super::*;

    /// Times near where offsets change and days end, in no order.
    fn instants() -> Vec<Result<Option<i64>, Failure>> {
        let seconds = (0..20_000_i64).map(|number| (number * 7_919) % 4_000_000 - 400_000);
        let eras = [0, 1_698_540_000, 1_711_846_000, -2_208_988_800, 951_782_400];
        let instants = eras.iter().flat_map(|era| seconds.clone().step_by(7).map(move |second| era + second));
        instants.map(|second| Ok(Some(second * 1_000 + 1))).collect()
    }

    #[test]
    fn a_directory_is_what_the_pattern_makes_of_each_time_by_itself() {
        let patterns =
            ["%Y/%m/%d/%H", "dt=%F", "dt=%Y-%m-%d/at=%H%M", "s=%S", "%j-%I%p", "z=%z %Z", "%s", "x"];
        let instants = instants();
        for pattern in patterns {
            for timezone in [Tz::UTC, chrono_tz::Europe::Berlin, chrono_tz::Asia::Kathmandu] {
                let parts = time_parts(&instants, pattern, timezone);
                for (instant, part) in instants.iter().zip(parts.rows) {
                    let second = instant.as_ref().unwrap().unwrap().div_euclid(1_000);
                    let alone = DateTime::from_timestamp(second, 0).unwrap().with_timezone(&timezone);
                    let wanted = alone.format(pattern).to_string();
                    assert_eq!(parts.directories[part.unwrap() as usize], wanted, "{second} in {timezone}");
                }
            }
        }
    }

    #[test]
    fn only_what_is_known_to_be_coarse_is_taken_for_coarse() {
        for (pattern, seconds) in [
            ("dt=%Y-%m-%d", 86_400),
            ("dt=%Y-%m-%d/hour=%H", 3_600),
            ("at=%Y-%m-%dT%H%M", 60),
            ("%H:%M:%S", 1),
            ("%z", 1),
            ("%s", 1),
            ("", 1),
        ] {
            assert_eq!(granule_seconds(pattern), seconds, "{pattern}");
        }
    }
}
