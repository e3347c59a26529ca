//! Owns the finished pages of a column chunk and what the footer says of them: sizes, encodings, statistics, the column
//! and the offset index. Does not own how values become bytes.

use std::cmp::Ordering;
use std::io::{self, Read};

use bytes::{Buf, Bytes};
use parquet::basic::{BoundaryOrder, Compression, Encoding, PageType, Type};
use parquet::column::page::{CompressedPage, Page, PageWriter};
use parquet::column::writer::ColumnCloseResult;
use parquet::data_type::ByteArray;
use parquet::errors::ParquetError;
use parquet::file::metadata::{
    ColumnChunkMetaData, ColumnIndexBuilder, LevelHistogram, OffsetIndexBuilder, PageEncodingStats,
};
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::statistics::{Statistics, ValueStatistics};
use parquet::file::writer::{SerializedPageWriter, TrackedWrite};
use parquet::schema::types::ColumnDescPtr;

use super::bounds::{cut_greatest, cut_least};
use super::compressor::Compressor;
use super::values::PageFacts;
use crate::encode::properties::is_text;

/// The format counts the values of a page with a signed number.
const I32_MAX: u32 = i32::MAX as u32;
/// A page header is about this large.
const HEADER_BYTES: usize = 64;

/// The pages of one column in one row group.
pub(super) struct Chunk {
    column: ColumnDescPtr,
    codec: Compression,
    index_limit: Option<usize>,
    statistics_limit: Option<usize>,
    dictionary: Option<FinishedPage>,
    pages: Vec<FinishedPage>,
    bytes: usize,
    uncompressed_bytes: usize,
    entries: usize,
    rows: usize,
    nulls: usize,
    string_bytes: Option<i64>,
    bounds: Option<(Vec<u8>, Vec<u8>)>,
    index: ColumnIndexBuilder,
    offsets: OffsetIndexBuilder,
    last: Option<(Vec<u8>, Vec<u8>)>,
    ascending: bool,
    descending: bool,
    definition: Option<LevelHistogram>,
    repetition: Option<LevelHistogram>,
}

struct FinishedPage {
    /// Header and body.
    bytes: Bytes,
    encoding: Encoding,
}

/// How much a page has.
pub(super) struct PageCounts {
    pub(super) entries: usize,
    pub(super) values: usize,
    pub(super) rows: usize,
    pub(super) definition: Option<LevelHistogram>,
    pub(super) repetition: Option<LevelHistogram>,
}

impl Chunk {
    pub(super) fn new(column: ColumnDescPtr, properties: &WriterProperties) -> Self {
        Self {
            codec: properties.compression(column.path()),
            index_limit: properties.column_index_truncate_length(),
            statistics_limit: properties.statistics_truncate_length(),
            dictionary: None,
            pages: Vec::new(),
            bytes: 0,
            uncompressed_bytes: 0,
            entries: 0,
            rows: 0,
            nulls: 0,
            string_bytes: None,
            bounds: None,
            index: ColumnIndexBuilder::new(column.physical_type()),
            offsets: OffsetIndexBuilder::new(),
            last: None,
            ascending: true,
            descending: true,
            definition: LevelHistogram::try_new(column.max_def_level()),
            repetition: LevelHistogram::try_new(column.max_rep_level()),
            column,
        }
    }

    /// Appends a data page; `body` is levels and values.
    pub(super) fn add_page(
        &mut self,
        body: &[u8],
        facts: PageFacts,
        counts: &PageCounts,
        compressor: &mut Compressor,
    ) -> Result<(), ParquetError> {
        let Ok(num_values @ ..=I32_MAX) = u32::try_from(counts.entries) else {
            let reason = format!("a row with {} entries is too large for a page", counts.entries);
            return Err(ParquetError::General(reason));
        };
        let page = Page::DataPage {
            buf: compressor.compress(body)?.into(),
            num_values,
            encoding: facts.encoding,
            def_level_encoding: Encoding::RLE,
            rep_level_encoding: Encoding::RLE,
            statistics: None,
        };
        let page = self.finish_page(page, body.len(), facts.encoding)?;
        self.pages.push(page);
        self.entries += counts.entries;
        self.rows += counts.rows;
        self.nulls += counts.entries - counts.values;
        if let Some(bytes) = facts.string_bytes {
            *self.string_bytes.get_or_insert(0) += bytes;
        }
        add(&mut self.definition, counts.definition.as_ref());
        add(&mut self.repetition, counts.repetition.as_ref());
        self.index_page(facts, counts);
        Ok(())
    }

