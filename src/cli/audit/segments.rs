//! Owns the way through a file: parts that cover its bytes in order, and the decoding of those that are column chunks. Does not
//! own what the offsets mean, nor what the bytes should be.

use std::io::Read;
use std::ops::Range;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use parquet::basic::Type as PhysicalType;
use parquet::column::reader::{ColumnReader, ColumnReaderImpl, get_column_reader};
use parquet::data_type::{DataType, Int64Type};
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::serialized_reader::SerializedPageReader;

use crate::storage::Store;

const OFFSET_COLUMN: &str = "_offset";
const OFFSETS_AT_ONCE: usize = 1 << 16;
/// Rows decoded at one time of columns whose values are of any size.
const ROWS_AT_ONCE: usize = 1 << 12;
/// What lies between column chunks is read in parts of at most so many bytes.
const FILLER_BYTES: u64 = 8 << 20;

/// How much of each file is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Depth {
    /// Every byte; every page is decoded.
    Pages,
    /// The footer and the `_offset` column.
    Offsets,
}

/// A part of a file.
#[derive(Debug)]
pub(super) struct Segment {
    range: Range<u64>,
    /// The column chunk that it is.
    chunk: Option<Chunk>,
    /// Whether nothing follows: it holds the footer.
    last: bool,
}

#[derive(Debug)]
struct Chunk {
    column: Box<ColumnChunkMetaData>,
    rows: u64,
    holds_offsets: bool,
}

/// What was read of a part.
#[derive(Debug)]
pub(super) struct SegmentRead {
    pub(super) bytes: Bytes,
    pub(super) last: bool,
    pub(super) offsets: Option<OffsetValues>,
}

/// The offsets of a row group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct OffsetValues {
    /// In the order of the rows, without nulls.
    pub(super) offsets: Vec<i64>,
    /// Rows without one.
    pub(super) nulls: u64,
}

/// Whether a file has a column of offsets: 64-bit integers, one a row.
pub(super) fn has_offsets(footer: &ParquetMetaData) -> bool {
    offset_column(footer).is_some()
}

/// The parts to be read of a file of `size_bytes`, in the order of their bytes; all of them together are the file where all of
/// it is read.
///
/// # Errors
/// When the footer says what cannot be.
pub(super) fn segments(
    footer: &ParquetMetaData,
    size_bytes: u64,
    depth: Depth,
) -> Result<Vec<Segment>, String> {
    let offset_column = offset_column(footer);
    let mut segments = Vec::new();
    for group in footer.row_groups() {
        let rows = u64::try_from(group.num_rows()).unwrap_or(0);
        for (index, column) in group.columns().iter().enumerate() {
            let holds_offsets = offset_column == Some(index);
            if depth == Depth::Pages || holds_offsets {
                let range = byte_range(column, size_bytes)?;
                let chunk = Chunk { column: Box::new(column.clone()), rows, holds_offsets };
                segments.push(Segment { range, chunk: Some(chunk), last: false });
            }
        }
    }
    if depth == Depth::Pages { with_fillers(segments, size_bytes) } else { Ok(segments) }
}

impl Segment {
    /// Fetches the part, and decodes it where it is a column chunk.
    ///
    /// # Errors
    /// What the store says, or what is wrong with the bytes.
    pub(super) async fn read(self, store: &Store, path: &str) -> Result<SegmentRead, String> {
        let Self { range, chunk, last } = self;
        let bytes = store.read(path, range.clone()).await.map_err(|error| error.to_string())?;
        if bytes.len() as u64 != range.end - range.start {
            return Err("it is shorter than it was when it was listed".to_owned());
        }
        let Some(chunk) = chunk else { return Ok(SegmentRead { bytes, last, offsets: None }) };
        let name = chunk.column.column_path().string();
        let window = Window { start: range.start, bytes: bytes.clone() };
        match tokio::task::spawn_blocking(move || chunk.decode(window)).await {
            Ok(Ok(offsets)) => Ok(SegmentRead { bytes, last, offsets }),
            Ok(Err(error)) => Err(format!("its `{name}` column cannot be decoded: {error}")),
            Err(_) => Err(format!("the Parquet reader panicked over its `{name}` column")),
        }
    }
}

impl Chunk {
    /// Decodes every page; keeps the values of offsets.
    fn decode(self, window: Window) -> ParquetResult<Option<OffsetValues>> {
        let rows = usize::try_from(self.rows).unwrap_or(0);
        let pages = SerializedPageReader::new(Arc::new(window), &self.column, rows, None)?;
        let reader = get_column_reader(self.column.column_descr_ptr(), Box::new(pages));
        match reader {
            ColumnReader::Int64ColumnReader(reader) if self.holds_offsets => self.offsets(reader).map(Some),
            ColumnReader::BoolColumnReader(reader) => self.walk(reader),
            ColumnReader::Int32ColumnReader(reader) => self.walk(reader),
            ColumnReader::Int64ColumnReader(reader) => self.walk(reader),
            ColumnReader::Int96ColumnReader(reader) => self.walk(reader),
            ColumnReader::FloatColumnReader(reader) => self.walk(reader),
            ColumnReader::DoubleColumnReader(reader) => self.walk(reader),
            ColumnReader::ByteArrayColumnReader(reader) => self.walk(reader),
            ColumnReader::FixedLenByteArrayColumnReader(reader) => self.walk(reader),
        }
    }

