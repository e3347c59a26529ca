//! Owns the audit as a state machine: files in the order of the plan go in, each with its footer and then its offsets,
//! a report of every topic-partition comes out. Does not own the reading.

use std::collections::BTreeMap;

use super::claims::{FooterFacts, disagreements};
use super::commits::{GroupCommits, compare};
use super::incarnations::Incarnations;
use super::offset_set::OffsetSet;
use super::plan::{AuditPlan, AuditedFile};
use super::ranges::survey;
use super::report::{Gap, Incomplete, Note, Overlap, PartitionReport, Span};
use crate::encode::FooterKey;
use crate::position::{Offset, OffsetRange, TopicPartition};

/// An audit under way. Holds the offsets of one flush at a time, or of those that overlap.
#[derive(Debug)]
pub struct Auditor {
    reports: BTreeMap<TopicPartition, PartitionReport>,
    file: Option<OpenFile>,
    flush: Option<OpenFlush>,
    seen: OffsetSet,
    incarnations: Incarnations,
}

#[derive(Debug)]
struct OpenFile {
    file: AuditedFile,
    footer: FooterFacts,
    rows_seen: u64,
    nulls: u64,
    last: Option<i64>,
}

#[derive(Debug)]
struct OpenFlush {
    tp: TopicPartition,
    range: OffsetRange,
    /// Rows of its readable files.
    rows: u64,
    /// Its files, readable or not.
    files: u64,
    /// How many files it made, as their footers say; 0 while none did.
    files_made: u64,
    /// The intent it was published under, as the first footer that tells says it.
    intent: Option<String>,
    /// Whether each of them was compared offset by offset.
    compared: bool,
    /// End of all flushes whose offsets are in `seen`.
    reach: Offset,
}

impl OpenFlush {
    /// Takes what a footer says of the whole flush; gives where it contradicts the others.
    fn hear(&mut self, footer: &FooterFacts) -> Vec<String> {
        let mut contradictions = Vec::new();
        let made = footer.flush_files();
        if made > 0 && self.files_made > 0 && made != self.files_made {
            let known = self.files_made;
            contradictions.push(format!(
                "it says that its flush made {made} files, another file of the flush says {known}"
            ));
        }
        self.files_made = self.files_made.max(made);
        let intent = footer.key_values.get(FooterKey::Intent.as_str());
        match (&self.intent, intent) {
            (Some(known), Some(intent)) if known != intent => {
                contradictions
                    .push("it was published under another intent than another file of its flush".to_owned());
            }
            (None, Some(intent)) => self.intent = Some(intent.clone()),
            _ => {}
        }
        contradictions
    }
}

impl Auditor {
    /// Begins: what the names alone say is found already.
    #[must_use]
    pub fn new(plan: &AuditPlan) -> Self {
        let mut reports = BTreeMap::new();
        for files in plan.files.chunk_by(|one, other| one.tp == other.tp) {
            let survey = survey(files.iter().map(|file| file.range));
            let overlap = |(first, second): (OffsetRange, OffsetRange)| Overlap {
                first: first.into(),
                second: second.into(),
            };
            let report = PartitionReport {
                topic: files[0].tp.topic.to_string(),
                partition: files[0].tp.partition,
                offsets: survey.whole.map(Span::from),
                flushes: survey.flushes,
                files: files.len() as u64,
                bytes: files.iter().map(|file| file.size_bytes).sum(),
                gaps: survey.gaps.into_iter().map(Gap::of).collect(),
                overlaps: survey.overlaps.into_iter().map(overlap).collect(),
                ..PartitionReport::default()
            };
            reports.insert(files[0].tp.clone(), report);
        }
        Self {
            reports,
            file: None,
            flush: None,
            seen: OffsetSet::default(),
            incarnations: Incarnations::default(),
        }
    }

