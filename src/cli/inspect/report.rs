//! Owns what is told of a file, as JSON: totals, row groups, schema, columns, our own key-values. Does not own its layout
//! for people.

use std::collections::BTreeMap;

use parquet::basic::Encoding;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};
use parquet::file::statistics::Statistics;
use serde::Serialize;

use super::bounds::column_bounds;
use super::schema::{SchemaNode, schema_nodes};
use crate::encode::FooterKey;

/// Everything that a footer says.
#[derive(Clone, Debug, Serialize)]
pub(super) struct FileReport {
    pub(super) file: String,
    pub(super) size_bytes: u64,
    pub(super) rows: i64,
    pub(super) format_version: i32,
    pub(super) created_by: Option<String>,
    /// Our own key-values, by key without `sluice.`; empty for other people's files.
    pub(super) sluice: BTreeMap<String, String>,
    /// All other key-values.
    pub(super) key_values: BTreeMap<String, Option<String>>,
    pub(super) row_groups: Vec<RowGroupReport>,
    /// Depth first, without the root.
    pub(super) schema: Vec<SchemaNode>,
    pub(super) columns: Vec<ColumnReport>,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct RowGroupReport {
    pub(super) rows: i64,
    /// Encoded, before compression.
    pub(super) uncompressed_bytes: i64,
    pub(super) compressed_bytes: i64,
    /// Columns the rows are said to be sorted by.
    pub(super) sorted_by: Vec<String>,
}

/// A leaf column, over all row groups.
#[derive(Clone, Debug, Serialize)]
pub(super) struct ColumnReport {
    pub(super) name: String,
    pub(super) physical_type: String,
    pub(super) logical_type: Option<String>,
    /// More than one when row groups differ.
    pub(super) compression: Vec<String>,
    /// Of all pages.
    pub(super) encodings: Vec<String>,
    pub(super) dictionary: DictionaryUse,
    pub(super) compressed_bytes: i64,
    pub(super) uncompressed_bytes: i64,
    /// Absent unless every row group has it.
    pub(super) null_count: Option<u64>,
    /// Absent unless every row group with a value has it.
    pub(super) min: Option<String>,
    pub(super) max: Option<String>,
    /// Row groups that have a bloom filter.
    pub(super) bloom_filters: usize,
    /// Row groups that have a column index or an offset index.
    pub(super) page_indexes: usize,
}

/// How much of a column is encoded with a dictionary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum DictionaryUse {
    /// None of it.
    No,
    /// Some pages, or some row groups.
    Partly,
    /// All of it.
    Yes,
    /// There are dictionaries; whether every page uses them is not told.
    Unknown,
}

impl FileReport {
    pub(super) fn new(file: &str, size_bytes: u64, footer: &ParquetMetaData) -> Self {
        let about = footer.file_metadata();
        let schema = about.schema_descr();
        let (mut sluice, mut key_values) = (BTreeMap::new(), BTreeMap::new());
        for pair in about.key_value_metadata().into_iter().flatten() {
            match pair.key.strip_prefix("sluice.") {
                Some(key) => sluice.insert(key.to_owned(), pair.value.clone().unwrap_or_default()).map(Some),
                None => key_values.insert(pair.key.clone(), pair.value.clone()),
            };
        }
        Self {
            file: file.to_owned(),
            size_bytes,
            rows: about.num_rows(),
            format_version: about.version(),
            created_by: about.created_by().map(str::to_owned),
            sluice,
            key_values,
            row_groups: row_groups(footer),
            schema: schema_nodes(schema.root_schema()),
            columns: (0..schema.num_columns()).map(|column| column_report(footer, column)).collect(),
        }
    }

    /// One of our own key-values.
    pub(super) fn ours(&self, key: FooterKey) -> Option<&str> {
        self.sluice.get(key.as_str().strip_prefix("sluice.")?).map(String::as_str)
    }
}

