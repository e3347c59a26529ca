//! Owns which `logicalType` attributes count. The specification: one that is unknown or does not fit its type is
//! ignored, and the type read as what it is on the wire.

use serde_json::{Map, Value};

use super::model::{Logical, Shape, TimeUnit};

/// The logical type of a type of this shape with these attributes; `None` where there is none or it does not fit.
pub(super) fn logical_type(shape: &Shape, attributes: &Map<String, Value>) -> Option<Logical> {
    let word = attributes.get("logicalType")?.as_str()?;
    match (word, shape) {
        ("decimal", Shape::Bytes) => decimal(attributes, None),
        ("decimal", Shape::Fixed(fixed)) => decimal(attributes, Some(fixed.size)),
        ("big-decimal", Shape::Bytes) => Some(Logical::BigDecimal),
        ("uuid", Shape::String) => Some(Logical::Uuid),
        ("uuid", Shape::Fixed(fixed)) if fixed.size == 16 => Some(Logical::Uuid),
        ("date", Shape::Int) => Some(Logical::Date),
        ("time-millis", Shape::Int) => Some(Logical::TimeMillis),
        ("time-micros", Shape::Long) => Some(Logical::TimeMicros),
        ("timestamp-millis", Shape::Long) => Some(Logical::Timestamp(TimeUnit::Millis)),
        ("timestamp-micros", Shape::Long) => Some(Logical::Timestamp(TimeUnit::Micros)),
        ("timestamp-nanos", Shape::Long) => Some(Logical::Timestamp(TimeUnit::Nanos)),
        ("local-timestamp-millis", Shape::Long) => Some(Logical::LocalTimestamp(TimeUnit::Millis)),
        ("local-timestamp-micros", Shape::Long) => Some(Logical::LocalTimestamp(TimeUnit::Micros)),
        ("local-timestamp-nanos", Shape::Long) => Some(Logical::LocalTimestamp(TimeUnit::Nanos)),
        ("duration", Shape::Fixed(fixed)) if fixed.size == 12 => Some(Logical::Duration),
        _ => None,
    }
}

fn decimal(attributes: &Map<String, Value>, fixed_size: Option<usize>) -> Option<Logical> {
    // Java knows these as 32-bit integers, and as nothing else: not null, not text, not 9.0.
    let number = |value: &Value| usize::try_from(i32::try_from(value.as_u64()?).ok()?).ok();
    let precision = number(attributes.get("precision")?)?;
    let scale = attributes.get("scale").map_or(Some(0), number)?;
    let fits = fixed_size.is_none_or(|size| precision <= digits_of_bytes(size));
    (precision > 0 && scale <= precision && fits).then_some(Logical::Decimal { precision, scale })
}

/// Decimal digits that any value of so many digits fits into `size` bytes of two's complement:
/// ⌊log₁₀(2^(8·size−1) − 1)⌋.
fn digits_of_bytes(size: usize) -> usize {
    if size == 0 {
        return 0;
    }
    // No power of two is a power of ten, so the floor is the same without the −1.
    ((8 * size - 1) as f64 * std::f64::consts::LOG10_2).floor() as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixed_sizes_hold_as_many_digits_as_the_specification_says() {
        let known = [(1, 2), (2, 4), (4, 9), (8, 18), (16, 38), (20, 47), (32, 76)];
        assert_eq!(known.map(|(size, _)| digits_of_bytes(size)), known.map(|(_, digits)| digits));
    }
}
