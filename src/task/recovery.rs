//! Owns the decision where reading begins, from what the broker and the file names say. Pure.

use crate::config::settings::StartPosition;
use crate::error::{Failure, Stage};
use crate::position::{Offset, OffsetRange, TopicPartition};
use crate::task::intent::{Intent, PlanHash};
use crate::task::message::BrokerPosition;

/// Where and how to begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Beginning {
    pub(super) offset: Offset,
    pub(super) intent: Option<Intent>,
    pub(super) found: &'static str,
}

/// Begins at a committed offset, with the intent it carries.
///
/// # Errors
/// Fatal when the offset lies outside what the broker has, or the intent belongs to other settings.
pub(super) fn from_commit(
    tp: &TopicPartition,
    position: &BrokerPosition,
    plan: PlanHash,
) -> Result<Beginning, Failure> {
    let fatal = |reason: String| Failure::fatal(Stage::Recover, reason);
    let Some(offset) = position.committed else { return Err(fatal(format!("{tp}: no committed offset"))) };
    check_within(tp, offset, position, "the committed offset")?;
    let intent =
        Intent::from_metadata(&position.metadata).map_err(|error| fatal(format!("{tp}: {error}")))?;
    if let Some(intent) = &intent {
        if intent.end <= offset {
            return Err(fatal(format!(
                "{tp}: the committed offset {offset} carries an intent that ends at {}, before it; commit the offset again without metadata",
                intent.end
            )));
        }
        if intent.end > position.high {
            return Err(fatal(format!(
                "{tp}: a flush of [{offset}, {}) is pending, but the partition ends at {}: the topic was truncated, or deleted and made again; settle by hand what the files hold, then reset the group's offset",
                intent.end, position.high
            )));
        }
        if intent.plan != plan {
            return Err(fatal(format!(
                "{tp}: a flush of [{offset}, {}) was begun with other settings (storage, value, schema, columns, partition_by or errors changed); start once with the former settings to finish it, or delete the files of exactly this range and commit offset {offset} without metadata to abandon it",
                intent.end
            )));
        }
    }
    Ok(Beginning { offset, intent, found: "committed" })
}

/// Begins without a committed offset: after the last published file, else where `start` says.
///
/// # Errors
/// Fatal when records after the last file are gone from the broker, or `start: error` meets an empty prefix.
pub(super) fn from_files(
    tp: &TopicPartition,
    position: &BrokerPosition,
    files: &[OffsetRange],
    start: StartPosition,
) -> Result<Beginning, Failure> {
    // Flushes of a partition are published in order, so nothing below the last end is still to come.
    if let Some(end) = files.iter().map(|range| range.end).max() {
        check_within(tp, end, position, "the end of the last published file")?;
        return Ok(Beginning { offset: end, intent: None, found: "files" });
    }
    let (offset, found) = match start {
        StartPosition::Earliest => (position.low, "earliest"),
        StartPosition::Latest => (position.high, "latest"),
        StartPosition::Error => {
            return Err(Failure::fatal(
                Stage::Recover,
                format!(
                    "{tp}: the group has no committed offset and kafka.start is error; set it to earliest or latest, or commit an offset"
                ),
            ));
        }
    };
    Ok(Beginning { offset, intent: None, found })
}

fn check_within(
    tp: &TopicPartition,
    offset: Offset,
    position: &BrokerPosition,
    what: &str,
) -> Result<(), Failure> {
    if offset < position.low {
        return Err(Failure::fatal(
            Stage::Recover,
            format!(
                "{tp}: {what} is {offset}, but the broker begins at {}: records {} are gone (retention); to go on without them, reset the group's offset to {}",
                position.low,
                OffsetRange::new(offset, position.low),
                position.low
            ),
        ));
    }
    if offset > position.high {
        return Err(Failure::fatal(
            Stage::Recover,
            format!(
                "{tp}: {what} is {offset}, but the partition ends at {}: the topic was truncated, or deleted and made again; write to another output prefix or move the old files away, then reset the group's offset",
                position.high
            ),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::intent::Basis;

    const PLAN: PlanHash = PlanHash(7);

    fn at(offset: i64) -> Offset {
        Offset::new(offset).unwrap()
    }

    fn position(committed: Option<i64>, metadata: &str) -> BrokerPosition {
        BrokerPosition {
            committed: committed.map(at),
            metadata: metadata.to_owned(),
            low: at(10),
            high: at(100),
            topic_id: None,
        }
    }

    fn tp() -> TopicPartition {
        TopicPartition::new("t", 0)
    }

    fn intent(end: i64, plan: u64) -> String {
        Intent { end: at(end), plan: PlanHash(plan), basis: Basis::default() }.to_metadata()
    }

    #[test]
    fn a_commit_without_intent_is_where_to_begin() {
        let beginning = from_commit(&tp(), &position(Some(50), ""), PLAN).unwrap();
        assert_eq!((beginning.offset, beginning.intent), (at(50), None));
    }

    #[test]
    fn a_pending_intent_is_taken_up() {
        let beginning = from_commit(&tp(), &position(Some(50), &intent(60, 7)), PLAN).unwrap();
        assert_eq!(beginning.intent.map(|intent| intent.end), Some(at(60)));
    }

    #[test]
    fn an_intent_of_other_settings_is_refused() {
        let failure = from_commit(&tp(), &position(Some(50), &intent(60, 8)), PLAN).unwrap_err();
        assert!(failure.to_string().contains("other settings"), "{failure}");
    }

    #[test]
    fn fault_4_an_expired_offset_names_the_lost_range() {
        let failure = from_commit(&tp(), &position(Some(5), ""), PLAN).unwrap_err();
        assert!(
            matches!(failure, Failure::Fatal { .. }) && failure.to_string().contains("[5, 10)"),
            "{failure}"
        );
    }

    #[test]
    fn fault_5_an_offset_beyond_the_end_is_never_waited_for() {
        for metadata in ["", &intent(120, 7)] {
            let failure = from_commit(&tp(), &position(Some(101), metadata), PLAN).unwrap_err();
            assert!(failure.to_string().contains("truncated"), "{failure}");
        }
        assert!(from_commit(&tp(), &position(Some(99), &intent(120, 7)), PLAN).is_err());
    }

    #[test]
    fn without_a_commit_the_files_say_where_to_begin() {
        let files = [OffsetRange::new(at(30), at(40)), OffsetRange::new(at(10), at(30))];
        let beginning = from_files(&tp(), &position(None, ""), &files, StartPosition::Earliest).unwrap();
        assert_eq!((beginning.offset, beginning.found), (at(40), "files"));
        assert!(
            from_files(
                &tp(),
                &position(None, ""),
                &[OffsetRange::new(at(1), at(5))],
                StartPosition::Earliest
            )
            .is_err()
        );
    }

    #[test]
    fn without_files_the_setting_says_where_to_begin() {
        let begin = |start| from_files(&tp(), &position(None, ""), &[], start);
        assert_eq!(begin(StartPosition::Earliest).unwrap().offset, at(10));
        assert_eq!(begin(StartPosition::Latest).unwrap().offset, at(100));
        assert!(begin(StartPosition::Error).is_err());
    }
}