    /// The next file of the plan, and its footer. Its offsets follow when the footer has them.
    ///
    /// # Panics
    /// When the file is not one of the plan, or comes before one it follows there.
    pub fn begin(&mut self, file: &AuditedFile, footer: FooterFacts) {
        self.end_file();
        self.enter_flush(file);
        let mut disagreements = disagreements(file, &footer);
        disagreements.extend(self.incarnations.hear(file, &footer));
        let rows = footer.rows;
        let has_offsets = footer.has_offsets;
        if let Some(flush) = &mut self.flush {
            disagreements.extend(flush.hear(&footer));
            flush.rows += rows;
            flush.compared &= has_offsets;
        }
        let report = self.report(&file.tp);
        report.rows += rows;
        report.files_without_offsets += u64::from(!has_offsets);
        let note = |reason| Note { file: file.path.clone(), reason };
        report.disagreements.extend(disagreements.into_iter().map(note));
        self.file = Some(OpenFile { file: file.clone(), footer, rows_seen: 0, nulls: 0, last: None });
    }

    /// Further values of the `_offset` column of the file begun last, and how many nulls stand between them.
    ///
    /// # Panics
    /// Before the first file.
    pub fn offsets(&mut self, offsets: &[i64], nulls: u64) {
        let Some(open) = &mut self.file else { panic!("offsets follow a file") };
        let Some(report) = self.reports.get_mut(&open.file.tp) else { panic!("a file of the plan is open") };
        open.rows_seen += offsets.len() as u64 + nulls;
        open.nulls += nulls;
        for &raw in offsets {
            let path = &open.file.path;
            if open.last.is_some_and(|last| raw < last) && !open.footer.sorted {
                report.descending.note(raw, path);
            }
            open.last = Some(raw);
            match Offset::new(raw).filter(|offset| open.file.range.contains(*offset)) {
                None => report.outside.note(raw, path),
                Some(offset) if !self.seen.insert(offset) => report.duplicates.note(raw, path),
                Some(_) => {}
            }
        }
    }

    /// Every byte of the file begun last was read, and this is the checksum over them.
    pub fn checksum(&mut self, found: &str) {
        let Some(open) = &self.file else { return };
        let Some(report) = self.reports.get_mut(&open.file.tp) else { return };
        let note = |reason| Note { file: open.file.path.clone(), reason };
        match open.footer.checksum() {
            Some(said) if said == found => report.files_compared += 1,
            Some(said) => {
                let said = said.escape_debug();
                report.changed.push(note(format!(
                    "its bytes are not those that were written: their checksum is {found}, its footer says {said}"
                )));
            }
            // Files of the first versions have none. They come first, as offsets ascend.
            None if report.files_compared == 0 => {}
            None => report.disagreements.push(note(
                "it has no checksum, though files before it have: its footer was changed, or an older version wrote it"
                    .to_owned(),
            )),
        }
    }

    /// The next file of the plan, or the rest of the one begun last, cannot be read.
    ///
    /// # Panics
    /// As [`Self::begin`].
    pub fn unreadable(&mut self, file: &AuditedFile, reason: impl Into<String>) {
        // The rest of a file that broke off is not missing a second time.
        if self.file.take_if(|open| open.file.path == file.path).is_none() {
            self.end_file();
            self.enter_flush(file);
        }
        let note = Note { file: file.path.clone(), reason: reason.into() };
        self.report(&file.tp).unreadable.push(note);
    }

    /// Holds the files of `tp`, if there are any, against the first offset that the broker has: what lies between it and
    /// the first file is a gap.
    pub fn broker_begins(&mut self, tp: &TopicPartition, begins: Offset) {
        let Some(report) = self.reports.get_mut(tp) else { return };
        report.broker_begins = Some(begins.as_i64());
        if let Some(first) =
            report.offsets.and_then(|span| Offset::new(span.start)).filter(|first| begins < *first)
        {
            report.gaps.insert(0, Gap { leading: true, ..Gap::of(OffsetRange::new(begins, first)) });
        }
    }

    /// The broker was asked for the first offset that it has of `tp`, and did not tell; why. Whether anything is missing in
    /// front of the first file, or altogether, is not known then.
    pub fn broker_is_silent(&mut self, tp: &TopicPartition, reason: impl Into<String>) {
        self.report(tp).broker_silent = Some(reason.into());
    }

