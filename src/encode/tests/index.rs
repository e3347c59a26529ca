//! Owns checking the column and offset indexes against the rows: each page holds the rows it is said to hold, and its bounds
//! are those of its values.

use std::cmp::Ordering;

use arrow::array::{AsArray, RecordBatch};
use bytes::Bytes;
use parquet::arrow::arrow_reader::{RowSelection, RowSelector};
use parquet::basic::{BoundaryOrder, Type};
use parquet::file::metadata::ParquetMetaData;
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use parquet::file::statistics::Statistics;

use super::{opened, rows_of};
use crate::encode::column::SourceKind;
use crate::encode::shred::{Leaf, Levels, Slots, shred};

/// Checks the indexes of the one row group of a file with these rows.
pub(super) fn check(metadata: &ParquetMetaData, rows: &RecordBatch, file: &Bytes) {
    let mut column = 0;
    let schema = rows.schema();
    for (field, array) in schema.fields().iter().zip(rows.columns()) {
        let mut leaves = Vec::new();
        shred(field, array, &mut leaves);
        for leaf in 0..leaves.len() {
            // The library's own columns are not checked: it takes a page of lists for empty when it has as many nulls as
            // rows, and has no index where a page has neither.
            let physical = metadata.row_group(0).column(column).column_type();
            if SourceKind::of(leaves[leaf].array.data_type(), physical).is_none() {
                column += 1;
                continue;
            }
            let starts = page_starts(metadata, column, rows.num_rows());
            let mut bounds = Vec::new();
            for (page, span) in starts.windows(2).enumerate() {
                let mut leaves = Vec::new();
                shred(field, &array.slice(span[0], span[1] - span[0]), &mut leaves);
                let leaf: &Leaf = &leaves[leaf];
                let nulls = leaf.entries - leaf.slots.len();
                let pages = metadata.page_index_for_row_group(0);
                let index = pages.column_index(column).unwrap();
                let empty = leaf.slots.len() == 0;
                assert_eq!(index.is_null_page(page), empty, "column {column}, page {page}: {field}");
                assert_eq!(index.null_count(page), Some(nulls as i64), "column {column}, page {page}");
                let histogram = |levels: &Levels, largest: i16| {
                    let count = |level: i16| levels.count(level as u8, 0, leaf.entries) as i64;
                    Some((0..=largest).map(count).collect::<Vec<_>>()).filter(|_| largest > 0)
                };
                let descriptor = metadata.row_group(0).column(column).column_descr_ptr();
                let (definition, repetition) = (
                    histogram(&leaf.definition, descriptor.max_def_level()),
                    leaf.repetition.as_ref().and_then(|levels| histogram(levels, descriptor.max_rep_level())),
                );
                let levels_of = |levels: Option<&[i64]>| levels.map(<[i64]>::to_vec);
                assert_eq!(levels_of(index.definition_level_histogram(page)), definition, "page {page}");
                assert_eq!(levels_of(index.repetition_level_histogram(page)), repetition, "page {page}");
                let of_page = bounds_of(index, page);
                if let (Some((least, greatest)), ColumnIndexMetaData::BYTE_ARRAY(_)) = (&of_page, index) {
                    let values = strings(leaf);
                    assert!(values.iter().all(|value| least <= value && value <= greatest), "page {page}");
                }
                bounds.extend(of_page);
            }
            check_places(metadata, column);
            check_bounds(metadata, column, &bounds);
            column += 1;
        }
    }
    check_selection(metadata, rows, file);
}

/// The values that count of a column of byte strings.
fn strings(leaf: &Leaf) -> Vec<Vec<u8>> {
    let value = |place: usize| match leaf.array.as_string_opt::<i32>() {
        Some(text) => text.value(place).as_bytes().to_vec(),
        None => leaf.array.as_binary::<i32>().value(place).to_vec(),
    };
    match &leaf.slots {
        Slots::Run { from, len } => (*from..from + len).map(value).collect(),
        Slots::Listed(places) => places.iter().map(|place| value(*place as usize)).collect(),
    }
}

