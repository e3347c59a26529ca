//! Owns the untyped tree of a configuration, in which every value keeps its text, its quoting and its place. Does not
//! own reading it from YAML ([`super::parse`]) nor what the keys mean ([`super::section`] and the sections' files).

use super::problem::Place;

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) content: Content,
}

/// The three shapes of YAML.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Content {
    Scalar(Scalar),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key with its value. The keys of a map are distinct.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) key_place: Place,
    pub(super) value: Node,
}

/// A single value as written, before anyone decided on its type.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Scalar {
    /// The text after YAML's own escapes, and after references once these are resolved.
    pub(super) text: String,
    pub(super) style: Style,
    /// Whether a reference gave any of the text. Such a text may be a secret, and its type is not told by quotes.
    pub(super) referenced: bool,
}

/// How a scalar was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// Nothing at all: `key:` and the end of the line.
    Absent,
    Plain,
    Quoted,
    /// Held a reference that cannot be resolved, which has been reported: the value is unknown.
    Unresolved,
}

/// What YAML 1.2's core schema makes of a scalar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Null,
    Boolean,
    Number,
    String,
}

// The text may be a secret, and trees travel through assertion messages.
impl std::fmt::Debug for Scalar {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scalar").field("style", &self.style).finish_non_exhaustive()
    }
}

impl Node {
    /// The scalar, if it is one.
    pub(super) fn scalar(&self) -> Option<&Scalar> {
        match &self.content {
            Content::Scalar(scalar) => Some(scalar),
            Content::List(_) | Content::Map(_) => None,
        }
    }

    /// Whether the value is written as `null` or `~`, which means "as if the key were not here".
    pub(super) fn is_null(&self) -> bool {
        self.scalar().is_some_and(|scalar| scalar.kind() == Kind::Null && scalar.style == Style::Plain)
    }

    /// Whether nothing follows the key.
    pub(super) fn is_absent(&self) -> bool {
        self.scalar().is_some_and(|scalar| scalar.style == Style::Absent)
    }

    /// Whether the value is unknown because of a problem that has been reported.
    pub(super) fn is_unresolved(&self) -> bool {
        self.scalar().is_some_and(|scalar| scalar.style == Style::Unresolved)
    }

    /// The shape for messages, without the value.
    pub(super) fn shape(&self) -> &'static str {
        match &self.content {
            Content::Scalar(_) => "a single value",
            Content::List(_) => "a list",
            Content::Map(_) => "a mapping",
        }
    }

    /// `over` on top of `base`: maps merge key by key, anything else of `over` replaces what `base` says.
    pub(super) fn merged(base: &Self, over: &Self) -> Self {
        let (Content::Map(below), Content::Map(above)) = (&base.content, &over.content) else {
            return over.clone();
        };
        let mut entries: Vec<Entry> = above
            .iter()
            .map(|entry| match below.iter().find(|candidate| candidate.key == entry.key) {
                Some(inherited) => {
                    Entry { value: Self::merged(&inherited.value, &entry.value), ..entry.clone() }
                }
                None => entry.clone(),
            })
            .collect();
        let inherited = below.iter().filter(|entry| !above.iter().any(|own| own.key == entry.key));
        entries.extend(inherited.cloned());
        Self { place: over.place, content: Content::Map(entries) }
    }
}

impl Scalar {
    /// The type by YAML 1.2's core schema. A quoted or referenced scalar is a string whatever it looks like.
    pub(super) fn kind(&self) -> Kind {
        match (self.style, self.referenced, self.text.as_str()) {
            (Style::Absent, _, _) => Kind::Null,
            (Style::Quoted, _, _) | (_, true, _) => Kind::String,
            (_, _, "~" | "null" | "Null" | "NULL") => Kind::Null,
            (_, _, "true" | "True" | "TRUE" | "false" | "False" | "FALSE") => Kind::Boolean,
            (_, _, text) if looks_like_a_number(text) => Kind::Number,
            _ => Kind::String,
        }
    }

