//! Owns encoding batches with the Parquet library's own writer, for comparison: what a program without an encoder of its own
//! would need.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::{WriterProperties, WriterVersion};
use rustix::time::ClockId;
use sluice::config::settings::ConnectorSettings;

use crate::{Fallible, cpu_seconds};

/// One file after the other, in memory, Snappy, with the library's defaults otherwise: dictionaries wherever they fit.
pub(crate) struct LibraryFiles<'a> {
    connector: &'a ConnectorSettings,
    properties: Arc<WriterProperties>,
    open: Option<ArrowWriter<Vec<u8>>>,
    pub(crate) seconds: f64,
}

impl<'a> LibraryFiles<'a> {
    pub(crate) fn new(connector: &'a ConnectorSettings) -> Self {
        let properties = WriterProperties::builder()
            .set_writer_version(WriterVersion::PARQUET_1_0)
            .set_compression(Compression::SNAPPY)
            .set_max_row_group_row_count(Some(connector.parquet.row_group_rows.get()));
        Self { connector, properties: Arc::new(properties.build()), open: None, seconds: 0.0 }
    }

    pub(crate) fn write(&mut self, schema: &SchemaRef, batch: &RecordBatch) -> Fallible<()> {
        let began = cpu_seconds(ClockId::ThreadCPUTime);
        if self.open.is_none() {
            let properties = self.properties.as_ref().clone();
            self.open = Some(ArrowWriter::try_new(Vec::new(), schema.clone(), Some(properties))?);
        }
        let open = self.open.as_mut().ok_or("there is an open file")?;
        open.write(batch)?;
        if open.in_progress_size() as u64 >= self.connector.parquet.row_group_bytes.0 {
            open.flush()?;
        }
        let size = (open.bytes_written() + open.in_progress_size()) as u64;
        self.seconds += cpu_seconds(ClockId::ThreadCPUTime) - began;
        if self.connector.rotate.bytes.is_some_and(|limit| size >= limit.0) {
            self.close()?;
        }
        Ok(())
    }

    pub(crate) fn close(&mut self) -> Fallible<()> {
        let began = cpu_seconds(ClockId::ThreadCPUTime);
        if let Some(open) = self.open.take() {
            drop(open.into_inner()?);
        }
        self.seconds += cpu_seconds(ClockId::ThreadCPUTime) - began;
        Ok(())
    }
}
