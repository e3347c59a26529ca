//! Owns the proof that every setting of `parquet:` holds, whichever encoder a column has.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int32Array, ListArray, RecordBatch};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field};
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::CompressionCodec;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaDataReader};

use super::random::{Random, batch, schema};
use super::{opened, rows_of};
use crate::config::settings::{ByteSize, ColumnSettings, Compression, Dictionary, ParquetSettings};
use crate::encode::{Encoding, FileEncoder};

fn settings(compression: Compression, dictionary: Dictionary) -> ParquetSettings {
    ParquetSettings {
        compression,
        row_group_bytes: ByteSize(64 << 20),
        row_group_rows: 700.try_into().unwrap(),
        dictionary,
        columns: [].into(),
        sort_by: Vec::new(),
    }
}

fn file(settings: &ParquetSettings, batches: &[RecordBatch]) -> Bytes {
    let encoding = Encoding::new(settings);
    let mut encoder = FileEncoder::new(&"t".into(), batches[0].schema(), &encoding, batches).unwrap();
    let mut file = Vec::new();
    for batch in batches {
        encoder.write(batch).unwrap();
        file.extend(encoder.take_bytes().concat());
    }
    file.extend(encoder.finish(Vec::new()).unwrap().tail.concat());
    file.into()
}

#[test]
fn every_compression_and_kind_of_dictionary_holds_the_rows() {
    let mut random = Random::new(99);
    let compressions = [
        (Compression::None, CompressionCodec::UNCOMPRESSED),
        (Compression::Snappy, CompressionCodec::SNAPPY),
        (Compression::Gzip, CompressionCodec::GZIP),
        (Compression::Lz4, CompressionCodec::LZ4_RAW),
        (Compression::Brotli, CompressionCodec::BROTLI),
        (Compression::Zstd(3), CompressionCodec::ZSTD),
    ];
    for (compression, codec) in compressions {
        for dictionary in [Dictionary::Auto, Dictionary::Always, Dictionary::Never] {
            let schema = schema(&mut random);
            let batches = [batch(&mut random, &schema, 900), batch(&mut random, &schema, 900)];
            let (metadata, reader) = opened(&file(&settings(compression, dictionary), &batches));
            assert_eq!(metadata.num_row_groups(), 3);
            let group = metadata.row_group(0);
            assert!(group.columns().iter().all(|column| column.compression_codec() == codec));
            let found = rows_of(reader);
            for (rows, from) in batches.iter().zip([0, 900]) {
                assert_eq!(found.slice(from, 900).columns(), rows.columns(), "{codec:?} {dictionary:?}");
            }
        }
    }
}

#[test]
fn bloom_filters_and_dictionaries_of_single_columns_are_there_where_asked_for() {
    let rows =
        Arc::new((0..5000).map(|row| Some(format!("n{}", row % 50))).collect::<arrow::array::StringArray>());
    let batch =
        RecordBatch::try_from_iter([("a", rows.clone() as _), ("b", rows.clone() as _), ("c", rows as _)])
            .unwrap();
    let mut settings = settings(Compression::Snappy, Dictionary::Always);
    settings.columns = [
        ("a".to_owned(), ColumnSettings { dictionary: None, bloom_filter: true }),
        ("b".to_owned(), ColumnSettings { dictionary: Some(Dictionary::Never), bloom_filter: false }),
    ]
    .into();
    let file = file(&settings, std::slice::from_ref(&batch));
    let (metadata, _) = opened(&file);
    let columns = metadata.row_group(0).columns();
    assert_eq!(
        columns.iter().map(|column| column.bloom_filter_offset().is_some()).collect::<Vec<_>>(),
        [true, false, false]
    );
    let dictionaries: Vec<_> =
        columns.iter().map(|column| column.dictionary_page_offset().is_some()).collect();
    assert_eq!(dictionaries, [true, false, true]);
    let filter = ParquetRecordBatchReaderBuilder::try_new(file)
        .unwrap()
        .get_row_group_column_bloom_filter(0, 0)
        .unwrap()
        .unwrap();
    let names = batch.column(0).as_string::<i32>();
    assert!((0..50).all(|row| filter.check(names.value(row))));
}

#[test]
fn pages_in_lists_are_never_said_to_hold_nulls_alone_when_they_do_not() {
    // One value and one null a row: as many nulls as rows.
    let values: Int32Array = (0..4_000).map(|at| (at % 2 == 0).then_some(at)).collect();
    let element = Arc::new(Field::new("element", DataType::Int32, true));
    let ends = OffsetBuffer::from_lengths(std::iter::repeat_n(2, 2_000));
    let lists = ListArray::new(element, ends, Arc::new(values), None);
    let rows = RecordBatch::try_from_iter([("a", Arc::new(lists) as ArrayRef)]).unwrap();
    for (compression, indexed) in [(Compression::Snappy, true), (Compression::Zstd(3), false)] {
        let mut settings = settings(compression, Dictionary::Never);
        settings.row_group_rows = 2_000.try_into().unwrap();
        let file = file(&settings, std::slice::from_ref(&rows));
        let metadata = ParquetMetaDataReader::new()
            .with_page_index_policy(PageIndexPolicy::Optional)
            .parse_and_finish(&file)
            .unwrap();
        let pages = metadata.page_index_for_row_group(0);
        let index = pages.column_index(0);
        assert_eq!(index.is_some(), indexed, "{compression:?}");
        assert!(index.is_none_or(|index| !index.is_null_page(0)), "{compression:?}");
        let statistics = metadata.row_group(0).column(0).statistics().unwrap();
        assert_eq!(statistics.min_bytes_opt(), Some(&0_i32.to_le_bytes()[..]));
        assert_eq!(statistics.null_count_opt(), Some(2_000));
    }
}

#[test]
fn a_page_has_a_limited_number_of_entries_though_they_take_no_bytes() {
    let (rows, each) = (9, 300_000);
    let element = Arc::new(Field::new("element", DataType::Int32, true));
    let ends = OffsetBuffer::from_lengths(std::iter::repeat_n(each, rows));
    let lists = ListArray::new(element, ends, Arc::new(Int32Array::new_null(rows * each)), None);
    let batch = RecordBatch::try_from_iter([("a", Arc::new(lists) as ArrayRef)]).unwrap();
    let file = file(&settings(Compression::Snappy, Dictionary::Always), std::slice::from_ref(&batch));
    let (metadata, reader) = opened(&file);
    let pages = metadata.page_index_for_row_group(0);
    let firsts: Vec<i64> = pages.page_locations(0).unwrap().iter().map(|page| page.first_row_index).collect();
    assert_eq!(firsts, [0, 4, 8]);
    assert_eq!(rows_of(reader).columns(), batch.columns());
}
