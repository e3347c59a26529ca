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
        let book = lock(&self.books).entry((topic.clone(), schema.clone())).or_default().clone();
        let gains = lock(&book).choose(batches, self.row_group_rows(batches));
        Ok((writer_properties(&self.settings, columns, &gains)?, Lesson(Some(book))))
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