    /// Sets the dictionary page.
    pub(super) fn set_dictionary(
        &mut self,
        values: &[u8],
        count: usize,
        compressor: &mut Compressor,
    ) -> Result<(), ParquetError> {
        let page = Page::DictionaryPage {
            buf: compressor.compress(values)?.into(),
            num_values: count as u32,
            encoding: Encoding::PLAIN,
            is_sorted: false,
        };
        self.dictionary = Some(self.finish_page(page, values.len(), Encoding::PLAIN)?);
        Ok(())
    }

    /// Size of the finished pages, bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Memory held, bytes: the finished pages and the bounds, which are kept whole.
    pub(super) fn memory_bytes(&self) -> usize {
        let bounds =
            self.bounds.iter().chain(&self.last).map(|(least, greatest)| least.len() + greatest.len());
        self.bytes + bounds.sum::<usize>()
    }

    /// The chunk in the order of the file, and what the footer says of it.
    pub(super) fn close(mut self) -> Result<(ChunkBytes, ColumnCloseResult), ParquetError> {
        let mut at = self.dictionary.as_ref().map_or(0, |page| page.bytes.len() as i64);
        let data_offset = at;
        for page in &self.pages {
            self.offsets.append_offset_and_size(at, page.bytes.len() as i32);
            at += page.bytes.len() as i64;
        }
        let order = match (self.ascending, self.descending) {
            (true, _) => BoundaryOrder::ASCENDING,
            (false, true) => BoundaryOrder::DESCENDING,
            (false, false) => BoundaryOrder::UNORDERED,
        };
        self.index.set_boundary_order(order);
        let mut encodings = vec![Encoding::RLE];
        encodings.extend(self.dictionary.iter().chain(&self.pages).map(|page| page.encoding));
        let statistics = self.statistics();
        let metadata = ColumnChunkMetaData::builder(self.column.clone())
            .set_compression(self.codec)
            .set_encodings(encodings)
            .set_page_encoding_stats(self.encoding_stats())
            .set_total_compressed_size(self.bytes as i64)
            .set_total_uncompressed_size(self.uncompressed_bytes as i64)
            .set_num_values(self.entries as i64)
            .set_data_page_offset(data_offset)
            .set_dictionary_page_offset(self.dictionary.as_ref().map(|_| 0))
            .set_statistics(statistics)
            .set_unencoded_byte_array_data_bytes(self.string_bytes)
            .set_repetition_level_histogram(self.repetition)
            .set_definition_level_histogram(self.definition)
            .build()?;
        let result = ColumnCloseResult {
            bytes_written: self.bytes as u64,
            rows_written: self.rows as u64,
            metadata,
            bloom_filter: None,
            column_index: Some(self.index.build()?),
            offset_index: Some(self.offsets.build()),
        };
        let pieces = self.dictionary.into_iter().chain(self.pages).map(|page| page.bytes).collect();
        Ok((ChunkBytes { pieces, len: self.bytes }, result))
    }

    fn finish_page(
        &mut self,
        page: Page,
        body_bytes: usize,
        encoding: Encoding,
    ) -> Result<FinishedPage, ParquetError> {
        let page = CompressedPage::new(page, body_bytes);
        let mut sink = TrackedWrite::new(Vec::with_capacity(page.compressed_size() + HEADER_BYTES));
        let written = SerializedPageWriter::new(&mut sink).write_page(page)?;
        let mut bytes = sink.into_inner()?;
        bytes.shrink_to_fit();
        self.bytes += bytes.len();
        self.uncompressed_bytes += written.uncompressed_size;
        Ok(FinishedPage { bytes: bytes.into(), encoding })
    }

