//! Owns the form and defaults of `rotate:` and `parquet:`. Does not own when a flush ends nor how Parquet is written.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::time::Duration;

use super::partition::{field_path, path_elements};
use super::quantity::ByteSize;
use super::section::Section;
use super::settings::{ColumnSettings, Compression, Dictionary, ParquetSettings, RotateSettings};
use super::tree::Scalar;
use super::value;

pub(super) const ROTATE_KEYS: &[&str] = &["bytes", "rows", "every", "idle"];
pub(super) const PARQUET_KEYS: &[&str] = &["compression", "row_group", "dictionary", "columns", "sort_by"];

const ROTATE_BYTES: ByteSize = ByteSize(128 << 20);
const ROTATE_EVERY: Duration = Duration::from_secs(300);
const ROW_GROUP_BYTES: ByteSize = ByteSize(64 << 20);
const ROW_GROUP_ROWS: NonZeroUsize = NonZeroUsize::new(1_000_000).expect("not zero");
const ZSTD_LEVEL: i32 = 3;

/// Reads `rotate:`. The defaults are for a section that is not there; one that is there says all of it.
pub(super) fn rotate(section: &Section<'_>) -> RotateSettings {
    if section.entries().is_empty() {
        return RotateSettings {
            bytes: Some(ROTATE_BYTES),
            rows: None,
            every: Some(ROTATE_EVERY),
            idle: None,
        };
    }
    let names = ["bytes", "rows", "every"];
    if !names.iter().any(|key| section.has(key)) {
        let message = "`rotate` needs at least one of `bytes`, `rows` and `every`: `idle` alone never ends a flush \
                       of a busy topic";
        section.problems().report(section.place(), message);
    }
    RotateSettings {
        bytes: section.read("bytes", value::size),
        rows: section.read("rows", value::positive),
        every: section.read("every", value::time),
        idle: section.read("idle", value::time),
    }
}

/// Reads `parquet:`; an empty section gives the defaults.
pub(super) fn parquet(section: &Section<'_>) -> ParquetSettings {
    let row_group = section.section("row_group", &["bytes", "rows"]);
    ParquetSettings {
        compression: section.read("compression", compression).unwrap_or(Compression::Snappy),
        row_group_bytes: row_group.read("bytes", value::size).unwrap_or(ROW_GROUP_BYTES),
        row_group_rows: row_group.read("rows", rows).unwrap_or(ROW_GROUP_ROWS),
        dictionary: section.read("dictionary", dictionary).unwrap_or(Dictionary::Auto),
        columns: columns(&section.section("columns", &[])),
        sort_by: sort_by(section),
    }
}

fn sort_by(section: &Section<'_>) -> Vec<String> {
    // As written: what a column is called in messages.
    let text = |scalar: &Scalar| field_path(scalar).and_then(|_| value::text(scalar));
    section.distinct("sort_by", text)
}

fn rows(scalar: &Scalar) -> Result<NonZeroUsize, String> {
    NonZeroUsize::try_from(value::positive(scalar)?)
        .map_err(|_| "is more than this machine can count".to_owned())
}

fn dictionary(scalar: &Scalar) -> Result<Dictionary, String> {
    let words = [("auto", Dictionary::Auto), ("always", Dictionary::Always), ("never", Dictionary::Never)];
    value::choice(&words)(scalar)
}

fn compression(scalar: &Scalar) -> Result<Compression, String> {
    let words = [
        ("snappy", Compression::Snappy),
        ("zstd", Compression::Zstd(ZSTD_LEVEL)),
        ("gzip", Compression::Gzip),
        ("lz4", Compression::Lz4),
        ("brotli", Compression::Brotli),
        ("none", Compression::None),
    ];
    match scalar.text.strip_prefix("zstd(").and_then(|rest| rest.strip_suffix(')')) {
        Some(level) => match super::quantity::whole(level) {
            Some(level @ 1..=22) => Ok(Compression::Zstd(level as i32)),
            _ => Err(format!("must be from `zstd(1)` to `zstd(22)`; found {}", scalar.shown())),
        },
        None => value::choice(&words)(scalar),
    }
}

fn columns(section: &Section<'_>) -> BTreeMap<String, ColumnSettings> {
    let read = |path: &str| {
        if let Err(reason) = path_elements(path) {
            section.report(path, reason);
        }
        let column = section.section(path, &["dictionary", "bloom_filter"]);
        ColumnSettings {
            dictionary: column.read("dictionary", dictionary),
            bloom_filter: column.read("bloom_filter", value::boolean).unwrap_or(false),
        }
    };
    section.entries().iter().map(|entry| (entry.key.clone(), read(&entry.key))).collect()
}
