//! Owns the open row group of a file: each of its columns with our own encoder where there is one for its kind, else with
//! the Parquet library's. Which one is settled when a file begins. Does not own when a row group closes.

use std::io::Write;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, SchemaRef};
use parquet::arrow::arrow_writer::{ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesPtr};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::{ColumnDescPtr, SchemaDescriptor};

use super::column::{ColumnEncoder, Compressor, SourceKind, levels_fit};
use super::shred::shred;

/// Encodes rows into row groups of one file.
pub(super) struct RowGroupEncoder {
    schema: SchemaRef,
    columns: Vec<ColumnDescPtr>,
    properties: WriterPropertiesPtr,
    /// For each leaf in file order, how our own encoder reads it; `None` where the library's encodes it.
    kinds: Vec<Option<SourceKind>>,
    /// Leaves of each top-level column.
    leaves: Vec<usize>,
    library: ArrowRowGroupWriterFactory,
    compressor: Compressor,
    /// The columns of the open row group; empty while there is none.
    open: Vec<Column>,
    rows: usize,
}

// One a leaf, and the larger one is the rarer.
#[allow(clippy::large_enum_variant)]
enum Column {
    Ours(ColumnEncoder),
    Library(ArrowColumnWriter),
}

impl RowGroupEncoder {
    /// For the row groups that `writer` is to get.
    pub(super) fn new<W: Write + Send>(
        schema: SchemaRef,
        writer: &SerializedFileWriter<W>,
        ours: bool,
    ) -> Self {
        let properties = writer.properties().clone();
        let columns = writer.schema_descr().columns().to_vec();
        let kinds = kinds_of(&schema, &columns, &properties).into_iter().map(|kind| kind.filter(|_| ours));
        let kinds = kinds.collect();
        let compressor =
            columns.iter().find_map(|column| Compressor::of(properties.compression(column.path())));
        Self {
            library: ArrowRowGroupWriterFactory::new(writer, schema.clone()),
            leaves: schema.fields().iter().map(|field| leaf_types(field).len()).collect(),
            compressor: compressor.unwrap_or_default(),
            schema,
            columns,
            properties,
            kinds,
            open: Vec::new(),
            rows: 0,
        }
    }

    /// Appends rows to the open row group, which is the one of number `ordinal` in its file.
    ///
    /// # Errors
    /// When the batch does not have the file's schema or cannot be encoded.
    pub(super) fn write(&mut self, batch: &RecordBatch, ordinal: usize) -> Result<(), ParquetError> {
        if self.open.is_empty() {
            self.open = self.begin(ordinal)?;
        }
        self.rows += batch.num_rows();
        let mut at = 0;
        for ((field, array), leaves) in self.schema.fields().iter().zip(batch.columns()).zip(&self.leaves) {
            if !field.data_type().equals_datatype(array.data_type()) {
                return Err(ParquetError::ArrowError(format!(
                    "column {} is of type {}, not {}",
                    field.name(),
                    array.data_type(),
                    field.data_type()
                )));
            }
            let kinds = &self.kinds[at..at + leaves];
            let mut own = Vec::new();
            if kinds.iter().any(Option::is_some) {
                shred(field, array, &mut own);
            }
            let others =
                if kinds.iter().any(Option::is_none) { compute_leaves(field, array)? } else { Vec::new() };
            for (number, column) in self.open[at..at + leaves].iter_mut().enumerate() {
                match column {
                    Column::Ours(encoder) => encoder.write(&own[number], &mut self.compressor)?,
                    Column::Library(writer) => writer.write(&others[number])?,
                }
            }
            at += leaves;
        }
        Ok(())
    }

    /// Rows of the open row group.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Estimate of the open row group's size were it closed now, bytes.
    pub(super) fn estimated_bytes(&self) -> usize {
        let of = |column: &Column| match column {
            Column::Ours(encoder) => encoder.estimated_bytes(),
            Column::Library(writer) => writer.get_estimated_total_bytes(),
        };
        self.open.iter().map(of).sum()
    }

    /// Memory of the open row group, bytes.
    pub(super) fn memory_bytes(&self) -> usize {
        let of = |column: &Column| match column {
            Column::Ours(encoder) => encoder.memory_bytes(),
            Column::Library(writer) => writer.memory_size(),
        };
        self.compressor.memory_bytes() + self.open.iter().map(of).sum::<usize>()
    }

