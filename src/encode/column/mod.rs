//! Owns encoding one column of a row group: the column kinds that most data is made of, faster than the Parquet library's
//! own writer, with the same pages, statistics and indexes. What other kinds there are is encoded by the library
//! ([`super::row_group`]).

mod bounds;
mod byte_dictionary;
mod chunk;
mod compressor;
mod hybrid;
mod integer_values;
mod page_levels;
mod source;
mod values;
mod words;

use std::io::Write;

use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedRowGroupWriter;
use parquet::schema::types::ColumnDescPtr;

use self::chunk::{Chunk, PageCounts};
use self::integer_values::IntegerValues;
use self::page_levels::PageLevels;
use self::source::{Places, Source};
use self::values::{BooleanValues, ByteValues, PageValues};
use super::shred::{Leaf, Slots};

pub(super) use self::compressor::Compressor;
pub(super) use self::source::SourceKind;

/// Limits are looked at after at most so many rows …
const STEP_ROWS: usize = 2048;
/// … and so many plain bytes and entries, unless one row has more.
const STEP_BYTES: usize = 128 << 10;
const STEP_ENTRIES: usize = 1 << 18;
/// Entries of a page, unless one row has more: nulls and empty lists take no bytes, and a page counts with 31 bits.
const PAGE_ENTRIES: usize = 1 << 20;

/// One column of an open row group.
pub(super) struct ColumnEncoder {
    kind: SourceKind,
    page_rows: usize,
    page_bytes: usize,
    dictionary_bytes: usize,
    values: Box<dyn PageValues>,
    definition: PageLevels,
    repetition: PageLevels,
    open: Open,
    chunk: Chunk,
}

/// What the open page has.
#[derive(Default)]
struct Open {
    entries: usize,
    values: usize,
    rows: usize,
}

impl ColumnEncoder {
    pub(super) fn new(kind: SourceKind, column: &ColumnDescPtr, properties: &WriterProperties) -> Self {
        let path = column.path();
        let dictionary = properties.dictionary_enabled(path);
        let values: Box<dyn PageValues> = match kind {
            SourceKind::Bytes => Box::new(ByteValues::new(dictionary)),
            SourceKind::Int32 | SourceKind::Decimal32 => Box::new(IntegerValues::<i32>::new(dictionary)),
            SourceKind::Int64 | SourceKind::Decimal64 => Box::new(IntegerValues::<i64>::new(dictionary)),
            SourceKind::Boolean => Box::new(BooleanValues::new()),
        };
        Self {
            kind,
            page_rows: properties.column_data_page_row_count_limit(path),
            page_bytes: properties.column_data_page_size_limit(path),
            dictionary_bytes: properties.column_dictionary_page_size_limit(path),
            values,
            definition: PageLevels::new(column.max_def_level() as u8),
            repetition: PageLevels::new(column.max_rep_level() as u8),
            open: Open::default(),
            chunk: Chunk::new(column.clone(), properties),
        }
    }

    /// Appends what a batch has for the column.
    ///
    /// # Errors
    /// When a page cannot be compressed.
    pub(super) fn write(&mut self, leaf: &Leaf, compressor: &mut Compressor) -> Result<(), ParquetError> {
        let source = self.kind.read(&leaf.array);
        let (mut entry, mut value) = (0, 0);
        while entry < leaf.entries {
            let step = self.next_step(leaf, &source, entry, value);
            self.definition.push(&leaf.definition, entry, step.entries);
            if let Some(levels) = &leaf.repetition {
                self.repetition.push(levels, entry, step.entries);
            }
            self.values.push(&source, places(&leaf.slots, value, step.values));
            self.open.entries += step.entries;
            self.open.values += step.values;
            self.open.rows += step.rows;
            if self.page_is_full() {
                self.close_page(compressor)?;
            }
            if self.values.dictionary_bytes().is_some_and(|bytes| bytes >= self.dictionary_bytes) {
                self.close_dictionary(compressor)?;
            }
            entry += step.entries;
            value += step.values;
        }
        Ok(())
    }

    /// Estimate of the chunk's size were it closed now, bytes.
    pub(super) fn estimated_bytes(&self) -> usize {
        self.chunk.bytes() + self.values.page_bytes() + self.values.dictionary_bytes().unwrap_or(0)
    }

    /// Memory held, bytes.
    pub(super) fn memory_bytes(&self) -> usize {
        let levels = self.definition.memory_bytes() + self.repetition.memory_bytes();
        self.chunk.memory_bytes() + self.values.memory_bytes() + levels
    }

    /// Ends the chunk and appends it to its row group.
    ///
    /// # Errors
    /// When it is not the column's turn, or a page cannot be compressed.
    pub(super) fn close<W: Write + Send>(
        mut self,
        row_group: &mut SerializedRowGroupWriter<'_, W>,
        compressor: &mut Compressor,
    ) -> Result<(), ParquetError> {
        self.close_dictionary(compressor)?;
        self.close_page(compressor)?;
        let (bytes, result) = self.chunk.close()?;
        row_group.append_column(&bytes, result)
    }

    /// As much as goes into the open page without a look at its limits.
    fn next_step(&self, leaf: &Leaf, source: &Source, entry: usize, value: usize) -> Open {
        let mut rows = STEP_ROWS.min(self.page_rows - self.open.rows);
        loop {
            let end = leaf.row_end(entry, rows);
            let entries = end - entry;
            let values = leaf.definition.count(leaf.max_definition, entry, entries);
            let fits = || source.plain_bytes(&places(&leaf.slots, value, values)) <= STEP_BYTES;
            if rows == 1 || entries <= STEP_ENTRIES && fits() {
                let rows = match &leaf.repetition {
                    None => entries,
                    Some(levels) => levels.count(0, entry, entries),
                };
                return Open { entries, values, rows };
            }
            rows = (rows / 2).max(1);
        }
    }

    fn page_is_full(&self) -> bool {
        self.open.rows >= self.page_rows
            || self.open.entries >= PAGE_ENTRIES
            || self.values.page_bytes() >= self.page_bytes
    }

    fn close_page(&mut self, compressor: &mut Compressor) -> Result<(), ParquetError> {
        let Open { entries, values, rows } = std::mem::take(&mut self.open);
        if entries == 0 {
            return Ok(());
        }
        let mut body = std::mem::take(&mut compressor.body);
        body.clear();
        let (definition, repetition) = (self.definition.histogram(), self.repetition.histogram());
        self.repetition.take_into(&mut body);
        self.definition.take_into(&mut body);
        let facts = self.values.take_page(&mut body);
        let counts = PageCounts { entries, values, rows, definition, repetition };
        self.chunk.add_page(&body, facts, &counts, compressor)?;
        compressor.body = body;
        Ok(())
    }

    /// Ends the dictionary, and before it the page that refers to it.
    fn close_dictionary(&mut self, compressor: &mut Compressor) -> Result<(), ParquetError> {
        if self.values.dictionary_bytes().is_none() {
            return Ok(());
        }
        self.close_page(compressor)?;
        match self.values.take_dictionary() {
            Some((values, count)) => self.chunk.set_dictionary(&values, count, compressor),
            None => Ok(()),
        }
    }
}

fn places(slots: &Slots, from: usize, len: usize) -> Places<'_> {
    match slots {
        Slots::Run { from: first, .. } => Places::Run(first + from..first + from + len),
        Slots::Listed(slots) => Places::Listed(&slots[from..from + len]),
    }
}

/// Whether a column's levels fit what is counted here.
pub(super) fn levels_fit(column: &ColumnDescPtr) -> bool {
    column.max_def_level() < 128 && column.max_rep_level() < 128
}