    fn index_page(&mut self, facts: PageFacts, counts: &PageCounts) {
        let nulls = (counts.entries - counts.values) as i64;
        match facts.bounds {
            None => self.index.append(true, Vec::new(), Vec::new(), nulls, None),
            Some((least, greatest)) => {
                let text = is_text(&self.column);
                self.index.append(
                    false,
                    self.cut(&least, self.index_limit, |value, limit| cut_least(value, limit, text)).0,
                    self.cut(&greatest, self.index_limit, |value, limit| cut_greatest(value, limit, text)).0,
                    nulls,
                    None,
                );
                self.note_bounds(least, greatest);
            }
        }
        self.index.append_histograms(&counts.repetition, &counts.definition);
        self.offsets.append_row_count(counts.rows as i64);
        self.offsets.append_unencoded_byte_array_data_bytes(facts.string_bytes);
    }

    fn note_bounds(&mut self, least: Vec<u8>, greatest: Vec<u8>) {
        let order = |a: &[u8], b: &[u8]| compare(self.column.physical_type(), a, b);
        if let Some((last_least, last_greatest)) = &self.last {
            let orders = [order(last_least, &least), order(last_greatest, &greatest)];
            self.ascending &= !orders.contains(&Ordering::Greater);
            self.descending &= !orders.contains(&Ordering::Less);
        }
        let whole = match self.bounds.take() {
            None => (least.clone(), greatest.clone()),
            Some((all_least, all_greatest)) => (
                if order(&least, &all_least).is_lt() { least.clone() } else { all_least },
                if order(&greatest, &all_greatest).is_gt() { greatest.clone() } else { all_greatest },
            ),
        };
        self.bounds = Some(whole);
        self.last = Some((least, greatest));
    }

    /// Byte strings are cut; numbers stay.
    fn cut(
        &self,
        value: &[u8],
        limit: Option<usize>,
        cut: impl FnOnce(&[u8], Option<usize>) -> (Vec<u8>, bool),
    ) -> (Vec<u8>, bool) {
        cut(value, limit.filter(|_| self.column.physical_type() == Type::BYTE_ARRAY))
    }

    fn statistics(&self) -> Statistics {
        let nulls = Some(self.nulls as u64);
        let (least, greatest) = match &self.bounds {
            Some((least, greatest)) => (Some(least.as_slice()), Some(greatest.as_slice())),
            None => (None, None),
        };
        match self.column.physical_type() {
            Type::BYTE_ARRAY => {
                let (text, limit) = (is_text(&self.column), self.statistics_limit);
                let least = least.map(|value| cut_least(value, limit, text));
                let greatest = greatest.map(|value| cut_greatest(value, limit, text));
                let exact = |cut: &Option<(Vec<u8>, bool)>| cut.as_ref().is_none_or(|(_, shorter)| !shorter);
                let (least_exact, greatest_exact) = (exact(&least), exact(&greatest));
                let value = |cut: Option<(Vec<u8>, bool)>| cut.map(|(value, _)| ByteArray::from(value));
                ValueStatistics::new(value(least), value(greatest), None, nulls, false)
                    .with_min_is_exact(least_exact)
                    .with_max_is_exact(greatest_exact)
                    .into()
            }
            // Readers from before the order of columns was written down know these two by other names.
            Type::INT32 => {
                let value = |bytes: Option<&[u8]>| bytes.map(|bytes| integer(bytes) as i32);
                ValueStatistics::new(value(least), value(greatest), None, nulls, false)
                    .with_backwards_compatible_min_max(true)
                    .into()
            }
            Type::INT64 => {
                ValueStatistics::new(least.map(integer), greatest.map(integer), None, nulls, false)
                    .with_backwards_compatible_min_max(true)
                    .into()
            }
            Type::BOOLEAN => {
                let value = |bytes: Option<&[u8]>| bytes.map(|bytes| bytes == [1]);
                ValueStatistics::new(value(least), value(greatest), None, nulls, false)
                    .with_backwards_compatible_min_max(self.column.sort_order().is_signed())
                    .into()
            }
            other => unreachable!("{other} columns are not encoded here"),
        }
    }

