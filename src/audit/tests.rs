//! Lakes made up by dice, and the same ones spoiled in one way: the audit has to tell them apart.

use std::collections::BTreeMap;

use super::*;
use crate::encode::{FileChecksum, FooterKey};
use crate::position::{Offset, OffsetRange, TopicPartition};
use crate::task::names::object_name;

/// Reproducible randomness (splitmix64).
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

pub(super) fn range(start: i64, end: i64) -> OffsetRange {
    OffsetRange::new(Offset::new(start).unwrap(), Offset::new(end).unwrap())
}

pub(super) fn file(topic: &str, partition: i32, start: i64, end: i64, directory: &str) -> AuditedFile {
    let tp = TopicPartition::new(topic, partition);
    let path = object_name(&tp, range(start, end), directory, 0);
    AuditedFile { path, size_bytes: 100, tp, range: range(start, end) }
}

pub(super) fn footer(file: &AuditedFile, rows: u64) -> FooterFacts {
    let pairs = [
        (FooterKey::Topic, file.tp.topic.to_string()),
        (FooterKey::Partition, file.tp.partition.to_string()),
        (FooterKey::Start, file.range.start.to_string()),
        (FooterKey::End, file.range.end.to_string()),
        (FooterKey::Rows, rows.to_string()),
    ];
    let key_values: BTreeMap<String, String> =
        pairs.into_iter().map(|(key, value)| (key.as_str().to_owned(), value)).collect();
    FooterFacts { key_values, rows, has_offsets: true, sorted: false }
}

type Lake = Vec<(AuditedFile, Vec<i64>)>;

fn audit(lake: &Lake) -> Vec<PartitionReport> {
    audit_as(lake, |_| {})
}

fn audit_as(lake: &Lake, change: impl Fn(&mut FooterFacts)) -> Vec<PartitionReport> {
    let listed = lake.iter().map(|(file, _)| (file.path.clone(), file.size_bytes));
    let plan = AuditPlan::of(listed, None);
    let mut auditor = Auditor::new(&plan);
    for file in &plan.files {
        let offsets = &lake.iter().find(|(known, _)| known.path == file.path).unwrap().1;
        let mut footer = footer(file, offsets.len() as u64);
        change(&mut footer);
        let has_offsets = footer.has_offsets;
        auditor.begin(file, footer);
        for part in offsets.chunks(7).filter(|_| has_offsets) {
            auditor.offsets(part, 0);
        }
    }
    auditor.finish()
}

/// Contiguous flushes with gaps in their offsets, each spread over a few directories.
fn sound_lake(dice: &mut Dice) -> Lake {
    let mut lake = Lake::new();
    for partition in 0..=dice.below(3) as i32 {
        let mut start = dice.below(100_000) as i64;
        for _ in 0..=dice.below(5) {
            let end = start + 2 + dice.below(200) as i64;
            let mut files: Vec<Vec<i64>> = vec![Vec::new(); 1 + dice.below(4) as usize];
            for offset in start..end {
                let directory = dice.below(files.len() as u64 + 1) as usize;
                if let Some(offsets) = files.get_mut(directory) {
                    offsets.push(offset);
                }
            }
            for (directory, offsets) in files.into_iter().enumerate() {
                lake.push((file("t", partition, start, end, &format!("d={directory}")), offsets));
            }
            start = end;
        }
    }
    lake
}

fn only(reports: &[PartitionReport]) -> &PartitionReport {
    assert_eq!(reports.len(), 1);
    &reports[0]
}

#[test]
fn sound_lakes_are_proved() {
    for seed in 0..500 {
        let lake = sound_lake(&mut Dice::new(seed));
        let reports = audit(&lake);
        assert!(reports.iter().all(|report| report.ok), "seed {seed}: {reports:#?}");
        let rows: u64 = reports.iter().map(|report| report.rows).sum();
        assert_eq!(rows, lake.iter().map(|(_, offsets)| offsets.len() as u64).sum::<u64>());
    }
}

