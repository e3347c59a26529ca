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

/// Whether `name` can name a field or be a part of a type's name. Laxer than the specification, as names are only ever
/// compared: parsers that check nothing have let `a b`, `a.b` and `1st` into registries.
pub(super) fn check(name: &str) -> Result<(), String> {
    if name.is_empty() || name.chars().any(char::is_control) {
        return Err(format!("{name:?} is not a name: it is empty or has control characters"));
    }
    Ok(())
}

fn join(namespace: &str, name: &str) -> String {
    if namespace.is_empty() { name.to_owned() } else { format!("{namespace}.{name}") }
}
