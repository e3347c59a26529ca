//! Owns the outcome of an audit: its JSON form, and which of its findings mean that delivery is not proved. Does not own
//! how they are found.

use serde::Serialize;

use crate::position::{Offset, OffsetRange};

/// How many sightings of one kind are kept for each topic-partition; all are counted.
const MAX_SIGHTINGS: usize = 10;

/// An audit of a prefix.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct AuditReport {
    /// The prefix, without credentials.
    pub url: String,
    /// Whether delivery is proved: each offset at most once, ranges contiguous, everything readable.
    pub ok: bool,
    /// Files of ours.
    pub files: u64,
    /// Their size in bytes.
    pub bytes: u64,
    /// Their rows.
    pub rows: u64,
    /// By topic and partition.
    pub partitions: Vec<PartitionReport>,
    /// Files that are not ours; they prove and disprove nothing.
    pub foreign: Vec<String>,
    /// Files with foreign names, or in the directory of another topic, that hold rows of ours: readers see these rows twice,
    /// or where they do not belong.
    pub renamed: Vec<Note>,
    /// Whether every byte of every file was read and every page decoded; else the footers and the offsets only.
    pub pages_read: bool,
    /// Whether it is in order that there is no file: nothing that the group has passed became a row.
    pub none_due: bool,
}

impl AuditReport {
    /// Puts a report together and decides.
    #[must_use]
    pub fn new(
        url: String,
        partitions: Vec<PartitionReport>,
        foreign: Vec<String>,
        renamed: Vec<Note>,
    ) -> Self {
        let sum = |of: fn(&PartitionReport) -> u64| partitions.iter().map(of).sum();
        let (files, bytes, rows) = (sum(|one| one.files), sum(|one| one.bytes), sum(|one| one.rows));
        // No file is no proof: most likely the URL or the topic is another.
        let ok = files > 0 && renamed.is_empty() && partitions.iter().all(|one| one.ok);
        let (pages_read, none_due) = (false, false);
        Self { url, ok, files, bytes, rows, partitions, foreign, renamed, pages_read, none_due }
    }

    /// Decides anew, now that it is known that no file is due.
    pub fn excuse(&mut self) {
        self.none_due = true;
        self.ok = self.renamed.is_empty() && self.partitions.iter().all(|one| one.ok);
    }
}

/// What was found of a topic-partition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PartitionReport {
    /// Topic.
    pub topic: String,
    /// Partition number.
    pub partition: i32,
    /// Whether its delivery is proved.
    pub ok: bool,
    /// From the first start to the last end; absent when every range is empty.
    pub offsets: Option<Span>,
    /// Different offset ranges.
    pub flushes: usize,
    /// Files.
    pub files: u64,
    /// Size of the files in bytes.
    pub bytes: u64,
    /// Rows of the readable files.
    pub rows: u64,
    /// Files without a usable `_offset` column: their offsets are not compared one by one.
    pub files_without_offsets: u64,
    /// Files whose bytes are those that were written, as the checksum in their footer says. Those of the first versions have
    /// none.
    pub files_compared: u64,
    /// First offset that the broker has; absent where it was not asked or did not tell. Without it the proof is from the
    /// first offset found.
    pub broker_begins: Option<i64>,
    /// Why the broker did not tell its first offset, where it was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub broker_silent: Option<String>,
    /// Offsets that no range holds.
    pub gaps: Vec<Gap>,
    /// Different ranges that intersect.
    pub overlaps: Vec<Overlap>,
    /// Flushes that made more files than are there.
    pub incomplete: Vec<Incomplete>,
    /// Offsets met again.
    pub duplicates: OffsetFindings,
    /// Offsets outside the range of their file.
    pub outside: OffsetFindings,
    /// Offsets below the one before them in a file that is not sorted otherwise.
    pub descending: OffsetFindings,
    /// Files that contradict their name or themselves.
    pub disagreements: Vec<Note>,
    /// Files whose bytes are not those that were written.
    pub changed: Vec<Note>,
    /// Files that could not be read.
    pub unreadable: Vec<Note>,
    /// The group's commit, when it was asked for.
    pub committed: Option<CommitReport>,
}

impl PartitionReport {
    /// Decides anew, after the broker was asked about gaps.
    pub fn judge(&mut self) {
        self.ok = self.problems().is_empty();
    }

    /// Everything that keeps delivery from being proved, one line each, lower case.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let gaps = self.gaps.iter().filter(|gap| !self.is_under_way(gap.span));
        let mut lines: Vec<String> = gaps.filter_map(Gap::problem).collect();
        lines.extend(self.broker_silent.iter().map(|reason| {
            let front = self.offsets.map_or_else(
                || "what the group has committed".to_owned(),
                |span| format!("what lies before {}", span.start),
            );
            format!(
                "broker: it does not tell the first offset that it has ({reason}), so {front} is not proved"
            )
        }));
        lines.extend(self.overlaps.iter().map(|overlap| {
            format!(
                "overlap: flush {} reaches into flush {}; two groups wrote here, or one was set back",
                overlap.first, overlap.second
            )
        }));
        let missing = self.incomplete.iter().filter(|flush| !self.is_under_way(flush.span));
        lines.extend(missing.map(|flush| {
            format!("incomplete: flush {} has {} of its {} files", flush.span, flush.files, flush.made)
        }));
        lines.extend(self.duplicates.problem("duplicate", "met again"));
        lines.extend(self.outside.problem("outside", "not in the range of the file's name"));
        lines.extend(self.descending.problem("descending", "below the offset before them"));
        lines.extend(
            self.disagreements.iter().map(|note| format!("contradiction: {}: {}", note.file, note.reason)),
        );
        lines.extend(self.changed.iter().map(|note| format!("changed: {}: {}", note.file, note.reason)));
        lines
            .extend(self.unreadable.iter().map(|note| format!("unreadable: {}: {}", note.file, note.reason)));
        lines.extend(
            self.committed
                .iter()
                .flat_map(|commit| commit.problems.iter().map(|line| format!("commit: {line}"))),
        );
        lines
    }

    /// Whether files of these offsets may have been published while files were listed, or may still be. That the group announced
    /// whatever lies there is held against its commits.
    fn is_under_way(&self, span: Span) -> bool {
        self.committed.as_ref().is_some_and(|commit| {
            Some(span) == commit.pending || span.start >= commit.published_below.unwrap_or_default()
        })
    }
}

