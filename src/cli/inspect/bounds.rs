//! Owns the least and greatest value of a column over all row groups, as text. Does not own how statistics came to be.

use std::cmp::Ordering;
use std::fmt::Write as _;

use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta};
use parquet::basic::{ConvertedType, LogicalType, TimeUnit, Type as PhysicalType};
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::statistics::Statistics;
use parquet::schema::types::ColumnDescriptor;

/// A value of the statistics, comparable within its column.
#[derive(Clone, Debug, PartialEq)]
enum Bound {
    Boolean(bool),
    Integer(i128),
    Float(f64),
    /// Not always a value of the column: writers cut long ones short, the greatest upwards.
    Bytes(Vec<u8>),
}

/// How integers and bytes of a column are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    Plain,
    Unsigned,
    Text,
    Date,
    Time(Ticks),
    Timestamp(Ticks, bool),
    /// With its scale.
    Decimal(i32),
    Uuid,
    Float16,
    /// No order is defined, or none that statistics follow.
    Unordered,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ticks {
    per_second: i64,
}

/// Minimum and maximum, each `None` when a row group with values does not tell it.
pub(super) fn column_bounds(
    column: &ColumnDescriptor,
    chunks: &[&ColumnChunkMetaData],
) -> (Option<String>, Option<String>) {
    let meaning = meaning_of(column);
    let extreme = |wanted: Ordering, of: fn(&Statistics, Meaning) -> Option<Bound>| {
        let mut found: Option<Bound> = None;
        for chunk in chunks {
            let statistics = chunk.statistics()?;
            let Some(bound) = of(statistics, meaning) else {
                // A row group of nulls has no bounds and takes none away.
                if statistics.null_count_opt() == Some(chunk.num_values() as u64) {
                    continue;
                }
                return None;
            };
            let further = found.as_ref().is_none_or(|found| compare(&bound, found) == Some(wanted));
            if further {
                found = Some(bound);
            }
        }
        found.map(|bound| show(&bound, meaning))
    };
    if meaning == Meaning::Unordered {
        return (None, None);
    }
    (extreme(Ordering::Less, least), extreme(Ordering::Greater, greatest))
}

fn meaning_of(column: &ColumnDescriptor) -> Meaning {
    if let Some(logical) = column.logical_type_ref() {
        return match logical {
            LogicalType::String | LogicalType::Enum | LogicalType::Json => Meaning::Text,
            LogicalType::Integer(int) if !int.is_signed => Meaning::Unsigned,
            LogicalType::Integer(_) | LogicalType::Bson => Meaning::Plain,
            LogicalType::Date => Meaning::Date,
            LogicalType::Time(at) => Meaning::Time(ticks(at.unit)),
            LogicalType::Timestamp(at) => Meaning::Timestamp(ticks(at.unit), at.is_adjusted_to_u_t_c),
            LogicalType::Decimal(decimal) => Meaning::Decimal(decimal.scale),
            LogicalType::Uuid => Meaning::Uuid,
            LogicalType::Float16 => Meaning::Float16,
            _ => Meaning::Unordered,
        };
    }
    match column.converted_type() {
        ConvertedType::UTF8 | ConvertedType::ENUM | ConvertedType::JSON => Meaning::Text,
        ConvertedType::UINT_8 | ConvertedType::UINT_16 | ConvertedType::UINT_32 | ConvertedType::UINT_64 => {
            Meaning::Unsigned
        }
        ConvertedType::DATE => Meaning::Date,
        ConvertedType::TIME_MILLIS => Meaning::Time(ticks(TimeUnit::MILLIS)),
        ConvertedType::TIME_MICROS => Meaning::Time(ticks(TimeUnit::MICROS)),
        ConvertedType::TIMESTAMP_MILLIS => Meaning::Timestamp(ticks(TimeUnit::MILLIS), true),
        ConvertedType::TIMESTAMP_MICROS => Meaning::Timestamp(ticks(TimeUnit::MICROS), true),
        ConvertedType::DECIMAL => Meaning::Decimal(column.type_scale()),
        ConvertedType::INTERVAL => Meaning::Unordered,
        _ if column.physical_type() == PhysicalType::INT96 => Meaning::Unordered,
        _ => Meaning::Plain,
    }
}

