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

/// Digits of the highest offset and of the highest partition number there is.
const OFFSET_DIGITS: usize = 19;
const PARTITION_DIGITS: usize = 10;
/// Digits of the highest ordinal: the files of a directory that one flush makes are fewer than the schemas that it reads.
const ORDINAL_DIGITS: usize = 5;

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

/// Why files of the partition cannot have names, if they cannot, lower case: a topic's name is part of them, and they have
/// to hold any offset.
#[must_use]
pub fn topic_fault(topic: &str, partition: i32) -> Option<String> {
    if topic.starts_with('.') {
        return Some(
            "the topic's name begins with a dot, and readers of the lake skip such directories".into(),
        );
    }
    let most = LONGEST_SEGMENT_BYTES - affix_bytes(partition.to_string().len());
    (topic.len() > most).then(|| {
        format!(
            "the topic's name has {} bytes, and names of files leave room for {most} in that of partition {partition}",
            topic.len()
        )
    })
}

/// Whether files of the partition can have names at all. `prefix_bytes` is what stands before them in a key.
///
/// # Errors
/// Fatal when they can not, or only as long as offsets are low.
pub fn check_topic(tp: &TopicPartition, prefix_bytes: usize) -> Result<(), Failure> {
    let fatal = |reason: String| Err(Failure::fatal(Stage::Recover, reason));
    if let Some(fault) = topic_fault(&tp.topic, tp.partition) {
        return fatal(format!(
            "{tp}: {fault}; take the topic out of kafka.topics, or copy it to one of another name"
        ));
    }
    let key_bytes = prefix_bytes + name_overhead_bytes(tp);
    if key_bytes > LONGEST_KEY_BYTES {
        return fatal(format!(
            "{tp}: keys of its files can have {key_bytes} bytes, and object stores take {LONGEST_KEY_BYTES}; shorten storage.url, or copy the topic to one of a shorter name"
        ));
    }
    Ok(())
}

/// Bytes that an object name adds to its directory at the most, for the check of the longest key.
#[must_use]
pub fn name_overhead_bytes(tp: &TopicPartition) -> usize {
    // The topic's directory, and the separator behind that of the storage partition.
    let above_bytes = tp.topic.len() + 2;
    above_bytes + tp.topic.len() + affix_bytes(PARTITION_DIGITS)
}

/// Bytes of a file's name behind the topic at the most: partition, two offsets, ordinal, each after a plus sign, suffix.
fn affix_bytes(partition_digits: usize) -> usize {
    4 + partition_digits + 2 * OFFSET_DIGITS + ORDINAL_DIGITS + ".parquet".len()
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

/// Whether a character means something in the path of a partition directory, to a file system, to Hive or to those that
/// read as it does.
#[must_use]
pub fn needs_escape(character: char) -> bool {
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
        let topic = |bytes: usize, partition| TopicPartition::new("t".repeat(bytes), partition);
        for (bytes, partition) in [(199, 7), (198, 12)] {
            let tp = topic(bytes, partition);
            assert_eq!(check_topic(&tp, 0), Ok(()));
            // The highest offsets, beside many files of other schemas.
            let name = object_name(&tp, range(i64::MAX - 1, i64::MAX), "", 99_999);
            assert_eq!(name.rsplit('/').next().unwrap().len(), LONGEST_SEGMENT_BYTES);
            assert!(name.len() < name_overhead_bytes(&tp));
        }
        for (bytes, partition, most) in [(200, 7, 199), (199, 12, 198), (249, 0, 199)] {
            let failure = check_topic(&topic(bytes, partition), 0).unwrap_err();
            assert!(failure.to_string().contains(&format!("room for {most} ")), "{failure}");
        }
        let hidden = check_topic(&TopicPartition::new(".hidden", 0), 0).unwrap_err();
        assert!(hidden.to_string().contains("dot"), "{hidden}");
    }

    #[test]
    fn fault_71_a_prefix_that_leaves_no_room_for_any_key_is_refused_at_once() {
        let tp = TopicPartition::new("t".repeat(100), 0);
        let room = LONGEST_KEY_BYTES - name_overhead_bytes(&tp);
        assert_eq!(check_topic(&tp, room), Ok(()));
        let failure = check_topic(&tp, room + 1).unwrap_err();
        assert!(failure.to_string().contains("shorten storage.url"), "{failure}");
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
