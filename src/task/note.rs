//! Owns the statement where reading of a topic-partition began, kept beside the topic's claim: a group can lose its offsets,
//! and where nothing became a file no name says how far it was. Does not own where the statement is kept.

use serde::{Deserialize, Serialize};

use crate::error::{Failure, Stage};
use crate::position::{Offset, TopicPartition};

const VERSION: u64 = 1;

/// Where a group began to read a topic-partition. Made once for each claim, never replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BeginningNote {
    v: u64,
    offset: i64,
}

impl BeginningNote {
    /// The note of a beginning at `offset`.
    #[must_use]
    pub fn new(offset: Offset) -> Self {
        Self { v: VERSION, offset: offset.as_i64() }
    }

    /// Its form as a small JSON file.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default() + "\n"
    }

    /// Where the note of a topic-partition is kept under the claim of this id, relative to the output prefix; hidden from
    /// readers. No topic has a `+` in its name.
    #[must_use]
    pub fn path(tp: &TopicPartition, claim_id: &str) -> String {
        format!(".sluice/claims/{}+{claim_id}/{}.json", tp.topic, tp.partition)
    }

    /// The offset of a note that stands.
    ///
    /// # Errors
    /// Fatal when it cannot be read.
    pub fn read(standing: &str, path: &str) -> Result<Offset, Failure> {
        let note = serde_json::from_str::<Self>(standing).ok().filter(|note| note.v == VERSION);
        note.and_then(|note| Offset::new(note.offset)).ok_or_else(|| {
            Failure::fatal(
                Stage::Recover,
                format!(
                    "the note {path} under storage.url, which says where reading began, cannot be read; commit an offset of the group for this partition, then remove the note"
                ),
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_read_as_it_was_written_and_nothing_else_is_one() {
        let offset = Offset::new(i64::MAX - 1).unwrap();
        assert_eq!(BeginningNote::read(&BeginningNote::new(offset).to_json(), "p"), Ok(offset));
        for standing in ["", "{}", "{\"v\":2,\"offset\":1}", "{\"v\":1,\"offset\":-1}"] {
            let failure = BeginningNote::read(standing, "p").unwrap_err();
            assert!(matches!(failure, Failure::Fatal { .. }), "{standing}");
        }
    }

    #[test]
    fn notes_of_another_claim_are_others() {
        let tp = TopicPartition::new("t", 3);
        assert_eq!(BeginningNote::path(&tp, "7"), ".sluice/claims/t+7/3.json");
        assert_ne!(BeginningNote::path(&tp, "7"), BeginningNote::path(&tp, "8"));
    }
}