fn ticks(unit: TimeUnit) -> Ticks {
    Ticks {
        per_second: match unit {
            TimeUnit::MILLIS => 1_000,
            TimeUnit::MICROS => 1_000_000,
            TimeUnit::NANOS => 1_000_000_000,
        },
    }
}

fn least(statistics: &Statistics, meaning: Meaning) -> Option<Bound> {
    match statistics {
        Statistics::Boolean(of) => of.min_opt().copied().map(Bound::Boolean),
        Statistics::Int32(of) => of.min_opt().map(|value| narrow(*value, meaning)),
        Statistics::Int64(of) => of.min_opt().map(|value| wide(*value, meaning)),
        Statistics::Float(of) => of.min_opt().map(|value| Bound::Float(f64::from(*value))),
        Statistics::Double(of) => of.min_opt().copied().map(Bound::Float),
        Statistics::Int96(_) => None,
        Statistics::ByteArray(_) | Statistics::FixedLenByteArray(_) => {
            bytes(statistics, statistics.min_bytes_opt()?, meaning)
        }
    }
}

fn greatest(statistics: &Statistics, meaning: Meaning) -> Option<Bound> {
    match statistics {
        Statistics::Boolean(of) => of.max_opt().copied().map(Bound::Boolean),
        Statistics::Int32(of) => of.max_opt().map(|value| narrow(*value, meaning)),
        Statistics::Int64(of) => of.max_opt().map(|value| wide(*value, meaning)),
        Statistics::Float(of) => of.max_opt().map(|value| Bound::Float(f64::from(*value))),
        Statistics::Double(of) => of.max_opt().copied().map(Bound::Float),
        Statistics::Int96(_) => None,
        Statistics::ByteArray(_) | Statistics::FixedLenByteArray(_) => {
            bytes(statistics, statistics.max_bytes_opt()?, meaning)
        }
    }
}

fn narrow(value: i32, meaning: Meaning) -> Bound {
    Bound::Integer(if meaning == Meaning::Unsigned { i128::from(value as u32) } else { i128::from(value) })
}

fn wide(value: i64, meaning: Meaning) -> Bound {
    Bound::Integer(if meaning == Meaning::Unsigned { i128::from(value as u64) } else { i128::from(value) })
}

fn bytes(statistics: &Statistics, value: &[u8], meaning: Meaning) -> Option<Bound> {
    // The older fields were compared as signed bytes by some writers.
    if statistics.is_min_max_deprecated() {
        return None;
    }
    match meaning {
        Meaning::Decimal(_) if value.len() <= 16 => {
            let negative = value.first().is_some_and(|byte| byte & 0x80 != 0);
            let mut whole = [if negative { 0xff } else { 0 }; 16];
            whole[16 - value.len()..].copy_from_slice(value);
            Some(Bound::Integer(i128::from_be_bytes(whole)))
        }
        Meaning::Decimal(_) => None,
        Meaning::Float16 => {
            let bits: [u8; 2] = value.try_into().ok()?;
            Some(Bound::Float(half_to_f64(u16::from_le_bytes(bits))))
        }
        _ => Some(Bound::Bytes(value.to_vec())),
    }
}

fn half_to_f64(bits: u16) -> f64 {
    let (exponent, fraction) = (i32::from(bits >> 10 & 0x1f), f64::from(bits & 0x3ff));
    let magnitude = match exponent {
        0 => fraction * 2_f64.powi(-24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1.0 + fraction / 1024.0) * 2_f64.powi(exponent - 15),
    };
    if bits & 0x8000 == 0 { magnitude } else { -magnitude }
}

fn compare(one: &Bound, other: &Bound) -> Option<Ordering> {
    match (one, other) {
        (Bound::Boolean(one), Bound::Boolean(other)) => Some(one.cmp(other)),
        (Bound::Integer(one), Bound::Integer(other)) => Some(one.cmp(other)),
        (Bound::Float(one), Bound::Float(other)) => one.partial_cmp(other),
        (Bound::Bytes(one), Bound::Bytes(other)) => Some(one.cmp(other)),
        _ => None,
    }
}

