//! Owns one Parquet file in the making: row groups cut by bytes and rows, bytes handed out as they come.
//! Does not own which rows go into the file nor where its bytes go.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::writer::SerializedFileWriter;

use super::encoding::{Encoding, Lesson};
use super::file_checksum::{FileChecksum, footer_bytes};
use super::footer::FooterKey;
use super::parquet_schema::parquet_schema;
use super::row_group::{RowGroupEncoder, without_wrong_indexes};
use super::sink::PieceSink;
use super::sort::RowSorter;
use super::type_order::in_type_order;
use crate::error::{Failure, Stage};

/// Rows that wait to be sorted take about so many bytes of memory for each encoded one.
const SORTED_BYTES_PER_ENCODED: usize = 2;

/// Every file ends with the length of its footer and the format's magic bytes.
const TRAILER_BYTES: usize = 8;

/// Encodes record batches of one schema into one Parquet file.
pub struct FileEncoder {
    writer: SerializedFileWriter<PieceSink>,
    open: RowGroupEncoder,
    /// Of the bytes that were taken.
    checksum: FileChecksum,
    sorter: Option<RowSorter>,
    row_group_bytes: usize,
    row_group_rows: usize,
    rows: u64,
    lesson: Lesson,
    /// Row groups that the lesson has seen.
    learned: usize,
    /// Both are asked for far more often than they change, and cost a walk over all columns.
    open_bytes: usize,
    open_memory_bytes: usize,
}

/// What is left when a file is complete.
#[derive(Debug)]
pub struct EncodedFile {
    /// The last bytes of the file, after those that [`FileEncoder::take_bytes`] gave.
    pub tail: Vec<Bytes>,
    /// Size of the whole file.
    pub size_bytes: u64,
}

impl FileEncoder {
    /// Begins a file of `topic` that will begin with `batches`; they still have to be written.
    ///
    /// # Errors
    /// Fatal when the schema has no Parquet form or a setting is out of range.
    pub fn new(
        topic: &Arc<str>,
        schema: SchemaRef,
        encoding: &Encoding,
        batches: &[RecordBatch],
    ) -> Result<Self, Failure> {
        let columns = parquet_schema(&schema).map_err(|error| fatal(&error))?;
        let (mut properties, lesson) = encoding.properties(topic, &schema, &columns, batches)?;
        let waiting_bytes = encoding.row_group_bytes().saturating_mul(SORTED_BYTES_PER_ENCODED);
        let row_group_rows = properties.max_row_group_row_count().unwrap_or(usize::MAX);
        let sorter = RowSorter::new(encoding.sort_by(), &schema, &columns, row_group_rows, waiting_bytes)?;
        if let Some(sorter) = &sorter {
            properties = sorter.declare(properties);
        }
        let properties = without_wrong_indexes(&schema, &columns, properties);
        // No Arrow schema is embedded: it would make some readers see other types than the Parquet ones.
        let writer =
            SerializedFileWriter::new(PieceSink::default(), columns.root_schema_ptr(), Arc::new(properties))
                .map_err(|error| fatal(&error))?;
        let open = RowGroupEncoder::new(schema, &writer, true);
        let row_group_bytes = encoding.row_group_bytes();
        Ok(Self {
            writer,
            open,
            checksum: FileChecksum::default(),
            sorter,
            row_group_bytes,
            row_group_rows,
            rows: 0,
            lesson,
            learned: 0,
            open_bytes: 0,
            open_memory_bytes: 0,
        })
    }

