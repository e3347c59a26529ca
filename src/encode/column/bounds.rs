//! Owns the least and the greatest byte string of a page, and how they are cut short for statistics.

use super::words::order_prefix;

/// The least and the greatest of the values so far, by their bytes.
#[derive(Debug, Default)]
pub(super) struct Bounds {
    any: bool,
    least: Vec<u8>,
    least_prefix: u64,
    greatest: Vec<u8>,
    greatest_prefix: u64,
}

impl Bounds {
    /// Takes a value in.
    #[inline]
    pub(super) fn include(&mut self, value: &[u8]) {
        let prefix = order_prefix(value);
        if prefix > self.least_prefix && prefix < self.greatest_prefix {
            return;
        }
        self.widen(value, prefix);
    }

    /// Memory held, bytes.
    pub(super) fn memory_bytes(&self) -> usize {
        self.least.capacity() + self.greatest.capacity()
    }

    /// Both, and forgets them.
    pub(super) fn take(&mut self) -> Option<(Vec<u8>, Vec<u8>)> {
        let Self { any, least, greatest, .. } = std::mem::take(self);
        any.then_some((least, greatest))
    }

    fn widen(&mut self, value: &[u8], prefix: u64) {
        if !self.any || (prefix, value) < (self.least_prefix, &self.least) {
            self.least.clear();
            self.least.extend_from_slice(value);
            self.least_prefix = prefix;
        }
        if !self.any || (prefix, value) > (self.greatest_prefix, &self.greatest) {
            self.greatest.clear();
            self.greatest.extend_from_slice(value);
            self.greatest_prefix = prefix;
        }
        self.any = true;
    }
}

/// Not greater than `value` and at most `limit` bytes; whether it is shorter. Text stays text.
pub(super) fn cut_least(value: &[u8], limit: Option<usize>, text: bool) -> (Vec<u8>, bool) {
    match limit.filter(|limit| value.len() > *limit).and_then(|limit| cut_at(value, limit, text)) {
        Some(end) => (value[..end].to_vec(), true),
        None => (value.to_vec(), false),
    }
}

/// Not less than `value` and at most `limit` bytes, if there is such a one; whether it is shorter. Text stays text.
pub(super) fn cut_greatest(value: &[u8], limit: Option<usize>, text: bool) -> (Vec<u8>, bool) {
    let cut = limit.filter(|limit| value.len() > *limit).and_then(|limit| {
        let start = &value[..cut_at(value, limit, text)?];
        match std::str::from_utf8(start) {
            Ok(start) if text => next_text(start),
            _ => next_bytes(start),
        }
    });
    match cut {
        Some(cut) => (cut, true),
        None => (value.to_vec(), false),
    }
}

/// Where to cut; before a character that would not be whole.
fn cut_at(value: &[u8], limit: usize, text: bool) -> Option<usize> {
    match std::str::from_utf8(value) {
        Ok(value) if text => (1..=limit).rfind(|at| value.is_char_boundary(*at)),
        _ => Some(limit),
    }
}

/// A text that is greater than all that begin with `start`: its last character that has a next one of the same length
/// is made that, and what follows is dropped.
fn next_text(start: &str) -> Option<Vec<u8>> {
    start.char_indices().rev().find_map(|(at, character)| {
        let next =
            char::from_u32(character as u32 + 1).filter(|next| next.len_utf8() == character.len_utf8())?;
        let mut text = start[..at].to_owned();
        text.push(next);
        Some(text.into_bytes())
    })
}

fn next_bytes(start: &[u8]) -> Option<Vec<u8>> {
    let last = start.iter().rposition(|byte| *byte < u8::MAX)?;
    let mut bytes = start[..=last].to_vec();
    bytes[last] += 1;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_the_least_and_the_greatest() {
        let mut bounds = Bounds::default();
        assert_eq!(bounds.take(), None);
        for value in ["m", "abcdefgh2", "", "abcdefgh1", "zzzzzzzzz", "zzzzzzzz"] {
            bounds.include(value.as_bytes());
        }
        assert_eq!(bounds.take(), Some((b"".to_vec(), b"zzzzzzzzz".to_vec())));
        bounds.include(b"");
        assert_eq!(bounds.take(), Some((Vec::new(), Vec::new())));
    }

    #[test]
    fn cut_bounds_still_hold_and_stay_text() {
        let long = "häuser am großen straßenrand";
        for limit in 1..long.len() {
            let (least, cut) = cut_least(long.as_bytes(), Some(limit), true);
            assert!(least.as_slice() <= long.as_bytes() && std::str::from_utf8(&least).is_ok(), "{limit}");
            assert!(!cut || least.len() <= limit);
            let (greatest, cut) = cut_greatest(long.as_bytes(), Some(limit), true);
            assert!(
                greatest.as_slice() >= long.as_bytes() && std::str::from_utf8(&greatest).is_ok(),
                "{limit}"
            );
            assert!(!cut || greatest.len() <= limit);
        }
        assert_eq!(cut_greatest(b"ab\xff\xff\xff", Some(3), false), (b"ac".to_vec(), true));
        assert_eq!(cut_greatest(b"\xff\xff\xff", Some(2), false), (b"\xff\xff\xff".to_vec(), false));
        assert_eq!(cut_least(b"abc", Some(3), true), (b"abc".to_vec(), false));
        assert_eq!(cut_greatest(b"abc", None, true), (b"abc".to_vec(), false));
        assert_eq!(cut_greatest(b"abc", Some(3), true), (b"abc".to_vec(), false));
        // The next character would take a byte more than there is room for.
        assert_eq!(cut_greatest(b"a\x7fbc", Some(2), true), (b"b".to_vec(), true));
    }
}
