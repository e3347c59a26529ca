//! Owns what is a gap and what is an overlap of offset ranges. Does not own what is in the files of a range.

use crate::position::OffsetRange;

/// How the flushes of a topic-partition lie to one another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct RangeSurvey {
    /// From the first start to the last end; `None` without ranges.
    pub(super) whole: Option<OffsetRange>,
    /// Different ranges.
    pub(super) flushes: usize,
    /// Between the first start and the last end, what no range holds.
    pub(super) gaps: Vec<OffsetRange>,
    /// A range that reaches into a later one, and the later one.
    pub(super) overlaps: Vec<(OffsetRange, OffsetRange)>,
}

/// Looks at ranges in ascending order. Equal ones are one flush: it may have made several files. An empty range
/// neither closes a gap nor overlaps.
///
/// # Panics
/// When the ranges are not in order.
pub(super) fn survey(ranges: impl IntoIterator<Item = OffsetRange>) -> RangeSurvey {
    let mut survey = RangeSurvey::default();
    let mut last: Option<OffsetRange> = None;
    // Of the ranges so far, the one that ends last.
    let mut furthest: Option<OffsetRange> = None;
    for range in ranges {
        assert!(last.is_none_or(|last| last <= range), "ranges come in order");
        if last.replace(range) == Some(range) {
            continue;
        }
        survey.flushes += 1;
        if range.is_empty() {
            continue;
        }
        let reach = *furthest.get_or_insert(range);
        if range.start > reach.end {
            survey.gaps.push(OffsetRange::new(reach.end, range.start));
        } else if range.start < reach.end && range != reach {
            survey.overlaps.push((reach, range));
        }
        if range.end > reach.end {
            furthest = Some(range);
        }
        let first = survey.whole.map_or(range.start, |whole| whole.start);
        survey.whole = Some(OffsetRange::new(first, reach.end.max(range.end)));
    }
    survey
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::tests::{Dice, range};

    #[test]
    fn neighbours_are_contiguous_and_files_of_a_flush_are_one() {
        let found = survey([range(0, 10), range(0, 10), range(10, 11), range(11, 30), range(11, 30)]);
        assert_eq!(found, RangeSurvey { whole: Some(range(0, 30)), flushes: 3, ..RangeSurvey::default() });
    }

    #[test]
    fn gaps_and_overlaps_are_named() {
        let found = survey([range(5, 10), range(7, 9), range(9, 12), range(12, 12), range(20, 30)]);
        assert_eq!(found.gaps, [range(12, 20)]);
        assert_eq!(found.overlaps, [(range(5, 10), range(7, 9)), (range(5, 10), range(9, 12))]);
        assert_eq!(found.whole, Some(range(5, 30)));
    }

    #[test]
    fn no_range_and_empty_ranges_have_no_extent() {
        assert_eq!(survey([]), RangeSurvey::default());
        assert_eq!(survey([range(3, 3)]).whole, None);
    }

    /// Against a list of how many ranges hold each offset.
    #[test]
    fn it_agrees_with_counting() {
        for seed in 0..2_000 {
            let mut dice = Dice::new(seed);
            let mut ranges: Vec<OffsetRange> = (0..=dice.below(6))
                .map(|_| {
                    let start = dice.below(40) as i64;
                    range(start, start + 1 + dice.below(10) as i64)
                })
                .collect();
            ranges.sort_unstable();
            let mut different = ranges.clone();
            different.dedup();
            let mut held = [0; 64];
            for range in &different {
                (range.start.as_i64()..range.end.as_i64()).for_each(|offset| held[offset as usize] += 1);
            }
            let found = survey(ranges);
            let whole = found.whole.unwrap();
            let (start, end) = (whole.start.as_i64() as usize, whole.end.as_i64() as usize);
            assert!(held[..start].iter().chain(&held[end..]).all(|count| *count == 0), "seed {seed}");
            let in_gaps: Vec<usize> = found
                .gaps
                .iter()
                .flat_map(|gap| gap.start.as_i64() as usize..gap.end.as_i64() as usize)
                .collect();
            let not_held: Vec<usize> = (start..end).filter(|offset| held[*offset] == 0).collect();
            assert_eq!(in_gaps, not_held, "seed {seed}");
            assert_eq!(found.overlaps.is_empty(), held.iter().all(|count| *count <= 1), "seed {seed}");
            assert_eq!(found.flushes, different.len(), "seed {seed}");
        }
    }
}