    /// Appends rows in order; closes the row group when it is large enough.
    ///
    /// # Errors
    /// Fatal when the batch does not have the file's schema or cannot be encoded.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<(), Failure> {
        self.rows += batch.num_rows() as u64;
        if let Some(sorter) = &mut self.sorter {
            if let Some(sorted) = sorter.push(batch)? {
                self.encode(&sorted)?;
                self.close_row_group()?;
            }
            return Ok(());
        }
        self.encode(batch)?;
        if self.open.estimated_bytes() >= self.row_group_bytes {
            self.open.close(&mut self.writer).map_err(|error| fatal(&error))?;
        }
        self.note();
        Ok(())
    }

    /// Closes the open row group early, so that its memory can go.
    ///
    /// # Errors
    /// Fatal when it cannot be encoded.
    pub fn close_row_group(&mut self) -> Result<(), Failure> {
        if let Some(sorted) = self.sorter.as_mut().map(RowSorter::take).transpose()?.flatten() {
            self.encode(&sorted)?;
        }
        self.open.close(&mut self.writer).map_err(|error| fatal(&error))?;
        self.note();
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
        (self.writer.bytes_written() + self.open_bytes + waiting) as u64
    }

    /// Memory held by the encoder, bytes: the open row group and bytes not yet taken.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let waiting = self.sorter.as_ref().map_or(0, RowSorter::memory_bytes);
        self.open_memory_bytes + self.writer.inner().len() + waiting
    }

    /// The bytes encoded since the last call, in pieces; none while a row group is open.
    pub fn take_bytes(&mut self) -> Vec<Bytes> {
        // Sound because the sink only ever appends, and the writer keeps its own count of bytes written.
        let pieces = self.writer.inner_mut().take();
        for piece in &pieces {
            self.checksum.update(piece);
        }
        pieces
    }

    /// Closes the last row group and writes the footer with `key_values` and the checksum of the file.
    ///
    /// # Errors
    /// Fatal when the file cannot be encoded.
    pub fn finish(mut self, key_values: Vec<KeyValue>) -> Result<EncodedFile, Failure> {
        for pair in key_values {
            self.writer.append_key_value_metadata(pair);
        }
        let unknown = FileChecksum::UNKNOWN.to_owned();
        self.writer
            .append_key_value_metadata(KeyValue::new(FooterKey::FileChecksum.as_str().to_owned(), unknown));
        self.close_row_group()?;
        let end_at = self.writer.bytes_written();
        let metadata = self.writer.finish().map_err(|error| fatal(&error))?;
        let mut size_bytes = self.writer.bytes_written();
        let mut tail = self.writer.inner_mut().take();
        if let Some(rewritten) = in_type_order(metadata, end_at).map_err(|error| fatal(&error))? {
            split_end(&mut tail, size_bytes - end_at);
            size_bytes = end_at + rewritten.len();
            tail.push(rewritten.into());
        }
        let mut end = split_end(&mut tail, TRAILER_BYTES);
        let more = footer_bytes(&end).map_or(0, |bytes| bytes - end.len());
        end.splice(..0, split_end(&mut tail, more));
        for piece in &tail {
            self.checksum.update(piece);
        }
        self.checksum.write_into(&mut end);
        tail.push(end.into());
        Ok(EncodedFile { tail, size_bytes: size_bytes as u64 })
    }

    /// Appends rows, in as many row groups as the limit of rows asks for.
    fn encode(&mut self, batch: &RecordBatch) -> Result<(), Failure> {
        let mut from = 0;
        while from < batch.num_rows() {
            let len = (self.row_group_rows - self.open.rows()).min(batch.num_rows() - from);
            let ordinal = self.writer.flushed_row_groups().len();
            self.open.write(&batch.slice(from, len), ordinal).map_err(|error| fatal(&error))?;
            if self.open.rows() >= self.row_group_rows {
                self.open.close(&mut self.writer).map_err(|error| fatal(&error))?;
            }
            from += len;
        }
        Ok(())
    }

    fn note(&mut self) {
        self.open_bytes = self.open.estimated_bytes();
        self.open_memory_bytes = self.open.memory_bytes();
        for row_group in self.writer.flushed_row_groups().iter().skip(self.learned) {
            self.lesson.learn(row_group);
            self.learned += 1;
        }
    }
}

/// Takes so many bytes off the end, and gives them.
fn split_end(pieces: &mut Vec<Bytes>, bytes: usize) -> Vec<u8> {
    let mut taken = Vec::new();
    let mut missing = bytes;
    while missing > 0 {
        let Some(last) = pieces.last_mut() else { break };
        let part = last.split_off(last.len() - missing.min(last.len()));
        if last.is_empty() {
            pieces.pop();
        }
        missing -= part.len();
        taken.push(part);
    }
    assert_eq!(missing, 0, "the end of a file leaves with its last bytes");
    taken.iter().rev().flat_map(|part| part.iter().copied()).collect()
}