#[test]
fn every_offset_that_is_doubled_is_counted() {
    for seed in 0..500 {
        let mut dice = Dice::new(seed);
        let mut lake = sound_lake(&mut dice);
        let Some(victim) = (0..lake.len()).find(|at| !lake[*at].1.is_empty()) else { continue };
        let offset = lake[victim].1[dice.below(lake[victim].1.len() as u64) as usize];
        // In any file of the same flush, at its place in the order.
        let flush = (lake[victim].0.tp.clone(), lake[victim].0.range);
        let hosts: Vec<usize> =
            (0..lake.len()).filter(|at| (lake[*at].0.tp.clone(), lake[*at].0.range) == flush).collect();
        let host = hosts[dice.below(hosts.len() as u64) as usize];
        let place = lake[host].1.partition_point(|known| *known < offset);
        lake[host].1.insert(place, offset);
        let reports = audit(&lake);
        let doubled: u64 = reports.iter().map(|report| report.duplicates.count).sum();
        assert_eq!(doubled, 1, "seed {seed}");
        let sighting = reports.iter().find_map(|report| report.duplicates.sightings.first()).unwrap();
        assert_eq!(sighting.offset, offset, "seed {seed}");
        assert_eq!(reports.iter().filter(|report| !report.ok).count(), 1, "seed {seed}");
    }
}

#[test]
fn a_lost_flush_in_the_middle_is_a_gap() {
    for seed in 0..500 {
        let mut dice = Dice::new(seed);
        let mut lake = sound_lake(&mut dice);
        let lost = lake[dice.below(lake.len() as u64) as usize].0.clone();
        lake.retain(|(file, _)| (&file.tp, file.range) != (&lost.tp, lost.range));
        let within = |order: fn(&OffsetRange, &OffsetRange) -> bool| {
            lake.iter().any(|(file, _)| file.tp == lost.tp && order(&file.range, &lost.range))
        };
        let expected = within(|one, lost| one < lost) && within(|one, lost| one > lost);
        let gaps: Vec<Span> =
            audit(&lake).iter().flat_map(|report| report.gaps.iter().map(|gap| gap.span)).collect();
        assert_eq!(gaps, if expected { vec![lost.range.into()] } else { vec![] }, "seed {seed}");
    }
}

#[test]
fn a_rewound_group_that_writes_other_cuts_is_an_overlap_with_duplicates() {
    let lake = vec![
        (file("t", 0, 0, 10, ""), (0..10).collect()),
        (file("t", 0, 5, 15, ""), (5..15).collect()),
        (file("t", 0, 12, 20, ""), (12..20).collect()),
    ];
    let reports = audit(&lake);
    let report = only(&reports);
    assert_eq!(report.overlaps.len(), 2);
    assert_eq!(report.duplicates.count, 5 + 3);
    assert!(!report.ok);
}

#[test]
fn overlapping_ranges_without_a_common_offset_are_not_contiguous_either() {
    let lake = vec![
        (file("t", 0, 0, 10, ""), vec![0, 2]),
        (file("t", 0, 5, 15, ""), vec![11]),
        (file("t", 0, 15, 16, ""), vec![15]),
    ];
    let reports = audit(&lake);
    assert_eq!((only(&reports).duplicates.count, only(&reports).ok), (0, false));
}

#[test]
fn offsets_outside_the_name_and_out_of_order_are_found() {
    let lake = vec![(file("t", 0, 5, 10, ""), vec![5, 8, 7, 10, 4, -1])];
    let reports = audit(&lake);
    let report = only(&reports);
    let outside: Vec<i64> = report.outside.sightings.iter().map(|sighting| sighting.offset).collect();
    assert_eq!(outside, [10, 4, -1]);
    assert_eq!(report.descending.count, 3);
    assert!(!report.ok);
}

