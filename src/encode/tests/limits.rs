//! Owns the proof that pages, dictionaries and row groups keep within their limits, and that what the footer says of their
//! order is so.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int32Array, Int64Array, ListArray, RecordBatch, StringArray};
use arrow::datatypes::Int64Type;
use bytes::Bytes;
use parquet::arrow::ArrowSchemaConverter;
use parquet::basic::{BoundaryOrder, Encoding, PageType};
use parquet::column::page::Page;
use parquet::file::properties::{WriterProperties, WriterPropertiesBuilder};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::file::writer::SerializedFileWriter;

use super::{encoded, opened};
use crate::encode::row_group::RowGroupEncoder;

fn one_column(array: ArrayRef) -> RecordBatch {
    RecordBatch::try_from_iter([("column", array)]).unwrap()
}

fn file_of(batch: &RecordBatch, properties: &WriterProperties) -> Bytes {
    encoded(&batch.schema(), std::slice::from_ref(batch), properties, true)
}

fn properties() -> WriterPropertiesBuilder {
    WriterProperties::builder().set_dictionary_enabled(false)
}

/// Rows and bytes of the pages of a file's only column.
fn pages(file: &Bytes) -> Vec<(usize, usize)> {
    let (metadata, _) = opened(file);
    let index = metadata.page_index_for_row_group(0);
    let locations = index.page_locations(0).unwrap();
    let ends = locations.iter().skip(1).map(|page| page.first_row_index);
    let ends = ends.chain([metadata.file_metadata().num_rows()]);
    let rows = locations.iter().zip(ends).map(|(page, end)| (end - page.first_row_index) as usize);
    rows.zip(locations).map(|(rows, page)| (rows, page.compressed_page_size as usize)).collect()
}

/// Texts that have nothing in common, of so many bytes.
fn texts(rows: usize, bytes: usize) -> ArrayRef {
    let rest = "x".repeat(bytes.saturating_sub(8));
    Arc::new((0..rows).map(|row| Some(format!("{row:08}{rest}"))).collect::<StringArray>())
}

#[test]
fn a_page_has_as_many_rows_as_allowed_and_no_more() {
    let properties = properties().set_data_page_row_count_limit(300).build();
    let numbers: ArrayRef = Arc::new((0..10_000).collect::<Int64Array>());
    // Lists of one element, and of none and several: two ways of finding where a row begins.
    let full = (0..10_000).map(|row| Some(vec![Some(row); 1 + row as usize % 3]));
    let full: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(full));
    let mixed = (0..10_000).map(|row| Some(vec![Some(row); row as usize % 3]));
    let mixed: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(mixed));
    for column in [numbers, full, mixed] {
        // Batches that end within pages.
        let batches = [0, 130, 3_000].map(|from| one_column(column.slice(from, 7_000 - from)));
        let file = encoded(&batches[0].schema(), &batches, &properties, true);
        let rows: Vec<usize> = pages(&file).iter().map(|(rows, _)| *rows).collect();
        let (last, others) = rows.split_last().unwrap();
        assert!(others.iter().all(|rows| *rows == 300) && *last <= 300, "{rows:?}");
    }
}

#[test]
fn a_page_is_little_larger_than_allowed() {
    const LIMIT: usize = 200_000;
    let properties = properties().set_data_page_size_limit(LIMIT).build();
    for (rows, bytes) in [(100_000, 20), (5_000, 4_000), (30, 300_000)] {
        let pages = pages(&file_of(&one_column(texts(rows, bytes)), &properties));
        let (_, others) = pages.split_last().unwrap();
        // Looked at after each step, which has 128 KiB or one row.
        let most = LIMIT + (128 << 10).max(bytes + 4) + 100;
        assert!(pages.iter().all(|(_, size)| *size <= most), "{pages:?}");
        assert!(others.iter().all(|(_, size)| *size >= LIMIT), "{pages:?}");
    }
}

#[test]
fn a_dictionary_that_grows_too_large_is_given_up() {
    let properties = WriterProperties::builder().set_dictionary_page_size_limit(50_000).build();
    let numbers: ArrayRef = Arc::new((0..200_000).collect::<Int64Array>());
    for column in [texts(100_000, 20), numbers] {
        let file = file_of(&one_column(column), &properties);
        let (metadata, _) = opened(&file);
        let stats = metadata.row_group(0).column(0).page_encoding_stats().unwrap().clone();
        let kinds: Vec<_> = stats.iter().map(|pages| (pages.page_type, pages.encoding)).collect();
        assert_eq!(
            kinds,
            [
                (PageType::DICTIONARY_PAGE, Encoding::PLAIN),
                (PageType::DATA_PAGE, Encoding::RLE_DICTIONARY),
                (PageType::DATA_PAGE, Encoding::PLAIN)
            ]
        );
        let column = metadata.row_group(0).column(0);
        let dictionary = column.data_page_offset() - column.dictionary_page_offset().unwrap();
        assert!(dictionary < 150_000, "{dictionary} bytes");
    }
}

