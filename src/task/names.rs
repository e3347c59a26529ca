//! Owns object names: a function of topic, partition, offset range and storage partition only, and the Hive escaping
//! of partition values. Does not own where the names lead.

use std::fmt::Write as _;

use crate::error::{Failure, Stage};
use crate::position::{Offset, OffsetRange, TopicPartition};

/// Left and right side of a partition directory whose value is null.
pub const NULL_PARTITION: &str = "__HIVE_DEFAULT_PARTITION__";

/// Longest name of one path segment that common file systems take, bytes.
pub const LONGEST_SEGMENT_BYTES: usize = 255;

/// Longest key that object stores take, bytes.
pub const LONGEST_KEY_BYTES: usize = 1024;

/// `<topic>/<directory>/<topic>+<partition>+<start>+<end>[+<n>].parquet`, relative to the output prefix.
///
/// `directory` is empty or the joined `k=v` segments; `ordinal` is the place of the file among those of the
/// same flush and directory, left out for the first.
#[must_use]
pub fn object_name(tp: &TopicPartition, range: OffsetRange, directory: &str, ordinal: usize) -> String {
    let mut name = format!("{}/", tp.topic);
    if !directory.is_empty() {
        name.push_str(directory);
        name.push('/');
    }
    let _ =
        write!(name, "{}+{}+{:012}+{:012}", tp.topic, tp.partition, range.start.as_i64(), range.end.as_i64());
    if ordinal > 0 {
        let _ = write!(name, "+{ordinal}");
    }
    name.push_str(".parquet");
    name
}

/// Whether files of the partition can have names at all: a topic's name is part of them.
///
/// # Errors
/// Fatal when even the shortest is too long for one path segment.
pub fn check_topic(tp: &TopicPartition) -> Result<(), Failure> {
    let nowhere = OffsetRange { start: Offset::ZERO, end: Offset::ZERO };
    let segment_bytes = object_name(tp, nowhere, "", 0).len() - tp.topic.len() - 1;
    if segment_bytes <= LONGEST_SEGMENT_BYTES {
        return Ok(());
    }
    let most = LONGEST_SEGMENT_BYTES - (segment_bytes - tp.topic.len());
    Err(Failure::fatal(
        Stage::Recover,
        format!(
            "{tp}: the topic's name has {} bytes, and names of files leave room for {most}; take the topic out of kafka.topics, or copy it to one of a shorter name",
            tp.topic.len()
        ),
    ))
}

/// Bytes that an object name adds to its directory, for the check of the longest key.
#[must_use]
pub fn name_overhead_bytes(tp: &TopicPartition) -> usize {
    // topic twice, two separators, partition, two offsets of up to 19 digits, four plus signs, ordinal, suffix
    2 * tp.topic.len() + 2 + 10 + 2 * 19 + 4 + 10 + ".parquet".len()
}

/// What an object name says, when it is one of ours: topic-partition, offset range and ordinal.
#[must_use]
pub fn parse_object_name(path: &str) -> Option<(TopicPartition, OffsetRange, usize)> {
    let file = path.rsplit('/').next()?.strip_suffix(".parquet")?;
    let mut parts = file.split('+');
    let topic = parts.next().filter(|topic| !topic.is_empty())?;
    let partition: i32 = parts.next()?.parse().ok().filter(|partition| *partition >= 0)?;
    let mut offset = || {
        let digits =
            parts.next().filter(|digits| digits.len() >= 12 && digits.bytes().all(|b| b.is_ascii_digit()))?;
        Offset::new(digits.parse().ok()?)
    };
    let (start, end) = (offset()?, offset()?);
    if start > end {
        return None;
    }
    let ordinal = match parts.next() {
        None => 0,
        Some(digits) => digits.parse().ok()?,
    };
    if parts.next().is_some() {
        return None;
    }
    Some((TopicPartition::new(topic, partition), OffsetRange { start, end }, ordinal))
}

/// Escapes a partition value (or name) as Hive does: reversible, and never a path separator. The text that
/// stands for null is escaped too, so that a value of that text stays distinct from null. An empty value stays empty.
#[must_use]
pub fn escape_partition_value(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for (at, character) in value.char_indices() {
        let clash = at == 0 && value == NULL_PARTITION;
        if clash || needs_escape(character) {
            let _ = write!(escaped, "%{:02X}", character as u32);
        } else {
            escaped.push(character);
        }
    }
    escaped
}

