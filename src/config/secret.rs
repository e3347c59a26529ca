//! Owns hiding a value from every formatter. Does not own who may see it.

use std::fmt;

/// A value that may be a secret: shown as `***` by every formatter.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(String);

impl Secret {
    /// Wraps a value.
    #[must_use]
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value, for handing it to the service that needs it and nowhere else.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// `text` with `***` in the place of the value, wherever that stands as a word of its own.
    #[must_use]
    pub fn masked_in(&self, text: &str) -> String {
        let value = self.0.as_str();
        let is_word = |character: Option<char>| character.is_some_and(char::is_alphanumeric);
        let inside = |at: usize, len: usize| {
            let (first, last) = (value.chars().next(), value.chars().next_back());
            is_word(text[..at].chars().next_back()) && is_word(first)
                || is_word(text[at + len..].chars().next()) && is_word(last)
        };
        let (mut masked, mut from) = (String::new(), 0);
        for (at, found) in text.match_indices(value).filter(|_| !value.is_empty()) {
            if !inside(at, found.len()) {
                masked.push_str(&text[from..at]);
                masked.push_str("***");
                from = at + found.len();
            }
        }
        masked.push_str(&text[from..]);
        masked
    }

    /// As [`Self::masked_in`], also where one part of a list with `,` or `;` is shown.
    #[must_use]
    pub fn masked_with_parts_in(&self, text: &str) -> String {
        let mut parts: Vec<&str> = self.0.split([',', ';']).map(str::trim).collect();
        // One part may hold another.
        parts.sort_by_key(|part| std::cmp::Reverse(part.len()));
        parts.into_iter().fold(self.masked_in(text), |masked, part| Self::new(part).masked_in(&masked))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_masked_as_words_and_nothing_else_is() {
        let masked = |text: &str, value: &str| Secret::new(value).masked_in(text);
        let range = "value 0 is outside allowed range 1..100000000";
        assert_eq!(masked(range, "0"), "value *** is outside allowed range 1..100000000");
        assert_eq!(masked("no such value \"s3cret!\" here", "s3cret!"), "no such value \"***\" here");
        assert_eq!(masked("ends with s3cret", "s3cret"), "ends with ***");
        assert_eq!(masked("nothing", ""), "nothing");
        let list = Secret::new("s3; s3cret!,^x");
        assert_eq!(list.masked_with_parts_in("\"s3cret!\" of s3, ^x"), "\"***\" of ***, ***");
    }
}