fn show(bound: &Bound, meaning: Meaning) -> String {
    match bound {
        Bound::Boolean(value) => value.to_string(),
        Bound::Float(value) => value.to_string(),
        Bound::Integer(value) => show_integer(*value, meaning),
        Bound::Bytes(value) => show_bytes(value, meaning),
    }
}

fn show_integer(value: i128, meaning: Meaning) -> String {
    let instant = |ticks: Ticks| {
        let value = i64::try_from(value).ok()?;
        let nanoseconds = value.rem_euclid(ticks.per_second) * (1_000_000_000 / ticks.per_second);
        DateTime::from_timestamp(value.div_euclid(ticks.per_second), nanoseconds as u32)
    };
    let shown = match meaning {
        Meaning::Decimal(scale) => Some(show_decimal(value, scale)),
        Meaning::Date => i64::try_from(value)
            .ok()
            .and_then(TimeDelta::try_days)
            .and_then(|days| NaiveDate::default().checked_add_signed(days))
            .map(|date| date.to_string()),
        Meaning::Time(ticks) => {
            instant(ticks).map(|at| at.time()).filter(|_| value >= 0).map(|at: NaiveTime| at.to_string())
        }
        Meaning::Timestamp(ticks, utc) => instant(ticks)
            .map(|at| at.naive_utc().format("%Y-%m-%dT%H:%M:%S%.f").to_string() + if utc { "Z" } else { "" }),
        _ => None,
    };
    // A value beyond the calendar is shown as it is stored.
    shown.unwrap_or_else(|| value.to_string())
}

fn show_decimal(value: i128, scale: i32) -> String {
    let Some(scale) = usize::try_from(scale).ok().filter(|scale| (1..=76).contains(scale)) else {
        return value.to_string();
    };
    let digits = format!("{:0>width$}", value.unsigned_abs(), width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    format!("{}{whole}.{fraction}", if value < 0 { "-" } else { "" })
}

fn show_bytes(value: &[u8], meaning: Meaning) -> String {
    let hex = |bytes: &[u8]| {
        bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut shown, byte| {
            let _ = write!(shown, "{byte:02x}");
            shown
        })
    };
    match meaning {
        Meaning::Text => String::from_utf8_lossy(value).into_owned(),
        Meaning::Uuid if value.len() == 16 => {
            let parts = [&value[..4], &value[4..6], &value[6..8], &value[8..10], &value[10..]];
            parts.map(hex).join("-")
        }
        _ => format!("0x{}", hex(value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_shown_by_their_meaning() {
        let ms = ticks(TimeUnit::MILLIS);
        let cases = [
            (-5, Meaning::Decimal(2), "-0.05"),
            (12_345, Meaning::Decimal(2), "123.45"),
            (7, Meaning::Decimal(0), "7"),
            (19_000, Meaning::Date, "2022-01-08"),
            (i128::from(i32::MIN), Meaning::Date, "-2147483648"),
            (-1, Meaning::Timestamp(ms, true), "1969-12-31T23:59:59.999Z"),
            (0, Meaning::Timestamp(ms, false), "1970-01-01T00:00:00"),
            (i128::from(i64::MAX), Meaning::Timestamp(ms, true), "9223372036854775807"),
            (3_661_001, Meaning::Time(ms), "01:01:01.001"),
            (i128::from(u64::MAX), Meaning::Unsigned, "18446744073709551615"),
        ];
        for (value, meaning, shown) in cases {
            assert_eq!(show_integer(value, meaning), shown);
        }
    }

    #[test]
    fn halves_are_read() {
        for (bits, value) in [(0x3c00, 1.0), (0xc000, -2.0), (0x7bff, 65_504.0), (0x0001, 2_f64.powi(-24))] {
            assert!((half_to_f64(bits) - value).abs() < f64::EPSILON, "{bits:x}");
        }
        assert!(half_to_f64(0x7c00).is_infinite() && half_to_f64(0x7e00).is_nan());
    }

    #[test]
    fn bytes_are_shown_by_their_meaning() {
        assert_eq!(show_bytes(&[0xff, 1], Meaning::Plain), "0xff01");
        assert_eq!(show_bytes(&[0x11; 16], Meaning::Uuid), "11111111-1111-1111-1111-111111111111");
    }
}
