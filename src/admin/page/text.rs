//! Owns how values are written for people: escaped text, amounts, sizes, times.

use std::fmt::{self, Display, Write as _};

use chrono::{DateTime, Utc};

/// Text that HTML takes for text, in an element or in a quoted attribute.
pub(super) struct Escaped<'a>(pub(super) &'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;"),
                '<' => f.write_str("&lt;"),
                '>' => f.write_str("&gt;"),
                '"' => f.write_str("&quot;"),
                '\'' => f.write_str("&#39;"),
                _ => f.write_char(c),
            }?;
        }
        Ok(())
    }
}

/// Digits in groups of three.
pub(super) fn amount(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            // Narrow and unbreakable.
            grouped.push('\u{202f}');
        }
        grouped.push(digit);
    }
    grouped
}

/// `512 B`, `1.5 MiB`.
pub(super) fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let (mut value, mut unit) = (count as f64 / 1024.0, 0);
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// `2.5 s`, `3 min 20 s`, `5 h 2 min`, `3 d 4 h`.
pub(super) fn seconds(value: f64) -> String {
    let whole = value.max(0.0) as u64;
    match whole {
        0..60 => format!("{value:.1} s"),
        60..3_600 => format!("{} min {} s", whole / 60, whole % 60),
        3_600..86_400 => format!("{} h {} min", whole / 3_600, whole % 3_600 / 60),
        _ => format!("{} d {} h", whole / 86_400, whole % 86_400 / 3_600),
    }
}

/// Date and time in UTC, of milliseconds since the epoch.
pub(super) fn clock(at_ms: i64) -> String {
    DateTime::<Utc>::from_timestamp_millis(at_ms)
        .map_or_else(|| "–".to_owned(), |at| at.format("%Y-%m-%d %H:%M:%S").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_for_people() {
        assert_eq!(amount(1_234_567), "1\u{202f}234\u{202f}567");
        assert_eq!(
            (bytes(1023), bytes(1536), bytes(3 << 40)),
            ("1023 B".into(), "1.5 KiB".into(), "3.0 TiB".into())
        );
        let shown = [2.54, 200.0, 18_120.0, 273_600.0].map(seconds);
        assert_eq!(shown, ["2.5 s", "3 min 20 s", "5 h 2 min", "3 d 4 h"]);
        assert_eq!(clock(1_700_000_000_000), "2023-11-14 22:13:20");
    }
}
