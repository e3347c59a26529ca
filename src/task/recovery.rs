//! Owns the decision where reading begins, from what the broker and the file names say. Pure.

use crate::config::settings::StartPosition;
use crate::error::{Failure, Stage};
use crate::position::{Offset, OffsetRange, TopicPartition};
use crate::task::claim::Claim;
use crate::task::intent::{Intent, PlanHash, unfiled_before};
use crate::task::message::{BrokerPosition, FlushFooter, PublishedFlush};

/// Where and how to begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Beginning {
    pub(super) offset: Offset,
    /// Where the names of the next files begin: before `offset` where what is settled in between is in no file's range.
    pub(super) file_start: Offset,
    /// A flush to be made again with the same cut.
    pub(super) intent: Option<Intent>,
    /// Whether the broker holds that intent.
    pub(super) intended: bool,
    /// Neither a committed offset nor a file led here: what the log holds and the settings did, and both may say otherwise the
    /// next time. So it is noted and committed before anything is read.
    pub(super) first: bool,
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
    let intent =
        Intent::from_metadata(&position.metadata).map_err(|error| fatal(format!("{tp}: {error}")))?;
    let pending = intent.as_ref().filter(|intent| intent.end > offset);
    check_pending(tp, pending.map(|intent| OffsetRange::new(offset, intent.end)), position)?;
    check_within(tp, offset, position, "the committed offset")?;
    let unfiled = unfiled_before(offset, &position.metadata);
    let file_start = unfiled.map_or(offset, |unfiled| unfiled.start);
    if let Some(intent) = &intent {
        if intent.unfiled != unfiled {
            return Err(fatal(format!(
                "{tp}: the committed offset {offset} carries an intent of a flush that begins elsewhere; commit the offset again without metadata"
            )));
        }
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
                "{tp}: a flush of [{offset}, {}) was begun with other settings (storage, value, key, schema, columns, partition_by or errors changed), or by a version of sluice that reads them otherwise; start once with the former settings, or that version, to finish it, or delete the files of exactly [{file_start}, {}) and commit offset {file_start} without metadata to abandon it",
                intent.end, intent.end
            )));
        }
    }
    Ok(Beginning { offset, file_start, intended: intent.is_some(), intent, first: false, found: "committed" })
}

/// Begins without a committed offset: after the last published file, else where `start` says. A partition that the topic did
/// not have when the group claimed it is read whole: nobody chose to leave records of it out.
///
/// # Errors
/// Fatal when records after the last file are gone from the broker, when `start: error` meets an empty prefix, and when
/// `start: latest` would begin once more, for all that one can tell.
pub(super) fn from_files(
    tp: &TopicPartition,
    position: &BrokerPosition,
    last: Option<&PublishedFlush>,
    plan: PlanHash,
    start: StartPosition,
    claim: &Claim,
) -> Result<Beginning, Failure> {
    // Flushes of a partition are published in order, so nothing below the last one is still to come.
    if let Some(last) = last {
        return after_files(tp, position, last, plan);
    }
    let fatal = |reason: String| Err(Failure::fatal(Stage::Recover, reason));
    let added = claim.partitions.is_some_and(|counted| tp.partition >= counted);
    let (offset, found) = match start {
        StartPosition::Latest if !added && claim.id.is_none() => {
            return fatal(format!(
                "{tp}: the group has no committed offset, and no file tells how far it was, but it has been here: an earlier version claimed the topic; to begin at the end with kafka.start: latest, which leaves out what came meanwhile, commit the end as the group's offset; to leave nothing out, commit the offset up to which its records are done with",
            ));
        }
        StartPosition::Latest if !added => (position.high, "latest"),
        StartPosition::Earliest | StartPosition::Latest => (position.low, "earliest"),
        StartPosition::Error => {
            return fatal(format!(
                "{tp}: the group has no committed offset and kafka.start is error; set it to earliest or latest, or commit an offset"
            ));
        }
    };
    Ok(Beginning { offset, file_start: offset, intent: None, intended: false, first: true, found })
}

/// Begins where the note says that stands, or before it. The group has been there, so what lies behind is not left out,
/// whatever `start` makes of it now.
///
/// # Errors
/// Fatal when records from there on are gone from the broker.
pub(super) fn from_note(
    tp: &TopicPartition,
    position: &BrokerPosition,
    first: &Beginning,
    noted: Offset,
) -> Result<Beginning, Failure> {
    check_within(tp, noted, position, "where the group began, noted when it did,")?;
    let mut beginning = first.clone();
    if noted < first.offset {
        (beginning.offset, beginning.file_start, beginning.found) = (noted, noted, "noted");
    }
    Ok(beginning)
}

