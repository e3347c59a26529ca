//! Owns what a group's committed offset must be, given the files. Does not own how it is asked for.

use super::report::{CommitReport, Span};
use crate::position::{Offset, OffsetRange};
use crate::task::intent::{Intent, unfiled_before};

/// What the coordinator holds for a topic-partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupCommit {
    /// `None` when the group has committed nothing.
    pub offset: Option<Offset>,
    /// Metadata of the commit.
    pub metadata: String,
}

/// The commit at two times: a running daemon publishes and commits while it is audited.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupCommits {
    /// Before the files were listed: everything below it was published by then.
    pub before: GroupCommit,
    /// After the files were listed: whatever was listed is below it, or announced by it.
    pub after: GroupCommit,
}

impl GroupCommit {
    /// What it says is settled and in no file's range.
    fn unfiled(&self) -> Option<OffsetRange> {
        self.offset.and_then(|offset| unfiled_before(offset, &self.metadata))
    }

    /// Up to where there have to be files.
    fn filed(&self) -> Option<Offset> {
        self.unfiled().map(|unfiled| unfiled.start).or(self.offset)
    }
}

/// Holds the commits against the flushes' ranges (in order). The second value is the range that is committed, lies beyond
/// every file, or beyond `begins`, the first offset that the broker has, where there is no file, and should be in one.
pub(super) fn compare(
    ranges: &[OffsetRange],
    group: &str,
    commits: &GroupCommits,
    begins: Option<Offset>,
) -> (CommitReport, Option<OffsetRange>) {
    let end = ranges.iter().map(|range| range.end).max();
    let tail = end
        .or(begins)
        .zip(commits.before.filed())
        .filter(|(end, committed)| end < committed)
        .map(|(end, committed)| OffsetRange::new(end, committed));
    let mut report = CommitReport {
        offset: commits.after.offset.map(Offset::as_i64),
        published_below: commits.before.filed().map(Offset::as_i64),
        pending: None,
        unfiled: commits.after.unfiled().map(Span::from),
        problems: Vec::new(),
    };
    let Some(committed) = commits.after.offset else {
        if let Some(end) = end {
            report.problems.push(format!(
                "files reach offset {end}, but group {group} has committed nothing: another group wrote them, or the group expired or was deleted"
            ));
        }
        return (report, tail);
    };
    let intent = Intent::from_metadata(&commits.after.metadata).unwrap_or_else(|error| {
        report.problems.push(error.to_string());
        None
    });
    if let Some(unfiled) = commits.after.unfiled()
        && let Some(range) = ranges.iter().find(|range| range.end > unfiled.start && range.end <= committed)
    {
        report.problems.push(format!(
            "group {group} says that nothing of {unfiled} is in a file, but a flush of {range} is published: another group wrote it"
        ));
    }
    let pending =
        intent.map(|intent| (intent.unfiled.map_or(committed, |unfiled| unfiled.start), intent.end));
    report.pending = pending.map(|(start, end)| Span { start: start.as_i64(), end: end.as_i64() });
    for range in ranges.iter().filter(|range| range.end > committed) {
        if pending == Some((range.start, range.end)) {
            continue;
        }
        let pending =
            pending.map_or_else(String::new, |(start, end)| format!(" (pending is [{start}, {end}))"));
        report.problems.push(format!(
            "a flush of {range} is published, but group {group} has committed {committed} and announced no such flush{pending}: \
             the group was set back, or another group wrote it"
        ));
    }
    (report, tail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::tests::range;
    use crate::task::intent::Basis;
    use crate::task::intent::{PlanHash, unfiled_metadata};

    fn at(offset: i64) -> Option<Offset> {
        Offset::new(offset)
    }

    fn commit(offset: i64, intended_end: Option<i64>) -> GroupCommits {
        let metadata = intended_end.map_or_else(String::new, |end| {
            let end = at(end).unwrap();
            Intent { end, plan: PlanHash(1), basis: Basis::default(), unfiled: None }.to_metadata()
        });
        let commit = GroupCommit { offset: at(offset), metadata };
        GroupCommits { before: commit.clone(), after: commit }
    }

    fn problems(commits: &GroupCommits) -> (usize, Option<OffsetRange>) {
        let (report, tail) = compare(&[range(0, 10), range(10, 20)], "g", commits, at(0));
        (report.problems.len(), tail)
    }

    #[test]
    fn a_commit_at_the_end_is_in_order() {
        assert_eq!(problems(&commit(20, None)), (0, None));
        assert_eq!(problems(&commit(20, Some(30))), (0, None));
    }

    #[test]
    fn files_beyond_the_commit_need_their_intent() {
        assert_eq!(problems(&commit(10, Some(20))), (0, None));
        assert_eq!(problems(&commit(10, None)), (1, None));
        assert_eq!(problems(&commit(10, Some(21))), (1, None), "another range than the announced one");
        assert_eq!(problems(&commit(0, Some(10))), (1, None), "one flush beyond the announced one");
        assert_eq!(problems(&commit(0, None)), (2, None));
    }

    #[test]
    fn what_is_committed_beyond_the_files_is_named() {
        assert_eq!(problems(&commit(25, None)), (0, Some(range(20, 25))));
    }

    #[test]
    fn what_became_no_row_needs_no_file_and_the_next_one_holds_it() {
        let commit = |metadata: String| {
            let commit = GroupCommit { offset: at(25), metadata };
            GroupCommits { before: commit.clone(), after: commit }
        };
        let since = |offset| commit(unfiled_metadata(at(offset).unwrap()));
        assert_eq!(problems(&since(20)), (0, None));
        assert_eq!(compare(&[], "g", &since(20), at(20)), compare(&[range(10, 20)], "g", &since(20), at(0)));
        assert_eq!(problems(&since(22)), (0, Some(range(20, 22))), "a file of these is missing");
        assert_eq!(problems(&since(15)), (1, None), "the last file goes further");

        let intent = |since| {
            let unfiled = Some(range(since, 25));
            let end = at(30).unwrap();
            commit(Intent { end, plan: PlanHash(1), basis: Basis::default(), unfiled }.to_metadata())
        };
        let announced = |commits: &GroupCommits, last: OffsetRange| {
            let (report, tail) = compare(&[range(0, 20), last], "g", commits, at(0));
            (report.problems.len(), report.pending.map(|span| span.to_string()), tail)
        };
        assert_eq!(announced(&intent(20), range(20, 30)), (0, Some("[20, 30)".to_owned()), None));
        assert!(announced(&intent(20), range(25, 30)).0 > 0, "another range than the announced one");
    }

    #[test]
    fn what_is_committed_without_any_file_is_named_as_far_as_the_broker_has_it() {
        let tail = |offset, begins| compare(&[], "g", &commit(offset, None), begins).1;
        assert_eq!(tail(25, at(0)), Some(range(0, 25)));
        assert_eq!(tail(25, at(10)), Some(range(10, 25)));
        assert_eq!((tail(25, at(25)), tail(25, at(40)), tail(0, at(0))), (None, None, None));
        assert_eq!(tail(25, None), None, "the broker does not tell");
    }

    #[test]
    fn files_published_during_the_audit_are_no_finding() {
        let commits = GroupCommits { before: commit(10, None).before, after: commit(20, Some(40)).after };
        assert_eq!(problems(&commits), (0, None));
        let commits = GroupCommits { before: commit(20, None).before, after: commit(60, None).after };
        assert_eq!(problems(&commits), (0, None), "the tail was published after the listing");
    }

    #[test]
    fn files_without_any_commit_are_a_finding() {
        assert_eq!(problems(&GroupCommits::default()), (1, None));
        assert!(compare(&[], "g", &GroupCommits::default(), at(0)).0.problems.is_empty());
    }

    #[test]
    fn an_unreadable_intent_is_a_finding() {
        let commit = GroupCommit { offset: at(20), metadata: "{\"v\":9}".to_owned() };
        assert_eq!(problems(&GroupCommits { before: commit.clone(), after: commit }), (1, None));
    }
}
