//! Owns the form of `value:` and `key:`: formats, wire formats, and the schema files they name. Does not own what
//! stands on the wire ([`crate::decode::wire`]).

use std::path::{Path, PathBuf};

use super::section::Section;
use super::settings::{KeyFormat, ValueFormat, WireFormat};
use super::tree::{Node, Scalar};
use super::value;

pub(super) const VALUE_KEYS: &[&str] = &["format", "wire", "schema_file", "schema_files"];
pub(super) const KEY_KEYS: &[&str] = &["format", "wire"];

const WIRES: [(&str, WireFormat); 6] = [
    ("confluent", WireFormat::Confluent),
    ("apicurio", WireFormat::Apicurio),
    ("single_object", WireFormat::SingleObject),
    ("glue", WireFormat::Glue),
    ("header", WireFormat::Header),
    ("none", WireFormat::None),
];
/// Schemas that files may give.
const SCHEMA_FILES_MAX: usize = 4_000;

/// Reads `value:`. Nothing if something is missing or wrong, which has been reported.
pub(super) fn value(section: &Section<'_>) -> Option<ValueFormat> {
    let format = section.require("format", |scalar| match scalar.text.as_str() {
        "avro" => Ok(()),
        "json" | "protobuf" | "bytes" => {
            Err(format!("cannot be {} yet, that comes later; this release reads `avro`", scalar.shown()))
        }
        _ => Err(value::not_one_of(["avro"].into_iter(), scalar)),
    });
    let wire = section.read("wire", value::choice(&WIRES));
    if section.has("wire") && wire.is_none() {
        return None;
    }
    let wire =
        wire.unwrap_or(if section.has("schema_file") { WireFormat::None } else { WireFormat::Confluent });
    if wire != WireFormat::None && section.has("schema_file") {
        section.report("schema_file", "is for `wire: none`, where no record names its schema");
    }
    if wire != WireFormat::SingleObject && section.has("schema_files") {
        section.report("schema_files", "is for `wire: single_object`; one schema for all is `schema_file`");
    }
    format?;
    match wire {
        WireFormat::None => {
            section.report_missing("schema_file", ": with `wire: none` no record names its schema");
            section.read_file("schema_file").map(ValueFormat::AvroSchemaFile)
        }
        WireFormat::SingleObject => {
            section.report_missing("schema_files", ": fingerprints are looked up there");
            schema_files(section).map(ValueFormat::AvroSchemaFiles)
        }
        wire => Some(ValueFormat::AvroRegistry(wire)),
    }
}

/// Reads `key:`; `value` is what values have.
pub(super) fn key(section: &Section<'_>, value: Option<&ValueFormat>) -> KeyFormat {
    let by_registry = |wire: &WireFormat| !matches!(wire, WireFormat::SingleObject | WireFormat::None);
    let default = value.map(ValueFormat::wire).filter(by_registry).unwrap_or(WireFormat::Confluent);
    let words: Vec<_> = WIRES.into_iter().filter(|(_, wire)| by_registry(wire)).collect();
    let wire = section.read("wire", value::choice(&words));
    let formats = [
        ("none", KeyFormat::None),
        ("bytes", KeyFormat::Bytes),
        ("string", KeyFormat::String),
        ("avro", KeyFormat::Avro(wire.unwrap_or(default))),
    ];
    let format = section.read("format", value::choice(&formats)).unwrap_or(KeyFormat::None);
    if section.has("wire") && !matches!(format, KeyFormat::Avro(_)) {
        section.report("wire", "is for `format: avro`");
    }
    format
}

/// The files of `schema_files`, those of directories in the order of their names.
fn schema_files(section: &Section<'_>) -> Option<Vec<PathBuf>> {
    if !section.has("schema_files") {
        return None;
    }
    let mut files = Vec::new();
    for (node, text) in section.read_list("schema_files", value::text)? {
        let path = section.resolve_path("schema_files", &text);
        if path.is_file() {
            files.push(path);
            continue;
        }
        match files_of_directory(&path) {
            Ok(found) if !found.is_empty() => files.extend(found),
            _ => {
                let shown = node.scalar().map_or_else(String::new, Scalar::shown);
                report_at(
                    section,
                    node,
                    &format!(
                        "must hold files that exist, or directories with `*.avsc` in them; found {shown}, relative to this file"
                    ),
                );
            }
        }
    }
    if files.len() > SCHEMA_FILES_MAX {
        section.report("schema_files", &format!("may give at most {SCHEMA_FILES_MAX} schemas"));
    }
    if section.list("schema_files").is_some_and(<[Node]>::is_empty) {
        section.report("schema_files", "must name at least one schema");
    }
    Some(files)
}

fn report_at(section: &Section<'_>, node: &Node, message: &str) {
    section.problems().report(node.place, format!("`{}` {message}", section.path_of("schema_files")));
}

fn files_of_directory(path: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in path.read_dir()? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "avsc") && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