#[test]
fn a_file_whose_bytes_are_others_is_found_and_so_is_one_whose_checksum_is_gone() {
    let lake: Lake = (0..4).map(|at| (file("t", 0, at * 10, at * 10 + 10, ""), vec![at * 10])).collect();
    let with = |sums: [&str; 4]| {
        let plan = AuditPlan::of(lake.iter().map(|(file, _)| (file.path.clone(), file.size_bytes)), None);
        let mut auditor = Auditor::new(&plan);
        for ((file, offsets), said) in lake.iter().zip(sums) {
            let mut footer = footer(file, 1);
            if said != "-" {
                footer.key_values.insert(FooterKey::FileChecksum.as_str().to_owned(), said.to_owned());
            }
            auditor.begin(file, footer);
            auditor.offsets(offsets, 0);
            auditor.checksum("a");
        }
        let report = auditor.finish().remove(0);
        (report.ok, report.files_compared, report.changed.len(), report.disagreements.len())
    };
    assert_eq!(with(["a", "a", "a", "a"]), (true, 4, 0, 0));
    assert_eq!(with(["-", "-", "a", "a"]), (true, 2, 0, 0), "files of earlier versions come first");
    assert_eq!(with(["a", "b", "a", ""]), (false, 2, 2, 0));
    assert_eq!(with(["-", "a", "-", "a"]), (false, 2, 0, 1));
    assert_eq!(with(["a", FileChecksum::UNKNOWN, "a", "a"]), (false, 3, 0, 1));
}

#[test]
fn an_offset_outside_the_name_disproves_by_itself() {
    let lake = vec![(file("t", 0, 5, 10, ""), vec![5, 8, 10])];
    let name = &lake[0].0.path;
    let reports = audit(&lake);
    let expected = format!("outside: 1 offset not in the range of the file's name, first 10 in {name}");
    assert_eq!(only(&reports).problems(), [expected]);
}

#[test]
fn offsets_met_again_are_all_counted_and_the_first_ones_shown() {
    let lake = vec![(file("t", 0, 0, 100, ""), (0..25).flat_map(|offset| [offset; 2]).collect())];
    let reports = audit(&lake);
    let report = only(&reports);
    let shown: Vec<i64> = report.duplicates.sightings.iter().map(|sighting| sighting.offset).collect();
    assert_eq!((report.duplicates.count, shown), (25, (0..10).collect()));
    assert_eq!(report.descending.count, 0, "an offset that stands twice goes neither up nor down");
}

#[test]
fn an_offset_is_met_again_also_behind_a_flush_within_another() {
    let lake = vec![
        (file("t", 0, 0, 20, ""), vec![1, 12]),
        (file("t", 0, 5, 10, ""), vec![6]),
        (file("t", 0, 12, 15, ""), vec![12]),
    ];
    assert_eq!(only(&audit(&lake)).duplicates.count, 1);
}

#[test]
fn files_of_a_topic_and_of_its_successor_of_the_same_name_prove_nothing_together() {
    let lake = vec![
        (file("t", 0, 0, 10, ""), (0..10).collect()),
        (file("t", 0, 10, 20, ""), (10..20).collect()),
        (file("t", 0, 20, 30, ""), (20..30).collect()),
        (file("t", 1, 5, 10, ""), (5..10).collect()),
        (file("u", 0, 0, 10, ""), (0..10).collect()),
    ];
    let of_ids = |ids: [&str; 5]| {
        let ids = std::cell::RefCell::new(ids.into_iter().map(str::to_owned).collect::<Vec<_>>().into_iter());
        audit_as(&lake, |footer| {
            let id = ids.borrow_mut().next().unwrap_or_default();
            if id != "-" {
                footer.key_values.insert(FooterKey::TopicId.as_str().to_owned(), id);
            }
        })
    };
    let found = |ids| of_ids(ids).iter().map(|report| report.disagreements.len()).collect::<Vec<_>>();
    assert_eq!(found(["a", "a", "a", "a", "b"]), [0, 0, 0], "another topic has another id");
    assert_eq!(found(["a", "-", "a", "-", "b"]), [0, 0, 0], "a file without an id says nothing");
    assert_eq!(found(["a", "b", "b", "a", "a"]), [1, 0, 0], "said once for a partition");
    assert_eq!(found(["a", "a", "a", "b", "b"]), [0, 1, 0], "other partitions are of the same topic");
    let reports = of_ids(["a", "b", "b", "a", "a"]);
    assert!(!reports[0].ok);
    let told = &reports[0].disagreements[0];
    assert!(told.reason.contains("id b") && told.file == lake[1].0.path, "{told:?}");
}

