//! Owns the reading of one column of one row group: `_offset`, and no other byte of the file. Does not own what the values mean.

use std::io::Read;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use parquet::basic::Type as PhysicalType;
use parquet::column::reader::{ColumnReaderImpl, get_column_reader, get_typed_column_reader};
use parquet::data_type::Int64Type;
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::serialized_reader::SerializedPageReader;

use crate::storage::Store;

const OFFSET_COLUMN: &str = "_offset";
const VALUES_AT_ONCE: usize = 1 << 16;

/// Where the offsets of a row group are.
#[derive(Clone, Debug)]
pub(super) struct OffsetChunk {
    column: Box<ColumnChunkMetaData>,
    rows: usize,
}

/// The offsets of a row group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct OffsetValues {
    /// In the order of the rows, without nulls.
    pub(super) offsets: Vec<i64>,
    /// Rows without one.
    pub(super) nulls: u64,
}

/// The offset column of each row group; `None` when the file has no such column of 64-bit integers, one a row.
pub(super) fn offset_chunks(footer: &ParquetMetaData) -> Option<Vec<OffsetChunk>> {
    let schema = footer.file_metadata().schema_descr();
    let index = schema.columns().iter().position(|column| {
        column.path().parts() == [OFFSET_COLUMN]
            && column.physical_type() == PhysicalType::INT64
            && column.max_rep_level() == 0
    })?;
    let chunk = |group: &parquet::file::metadata::RowGroupMetaData| OffsetChunk {
        column: Box::new(group.column(index).clone()),
        rows: usize::try_from(group.num_rows()).unwrap_or(0),
    };
    Some(footer.row_groups().iter().map(chunk).collect())
}

impl OffsetChunk {
    /// Fetches and decodes the column.
    ///
    /// # Errors
    /// What the store says, or what is wrong with the bytes.
    pub(super) async fn read(self, store: &Store, path: &str) -> Result<OffsetValues, String> {
        let (start, length) = self.column.byte_range();
        let end = start.checked_add(length).ok_or("its footer points outside the file")?;
        let bytes = store.read(path, start..end).await.map_err(|error| error.to_string())?;
        if bytes.len() as u64 != length {
            return Err("its footer points outside the file".to_owned());
        }
        let decoding = tokio::task::spawn_blocking(move || self.decode(Window { start, bytes }));
        match decoding.await {
            Ok(decoded) => {
                decoded.map_err(|error| format!("its `{OFFSET_COLUMN}` column cannot be decoded: {error}"))
            }
            Err(_) => Err(format!("the Parquet reader panicked over its `{OFFSET_COLUMN}` column")),
        }
    }

    fn decode(&self, window: Window) -> ParquetResult<OffsetValues> {
        let pages = SerializedPageReader::new(Arc::new(window), &self.column, self.rows, None)?;
        let reader = get_column_reader(self.column.column_descr_ptr(), Box::new(pages));
        let mut reader: ColumnReaderImpl<Int64Type> = get_typed_column_reader(reader);
        let nullable = self.column.column_descr().max_def_level() > 0;
        let mut read = OffsetValues::default();
        let mut definitions = Vec::new();
        loop {
            definitions.clear();
            let levels = nullable.then_some(&mut definitions);
            let (rows, values, _) = reader.read_records(VALUES_AT_ONCE, levels, None, &mut read.offsets)?;
            if rows == 0 {
                return Ok(read);
            }
            read.nulls += rows.saturating_sub(values) as u64;
        }
    }
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