    fn encoding_stats(&self) -> Vec<PageEncodingStats> {
        let mut stats: Vec<PageEncodingStats> = Vec::new();
        let of = |page_type, page: &FinishedPage| PageEncodingStats {
            page_type,
            encoding: page.encoding,
            count: 1,
        };
        stats.extend(self.dictionary.iter().map(|page| of(PageType::DICTIONARY_PAGE, page)));
        for page in &self.pages {
            match stats.last_mut() {
                Some(last) if last.page_type == PageType::DATA_PAGE && last.encoding == page.encoding => {
                    last.count += 1;
                }
                _ => stats.push(of(PageType::DATA_PAGE, page)),
            }
        }
        stats
    }
}

fn add(sum: &mut Option<LevelHistogram>, page: Option<&LevelHistogram>) {
    if let (Some(sum), Some(page)) = (sum, page) {
        sum.add(page);
    }
}

/// The order of a column's values, given as their plain bytes.
fn compare(physical: Type, a: &[u8], b: &[u8]) -> Ordering {
    match physical {
        Type::INT32 | Type::INT64 => integer(a).cmp(&integer(b)),
        _ => a.cmp(b),
    }
}

/// An integer of either width.
fn integer(bytes: &[u8]) -> i64 {
    match bytes.first_chunk::<8>() {
        Some(bytes) => i64::from_le_bytes(*bytes),
        None => bytes.first_chunk::<4>().map_or(0, |bytes| i64::from(i32::from_le_bytes(*bytes))),
    }
}

/// The bytes of a finished chunk.
pub(super) struct ChunkBytes {
    pieces: Vec<Bytes>,
    len: usize,
}

impl Length for ChunkBytes {
    fn len(&self) -> u64 {
        self.len as u64
    }
}

impl ChunkReader for ChunkBytes {
    type T = PieceReader;

    fn get_read(&self, start: u64) -> Result<PieceReader, ParquetError> {
        assert_eq!(start, 0, "a chunk is read from its beginning");
        Ok(PieceReader { pieces: self.pieces.clone().into_iter(), open: Bytes::new() })
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let mut bytes = vec![0; length];
        let mut reader = self.get_read(0)?;
        io::copy(&mut reader.by_ref().take(start), &mut io::sink())?;
        reader.read_exact(&mut bytes)?;
        Ok(bytes.into())
    }
}

/// Reads one piece after the other.
pub(super) struct PieceReader {
    pieces: std::vec::IntoIter<Bytes>,
    open: Bytes,
}

impl Read for PieceReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.open.is_empty() {
            let Some(next) = self.pieces.next() else { return Ok(0) };
            self.open = next;
        }
        let len = self.open.len().min(out.len());
        self.open.copy_to_slice(&mut out[..len]);
        Ok(len)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parquet::schema::parser::parse_message_type;
    use parquet::schema::types::SchemaDescriptor;

    use super::*;

    #[test]
    fn old_readers_find_the_bounds_of_what_they_order_alike() {
        for (column, known) in [
            ("int32 c", true),
            ("int64 c", true),
            ("int64 c (TIMESTAMP_MICROS)", true),
            ("binary c (UTF8)", false),
            ("binary c", false),
        ] {
            let schema = parse_message_type(&format!("message m {{ required {column}; }}")).unwrap();
            let schema = SchemaDescriptor::new(Arc::new(schema));
            let chunk = Chunk::new(schema.column(0), &WriterProperties::default());
            assert_eq!(chunk.statistics().is_min_max_backwards_compatible(), known, "{column}");
        }
    }
}
