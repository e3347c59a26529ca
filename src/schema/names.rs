//! Owns which names are accepted and how they get their namespace.

use super::model::Name;

/// Words that no type may be named, as a reference to it could not be told from the built-in.
const PRIMITIVES: [&str; 8] = ["null", "boolean", "int", "long", "float", "double", "bytes", "string"];

/// The full name of a definition: `name` may be dotted; else `namespace` (empty = none) counts, else the enclosing one.
pub(super) fn define(name: &str, namespace: Option<&str>, enclosing: &str) -> Result<Name, String> {
    let full = if name.contains('.') { name.to_owned() } else { join(namespace.unwrap_or(enclosing), name) };
    // A leading dot is an old spelling of "no namespace".
    let full = full.strip_prefix('.').unwrap_or(&full).to_owned();
    for part in full.split('.') {
        check(part)?;
    }
    if PRIMITIVES.contains(&full.as_str()) {
        return Err(format!("a type cannot be named {full:?} like a built-in type"));
    }
    Ok(Name(full))
}

/// The full name that a mention means inside `enclosing`.
pub(super) fn mention(name: &str, enclosing: &str) -> String {
    if name.contains('.') { name.strip_prefix('.').unwrap_or(name).to_owned() } else { join(enclosing, name) }
}

/// Whether `name` can name a field or be a part of a type's name. Laxer than the specification: letters and digits of
/// any script, and the `-` and `$` that generated schemas carry.
pub(super) fn check(name: &str) -> Result<(), String> {
    let accepted = |letter: char| letter.is_alphanumeric() || matches!(letter, '_' | '-' | '$');
    let starts_well = name.chars().next().is_some_and(|first| accepted(first) && !first.is_ascii_digit());
    if starts_well && name.chars().all(accepted) {
        return Ok(());
    }
    Err(format!("{name:?} is not a name: letters, digits and `_`, not starting with a digit"))
}

fn join(namespace: &str, name: &str) -> String {
    if namespace.is_empty() { name.to_owned() } else { format!("{namespace}.{name}") }
}
