//! Owns one Parquet file in the making: row groups cut by bytes and rows, bytes handed out as they come.
//! Does not own which rows go into the file nor where its bytes go.

use std::io::{self, Write};
use std::mem;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;

use super::sort::RowSorter;
use crate::error::{Failure, Stage};

/// Rows that wait to be sorted take about so many bytes of memory for each encoded one.
const SORTED_BYTES_PER_ENCODED: usize = 2;

/// Encodes record batches of one schema into one Parquet file.
pub struct FileEncoder {
    writer: ArrowWriter<ChunkSink>,
    sorter: Option<RowSorter>,
    row_group_bytes: usize,
    rows: u64,
}

/// What is left when a file is complete.
#[derive(Debug)]
pub struct EncodedFile {
    /// The last bytes of the file, after those that [`FileEncoder::take_bytes`] gave.
    pub tail: Bytes,
    /// Size of the whole file.
    pub size_bytes: u64,
}

impl FileEncoder {
    /// Begins a file. `row_group_bytes` is the encoded size at which a row group closes.
    ///
    /// # Errors
    /// Fatal when the schema has no Parquet form.
    pub fn new(
        schema: SchemaRef,
        properties: WriterProperties,
        row_group_bytes: u64,
    ) -> Result<Self, Failure> {
        Self::with_order(schema, properties, row_group_bytes, &[])
    }

    /// As [`Self::new`], with the rows of each row group in the order of these columns, as far as the file has them.
    ///
    /// # Errors
    /// As [`Self::new`], and fatal when a column is no single value.
    pub fn with_order(
        schema: SchemaRef,
        mut properties: WriterProperties,
        row_group_bytes: u64,
        sort_by: &[String],
    ) -> Result<Self, Failure> {
        let row_group_rows = properties.max_row_group_row_count().unwrap_or(usize::MAX);
        let waiting_bytes = (row_group_bytes as usize).saturating_mul(SORTED_BYTES_PER_ENCODED);
        let sorter = RowSorter::new(sort_by, &schema, row_group_rows, waiting_bytes)?;
        if let Some(sorter) = &sorter {
            properties = sorter.declare(properties);
        }
        // The embedded Arrow schema would make some readers see other types than the Parquet ones.
        let options = ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
        let writer = ArrowWriter::try_new_with_options(ChunkSink::default(), schema, options)
            .map_err(|error| fatal(&error))?;
        Ok(Self { writer, sorter, row_group_bytes: row_group_bytes as usize, rows: 0 })
    }

    /// Appends rows in order; closes the row group when it is large enough.
    ///
    /// # Errors
    /// Fatal when the batch does not have the file's schema or cannot be encoded.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<(), Failure> {
        self.rows += batch.num_rows() as u64;
        if let Some(sorter) = &mut self.sorter {
            return match sorter.push(batch)? {
                Some(sorted) => self.write_row_group(&sorted),
                None => Ok(()),
            };
        }
        self.writer.write(batch).map_err(|error| fatal(&error))?;
        if self.writer.in_progress_size() >= self.row_group_bytes {
            self.writer.flush().map_err(|error| fatal(&error))?;
        }
        Ok(())
    }

    /// Rows written so far.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Estimate of the file's size were it finished now, bytes.
    #[must_use]
    pub fn estimated_bytes(&self) -> u64 {
        let waiting = self.sorter.as_ref().map_or(0, RowSorter::memory_bytes) / SORTED_BYTES_PER_ENCODED;
        (self.writer.bytes_written() + self.writer.in_progress_size() + waiting) as u64
    }

    /// Memory held by the encoder, bytes: the open row group and bytes not yet taken.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let waiting = self.sorter.as_ref().map_or(0, RowSorter::memory_bytes);
        self.writer.memory_size() + self.writer.inner().buffer.len() + waiting
    }

    /// The bytes encoded since the last call; empty while a row group is open.
    pub fn take_bytes(&mut self) -> Bytes {
        // Sound because the sink only ever appends, and the writer keeps its own count of bytes written.
        Bytes::from(mem::take(&mut self.writer.inner_mut().buffer))
    }

    /// Closes the last row group and writes the footer with `key_values`.
    ///
    /// # Errors
    /// Fatal when the file cannot be encoded.
    pub fn finish(mut self, key_values: Vec<KeyValue>) -> Result<EncodedFile, Failure> {
        if let Some(sorted) = self.sorter.as_mut().map(RowSorter::take).transpose()?.flatten() {
            self.write_row_group(&sorted)?;
        }
        for pair in key_values {
            self.writer.append_key_value_metadata(pair);
        }
        self.writer.finish().map_err(|error| fatal(&error))?;
        let size_bytes = self.writer.bytes_written() as u64;
        let tail = self.take_bytes();
        Ok(EncodedFile { tail, size_bytes })
    }

    fn write_row_group(&mut self, sorted: &RecordBatch) -> Result<(), Failure> {
        self.writer.write(sorted).map_err(|error| fatal(&error))?;
        self.writer.flush().map_err(|error| fatal(&error))
    }
}

