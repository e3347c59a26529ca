//! Owns turning one single value into a type: text, whole number, boolean, choice, size, time, path. Does not own
//! which key has which. Every error continues a sentence that begins with the key, and none shows a text that may be
//! a secret.

use std::num::NonZeroU64;
use std::time::Duration;

use super::nearest::suggestion;
use super::quantity::{self, ByteSize};
use super::tree::{Kind, Scalar};

/// Text with at least one character.
pub(super) fn text(scalar: &Scalar) -> Result<String, String> {
    let found = match scalar.kind() {
        Kind::String if scalar.text.is_empty() => return Err("must not be empty".to_owned()),
        Kind::String => return Ok(scalar.text.clone()),
        Kind::Number => "a number",
        Kind::Boolean => "a boolean",
        Kind::Null => "nothing",
    };
    Err(format!("must be a string, not {found}; put it in quotes"))
}

/// `true` or `false`.
pub(super) fn boolean(scalar: &Scalar) -> Result<bool, String> {
    if scalar.is_unquoted() {
        match scalar.text.as_str() {
            "true" | "True" | "TRUE" => return Ok(true),
            "false" | "False" | "FALSE" => return Ok(false),
            _ => {}
        }
    }
    let advice = match scalar.text.to_ascii_lowercase().as_str() {
        "yes" | "no" | "on" | "off" | "y" | "n" => " (in YAML 1.2 `yes`, `no`, `on` and `off` are strings)",
        "true" | "false" => " without quotes",
        _ => "",
    };
    Err(format!("must be `true` or `false`{advice}; found {}", scalar.shown()))
}

/// A whole number of at least 1.
pub(super) fn positive(scalar: &Scalar) -> Result<NonZeroU64, String> {
    NonZeroU64::new(whole(scalar)?).ok_or_else(|| "must be at least 1".to_owned())
}

/// A whole number.
pub(super) fn whole(scalar: &Scalar) -> Result<u64, String> {
    if !scalar.is_unquoted() {
        return Err(format!("must be a whole number without quotes; found {}", scalar.shown()));
    }
    quantity::whole(&scalar.text).ok_or_else(|| {
        format!("must be a whole number in plain digits, such as 1000; found {}", scalar.shown())
    })
}

/// A size of at least one byte.
pub(super) fn size(scalar: &Scalar) -> Result<ByteSize, String> {
    match quantity::byte_size(&scalar.text) {
        Ok(ByteSize(0)) => Err("must be larger than 0".to_owned()),
        Ok(size) => Ok(size),
        Err(message) => Err(format!("{message}; found {}", scalar.shown())),
    }
}

/// A time longer than none.
pub(super) fn time(scalar: &Scalar) -> Result<Duration, String> {
    match quantity::duration(&scalar.text) {
        Ok(Duration::ZERO) => Err("must be longer than 0".to_owned()),
        Ok(time) => Ok(time),
        Err(message) => Err(format!("{message}; found {}", scalar.shown())),
    }
}

/// One of a few words.
pub(super) fn choice<T: Copy>(choices: &[(&str, T)]) -> impl Fn(&Scalar) -> Result<T, String> {
    move |scalar| match choices.iter().find(|(word, _)| *word == scalar.text) {
        Some((_, value)) => Ok(*value),
        None => Err(not_one_of(choices.iter().map(|(word, _)| *word), scalar)),
    }
}

/// The message of a word that is none of `words`.
pub(super) fn not_one_of<'w>(words: impl Iterator<Item = &'w str> + Clone, scalar: &Scalar) -> String {
    let listed: Vec<_> = words.clone().map(|word| format!("`{word}`")).collect();
    let meant = if scalar.referenced { String::new() } else { suggestion(&scalar.text, words) };
    format!("must be one of {}; found {}{meant}", listed.join(", "), scalar.shown())
}

#[cfg(test)]
mod tests {
    use super::super::tree::Style;
    use super::*;

    fn plain(text: &str) -> Scalar {
        Scalar { text: text.to_owned(), style: Style::Plain, referenced: false }
    }

    fn quoted(text: &str) -> Scalar {
        Scalar { style: Style::Quoted, ..plain(text) }
    }

    fn referenced(text: &str) -> Scalar {
        Scalar { referenced: true, ..quoted(text) }
    }

    #[test]
    fn fault_109_numbers_are_never_coerced() {
        assert_eq!(whole(&plain("5000000")), Ok(5_000_000));
        assert_eq!(whole(&referenced("5")), Ok(5));
        for text in ["1e3", "0o17", "017", "0x10", "1_000", "1.0", "-1", "+1", "no", "true"] {
            assert!(whole(&plain(text)).unwrap_err().contains("plain digits"), "{text}");
        }
        assert!(whole(&quoted("5")).unwrap_err().contains("without quotes"));
        assert!(whole(&plain("18446744073709551616")).is_err());
        assert!(positive(&plain("0")).is_err());
    }

    #[test]
    fn fault_109_no_is_a_string_and_not_a_boolean() {
        assert_eq!(text(&plain("no")), Ok("no".to_owned()));
        assert!(boolean(&plain("no")).unwrap_err().contains("YAML 1.2"));
        assert!(boolean(&quoted("true")).unwrap_err().contains("without quotes"));
        assert_eq!(boolean(&plain("false")), Ok(false));
        assert_eq!(boolean(&referenced("true")), Ok(true));
    }

    #[test]
    fn fault_109_a_string_is_not_made_of_another_type() {
        for value in ["1e3", "12", "true", "~"] {
            let message = text(&plain(value)).unwrap_err();
            assert!(message.contains("quotes") && !message.contains(value), "{message}");
            assert_eq!(text(&quoted(value)), Ok(value.to_owned()));
            assert_eq!(text(&referenced(value)), Ok(value.to_owned()));
        }
        assert!(text(&quoted("")).is_err());
    }

    #[test]
    fn fault_113_nothing_is_no_size_and_no_time() {
        assert!(size(&plain("0")).unwrap_err().contains("larger than 0"));
        assert!(size(&plain("0MiB")).is_err());
        assert!(time(&plain("0s")).unwrap_err().contains("longer than 0"));
    }

    #[test]
    fn choices_suggest_the_nearest_word() {
        let parse = choice(&[("lossless", 1), ("latest", 2)]);
        assert_eq!(parse(&plain("latest")), Ok(2));
        assert!(parse(&plain("losless")).unwrap_err().ends_with("did you mean `lossless`?"));
        assert!(!parse(&referenced("losless")).unwrap_err().contains("losless"));
    }
}