/// Begins after the last published flush, or at its start when a crash left some of its files out.
fn after_files(
    tp: &TopicPartition,
    position: &BrokerPosition,
    last: &PublishedFlush,
    plan: PlanHash,
) -> Result<Beginning, Failure> {
    let range = last.range;
    let footer = last.footer.as_ref().filter(|footer| footer.files > last.files);
    check_pending(tp, footer.map(|footer| OffsetRange::new(read_from(range, footer), range.end)), position)?;
    check_within(tp, range.end, position, "the end of the last published file")?;
    let Some(footer) = footer else {
        let offset = range.end;
        return Ok(Beginning {
            offset,
            file_start: offset,
            intent: None,
            intended: false,
            first: false,
            found: "files",
        });
    };
    let intent = Intent::from_metadata(&footer.intent)
        .map_err(|error| Failure::fatal(Stage::Recover, format!("{tp}: {error}")))?
        .filter(|intent| intent.end == range.end)
        .filter(|intent| intent.unfiled.is_none_or(|unfiled| unfiled.start == range.start));
    let offset = read_from(range, footer);
    check_within(tp, offset, position, "the start of the last flush, whose files are not all there,")?;
    match intent {
        Some(intent) if intent.plan == plan => Ok(Beginning {
            offset,
            file_start: range.start,
            intent: Some(intent),
            intended: false,
            first: false,
            found: "files",
        }),
        _ => Err(Failure::fatal(
            Stage::Recover,
            format!(
                "{tp}: only {} of the {} files of flush {range} are there, the group's offset is gone, and the flush was made with other settings; start once with the former settings to finish it, or delete these files",
                last.files, footer.files
            ),
        )),
    }
}

/// Where the records of a flush begin: behind what is in the range of its files and became no row.
fn read_from(range: OffsetRange, footer: &FlushFooter) -> Offset {
    let intent = Intent::from_metadata(&footer.intent).ok().flatten();
    let unfiled = intent.and_then(|intent| intent.unfiled);
    let unfiled = unfiled.filter(|unfiled| unfiled.start == range.start && unfiled.end <= range.end);
    unfiled.map_or(range.start, |unfiled| unfiled.end)
}

