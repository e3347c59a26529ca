//! Owns the way from schema text to a JSON value: as lax as Java's reader, which lets comments, numbers beyond a double
//! and halves of surrogate pairs pass, and bounded in depth.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::Value;

/// Levels of JSON. A type takes up to three of them, a nullable list of records six.
pub(super) const MAX_LEVELS: usize = 512;

/// Reads `text`, a byte order mark in front and `//` and `/* */` comments left out.
///
/// # Errors
/// In words, when it is no JSON or nests deeper than [`MAX_LEVELS`].
pub(super) fn read(text: &str) -> Result<Value, String> {
    let (text, levels) = bare(text.trim_start_matches('\u{feff}'));
    if levels > MAX_LEVELS {
        return Err(format!("JSON nests deeper than {MAX_LEVELS} levels"));
    }
    let value = strictly(&text).or_else(|error| match mended(&text) {
        Cow::Owned(mended) => strictly(&mended).map_err(|_| error),
        Cow::Borrowed(_) => Err(error),
    });
    value.map_err(|error| format!("not JSON: {error}"))
}

fn strictly(text: &str) -> serde_json::Result<Value> {
    let mut reader = serde_json::Deserializer::from_str(text);
    // Levels were counted above.
    reader.disable_recursion_limit();
    let value = Value::deserialize(&mut reader)?;
    reader.end()?;
    Ok(value)
}

/// Whether `text` is JSON as [`read`] takes it, or would be if it did not nest so deep: whoever parses it says so.
pub(crate) fn is_json(text: &str) -> bool {
    let (_, levels) = bare(text.trim_start_matches('\u{feff}'));
    levels > MAX_LEVELS || read(text).is_ok()
}

/// The text without comments, and how deep its brackets nest.
fn bare(text: &str) -> (Cow<'_, str>, usize) {
    let bytes = text.as_bytes();
    let mut kept = String::new();
    let (mut copied, mut at, mut level, mut deepest) = (0, 0, 0_usize, 0);
    while at < bytes.len() {
        match bytes[at] {
            b'"' => at = string_end(bytes, at),
            b'/' => {
                if let Some(end) = comment_end(bytes, at) {
                    // A space, so that what stands around a comment stays apart.
                    kept.push_str(&text[copied..at]);
                    kept.push(' ');
                    (copied, at) = (end, end);
                    continue;
                }
            }
            b'{' | b'[' => {
                level += 1;
                deepest = deepest.max(level);
            }
            b'}' | b']' => level = level.saturating_sub(1),
            _ => {}
        }
        at += 1;
    }
    if copied == 0 {
        return (Cow::Borrowed(text), deepest);
    }
    kept.push_str(&text[copied..]);
    (Cow::Owned(kept), deepest)
}

/// Where the quote is that ends the string begun at `start`; the last byte when there is none.
fn string_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while at < bytes.len() && bytes[at] != b'"' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    at.min(bytes.len() - 1)
}

/// The first byte after the comment begun at `start`; `None` when there is none, or one without end.
fn comment_end(bytes: &[u8], start: usize) -> Option<usize> {
    let rest = bytes.get(start + 2..)?;
    let length = match bytes[start + 1] {
        b'/' => rest.iter().position(|byte| *byte == b'\n').or(Some(rest.len())),
        b'*' => rest.windows(2).position(|pair| pair == b"*/").map(|at| at + 2),
        _ => None,
    };
    length.map(|length| start + 2 + length)
}

/// The text with what is JSON to Java alone put in another way: numbers that are infinite as a double as the text that
/// a default may be spelled with, escaped halves of surrogate pairs as the replacement character.
fn mended(text: &str) -> Cow<'_, str> {
    let bytes = text.as_bytes();
    let mut made = String::new();
    let (mut copied, mut at) = (0, 0);
    while at < bytes.len() {
        let (end, instead) = match bytes[at] {
            b'"' => {
                made.push_str(&text[copied..at]);
                let end = (string_end(bytes, at) + 1).min(bytes.len());
                let string = whole_surrogates(&text[at..end]);
                made.push_str(&string);
                (copied, at) = (end, end);
                continue;
            }
            b'-' | b'0'..=b'9' => {
                let is_part = |byte: &u8| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
                let end = at + bytes[at..].iter().take_while(|byte| is_part(byte)).count();
                match text[at..end].parse::<f64>() {
                    Ok(f64::INFINITY) => (end, "\"Infinity\""),
                    Ok(f64::NEG_INFINITY) => (end, "\"-Infinity\""),
                    _ => (end, &text[at..end]),
                }
            }
            _ => {
                at += 1;
                continue;
            }
        };
        made.push_str(&text[copied..at]);
        made.push_str(instead);
        (copied, at) = (end, end);
    }
    made.push_str(&text[copied..]);
    if made == text { Cow::Borrowed(text) } else { Cow::Owned(made) }
}

