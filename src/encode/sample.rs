//! Owns the guess, from the first rows of a file, whether a dictionary pays for a column. Does not own what becomes of
//! the guess ([`super::dictionary`]).

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StructArray};
use arrow::datatypes::DataType;
use xxhash_rust::xxh3::xxh3_64;

/// Values of a column that are looked at.
const SAMPLE_VALUES: usize = 8192;
/// Fewer values than this say nothing about how often values repeat.
const FEWEST_VALUES: usize = 512;
/// The writer gives a dictionary up when it is larger than this.
pub(super) const DICTIONARY_LIMIT_BYTES: f64 = (1 << 20) as f64;
/// A dictionary must make the column at least this much smaller.
const WORTHWHILE: f64 = 0.85;
/// What Snappy and its like do to plain values is not known here; short repeats at least they find themselves.
const LENGTH_PREFIX_BYTES: f64 = 4.0;

/// For each leaf column of the batches, in the order of a file's columns, whether a dictionary is likely to make a row
/// group of `row_group_rows` smaller.
pub(super) fn columns_that_gain(batches: &[RecordBatch], row_group_rows: f64) -> Vec<bool> {
    let Some(first) = batches.first() else { return Vec::new() };
    let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
    let mut samples: Vec<Sample> = Vec::new();
    for batch in batches {
        let mut leaf = 0;
        for column in batch.columns() {
            add_leaves(column, &mut samples, &mut leaf);
        }
    }
    assert!(samples.len() >= first.num_columns(), "every column has a leaf");
    samples.into_iter().map(|sample| sample.gains(row_group_rows / rows.max(1) as f64)).collect()
}

/// What was seen of one leaf column.
#[derive(Default)]
struct Sample {
    hashes: Vec<u64>,
    sampled_bytes: usize,
    /// Values there were, also those not looked at.
    values: usize,
    /// Booleans and the like: a dictionary is not to be had.
    without_dictionary: bool,
}

impl Sample {
    /// `times`: how many times as many rows a row group has.
    fn gains(mut self, times: f64) -> bool {
        let seen = self.hashes.len();
        if self.without_dictionary || seen < FEWEST_VALUES {
            return !self.without_dictionary;
        }
        let values = self.values as f64 * times.max(1.0);
        let value_bytes = self.sampled_bytes as f64 / seen as f64;
        let distinct = expected_distinct(&mut self.hashes, values);
        let dictionary_bytes = distinct * value_bytes;
        let index_bytes = values * distinct.max(2.0).log2().ceil() / 8.0;
        dictionary_bytes < DICTIONARY_LIMIT_BYTES
            && dictionary_bytes + index_bytes < WORTHWHILE * values * value_bytes
    }
}

/// Distinct values to expect among `values`, from the hashes of a sample: Chao's estimate of how many there are at all,
/// then how many of those turn up.
fn expected_distinct(hashes: &mut [u64], values: f64) -> f64 {
    hashes.sort_unstable();
    let (mut distinct, mut once, mut twice) = (0.0, 0.0, 0.0);
    for run in hashes.chunk_by(|a, b| a == b) {
        distinct += 1.0;
        once += f64::from(u8::from(run.len() == 1));
        twice += f64::from(u8::from(run.len() == 2));
    }
    let all: f64 = distinct + once * (once - 1.0).max(0.0) / (2.0 * (twice + 1.0));
    all * (1.0 - (-values / all).exp())
}

/// Adds the values of every leaf under `array`, depth first: the order of the columns of a Parquet file.
fn add_leaves(array: &ArrayRef, samples: &mut Vec<Sample>, leaf: &mut usize) {
    match array.data_type() {
        DataType::Struct(_) => add_members(array.as_struct(), samples, leaf),
        DataType::List(_) => add_leaves(array.as_list::<i32>().values(), samples, leaf),
        DataType::Map(_, _) => add_members(array.as_map().entries(), samples, leaf),
        _ => {
            if samples.len() == *leaf {
                samples.push(Sample::default());
            }
            add_values(array, &mut samples[*leaf]);
            *leaf += 1;
        }
    }
}

fn add_members(members: &StructArray, samples: &mut Vec<Sample>, leaf: &mut usize) {
    for member in members.columns() {
        add_leaves(member, samples, leaf);
    }
}

