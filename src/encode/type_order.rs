//! Owns the end of a file with float columns in the form that every reader takes. Does not own row groups.
//!
//! The Parquet library declares such columns to be in IEEE 754 total order, a member of the footer's `ColumnOrder` that
//! older readers refuse the whole file for. So the end of the file is written once more, with every column in the order
//! of its type, and with the bounds as that order asks (Parquet format, `ColumnOrder` in `parquet.thrift`): no NaN, a
//! zero as a minimum is -0.0 and as a maximum +0.0.

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::Arc;

use parquet::basic::{BoundaryOrder, ColumnOrder, Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::page_index::PageIndexProvider;
use parquet::file::metadata::{
    ColumnChunkMetaData, ColumnIndexBuilder, LevelHistogram, ParquetMetaData, ParquetMetaDataWriter,
    RowGroupMetaData,
};
use parquet::file::page_index::column_index::{ColumnIndex, ColumnIndexMetaData, PrimitiveColumnIndex};
use parquet::file::page_index::offset_index::OffsetIndexMetaData;
use parquet::file::statistics::{Statistics, ValueStatistics};
use parquet::file::writer::TrackedWrite;

/// An element of the footer's `column_orders` in Thrift's compact protocol: field 1 or 2 of a union, an empty struct.
const TYPE_ORDER: [u8; 3] = [0x1c, 0, 0];
const TOTAL_ORDER: [u8; 3] = [0x2c, 0, 0];
/// Field 7 of a struct, the one after field 6: a list.
const ORDERS_FIELD: u8 = 0x19;
/// After the last order: the end of the struct, its length, and the format's magic bytes.
const AFTER_ORDERS_BYTES: usize = 1 + 4 + 4;
static ZEROS: [u8; 1 << 16] = [0; 1 << 16];

/// The end of a file, page indexes and footer, in the order of the types; `None` when it is so already. `metadata` is
/// what the file's writer finished with, and `start` where the end begins, bytes.
///
/// # Errors
/// When the metadata cannot be written, or the library writes it in a form that is not known here.
pub(super) fn in_type_order(
    metadata: ParquetMetaData,
    start: usize,
) -> Result<Option<Vec<u8>>, ParquetError> {
    let orders = metadata.file_metadata().column_orders().map_or(&[][..], Vec::as_slice);
    if !orders.contains(&ColumnOrder::IEEE_754_TOTAL_ORDER) {
        return Ok(None);
    }
    let leaves = orders.len();
    let metadata = with_bounds_of_type_order(metadata)?;
    let mut end = End { before: start, bytes: Vec::new() };
    let mut tracked = TrackedWrite::new(&mut end);
    // Positions in the metadata count from the beginning of the file.
    let mut before = start;
    while before > 0 {
        let zeros = &ZEROS[..before.min(ZEROS.len())];
        tracked.write_all(zeros)?;
        before -= zeros.len();
    }
    ParquetMetaDataWriter::new_with_tracked(tracked, &metadata)
        .with_preserve_page_index_locations(false)
        .finish()?;
    let mut bytes = end.bytes;
    declare_type_order(&mut bytes, leaves)?;
    Ok(Some(bytes))
}

/// Keeps what is written behind the first `before` bytes.
struct End {
    before: usize,
    bytes: Vec<u8>,
}

impl Write for End {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let passed = bytes.len().min(self.before);
        self.before -= passed;
        self.bytes.extend_from_slice(&bytes[passed..]);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Puts the one order in the place of the other; both are as long.
fn declare_type_order(file_end: &mut [u8], leaves: usize) -> Result<(), ParquetError> {
    let unknown = || ParquetError::General("the footer's column orders are not where they were".to_owned());
    let list = list_header(leaves);
    let length = list.len() + leaves * TYPE_ORDER.len();
    let until = file_end.len().checked_sub(AFTER_ORDERS_BYTES).ok_or_else(unknown)?;
    let from = until.checked_sub(length).ok_or_else(unknown)?;
    let (header, orders) = file_end[from..until].split_at_mut(list.len());
    if header != list {
        return Err(unknown());
    }
    for order in orders.chunks_exact_mut(TYPE_ORDER.len()) {
        if order == TOTAL_ORDER {
            order.copy_from_slice(&TYPE_ORDER);
        } else if order != TYPE_ORDER {
            return Err(unknown());
        }
    }
    Ok(())
}

/// The field's header, and that of a list of so many structs.
fn list_header(count: usize) -> Vec<u8> {
    const STRUCT: u8 = 0x0c;
    if let Ok(short @ ..15) = u8::try_from(count) {
        return vec![ORDERS_FIELD, short << 4 | STRUCT];
    }
    let mut header = vec![ORDERS_FIELD, 0xf0 | STRUCT];
    let mut rest = count;
    while rest >= 0x80 {
        header.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    header.push(rest as u8);
    header
}

fn with_bounds_of_type_order(metadata: ParquetMetaData) -> Result<ParquetMetaData, ParquetError> {
    let mut builder = metadata.into_builder();
    let indexes = builder.take_page_index();
    let mut changed = HashMap::new();
    let mut row_groups = Vec::new();
    for (group, row_group) in builder.take_row_groups().into_iter().enumerate() {
        if let Some(indexes) = &indexes {
            for column in 0..row_group.num_columns() {
                if let Some(index) = indexes.column_index(group, column).filter(|index| is_of_floats(index)) {
                    changed.insert((group, column), column_index(index)?);
                }
            }
        }
        row_groups.push(with_statistics_of_type_order(row_group)?);
    }
    let indexes = indexes.map(|inner| Arc::new(MendedIndex { inner, changed }) as Arc<dyn PageIndexProvider>);
    Ok(builder.set_row_groups(row_groups).set_page_index(indexes).build())
}

fn with_statistics_of_type_order(row_group: RowGroupMetaData) -> Result<RowGroupMetaData, ParquetError> {
    let mut builder = row_group.into_builder();
    let columns = builder.take_columns().into_iter().map(|chunk: ColumnChunkMetaData| {
        match chunk.statistics().and_then(statistics) {
            Some(statistics) => chunk.into_builder().set_statistics(statistics).build(),
            None => Ok(chunk),
        }
    });
    let columns = columns.collect::<Result<_, _>>()?;
    builder.set_column_metadata(columns).build()
}

/// Those of a float column; `None` for others.
fn statistics(found: &Statistics) -> Option<Statistics> {
    Some(match found {
        Statistics::Float(found) => {
            let bounds =
                bounds(found.min_opt().copied().map(f64::from), found.max_opt().copied().map(f64::from));
            let (min, max) = bounds.map(|(min, max)| (min as f32, max as f32)).unzip();
            let made = ValueStatistics::new(min, max, found.distinct_count(), found.null_count_opt(), false);
            Statistics::Float(made.with_nan_count(found.nan_count_opt()))
        }
        Statistics::Double(found) => {
            let (min, max) = bounds(found.min_opt().copied(), found.max_opt().copied()).unzip();
            let made = ValueStatistics::new(min, max, found.distinct_count(), found.null_count_opt(), false);
            Statistics::Double(made.with_nan_count(found.nan_count_opt()))
        }
        _ => return None,
    })
}

fn is_of_floats(index: &ColumnIndexMetaData) -> bool {
    matches!(index, ColumnIndexMetaData::FLOAT(_) | ColumnIndexMetaData::DOUBLE(_))
}

/// As [`float_index`]; others stay as they are.
fn column_index(found: &ColumnIndexMetaData) -> Result<Option<ColumnIndexMetaData>, ParquetError> {
    let order = found.get_boundary_order().unwrap_or(BoundaryOrder::UNORDERED);
    match found {
        ColumnIndexMetaData::FLOAT(index) => {
            float_index(index, Type::FLOAT, order, |bound| (bound as f32).to_le_bytes().to_vec())
        }
        ColumnIndexMetaData::DOUBLE(index) => {
            float_index(index, Type::DOUBLE, order, |bound| bound.to_le_bytes().to_vec())
        }
        other => Ok(Some(other.clone())),
    }
}

/// `None` when a page has nothing but NaN: it has no bounds then, and an index has bounds for every page.
fn float_index<T: Copy + Into<f64>>(
    found: &PrimitiveColumnIndex<T>,
    kind: Type,
    order: BoundaryOrder,
    bytes: impl Fn(f64) -> Vec<u8>,
) -> Result<Option<ColumnIndexMetaData>, ParquetError> {
    let pages: &ColumnIndex = found;
    let mut builder = ColumnIndexBuilder::new(kind);
    builder.set_boundary_order(order);
    for page in 0..pages.num_pages() as usize {
        let is_null = pages.is_null_page(page);
        let (min, max) = if is_null {
            (Vec::new(), Vec::new())
        } else {
            let bound = |value: Option<&T>| value.map(|value| (*value).into());
            let Some((min, max)) = bounds(bound(found.min_value(page)), bound(found.max_value(page))) else {
                return Ok(None);
            };
            (bytes(min), bytes(max))
        };
        let nulls = pages.null_count(page).unwrap_or_default();
        builder.append(is_null, min, max, nulls, Some(pages.nan_count(page).unwrap_or_default()));
        let histogram = |levels: Option<&[i64]>| levels.map(|levels| LevelHistogram::from(levels.to_vec()));
        builder.append_histograms(
            &histogram(pages.repetition_level_histogram(page)),
            &histogram(pages.definition_level_histogram(page)),
        );
    }
    builder.build().map(Some)
}

/// The bounds of values that are numbers; none when there is no such value.
fn bounds(min: Option<f64>, max: Option<f64>) -> Option<(f64, f64)> {
    let (min, max) = min.zip(max).filter(|(min, max)| !min.is_nan() && !max.is_nan())?;
    Some((if min == 0.0 { -0.0 } else { min }, if max == 0.0 { 0.0 } else { max }))
}

/// Page indexes of which some column indexes are others, or gone.
#[derive(Debug)]
struct MendedIndex {
    inner: Arc<dyn PageIndexProvider>,
    /// By row group and column.
    changed: HashMap<(usize, usize), Option<ColumnIndexMetaData>>,
}

impl PageIndexProvider for MendedIndex {
    fn has_offset_indexes(&self) -> bool {
        self.inner.has_offset_indexes()
    }

    fn has_column_indexes(&self) -> bool {
        self.inner.has_column_indexes()
    }

    fn column_index(&self, row_group: usize, column: usize) -> Option<&ColumnIndexMetaData> {
        match self.changed.get(&(row_group, column)) {
            Some(changed) => changed.as_ref(),
            None => self.inner.column_index(row_group, column),
        }
    }

    fn offset_index(&self, row_group: usize, column: usize) -> Option<&OffsetIndexMetaData> {
        self.inner.offset_index(row_group, column)
    }

    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{
        Array, ArrayRef, AsArray, Float32Array, Float64Array, Int64Array, ListArray, RecordBatch,
    };
    use arrow::datatypes::{Float32Type, Float64Type};
    use bytes::Bytes;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
    use parquet::basic::SortOrder;
    use parquet::file::metadata::{KeyValue, PageIndexPolicy, ParquetMetaDataReader};

    use super::*;
    use crate::config::settings::{ByteSize, ColumnSettings, Compression, Dictionary, ParquetSettings};
    use crate::encode::{Encoding, FileEncoder};

    type Bounds = Option<(f64, f64)>;

    /// A file with a row group for each list of values, which stand in three columns beside a whole number.
    fn file(groups: &[Vec<Option<f64>>]) -> Bytes {
        let settings = ParquetSettings {
            compression: Compression::Snappy,
            row_group_bytes: ByteSize(1 << 30),
            row_group_rows: 1_000_000.try_into().unwrap(),
            dictionary: Dictionary::Always,
            columns: [("number".to_owned(), ColumnSettings { dictionary: None, bloom_filter: true })].into(),
            sort_by: Vec::new(),
        };
        let mut encoder: Option<FileEncoder> = None;
        let mut bytes = Vec::new();
        for group in groups {
            let singles = group.iter().map(|value| value.map(|value| value as f32)).collect::<Float32Array>();
            let numbers = (0..group.len() as i64).collect::<Int64Array>();
            let lists = group.iter().map(|value| Some(vec![*value, Some(1.0)]));
            let rows = RecordBatch::try_from_iter_with_nullable([
                ("double", Arc::new(group.iter().copied().collect::<Float64Array>()) as ArrayRef, true),
                ("float", Arc::new(singles), true),
                ("number", Arc::new(numbers), false),
                ("list", Arc::new(ListArray::from_iter_primitive::<Float64Type, _, _>(lists)), true),
            ])
            .unwrap();
            let encoder = encoder.get_or_insert_with(|| {
                FileEncoder::new(&"t".into(), rows.schema(), &Encoding::new(&settings), &[]).unwrap()
            });
            encoder.write(&rows).unwrap();
            encoder.close_row_group().unwrap();
            bytes.extend(encoder.take_bytes().concat());
        }
        let end = encoder.unwrap().finish(vec![KeyValue::new("k".to_owned(), "v".to_owned())]).unwrap();
        bytes.extend(end.tail.concat());
        assert_eq!(bytes.len() as u64, end.size_bytes);
        bytes.into()
    }

    fn metadata(file: &Bytes) -> ParquetMetaData {
        ParquetMetaDataReader::new()
            .with_page_index_policy(PageIndexPolicy::Required)
            .parse_and_finish(file)
            .unwrap()
    }

    fn bits(bounds: Option<(f64, f64)>) -> Option<(u64, u64)> {
        bounds.map(|(min, max)| (min.to_bits(), max.to_bits()))
    }

    #[test]
    fn every_column_is_declared_in_the_order_of_its_type() {
        let file = file(&[vec![Some(1.5), None], vec![Some(-2.0)]]);
        let read = metadata(&file);
        let orders = read.file_metadata().column_orders().unwrap();
        assert_eq!(orders.len(), 4);
        for order in orders {
            assert_eq!(*order, ColumnOrder::TYPE_DEFINED_ORDER(SortOrder::SIGNED));
        }
        let mut expected = vec![ORDERS_FIELD, 0x4c];
        expected.extend(TYPE_ORDER.repeat(4));
        expected.push(0);
        assert_eq!(file[file.len() - 8 - expected.len()..file.len() - 8], expected);
        assert_eq!(read.file_metadata().key_value_metadata().unwrap()[0].key, "k");
        // Written after the row groups or among them, whatever else has a position must have the right one.
        let bloom = read.row_group(0).column(2);
        assert!(bloom.bloom_filter_offset().unwrap() > 0);
        let index = read.page_index().unwrap();
        assert!(index.is_complete());
        for (group, rows) in [(0, 2), (1, 1)] {
            assert_eq!(read.row_group(group).num_rows(), rows);
        }
    }

    #[test]
    fn fault_56_bounds_leave_nan_out_and_count_both_zeros() {
        let cases: [(&[f64], Bounds); 8] = [
            (&[1.0, -3.0], Some((-3.0, 1.0))),
            (&[0.0, 2.0], Some((-0.0, 2.0))),
            (&[-2.0, -0.0], Some((-2.0, 0.0))),
            (&[0.0], Some((-0.0, 0.0))),
            (&[f64::NAN, 5.0, f64::NAN], Some((5.0, 5.0))),
            (&[f64::NAN, -f64::NAN], None),
            (&[f64::NEG_INFINITY, f64::INFINITY], Some((f64::NEG_INFINITY, f64::INFINITY))),
            (&[], None),
        ];
        let groups: Vec<Vec<Option<f64>>> = cases
            .iter()
            .map(|(values, _)| values.iter().copied().map(Some).chain([None]).collect())
            .collect();
        let file = file(&groups);
        let read = metadata(&file);
        for (group, (values, expected)) in cases.iter().enumerate() {
            let Some(Statistics::Double(doubles)) = read.row_group(group).column(0).statistics() else {
                panic!()
            };
            let found = doubles.min_opt().copied().zip(doubles.max_opt().copied());
            assert_eq!(bits(found), bits(*expected), "{values:?}");
            let nans = values.iter().filter(|value| value.is_nan()).count();
            let nans = (!values.is_empty()).then_some(nans as u64);
            assert_eq!((doubles.null_count_opt(), doubles.nan_count_opt()), (Some(1), nans));
            let Some(Statistics::Float(singles)) = read.row_group(group).column(1).statistics() else {
                panic!()
            };
            let found =
                singles.min_opt().zip(singles.max_opt()).map(|(min, max)| ((*min).into(), (*max).into()));
            assert_eq!(bits(found), bits(*expected), "{values:?}");
            assert_eq!((singles.null_count_opt(), singles.nan_count_opt()), (Some(1), nans));
            let index = read.page_index().unwrap().column_index(group, 0);
            let pages = match index {
                Some(ColumnIndexMetaData::DOUBLE(pages)) => Some(pages),
                None => None,
                other => panic!("{other:?}"),
            };
            let of_nan_alone = expected.is_none() && !values.is_empty();
            assert_eq!(pages.is_none(), of_nan_alone, "{values:?}");
            if let Some(pages) = pages {
                let found = pages.min_value(0).copied().zip(pages.max_value(0).copied());
                assert_eq!(bits(found), bits(*expected), "{values:?}");
                let nans = nans.unwrap_or_default() as i64;
                assert_eq!((pages.null_count(0), pages.nan_count(0)), (Some(1), Some(nans)));
                assert_eq!(pages.definition_level_histogram(0), Some(&[1, values.len() as i64][..]));
            }
        }
    }

    #[test]
    fn pages_of_floats_are_in_the_order_that_is_told() {
        let rising: Vec<Option<f64>> = (0..50_000).map(|row| Some(f64::from(row))).collect();
        let falling = rising.iter().rev().copied().collect();
        let neither = rising.iter().map(|value| value.map(|value| (value - 25_000.0).abs())).collect();
        let file = file(&[rising, falling, neither]);
        let read = metadata(&file);
        let order = |group, column| {
            read.page_index().unwrap().column_index(group, column).unwrap().get_boundary_order().unwrap()
        };
        for column in [0, 1] {
            assert_eq!(order(0, column), BoundaryOrder::ASCENDING);
            assert_eq!(order(1, column), BoundaryOrder::DESCENDING);
            assert_eq!(order(2, column), BoundaryOrder::UNORDERED);
        }
    }

    #[test]
    fn fault_56_the_values_themselves_stay_as_they_are() {
        let values = vec![Some(-0.0), Some(f64::NAN), None, Some(0.0), Some(f64::INFINITY)];
        let file = file(std::slice::from_ref(&values));
        let mut reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap();
        let batch = reader.next().unwrap().unwrap();
        let doubles = batch.column(0).as_primitive::<Float64Type>();
        let singles = batch.column(1).as_primitive::<Float32Type>();
        for (row, value) in values.iter().enumerate() {
            assert_eq!(doubles.is_valid(row).then(|| doubles.value(row).to_bits()), value.map(f64::to_bits));
            assert_eq!(singles.is_valid(row), value.is_some());
        }
    }

    #[test]
    fn the_header_of_a_list_is_that_of_the_compact_protocol() {
        assert_eq!(list_header(14), [0x19, 0xec]);
        assert_eq!(list_header(15), [0x19, 0xfc, 15]);
        assert_eq!(list_header(300), [0x19, 0xfc, 0xac, 0x02]);
    }

    #[test]
    fn another_form_of_the_footer_is_refused() {
        let mut end = vec![0x19, 0x2c, 0x1c, 0, 0, 0x2c, 0, 0, 0];
        end.extend([0; 8]);
        assert!(declare_type_order(&mut end.clone(), 1).is_err());
        let mut foreign = end.clone();
        foreign[5] = 0x3c;
        assert!(declare_type_order(&mut foreign, 2).is_err());
        declare_type_order(&mut end, 2).unwrap();
        assert_eq!(end[2..8], TYPE_ORDER.repeat(2));
    }
}
