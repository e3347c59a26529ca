//! Owns the way from schema text to a JSON value: as lax as Java's reader, which lets comments pass, and bounded in depth.

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
    let mut reader = serde_json::Deserializer::from_str(&text);
    // Levels were counted above.
    reader.disable_recursion_limit();
    let value = Value::deserialize(&mut reader).map_err(|error| format!("not JSON: {error}"))?;
    reader.end().map_err(|error| format!("not JSON: {error}"))?;
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
    fn fault_58_levels_of_json_are_counted_before_it_is_read() {
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(read(&nested(MAX_LEVELS)).is_ok());
        assert!(read(&nested(MAX_LEVELS + 1)).unwrap_err().contains("deeper"));
        assert!(read(&"{\"a\":".repeat(1_000_000)).unwrap_err().contains("deeper"));
        assert!(read(&format!("[{}]", "[],".repeat(2_000) + "[]")).is_ok());
    }
}