/// A string of JSON without escapes of half a surrogate pair.
fn whole_surrogates(string: &str) -> String {
    let mut made = String::with_capacity(string.len());
    let mut rest = string;
    while let Some(start) = rest.find('\\') {
        made.push_str(&rest[..start]);
        rest = &rest[start..];
        let length = match (surrogate(rest), rest.get(6..).and_then(surrogate)) {
            (Some(0xD800..=0xDBFF), Some(0xDC00..=0xDFFF)) => 12,
            (Some(_), _) => {
                made.push('\u{FFFD}');
                rest = &rest[6..];
                continue;
            }
            // Any other escape, or a backslash at the end.
            _ => rest.char_indices().nth(2).map_or(rest.len(), |(at, _)| at),
        };
        made.push_str(&rest[..length]);
        rest = &rest[length..];
    }
    made.push_str(rest);
    made
}

/// The half of a surrogate pair that is escaped at the start of `text`.
fn surrogate(text: &str) -> Option<u32> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    u32::from_str_radix(digits, 16).ok().filter(|unit| (0xD800..=0xDFFF).contains(unit))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn comments_and_a_byte_order_mark_are_left_out() {
        let read = |text: &str| read(text).unwrap();
        assert_eq!(read("\u{feff}// head\n{\"a\" /* one */: [1, //\n 2]}// end"), json!({"a": [1, 2]}));
        assert_eq!(read(r#"["http://x/*y*/", "\"//", "\\"]/**/"#), json!(["http://x/*y*/", "\"//", "\\"]));
        assert_eq!(read("1/* é */"), json!(1));
        for bad in ["", "/", "//", "/*", "[1, /* 2]", "\"", "\"\\", "\"é", "[] 1", "1/*/2"] {
            assert!(super::read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn numbers_beyond_a_double_and_halves_of_surrogates_pass_as_in_java() {
        let read = |text: &str| read(text).unwrap();
        assert_eq!(
            read(r#"[1e400, -1.5E+999, 1e3, "1e400 \" 1e400", 2]"#),
            json!(["Infinity", "-Infinity", 1000.0, "1e400 \" 1e400", 2])
        );
        let digits = "9".repeat(400);
        assert_eq!(read(&format!("{{\"a\":{digits}}}")), json!({"a": "Infinity"}));
        assert_eq!(
            read(r#"["\ud83d", "x\uDE00y", "\ud83d\ude00", "\ud83d\ud83d\ude00"]"#),
            json!(["\u{FFFD}", "x\u{FFFD}y", "\u{1F600}", "\u{FFFD}\u{1F600}"])
        );
        assert_eq!(read(r#"["\\ud83d", "\ud83d", "é\"\\"]"#), json!(["\\ud83d", "\u{FFFD}", "é\"\\"]));
        for bad in
            ["[1e400", "1e400 1", "\"\\ud83d", "-", "1e400e", "[--1e400]", "\"\\u12", "[1e400,\"\\ud83é\"]"]
        {
            assert!(super::read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn fault_58_levels_of_json_are_counted_before_it_is_read() {
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(read(&nested(MAX_LEVELS)).is_ok());
        assert!(read(&nested(MAX_LEVELS + 1)).unwrap_err().contains("deeper"));
        assert!(read(&"{\"a\":".repeat(1_000_000)).unwrap_err().contains("deeper"));
        assert!(read(&format!("[{}]", "[],".repeat(2_000) + "[]")).is_ok());
    }
}
