//! Owns the order of rows within a row group, where `parquet.sort_by` asks for one: rows wait until there are enough
//! for a row group, are sorted, and leave together. Does not own encoding.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt32Array};
use arrow::compute::{
    SortColumn, SortOptions, concat_batches, is_null, lexsort_to_indices, nullif, take_record_batch,
};
use arrow::datatypes::{DataType, SchemaRef};
use arrow::error::ArrowError;
use parquet::file::metadata::SortingColumn;
use parquet::file::properties::WriterProperties;
use parquet::schema::types::SchemaDescriptor;

use super::properties::elements;
use crate::error::{Failure, Stage};

/// Ascending; rows without a value come last.
const OPTIONS: SortOptions = SortOptions { descending: false, nulls_first: false };

/// Collects the rows of a row group and puts them in order. Rows that are equal keep theirs.
pub(super) struct RowSorter {
    schema: SchemaRef,
    /// Field names from the outside in, for each column to sort by that the file has.
    paths: Vec<Vec<String>>,
    sorting_columns: Vec<SortingColumn>,
    pending: Vec<RecordBatch>,
    rows: usize,
    bytes: usize,
    max_rows: usize,
    max_bytes: usize,
}

impl RowSorter {
    /// A sorter for files of `schema`, or `None` where they have none of the columns: there is nothing to sort by.
    ///
    /// # Errors
    /// Fatal when a column is no single value, or its path is none.
    pub(super) fn new(
        sort_by: &[String],
        schema: &SchemaRef,
        parquet: &SchemaDescriptor,
        max_rows: usize,
        max_bytes: usize,
    ) -> Result<Option<Self>, Failure> {
        if sort_by.is_empty() {
            return Ok(None);
        }
        let (mut paths, mut sorting_columns) = (Vec::new(), Vec::new());
        for column in sort_by {
            let path = elements("parquet.sort_by", column)?;
            let Some(data_type) = type_at(schema, &path) else { continue };
            let leaf = parquet.columns().iter().position(|leaf| leaf.path().parts() == path);
            let leaf = leaf.filter(|_| !data_type.is_nested());
            let Some(leaf) = leaf else {
                return Err(fatal(&format!(
                    "parquet.sort_by names {column}, which is of type {data_type}; name a column of single values"
                )));
            };
            paths.push(path);
            sorting_columns.push(SortingColumn {
                column_idx: leaf as i32,
                descending: OPTIONS.descending,
                nulls_first: OPTIONS.nulls_first,
            });
        }
        if paths.is_empty() {
            return Ok(None);
        }
        let schema = SchemaRef::clone(schema);
        Ok(Some(Self {
            schema,
            paths,
            sorting_columns,
            pending: Vec::new(),
            rows: 0,
            bytes: 0,
            max_rows,
            max_bytes,
        }))
    }

    /// The properties with the order that every row group has.
    #[must_use]
    pub(super) fn declare(&self, properties: WriterProperties) -> WriterProperties {
        properties.into_builder().set_sorting_columns(Some(self.sorting_columns.clone())).build()
    }

    /// Takes rows; gives a row group's worth of them in order when there are enough.
    ///
    /// # Errors
    /// Fatal when they cannot be sorted.
    pub(super) fn push(&mut self, batch: &RecordBatch) -> Result<Option<RecordBatch>, Failure> {
        self.rows += batch.num_rows();
        self.bytes += batch.get_array_memory_size();
        self.pending.push(batch.clone());
        if self.rows < self.max_rows && self.bytes < self.max_bytes {
            return Ok(None);
        }
        self.take()
    }

    /// The rows that are left, in order; `None` when there are none.
    ///
    /// # Errors
    /// As [`Self::push`].
    pub(super) fn take(&mut self) -> Result<Option<RecordBatch>, Failure> {
        if self.pending.is_empty() {
            return Ok(None);
        }
        (self.rows, self.bytes) = (0, 0);
        let pending = std::mem::take(&mut self.pending);
        self.sorted(&pending).map(Some).map_err(|error| fatal(&error))
    }

