//! Owns whether a file's name and its footer say the same. Does not own where the footer comes from.

use std::collections::BTreeMap;

use super::plan::AuditedFile;
use crate::encode::{FileChecksum, FooterKey};

/// What a file's footer says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FooterFacts {
    /// Key-values of the footer; others than ours do not matter.
    pub key_values: BTreeMap<String, String>,
    /// Rows by the row groups.
    pub rows: u64,
    /// Whether the `_offset` column follows.
    pub has_offsets: bool,
    /// Whether the rows are said to be sorted, so that offsets need not ascend.
    pub sorted: bool,
}

impl FooterFacts {
    /// How many files the flush made; 0 where the footer does not tell, as those of the first versions.
    pub(super) fn flush_files(&self) -> u64 {
        let said = self.key_values.get(FooterKey::FlushFiles.as_str());
        said.and_then(|files| files.parse().ok()).unwrap_or(0)
    }

    /// What the footer says of the file's bytes; `None` where it says nothing, as those of the first versions.
    pub(super) fn checksum(&self) -> Option<&str> {
        let said = self.key_values.get(FooterKey::FileChecksum.as_str()).map(String::as_str);
        said.filter(|said| *said != FileChecksum::UNKNOWN)
    }
}

/// Whether a footer says that the file is part of a flush, whatever its name.
#[must_use]
pub fn names_a_flush(key_values: &BTreeMap<String, String>) -> bool {
    key_values.contains_key(FooterKey::Topic.as_str())
}

/// Where the footer contradicts the name or itself, in words.
pub(super) fn disagreements(file: &AuditedFile, footer: &FooterFacts) -> Vec<String> {
    if !names_a_flush(&footer.key_values) {
        return vec!["its name is ours, but its footer has none of our key-values".to_owned()];
    }
    let expected = [
        (FooterKey::Topic, "its name says", file.tp.topic.to_string()),
        (FooterKey::Partition, "its name says", file.tp.partition.to_string()),
        (FooterKey::Start, "its name says", file.range.start.to_string()),
        (FooterKey::End, "its name says", file.range.end.to_string()),
        (FooterKey::Rows, "the row groups hold", footer.rows.to_string()),
    ];
    expected
        .into_iter()
        .filter_map(|(key, who, expected)| {
            let key = key.as_str();
            match footer.key_values.get(key) {
                Some(said) if *said == expected => None,
                Some(said) => Some(format!("{key} is {}, {who} {expected}", said.escape_debug())),
                None => Some(format!("{key} is not in the footer, {who} {expected}")),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::tests::{file, footer};

    #[test]
    fn a_footer_that_agrees_is_no_finding() {
        let file = file("t", 3, 10, 20, "");
        assert_eq!(disagreements(&file, &footer(&file, 7)), [""; 0]);
    }

    #[test]
    fn each_contradiction_is_named() {
        let file = file("t", 3, 10, 20, "");
        for key in ["topic", "partition", "start", "end", "rows"].map(|key| format!("sluice.{key}")) {
            let mut wrong = footer(&file, 7);
            wrong.key_values.insert(key.clone(), "11".to_owned());
            let mut missing = footer(&file, 7);
            missing.key_values.remove(&key);
            for footer in [wrong, missing] {
                let found = disagreements(&file, &footer);
                assert_eq!(found.len(), 1, "{key}: {found:?}");
            }
        }
    }

    #[test]
    fn a_name_without_our_footer_is_not_believed() {
        let file = file("t", 3, 10, 20, "");
        assert_eq!(disagreements(&file, &FooterFacts::default()).len(), 1);
    }
}