#[test]
fn a_broker_that_does_not_tell_its_first_offset_proves_nothing() {
    let lake = [(file("t", 0, 5, 10, ""), 5..10)];
    let plan = AuditPlan::of(lake.iter().map(|(file, _)| (file.path.clone(), file.size_bytes)), None);
    let mut auditor = Auditor::new(&plan);
    auditor.begin(&plan.files[0], footer(&plan.files[0], 5));
    auditor.offsets(&[5, 6, 7, 8, 9], 0);
    for partition in [0, 1] {
        auditor.broker_is_silent(&TopicPartition::new("t", partition), "no answer");
    }
    let reports = auditor.finish();
    assert!(reports.iter().all(|report| !report.ok), "{reports:#?}");
    let told = |at: usize| reports[at].problems().join("\n");
    assert!(told(0).contains("no answer") && told(0).contains("before 5"), "{}", told(0));
    assert!(told(1).contains("the group has committed"), "{}", told(1));
}

#[test]
fn sorted_files_may_descend() {
    let lake = vec![(file("t", 0, 5, 10, ""), vec![8, 7, 5, 9])];
    assert!(!only(&audit(&lake)).ok);
    assert!(only(&audit_as(&lake, |footer| footer.sorted = true)).ok);
}

#[test]
fn without_offsets_too_many_rows_are_still_found() {
    let fits =
        vec![(file("t", 0, 0, 10, "d=1"), (0..5).collect()), (file("t", 0, 0, 10, "d=2"), (5..10).collect())];
    let reports = audit_as(&fits, |footer| footer.has_offsets = false);
    assert_eq!((only(&reports).ok, only(&reports).files_without_offsets), (true, 2));
    let mut twice = fits;
    twice.push((file("t", 0, 0, 10, "d=3"), vec![3]));
    assert!(!only(&audit_as(&twice, |footer| footer.has_offsets = false)).ok);
}

#[test]
fn values_that_are_missing_from_the_column_are_found() {
    let plan = AuditPlan::of([(file("t", 0, 0, 10, "").path, 1)], None);
    let mut auditor = Auditor::new(&plan);
    auditor.begin(&plan.files[0], footer(&plan.files[0], 4));
    auditor.offsets(&[0, 1], 1);
    let reports = auditor.finish();
    assert_eq!(only(&reports).disagreements.len(), 2, "one value too few, and a null");
}

#[test]
fn an_unreadable_file_is_named_once_and_disproves() {
    let lake = [file("t", 0, 0, 10, "d=1"), file("t", 0, 0, 10, "d=2"), file("t", 0, 10, 20, "")];
    let plan = AuditPlan::of(lake.iter().map(|file| (file.path.clone(), 1)), None);
    let mut auditor = Auditor::new(&plan);
    auditor.begin(&plan.files[0], footer(&plan.files[0], 5));
    auditor.offsets(&[1], 0);
    auditor.unreadable(&plan.files[0], "broke off");
    auditor.unreadable(&plan.files[1], "no footer");
    auditor.begin(&plan.files[2], footer(&plan.files[2], 1));
    auditor.offsets(&[10], 0);
    let reports = auditor.finish();
    let report = only(&reports);
    let named: Vec<&str> = report.unreadable.iter().map(|note| note.file.as_str()).collect();
    assert_eq!(named, [plan.files[0].path.as_str(), plan.files[1].path.as_str()]);
    assert_eq!((report.ok, report.disagreements.len(), report.rows), (false, 0, 6));
}

#[test]
fn a_file_missing_from_a_flush_is_found() {
    let lake = vec![
        (file("t", 0, 0, 10, "d=a"), (0..5).collect()),
        (file("t", 0, 0, 10, "d=b"), (5..10).collect()),
        (file("t", 0, 10, 20, "d=a"), (10..20).collect()),
    ];
    let made = |footer: &mut FooterFacts, files: &str| {
        footer.key_values.insert(FooterKey::FlushFiles.as_str().to_owned(), files.to_owned());
    };
    let two_each = |footer: &mut FooterFacts| made(footer, "2");
    let reports = audit_as(&lake, two_each);
    let report = only(&reports);
    assert_eq!(report.problems(), ["incomplete: flush [10, 20) has 1 of its 2 files"]);
    // Announced and not settled: the rest is still to come.
    let mut report = report.clone();
    report.committed = Some(CommitReport {
        offset: Some(10),
        published_below: Some(20),
        pending: Some(range(10, 20).into()),
        unfiled: None,
        problems: Vec::new(),
    });
    report.judge();
    assert!(report.ok);
    // Another flush that is announced is no excuse.
    report.committed.as_mut().unwrap().pending = Some(range(20, 30).into());
    report.judge();
    assert_eq!(report.problems(), ["incomplete: flush [10, 20) has 1 of its 2 files"]);
    // It may have been published while the files were listed.
    report.committed.as_mut().unwrap().published_below = Some(10);
    report.judge();
    assert!(report.ok);
}

