//! Owns what `dictionary: auto` has learned about the columns of one topic and schema: a guess from the first rows, put
//! right by what closed row groups show. Choices change how values are encoded, never which rows are in a file.

use arrow::array::RecordBatch;
use parquet::basic::{Encoding as PageEncoding, PageType, Type};
use parquet::file::metadata::{ColumnChunkMetaData, RowGroupMetaData};

use super::sample::columns_that_gain;

/// After this many files the guess is made anew: data changes.
const FILES_PER_GUESS: u64 = 64;
/// A smaller row group proves nothing.
const TELLING_ROWS: i64 = 10_000;
/// A dictionary that makes a column less than this much smaller is not worth its time.
const WORTHWHILE: f64 = 0.9;

/// Which columns get a dictionary.
#[derive(Debug, Default)]
pub(super) struct DictionaryBook {
    /// By column of the file; empty before the first guess.
    gains: Vec<bool>,
    files: u64,
}

impl DictionaryBook {
    /// The columns that get a dictionary in a file that begins with `batches`; empty for all of them.
    pub(super) fn choose(&mut self, batches: &[RecordBatch], row_group_rows: f64) -> Vec<bool> {
        if self.gains.is_empty() || self.files.is_multiple_of(FILES_PER_GUESS) {
            self.gains = columns_that_gain(batches, row_group_rows);
        }
        self.files += 1;
        self.gains.clone()
    }

    /// Takes note of what became of the dictionaries of a row group.
    pub(super) fn learn(&mut self, row_group: &RowGroupMetaData) {
        if row_group.num_rows() < TELLING_ROWS {
            return;
        }
        for (gains, column) in self.gains.iter_mut().zip(row_group.columns()) {
            *gains = *gains && !was_in_vain(column);
        }
    }
}

fn was_in_vain(column: &ColumnChunkMetaData) -> bool {
    if column.dictionary_page_offset().is_none() {
        return false;
    }
    let gave_up = column.page_encoding_stats().is_some_and(|pages| {
        pages.iter().any(|page| {
            matches!(page.page_type, PageType::DATA_PAGE | PageType::DATA_PAGE_V2)
                && !matches!(page.encoding, PageEncoding::RLE_DICTIONARY | PageEncoding::PLAIN_DICTIONARY)
        })
    });
    gave_up || column.uncompressed_size() as f64 > WORTHWHILE * plain_bytes(column)
}

/// What the values would take without dictionary and compression. Nulls take nothing, so it is too much for columns full
/// of them, which keep their dictionary: it costs them little.
fn plain_bytes(column: &ColumnChunkMetaData) -> f64 {
    let values = column.num_values() as f64;
    match column.column_type() {
        Type::BYTE_ARRAY => values * 4.0 + column.unencoded_byte_array_data_bytes().unwrap_or(0) as f64,
        Type::INT32 | Type::FLOAT => values * 4.0,
        Type::INT96 => values * 12.0,
        Type::FIXED_LEN_BYTE_ARRAY => values * f64::from(column.column_descr().type_length()),
        Type::BOOLEAN | Type::INT64 | Type::DOUBLE => values * 8.0,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, StringArray};

    use super::*;

    #[test]
    fn the_guess_is_made_anew_now_and_then() {
        let names: ArrayRef = Arc::new((0..1_000).map(|_| Some("the same")).collect::<StringArray>());
        let batches = [RecordBatch::try_from_iter([("name", names)]).unwrap()];
        let mut book = DictionaryBook::default();
        assert_eq!(book.choose(&batches, 1e6), [true]);
        book.gains = vec![false];
        for _ in 1..FILES_PER_GUESS {
            assert_eq!(book.choose(&batches, 1e6), [false]);
        }
        assert_eq!(book.choose(&batches, 1e6), [true]);
    }
}