/// The pages follow one another, and the chunk's own offsets, sizes and counts are theirs.
fn check_places(metadata: &ParquetMetaData, column: usize) {
    let chunk = metadata.row_group(0).column(column);
    let index = metadata.page_index_for_row_group(0);
    let pages = index.page_locations(column).unwrap();
    assert_eq!(chunk.data_page_offset(), pages[0].offset, "column {column}");
    let (start, length) = chunk.byte_range();
    let mut at = pages[0].offset;
    assert_eq!(chunk.dictionary_page_offset().unwrap_or(at), start as i64, "column {column}");
    for page in pages {
        assert_eq!(page.offset, at, "column {column}");
        at += i64::from(page.compressed_page_size);
    }
    assert_eq!(at, (start + length) as i64, "column {column}");
    let counted: i32 = chunk.page_encoding_stats().unwrap().iter().map(|stats| stats.count).sum();
    let dictionaries = usize::from(chunk.dictionary_page_offset().is_some());
    assert_eq!(counted as usize, pages.len() + dictionaries, "column {column}");
    let of_pages = index.offset_index(column).unwrap().unencoded_byte_array_data_bytes();
    assert_eq!(of_pages.map(|sizes| sizes.iter().sum()), chunk.unencoded_byte_array_data_bytes());
}

fn page_starts(metadata: &ParquetMetaData, column: usize, rows: usize) -> Vec<usize> {
    let index = metadata.page_index_for_row_group(0);
    index
        .page_locations(column)
        .unwrap()
        .iter()
        .map(|page| page.first_row_index as usize)
        .chain([rows])
        .collect()
}

fn bounds_of(index: &ColumnIndexMetaData, page: usize) -> Option<(Vec<u8>, Vec<u8>)> {
    fn both<T>(
        least: Option<&T>,
        greatest: Option<&T>,
        bytes: impl Fn(&T) -> Vec<u8>,
    ) -> Option<(Vec<u8>, Vec<u8>)> {
        Some((bytes(least?), bytes(greatest?)))
    }
    match index {
        ColumnIndexMetaData::INT32(index) => {
            both(index.min_value(page), index.max_value(page), |value| value.to_le_bytes().to_vec())
        }
        ColumnIndexMetaData::INT64(index) => {
            both(index.min_value(page), index.max_value(page), |value| value.to_le_bytes().to_vec())
        }
        ColumnIndexMetaData::BYTE_ARRAY(index) => {
            Some((index.min_value(page)?.to_vec(), index.max_value(page)?.to_vec()))
        }
        _ => None,
    }
}

/// The least or the greatest value of a page.
type Side = fn(&(Vec<u8>, Vec<u8>)) -> &Vec<u8>;

/// The bounds of the pages together are those of the chunk, and their order is what it is said to be.
fn check_bounds(metadata: &ParquetMetaData, column: usize, bounds: &[(Vec<u8>, Vec<u8>)]) {
    let chunk = metadata.row_group(0).column(column);
    let order =
        |a: &Vec<u8>, b: &Vec<u8>| match chunk.column_type() {
            Type::INT32 => i32::from_le_bytes(a[..].try_into().unwrap())
                .cmp(&i32::from_le_bytes(b[..].try_into().unwrap())),
            Type::INT64 => i64::from_le_bytes(a[..].try_into().unwrap())
                .cmp(&i64::from_le_bytes(b[..].try_into().unwrap())),
            _ => a.cmp(b),
        };
    let least = bounds.iter().map(|(least, _)| least).min_by(|a, b| order(a, b));
    let greatest = bounds.iter().map(|(_, greatest)| greatest).max_by(|a, b| order(a, b));
    if let Some(statistics) = chunk.statistics().filter(|_| least.is_some()) {
        assert_eq!(least.map(Vec::as_slice), statistics.min_bytes_opt(), "column {column}");
        if !matches!(statistics, Statistics::ByteArray(_)) || statistics.max_is_exact() {
            assert_eq!(greatest.map(Vec::as_slice), statistics.max_bytes_opt(), "column {column}");
        }
    }
    let goes = |side: Side, against: Ordering| {
        bounds.windows(2).all(|pair| order(side(&pair[0]), side(&pair[1])) != against)
    };
    let both = |against| goes(|bounds| &bounds.0, against) && goes(|bounds| &bounds.1, against);
    match metadata.page_index_for_row_group(0).column_index(column).unwrap().get_boundary_order() {
        Some(BoundaryOrder::ASCENDING) => assert!(both(Ordering::Greater), "column {column}: {bounds:?}"),
        Some(BoundaryOrder::DESCENDING) => assert!(both(Ordering::Less), "column {column}: {bounds:?}"),
        _ => {}
    }
}

/// Rows in the middle are found by the offset index alone.
fn check_selection(metadata: &ParquetMetaData, rows: &RecordBatch, file: &Bytes) {
    let total = metadata.file_metadata().num_rows() as usize;
    let (from, len) = (total / 3, (total / 5).max(1));
    let selection = RowSelection::from(vec![RowSelector::skip(from), RowSelector::select(len)]);
    let (_, reader) = opened(file);
    assert_eq!(rows_of(reader.with_row_selection(selection)), rows.slice(from, len));
}