    /// Memory of the rows that wait, bytes.
    #[must_use]
    pub(super) fn memory_bytes(&self) -> usize {
        self.bytes
    }

    fn sorted(&self, pending: &[RecordBatch]) -> Result<RecordBatch, ArrowError> {
        let batch = concat_batches(&self.schema, pending)?;
        let mut columns = Vec::with_capacity(self.paths.len() + 1);
        for path in &self.paths {
            columns.push(SortColumn { values: column_at(&batch, path)?, options: Some(OPTIONS) });
        }
        // The sort is not stable by itself.
        let order: ArrayRef = std::sync::Arc::new(UInt32Array::from_iter_values(0..batch.num_rows() as u32));
        columns.push(SortColumn { values: order, options: None });
        take_record_batch(&batch, &lexsort_to_indices(&columns, None)?)
    }
}

fn type_at(schema: &SchemaRef, path: &[String]) -> Option<DataType> {
    let (first, rest) = path.split_first()?;
    let mut field = schema.column_with_name(first)?.1;
    for name in rest {
        let DataType::Struct(fields) = field.data_type() else { return None };
        field = fields.iter().find(|field| field.name() == name)?;
    }
    Some(field.data_type().clone())
}

/// The values at a path, null where something around them is.
fn column_at(batch: &RecordBatch, path: &[String]) -> Result<ArrayRef, ArrowError> {
    let gone = || ArrowError::SchemaError(format!("no column {}", path.join(".")));
    let (first, rest) = path.split_first().ok_or_else(gone)?;
    let mut array = batch.column_by_name(first).ok_or_else(gone)?.clone();
    for name in rest {
        let around = array.clone();
        let inner = around.as_struct_opt().and_then(|around| around.column_by_name(name)).ok_or_else(gone)?;
        array = if around.null_count() > 0 { nullif(inner, &is_null(&around)?)? } else { inner.clone() };
    }
    Ok(array)
}

