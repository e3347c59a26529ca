//! Owns the guess at what somebody meant to write. Does not own any list of right words.

/// The candidate closest to `word`, if one is close enough to be what was meant.
///
/// Case and the difference between `-`, `_` and `.` count for nothing; otherwise a third of the letters may differ
/// by insertion, deletion, replacement or a swap of neighbours.
pub(super) fn nearest<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    /// Nobody's typing error is longer, and the search takes time by its square.
    const WORD_CHARS_MAX: usize = 64;
    let folded = fold(word);
    if folded.is_empty() || folded.len() > WORD_CHARS_MAX {
        return None;
    }
    let allowed = (folded.len() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (distance(&folded, &fold(candidate)), candidate))
        .filter(|(distance, candidate)| *distance <= allowed && *distance < candidate.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// `; did you mean …?`, or nothing.
pub(crate) fn suggestion<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> String {
    nearest(word, candidates).map_or_else(String::new, |candidate| format!("; did you mean `{candidate}`?"))
}

fn fold(word: &str) -> Vec<char> {
    word.chars().flat_map(char::to_lowercase).map(|c| if matches!(c, '-' | '.') { '_' } else { c }).collect()
}

/// Optimal string alignment distance.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replaced = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before_last[j - 2] + 1);
            }
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_found_and_far_ones_are_not() {
        let keys = ["compression", "row_group", "dictionary", "columns", "sort_by"];
        assert_eq!(nearest("compresion", keys), Some("compression"));
        assert_eq!(nearest("rowGroup", keys), Some("row_group"));
        assert_eq!(nearest("row-group", keys), Some("row_group"));
        assert_eq!(nearest("dictoinary", keys), Some("dictionary"));
        assert_eq!(nearest("retention", keys), None);
        assert_eq!(nearest("", keys), None);
        assert_eq!(nearest("x", ["y"]), None);
    }
}