fn add_values(array: &ArrayRef, sample: &mut Sample) {
    sample.values += array.len() - array.null_count();
    let data = array.to_data();
    match array.data_type() {
        DataType::Boolean | DataType::Null => sample.without_dictionary = true,
        DataType::Utf8 | DataType::Binary => {
            let ends: &[i32] = &data.buffers()[0].typed_data::<i32>()[data.offset()..];
            let bytes = data.buffers()[1].as_slice();
            for (at, pair) in ends.windows(2).take(array.len()).enumerate() {
                let value = &bytes[pair[0] as usize..pair[1] as usize];
                add_value(array, at, value, value.len() + LENGTH_PREFIX_BYTES as usize, sample);
            }
        }
        other => {
            let width = match other {
                DataType::FixedSizeBinary(width) => *width as usize,
                other => other.primitive_width().unwrap_or(0),
            };
            if width == 0 {
                return;
            }
            let bytes = &data.buffers()[0].as_slice()[data.offset() * width..];
            for (at, value) in bytes.chunks_exact(width).take(array.len()).enumerate() {
                add_value(array, at, value, width, sample);
            }
        }
    }
}

fn add_value(array: &ArrayRef, at: usize, value: &[u8], bytes: usize, sample: &mut Sample) {
    if sample.hashes.len() < SAMPLE_VALUES && array.is_valid(at) {
        sample.hashes.push(xxh3_64(value));
        sample.sampled_bytes += bytes;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{BooleanArray, Int64Array, ListArray, StringArray};
    use arrow::buffer::OffsetBuffer;
    use arrow::datatypes::Field;

    use super::*;

    fn scattered(index: u64) -> u64 {
        xxh3_64(&index.to_le_bytes())
    }

    fn gains(array: ArrayRef, row_group_rows: f64) -> Vec<bool> {
        let batch = RecordBatch::try_from_iter_with_nullable([("column", array, true)]).unwrap();
        columns_that_gain(&[batch], row_group_rows)
    }

    fn ids(distinct: u64) -> ArrayRef {
        Arc::new((0..8000).map(|row| scattered(row) % distinct).map(|id| id as i64).collect::<Int64Array>())
    }

    #[test]
    fn few_values_gain_and_unique_ones_do_not() {
        assert_eq!(gains(ids(10), 1e6), [true]);
        assert_eq!(gains(ids(u64::MAX), 1e6), [false]);
    }

    #[test]
    fn what_a_whole_row_group_holds_counts_not_what_was_seen() {
        // A fifth of a million values of 8 bytes do not fit the dictionary of a large row group, half as many do.
        assert_eq!(gains(ids(200_000), 1e6), [false]);
        assert_eq!(gains(ids(60_000), 1e6), [true]);
        // Where nearly every row brings a new value, the dictionary is only one more copy.
        assert_eq!(gains(ids(60_000), 1e4), [false]);
    }

    #[test]
    fn text_counts_with_its_length() {
        let text = |distinct: u64| -> ArrayRef {
            let values = (0..8000).map(|row| format!("{:060}", scattered(row) % distinct));
            Arc::new(values.map(Some).collect::<StringArray>())
        };
        assert_eq!(gains(text(10_000), 1e6), [true]);
        assert_eq!(gains(text(60_000), 1e6), [false]);
    }

    #[test]
    fn leaves_come_in_the_order_of_a_file_and_nulls_are_left_out() {
        let unique: ArrayRef = Arc::new((0..8000).map(|row| scattered(row) as i64).collect::<Int64Array>());
        let sparse: ArrayRef =
            Arc::new((0..8000).map(|row| (row == 7).then_some(row)).collect::<Int64Array>());
        let gift: ArrayRef = Arc::new(BooleanArray::from(vec![true; 8000]));
        let members = StructArray::from(vec![
            (Arc::new(Field::new("unique", DataType::Int64, true)), unique),
            (Arc::new(Field::new("sparse", DataType::Int64, true)), sparse),
            (Arc::new(Field::new("gift", DataType::Boolean, true)), gift),
        ]);
        let item = Arc::new(Field::new("item", members.data_type().clone(), true));
        let list = ListArray::new(
            item,
            OffsetBuffer::from_lengths(std::iter::repeat_n(2, 4000)),
            Arc::new(members),
            None,
        );
        assert_eq!(gains(Arc::new(list), 1e6), [false, true, false]);
    }
}
