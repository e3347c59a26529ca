//! Owns the form of `partition_by:`, of field paths and of time patterns. Does not own making directories of values.

use chrono::DateTime;
use chrono::format::{Fixed, Item, StrftimeItems};
use chrono_tz::Tz;

use super::nearest::suggestion;
use super::problem::Place;
use super::section::Section;
use super::settings::{PartitionRule, TimeSource};
use super::tree::Scalar;
use super::value;
use crate::schema::RESERVED;
use crate::task::names::needs_escape;

const KEYS: &[&str] = &["field", "name", "time", "path", "timezone", "record"];

/// Reads `partition_by` of a connector: in order, without two rules that make the same directory.
pub(super) fn read(connector: &Section<'_>) -> Vec<PartitionRule> {
    let mut rules = Vec::new();
    let mut known: Vec<(String, Place)> = Vec::new();
    for node in connector.list("partition_by").unwrap_or_default() {
        let section = Section::open(node, node.place, "partition_by", KEYS, connector.problems());
        let Some(rule) = rule(&section) else { continue };
        for name in left_sides(&rule) {
            // Many engines take names that differ by case alone for one column.
            let folded = name.to_lowercase();
            if RESERVED.contains(&folded.as_str()) {
                let message = format!(
                    "makes directories `{name}=…`, which hide the column of metadata of that name; give a field another \
                     `name`, or change the `path`"
                );
                section.problems().report(node.place, format!("this partition rule {message}"));
            }
            if let Some((_, first)) = known.iter().find(|(earlier, _)| *earlier == folded) {
                let first = section.problems().refer_to(*first, node.place);
                let message = format!(
                    "this partition rule makes the same directories `name=…` as the one on {first}; give a field \
                     another `name`, or change the `path`"
                );
                section.problems().report(node.place, message);
            }
            known.push((folded, node.place));
        }
        rules.push(rule);
    }
    rules
}

/// As [`path_elements`], for a value of the configuration.
pub(super) fn field_path(scalar: &Scalar) -> Result<Vec<String>, String> {
    path_elements(&value::text(scalar)?).map_err(|reason| format!("{reason}; found {}", scalar.shown()))
}

/// The elements of a field path: split at `.`; a backslash makes the next `.` or backslash part of a name.
///
/// # Errors
/// In words, when a backslash stands before anything else, or a name is empty.
pub fn path_elements(text: &str) -> Result<Vec<String>, &'static str> {
    let (mut path, mut element) = (Vec::new(), String::new());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let escaped = if c == '\\' { chars.next() } else { None };
        match (c, escaped) {
            ('\\', Some(escaped @ ('.' | '\\'))) => element.push(escaped),
            ('\\', _) => return Err("must have `.` or a backslash after each backslash"),
            ('.', _) => path.push(std::mem::take(&mut element)),
            (c, _) => element.push(c),
        }
    }
    path.push(element);
    if path.iter().any(String::is_empty) {
        return Err("must not have an empty name in its path");
    }
    Ok(path)
}

fn rule(section: &Section<'_>) -> Option<PartitionRule> {
    let kinds: Vec<_> = ["field", "time", "record"].into_iter().filter(|kind| section.has(kind)).collect();
    match kinds[..] {
        ["field"] => return field_rule(section),
        ["time"] => return time_rule(section),
        [_] => return record_rule(section),
        [] => section.report_missing("field", " (or `time`), or `record`"),
        [first, second, ..] => {
            section.report(second, &format!("cannot stand beside `{first}`; write two entries"));
        }
    }
    None
}

fn record_rule(section: &Section<'_>) -> Option<PartitionRule> {
    for key in ["path", "timezone"] {
        if section.has(key) {
            section.report(key, "belongs to a `time` entry, and this is a `record` entry");
        }
    }
    let full = section.read("record", value::choice(&[("full_name", true), ("name", false)]))?;
    let name = if section.has("name") { section.read("name", directory_name)? } else { "record".to_owned() };
    Some(PartitionRule::Record { full, name })
}

fn field_rule(section: &Section<'_>) -> Option<PartitionRule> {
    for key in ["path", "timezone"] {
        if section.has(key) {
            section.report(key, "belongs to a `time` entry, and this is a `field` entry");
        }
    }
    let path = section.read("field", field_path)?;
    if section.has("name") {
        let name = section.read("name", directory_name)?;
        return Some(PartitionRule::Field { path, name });
    }
    let name = path.last()?.clone();
    if !is_directory_name(&name) {
        section.report("field", "ends in a name that no directory may have; give the entry a `name`");
    }
    Some(PartitionRule::Field { path, name })
}

