//! Owns the proof that our own column encoder and the Parquet library's write the same data.

mod equivalence;
mod index;
mod limits;
mod random;
mod settings;

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use parquet::arrow::ArrowSchemaConverter;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;

use super::row_group::RowGroupEncoder;

/// One row group of the batches; `ours`: with our own encoder where it can, else with the library's alone.
fn encoded(schema: &SchemaRef, batches: &[RecordBatch], properties: &WriterProperties, ours: bool) -> Bytes {
    let columns = ArrowSchemaConverter::new().convert(schema).unwrap();
    let properties = Arc::new(properties.clone());
    let mut file = SerializedFileWriter::new(Vec::new(), columns.root_schema_ptr(), properties).unwrap();
    let mut rows = RowGroupEncoder::new(schema.clone(), &file, ours);
    for batch in batches {
        rows.write(batch, 0).unwrap();
    }
    rows.close(&mut file).unwrap();
    file.into_inner().unwrap().into()
}

/// What a file says of itself, and a reader of it.
fn opened(file: &Bytes) -> (Arc<ParquetMetaData>, ParquetRecordBatchReaderBuilder<Bytes>) {
    let options = ArrowReaderOptions::new()
        .with_page_index_policy(PageIndexPolicy::Required)
        .with_encoding_stats_as_mask(false);
    let metadata = ArrowReaderMetadata::load(file, options).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(file.clone(), metadata.clone());
    (metadata.metadata().clone(), reader)
}

/// All rows of a reader.
fn rows_of(reader: ParquetRecordBatchReaderBuilder<Bytes>) -> RecordBatch {
    let schema = reader.schema().clone();
    let batches: Vec<RecordBatch> =
        reader.with_batch_size(777).build().unwrap().map(Result::unwrap).collect();
    concat_batches(&schema, &batches).unwrap()
}