/// A half-open range of offsets, as JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Span {
    /// First offset.
    pub start: i64,
    /// First offset after it.
    pub end: i64,
}

impl From<OffsetRange> for Span {
    fn from(range: OffsetRange) -> Self {
        Self { start: range.start.as_i64(), end: range.end.as_i64() }
    }
}

impl std::fmt::Display for Span {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "[{}, {})", self.start, self.end)
    }
}

/// Offsets between two flushes, or below the committed offset, that no file's range holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// The offsets.
    #[serde(flatten)]
    pub span: Span,
    /// What the broker has there.
    pub broker: GapContent,
    /// Whether it is in front of every file.
    pub leading: bool,
}

/// What the broker says of a gap.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GapContent {
    /// It was not asked.
    NotAsked,
    /// No record: transaction markers, aborted or compacted records. Nothing is missing.
    NoRecord,
    /// This is the first record with a value there.
    Record(i64),
    /// Only records without a value; this is the first.
    Tombstones(i64),
    /// It has deleted what was there.
    Deleted,
    /// It did not tell; why.
    Unknown(String),
}

impl Gap {
    /// A gap about which nobody was asked yet.
    #[must_use]
    pub fn of(range: OffsetRange) -> Self {
        Self { span: range.into(), broker: GapContent::NotAsked, leading: false }
    }

    /// The offsets, for asking the broker.
    #[must_use]
    pub fn range(&self) -> OffsetRange {
        let at = |raw| Offset::new(raw).unwrap_or_default();
        OffsetRange::new(at(self.span.start), at(self.span.end))
    }

    /// What is wrong with it, unless nothing can be missing there.
    fn problem(&self) -> Option<String> {
        let skipped = if self.leading {
            "right only if the group began behind it, or records there were skipped or became dead letters"
        } else {
            "right only if records there were skipped or became dead letters"
        };
        let gap = format!("gap: no file holds {}", self.span);
        match &self.broker {
            GapContent::NoRecord => None,
            GapContent::NotAsked => Some(format!(
                "{gap}; {skipped}. --property bootstrap.servers=… asks the broker what is there"
            )),
            GapContent::Record(offset) => {
                Some(format!("{gap}, the broker has a record at {offset}; {skipped}"))
            }
            GapContent::Tombstones(offset) => Some(format!(
                "{gap}, the broker has only records without a value there, first at {offset}; right where on_tombstone is skip or dead_letter"
            )),
            GapContent::Deleted => {
                Some(format!("{gap}, and the broker has deleted what was there; {skipped}"))
            }
            GapContent::Unknown(reason) => {
                Some(format!("{gap}; {skipped}. The broker does not tell: {reason}"))
            }
        }
    }
}

/// A flush of which files are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Incomplete {
    /// Its range.
    #[serde(flatten)]
    pub span: Span,
    /// Files that are there.
    pub files: u64,
    /// Files that it made, as its footers say.
    pub made: u64,
}

/// Two flushes whose ranges differ and intersect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Overlap {
    /// The one that starts first.
    pub first: Span,
    /// The other.
    pub second: Span,
}

/// Offsets that should not be where they are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct OffsetFindings {
    /// How many there are.
    pub count: u64,
    /// The first of them.
    pub sightings: Vec<OffsetSighting>,
}

/// An offset and the file in which it was seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OffsetSighting {
    /// As it stands in the column.
    pub offset: i64,
    /// Path relative to the prefix.
    pub file: String,
}

impl OffsetFindings {
    pub(super) fn note(&mut self, offset: i64, file: &str) {
        self.count += 1;
        if self.sightings.len() < MAX_SIGHTINGS {
            self.sightings.push(OffsetSighting { offset, file: file.to_owned() });
        }
    }

    fn problem(&self, kind: &str, what: &str) -> Option<String> {
        let first = self.sightings.first()?;
        let offsets = if self.count == 1 { "offset" } else { "offsets" };
        Some(format!("{kind}: {} {offsets} {what}, first {} in {}", self.count, first.offset, first.file))
    }
}

/// A file and what is to be said of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Note {
    /// Path relative to the prefix.
    pub file: String,
    /// Lower case.
    pub reason: String,
}

/// A group's commit of a topic-partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CommitReport {
    /// The committed offset; absent when there is none.
    pub offset: Option<i64>,
    /// Every file of what lies below it was published before the files were listed. What lies beyond may have come while they
    /// were: a listing is not one moment, so of that it may show some files and not others.
    pub published_below: Option<i64>,
    /// The flush that is announced and not settled.
    pub pending: Option<Span>,
    /// What is committed behind the last file and became no row: skipped, or dead letters, as the commit says. The next file
    /// begins there.
    pub unfiled: Option<Span>,
    /// Where commit and files contradict each other.
    pub problems: Vec<String>,
}