fn row_groups(footer: &ParquetMetaData) -> Vec<RowGroupReport> {
    let schema = footer.file_metadata().schema_descr();
    let name = |index: i32| {
        let index = usize::try_from(index).ok().filter(|index| *index < schema.num_columns());
        index.map_or_else(|| "?".to_owned(), |index| schema.column(index).path().string())
    };
    footer
        .row_groups()
        .iter()
        .map(|group| RowGroupReport {
            rows: group.num_rows(),
            uncompressed_bytes: group.total_byte_size(),
            compressed_bytes: group.compressed_size(),
            sorted_by: group.sorting_columns().into_iter().flatten().map(|by| name(by.column_idx)).collect(),
        })
        .collect()
}

fn column_report(footer: &ParquetMetaData, column: usize) -> ColumnReport {
    let descriptor = footer.file_metadata().schema_descr().column(column);
    let chunks: Vec<&ColumnChunkMetaData> =
        footer.row_groups().iter().filter_map(|group| group.columns().get(column)).collect();
    let (min, max) = column_bounds(&descriptor, &chunks);
    let null_counts = chunks.iter().map(|chunk| chunk.statistics().and_then(Statistics::null_count_opt));
    ColumnReport {
        name: descriptor.path().string(),
        physical_type: super::schema::physical_name(descriptor.self_type()).unwrap_or_default(),
        logical_type: super::schema::logical_name(descriptor.self_type()),
        compression: distinct(chunks.iter().map(|chunk| codec_name(chunk))),
        encodings: distinct(
            chunks.iter().flat_map(|chunk| chunk.encodings()).map(|encoding| format!("{encoding:?}")),
        ),
        dictionary: dictionary_use(&chunks),
        compressed_bytes: chunks.iter().map(|chunk| chunk.compressed_size()).sum(),
        uncompressed_bytes: chunks.iter().map(|chunk| chunk.uncompressed_size()).sum(),
        null_count: null_counts.sum(),
        min,
        max,
        bloom_filters: chunks.iter().filter(|chunk| chunk.bloom_filter_offset().is_some()).count(),
        page_indexes: chunks
            .iter()
            .filter(|chunk| chunk.column_index_offset().is_some() || chunk.offset_index_offset().is_some())
            .count(),
    }
}

/// The codec alone: levels are not in the file.
fn codec_name(chunk: &ColumnChunkMetaData) -> String {
    let shown = chunk.compression().to_string();
    shown.split('(').next().unwrap_or_default().to_owned()
}

fn dictionary_use(chunks: &[&ColumnChunkMetaData]) -> DictionaryUse {
    let mut uses = chunks.iter().map(|chunk| dictionary_use_of(chunk));
    let Some(first) = uses.next() else { return DictionaryUse::No };
    uses.fold(first, |one, other| match (one, other) {
        (one, other) if one == other => one,
        (DictionaryUse::Unknown, _) | (_, DictionaryUse::Unknown) => DictionaryUse::Unknown,
        _ => DictionaryUse::Partly,
    })
}

fn dictionary_use_of(chunk: &ColumnChunkMetaData) -> DictionaryUse {
    let dictionary = [Encoding::RLE_DICTIONARY, Encoding::PLAIN_DICTIONARY];
    // The offset of the dictionary's page is optional, the encoding of the pages is not.
    if !chunk.encodings().any(|encoding| dictionary.contains(&encoding)) {
        return DictionaryUse::No;
    }
    match chunk.page_encoding_stats_mask() {
        None => DictionaryUse::Unknown,
        Some(data_pages) if data_pages.encodings().all(|encoding| dictionary.contains(&encoding)) => {
            DictionaryUse::Yes
        }
        Some(data_pages) if data_pages.encodings().any(|encoding| dictionary.contains(&encoding)) => {
            DictionaryUse::Partly
        }
        Some(_) => DictionaryUse::No,
    }
}

fn distinct(values: impl Iterator<Item = String>) -> Vec<String> {
    let mut seen: Vec<String> = values.collect();
    seen.sort_unstable();
    seen.dedup();
    seen
}