/// A flush of which files may be visible has to be made again whole, or not at all.
fn check_pending(
    tp: &TopicPartition,
    pending: Option<OffsetRange>,
    position: &BrokerPosition,
) -> Result<(), Failure> {
    let Some(range) = pending.filter(|range| range.start < position.low) else { return Ok(()) };
    Err(Failure::fatal(
        Stage::Recover,
        format!(
            "{tp}: a flush of {range} is to be finished, but the broker begins at {}: records {} are gone (retention); to go on without them, delete the files of exactly this range, which hold some of its records, and reset the group's offset to {}",
            position.low,
            OffsetRange::new(range.start, position.low),
            position.low
        ),
    ))
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
    use crate::task::intent::{Basis, unfiled_metadata};

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
            partitions: None,
        }
    }

    fn tp() -> TopicPartition {
        TopicPartition::new("t", 0)
    }

    fn flush(start: i64, end: i64, found: usize, made: usize) -> PublishedFlush {
        let footer = FlushFooter { files: made, intent: intent(end, 7) };
        PublishedFlush { range: OffsetRange::new(at(start), at(end)), files: found, footer: Some(footer) }
    }

    fn intent(end: i64, plan: u64) -> String {
        Intent { end: at(end), plan: PlanHash(plan), basis: Basis::default(), unfiled: None }.to_metadata()
    }

    /// Of `[50, end)`, with files from 40 on.
    fn late_intent(end: i64) -> String {
        let unfiled = Some(OffsetRange::new(at(40), at(50)));
        Intent { end: at(end), plan: PLAN, basis: Basis::default(), unfiled }.to_metadata()
    }

    #[test]
    fn a_commit_without_intent_is_where_to_begin() {
        let beginning = from_commit(&tp(), &position(Some(50), ""), PLAN).unwrap();
        assert_eq!((beginning.offset, beginning.file_start, beginning.intent), (at(50), at(50), None));
    }

    #[test]
    fn what_was_settled_without_a_file_is_in_the_range_of_the_next_one() {
        let begin = |metadata: &str| from_commit(&tp(), &position(Some(50), metadata), PLAN);
        let settled = begin(&unfiled_metadata(at(5))).unwrap();
        assert_eq!((settled.offset, settled.file_start, settled.intent), (at(50), at(5), None));
        let announced = begin(&late_intent(60)).unwrap();
        assert_eq!((announced.offset, announced.file_start, announced.intended), (at(50), at(40), true));
        let moved = from_commit(&tp(), &position(Some(45), &late_intent(60)), PLAN).unwrap_err();
        assert!(moved.to_string().contains("begins elsewhere"), "{moved}");

        let footer = FlushFooter { files: 2, intent: late_intent(60) };
        let mut last =
            PublishedFlush { range: OffsetRange::new(at(40), at(60)), files: 1, footer: Some(footer) };
        let begin = |last: &PublishedFlush| {
            from_files(&tp(), &position(None, ""), Some(last), PLAN, StartPosition::Earliest, &claim(None))
        };
        let found = begin(&last).unwrap();
        assert_eq!((found.offset, found.file_start), (at(50), at(40)), "made again from its own records");
        last.range.start = at(41);
        assert!(begin(&last).is_err(), "the footer is of another flush");
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
    fn fault_4_of_a_flush_half_published_the_files_are_to_go_with_the_lost_range() {
        let failure = from_commit(&tp(), &position(Some(5), &intent(60, 7)), PLAN).unwrap_err().to_string();
        assert!(failure.contains("[5, 10) are gone") && failure.contains("delete the files"), "{failure}");
        for end in [60, 8] {
            let files = after_files(&tp(), &position(None, ""), &flush(5, end, 1, 2), PLAN).unwrap_err();
            assert!(files.to_string().contains("[5, 10) are gone"), "{files}");
            assert!(files.to_string().contains("delete the files"), "{files}");
        }
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
        let begin = |last| {
            from_files(&tp(), &position(None, ""), Some(&last), PLAN, StartPosition::Earliest, &claim(None))
        };
        let beginning = begin(flush(30, 40, 2, 2)).unwrap();
        assert_eq!((beginning.offset, beginning.found, beginning.intent), (at(40), "files", None));
        assert!(begin(flush(1, 5, 1, 1)).is_err());
    }

    #[test]
    fn a_flush_with_missing_files_is_made_again() {
        let begin = |last| {
            from_files(&tp(), &position(None, ""), Some(&last), PLAN, StartPosition::Earliest, &claim(None))
        };
        let beginning = begin(flush(30, 40, 1, 2)).unwrap();
        assert_eq!((beginning.offset, beginning.intended), (at(30), false));
        assert_eq!(beginning.intent.map(|intent| intent.end), Some(at(40)));
        let mut other = flush(30, 40, 1, 2);
        other.footer.as_mut().unwrap().intent = intent(40, 8);
        assert!(begin(other).unwrap_err().to_string().contains("only 1 of the 2 files"));
    }

    fn claim(partitions: Option<i32>) -> Claim {
        Claim::new("g", None, partitions, "orders", 7)
    }

    #[test]
    fn without_files_the_setting_says_where_to_begin() {
        let begin = |start| from_files(&tp(), &position(None, ""), None, PLAN, start, &claim(Some(1)));
        for (start, offset) in [(StartPosition::Earliest, 10), (StartPosition::Latest, 100)] {
            let beginning = begin(start).unwrap();
            assert_eq!((beginning.offset, beginning.first), (at(offset), true));
        }
        assert!(begin(StartPosition::Error).is_err());
    }

    #[test]
    fn fault_8_a_partition_added_later_is_read_from_its_beginning() {
        let begin = |partition, counted| {
            let tp = TopicPartition::new("t", partition);
            let claim = claim(counted);
            from_files(&tp, &position(None, ""), None, PLAN, StartPosition::Latest, &claim).unwrap().offset
        };
        assert_eq!(begin(2, Some(2)), at(10));
        for counted in [Some(3), None] {
            assert_eq!(begin(2, counted), at(100));
        }
    }

    #[test]
    fn fault_107_under_a_claim_that_notes_nothing_the_end_is_never_begun_at_again() {
        let mut old = claim(Some(1));
        old.id = None;
        let begin = |start| from_files(&tp(), &position(None, ""), None, PLAN, start, &old);
        let failure = begin(StartPosition::Latest).unwrap_err();
        assert!(matches!(failure, Failure::Fatal { .. }) && failure.to_string().contains("earlier version"));
        assert_eq!(begin(StartPosition::Earliest).unwrap().offset, at(10));
    }

    #[test]
    fn a_note_that_stands_wins_over_a_later_beginning_and_never_moves_one_ahead() {
        let begin = |offset: i64, noted: i64| {
            let (intent, intended, found) = (None, false, "latest");
            let (offset, file_start) = (at(offset), at(offset));
            let first = Beginning { offset, file_start, intent, intended, first: true, found };
            from_note(&tp(), &position(None, ""), &first, at(noted))
        };
        for (offset, noted, begun, found) in
            [(100, 40, 40, "noted"), (100, 100, 100, "latest"), (10, 40, 10, "latest")]
        {
            let beginning = begin(offset, noted).unwrap();
            assert_eq!((beginning.offset, beginning.found, beginning.first), (at(begun), found, true));
            assert_eq!(beginning.file_start, at(begun));
        }
        let failure = begin(10, 5).unwrap_err().to_string();
        assert!(failure.contains("[5, 10) are gone (retention)"), "{failure}");
        assert!(begin(100, 101).unwrap_err().to_string().contains("truncated"));
    }
}