    /// Holds a group's commit of `tp` against the files of the plan; partitions without files are looked at too, from
    /// `begins` on, the first offset that the broker has.
    pub fn commits(
        &mut self,
        plan: &AuditPlan,
        tp: &TopicPartition,
        group: &str,
        commits: &GroupCommits,
        begins: Option<Offset>,
    ) {
        let mut ranges: Vec<OffsetRange> =
            plan.files.iter().filter(|file| file.tp == *tp).map(|file| file.range).collect();
        ranges.dedup();
        let (commit, tail) = compare(&ranges, group, commits, begins);
        let report = self.report(tp);
        report.gaps.extend(tail.map(|range| Gap { leading: ranges.is_empty(), ..Gap::of(range) }));
        report.committed = Some(commit);
    }

    /// Ends the audit. Gaps are judged as they stand: [`PartitionReport::judge`] does so again.
    #[must_use]
    pub fn finish(mut self) -> Vec<PartitionReport> {
        self.end_file();
        self.end_flush();
        let mut reports: Vec<PartitionReport> = self.reports.into_values().collect();
        reports.iter_mut().for_each(PartitionReport::judge);
        reports
    }

    fn enter_flush(&mut self, file: &AuditedFile) {
        let same = |flush: &OpenFlush| flush.tp == file.tp && flush.range == file.range;
        if let Some(flush) = self.flush.as_mut().filter(|flush| same(flush)) {
            flush.files += 1;
            return;
        }
        self.end_flush();
        let before = self.flush.take().filter(|flush| flush.tp == file.tp);
        assert!(
            before.as_ref().is_none_or(|flush| flush.range <= file.range),
            "files come in the order of the plan"
        );
        // Ranges that do not intersect have no offset in common, once each offset is in the range of its file.
        let reach = before.map(|flush| flush.reach).filter(|reach| file.range.start < *reach);
        if reach.is_none() {
            self.seen.clear();
        }
        let reach = reach.map_or(file.range.end, |reach| reach.max(file.range.end));
        self.flush = Some(OpenFlush {
            tp: file.tp.clone(),
            range: file.range,
            rows: 0,
            files: 1,
            files_made: 0,
            intent: None,
            compared: true,
            reach,
        });
    }

    fn end_flush(&mut self) {
        let Some(flush) = &self.flush else { return };
        let (tp, name) = (flush.tp.clone(), format!("flush {}", flush.range));
        let (files, made) = (flush.files, flush.files_made);
        if made > 0 && files > made {
            let reason = format!("{files} files are there and it made {made}: readers see some rows twice");
            self.report(&tp).disagreements.push(Note { file: name, reason });
            return;
        }
        if flush.files < flush.files_made {
            let incomplete =
                Incomplete { span: flush.range.into(), files: flush.files, made: flush.files_made };
            self.report(&tp).incomplete.push(incomplete);
            return;
        }
        if flush.rows > flush.range.span() && !flush.compared {
            let reason = format!("{} rows are more than its offsets: some are there twice", flush.rows);
            self.report(&tp).disagreements.push(Note { file: name, reason });
        }
    }

    fn end_file(&mut self) {
        let Some(open) = self.file.take().filter(|open| open.footer.has_offsets) else { return };
        let (path, rows, seen, nulls) = (open.file.path, open.footer.rows, open.rows_seen, open.nulls);
        let report = self.report(&open.file.tp);
        if seen != rows {
            let reason = format!("its `_offset` column has {seen} values for {rows} rows");
            report.disagreements.push(Note { file: path.clone(), reason });
        }
        if nulls > 0 {
            let reason = format!("its `_offset` column has {nulls} nulls");
            report.disagreements.push(Note { file: path, reason });
        }
    }

    fn report(&mut self, tp: &TopicPartition) -> &mut PartitionReport {
        self.reports.entry(tp.clone()).or_insert_with(|| PartitionReport {
            topic: tp.topic.to_string(),
            partition: tp.partition,
            ..PartitionReport::default()
        })
    }
}