fn needs_escape(character: char) -> bool {
    character.is_ascii_control()
        || matches!(
            character,
            '"' | '#'
                | '%'
                | '\''
                | '*'
                | '/'
                | ':'
                | '='
                | '?'
                | '\\'
                | '{'
                | '}'
                | '['
                | ']'
                | '^'
                | '|'
                | '<'
                | '>'
                | '`'
                | '~'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unescape(escaped: &str) -> String {
        let mut out = Vec::new();
        let mut bytes = escaped.bytes();
        while let Some(byte) = bytes.next() {
            if byte == b'%' {
                let hex: Vec<u8> = bytes.by_ref().take(2).collect();
                out.push(u8::from_str_radix(std::str::from_utf8(&hex).unwrap(), 16).unwrap());
            } else {
                out.push(byte);
            }
        }
        String::from_utf8(out).unwrap()
    }

    fn range(start: i64, end: i64) -> OffsetRange {
        OffsetRange::new(Offset::new(start).unwrap(), Offset::new(end).unwrap())
    }

    #[test]
    fn names_follow_the_contract_and_are_read_back() {
        let tp = TopicPartition::new("shop.orders_v1-x", 7);
        let name = object_name(&tp, range(0, 1_500_000), "dt=2026-01-02/hour=03", 0);
        assert_eq!(
            name,
            "shop.orders_v1-x/dt=2026-01-02/hour=03/shop.orders_v1-x+7+000000000000+000001500000.parquet"
        );
        assert_eq!(parse_object_name(&name), Some((tp.clone(), range(0, 1_500_000), 0)));
        let second = object_name(&tp, range(5, i64::MAX - 1), "", 12);
        assert_eq!(parse_object_name(&second), Some((tp, range(5, i64::MAX - 1), 12)));
    }

    #[test]
    fn a_topic_whose_files_can_have_no_name_is_refused_at_once() {
        let check = |bytes: usize, partition| check_topic(&TopicPartition::new("t".repeat(bytes), partition));
        assert_eq!((check(219, 7), check(218, 12)), (Ok(()), Ok(())));
        for (bytes, partition, most) in [(220, 7, 219), (219, 12, 218), (249, 0, 219)] {
            let failure = check(bytes, partition).unwrap_err();
            assert!(failure.to_string().contains(&format!("room for {most};")), "{failure}");
        }
    }

    #[test]
    fn foreign_names_are_not_ours() {
        for name in [
            "a.parquet",
            "t+0+1+2.parquet",
            "t+0+000000000001.parquet",
            "t+x+000000000001+000000000002.parquet",
            "t+0+000000000003+000000000002.parquet",
            "t+0+000000000001+000000000002+1+1.parquet",
            "t+-1+000000000001+000000000002.parquet",
            "t+0+-00000000000+000000000002.parquet",
            "t+0+000000000001+000000000002+x.parquet",
            "+0+000000000001+000000000002.parquet",
            "",
        ] {
            assert_eq!(parse_object_name(name), None, "{name}");
        }
    }

    #[test]
    fn fault_68_partition_values_never_leave_the_prefix() {
        for value in ["../x", "..", "/etc/passwd", "a/../../b", "a\\b", "nul\0", "."] {
            let escaped = escape_partition_value(value);
            assert!(
                !escaped.contains('/') && !escaped.contains('\\') && !escaped.contains('\0'),
                "{escaped}"
            );
            assert_eq!(unescape(&escaped), value);
        }
    }

    #[test]
    fn fault_69_escaping_is_reversible_and_keeps_values_apart() {
        let values = [
            "a=b",
            "a%3Db",
            "100%",
            "a b",
            "line\nbreak",
            "日本",
            "\u{202e}rtl",
            "🙂",
            "é",
            "e\u{301}",
            "",
            "a:b",
            "{x}[y]^|",
        ];
        let escaped: std::collections::BTreeSet<String> =
            values.iter().map(|v| escape_partition_value(v)).collect();
        assert_eq!(escaped.len(), values.len());
        for value in values {
            assert_eq!(unescape(&escape_partition_value(value)), value);
        }
    }

    /// Hive's own set and what shells and file systems stumble over.
    #[test]
    fn fault_69_just_these_characters_are_escaped_in_two_digits() {
        for byte in 0..128_u8 {
            let value = format!("x{}", char::from(byte));
            let special = byte < 32 || byte == 127 || "\"#%'*/:=?\\{}[]^|<>`~".contains(char::from(byte));
            let expected = if special { format!("x%{byte:02X}") } else { value.clone() };
            assert_eq!(escape_partition_value(&value), expected);
        }
    }

    #[test]
    fn fault_73_the_null_marker_as_a_value_is_not_null() {
        let escaped = escape_partition_value(NULL_PARTITION);
        assert_ne!(escaped, NULL_PARTITION);
        assert_eq!(unescape(&escaped), NULL_PARTITION);
    }
}