#[test]
fn a_dictionary_page_says_how_many_values_it_has_and_that_they_are_in_no_order() {
    let names = (0..1_000).map(|row| Some(format!("n{}", row % 37))).collect::<StringArray>();
    let numbers = (0..1_000).map(|row| -row % 37).collect::<Int32Array>();
    for column in [Arc::new(names) as ArrayRef, Arc::new(numbers)] {
        let file = file_of(&one_column(column), &WriterProperties::default());
        let reader = SerializedFileReader::new(file).unwrap();
        let first = reader.get_row_group(0).unwrap().get_column_page_reader(0).unwrap().get_next_page();
        let Some(Page::DictionaryPage { num_values, is_sorted, .. }) = first.unwrap() else { panic!() };
        assert_eq!((num_values, is_sorted), (37, false));
    }
}

#[test]
fn the_order_of_pages_is_told() {
    let properties = properties().set_data_page_row_count_limit(100).build();
    let told = |order: &dyn Fn(i64) -> i64| {
        let numbers = || (0..1_000).map(order);
        let columns: [ArrayRef; 3] = [
            Arc::new(numbers().collect::<Int64Array>()),
            Arc::new(numbers().map(|number| number as i32).collect::<Int32Array>()),
            Arc::new(numbers().map(|number| Some(format!("{:05}", number + 5_000))).collect::<StringArray>()),
        ];
        columns.map(|column| {
            let (metadata, _) = opened(&file_of(&one_column(column), &properties));
            let index = metadata.page_index_for_row_group(0);
            index.column_index(0).unwrap().get_boundary_order().unwrap()
        })
    };
    // Across zero: the bytes of a negative number look greater.
    assert_eq!(told(&|row| row - 500), [BoundaryOrder::ASCENDING; 3]);
    assert_eq!(told(&|row| 500 - row), [BoundaryOrder::DESCENDING; 3]);
    assert_eq!(told(&|row| row % 300), [BoundaryOrder::UNORDERED; 3]);
    // The least values ascend and the greatest do not.
    let peak = |row: i64| if row == 250 { 4_000 } else { row };
    assert_eq!(told(&peak), [BoundaryOrder::UNORDERED; 3]);
    assert_eq!(told(&|_| 7), [BoundaryOrder::ASCENDING; 3]);
}

#[test]
fn the_size_of_an_open_row_group_is_about_that_of_the_finished_one() {
    for dictionary in [false, true] {
        let batch = one_column(texts(20_000, 30));
        let properties = Arc::new(
            WriterProperties::builder()
                .set_dictionary_enabled(dictionary)
                .set_data_page_row_count_limit(1_900)
                .build(),
        );
        let columns = ArrowSchemaConverter::new().convert(&batch.schema()).unwrap();
        let mut file = SerializedFileWriter::new(Vec::new(), columns.root_schema_ptr(), properties).unwrap();
        let mut rows = RowGroupEncoder::new(batch.schema(), &file, true);
        rows.write(&batch, 0).unwrap();
        assert_eq!(rows.rows(), 20_000);
        let (estimate, memory) = (rows.estimated_bytes(), rows.memory_bytes());
        rows.close(&mut file).unwrap();
        let size = file.bytes_written();
        assert!(estimate.abs_diff(size) < size / 10, "{estimate} for {size}");
        assert!(memory >= size * 9 / 10, "{memory} for {size}");
        assert_eq!((rows.rows(), rows.estimated_bytes(), rows.memory_bytes()), (0, 0, 0));
    }
}

#[test]
fn rows_of_another_type_are_refused() {
    let batch = one_column(texts(10, 8));
    let other = one_column(Arc::new((0..10).collect::<Int64Array>()) as ArrayRef);
    let columns = ArrowSchemaConverter::new().convert(&batch.schema()).unwrap();
    let file = SerializedFileWriter::new(Vec::new(), columns.root_schema_ptr(), Arc::default()).unwrap();
    let mut rows = RowGroupEncoder::new(batch.schema(), &file, true);
    let error = rows.write(&other, 0).unwrap_err().to_string();
    assert!(error.contains("column column is of type Int64, not Utf8"), "{error}");
    assert!(rows.write(&batch, 0).is_ok());
}