#[test]
fn gaps_of_what_was_published_while_files_were_listed_are_no_finding() {
    let lake =
        vec![(file("t", 0, 0, 10, ""), (0..10).collect()), (file("t", 0, 20, 30, ""), (20..30).collect())];
    let mut report = only(&audit_as(&lake, |_| ())).clone();
    assert_eq!(report.problems().len(), 1, "{report:?}");
    let committed = |published_below| CommitReport {
        offset: Some(30),
        published_below,
        pending: None,
        unfiled: None,
        problems: Vec::new(),
    };
    for (published_below, under_way) in [(Some(30), false), (Some(11), false), (Some(10), true), (None, true)]
    {
        report.committed = Some(committed(published_below));
        report.judge();
        assert_eq!(report.ok, under_way, "{published_below:?}");
    }
}

#[test]
fn a_gap_without_a_record_is_no_problem() {
    let lake = vec![(file("t", 0, 0, 10, ""), vec![1]), (file("t", 0, 11, 20, ""), vec![12])];
    let mut report = audit(&lake).remove(0);
    assert!(!report.ok);
    report.gaps[0].broker = GapContent::NoRecord;
    report.judge();
    assert!(report.ok);
    for content in [GapContent::Record(10), GapContent::Deleted, GapContent::Unknown("down".into())] {
        report.gaps[0].broker = content;
        report.judge();
        assert!(!report.ok);
    }
}

#[test]
fn no_file_is_no_proof() {
    assert!(!AuditReport::new("file:///lake".into(), Vec::new(), vec!["README.md".into()], Vec::new()).ok);
}

/// The reports of a flush with these files: what the footers say of its number of files, and the intent.
fn of_one_flush(footers: &[(&str, &str)]) -> PartitionReport {
    let files: Vec<AuditedFile> =
        (0..footers.len()).map(|number| file("t", 0, 0, 10, &format!("d={number}"))).collect();
    let plan = AuditPlan::of(files.iter().map(|file| (file.path.clone(), 1)), None);
    let mut auditor = Auditor::new(&plan);
    for (number, (made, intent)) in footers.iter().enumerate() {
        let mut footer = footer(&plan.files[number], 1);
        footer.key_values.insert(FooterKey::FlushFiles.as_str().to_owned(), (*made).to_owned());
        footer.key_values.insert(FooterKey::Intent.as_str().to_owned(), (*intent).to_owned());
        auditor.begin(&plan.files[number], footer);
        auditor.offsets(&[number as i64], 0);
    }
    auditor.finish().remove(0)
}

#[test]
fn more_files_than_a_flush_made_are_a_contradiction() {
    assert!(of_one_flush(&[("2", "i"), ("2", "i")]).ok);
    let more = of_one_flush(&[("2", "i"), ("2", "i"), ("2", "i")]);
    assert!(more.problems()[0].contains("3 files are there and it made 2"), "{more:?}");
    assert_eq!(of_one_flush(&[("3", "i"), ("3", "i")]).incomplete.len(), 1);
}

#[test]
fn footers_of_one_flush_that_differ_are_a_contradiction() {
    for differing in [[("2", "i"), ("1", "i")], [("2", "i"), ("2", "j")]] {
        let found = of_one_flush(&differing);
        assert_eq!((found.ok, found.disagreements.len()), (false, 1), "{found:?}");
    }
    assert!(of_one_flush(&[("2", "i"), ("0", "i")]).ok, "a footer that does not tell contradicts nothing");
}