fn directory_name(scalar: &Scalar) -> Result<String, String> {
    let name = value::text(scalar)?;
    if is_directory_name(&name) {
        return Ok(name);
    }
    Err("must not begin with `.`, nor hold `/`, `=`, a backslash or control characters".to_owned())
}

/// Readers of the lake skip directories that begin with a point; the other characters mean something in a path.
fn is_directory_name(name: &str) -> bool {
    !name.starts_with('.') && !name.contains(['/', '\\', '=']) && !name.contains(char::is_control)
}

fn time_rule(section: &Section<'_>) -> Option<PartitionRule> {
    if section.has("name") {
        section.report("name", "belongs to a `field` entry; a `time` entry is named by its `path`");
    }
    let source = section.read("time", |scalar| match scalar.text.as_str() {
        "record" => Ok(TimeSource::Record),
        "wallclock" => Ok(TimeSource::Wallclock),
        _ => field_path(scalar).map(TimeSource::Field),
    });
    let pattern = section.require("path", pattern);
    let timezone = section.read("timezone", timezone).unwrap_or(Tz::UTC);
    Some(PartitionRule::Time { source: source?, pattern: pattern?, timezone })
}

fn timezone(scalar: &Scalar) -> Result<Tz, String> {
    let names = || chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name());
    scalar.text.parse().map_err(|_| {
        let meant = if scalar.referenced { String::new() } else { suggestion(&scalar.text, names()) };
        format!(
            "must be a zone of the IANA database, such as `Europe/Berlin`; found {}{meant}",
            scalar.shown()
        )
    })
}

/// A strftime pattern of relative directories.
fn pattern(scalar: &Scalar) -> Result<String, String> {
    let text = value::text(scalar)?;
    if text.starts_with('/') || text.split('/').any(|segment| matches!(segment, "" | "." | "..")) {
        return Err(format!(
            "must be a relative path without empty parts, `.` or `..`; found {}",
            scalar.shown()
        ));
    }
    if text.contains('\\') || text.contains(char::is_control) {
        return Err("must not hold a backslash or control characters".to_owned());
    }
    let items: Vec<Item<'_>> = StrftimeItems::new(&text).collect();
    if items.contains(&Item::Error) {
        let form = "must be a pattern of strftime, such as `dt=%Y-%m-%d/hour=%H`";
        return Err(format!("{form}; found {}", scalar.shown()));
    }
    if items.iter().any(names_the_zone) {
        return Err("must not hold a zone (`%z`, `%Z`, `%+`): the zone is `timezone`".to_owned());
    }
    if !items.iter().any(|item| matches!(item, Item::Numeric(..) | Item::Fixed(_))) {
        return Err("must hold at least one part of a date or time, such as `%Y`".to_owned());
    }
    if slashes(&items) != text.matches('/').count() {
        return Err("must not hold a specifier that writes slashes (`%D`, `%x`); write `%Y-%m-%d`".to_owned());
    }
    let sample = DateTime::UNIX_EPOCH.format_with_items(items.iter()).to_string();
    if sample.contains(|c: char| c.is_control() || c == '\\') {
        return Err("must not hold a specifier that writes control characters (`%n`, `%t`)".to_owned());
    }
    if sample.split('/').any(|part| part.is_empty() || part.starts_with('=')) {
        let form = "must not write a part without a name: `%.f` writes nothing for whole seconds";
        return Err(format!("{form}; found {}", scalar.shown()));
    }
    // The one `=` that parts a name from its value is meant; whatever else is, nobody would read back.
    let special = |part: &str| part.replacen('=', "", 1).chars().find(|character| needs_escape(*character));
    if let Some(character) = sample.split('/').find_map(special) {
        let form = format!(
            "must not write `{character}` into a directory, which readers refuse or take for something else; write \
             `%H%M` for `%H:%M`"
        );
        return Err(format!("{form}; found {}", scalar.shown()));
    }
    // Hive style names may begin with `_`: engines look at the `=`.
    let skipped = |part: &str| part.starts_with('.') || part.starts_with('_') && !part.contains('=');
    if sample.split('/').any(skipped) {
        let form =
            "must not write a part that begins with `.` or `_`: readers of the lake skip such directories";
        return Err(format!("{form}; found {}", scalar.shown()));
    }
    Ok(text)
}