fn fatal(error: &ParquetError) -> Failure {
    Failure::fatal(Stage::Encode, format!("cannot write Parquet: {error}"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, AsArray, Float64Array, Int64Array, StringArray};
    use arrow::datatypes::Int64Type;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

    use super::*;
    use crate::config::settings::{ByteSize, Compression, Dictionary, ParquetSettings};

    fn batch(from: i64, rows: i64) -> RecordBatch {
        let ids: ArrayRef = Arc::new((from..from + rows).collect::<Int64Array>());
        let names: ArrayRef =
            Arc::new((from..from + rows).map(|id| Some(format!("name-{id:08}"))).collect::<StringArray>());
        RecordBatch::try_from_iter([("id", ids), ("name", names)]).unwrap()
    }

    fn settings(row_group_bytes: u64, dictionary: Dictionary) -> ParquetSettings {
        ParquetSettings {
            compression: Compression::Snappy,
            row_group_bytes: ByteSize(row_group_bytes),
            row_group_rows: 1_000_000.try_into().unwrap(),
            dictionary,
            columns: [].into(),
            sort_by: Vec::new(),
        }
    }

    fn encoding(row_group_bytes: u64, dictionary: Dictionary) -> Encoding {
        Encoding::new(&settings(row_group_bytes, dictionary))
    }

    fn encode(row_group_bytes: u64) -> (Vec<u8>, u64, usize) {
        let first = batch(0, 1000);
        let encoding = encoding(row_group_bytes, Dictionary::Always);
        let mut encoder = FileEncoder::new(&"t".into(), first.schema(), &encoding, &[]).unwrap();
        let mut file = Vec::new();
        let mut chunks = 0;
        for at in 0..50 {
            encoder.write(&batch(at * 1000, 1000)).unwrap();
            let bytes = encoder.take_bytes().concat();
            chunks += usize::from(!bytes.is_empty());
            file.extend_from_slice(&bytes);
        }
        assert_eq!(encoder.rows(), 50_000);
        let end = encoder.finish(vec![KeyValue::new("sluice.rows".to_owned(), "50000".to_owned())]).unwrap();
        file.extend_from_slice(&end.tail.concat());
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
        let encoding = Encoding::new(&ParquetSettings {
            row_group_rows: 2_500.try_into().unwrap(),
            sort_by: vec!["name".to_owned()],
            ..settings(1 << 30, Dictionary::Always)
        });
        let mut encoder = FileEncoder::new(&"t".into(), first.schema(), &encoding, &[]).unwrap();
        let mut file = Vec::new();
        for at in (0..6).rev() {
            encoder.write(&batch(at * 1000, 1000)).unwrap();
            assert!(encoder.memory_bytes() > 0 || at % 3 == 0, "rows that wait take memory");
            file.extend_from_slice(&encoder.take_bytes().concat());
        }
        file.extend_from_slice(&encoder.finish(Vec::new()).unwrap().tail.concat());
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

    /// With one bit flipped, a byte's digest or what the footer says of it is another.
    #[test]
    fn the_footer_has_a_checksum_of_every_byte_before_and_behind_it() {
        let floats: ArrayRef = Arc::new((0..20).map(|row| Some(f64::from(row))).collect::<Float64Array>());
        let rows = batch(0, 20);
        let other = RecordBatch::try_from_iter([("price", floats)]).unwrap();
        for rows in [rows, other] {
            let encoding = encoding(1 << 30, Dictionary::Auto);
            let mut encoder = FileEncoder::new(&"t".into(), rows.schema(), &encoding, &[]).unwrap();
            encoder.write(&rows).unwrap();
            let mut file = encoder.take_bytes().concat();
            let end = encoder.finish(vec![KeyValue::new("k".to_owned(), "v".to_owned())]).unwrap();
            file.extend(end.tail.concat());
            assert_eq!(end.size_bytes, file.len() as u64);
            let pairs = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(file.clone())).unwrap();
            let pairs = pairs.metadata().file_metadata().key_value_metadata().unwrap().clone();
            let said = pairs.iter().find(|pair| pair.key == "sluice.file_checksum").unwrap().value.clone();
            let said = said.unwrap();
            let of = |file: &[u8], split: usize| {
                let mut checksum = FileChecksum::default();
                checksum.update(&file[..split]);
                checksum.finish(&file[split..])
            };
            assert_eq!((of(&file, 0), of(&file, 100)), (said.clone(), said.clone()));
            // By its definition: over all bytes, with zeros for its own digits.
            let mut zeroed = file.clone();
            let place = zeroed.windows(16).position(|bytes| bytes == said.as_bytes()).unwrap();
            zeroed[place..place + 16].fill(b'0');
            assert_eq!(said, format!("{:016x}", xxhash_rust::xxh3::xxh3_64(&zeroed)));
            let digits = file.windows(16).position(|bytes| bytes == said.as_bytes()).unwrap();
            for at in (0..file.len()).filter(|at| !(digits..digits + 16).contains(at)) {
                file[at] ^= 1 << (at % 8);
                assert_ne!(of(&file, 0), said, "byte {at}");
                file[at] ^= 1 << (at % 8);
            }
        }
    }

    #[test]
    fn one_row_group_when_the_limit_is_large() {
        let (file, _, chunks) = encode(1 << 30);
        let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(file)).unwrap();
        assert_eq!(reader.metadata().num_row_groups(), 1);
        assert!(chunks <= 1, "only the magic bytes may leave early");
    }

    #[test]
    fn a_row_group_can_be_closed_early_and_then_holds_no_memory() {
        let rows = batch(0, 1000);
        let encoding = encoding(1 << 30, Dictionary::Auto);
        let mut encoder = FileEncoder::new(&"t".into(), rows.schema(), &encoding, &[]).unwrap();
        encoder.write(&rows).unwrap();
        assert!(encoder.memory_bytes() > 10_000);
        encoder.close_row_group().unwrap();
        let mut file = encoder.take_bytes().concat();
        assert_eq!(encoder.memory_bytes(), 0);
        encoder.write(&rows).unwrap();
        file.extend(encoder.finish(Vec::new()).unwrap().tail.concat());
        let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(file)).unwrap();
        assert_eq!(reader.metadata().num_row_groups(), 2);
    }

    #[test]
    fn auto_leaves_out_dictionaries_that_would_be_thrown_away() {
        let encoding = encoding(1 << 30, Dictionary::Auto);
        let encodes = |rows: &RecordBatch| {
            let mut encoder =
                FileEncoder::new(&"t".into(), rows.schema(), &encoding, std::slice::from_ref(rows)).unwrap();
            encoder.write(rows).unwrap();
            let file = encoder.finish(Vec::new()).unwrap().tail.concat();
            let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(file)).unwrap();
            let columns = reader.metadata().row_group(0).columns().to_vec();
            columns.iter().map(|column| column.dictionary_page_offset().is_some()).collect::<Vec<_>>()
        };
        let names: ArrayRef =
            Arc::new((0..20_000).map(|row| Some(format!("n{}", row % 9))).collect::<StringArray>());
        let ids: ArrayRef = Arc::new((0..20_000).collect::<Int64Array>());
        let rows = RecordBatch::try_from_iter([("id", ids.clone()), ("name", names)]).unwrap();
        assert_eq!(encodes(&rows), [false, true]);
        // What was learned holds for the next file: names that turned unique are not noticed in its first rows, but the
        // row group shows it.
        let unique: ArrayRef =
            Arc::new((0..20_000).map(|row| Some(format!("n{row}"))).collect::<StringArray>());
        let rows = RecordBatch::try_from_iter([("id", ids), ("name", unique)]).unwrap();
        // Few rows show nothing.
        assert_eq!(encodes(&rows.slice(0, 9_999)), [false, true]);
        assert_eq!(encodes(&rows.slice(0, 9_999)), [false, true]);
        assert_eq!(encodes(&rows), [false, true]);
        for _ in 0..3 {
            assert_eq!(encodes(&rows), [false, false], "what has lost its dictionary does not get it back");
        }
    }

    #[test]
    fn auto_does_not_try_again_what_was_given_up_on_the_way() {
        let names = (0..120_000).map(|row| {
            let name = if row < 60_000 { row % 9 } else { row };
            Some(format!("a name of some length {name:06}"))
        });
        let names: ArrayRef = Arc::new(names.collect::<StringArray>());
        let rows = RecordBatch::try_from_iter([("name", names)]).unwrap();
        let encoding = encoding(1 << 30, Dictionary::Auto);
        let encodes = || {
            let first = [rows.slice(0, 5_000)];
            let mut encoder = FileEncoder::new(&"t".into(), rows.schema(), &encoding, &first).unwrap();
            encoder.write(&rows).unwrap();
            let file = encoder.finish(Vec::new()).unwrap().tail.concat();
            let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(file)).unwrap();
            reader.metadata().row_group(0).column(0).dictionary_page_offset().is_some()
        };
        // Half of the values profited from it.
        assert!(encodes());
        assert!(!encodes());
    }
}
