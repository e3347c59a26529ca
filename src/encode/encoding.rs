//! Owns how the files of a connector are encoded: its `parquet:` settings and what has been learned from its data. Does not
//! own any file.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::properties::WriterProperties;
use parquet::schema::types::SchemaDescriptor;

use super::dictionary::DictionaryBook;
use super::properties::writer_properties;
use crate::config::settings::{Dictionary, ParquetSettings};
use crate::error::Failure;

/// Books kept at the most; beyond it all are forgotten, and learning begins again.
const KEPT_BOOKS: usize = 1_024;

/// Shared by all files of a connector, so that each learns from those before it.
#[derive(Debug)]
pub struct Encoding {
    settings: ParquetSettings,
    books: Mutex<HashMap<BookKey, Book>>,
}

/// Data of another topic or another shape is learned about separately.
type BookKey = (Arc<str>, SchemaRef);
type Book = Arc<Mutex<DictionaryBook>>;

/// Where a file writes down what its row groups show.
#[derive(Debug)]
pub(super) struct Lesson(Option<Book>);

impl Encoding {
    /// An encoding that has learned nothing yet.
    #[must_use]
    pub fn new(settings: &ParquetSettings) -> Self {
        Self { settings: settings.clone(), books: Mutex::default() }
    }

    /// Columns that rows are sorted by within a row group.
    pub(super) fn sort_by(&self) -> &[String] {
        &self.settings.sort_by
    }

    /// Encoded size at which a row group closes, bytes.
    #[must_use]
    pub fn row_group_bytes(&self) -> usize {
        self.settings.row_group_bytes.0 as usize
    }

    /// The writer's properties for a file of `topic` that begins with `batches`.
    pub(super) fn properties(
        &self,
        topic: &Arc<str>,
        schema: &SchemaRef,
        columns: &SchemaDescriptor,
        batches: &[RecordBatch],
    ) -> Result<(WriterProperties, Lesson), Failure> {
        if self.settings.dictionary != Dictionary::Auto {
            return Ok((writer_properties(&self.settings, columns, &[])?, Lesson(None)));
        }
        let book = self.book((topic.clone(), schema.clone()));
        let gains = lock(&book).choose(batches, self.row_group_rows(batches));
        Ok((writer_properties(&self.settings, columns, &gains)?, Lesson(Some(book))))
    }

    fn book(&self, key: BookKey) -> Book {
        let mut books = lock(&self.books);
        if books.len() >= KEPT_BOOKS && !books.contains_key(&key) {
            books.clear();
        }
        books.entry(key).or_default().clone()
    }

    /// Rows that a row group is likely to have.
    fn row_group_rows(&self, batches: &[RecordBatch]) -> f64 {
        let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
        let bytes: usize = batches.iter().map(RecordBatch::get_array_memory_size).sum();
        // Encoding about halves what Arrow takes.
        let fit = self.settings.row_group_bytes.0 as f64 * 2.0 * rows as f64 / bytes.max(1) as f64;
        fit.min(self.settings.row_group_rows.get() as f64)
    }
}

impl Lesson {
    pub(super) fn learn(&self, row_group: &RowGroupMetaData) {
        if let Some(book) = &self.0 {
            lock(book).learn(row_group);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field, Schema};

    use super::*;
    use crate::config::settings::{ByteSize, Compression};

    #[test]
    fn books_of_schemas_without_end_take_bounded_memory() {
        let encoding = Encoding::new(&ParquetSettings {
            compression: Compression::None,
            row_group_bytes: ByteSize(1 << 20),
            row_group_rows: 1_000.try_into().unwrap(),
            dictionary: Dictionary::Auto,
            columns: [].into(),
            sort_by: Vec::new(),
        });
        let schema = |number: usize| -> SchemaRef {
            Arc::new(Schema::new(vec![Field::new(format!("c{number}"), DataType::Int64, false)]))
        };
        let first = encoding.book(("t".into(), schema(0)));
        for number in 0..3 * KEPT_BOOKS {
            encoding.book(("t".into(), schema(number)));
            assert!(lock(&encoding.books).len() <= KEPT_BOOKS);
        }
        let last = ("t".into(), schema(3 * KEPT_BOOKS - 1));
        assert!(
            Arc::ptr_eq(&encoding.book(last.clone()), &encoding.book(last)),
            "one that is kept is found again"
        );
        assert!(!Arc::ptr_eq(&first, &encoding.book(("t".into(), schema(0)))));
    }
}