fn names_the_zone(item: &Item<'_>) -> bool {
    use Fixed::{
        RFC2822, RFC3339, TimezoneName, TimezoneOffset, TimezoneOffsetColon, TimezoneOffsetColonZ,
        TimezoneOffsetDoubleColon, TimezoneOffsetTripleColon, TimezoneOffsetZ,
    };
    matches!(
        item,
        Item::Fixed(
            TimezoneName
                | TimezoneOffsetColon
                | TimezoneOffsetDoubleColon
                | TimezoneOffsetTripleColon
                | TimezoneOffsetColonZ
                | TimezoneOffset
                | TimezoneOffsetZ
                | RFC2822
                | RFC3339
        )
    )
}

fn slashes(items: &[Item<'_>]) -> usize {
    let literal = |item: &Item<'_>| match item {
        Item::Literal(text) | Item::Space(text) => text.matches('/').count(),
        Item::OwnedLiteral(text) | Item::OwnedSpace(text) => text.matches('/').count(),
        _ => 0,
    };
    items.iter().map(literal).sum()
}

/// The left sides of the `name=value` directories that a rule makes.
#[must_use]
pub fn left_sides(rule: &PartitionRule) -> Vec<String> {
    match rule {
        PartitionRule::Field { name, .. } | PartitionRule::Record { name, .. } => vec![name.clone()],
        PartitionRule::Time { pattern, .. } => pattern
            .split('/')
            .filter_map(|segment| segment.split_once('='))
            .map(|(name, _)| name.to_owned())
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tree::Style;
    use super::*;

    fn plain(text: &str) -> Scalar {
        Scalar { text: text.to_owned(), style: Style::Plain, referenced: false }
    }

    #[test]
    fn field_paths_split_at_points_that_are_not_escaped() {
        assert_eq!(field_path(&plain("a.b")), Ok(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(field_path(&plain(r"a\.b.c\\d")), Ok(vec!["a.b".to_owned(), r"c\d".to_owned()]));
        for text in ["a..b", ".a", "a.", r"a\", r"\a", "."] {
            assert!(field_path(&plain(text)).is_err(), "{text}");
        }
    }

    #[test]
    fn patterns_make_relative_directories_of_dates_and_times() {
        for text in [
            "dt=%Y-%m-%d/hour=%H",
            "%Y/%m/%d",
            "year=%Y/x",
            "week=%G-W%V",
            "t=%H%M%S%.3f",
            "%b",
            "%F",
            "t=%H%.f",
        ] {
            assert_eq!(pattern(&plain(text)), Ok(text.to_owned()));
        }
        for text in [
            "dt=%Q", "%", "static", "/%Y", "%Y/", "%Y//%m", "../%Y", "%Y/..", "%Y/./%m", "%D", "%x", "%z",
            "%.3f", "dt=%Y%n", "_%Y", "%Z", "%+", r"%Y\%m", ".%Y", "",
        ] {
            assert!(pattern(&plain(text)).is_err(), "{text}");
        }
        for text in ["dt=%Y/%.f", "%.f/dt=%Y", "=%Y"] {
            assert!(pattern(&plain(text)).unwrap_err().contains("without a name"), "{text}");
        }
    }

    #[test]
    fn fault_69_patterns_write_nothing_that_a_value_would_have_escaped() {
        for (text, written) in [
            ("ts=%H:%M", ':'),
            ("%T", ':'),
            ("at=%c", ':'),
            ("p=%%41%Y", '%'),
            ("year=%Y/%%", '%'),
            ("a=b=%Y", '='),
            ("a?=%Y", '?'),
            ("dt=[%Y]", '['),
        ] {
            let refused = pattern(&plain(text)).unwrap_err();
            assert!(refused.contains(&format!("must not write `{written}`")), "{text}: {refused}");
        }
    }

    #[test]
    fn every_accepted_specifier_can_be_formatted() {
        use std::fmt::Write;
        let time =
            chrono::DateTime::from_timestamp(-1, 999_999_999).unwrap().with_timezone(&Tz::Europe__Berlin);
        for specifier in (0..128_u8).map(|byte| format!("%{}", char::from(byte))) {
            if let Ok(pattern) = pattern(&plain(&specifier)) {
                let mut formatted = String::new();
                write!(formatted, "{}", time.format(&pattern)).unwrap();
                assert!(!formatted.contains('/'), "{specifier} gives {formatted}");
            }
        }
    }

    #[test]
    fn an_unknown_zone_is_told_the_nearest() {
        assert_eq!(timezone(&plain("Europe/Berlin")), Ok(Tz::Europe__Berlin));
        assert!(timezone(&plain("Europe/Berln")).unwrap_err().ends_with("did you mean `Europe/Berlin`?"));
    }
}