    /// Whether this may stand for a number or boolean: written without quotes, or given by a reference.
    pub(super) fn is_unquoted(&self) -> bool {
        self.referenced || self.style != Style::Quoted
    }

    /// The text for a message: never what a reference gave, never long, never with control characters.
    /// Not for keys whose values may be secrets.
    pub(super) fn shown(&self) -> String {
        if self.referenced { "what the reference gives".to_owned() } else { shown(&self.text) }
    }
}

/// A key or a value of the file for a message: in backticks, shortened, control characters escaped.
pub(super) fn shown(text: &str) -> String {
    const SHOWN_CHARS: usize = 60;
    let head: String = text.chars().take(SHOWN_CHARS).flat_map(char::escape_debug).collect();
    let head = head.replace("\\\"", "\"").replace("\\'", "'").replace("\\\\", "\\");
    let ellipsis = if text.chars().nth(SHOWN_CHARS).is_some() { "…" } else { "" };
    format!("`{head}{ellipsis}`")
}

/// A key for a message. What follows a colon or an equals sign is left out: `{password:abc}`, where the space is
/// missing, is a key with the secret in it.
pub(super) fn shown_key(key: &str) -> String {
    match key.split_once([':', '=']) {
        Some((before, _)) => format!("{} (a value needs `: ` before it)", shown(before)),
        None => shown(key),
    }
}

/// YAML 1.2.2 §10.3.2, and the forms that older readers take for numbers: nobody should have to know which is which.
fn looks_like_a_number(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF" | ".nan" | ".NaN" | ".NAN") {
        return true;
    }
    if let Some(digits) = unsigned.strip_prefix("0x").or_else(|| unsigned.strip_prefix("0o")) {
        return !digits.is_empty() && digits.chars().all(|c| c.is_ascii_hexdigit());
    }
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let mantissa_is_one = match mantissa.split_once('.') {
        Some((whole, fraction)) => {
            (digits(whole) && (fraction.is_empty() || digits(fraction)))
                || (whole.is_empty() && digits(fraction))
        }
        None => digits(mantissa),
    };
    mantissa_is_one && exponent.is_none_or(|text| digits(text.strip_prefix(['+', '-']).unwrap_or(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str) -> Scalar {
        Scalar { text: text.to_owned(), style: Style::Plain, referenced: false }
    }

    #[test]
    fn types_follow_yaml_1_2() {
        for text in
            ["0", "-1", "+7", "1e3", "1.5", ".5", "1.", "0o17", "017", "0xff", "-.inf", ".nan", "6.02E+23"]
        {
            assert_eq!(plain(text).kind(), Kind::Number, "{text}");
        }
        for text in
            ["no", "yes", "on", "1_000", "128MiB", "1e", "e3", "-", ".", "0x", "1.2.3", "127.0.0.1:1", "y"]
        {
            assert_eq!(plain(text).kind(), Kind::String, "{text}");
        }
        assert_eq!(plain("True").kind(), Kind::Boolean);
        assert_eq!(plain("~").kind(), Kind::Null);
        assert_eq!(Scalar { style: Style::Quoted, ..plain("true") }.kind(), Kind::String);
        assert_eq!(Scalar { referenced: true, ..plain("null") }.kind(), Kind::String);
    }

    #[test]
    fn a_referenced_text_is_never_shown() {
        let scalar = Scalar { referenced: true, ..plain("hunter2") };
        assert!(!scalar.shown().contains("hunter2"));
        assert!(!format!("{scalar:?}").contains("hunter2"));
    }

    #[test]
    fn shown_text_is_short_and_printable() {
        assert_eq!(shown("a\nb"), "`a\\nb`");
        assert_eq!(shown("it's \"x\" \\."), "`it's \"x\" \\.`");
        assert!(shown(&"x".repeat(1000)).chars().count() < 70);
    }
}