    /// Ends the open row group, if there is one, and gives it to the file.
    ///
    /// # Errors
    /// When it cannot be encoded or written.
    pub(super) fn close<W: Write + Send>(
        &mut self,
        file: &mut SerializedFileWriter<W>,
    ) -> Result<(), ParquetError> {
        let open = std::mem::take(&mut self.open);
        self.rows = 0;
        if open.is_empty() {
            return Ok(());
        }
        let mut row_group = file.next_row_group()?;
        for column in open {
            match column {
                Column::Ours(encoder) => encoder.close(&mut row_group, &mut self.compressor)?,
                Column::Library(writer) => writer.close()?.append_to_row_group(&mut row_group)?,
            }
        }
        row_group.close()?;
        self.compressor.give_back();
        Ok(())
    }

    fn begin(&self, ordinal: usize) -> Result<Vec<Column>, ParquetError> {
        let library = if self.kinds.iter().any(Option::is_none) {
            self.library.create_column_writers(ordinal)?.into_iter().map(Some).collect()
        } else {
            std::iter::repeat_with(|| None).take(self.kinds.len()).collect::<Vec<_>>()
        };
        let column = |((kind, library), column): (
            (&Option<SourceKind>, Option<ArrowColumnWriter>),
            &ColumnDescPtr,
        )| {
            match (kind, library) {
                (Some(kind), _) => Column::Ours(ColumnEncoder::new(*kind, column, &self.properties)),
                (None, Some(writer)) => Column::Library(writer),
                (None, None) => unreachable!("the library has a writer for every column"),
            }
        };
        Ok(self.kinds.iter().zip(library).zip(&self.columns).map(column).collect())
    }
}

/// Properties without the column index of what the library encodes inside lists: it takes a page for one of nulls only
/// when that has as many nulls as rows, which a list may have beside values, and readers pass such pages over.
pub(super) fn without_wrong_indexes(
    schema: &SchemaRef,
    columns: &SchemaDescriptor,
    properties: WriterProperties,
) -> WriterProperties {
    let kinds = kinds_of(schema, columns.columns(), &properties);
    let wrong = columns.columns().iter().zip(kinds).filter(|(column, kind)| {
        let indexed = properties.statistics_enabled(column.path()) == EnabledStatistics::Page;
        kind.is_none() && column.max_rep_level() > 0 && indexed
    });
    let paths: Vec<_> = wrong.map(|(column, _)| column.path().clone()).collect();
    let mut builder = properties.into_builder();
    for path in paths {
        builder = builder.set_column_statistics_enabled(path, EnabledStatistics::Chunk);
    }
    builder.build()
}

/// For each leaf in file order, how our own encoder reads it.
fn kinds_of(
    schema: &SchemaRef,
    columns: &[ColumnDescPtr],
    properties: &WriterProperties,
) -> Vec<Option<SourceKind>> {
    let types = schema.fields().iter().flat_map(|field| leaf_types(field));
    types.zip(columns).map(|(data_type, column)| kind_of(&data_type, column, properties)).collect()
}

/// How our own encoder reads a column, if it does all that is asked for.
fn kind_of(
    data_type: &DataType,
    column: &ColumnDescPtr,
    properties: &WriterProperties,
) -> Option<SourceKind> {
    let path = column.path();
    let simple = levels_fit(column)
        && properties.bloom_filter_properties(path).is_none()
        && !properties.write_page_header_statistics(path)
        && properties.statistics_enabled(path) == EnabledStatistics::Page
        && Compressor::of(properties.compression(path)).is_some();
    SourceKind::of(data_type, column.physical_type()).filter(|_| simple)
}

/// The types of the leaves of a column, in the order of a file's columns.
fn leaf_types(field: &Field) -> Vec<DataType> {
    match field.data_type() {
        DataType::Struct(members) => members.iter().flat_map(|member| leaf_types(member)).collect(),
        DataType::List(inner) | DataType::Map(inner, _) => leaf_types(inner),
        leaf => vec![leaf.clone()],
    }
}