/// Where the Parquet writer writes: a buffer that is emptied between row groups.
#[derive(Default)]
struct ChunkSink {
    buffer: Vec<u8>,
}

impl Write for ChunkSink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn fatal(error: &ParquetError) -> Failure {
    Failure::fatal(Stage::Encode, format!("cannot write Parquet: {error}"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, AsArray, Int64Array, StringArray};
    use arrow::datatypes::Int64Type;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

    use super::*;

    fn batch(from: i64, rows: i64) -> RecordBatch {
        let ids: ArrayRef = Arc::new((from..from + rows).collect::<Int64Array>());
        let names: ArrayRef =
            Arc::new((from..from + rows).map(|id| Some(format!("name-{id:08}"))).collect::<StringArray>());
        RecordBatch::try_from_iter([("id", ids), ("name", names)]).unwrap()
    }

    fn encode(row_group_bytes: u64) -> (Vec<u8>, u64, usize) {
        let first = batch(0, 1000);
        let mut encoder =
            FileEncoder::new(first.schema(), WriterProperties::builder().build(), row_group_bytes).unwrap();
        let mut file = Vec::new();
        let mut chunks = 0;
        for at in 0..50 {
            encoder.write(&batch(at * 1000, 1000)).unwrap();
            let bytes = encoder.take_bytes();
            chunks += usize::from(!bytes.is_empty());
            file.extend_from_slice(&bytes);
        }
        assert_eq!(encoder.rows(), 50_000);
        let end = encoder.finish(vec![KeyValue::new("sluice.rows".to_owned(), "50000".to_owned())]).unwrap();
        file.extend_from_slice(&end.tail);
        (file, end.size_bytes, chunks)
    }

    #[test]
    fn bytes_leave_as_row_groups_close_and_make_one_readable_file() {
        let (file, size_bytes, chunks) = encode(200_000);
        assert_eq!(file.len() as u64, size_bytes);
        assert!(chunks > 2, "row groups should leave before the end, saw {chunks} chunks");
        let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(file)).unwrap();
        assert!(reader.metadata().num_row_groups() > 2);
        let rows: usize = reader.build().unwrap().map(|b| b.unwrap().num_rows()).sum();
        assert_eq!(rows, 50_000);
    }

    #[test]
    fn sorted_row_groups_say_so_and_hold_every_row() {
        let first = batch(0, 1000);
        let properties = WriterProperties::builder().set_max_row_group_row_count(Some(2_500)).build();
        let sort_by = ["name".to_owned()];
        let mut encoder = FileEncoder::with_order(first.schema(), properties, 1 << 30, &sort_by).unwrap();
        let mut file = Vec::new();
        for at in (0..6).rev() {
            encoder.write(&batch(at * 1000, 1000)).unwrap();
            assert!(encoder.memory_bytes() > 0 || at % 3 == 0, "rows that wait take memory");
            file.extend_from_slice(&encoder.take_bytes());
        }
        file.extend_from_slice(&encoder.finish(Vec::new()).unwrap().tail);
        let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(file)).unwrap();
        let groups = reader.metadata().row_groups().to_vec();
        assert!(groups.len() >= 2 && groups.iter().all(|group| group.num_rows() <= 3_000));
        for group in &groups {
            let order = group.sorting_columns().unwrap();
            assert_eq!((order[0].column_idx, order[0].descending, order[0].nulls_first), (1, false, false));
        }
        let mut ids = Vec::new();
        for batch in reader.with_batch_size(10_000).build().unwrap() {
            ids.extend_from_slice(batch.unwrap().column(0).as_primitive::<Int64Type>().values());
        }
        let mut from = 0;
        for group in &groups {
            let rows = &ids[from..from + group.num_rows() as usize];
            assert!(rows.is_sorted(), "a row group is out of order");
            from += rows.len();
        }
        ids.sort_unstable();
        assert_eq!(ids, (0..6000).collect::<Vec<i64>>());
    }

    #[test]
    fn one_row_group_when_the_limit_is_large() {
        let (file, _, chunks) = encode(1 << 30);
        let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(file)).unwrap();
        assert_eq!(reader.metadata().num_row_groups(), 1);
        assert!(chunks <= 1, "only the magic bytes may leave early");
    }
}
