//! Owns sizes in bytes and spans of time as people write them. Does not own which of them a key allows.

use std::fmt;
use std::time::Duration;

/// A number of bytes.
///
/// Written as a whole number (bytes), or as a number with a unit: `B`; `KB`, `MB`, `GB`, `TB` by thousands; `KiB`,
/// `MiB`, `GiB`, `TiB` by 1024. Only a number with a unit may have a fraction: `1.5GiB`. Shown with the largest
/// binary unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u64, &str); 4] =
            [(1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
        match UNITS.iter().find(|(unit, _)| self.0 >= *unit) {
            Some((unit, name)) if self.0.is_multiple_of(*unit) => write!(f, "{}{name}", self.0 / unit),
            Some((unit, name)) => write!(f, "{:.1}{name}", self.0 as f64 / *unit as f64),
            None => write!(f, "{}B", self.0),
        }
    }
}

const SIZE_UNITS: [(&str, u64); 9] = [
    ("B", 1),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

const TIME_UNITS: [(&str, u64); 5] =
    [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// No file or buffer is larger, and sums of a few sizes stay far from overflow.
const SIZE_BYTES_MAX: u64 = 1 << 60;
/// A hundred years: adding it to any time of day stays in range.
const TIME_MS_MAX: u64 = 36_500 * 86_400_000;

/// Reads a size. The error says what it must be, without the text.
pub(super) fn byte_size(text: &str) -> Result<ByteSize, String> {
    let form = "must be a size such as `128MiB`, `1GB` or a number of bytes";
    let (number, unit) = split_unit(text);
    let unit_bytes = match SIZE_UNITS.iter().find(|(name, _)| *name == unit) {
        Some((_, bytes)) => *bytes,
        None if unit.is_empty() && number.contains('.') => {
            return Err(format!("{form}; a fraction needs a unit"));
        }
        None if unit.is_empty() => 1,
        None if number.is_empty() => return Err(form.to_owned()),
        None => return Err(format!("{form}; the units are B, KB, MB, GB, TB, KiB, MiB, GiB, TiB")),
    };
    let bytes = scaled(number, unit_bytes).ok_or_else(|| form.to_owned())?;
    if bytes > u128::from(SIZE_BYTES_MAX) {
        return Err("must be 1024 PiB at the most".to_owned());
    }
    Ok(ByteSize(bytes as u64))
}

/// Reads a span of time. The error says what it must be, without the text.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let form = "must be a time such as `500ms`, `30s`, `5m`, `1h` or `1d`";
    let (number, unit) = split_unit(text);
    let Some((_, unit_ms)) = TIME_UNITS.iter().find(|(name, _)| *name == unit) else {
        let is_number = unit.is_empty() && whole(number).is_some();
        return Err(if is_number {
            format!("{form}; write the unit after the number")
        } else {
            form.to_owned()
        });
    };
    let milliseconds = whole(number)
        .ok_or_else(|| format!("{form}, with a whole number"))?
        .checked_mul(*unit_ms)
        .filter(|milliseconds| *milliseconds <= TIME_MS_MAX)
        .ok_or("must be 36500d at the most")?;
    Ok(Duration::from_millis(milliseconds))
}

/// Reads a whole number in plain decimal digits: no sign, no leading zero, no underscores, no exponent.
pub(super) fn whole(text: &str) -> Option<u64> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if plain { text.parse().ok() } else { None }
}

/// The leading digits and points, and the rest after at most one space.
fn split_unit(text: &str) -> (&str, &str) {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    match unit.strip_prefix(' ') {
        Some(after) if !after.is_empty() => (number, after),
        _ => (number, unit),
    }
}

/// `number` times `unit`, cut to a whole number.
fn scaled(number: &str, unit: u64) -> Option<u128> {
    const FRACTION_DIGITS_MAX: usize = 9;
    let (integer, fraction) = number.split_once('.').map_or((number, None), |(a, b)| (a, Some(b)));
    let integer = u128::from(whole(integer)?) * u128::from(unit);
    let Some(fraction) = fraction else { return Some(integer) };
    let readable = (1..=FRACTION_DIGITS_MAX).contains(&fraction.len())
        && fraction.bytes().all(|byte| byte.is_ascii_digit())
        && unit > 1;
    if !readable {
        return None;
    }
    let numerator: u128 = fraction.parse().ok()?;
    Some(integer + numerator * u128::from(unit) / 10_u128.pow(fraction.len() as u32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fault_109_sizes_mean_what_their_unit_says() {
        for (text, bytes) in [
            ("1GB", 1_000_000_000),
            ("1GiB", 1_073_741_824),
            ("128MiB", 134_217_728),
            ("64 KiB", 65_536),
            ("512B", 512),
            ("4096", 4096),
            ("0", 0),
            ("1.5GiB", 1_610_612_736),
            ("0.5KB", 500),
        ] {
            assert_eq!(byte_size(text), Ok(ByteSize(bytes)), "{text}");
        }
    }

    #[test]
    fn fault_109_what_is_not_a_size_is_refused() {
        for text in [
            "",
            "-1",
            "-1MiB",
            "+1",
            "1.5",
            "1_000",
            "1e3",
            "0o17",
            "017",
            "0x10",
            "MiB",
            "1mib",
            "1M",
            "1Kb",
            "1 ",
            "1.MiB",
            ".5MiB",
            "1.5B",
            "1..5MiB",
            "99999999999999999999",
            "99999999TiB",
            "1  MiB",
            "1MiB ",
            "١MiB",
        ] {
            assert!(byte_size(text).is_err(), "{text:?}");
        }
        assert!(byte_size("1.5").unwrap_err().contains("a fraction needs a unit"));
        assert!(byte_size("1M").unwrap_err().contains("MiB"));
    }

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(duration("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(duration("1h"), Ok(Duration::from_secs(3600)));
        assert_eq!(duration("1d"), Ok(Duration::from_secs(86_400)));
        assert!(duration("30").unwrap_err().contains("write the unit"));
        for text in
            ["", "s", "-5s", "1.5h", "1h30m", "5M", "1w", "01s", "1e3s", "40000d", "99999999999999999999s"]
        {
            assert!(duration(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn sizes_are_shown_in_binary_units() {
        assert_eq!(ByteSize(128 << 20).to_string(), "128MiB");
        assert_eq!(ByteSize(1_500_000_000).to_string(), "1.4GiB");
        assert_eq!(ByteSize(7).to_string(), "7B");
    }
}