fn fatal(error: &dyn std::fmt::Display) -> Failure {
    Failure::fatal(Stage::Encode, format!("cannot sort rows: {error}"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, ListArray, StringArray, StructArray};
    use arrow::buffer::NullBuffer;
    use arrow::datatypes::{Field, Fields, Int64Type};
    use parquet::arrow::ArrowSchemaConverter;

    use super::*;

    fn batch(keys: Vec<Option<i64>>, names: Vec<Option<&str>>) -> RecordBatch {
        let rows = keys.len() as i64;
        let inner: ArrayRef = Arc::new(StringArray::from(names));
        let fields = Fields::from(vec![Field::new("name", DataType::Utf8, true)]);
        let present: NullBuffer = keys.iter().map(|key| *key != Some(99)).collect();
        let nested: ArrayRef = Arc::new(StructArray::new(fields, vec![inner], Some(present)));
        RecordBatch::try_from_iter_with_nullable([
            ("key", Arc::new(Int64Array::from(keys)) as ArrayRef, true),
            ("who", nested, true),
            ("row", Arc::new((0..rows).collect::<Int64Array>()), false),
        ])
        .unwrap()
    }

    fn sorter_of(
        sort_by: &[String],
        schema: &SchemaRef,
        rows: usize,
        bytes: usize,
    ) -> Result<Option<RowSorter>, Failure> {
        let parquet = ArrowSchemaConverter::new().convert(schema).unwrap();
        RowSorter::new(sort_by, schema, &parquet, rows, bytes)
    }

    fn sorted(sort_by: &[&str], batch: &RecordBatch) -> Vec<i64> {
        let sort_by: Vec<String> = sort_by.iter().map(|column| (*column).to_owned()).collect();
        let mut sorter = sorter_of(&sort_by, &batch.schema(), 1000, usize::MAX).unwrap().unwrap();
        assert!(sorter.push(batch).unwrap().is_none());
        let sorted = sorter.take().unwrap().unwrap();
        sorted.column_by_name("row").unwrap().as_primitive::<Int64Type>().values().to_vec()
    }

    #[test]
    fn rows_ascend_with_nulls_last_and_equal_ones_as_they_came() {
        let rows = batch(
            vec![Some(2), None, Some(1), Some(2), Some(1), None],
            vec![Some("b"), Some("a"), None, Some("a"), Some("z"), Some("b")],
        );
        assert_eq!(sorted(&["key"], &rows), [2, 4, 0, 3, 1, 5]);
        assert_eq!(sorted(&["key", "who.name"], &rows), [4, 2, 3, 0, 1, 5]);
        assert_eq!(sorted(&["gone", "key"], &rows), [2, 4, 0, 3, 1, 5]);
    }

    #[test]
    fn what_is_inside_a_null_counts_as_null() {
        let rows = batch(vec![Some(99), Some(1), Some(1)], vec![Some("a"), Some("c"), Some("b")]);
        assert_eq!(sorted(&["who.name"], &rows), [2, 1, 0]);
    }

    #[test]
    fn a_row_group_is_cut_by_rows_and_by_bytes() {
        let rows = batch(vec![Some(1), Some(2)], vec![None, None]);
        let by = ["key".to_owned()];
        let mut sorter = sorter_of(&by, &rows.schema(), 4, usize::MAX).unwrap().unwrap();
        assert!(sorter.push(&rows).unwrap().is_none() && sorter.memory_bytes() > 0);
        assert_eq!(sorter.push(&rows).unwrap().unwrap().num_rows(), 4);
        assert!(sorter.take().unwrap().is_none() && sorter.memory_bytes() == 0);
        let mut sorter = sorter_of(&by, &rows.schema(), 1000, 1).unwrap().unwrap();
        assert!(sorter.push(&rows).unwrap().is_some());
    }

    #[test]
    fn without_such_columns_nothing_is_sorted_and_lists_are_refused() {
        let rows = batch(vec![Some(1)], vec![None]);
        assert!(sorter_of(&["gone".to_owned()], &rows.schema(), 1, 1).unwrap().is_none());
        assert!(sorter_of(&[], &rows.schema(), 1, 1).unwrap().is_none());
        let list = ListArray::from_iter_primitive::<Int64Type, _, _>(vec![Some(vec![Some(1)])]);
        let rows = RecordBatch::try_from_iter([("list", Arc::new(list) as ArrayRef)]).unwrap();
        let failure = sorter_of(&["list".to_owned()], &rows.schema(), 1, 1).err().unwrap();
        assert!(failure.to_string().contains("sort_by names list"), "{failure}");
        assert!(sorter_of(&["who".to_owned()], &batch(vec![None], vec![None]).schema(), 1, 1).is_err());
    }

    #[test]
    fn a_point_in_a_name_is_told_from_one_between_names() {
        let inner: ArrayRef = Arc::new(Int64Array::from(vec![3, 2, 1]));
        let fields = Fields::from(vec![Field::new("b", DataType::Int64, false)]);
        let rows = RecordBatch::try_from_iter([
            ("a.b", Arc::new(Int64Array::from(vec![2, 1, 3])) as ArrayRef),
            ("a", Arc::new(StructArray::new(fields, vec![inner], None)) as ArrayRef),
            ("row", Arc::new((0..3).collect::<Int64Array>()) as ArrayRef),
        ])
        .unwrap();
        assert_eq!(sorted(&[r"a\.b"], &rows), [1, 0, 2]);
        assert_eq!(sorted(&["a.b"], &rows), [2, 1, 0]);
        let leaf = |by: &str| {
            sorter_of(&[by.to_owned()], &rows.schema(), 9, 9).unwrap().unwrap().sorting_columns[0].column_idx
        };
        assert_eq!((leaf(r"a\.b"), leaf("a.b")), (0, 1));
    }
}