    fn offsets(&self, mut reader: ColumnReaderImpl<Int64Type>) -> ParquetResult<OffsetValues> {
        let nullable = self.column.column_descr().max_def_level() > 0;
        let mut read = OffsetValues::default();
        let mut definitions = Vec::new();
        loop {
            definitions.clear();
            let levels = nullable.then_some(&mut definitions);
            let (rows, values, _) = reader.read_records(OFFSETS_AT_ONCE, levels, None, &mut read.offsets)?;
            if rows == 0 {
                return Ok(read);
            }
            read.nulls += rows.saturating_sub(values) as u64;
        }
    }

    fn walk<T: DataType>(&self, mut reader: ColumnReaderImpl<T>) -> ParquetResult<Option<OffsetValues>> {
        let column = self.column.column_descr();
        let (nullable, repeated) = (column.max_def_level() > 0, column.max_rep_level() > 0);
        let (mut values, mut definitions, mut repetitions) = (Vec::new(), Vec::new(), Vec::new());
        let (mut rows, mut entries) = (0, 0);
        loop {
            values.clear();
            definitions.clear();
            repetitions.clear();
            let levels = nullable.then_some(&mut definitions);
            let lists = repeated.then_some(&mut repetitions);
            let (read, _, levels) = reader.read_records(ROWS_AT_ONCE, levels, lists, &mut values)?;
            if read == 0 {
                break;
            }
            rows += read as u64;
            entries += levels as i64;
        }
        let said = (self.rows, self.column.num_values());
        if (rows, entries) == said {
            return Ok(None);
        }
        let reason = format!(
            "it has {rows} rows and {entries} values, the footer says {} rows and {} values",
            said.0, said.1
        );
        Err(ParquetError::General(reason))
    }
}

fn offset_column(footer: &ParquetMetaData) -> Option<usize> {
    footer.file_metadata().schema_descr().columns().iter().position(|column| {
        column.path().parts() == [OFFSET_COLUMN]
            && column.physical_type() == PhysicalType::INT64
            && column.max_rep_level() == 0
    })
}

fn byte_range(column: &ColumnChunkMetaData, size_bytes: u64) -> Result<Range<u64>, String> {
    // The library's own way to the bytes panics over signs that are wrong.
    let start = column.dictionary_page_offset().unwrap_or(column.data_page_offset());
    let start = u64::try_from(start).ok();
    let length = u64::try_from(column.compressed_size()).ok();
    let end = start.zip(length).and_then(|(start, length)| start.checked_add(length));
    match start.zip(end) {
        Some((start, end)) if end <= size_bytes => Ok(start..end),
        _ => Err("its footer points outside the file".to_owned()),
    }
}

/// Adds what lies between column chunks, and the end of the file.
fn with_fillers(mut chunks: Vec<Segment>, size_bytes: u64) -> Result<Vec<Segment>, String> {
    chunks.sort_by_key(|segment| segment.range.start);
    let mut segments = Vec::new();
    let mut at = 0;
    for chunk in chunks {
        if chunk.range.start < at {
            return Err("its footer says that columns overlap".to_owned());
        }
        while at < chunk.range.start {
            let end = chunk.range.start.min(at + FILLER_BYTES);
            segments.push(Segment { range: at..end, chunk: None, last: false });
            at = end;
        }
        at = chunk.range.end;
        segments.push(chunk);
    }
    segments.push(Segment { range: at..size_bytes, chunk: None, last: true });
    Ok(segments)
}

/// The bytes of one column, at their place in the file.
struct Window {
    start: u64,
    bytes: Bytes,
}

impl Window {
    fn from(&self, start: u64) -> ParquetResult<Bytes> {
        let skipped = start.checked_sub(self.start).and_then(|skipped| usize::try_from(skipped).ok());
        let skipped = skipped.filter(|skipped| *skipped <= self.bytes.len());
        skipped.map(|skipped| self.bytes.slice(skipped..)).ok_or_else(outside)
    }
}

impl Length for Window {
    fn len(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }
}

impl ChunkReader for Window {
    type T = Box<dyn Read>;

    fn get_read(&self, start: u64) -> ParquetResult<Self::T> {
        Ok(Box::new(self.from(start)?.reader()))
    }

    fn get_bytes(&self, start: u64, length: usize) -> ParquetResult<Bytes> {
        let mut bytes = self.from(start)?;
        if length > bytes.len() {
            return Err(outside());
        }
        Ok(bytes.split_to(length))
    }
}

fn outside() -> ParquetError {
    ParquetError::EOF("a page reaches beyond its column".to_owned())
}
