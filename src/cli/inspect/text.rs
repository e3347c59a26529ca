//! Owns the layout of a file's report for people. Does not own what is in it.

use std::io::{self, Write};

use super::report::{ColumnReport, DictionaryUse, FileReport};
use crate::cli::output::{Align, Table, count_of, printable, shortened, thousands};
use crate::config::settings::ByteSize;
use crate::encode::FooterKey;

/// Longest text of one cell, in characters.
const CELL: usize = 32;
/// Row groups shown one by one.
const MAX_ROW_GROUPS: usize = 20;

/// Writes the report.
///
/// # Errors
/// As the writer.
pub(super) fn write(out: &mut dyn Write, report: &FileReport) -> io::Result<()> {
    writeln!(out, "{}", printable(&report.file))?;
    let totals = [
        size(report.size_bytes),
        count_of(unsigned(report.rows), "row"),
        count_of(report.row_groups.len() as u64, "row group"),
        count_of(report.columns.len() as u64, "column"),
    ];
    writeln!(out, "  {}", totals.join(", "))?;
    let writer = report.created_by.as_deref().unwrap_or("not said");
    writeln!(out, "  written by: {} (Parquet format {})", printable(writer), report.format_version)?;
    write_ours(out, report)?;
    write_key_values(out, report)?;
    write_row_groups(out, report)?;
    write_schema(out, report)?;
    write_columns(out, report)
}

fn write_ours(out: &mut dyn Write, report: &FileReport) -> io::Result<()> {
    if report.sluice.is_empty() {
        return Ok(());
    }
    writeln!(out, "\ndelivered by sluice")?;
    let mut table = Table::new(&[Align::Left, Align::Left]);
    let offsets = report.ours(FooterKey::Start).zip(report.ours(FooterKey::End));
    let lines = [
        ("connector", report.ours(FooterKey::Connector).map(str::to_owned)),
        ("topic", report.ours(FooterKey::Topic).map(str::to_owned)),
        ("topic id", report.ours(FooterKey::TopicId).map(str::to_owned)),
        ("partition", report.ours(FooterKey::Partition).map(str::to_owned)),
        ("offsets", offsets.map(|(start, end)| format!("[{start}, {end})"))),
        ("rows", report.ours(FooterKey::Rows).map(str::to_owned)),
        ("schema ids", report.ours(FooterKey::SchemaIds).map(str::to_owned)),
        ("checksum", report.ours(FooterKey::Checksum).map(str::to_owned)),
        ("version", report.ours(FooterKey::Version).map(str::to_owned)),
        ("avro schema", report.ours(FooterKey::AvroSchema).map(|text| summary(text, "whole with --json"))),
    ];
    for (name, value) in lines {
        if let Some(value) = value {
            table.push([name, printable(&value).as_str()]);
        }
    }
    table.write(out, "  ")
}

fn write_key_values(out: &mut dyn Write, report: &FileReport) -> io::Result<()> {
    if report.key_values.is_empty() {
        return Ok(());
    }
    writeln!(out, "\nkey-values")?;
    let mut table = Table::new(&[Align::Left, Align::Left]);
    for (key, value) in &report.key_values {
        let value = value.as_deref().map_or_else(String::new, |text| summary(text, "whole with --json"));
        table.push([printable(&shortened(key, CELL)), printable(&value)]);
    }
    table.write(out, "  ")
}

fn write_row_groups(out: &mut dyn Write, report: &FileReport) -> io::Result<()> {
    writeln!(out, "\nrow groups")?;
    let mut table = Table::new(&[Align::Right, Align::Right, Align::Right, Align::Right, Align::Left]);
    table.push(["#", "rows", "encoded", "compressed", ""]);
    for (index, group) in report.row_groups.iter().take(MAX_ROW_GROUPS).enumerate() {
        let sorted = group.sorted_by.join(", ");
        table.push([
            index.to_string(),
            thousands(unsigned(group.rows)),
            size(unsigned(group.uncompressed_bytes)),
            size(unsigned(group.compressed_bytes)),
            if sorted.is_empty() { sorted } else { format!("sorted by {}", printable(&sorted)) },
        ]);
    }
    table.write(out, "  ")?;
    let more = report.row_groups.len().saturating_sub(MAX_ROW_GROUPS);
    if more > 0 {
        writeln!(out, "  and {more} more, with --json")?;
    }
    Ok(())
}

fn write_schema(out: &mut dyn Write, report: &FileReport) -> io::Result<()> {
    writeln!(out, "\nschema")?;
    let mut table = Table::new(&[Align::Left, Align::Left, Align::Left]);
    for node in &report.schema {
        let physical = node.physical_type.as_deref().unwrap_or("group");
        let logical = node.logical_type.as_deref().map_or_else(String::new, |name| format!(" {name}"));
        table.push([
            format!("{}{}", "  ".repeat(node.depth), printable(&node.name)),
            node.repetition.to_owned(),
            format!("{physical}{logical}"),
        ]);
    }
    table.write(out, "  ")
}

fn write_columns(out: &mut dyn Write, report: &FileReport) -> io::Result<()> {
    use Align::{Left, Right};
    writeln!(out, "\ncolumns")?;
    let mut table = Table::new(&[Left, Left, Left, Left, Right, Right, Right, Right, Left, Left, Left]);
    table.push([
        "name",
        "codec",
        "dictionary",
        "encodings",
        "encoded",
        "compressed",
        "ratio",
        "nulls",
        "min",
        "max",
        "has",
    ]);
    let groups = report.row_groups.len();
    for column in &report.columns {
        table.push([
            printable(&column.name),
            column.compression.join(",").to_lowercase(),
            dictionary_word(column.dictionary).to_owned(),
            column.encodings.join(",").to_lowercase(),
            size(unsigned(column.uncompressed_bytes)),
            size(unsigned(column.compressed_bytes)),
            ratio(column),
            column.null_count.map_or_else(|| "?".to_owned(), thousands),
            bound(column.min.as_deref()),
            bound(column.max.as_deref()),
            extras(column, groups),
        ]);
    }
    table.write(out, "  ")
}

fn ratio(column: &ColumnReport) -> String {
    if column.compressed_bytes <= 0 {
        return "-".to_owned();
    }
    format!("{:.2}", column.uncompressed_bytes as f64 / column.compressed_bytes as f64)
}

fn bound(text: Option<&str>) -> String {
    text.map_or_else(|| "-".to_owned(), |text| printable(&shortened(text, CELL)))
}

fn dictionary_word(dictionary: DictionaryUse) -> &'static str {
    match dictionary {
        DictionaryUse::No => "no",
        DictionaryUse::Partly => "partly",
        DictionaryUse::Yes => "yes",
        DictionaryUse::Unknown => "yes or partly",
    }
}

/// What else the column has: in some row groups, or in all.
fn extras(column: &ColumnReport, groups: usize) -> String {
    let extra = |count: usize, name: &str| match count {
        0 => None,
        count if count == groups => Some(name.to_owned()),
        count => Some(format!("{name} in {count} of {groups}")),
    };
    let found = [extra(column.bloom_filters, "bloom filter"), extra(column.page_indexes, "page index")];
    found.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn summary(text: &str, how: &str) -> String {
    if text.chars().count() <= 2 * CELL {
        return text.to_owned();
    }
    format!("{} ({}, {how})", shortened(text, CELL), size(text.len() as u64))
}

fn size(bytes: u64) -> String {
    ByteSize(bytes).to_string()
}

/// Damaged files may hold negative numbers.
fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
